"""Who refused profiling or a channel of contact, and who allowed it again. Document: docs/consent.md section 15 (row B15).

A refusal ends no grant: it keeps the person out while profiling, or that channel, is what the query is about. It takes effect
with its transaction, spreads like a withdrawal over what signed forms tie together, and survives a restore like one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from workbench.contracts import GrantQuery, Host, Transaction
from workbench.crypto import sm3
from workbench.domain.erasure import open_recovery
from workbench.domain.evidence import EntryRef, RestoredEntry
from workbench.errors import InvalidRequest, NotFound, VerificationError
from workbench_consent import recovering, tables
from workbench_consent.columns import WithdrawalColumns
from workbench_consent.grants import Reason, Subject, Withdrawal
from workbench_consent.subjects import ABSENT, Subjects, words_of
from workbench_consent.withdrawing import evidence_name, spread

REFUSAL_LABEL = b"workbench/v1/refusal\n"
ALLOWED_LABEL = b"workbench/v1/refusal-ended\n"
PROFILING = "profiling"
OPTED_OUT, OPTED_IN = "consent.opted_out", "consent.opted_in"
_SALT = 32


@dataclass(frozen=True, slots=True)
class Done:
    """event: number of the consent event; entries: how many entries it wrote or ended."""

    event: int
    entries: int
    entry: EntryRef


def opt_out(tx: Transaction, host: Host, subject: Subject, what: str, *, actor: str, reason: str) -> Done:
    """Keep a person out of profiling, or of one channel, from now on. Cost: as a withdrawal."""
    if subject.phone is None and subject.id_no is None:
        raise InvalidRequest("请写明手机号或身份证号", "name a phone number or an identity number")
    forms, _ = tables.subjects_of_grants(tx)
    entries, _ = spread(subject, forms)
    refused = [Withdrawal(0, one, what, "") for one in entries]
    salt = host.random(_SALT)
    root = refusal_digest(salt, refused)
    seq = tables.newest_event(tx) + 1
    name = evidence_name(subject)
    entry = host.evidence.append(
        tx,
        OPTED_OUT,
        {
            "root": root.hex(), "event": str(seq), "subject": name, "what": what, "reason": reason,
            "recovery": recovering.sealed(host, root, salt, refused),
        },
        actor=actor, subject=name,
    )  # fmt: skip
    _write(tx, refused, seq=seq, entry=entry.index, at_ms=host.now_ms(), actor=actor, root=root, salt=salt)
    return Done(seq, len(refused), entry)


def opt_in(tx: Transaction, host: Host, subject: Subject, what: str, *, actor: str, reason: str) -> Done:
    """End every refusal of this kind that names one of the identifiers. Raises NotFound NOT_REFUSED."""
    seq = tables.newest_event(tx) + 1
    tx.execute(
        "UPDATE consent_refusal SET lifted_seq = ? WHERE what = ? AND lifted_seq IS NULL"
        " AND ((phone = ? AND phone <> ?) OR (id_no = ? AND id_no <> ?))",
        (seq, what, subject.phone or ABSENT, ABSENT, subject.id_no or ABSENT, ABSENT),
    )
    numbers = ended_by(tx, seq)
    if not numbers:
        raise NotFound("这位客户没有拒绝过", "this customer did not refuse that", code="NOT_REFUSED")
    salt = host.random(_SALT)
    root = ended_digest(salt, numbers)
    name = evidence_name(subject)
    values = {"root": root.hex(), "event": str(seq), "subject": name, "what": what, "entries": str(len(numbers)), "reason": reason}
    entry = host.evidence.append(tx, OPTED_IN, values, actor=actor, subject=name)
    tables.add_event(
        tx, "allowed", seq=seq, entry=entry.index, at_ms=host.now_ms(), actor=actor, rows=len(numbers), root=root, salt=salt
    )
    return Done(seq, len(numbers), entry)


def refuse_again(tx: Transaction, host: Host, one: RestoredEntry) -> bool:
    """Write the refusal of an entry that came back after a restore; True when it is written, now or before."""
    if tx.execute("SELECT 1 FROM consent_event WHERE entry = ?", (one.index,)).fetchone() is not None:
        return True
    root = one.shared.get("root", "")
    try:
        message = open_recovery(host.vault.token_key("recovery"), one.shared.get("recovery", ""), binding=root)
        salt, refused = recovering.unpack(message)
    except VerificationError:
        return False
    if refusal_digest(salt, refused).hex() != root:
        return False
    seq = tables.newest_event(tx) + 1
    _write(tx, refused, seq=seq, entry=one.index, at_ms=one.time_ms, actor=one.actor, root=bytes.fromhex(root), salt=salt)
    return True


def refusal_digest(salt: bytes, refused: Sequence[Withdrawal]) -> bytes:
    """What the evidence of one refusal shares: 32 bytes over its entries. Source: docs/consent.md section 15."""
    parts = []
    for one in refused:
        what = one.purpose.encode()
        parts.append((one.subject.phone or ABSENT) + (one.subject.id_no or ABSENT) + len(what).to_bytes(2, "big") + what)
    return sm3.digest(REFUSAL_LABEL + salt + b"".join(parts))


def ended_digest(salt: bytes, numbers: Sequence[int]) -> bytes:
    """What the evidence of allowing again shares: over the numbers of the entries it ended, ascending."""
    return sm3.digest(ALLOWED_LABEL + salt + b"".join(number.to_bytes(8, "big") for number in numbers))


def refused_by(reader: tables.Reader, seq: int) -> list[Withdrawal]:
    """What event `seq` refused, in the order written."""
    rows = reader.execute("SELECT phone, id_no, what FROM consent_refusal WHERE seq = ? ORDER BY number", (seq,)).fetchall()
    return [Withdrawal(0, Subject(_named(phone), _named(id_no)), what, "") for phone, id_no, what in rows]


def ended_by(reader: tables.Reader, seq: int) -> list[int]:
    """Numbers of the entries that event `seq` ended, ascending."""
    rows = reader.execute("SELECT number FROM consent_refusal WHERE lifted_seq = ? ORDER BY number", (seq,)).fetchall()
    return [int(number) for (number,) in rows]


def in_force(reader: tables.Reader) -> dict[str, list[Withdrawal]]:
    """What -> entries that hold now, as the rule takes them: of every purpose and recipient."""
    found: dict[str, list[Withdrawal]] = {}
    for phone, id_no, what in reader.execute(
        "SELECT phone, id_no, what FROM consent_refusal WHERE lifted_seq IS NULL ORDER BY number"
    ):
        found.setdefault(what, []).append(Withdrawal(0, Subject(_named(phone), _named(id_no)), "", ""))
    return found


def groups_asked(query: GrantQuery, *, channels: Collection[str], profiled: Collection[str]) -> Iterator[tuple[Reason, list[str]]]:
    """Which refusals keep a person out of this query: out is who refused every one of a group.

    profiled: purposes for which customers are chosen by personal traits. With a channel chosen it is that one; without, only
    who refused them all is out, because nobody could reach them.
    """
    if query.purpose in profiled:
        yield Reason.PROFILING_REFUSED, [PROFILING]
    yield Reason.CHANNEL_REFUSED, [query.contact] if query.contact else sorted(channels)


def as_columns(entries: Sequence[Withdrawal]) -> WithdrawalColumns:
    """Entries as the fast rule takes them."""
    everywhere = np.full(len(entries), "", object)
    return WithdrawalColumns(
        subjects=Subjects(
            words_of(b"".join(one.subject.phone or ABSENT for one in entries)),
            words_of(b"".join(one.subject.id_no or ABSENT for one in entries)),
        ),
        seq=np.zeros(len(entries), np.int64),
        purpose=everywhere,
        recipient=everywhere,
        keeps_out=np.ones(len(entries), bool),
    )


def _write(
    tx: Transaction, refused: Sequence[Withdrawal], *, seq: int, entry: int, at_ms: int, actor: str, root: bytes, salt: bytes
) -> None:
    tables.add_event(tx, "refused", seq=seq, entry=entry, at_ms=at_ms, actor=actor, rows=len(refused), root=root, salt=salt)
    tx.executemany(
        "INSERT INTO consent_refusal (seq, phone, id_no, what) VALUES (?, ?, ?, ?)",
        [(seq, one.subject.phone or ABSENT, one.subject.id_no or ABSENT, one.purpose) for one in refused],
    )


def _named(token: bytes) -> bytes | None:
    return None if token == ABSENT else token


__all__ = [
    "OPTED_IN", "OPTED_OUT", "PROFILING", "Done", "as_columns", "ended_by", "ended_digest", "groups_asked", "in_force", "opt_in",
    "opt_out", "refusal_digest", "refuse_again", "refused_by",
]  # fmt: skip

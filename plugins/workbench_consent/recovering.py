"""What a withdrawal needs to be written again after a restore, sealed in its own entry for this institution alone.

Document: docs/protocols/erasure.md sections 5 and 6. The mirrors hold the entry and cannot read it. Whoever was withdrawn
after the copy is withdrawn again before the node opens; what cannot be read is left to people (replaying.py).
"""

from __future__ import annotations

from collections.abc import Sequence

from workbench.contracts import Host, Transaction
from workbench.domain.erasure import open_recovery, seal_recovery
from workbench.domain.evidence import RestoredEntry
from workbench.errors import VerificationError
from workbench_consent import tables
from workbench_consent.grants import Subject, Withdrawal, withdrawal_digest
from workbench_consent.subjects import ABSENT, TOKEN_SIZE

NONCE_SIZE = 12
_SALT = 32


def pack(salt: bytes, withdrawals: Sequence[Withdrawal]) -> bytes:
    """What a withdrawal needs to be written again; all of one event, so of one scope."""
    purpose, recipient = withdrawals[0].purpose.encode(), withdrawals[0].recipient.encode()
    entries = b"".join(
        (one.subject.phone or ABSENT) + (one.subject.id_no or ABSENT) + bytes([one.suppresses]) for one in withdrawals
    )
    scope = b"".join(len(text).to_bytes(2, "big") + text for text in (purpose, recipient))
    return salt + len(withdrawals).to_bytes(2, "big") + entries + scope


def unpack(data: bytes) -> tuple[bytes, list[Withdrawal]]:
    """Salt and withdrawals (event 0) of `pack`; VerificationError for anything else."""
    count = int.from_bytes(data[_SALT : _SALT + 2], "big")
    size = 2 * TOKEN_SIZE + 1
    at = _SALT + 2 + count * size
    texts: list[str] = []
    for _ in range(2):
        length = int.from_bytes(data[at : at + 2], "big")
        texts.append(data[at + 2 : at + 2 + length].decode("utf-8", "replace"))
        at += 2 + length
    salt, found = data[:_SALT], list[Withdrawal]()
    for number in range(count):
        row = data[_SALT + 2 + number * size :][:size]
        phone, id_no = row[:TOKEN_SIZE], row[TOKEN_SIZE : 2 * TOKEN_SIZE]
        subject = Subject(phone if phone != ABSENT else None, id_no if id_no != ABSENT else None)
        found.append(Withdrawal(0, subject, texts[0], texts[1], row[-1:] != b"\0"))
    if not found or pack(salt, found) != data:
        raise VerificationError(
            "撤回的恢复信息格式不对", "the recovery bytes of a withdrawal are malformed", code="RESTRICTED_MALFORMED"
        )
    return salt, found


def sealed(host: Host, root: bytes, salt: bytes, withdrawals: Sequence[Withdrawal]) -> str:
    """The shared field of a withdrawal's entry that only this institution reads; "" when it is too long."""
    key = host.vault.token_key("recovery")
    return seal_recovery(key, pack(salt, withdrawals), binding=root.hex(), nonce=host.random(NONCE_SIZE))


def withdraw_again(tx: Transaction, host: Host, one: RestoredEntry) -> bool:
    """Write the withdrawal of an entry that came back; True when it is written, now or before. Needs no new entry."""
    if tx.execute("SELECT 1 FROM consent_event WHERE entry = ?", (one.index,)).fetchone() is not None:
        return True
    root = one.shared.get("root", "")
    try:
        message = open_recovery(host.vault.token_key("recovery"), one.shared.get("recovery", ""), binding=root)
        salt, withdrawals = unpack(message)
    except VerificationError:
        return False
    if withdrawal_digest(salt, withdrawals).hex() != root:
        return False
    seq = tables.newest_event(tx) + 1
    tables.add_event(
        tx, "withdrawn", seq=seq, entry=one.index, at_ms=one.time_ms, actor=one.actor, rows=len(withdrawals),
        root=bytes.fromhex(root), salt=salt,
    )  # fmt: skip
    tables.add_withdrawals(
        tx, [Withdrawal(seq, each.subject, each.purpose, each.recipient, each.suppresses) for each in withdrawals]
    )
    return True

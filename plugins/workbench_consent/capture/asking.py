"""Questions to customers: a link that serves one decision. docs/protocols/capture.md sections 3, 4 and 7."""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from workbench.contracts import Host, Transaction
from workbench.crypto import canonical, sm3
from workbench.errors import NotFound, Refused
from workbench_consent.capture import recovering
from workbench_consent.capture.people import DAY_MS, Offer, Reader, require_may_ask, require_not_kept_out, tokens_of
from workbench_consent.capture.writing import write_with_form
from workbench_consent.grants import Subject
from workbench_consent.registry import Registry
from workbench_consent.subjects import ABSENT
from workbench_consent.withdrawing import evidence_name

FORM_VERSION = "workbench/v1/signed-page"
SERVED, OPENED, SIGNED, REFUSED, EXPIRED, CANCELLED = "SERVED", "OPENED", "SIGNED", "REFUSED", "EXPIRED", "CANCELLED"
WAITING = (SERVED, OPENED)
COOLING = "COOLING"
"""No state: questions whose refusal still keeps from asking."""
SECRET_BYTES = 32
MOST_OFFERS = 16
_COLUMNS = "ask, phone, id_no, offers, notice, way, place, identity, method, actor, asked_ms, expires_ms, opened_ms, closed_ms, state"


@dataclass(frozen=True, slots=True)
class Question:
    """One question. notice: key@version, "" without; phone, id_no: tokens. opened_ms, closed_ms: 0 before."""

    ask: str
    phone: bytes = field(repr=False)
    id_no: bytes = field(repr=False)
    offers: tuple[Offer, ...]
    notice: str
    way: str
    place: str
    identity: str
    method: str
    actor: str
    asked_ms: int
    expires_ms: int
    opened_ms: int
    closed_ms: int
    state: str

    @property
    def scope(self) -> str:
        return " ".join(one.name for one in self.offers)


def ask(
    host: Host, registry: Registry, *, phone: str | None, id_no: str | None, offers: Sequence[Offer], notice: str, way: str,
    place: str, identity: str, method: str, actor: str,
) -> tuple[str, str, int]:  # fmt: skip
    """(number, secret of the link, when it ends). phone, id_no: normalised; offers: known purposes and recipients.

    Raises Refused ASKED_TOO_SOON, CUSTOMER_KEPT_OUT, REFUSALS_PENDING.
    """
    subject = registry.subject(phone, id_no)
    require_not_kept_out(registry.state(), subject, offers, host.now_ms())
    number, raw = "A-" + host.random(8).hex(), host.random(SECRET_BYTES)
    secret = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
    now = host.now_ms()
    expires = now + host.setting("consent.link_hours") * 3_600_000
    known = json.dumps({"phone": phone, "id_no": id_no}).encode()
    told = json.dumps([{"purpose": one.purpose, "recipient": one.recipient, "until_ms": one.until_ms} for one in offers])

    def change(tx: Transaction) -> None:
        sweep(tx, host)
        recovering.require_refusals_known(tx)
        require_may_ask(tx, host, subject, offers)
        host.vault.put(tx, _vault_name(number), known)
        tx.execute(
            "INSERT INTO consent_capture_ask (ask, secret, phone, id_no, offers, notice, way, place, identity, method, actor,"
            " asked_ms, expires_ms, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (number, _kept(secret), *tokens_of(subject), told, notice, way, place, identity, method, actor, now, expires, SERVED),
        )
        name = evidence_name(subject)
        values = {"ask": number, "subject": name, "scope": " ".join(one.name for one in offers), "place": place, "notice": notice}
        host.evidence.append(tx, "consent.asked", values, actor=actor, subject=name)

    host.store.write(change)
    return number, secret, expires


def find(reader: Reader, secret: str) -> Question:
    """The question of a link. Raises NotFound NO_LINK for a secret that is none; who tries learns nothing more."""
    row = reader.execute(f"SELECT {_COLUMNS} FROM consent_capture_ask WHERE secret = ?", (_kept(secret),)).fetchone()
    if row is None:
        raise NotFound("没有这个签署链接：请向经办人员索取新的", "there is no such signing link: ask the staff for a new one", code="NO_LINK")
    return _question(row)


def show(host: Host, secret: str) -> Question:
    """The question as the person opens it; the first time is counted and leaves evidence.

    Raises NotFound NO_LINK, Refused LINK_USED or LINK_EXPIRED.
    """

    def change(tx: Transaction) -> Question:
        found = find(tx, secret)
        _require_waiting(host, found)
        if found.state == SERVED:
            tx.execute("UPDATE consent_capture_ask SET state = ?, opened_ms = ? WHERE ask = ?", (OPENED, host.now_ms(), found.ask))
            name = _name(found)
            host.evidence.append(tx, "consent.opened", {"ask": found.ask, "subject": name}, subject=name)
        return found

    with host.store.read() as reader:
        found = find(reader, secret)
    _require_waiting(host, found)
    return found if found.state == OPENED else host.store.write(change)


def agree(
    host: Host, registry: Registry, secret: str, chosen: Collection[str], *, offered: str, notice_digest: str,
    said: Mapping[str, Mapping[str, Any]],
) -> int:
    """Record what the person agreed to; returns how many grants. chosen: names of offers; offered: the text that was shown. said:
    name of an offer -> further columns of its grant, as the notice has them.

    Raises Refused NOTHING_CHOSEN, LINK_USED, LINK_EXPIRED, CAPTURE_NOTHING_NEW; NotFound NO_LINK.
    """
    with host.store.read() as reader:
        found = find(reader, secret)
        _require_waiting(host, found)
        known = json.loads(host.vault.get(reader, _vault_name(found.ask)))
    agreed = [one for one in found.offers if one.name in chosen]
    if not agreed or set(chosen) - {one.name for one in found.offers}:
        raise Refused(
            "还没有选择任何一项：请打开要同意的开关，或选择“都不同意”", "nothing is chosen: switch on what you agree to, or decline",
            code="NOTHING_CHOSEN",
        )  # fmt: skip
    now = host.now_ms()
    form = _form(found, agreed, offered=offered, notice_digest=notice_digest, signed_ms=now)
    rows = [
        {
            "phone": known["phone"], "id_no": known["id_no"], "purpose": one.purpose, "recipient": one.recipient,
            "valid_from_ms": now, "valid_until_ms": one.until_ms, "channel": found.place, "notice": found.notice or None,
            "signer": "self", "method": "click", **said.get(one.name, {}),
        }
        for one in agreed
    ]  # fmt: skip

    def also(tx: Transaction, event: int, digest: str) -> None:
        _close(tx, host, found, SIGNED, agreed=len(agreed))
        name, declined = _name(found), [one for one in found.offers if one not in agreed]
        values = {
            "ask": found.ask, "subject": name, "scope": " ".join(one.name for one in agreed), "place": found.place,
            "method": found.method, "event": str(event), "form": digest, "grants": str(len(agreed)),
            "recovery": _recovery(host, recovering.SIGNED, found, SIGNED, declined),
        }  # fmt: skip
        host.evidence.append(tx, "consent.signed", values, subject=name)
        _remember_refusals(tx, host, found, declined)

    return write_with_form(host, registry, rows, form, file=found.ask, actor=found.actor, also=also).accepted


def refuse(host: Host, secret: str) -> None:
    """Record that the person declined; the cool-down begins. Raises NotFound NO_LINK, Refused LINK_USED or LINK_EXPIRED."""

    def change(tx: Transaction) -> None:
        found = find(tx, secret)
        _require_waiting(host, found)
        _close(tx, host, found, REFUSED)
        _remember_refusals(tx, host, found, found.offers)
        name = _name(found)
        values = {
            "ask": found.ask, "subject": name, "scope": found.scope, "place": found.place,
            "recovery": _recovery(host, recovering.REFUSED, found, REFUSED, found.offers),
        }  # fmt: skip
        host.evidence.append(tx, "consent.refused", values, subject=name)

    host.store.write(change)


def note_refusal(
    host: Host, registry: Registry, *, phone: str | None, id_no: str | None, offers: Sequence[Offer], place: str, identity: str, actor: str
) -> str:
    """Record that a person declined before staff, at the counter or on the phone; the cool-down begins. The number of the question.

    Nothing was served and nothing can be signed under it. phone, id_no: normalised.
    """
    subject = registry.subject(phone, id_no)
    number, now = "A-" + host.random(8).hex(), host.now_ms()
    told = json.dumps([{"purpose": one.purpose, "recipient": one.recipient, "until_ms": one.until_ms} for one in offers])

    def change(tx: Transaction) -> None:
        # The secret of a link that nobody gets: its hash is random bytes, so no link leads here.
        tx.execute(
            "INSERT INTO consent_capture_ask (ask, secret, phone, id_no, offers, notice, way, place, identity, method, actor,"
            " asked_ms, expires_ms, opened_ms, closed_ms, state) VALUES (?, ?, ?, ?, ?, '', 'assisted', ?, ?, 'told', ?, ?, ?, ?, ?, ?)",
            (number, host.random(SECRET_BYTES), *tokens_of(subject), told, place, identity, actor, now, now, now, now, REFUSED),
        )
        found = _question(tx.execute(f"SELECT {_COLUMNS} FROM consent_capture_ask WHERE ask = ?", (number,)).fetchone())
        _remember_refusals(tx, host, found, found.offers)
        name = _name(found)
        values = {
            "ask": number, "subject": name, "scope": found.scope, "place": place,
            "recovery": _recovery(host, recovering.REFUSED, found, REFUSED, found.offers),
        }  # fmt: skip
        host.evidence.append(tx, "consent.refused", values, actor=actor, subject=name)

    host.store.write(change)
    return number


def take_back(host: Host, number: str, *, actor: str) -> str:
    """End a question that was not answered; returns its state. Raises NotFound NO_LINK, Refused LINK_USED."""

    def change(tx: Transaction) -> str:
        row = tx.execute(f"SELECT {_COLUMNS} FROM consent_capture_ask WHERE ask = ?", (number,)).fetchone()
        if row is None:
            raise NotFound("没有这次征求", "there is no such question", code="NO_LINK")
        found = _question(row)
        _require_waiting(host, found, may_be_late=True)
        _close(tx, host, found, CANCELLED)
        host.evidence.append(tx, "consent.ask_closed", _closing(host, found, CANCELLED), actor=actor)
        return CANCELLED

    return host.store.write(change)


def sweep(tx: Transaction, host: Host) -> int:
    """Close what nobody answered in time; the identifiers of it are destroyed. How many."""
    rows = tx.execute(
        f"SELECT {_COLUMNS} FROM consent_capture_ask WHERE state IN (?, ?) AND expires_ms <= ?", (*WAITING, host.now_ms())
    ).fetchall()
    for row in rows:
        found = _question(row)
        _close(tx, host, found, EXPIRED)
        host.evidence.append(tx, "consent.ask_closed", _closing(host, found, EXPIRED))
    return len(rows)


def shred(tx: Transaction, host: Host, numbers: Sequence[str]) -> None:
    """Destroy what the vault still holds of these questions."""
    for one in numbers:
        host.vault.shred(tx, _vault_name(one))


def funnel(reader: Reader) -> list[tuple[str, str, str, str, int]]:
    """(purpose, recipient, way, state, questions) of everything that was asked. A question of several offers counts in each."""
    found: dict[tuple[str, str, str, str], int] = {}
    for offers, way, state in reader.execute("SELECT offers, way, state FROM consent_capture_ask"):
        for one in json.loads(offers):
            key = (one["purpose"], one["recipient"], way, state)
            found[key] = found.get(key, 0) + 1
    return [(*key, count) for key, count in sorted(found.items())]


@dataclass(frozen=True, slots=True)
class Asked:
    """A question with what became of it. agreed: how many offers; cooling: name of an offer -> until when it is not asked again."""

    question: Question
    agreed: int
    cooling: Mapping[str, int]


def listed(
    reader: Reader, host: Host, *, state: str, subject: Subject | None, before: str, limit: int
) -> tuple[list[Asked], int]:
    """Questions newest first, and how many there are of this state and person.

    state: "" for all, COOLING for those whose refusal still keeps from asking; a question whose time is over counts as expired. subject:
    of one person. before: number of the last question seen, "" for the first page. Cost: 1 ms for each 10^4 questions.
    """
    now, length = host.now_ms(), host.setting("consent.cool_down_days") * DAY_MS
    state_of = f"CASE WHEN state IN ('{SERVED}', '{OPENED}') AND expires_ms <= :now THEN '{EXPIRED}' ELSE state END"
    cooling = "ask IN (SELECT ask FROM consent_capture_refusal WHERE at_ms > :cooling)"
    wanted = ["1" if not state else cooling if state == COOLING else f"{state_of} = :state"]
    values: dict[str, Any] = {"now": now, "cooling": now - length, "state": state, "before": before, "limit": limit, "absent": ABSENT}
    if subject is not None:
        wanted.append("((phone = :phone AND phone <> :absent) OR (id_no = :id_no AND id_no <> :absent))")
        values["phone"], values["id_no"] = tokens_of(subject)
    total = int(reader.execute(f"SELECT count(*) FROM consent_capture_ask WHERE {' AND '.join(wanted)}", values).fetchone()[0])
    if before:
        wanted.append("(asked_ms, ask) < (SELECT asked_ms, ask FROM consent_capture_ask WHERE ask = :before)")
    rows = reader.execute(
        f"SELECT {_COLUMNS}, agreed, {state_of} FROM consent_capture_ask WHERE {' AND '.join(wanted)} ORDER BY asked_ms DESC, ask DESC LIMIT :limit",
        values,
    ).fetchall()
    return [Asked(replace(_question(row), state=row[-1]), int(row[-2]), _cooling(reader, row[0], now, length)) for row in rows], total


def _cooling(reader: Reader, number: str, now: int, length: int) -> dict[str, int]:
    rows = reader.execute("SELECT purpose, recipient, at_ms FROM consent_capture_refusal WHERE ask = ?", (number,)).fetchall()
    return {f"{purpose}/{recipient}": at_ms + length for purpose, recipient, at_ms in rows if at_ms + length > now}


def known(reader: Reader, host: Host, found: Question) -> tuple[str, str]:
    """Phone and identity number of a question that is still open, "" where not named; both "" once it is closed."""
    if found.state not in WAITING:
        return "", ""
    told = json.loads(host.vault.get(reader, _vault_name(found.ask)))
    return told["phone"] or "", told["id_no"] or ""


def totals(reader: Reader) -> dict[str, int]:
    """How many questions were served, opened, signed, refused and ended without an answer."""
    rows = reader.execute("SELECT state, opened_ms IS NOT NULL, count(*) FROM consent_capture_ask GROUP BY 1, 2").fetchall()
    by_state = {state: sum(count for name, _, count in rows if name == state) for state in (SIGNED, REFUSED, EXPIRED, CANCELLED)}
    return {
        "served": sum(count for _, _, count in rows),
        "opened": sum(count for _, opened, count in rows if opened),
        "signed": by_state[SIGNED],
        "refused": by_state[REFUSED],
        "expired": by_state[EXPIRED],
        "cancelled": by_state[CANCELLED],
    }


def _form(found: Question, agreed: Sequence[Offer], *, offered: str, notice_digest: str, signed_ms: int) -> bytes:
    """What is kept as the signed form. Source: section 4."""

    def plain(offers: Sequence[Offer]) -> list[Mapping[str, Any]]:
        return [{"purpose": one.purpose, "recipient": one.recipient, "until_ms": one.until_ms} for one in offers]

    key, _, version = found.notice.partition("@")
    value = {
        "agreed": plain(agreed),
        "ask": found.ask,
        "declined": plain([one for one in found.offers if one not in agreed]),
        "identity": found.identity,
        "method": found.method,
        "notice": {"digest": notice_digest, "key": key, "version": version} if found.notice else None,
        "offered": offered,
        "place": found.place,
        "shown_ms": found.opened_ms or signed_ms,
        "signed_ms": signed_ms,
        "v": FORM_VERSION,
    }
    return canonical.format(value) + b"\n"


def _close(tx: Transaction, host: Host, found: Question, state: str, *, agreed: int = 0) -> None:
    """Raises Refused LINK_USED when somebody was faster."""
    changed = tx.execute(
        "UPDATE consent_capture_ask SET state = ?, closed_ms = ?, agreed = ? WHERE ask = ? AND state IN (?, ?)",
        (state, host.now_ms(), agreed, found.ask, *WAITING),
    ).rowcount
    if not changed:
        raise _used()
    host.vault.shred(tx, _vault_name(found.ask))


def _closing(host: Host, found: Question, state: str) -> dict[str, str]:
    return {"ask": found.ask, "state": state, "recovery": _recovery(host, recovering.CLOSED, found, state, ())}


def _recovery(host: Host, kind: str, found: Question, state: str, refused: Sequence[Offer]) -> str:
    return recovering.sealed(
        host, kind, ask=found.ask, state=state, phone=found.phone, id_no=found.id_no, at_ms=host.now_ms(), refused=refused
    )


def _remember_refusals(tx: Transaction, host: Host, found: Question, offers: Sequence[Offer]) -> None:
    """What was left off is not asked again either before the cool-down ends."""
    tx.executemany(
        "INSERT INTO consent_capture_refusal (ask, phone, id_no, purpose, recipient, at_ms) VALUES (?, ?, ?, ?, ?, ?)",
        [(found.ask, found.phone, found.id_no, one.purpose, one.recipient, host.now_ms()) for one in offers],
    )


def _require_waiting(host: Host, found: Question, *, may_be_late: bool = False) -> None:
    if found.state not in WAITING:
        raise _used()
    if not may_be_late and host.now_ms() >= found.expires_ms:
        raise Refused("签署链接已过期：请向经办人员索取新的", "the signing link has expired: ask the staff for a new one", code="LINK_EXPIRED")


def _used() -> Refused:
    return Refused("这个链接已经用过，没有再记录任何内容", "this link has served already; nothing more was recorded", code="LINK_USED")


def _question(row: Sequence[Any]) -> Question:
    offers = tuple(Offer(one["purpose"], one["recipient"], one["until_ms"]) for one in json.loads(row[3]))
    return Question(
        ask=row[0], phone=row[1], id_no=row[2], offers=offers, notice=row[4], way=row[5], place=row[6], identity=row[7], method=row[8],
        actor=row[9], asked_ms=row[10], expires_ms=row[11], opened_ms=row[12] or 0, closed_ms=row[13] or 0, state=row[14],
    )  # fmt: skip


def _name(found: Question) -> str:
    """Name of the customer's key, as consent entries use it."""
    return (found.id_no if any(found.id_no) else found.phone).hex()


def _kept(secret: str) -> bytes:
    return sm3.digest(b"workbench/v1/signing-link\n" + secret.encode())


def _vault_name(number: str) -> str:
    return f"capture/{number}"


__all__ = ["COOLING", "Asked", "Question", "agree", "ask", "find", "funnel", "known", "listed", "note_refusal", "refuse", "show", "shred", "sweep", "take_back", "totals"]

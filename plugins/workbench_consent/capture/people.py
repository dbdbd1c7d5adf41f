"""Who is asked, as tokens; cool-downs and questions of one person. docs/protocols/capture.md sections 3 and 8."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from workbench.contracts import GrantQuery, Host, Transaction
from workbench.domain.intersection import KeyKind
from workbench.domain.party import PartyId
from workbench.errors import Refused
from workbench_consent import columns
from workbench_consent.grants import Subject
from workbench_consent.projection import State
from workbench_consent.subjects import ABSENT
from workbench_consent.withdrawing import columns_of_subject

Reader = sqlite3.Connection | Transaction
DAY_MS = 86_400_000
_THEIRS = "((phone = ? AND phone <> ?) OR (id_no = ? AND id_no <> ?))"


@dataclass(frozen=True, slots=True)
class Offer:
    """One thing asked for: a purpose, a recipient, and until when."""

    purpose: str
    recipient: str
    until_ms: int

    @property
    def name(self) -> str:
        return f"{self.purpose}/{self.recipient}"


def tokens_of(subject: Subject) -> tuple[bytes, bytes]:
    """As the tables keep them."""
    return subject.phone or ABSENT, subject.id_no or ABSENT


def named(subject: Subject) -> tuple[bytes, bytes, bytes, bytes]:
    """Parameters of `_THEIRS`."""
    phone, id_no = tokens_of(subject)
    return phone, ABSENT, id_no, ABSENT


def cooling_until(reader: Reader, host: Host, subject: Subject, offers: Iterable[Offer]) -> dict[str, int]:
    """name of an offer -> until when the person is not asked for it again; only those that are cooling down."""
    length: int = host.setting("consent.cool_down_days") * DAY_MS
    now = host.now_ms()
    found: dict[str, int] = {}
    rows = reader.execute(
        f"SELECT purpose, recipient, max(at_ms) FROM consent_capture_refusal WHERE {_THEIRS} GROUP BY purpose, recipient",
        named(subject),
    ).fetchall()
    refused = {(row[0], row[1]): int(row[2]) for row in rows}
    for offer in offers:
        at = refused.get((offer.purpose, offer.recipient))
        if at is not None and now < at + length:
            found[offer.name] = at + length
    return found


def require_may_ask(reader: Reader, host: Host, subject: Subject, offers: Sequence[Offer]) -> None:
    """Refused ASKED_TOO_SOON while a refusal of one of these cools down."""
    cooling = cooling_until(reader, host, subject, offers)
    if cooling:
        until = max(cooling.values())
        raise Refused(
            f"这位客户已拒绝 {'、'.join(sorted(cooling))}，冷却期内不再征求；客户本人提出的除外",
            f"this customer refused {', '.join(sorted(cooling))} and is not asked again before the cool-down ends; of their own accord they may",
            code="ASKED_TOO_SOON",
            details={"until_ms": str(until), "scope": " ".join(sorted(cooling))},
        )


def require_not_kept_out(state: State, subject: Subject, offers: Sequence[Offer], at_ms: int) -> None:
    """Refused CUSTOMER_KEPT_OUT for somebody on the suppression list: nothing that is signed would count."""
    one = columns_of_subject(subject)
    for offer in offers:
        query = GrantQuery(offer.purpose, PartyId(offer.recipient), at_ms, KeyKind.ID_NO)
        if bool(columns.suppressed(one, state.withdrawals, query)[0]):
            raise Refused(
                "这位客户已退出，不再使用；合规岗解除标识后方可重新征求",
                "this customer has left and is kept out; compliance lifts that before anybody asks again",
                code="CUSTOMER_KEPT_OUT",
            )


def forget(tx: Transaction, names: Sequence[str]) -> tuple[int, list[str]]:
    """Delete questions and refusals of the person with these tokens (hex); how many, and the questions' numbers."""
    asks: list[str] = []
    count = 0
    for one in names:
        token = bytes.fromhex(one)
        asks += [str(row[0]) for row in tx.execute("SELECT ask FROM consent_capture_ask WHERE phone = ? OR id_no = ?", (token, token))]
        for table in ("consent_capture_ask", "consent_capture_refusal"):
            count += tx.execute(f"DELETE FROM {table} WHERE phone = ? OR id_no = ?", (token, token)).rowcount
    return count, asks

"""Directed grants and the rule who may be used: the whole meaning of consent, one customer at a time.

Document: docs/consent.md sections 2 to 5. `decide` here is the reference: short, slow, obvious. The columnar version in
`columns.py` must agree with it on every input, and the tests hold the two together. Nothing here reads a clock, a file
or a database; tokens are 16 bytes from `subjects.py` and stand for identifiers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum

from workbench.contracts import GrantQuery
from workbench.crypto import sm3
from workbench.domain.intersection import KeyKind
from workbench_consent.notices.difference import Staleness

DIGEST_LABEL = b"workbench/v1/grant\n"
DIGEST_LABEL_2 = b"workbench/v2/grant\n"
DOCUMENT_LABEL = b"workbench/v1/signed-form\n"
WITHDRAWAL_LABEL = b"workbench/v1/withdrawal\n"
ERASURE_LABEL = b"workbench/v1/consent-erasure\n"
LIFTING_LABEL = b"workbench/v1/lifting\n"


class Reason(IntEnum):
    """Why a customer may or may not be used, best first; the name of a member is the reason's code (OK shows as "").

    The order of those up to NO_GRANT is the order in which the grants of one customer compete: the best one speaks.
    """

    OK = 0
    AMBIGUOUS_KEY = 1
    GUARDIAN = 2
    STALE = 3
    CATEGORY_MISMATCH = 4
    CHANNEL_MISMATCH = 5
    USED_UP = 6
    WITHDRAWN = 7
    NOT_YET_VALID = 8
    EXPIRED = 9
    RECIPIENT_MISMATCH = 10
    PURPOSE_MISMATCH = 11
    NO_GRANT = 12
    PROFILING_REFUSED = 13
    CHANNEL_REFUSED = 14
    SUPPRESSED = 15
    DUPLICATE_KEY = 16
    MISSING_KEY = 17
    RESTRICTED = 18

    @property
    def code(self) -> str:
        return "" if self is Reason.OK else self.name


@dataclass(frozen=True, slots=True)
class Subject:
    """Who is meant: tokens of a phone and of an identity number, None where not named."""

    phone: bytes | None
    id_no: bytes | None


CATEGORY_OF_KEY = {KeyKind.PHONE: "phone", KeyKind.ID_NO: "id-no"}
"""The category of personal information that comparing by a key processes."""
GUARDIAN_SIGNER = "guardian"


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a form says besides purpose, recipient and period; empty for forms of the first version.

    notice: the version signed, key@version, with its digest in hex. categories, contacts: codes, ascending: personal
    information, and channels by which the customer may be contacted. method: how it was signed. signer: "self", "guardian",
    "agent" or "kin", "" when not said. minor: the subject was under 14 when the grant began. separate: agreed to separately.
    max_uses: in how many jobs it may be used, 0 for any number.
    """

    notice: str = ""
    notice_digest: str = ""
    categories: tuple[str, ...] = ()
    contacts: tuple[str, ...] = ()
    method: str = ""
    signer: str = ""
    minor: bool = False
    separate: bool = False
    max_uses: int = 0


PLAIN = Conditions()
"""A grant with these conditions has the digest of the first version."""


@dataclass(frozen=True, slots=True)
class Grant:
    """One row of a signed form: this person lets this institution use the key towards `recipient` for `purpose`.

    record: number of the row in this registry, from 1. seq: the event that brought it. Live while
    from_ms <= t < until_ms. digest: see `grant_digest`.
    """

    record: int
    seq: int
    subject: Subject
    purpose: str
    recipient: str
    from_ms: int
    until_ms: int
    digest: bytes
    channel: str = ""
    conditions: Conditions = PLAIN


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """What a person took back: "" as purpose or recipient means every one.

    seq: the event; it ends every grant of an earlier event in its scope, for good. suppresses: it also keeps the person
    out of whatever is imported later, until compliance lifts that (lifted).
    """

    seq: int
    subject: Subject
    purpose: str
    recipient: str
    suppresses: bool = True
    lifted: bool = False

    def covers(self, purpose: str, recipient: str) -> bool:
        return self.purpose in ("", purpose) and self.recipient in ("", recipient)


@dataclass(frozen=True, slots=True)
class Customer:
    """One row of a list: the institution's own number and the tokens of what is known."""

    customer_id: str
    subject: Subject
    born: int = 0
    """Day of birth as yyyymmdd, 0 when not known."""

    def key(self, kind: KeyKind) -> bytes | None:
        return self.subject.phone if kind is KeyKind.PHONE else self.subject.id_no


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer for one customer; grant: the one that speaks for the reason, None when no grant says anything."""

    reason: Reason
    grant: Grant | None = None
    valid_until_ms: int = 0


def signed_form_commitment(salt: bytes, document: bytes, record: int) -> bytes:
    """The salted digest under which the registry keeps a signed form (row B6): 32 bytes.

    salt: 32 random bytes of this record. document: SM3 of the file, 32 bytes, or empty when none was given.
    Source: docs/consent.md section 4.
    """
    return sm3.digest(DOCUMENT_LABEL + salt + bytes([len(document)]) + document + record.to_bytes(8, "big"))


def grant_digest(
    *, salt: bytes, purpose: str, party: str, recipient: str, channel: str, from_ms: int, until_ms: int, form: bytes,
    conditions: Conditions = PLAIN,
) -> bytes:  # fmt: skip
    """What the intersection commits to per hit (decisions 10 and 12): 32 bytes that name no person.

    form: the result of `signed_form_commitment`. Source: docs/consent.md section 4.
    """
    head = grant_digest_head(purpose=purpose, party=party, recipient=recipient, channel=channel, conditions=conditions)
    return sm3.digest(head + salt + from_ms.to_bytes(8, "big") + until_ms.to_bytes(8, "big") + form)


def grant_digest_head(
    *, purpose: str, party: str, recipient: str, channel: str, conditions: Conditions = PLAIN
) -> bytes:
    """The part of a grant's canonical bytes that many grants have in common: of the first version without conditions."""
    texts = b"".join(_prefixed(text) for text in (purpose, party, recipient, channel))
    if conditions == PLAIN:
        return DIGEST_LABEL + texts
    flags = bytes([conditions.minor | conditions.separate << 1])
    return b"".join(
        (
            DIGEST_LABEL_2, texts, _prefixed(conditions.notice), bytes.fromhex(conditions.notice_digest or "00" * 32),
            _prefixed(",".join(conditions.categories)), _prefixed(",".join(conditions.contacts)), _prefixed(conditions.method),
            _prefixed(conditions.signer), flags, conditions.max_uses.to_bytes(4, "big"),
        )
    )  # fmt: skip


def withdrawal_digest(salt: bytes, withdrawals: Sequence[Withdrawal]) -> bytes:
    """What the evidence of one withdrawal shares: 32 bytes over all its entries. Source: docs/consent.md section 4."""
    parts = [
        (one.subject.phone or bytes(16))
        + (one.subject.id_no or bytes(16))
        + _prefixed(one.purpose)
        + _prefixed(one.recipient)
        + bytes([one.suppresses])
        for one in withdrawals
    ]
    return sm3.digest(WITHDRAWAL_LABEL + salt + b"".join(parts))


def lifting_digest(salt: bytes, entries: Sequence[int]) -> bytes:
    """What the evidence of one lifting shares: 32 bytes over the numbers of the entries it ended, ascending."""
    return sm3.digest(LIFTING_LABEL + salt + b"".join(number.to_bytes(8, "big") for number in entries))


def erasure_digest(salt: bytes, records: Sequence[int], leaves: Sequence[tuple[int, bytes]]) -> bytes:
    """What the evidence of one erasure shares: 32 bytes over the grants taken out, ascending, and what their leaves became.

    leaves: first record and new hash of every leaf touched, ascending; so the rows that stay are bound again.
    """
    taken = len(records).to_bytes(4, "big") + b"".join(number.to_bytes(8, "big") for number in records)
    return sm3.digest(ERASURE_LABEL + salt + taken + b"".join(first.to_bytes(8, "big") + hash_ for first, hash_ in leaves))


def fits_customer(grant: Subject, customer: Subject) -> bool:
    """A grant fits when an identifier it names equals the customer's and none it names contradicts."""
    phone_agrees = _agrees(grant.phone, customer.phone)
    id_agrees = _agrees(grant.id_no, customer.id_no)
    return True in (phone_agrees, id_agrees) and False not in (phone_agrees, id_agrees)


def means_person(withdrawn: Subject, other: Subject) -> bool:
    """A withdrawal means a person when the identity numbers agree, or the phones do and the numbers do not differ."""
    id_agrees = _agrees(withdrawn.id_no, other.id_no)
    return bool(id_agrees) or (_agrees(withdrawn.phone, other.phone) is True and id_agrees is None)


def was_withdrawn(grant: Grant, withdrawals: Iterable[Withdrawal]) -> bool:
    """The fold: a grant is dead once a later event took it back; nothing revives it, not even a lifted suppression."""
    return any(
        one.seq > grant.seq and one.covers(grant.purpose, grant.recipient) and means_person(one.subject, grant.subject)
        for one in withdrawals
    )


def is_suppressed(customer: Subject, query: GrantQuery, withdrawals: Iterable[Withdrawal]) -> bool:
    """Whether a withdrawal still keeps this customer out.

    A phone somebody withdrew is out as a key for everybody who has it: the partner would meet the one who withdrew.
    """
    for one in withdrawals:
        if not one.suppresses or one.lifted or not one.covers(query.purpose, query.recipient):
            continue
        if means_person(one.subject, customer):
            return True
        if query.key_kind is KeyKind.PHONE and _agrees(one.subject.phone, customer.phone):
            return True
    return False


StaleSince = Mapping[str, Sequence[tuple[int, Staleness]]]
"""Version of a notice (key@version) -> from when later versions made what of it stale: `notices.published.stale_since`."""


def standing(grant: Grant, query: GrantQuery, withdrawn: bool, *, stale: StaleSince, is_used_up: bool = False) -> Reason:
    """What one grant alone says about the query."""
    same_purpose, same_recipient = grant.purpose == query.purpose, grant.recipient == query.recipient
    if same_purpose and same_recipient:
        if withdrawn:
            return Reason.WITHDRAWN
        if query.at_ms < grant.from_ms:
            return Reason.NOT_YET_VALID
        if query.at_ms >= grant.until_ms:
            return Reason.EXPIRED
        reason = scope_reason(grant.conditions, query, stale.get(grant.conditions.notice, ()))
        return Reason.USED_UP if reason is Reason.OK and is_used_up else reason
    if withdrawn or not (same_purpose or same_recipient):
        return Reason.NO_GRANT
    return Reason.RECIPIENT_MISMATCH if same_purpose else Reason.PURPOSE_MISMATCH


def scope_reason(conditions: Conditions, query: GrantQuery, later: Sequence[tuple[int, Staleness]]) -> Reason:
    """What the conditions of a live grant for this purpose and recipient say about the query.

    later: what later versions of its notice made stale, and from when. Source: docs/consent.md section 5, rules 6 and 7.
    """
    if conditions.minor and conditions.signer != GUARDIAN_SIGNER:
        return Reason.GUARDIAN
    changed = [one for at_ms, one in later if at_ms <= query.at_ms and _is_about(one, query)]
    if any(one.whole for one in changed):
        return Reason.STALE
    missing = missing_categories(conditions, query)
    if missing:
        added = {code for one in changed for code in one.added}
        return Reason.STALE if missing <= added else Reason.CATEGORY_MISMATCH
    speaks_of_contact = bool(conditions.notice or conditions.contacts)
    if query.contact and speaks_of_contact and query.contact not in conditions.contacts:
        return Reason.CHANNEL_MISMATCH
    return Reason.OK


def missing_categories(conditions: Conditions, query: GrantQuery) -> set[str]:
    """Categories the query needs and the form does not name; forms that name none were not asked about categories."""
    if not (conditions.notice or conditions.categories):
        return set()
    return ({CATEGORY_OF_KEY[query.key_kind]} | query.categories) - set(conditions.categories)


def stale_from(query: GrantQuery, later: Sequence[tuple[int, Staleness]]) -> int | None:
    """When what is usable now will be stale because of a version already published, None when nothing is known."""
    ends = [at_ms for at_ms, one in later if at_ms > query.at_ms and one.whole and _is_about(one, query)]
    return min(ends, default=None)


def day_of(at_ms: int) -> int:
    """The calendar day in Asia/Shanghai as yyyymmdd."""
    day = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms, hours=8)
    return day.year * 10_000 + day.month * 100 + day.day


def is_minor(born: int, day: int) -> bool:
    """Whether somebody born on `born` is under 14 on `day`, both yyyymmdd; 0 (not known) is not.

    The fourteenth birthday itself still counts as under 14: full years are reached on the day after (from memory, needs a
    person's check; the later day is the careful reading).
    """
    return born != 0 and day <= born + 140_000


def _is_about(one: Staleness, query: GrantQuery) -> bool:
    return (one.purpose, one.recipient) == (query.purpose, query.recipient)


def decide(
    customers: Sequence[Customer],
    grants: Sequence[Grant],
    withdrawals: Sequence[Withdrawal],
    query: GrantQuery,
    among: Sequence[bool] | None = None,
    restrictions: Sequence[Withdrawal] = (),
    *,
    stale: StaleSince | None = None,
    used_up: Collection[int] = (),
    refusals: Sequence[tuple[Reason, Sequence[Sequence[Withdrawal]]]] = (),
) -> list[Verdict]:
    """The verdict for every customer of a list, in order. Cost: customers times grants; for one, tests and explanations.

    among: who belongs to the audience, None for everybody; one of them stands for a shared key where possible.
    restrictions: who restricts processing now, written like withdrawals; they end no grant. stale: what later versions of
    notices changed. used_up: records that served as often as they may. refusals: who refused profiling or channels, see
    `refusing.applicable`: a person is out when every group of a reason means them.
    """
    fold = [
        (grant, standing(grant, query, was_withdrawn(grant, withdrawals), stale=stale or {}, is_used_up=grant.record in used_up))
        for grant in grants
    ]
    persons_by_phone = _persons_by_phone(customers)
    verdicts = [
        _decide_alone(customer, fold, withdrawals, query, persons_by_phone, restrictions, stale or {}, refusals)
        for customer in customers
    ]
    return _settle_shared_keys(customers, verdicts, query.key_kind, among or [True] * len(customers))


def _decide_alone(
    customer: Customer,
    fold: Sequence[tuple[Grant, Reason]],
    withdrawals: Sequence[Withdrawal],
    query: GrantQuery,
    persons_by_phone: dict[bytes, int],
    restrictions: Sequence[Withdrawal],
    stale: StaleSince,
    refusals: Sequence[tuple[Reason, Sequence[Sequence[Withdrawal]]]],
) -> Verdict:
    if customer.key(query.key_kind) is None:
        return Verdict(Reason.MISSING_KEY)
    best = Verdict(Reason.NO_GRANT)
    rank: tuple[int, int, int] | None = None
    for grant, alone in fold:
        if not fits_customer(grant.subject, customer.subject):
            continue
        reason = alone
        if reason is Reason.OK and _lacks_guardian(grant, customer):
            reason = Reason.GUARDIAN
        if reason is Reason.OK and not _is_certain(grant.subject, customer.subject, persons_by_phone):
            reason = Reason.AMBIGUOUS_KEY
        candidate = (int(reason), -grant.until_ms, grant.record)
        if reason < Reason.NO_GRANT and (rank is None or candidate < rank):
            rank, best = candidate, Verdict(reason, grant)
    if best.reason is not Reason.WITHDRAWN and is_suppressed(customer.subject, query, withdrawals):
        return Verdict(Reason.SUPPRESSED)
    if best.reason is not Reason.WITHDRAWN and is_suppressed(customer.subject, query, restrictions):
        return Verdict(Reason.RESTRICTED)
    if best.reason is Reason.OK and best.grant is not None:
        for reason, groups in refusals:
            if groups and all(is_suppressed(customer.subject, query, group) for group in groups):
                return Verdict(reason)
        ends = stale_from(query, stale.get(best.grant.conditions.notice, ()))
        until_ms = best.grant.until_ms if ends is None else min(ends, best.grant.until_ms)
        return Verdict(Reason.OK, best.grant, until_ms)
    return best


def _lacks_guardian(grant: Grant, customer: Customer) -> bool:
    """By the customer's day of birth: under 14 when the grant began, and no guardian signed (PIPL 31)."""
    return grant.conditions.signer != GUARDIAN_SIGNER and is_minor(customer.born, day_of(grant.from_ms))


def _settle_shared_keys(
    customers: Sequence[Customer], verdicts: list[Verdict], kind: KeyKind, among: Sequence[bool]
) -> list[Verdict]:
    """Decision 16: a key several customers share counts once if each of them has a live grant, else not at all."""
    holders: dict[bytes, list[int]] = defaultdict(list)
    for index, customer in enumerate(customers):
        key = customer.key(kind)
        if key is not None:
            holders[key].append(index)
    for rows in holders.values():
        if len(rows) == 1:
            continue
        if any(verdicts[row].reason is not Reason.OK for row in rows):
            for row in rows:
                verdicts[row] = Verdict(Reason.AMBIGUOUS_KEY)
            continue
        first, *others = sorted(rows, key=lambda row: (not among[row], customers[row].customer_id, row))
        ends = min(verdicts[row].valid_until_ms for row in rows)
        verdicts[first] = Verdict(Reason.OK, verdicts[first].grant, ends)
        for row in others:
            verdicts[row] = Verdict(Reason.DUPLICATE_KEY)
    return verdicts


def _persons_by_phone(customers: Sequence[Customer]) -> dict[bytes, int]:
    """How many persons of the list have each phone; rows with one identity number are one person."""
    numbers: dict[bytes, set[bytes]] = defaultdict(set)
    unknown: dict[bytes, int] = defaultdict(int)
    for customer in customers:
        if customer.subject.phone is None:
            continue
        if customer.subject.id_no is None:
            unknown[customer.subject.phone] += 1
        else:
            numbers[customer.subject.phone].add(customer.subject.id_no)
    return {phone: len(numbers[phone]) + unknown[phone] for phone in numbers.keys() | unknown.keys()}


def _is_certain(grant: Subject, customer: Subject, persons_by_phone: dict[bytes, int]) -> bool:
    """Whether the grant is surely this customer's: by identity number, or by a phone only one person of the list has."""
    if _agrees(grant.id_no, customer.id_no):
        return True
    return customer.phone is not None and persons_by_phone[customer.phone] == 1


def _prefixed(text: str) -> bytes:
    """A text with its length in front, so that two texts in a row have one reading."""
    data = text.encode("utf-8")
    return len(data).to_bytes(2, "big") + data


def _agrees(named: bytes | None, known: bytes | None) -> bool | None:
    """True or False when both are there, None when one is absent."""
    return None if named is None or known is None else named == known

"""The letter that tells a partner of a withdrawal, and its answer: bytes and tags.

Document: docs/protocols/withdrawal.md sections 3 and 4. Pure. A letter names a customer only to who holds the customer
through the same released list.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from workbench.crypto import canonical, sm3
from workbench.domain.intersection import KeyKind
from workbench.errors import ProtocolViolation, VerificationError

LETTER_KIND = "consent.withdrawal"
LABEL = b"workbench/v1/withdrawn-customer\n"
SALT_SIZE = 32
MOST_JOBS = 100
MOST_TAGS = 100
_JOB = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_PURPOSE = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}|")
_HEX = re.compile(r"[0-9a-f]{64}")
STATES = frozenset({"marked", "not-found", "no-list"})


@dataclass(frozen=True, slots=True)
class MeantJob:
    """Which rows of one job's list are meant. salt: 32 bytes; tags: 32 bytes each, ascending."""

    job: str
    key_kind: KeyKind
    salt: bytes = field(repr=False)
    tags: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class WithdrawalNotice:
    """purpose: "" for all. time_ms: when it was withdrawn. jobs: ascending."""

    purpose: str
    time_ms: int
    jobs: tuple[MeantJob, ...]

    def pack(self) -> bytes:
        """The body of the letter."""
        jobs = [
            {"job": one.job, "key_kind": one.key_kind.value, "salt": one.salt.hex(), "tags": [tag.hex() for tag in one.tags]}
            for one in self.jobs
        ]
        return canonical.format({"v": 1, "purpose": self.purpose, "time_ms": self.time_ms, "jobs": jobs})


@dataclass(frozen=True, slots=True)
class JobAnswer:
    """What the partner did for one job. state: "marked", "not-found" or "no-list"; customers and exports: counts."""

    job: str
    state: str
    customers: int
    exports: int


def tags_of(salt: bytes, *, job: str, key_kind: KeyKind, values: Sequence[str]) -> list[bytes]:
    """The tag of every value, 32 bytes each. Cost: 0.6 µs a value where there are many."""
    prefix = LABEL + _len16(job) + _len16(key_kind.value)
    return list(sm3.hmac_many(salt, [prefix + value.encode("ascii", "replace") for value in values]))


def meant(salt: bytes, *, job: str, key_kind: KeyKind, values: Sequence[str]) -> MeantJob:
    """Who of a job's list is meant, for a letter. values: at most MOST_TAGS normalised identifiers."""
    tags = sorted(set(tags_of(salt, job=job, key_kind=key_kind, values=values)))
    if not 1 <= len(tags) <= MOST_TAGS or len(salt) != SALT_SIZE:
        raise ValueError("a letter means 1 to 100 customers of a job under a salt of 32 bytes")
    return MeantJob(job, key_kind, salt, tuple(tags))


def parse_notice(body: bytes) -> WithdrawalNotice:
    """The notice of these bytes; ProtocolViolation WITHDRAWAL_MALFORMED for any other."""
    try:
        value = canonical.parse_object(body)
        if set(value) != {"v", "purpose", "time_ms", "jobs"} or value["v"] != 1 or isinstance(value["v"], bool):
            raise ValueError("other fields")
        rows = value["jobs"]
        if not isinstance(rows, list) or not 1 <= len(rows) <= MOST_JOBS:
            raise ValueError("another number of jobs")
        notice = WithdrawalNotice(
            _matching(_PURPOSE, value["purpose"]), _count(value["time_ms"]), tuple(_job(row) for row in rows)
        )
        names = [one.job for one in notice.jobs]
        if names != sorted(set(names)):
            raise ValueError("jobs are not in order")
    except (VerificationError, ValueError) as error:
        raise ProtocolViolation(
            "撤回信函的格式不对", "a letter about a withdrawal is malformed", code="WITHDRAWAL_MALFORMED"
        ) from error
    return notice


def pack_answer(answers: Sequence[JobAnswer]) -> bytes:
    """The signed answer of the recipient."""
    rows = [{"job": one.job, "state": one.state, "customers": one.customers, "exports": one.exports} for one in answers]
    return canonical.format({"v": 1, "jobs": rows})


def parse_answer(data: bytes) -> tuple[JobAnswer, ...]:
    """What a partner answered; VerificationError for another form: a partner's text is never shown as it came."""
    try:
        value = canonical.parse_object(data)
        rows = value.get("jobs")
        if set(value) != {"v", "jobs"} or value["v"] != 1 or not isinstance(rows, list) or len(rows) > MOST_JOBS:
            raise ValueError("other fields")
        return tuple(_answer(row) for row in rows)
    except ValueError as error:
        raise VerificationError(
            "对方对撤回的答复格式不对", "the partner's answer to a withdrawal is malformed", code="WITHDRAWAL_MALFORMED"
        ) from error


def _job(row: canonical.Json) -> MeantJob:
    if not isinstance(row, dict) or set(row) != {"job", "key_kind", "salt", "tags"}:
        raise ValueError("other fields of a job")
    tags = row["tags"]
    if not isinstance(tags, list) or not 1 <= len(tags) <= MOST_TAGS:
        raise ValueError("another number of tags")
    texts = [_matching(_HEX, one) for one in tags]
    if texts != sorted(set(texts)):
        raise ValueError("tags are not in order")
    salt = bytes.fromhex(_matching(_HEX, row["salt"]))
    kind = KeyKind(_matching(re.compile("[a-z_]{1,20}"), row["key_kind"]))
    return MeantJob(_matching(_JOB, row["job"]), kind, salt, tuple(bytes.fromhex(one) for one in texts))


def _answer(row: canonical.Json) -> JobAnswer:
    if not isinstance(row, dict) or set(row) != {"job", "state", "customers", "exports"} or row["state"] not in STATES:
        raise ValueError("other fields of an answer")
    return JobAnswer(_matching(_JOB, row["job"]), str(row["state"]), _count(row["customers"]), _count(row["exports"]))


def _matching(form: re.Pattern[str], value: canonical.Json) -> str:
    if not isinstance(value, str) or not form.fullmatch(value):
        raise ValueError("a text has another form")
    return value


def _count(value: canonical.Json) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("a number has another form")
    return value


def _len16(text: str) -> bytes:
    data = text.encode()
    return len(data).to_bytes(2, "big") + data

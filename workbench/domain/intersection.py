"""An intersection as business values: terms, contract, states. Document: docs/protocols/intersection.md."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

from workbench.domain.party import PartyId

JobId = NewType("JobId", str)
ListId = NewType("ListId", str)


class KeyKind(StrEnum):
    """Which identifier two institutions compare."""

    PHONE = "phone"
    ID_NO = "id_no"


class JobState(StrEnum):
    """States of an intersection job; docs/protocols/intersection.md has the table with the recovery rule of each."""

    DRAFT = "DRAFT"
    PROPOSED = "PROPOSED"
    APPROVED = "APPROVED"
    RUNNING = "RUNNING"
    REVEALING = "REVEALING"
    CHECKING = "CHECKING"
    SEALING = "SEALING"
    RELEASED = "RELEASED"
    REFUSED_SMALL = "REFUSED_SMALL"
    REJECTED = "REJECTED"
    WITHDRAWN = "WITHDRAWN"
    EXPIRED = "EXPIRED"
    CANCELLED = "CANCELLED"
    ABORTED = "ABORTED"
    ABORTED_AFTER_REVEAL = "ABORTED_AFTER_REVEAL"
    DISPUTED = "DISPUTED"


FINAL_STATES = frozenset(
    {
        JobState.RELEASED,
        JobState.REFUSED_SMALL,
        JobState.REJECTED,
        JobState.WITHDRAWN,
        JobState.EXPIRED,
        JobState.CANCELLED,
        JobState.ABORTED,
        JobState.ABORTED_AFTER_REVEAL,
        JobState.DISPUTED,
    }
)
"""States in which no work is going on. ABORTED and ABORTED_AFTER_REVEAL may be run again as a new attempt."""

RUN_AGAIN_STATES = frozenset({JobState.ABORTED, JobState.ABORTED_AFTER_REVEAL})


@dataclass(frozen=True, slots=True)
class Terms:
    """What two institutions agree on before a run; signed by both, valid for every attempt.

    minimum_crowd: the effective floor, the largest of the request and of both nodes' policies.
    valid_until_ms: an attempt may only start before this instant (milliseconds since 1970 UTC).
    engine: name and version, for example "ddh-x25519/1". mode: "direct".
    """

    job: JobId
    initiator: PartyId
    partner: PartyId
    purpose: str
    key_kind: KeyKind
    minimum_crowd: int
    engine: str
    mode: str
    valid_until_ms: int

    def as_json(self) -> dict[str, str]:
        """The signed form: every value a string (RFC 8785 text is made of it)."""
        return {
            "v": "workbench/v1/terms",
            "job": self.job,
            "initiator": self.initiator,
            "partner": self.partner,
            "purpose": self.purpose,
            "key_kind": self.key_kind.value,
            "directions": f"{self.initiator}->{self.partner} {self.partner}->{self.initiator}",
            "minimum_crowd": str(self.minimum_crowd),
            "engine": self.engine,
            "mode": self.mode,
            "valid_until_ms": str(self.valid_until_ms),
        }

    @classmethod
    def from_json(cls, value: dict[str, str]) -> Terms:
        """The inverse of `as_json`; raises ValueError for any other spelling."""
        terms = cls(
            job=parse_job_id(value["job"]),
            initiator=PartyId(value["initiator"]),
            partner=PartyId(value["partner"]),
            purpose=value["purpose"],
            key_kind=KeyKind(value["key_kind"]),
            minimum_crowd=int(value["minimum_crowd"]),
            engine=value["engine"],
            mode=value["mode"],
            valid_until_ms=int(value["valid_until_ms"]),
        )
        if terms.as_json() != value:
            raise ValueError("terms in another spelling than docs/protocols/intersection.md")
        return terms


@dataclass(frozen=True, slots=True)
class Offer:
    """What one side adds to the terms for one attempt (part of the contract).

    bucket: number of points this side sends, padding included. commitment_root: 32 bytes over the salted leaves of its
    customers and paddings. public_point: scalar * base point, 32 bytes.
    """

    party: PartyId
    bucket: int
    commitment_root: bytes
    public_point: bytes

    def as_json(self) -> dict[str, str]:
        return {
            "party": self.party,
            "bucket": str(self.bucket),
            "commitment_root": self.commitment_root.hex(),
            "public_point": self.public_point.hex(),
        }


def new_job_id(date: str, random: bytes) -> JobId:
    """An id, J-YYYYMMDD- and eight hexadecimal digits; date: local calendar day as YYYYMMDD, random: 4 fresh bytes."""
    return parse_job_id(f"J-{date}-{random.hex()}")


def parse_job_id(text: str) -> JobId:
    """A job id as `new_job_id` makes it; ValueError otherwise."""
    head, _, rest = text.partition("-")
    date, _, tail = rest.partition("-")
    well_formed = head == "J" and len(date) == 8 and date.isdigit() and len(tail) == 8
    if not well_formed or any(c not in "0123456789abcdef" for c in tail):
        raise ValueError("a job id looks like J-20261121-0a1b2c3d")
    return JobId(text)


def bucket_of(count: int) -> int:
    """How many points a list of `count` customers is padded to (decision 7).

    The next multiple of 2^(ceil(log2 count) - 4), at least 256, so that at most 12.5 % is padding above 256.
    """
    if count <= 256:
        return 256
    step = 1 << max(0, (count - 1).bit_length() - 4)
    return -(-count // step) * step

"""One way to intersect: what an engine promises, what its sessions ask for, and what both sides hold at the end."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from workbench.domain.intersection import Offer, Terms
from workbench.domain.party import PartyId

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class EngineGuarantees:
    """What an engine promises; the flow refuses an engine that lacks what the contract demands (decision 14)."""

    floor_before_reveal: bool
    both_learn: bool
    security_model_zh: str
    security_model_en: str
    learns_zh: tuple[str, ...]
    learns_en: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Prepared:
    """One side's input after commitment: kept in memory for one attempt only.

    offer: what goes into the contract. handle: the engine's own state; secret.
    """

    offer: Offer
    handle: Any = field(repr=False)


@dataclass(frozen=True, slots=True)
class Send:
    """The session wants `payload` of message `kind` sent; answer: None once the link has taken it."""

    kind: str
    payload: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Receive:
    """The session wants the next message, which must be of `kind`; answer: its payload (bytes)."""

    kind: str


@dataclass(frozen=True, slots=True)
class Phase:
    """Progress: phase number and name, units of work done and in total; answer: None. May raise Cancelled into it."""

    number: int
    name: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class AskStruck:
    """Before the reveal: which own customers may no longer be used? Answer: int64 array of input indices."""


@dataclass(frozen=True, slots=True)
class AskDropped:
    """After the reveal: which of these own hits (int64 input indices) must be dropped at the cut-off? Answer: subset."""

    hits: np.ndarray


@dataclass(frozen=True, slots=True)
class Mark:
    """A step worth an entry of its own; values are the fields of evidence kind "intersection." + name."""

    name: str
    values: Mapping[str, str]


SessionRequest = Send | Receive | Phase | AskStruck | AskDropped | Mark
Session = Generator[SessionRequest, Any, "IntersectionOutcome"]
"""A pure sans-I/O protocol run: it yields requests, is sent their answers, and returns the outcome."""


@dataclass(frozen=True, slots=True)
class IntersectionOutcome:
    """What both sides hold at the end of a run that reached its floor.

    hits: int64 input indices of the released customers, ascending by identifier bytes. cardinality: signed by both
    before the reveal. struck, dropped: positions removed before and after the reveal (both sides together).
    result_digest: keyed digest of this side; partner_digest: of the other; both were compared.
    partner_bucket: the only thing learned about the partner's list size.
    """

    hits: np.ndarray
    cardinality: int
    struck: int
    dropped: int
    result_digest: bytes
    partner_digest: bytes
    partner_bucket: int
    grant_commitments: Mapping[str, str] = field(default_factory=dict)


class IntersectionEngine(Protocol):
    """One way to intersect (hook workbench_intersection_engines, collected)."""

    name: str
    version: str
    guarantees: EngineGuarantees

    def self_test(self) -> None:
        """Known answers at start; SelfTestFailed when one differs."""

    def estimate(self, own: int, partner_bucket: int) -> tuple[float, int]:
        """Seconds of this side's processor and bytes on the wire in both directions, before anything runs."""

    def prepare(
        self,
        *,
        party: PartyId,
        identifiers: Sequence[bytes],
        grant_digests: np.ndarray,
        random: Callable[[int], bytes],
    ) -> Prepared:
        """Commit to the input and draw a fresh scalar; identifiers: n distinct normalised byte strings."""

    def session(
        self, *, prepared: Prepared, initiator: bool, terms: Terms, contract_digest: bytes, partner: Offer, threads: int
    ) -> Session:
        """The protocol run of one side."""

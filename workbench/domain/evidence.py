"""Evidence as values: what kinds of entry exist, which of their fields are shared, and what a reader gets back.

Document: docs/protocols/evidence.md. The canonical bytes of an envelope are made and read by
workbench.domain.envelope; the trees, checkpoints and co-signatures belong to the ledger plugin.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from workbench.domain.party import PartyId


class Visibility(StrEnum):
    """Where the value of a field can be read.

    SHARED: in clear in the mirrored envelope, so every institution reads it. COMMITTED: only a salted SM3 commitment is
    mirrored; value and salt stay in the vault of the log's own institution (decision 2).
    """

    SHARED = "shared"
    COMMITTED = "committed"


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a kind of entry: its name, unit, where it can be read, and a sentence for staff.

    subject: the value concerns the customer whom an entry names, and is erased with that customer; committed only.
    """

    name: str
    visibility: Visibility
    zh: str
    en: str
    unit: str = ""
    subject: bool = False


def shared(name: str, zh: str, en: str, unit: str = "") -> Field:
    """A field that every institution with the entry can read."""
    return Field(name, Visibility.SHARED, zh, en, unit)


def closed(name: str, zh: str, en: str, unit: str = "") -> Field:
    """A field that this institution alone can read; the others have a commitment."""
    return Field(name, Visibility.COMMITTED, zh, en, unit)


def personal(name: str, zh: str, en: str, unit: str = "") -> Field:
    """A closed value about the customer whom an entry names: under that customer's key, and erased with the customer."""
    return Field(name, Visibility.COMMITTED, zh, en, unit, subject=True)


@dataclass(frozen=True, slots=True)
class EvidenceKind:
    """One kind of entry: dotted name such as "intersection.proposed", its fields, and a sentence for staff.

    bulk: entries of this kind stand for many rows by a Merkle root (decision 5).
    """

    name: str
    fields: tuple[Field, ...]
    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class EntryRef:
    """Where an entry lies: log of which institution, index from 0, and the SHA-256 leaf hash of its body (32 bytes)."""

    log: PartyId
    index: int
    leaf: bytes


@dataclass(frozen=True, slots=True)
class EntryView:
    """An entry as its own institution's staff read it.

    values: every field in clear that this node can open; fields of other institutions that are only committed are
    absent and named in `closed`. seal: see SealState.
    """

    ref: EntryRef
    kind: str
    time_ms: int
    job: str
    actor: str
    values: Mapping[str, str]
    closed: tuple[str, ...]
    refs: tuple[str, ...]
    seal: SealState


@dataclass(frozen=True, slots=True)
class SealState:
    """Who has co-signed a checkpoint that covers an entry.

    PENDING: not yet by those whom the policy requires; SEALED: by all required; FULL: by every member of the log.
    cosigners: their ids, sorted; missing: the other members. required, at_least: what the policy asks for
    (workbench.domain.policy).
    """

    state: str
    cosigners: tuple[PartyId, ...] = ()
    missing: tuple[PartyId, ...] = ()
    required: tuple[PartyId, ...] = ()
    at_least: int = 1

    @property
    def is_final(self) -> bool:
        """Whether every co-signature that the policy requires is there."""
        return self.state in ("SEALED", "FULL")


@dataclass(frozen=True, slots=True)
class EntryProof:
    """How the leaf at a place of a log leads to a signed head; says nothing about the body that lies there.

    paths: inclusion paths in the SHA-256 and the SM3 tree, from the leaf's sibling upwards. note: C2SP signed note of
    the head with all co-signatures known; size: number of entries it covers.
    """

    size: int
    sha256_path: tuple[bytes, ...]
    sm3_path: tuple[bytes, ...]
    note: str


@dataclass(frozen=True, slots=True)
class HeadConflict:
    """Two signed heads of one log that contradict each other. index, field: where they differ, if known.

    held_note may be "" when nothing had been signed yet; both notes are C2SP signed notes.
    """

    log: PartyId
    size: int
    found_ms: int
    problem: str
    index: int | None
    field: str
    held_note: str
    offered_note: str


@dataclass(frozen=True, slots=True)
class Lost:
    """The own log has `size` entries, but its own key signed `signed` of them. note: the proof, a C2SP signed note."""

    size: int
    signed: int
    note: str


@dataclass(frozen=True, slots=True)
class Restored:
    """Own entries start <= index < stop came back from mirrors; mirrors: who gave them, ascending."""

    start: int
    stop: int
    mirrors: tuple[PartyId, ...]


@dataclass(frozen=True, slots=True)
class LogHead:
    """How one log stands at this node. size: entries held; head: of the newest signed head, 0 without one.

    signers: of that head, ascending. cosigned: the largest head that this node itself has co-signed; cosigned_ms: when,
    0 never.
    """

    log: PartyId
    size: int
    head: int
    signers: tuple[PartyId, ...]
    cosigned: int
    cosigned_ms: int


@dataclass(frozen=True, slots=True)
class MirrorLag:
    """How far one mirror of the own log has come: entries it holds, as it said, and the largest head it has co-signed."""

    mirror: PartyId
    held: int
    cosigned: int
    cosigned_ms: int


@dataclass(frozen=True, slots=True)
class RestoredEntry:
    """An own entry that came back from a mirror, for `workbench_replay`: what is shared is there, what was committed is not."""

    index: int
    kind: str
    time_ms: int
    job: str
    actor: str
    shared: Mapping[str, str]
    committed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReplayNeed:
    """What people must do again after a restore, because its values never left this institution.

    name: of what, such as "consent.withdrawn"; count: how many; zh, en: what to do, by whom.
    """

    name: str
    count: int
    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class AuditFinding:
    """One place where a log does not hold: which entry and field, whose log, what is wrong, who must act."""

    log: PartyId
    index: int | None
    field: str
    problem: str
    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class AuditReport:
    """Result of re-hashing every body: counts and findings; `holds` is True only when nothing was found."""

    log: PartyId
    entries: int
    checkpoint_size: int
    mirrors: Mapping[str, int] = field(default_factory=dict)
    findings: tuple[AuditFinding, ...] = ()

    @property
    def holds(self) -> bool:
        return not self.findings

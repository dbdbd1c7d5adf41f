"""The log of an institution, its mirrors of the others, the search over them, and what shows them outside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from workbench.contracts.storing import Transaction
from workbench.domain.checkpoint import PartyKeys
from workbench.domain.evidence import (
    AuditReport,
    EntryProof,
    EntryRef,
    HeadConflict,
    LogHead,
    Lost,
    MirrorLag,
    Restored,
    SealState,
)
from workbench.domain.membership import MemberEntry
from workbench.domain.package import PackageOrder, PackageSummary
from workbench.domain.party import PartyId
from workbench.domain.search import Coverage, SearchHit, SearchQuery
from workbench.errors import VerificationError


class EvidenceLog(Protocol):
    """The one way in for evidence. The entry is written in the same transaction as the change it describes."""

    def append(
        self,
        tx: Transaction,
        kind: str,
        values: Mapping[str, str],
        *,
        job: str = "",
        actor: str = "",
        refs: Sequence[str] = (),
        subject: str = "",
    ) -> EntryRef:
        """Write one entry; the kind decides which values are shared and which only committed.

        values: exactly the fields of the kind, all strings. actor: token of the person, or "" for the node itself.
        subject: name of the customer key that seals the openings, "" for the log's own key.
        Raises ValueError for an unknown kind or field (a programming mistake).
        """


class LedgerExchange(Protocol):
    """What logs and mirrors ask each other besides co-signing (docs/protocols/ledger.md sections 4 to 6)."""

    def held(self, asker: PartyId) -> bytes:
        """As mirror: how much of the asker's log lies here, with its newest head as proof."""

    def learn_held(self, mirror: PartyId, answer: bytes) -> int:
        """As log: check and keep what a mirror proves about it; VerificationError ROLLED_BACK or FORK."""

    def pull_question(self, log: PartyId, reply: bytes = b"") -> bytes:
        """As mirror: ask for the entries of a log from what is held here on."""

    def answer_pull(self, asker: PartyId, question: bytes) -> bytes:
        """As log: a mirror request from where the asker stands, b"" when it has and has signed everything."""

    def untold(self, party: PartyId) -> tuple[list[int], bytes] | None:
        """Contradictions this partner has not been told: their numbers and the message; None without any."""

    def told(self, party: PartyId, numbers: Sequence[int]) -> None:
        """The partner has taken these."""

    def hear_conflicts(self, sender: PartyId, message: bytes) -> int:
        """Check and keep contradictions another institution proves; how many were new here."""

    def heads(self) -> Sequence[LogHead]:
        """How every log stands at this node."""

    def lags(self) -> Sequence[MirrorLag]:
        """How far every mirror of the own log has come."""

    def lost(self) -> Lost | None:
        """The proof that the own log once had more entries; None when it has all it ever signed."""

    def wanted(self) -> tuple[int, int] | None:
        """Own bodies still to be fetched, start <= index < stop."""

    def stage(self, start: int, bodies: Sequence[bytes], mirror: PartyId) -> None:
        """Keep fetched bodies apart from the log."""

    def drop_staged(self) -> None:
        """Forget what was fetched."""

    def take_staged(self) -> Restored | None:
        """Check the fetched bodies against every own signed head and make them entries, or raise and change nothing."""

    def unfinished(self) -> Restored | None:
        """Entries that came back and are not accounted for yet."""

    def finish(self, restored: Restored, record: Callable[[Transaction], None]) -> None:
        """The evidence of it and the end of it, in one transaction."""

    def was_cosigned(self) -> bool:
        """Whether this copy knows of any co-signature of another institution on the own log."""


class Ledger(Protocol):
    """The log of this institution and its mirrors of the others (hook workbench_ledger, exactly one)."""

    name: str

    @property
    def exchange(self) -> LedgerExchange:
        """What logs and mirrors ask each other besides co-signing."""

    def shut(self) -> None:
        """Take no entry until `open`: nobody has confirmed yet that this log is complete."""

    def open(self) -> None:
        """Take entries again; a log that lacks what it signed stays closed all the same."""

    def is_open(self) -> bool:
        """Whether the own log takes entries now."""

    def why_closed(self) -> VerificationError | None:
        """Why it takes none; None when it does."""

    def start(self) -> None:
        """Record the start with size and roots; VerificationError when the log does not continue what it signed."""

    def append(self, tx: Transaction, bodies: Sequence[bytes]) -> list[EntryRef]:
        """Add canonical envelopes to the own log and to both trees; returns where they lie."""

    def entry_bodies(self, log: PartyId, start: int, stop: int) -> list[bytes]:
        """Bodies of entries start <= index < stop of the own log or of a mirror."""

    def leaves(self, log: PartyId, start: int, stop: int) -> list[tuple[bytes, bytes]]:
        """SHA-256 and SM3 leaf hashes as they were stored when entries start <= index < stop were written.

        Only a hint: a body that gives another hash was changed; the proof is the path to a co-signed root.
        """

    def size(self, log: PartyId) -> int: ...

    def roots_at(self, log: PartyId, size: int) -> tuple[bytes, bytes]:
        """SHA-256 and SM3 root of the first `size` entries as held here; NotFound when fewer are."""

    def consistency(self, log: PartyId, old: int, new: int) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
        """Paths in both trees that show that `new` entries continue `old` (RFC 9162 section 2.1.4); NotFound as `roots_at`."""

    def seal_state(self, log: PartyId, index: int, *, required: Sequence[PartyId]) -> SealState:
        """As `seal`, for exactly these required institutions instead of the policy."""

    def seal(self, log: PartyId, index: int) -> SealState:
        """Pending, sealed or full by the policy of the entry's kind (docs/protocols/ledger.md section 3)."""

    def pending(self) -> tuple[int, int]:
        """(sealed, pending) entries of the own log by that policy."""

    def keys(self) -> Mapping[PartyId, PartyKeys]:
        """Co-signing keys of every institution, present and former, with the logs' members they tell of."""

    def member_entries(self) -> Sequence[MemberEntry]:
        """Every entry about members in the own log and the mirrors, by log and index."""

    def judge_members(self) -> None:
        """Look again at changes of members whose approvals had not arrived yet."""

    def own_checkpoint(self) -> str:
        """The newest checkpoint of the own log as a C2SP signed note with all co-signatures known."""

    def next_request(self, witness: PartyId) -> bytes | None:
        """What to send to a witness so that it can mirror and co-sign; None when it has signed the newest state."""

    def witness(self, origin: PartyId, request: bytes) -> bytes:
        """As witness: mirror, re-hash, check against the own last co-signed state, persist, then sign; the reply.

        Raises VerificationError when the origin's history does not continue what was signed before.
        """

    def accept_reply(self, witness: PartyId, reply: bytes, request: bytes = b"") -> None:
        """As origin: check and keep the co-signature of a witness. request: what it answers, where this side sent it."""

    def receipt(
        self, log: PartyId, index: int, *, openings: Mapping[str, tuple[bytes, str]] | None = None
    ) -> dict[str, Any]:
        """Entry, proof, checkpoint and signatures, verifiable offline (docs/protocols/evidence.md).

        openings: committed fields to be shown, as salt and value.
        """

    def proof(self, log: PartyId, index: int) -> EntryProof:
        """How the stored leaf of an entry leads to the best co-signed head that covers it, whatever its body is now.

        Raises NotFound when no head covers it.
        """

    def package(self, order: PackageOrder, summary: PackageSummary) -> Iterator[bytes]:
        """An evidence package, part by part (docs/protocols/package.md); `summary` is complete after the last part.

        Raises Refused (PACKAGE_TOO_LARGE, NOTHING_SELECTED), VerificationError (ENTRY_CHANGED) for an entry that does not
        lead to its signed head, and what `order.step` raises.
        """

    def conflicts(self) -> Sequence[HeadConflict]:
        """Signed heads that contradict each other, oldest first; kept for ever and shown to everyone."""

    def audit(
        self,
        *,
        fetch: Callable[[PartyId, PartyId, int, int], Sequence[bytes]] | None = None,
        step: Callable[[int], None] | None = None,
    ) -> AuditReport:
        """Re-hash every body of the own log and of the mirrors; locate what does not hold.

        fetch(holder, log, start, stop): bodies as another institution holds them, asked only to name a changed field.
        step(bodies): called now and then with the number of bodies hashed so far; what it raises ends the audit.
        """


@runtime_checkable
class EvidenceIndex(Protocol):
    """What a ledger may offer besides, as its attribute `index`: search over own and mirrored entries."""

    def search(self, query: SearchQuery) -> Sequence[SearchHit]:
        """The newest entries that fit, newest first, as far as the index has read."""

    def count(self, query: SearchQuery) -> int:
        """How many entries fit, counted up to a limit and one more."""

    def coverage(self) -> Sequence[Coverage]:
        """How far every log has been read."""

    def step(self, limit: int = ...) -> int:
        """Read more entries of every log; how many were read. Not inside a change."""

    def catch_up(self, most: int = ...) -> bool:
        """Read what is missing if that is little; whether the index is whole now."""


@dataclass(frozen=True, slots=True)
class AnchorProof:
    """One anchor of a signed checkpoint outside the project (hook workbench_anchors). docs/protocols/anchor.md section 5.

    kind: "rfc3161" or "evm". state: "waiting" | "confirmed" | "lost" | "conflict"; only "confirmed" proves anything.
    size: entries the anchored note covers, at least as many as were asked for. time_ms: by the clock of the outside
    authority or chain; 0 while waiting. note: the anchored note byte for byte; digest: its SHA-256 (32 bytes).
    sha256_path, sm3_path: consistency paths from the size asked for to `size`; empty when they are equal.
    files: name -> bytes for an evidence package, names without folder. zh, en: what it proves, one sentence each.
    """

    kind: str
    log: PartyId
    size: int
    state: str
    time_ms: int
    note: str
    digest: bytes
    sha256_path: tuple[bytes, ...]
    sm3_path: tuple[bytes, ...]
    files: Mapping[str, bytes] = field(repr=False)
    zh: str = ""
    en: str = ""

"""What the host and its plugins offer one another: the public contracts, as Protocol classes and plain values.

A plugin may import this module, workbench.domain, workbench.crypto, workbench.operations, workbench.hookspecs and
workbench.errors, and nothing else of the host. No behaviour lives here.
"""

from __future__ import annotations

import sqlite3
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import date
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from workbench.domain.checkpoint import PartyKeys
from workbench.domain.evidence import (
    AuditReport,
    EntryProof,
    EntryRef,
    EntryView,
    HeadConflict,
    LogHead,
    Lost,
    MirrorLag,
    Restored,
    SealState,
)
from workbench.domain.intersection import KeyKind, Offer, Terms
from workbench.domain.membership import MemberEntry
from workbench.domain.package import PackageOrder, PackageSummary
from workbench.domain.party import Caller, PartyId
from workbench.domain.search import Coverage, SearchHit, SearchQuery
from workbench.errors import VerificationError

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from workbench.host import Workbench

T = TypeVar("T")

API_MAJOR = 1
"""Plugins state the major version they were written for as WORKBENCH_API; another one is not loaded."""


# ---------------------------------------------------------------------------------------------- store


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered step of the database of one owner ("host" or a plugin's name).

    number: 1, 2, 3 … without gaps per owner. sql: statements; every table a plugin makes starts with its owner's name
    and an underscore, except the public table `entry` of the ledger.
    """

    owner: str
    number: int
    sql: str


class Transaction(Protocol):
    """The write side inside one savepoint of the writer: everything in it happens, or nothing of it."""

    def execute(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ...) -> sqlite3.Cursor: ...

    def executemany(self, sql: str, rows: Any) -> sqlite3.Cursor: ...


class Store(Protocol):
    """One SQLite file of one institution; one writer with group commit; many readers."""

    def write(self, change: Callable[[Transaction], T], *, timeout_s: float = 60.0) -> T:
        """Run `change` in the writer's transaction under its own savepoint; return when the commit is on disk.

        An exception of `change` rolls back its own savepoint only and is raised here. Called from any thread except
        the writer's own.
        """

    def read(self) -> AbstractContextManager[sqlite3.Connection]:
        """A read-only connection on a consistent snapshot, to be left soon."""


class Vault(Protocol):
    """Personal data at rest: chunks under one key per object, the keys wrapped by the vault key (decision 25)."""

    def put(self, tx: Transaction, name: str, data: bytes) -> None:
        """Store `data` under a fresh key; replaces an object of the same name and destroys its key."""

    def get(self, reader: sqlite3.Connection | Transaction, name: str) -> bytes:
        """The data; NotFound when there is none or it was shredded; VerificationError when it was altered."""

    def shred(self, tx: Transaction, name: str) -> bool:
        """Destroy key and chunks; False when there was nothing."""

    def token(self, purpose: str, value: bytes) -> bytes:
        """HMAC-SM3 under a key of this institution for this purpose: 32 bytes that nobody else can recompute."""

    def token_key(self, purpose: str) -> bytes:
        """The key behind `token`, for bulk work inside this process only."""

    def stage(self, name: str, parts: Iterable[bytes | memoryview]) -> Any:
        """Write a large object ahead of the change that needs it, outside any change; give the draft to `adopt`."""

    def adopt(self, tx: Transaction, draft: Any) -> None:
        """Make a staged object exist under its name, in the change."""

    def get_stream(self, reader: sqlite3.Connection | Transaction, name: str) -> Iterator[bytes]:
        """As `get`, in parts; act on the data only when the iteration is over."""

    def names(self, reader: sqlite3.Connection | Transaction, prefix: str = "") -> list[str]:
        """Names of the objects that start with `prefix`, sorted."""


# ------------------------------------------------------------------------------------------- evidence


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

    def accept_reply(self, witness: PartyId, reply: bytes) -> None:
        """As origin: check and keep the co-signature of a witness."""

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


# -------------------------------------------------------------------------------------------- consent


@dataclass(frozen=True, slots=True)
class GrantQuery:
    """Which customers may be used: for this purpose, towards this recipient, at this instant."""

    purpose: str
    recipient: PartyId
    at_ms: int
    key_kind: KeyKind


@dataclass(frozen=True, slots=True)
class ConsentDecision:
    """The registry's answer for a frame of customers, row by row in the order of the frame.

    usable: bool array (n). reason: array of short codes (n), "" where usable. grant_digest: (n, 32) uint8, zero where
    not usable. valid_until_ms: int64 (n), 0 where not usable. as_of: sequence number of the newest consent event the
    answer rests on. counts: reason code -> number of customers.
    """

    usable: np.ndarray
    reason: np.ndarray
    grant_digest: np.ndarray
    valid_until_ms: np.ndarray
    as_of: int
    counts: Mapping[str, int]


class ConsentRegistry(Protocol):
    """Directed grants and their withdrawal (hook workbench_consent_registry, exactly one)."""

    name: str

    def decide(
        self, customers: pl.DataFrame, query: GrantQuery, *, among: np.ndarray | None = None
    ) -> ConsentDecision:
        """Who may be used; customers: columns customer_id, phone, id_no (null when absent), the whole list.

        among: bool array (n), who belongs to the audience: one of them stands for a key that several may be used for.
        Cost aim: 10^6 rows in 2 s. Reason codes are documented in docs/consent.md.
        """

    def changed_since(self, as_of: int) -> bool:
        """True when a consent event after `as_of` exists, so that a decision must be taken anew."""

    def take_snapshot(
        self, tx: Transaction, *, job: str, attempt: int, query: GrantQuery, decision: ConsentDecision, actor: str = ""
    ) -> str:
        """Write down what a decision allows for one attempt of one job; returns the snapshot's id (row C5)."""

    def use_snapshot(self, tx: Transaction, snapshot: str, *, job: str, attempt: int, query: GrantQuery) -> None:
        """Spend a snapshot on the attempt it was taken for; Refused when it was spent, is stale or is of another run."""


@runtime_checkable
class NamesCustomers(Protocol):
    """What a consent registry may offer besides: under which names the evidence about a customer is sealed."""

    def evidence_names(self, *, phone: str | None, id_no: str | None) -> Sequence[str]:
        """Tokens of a person, from normalised identifiers and from what signed forms add to them; none is stored."""


@runtime_checkable
class FindsCustomers(Protocol):
    """What a consent registry offers for erasures: customers by token, never by identifier."""

    def customer_names(self, *, phones: Sequence[str], id_nos: Sequence[str]) -> tuple[str, ...]:
        """Tokens in hex of everything that belongs to this person, signed forms included; normalised identifiers.

        Raises Refused AMBIGUOUS_CUSTOMER when a phone alone is known to several persons.
        """

    def rows_named(self, customers: pl.DataFrame, names: Sequence[str]) -> np.ndarray:
        """bool (n): rows (columns phone, id_no) of this person: the number agrees, or there is none and the phone does."""


@runtime_checkable
class LearnsLists(Protocol):
    """What a consent registry may offer besides: to prepare for a list while it is imported."""

    def learn(self, customers: pl.DataFrame, *, list_id: str) -> Callable[[Transaction], None]:
        """Prepare outside any change; call the result in the change that stores the list.

        What is kept of the list lies in the vault under names that start with `list/{list_id}/`: they are erased with
        `list/{list_id}` itself.
        """

    def forget_large(self) -> None:
        """Give back the memory that large lists and many grants have taken; the next decision reads them again."""


# --------------------------------------------------------------------------------------- intersection


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


# ---------------------------------------------------------------------------------------------- links


@dataclass(frozen=True, slots=True)
class PeerCall:
    """One request of another institution, after the channel has established who calls.

    peer: from the channel's own authentication, never from a header. path: below /peer/v1/. address: remote address.
    """

    peer: PartyId
    path: str
    body: bytes = field(repr=False)
    address: str = ""


PeerHandler = Callable[[PeerCall], Awaitable[bytes]]
"""The node's answer to a peer: returns the reply body or raises a WorkbenchError, which the channel turns into a reply."""


@dataclass(frozen=True, slots=True)
class ChannelIdentity:
    """What a channel needs to speak for this institution: files of its TLS key and certificate (0600)."""

    party: PartyId
    certificate_pem: bytes
    private_key_pem: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class PeerAddress:
    """A partner as the signed allow-list knows it.

    host, port: where its peer API listens. source_addresses: from where it may call. certificate_fingerprint: SHA-256
    of its certificate, lower-case hex. ca_pem: its own certificate authority.
    """

    party: PartyId
    host: str
    port: int
    source_addresses: tuple[str, ...]
    certificate_fingerprint: str
    ca_pem: bytes = field(repr=False)


class PeerLink(Protocol):
    """Calls to one partner."""

    async def call(self, path: str, body: bytes, *, timeout_s: float) -> bytes:
        """Send and wait for the reply; PeerUnavailable on time-out or refusal to connect, PeerError otherwise."""

    async def close(self) -> None: ...


@runtime_checkable
class Channel(Protocol):
    """A way to reach partners (hook workbench_channels, collected; a setting picks one per link)."""

    name: str

    async def serve(
        self,
        *,
        identity: ChannelIdentity,
        host: str,
        port: int,
        peers: Callable[[], Sequence[PeerAddress]],
        handler: PeerHandler,
        refused: Callable[[str, str], None],
        max_body_bytes: int,
    ) -> ChannelServer:
        """Listen; `peers` is asked anew for each connection; `refused(address, reason)` records refusals."""

    def connect(self, *, identity: ChannelIdentity, peer: PeerAddress, source_address: str = "") -> PeerLink: ...


class ChannelServer(Protocol):
    """A listening channel."""

    port: int

    async def close(self) -> None: ...


# ------------------------------------------------------------------------------------ outside anchors


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


# --------------------------------------------------------------------------------------------- plugins


class BackgroundWork(Protocol):
    """Work of a plugin that goes on while the node runs (hook workbench_background)."""

    name: str

    def start(self) -> None:
        """Begin, without waiting for anything; also called when there is nothing to do."""

    def stop(self) -> None:
        """End within seconds; called once, also when `start` was not."""


@dataclass(frozen=True, slots=True)
class HealthReport:
    """One line on the health page: what was looked at, "ok" | "warning" | "failed", a sentence and who acts."""

    name: str
    state: str
    zh: str
    en: str
    owner: str = "operator"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of the host or a plugin; values live in the workspace's settings file, never in code."""

    name: str
    kind: type
    default: Any
    unit: str
    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One page of a plugin: `name` is its address, `view` takes a client and returns a Panel object.

    icon: name of a Material icon. roles: who may open it; order: place in the menu.
    """

    name: str
    title_zh: str
    title_en: str
    icon: str
    roles: frozenset[str]
    order: int
    view: Callable[..., Any]


def view_at(place: str) -> Callable[..., Any]:
    """The view "package.module:function", imported when a page is opened: a node lists pages and never loads Panel."""
    module, _, name = place.partition(":")

    def view(page: Any) -> Any:
        return getattr(import_module(module), name)(page)

    return view


class BlobStore(Protocol):
    """Signed forms and other files a record rests on, encrypted beside the database (docs/protocols/erasure.md section 7)."""

    def stage(self, parts: Iterable[bytes | memoryview]) -> Any:
        """Write a content outside any change; give the draft to `adopt` or `discard`. Its `address` is SM3 of the content."""

    def adopt(self, tx: Transaction, draft: Any, *, owner: str, ref: str) -> str:
        """Make it exist for this owner under `ref`, in the change; returns its name."""

    def discard(self, draft: Any) -> None:
        """Take a draft back whose change failed."""

    def named(self, reader: sqlite3.Connection | Transaction, owner: str, ref: str) -> str:
        """Name of what lies under `ref`; NotFound, or Denied RESTRICTED."""

    def get(self, reader: sqlite3.Connection | Transaction, name: str) -> bytes:
        """The content, re-hashed; VerificationError BLOB_ALTERED names the place."""

    def address(self, reader: sqlite3.Connection | Transaction, name: str) -> bytes:
        """SM3 of the content, computed anew; raises as `get`."""

    def references(self, reader: sqlite3.Connection | Transaction, owner: str) -> dict[str, str]:
        """ref -> name of everything an owner keeps."""


class RestrictedStore(Protocol):
    """Where values lie that the law still demands (docs/protocols/erasure.md section 4)."""

    def take_records(
        self,
        tx: Transaction,
        values: Mapping[str, bytes],
        *,
        owner: str,
        kind: str,
        from_ms: int,
        request: str,
        documents: Sequence[str] = (),
    ) -> Any:
        """Restrict or erase records of a plugin, as the term of `kind` demands; the plugin empties its own rows.

        documents: refs of the owner's blobs that go the same way. Returns restricted_items, erased_items and until_ms.
        """


class Host(Protocol):
    """What an operation or a provider may use of the node it runs in."""

    party: PartyId
    kind: str  # "demo" | "test" | "production"
    store: Store
    vault: Vault
    evidence: EvidenceLog
    blobs: BlobStore
    restricted: RestrictedStore

    def now_ms(self) -> int: ...

    def random(self, size_bytes: int) -> bytes: ...

    def setting(self, name: str) -> Any: ...

    def today(self) -> date:
        """The calendar day in Asia/Shanghai."""

    def parties(self) -> Sequence[PartyId]:
        """All institutions of the project, this one included, sorted."""

    def provider(self, contract: type[T]) -> T:
        """The one provider of a contract: Ledger or ConsentRegistry."""


@dataclass(frozen=True, slots=True)
class OperationContext:
    """What a running operation gets besides its request: the node, the caller, progress and cancel.

    progress(done, total, zh, en): cheap, may be called often. cancelled(): True once a person asked to stop.
    """

    host: Workbench
    caller: Caller
    progress: Callable[[int, int, str, str], None]
    cancelled: Callable[[], bool]


__all__ = [
    "API_MAJOR",
    "AnchorProof",
    "AskDropped",
    "AskStruck",
    "AsyncIterator",
    "BackgroundWork",
    "BlobStore",
    "Channel",
    "ChannelIdentity",
    "ChannelServer",
    "ConsentDecision",
    "ConsentRegistry",
    "Dashboard",
    "EngineGuarantees",
    "EntryView",
    "EvidenceIndex",
    "EvidenceLog",
    "FindsCustomers",
    "GrantQuery",
    "HealthReport",
    "Host",
    "IntersectionEngine",
    "IntersectionOutcome",
    "LearnsLists",
    "Ledger",
    "Mark",
    "Migration",
    "NamesCustomers",
    "OperationContext",
    "PeerAddress",
    "PeerCall",
    "PeerHandler",
    "PeerLink",
    "Phase",
    "Prepared",
    "Receive",
    "RestrictedStore",
    "Send",
    "Session",
    "SessionRequest",
    "Setting",
    "Store",
    "Transaction",
    "Vault",
]

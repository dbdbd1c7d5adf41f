"""What a plugin gives to the node it runs in, and what the node gives to it and to operations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from workbench.contracts.evidence import EvidenceLog
from workbench.contracts.inference import DocumentConnector, EngineRecipe, Scaler, SessionKeys
from workbench.contracts.letters import Letters
from workbench.contracts.storing import BlobStore, RestrictedStore, Store, Vault
from workbench.domain.party import Caller, PartyId

if TYPE_CHECKING:
    from workbench.host import Workbench

T = TypeVar("T")


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
    """One setting of the host or a plugin; values live in the workspace's settings file, never in code.

    production: the default in a workspace of kind production, where it is stricter; None where it is the same.
    """

    name: str
    kind: type
    default: Any
    unit: str
    zh: str
    en: str
    production: Any = None


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One page of a plugin: `name` is its address, `view` takes a client and returns a Panel object.

    icon: name of a Material icon. roles: who may open it; order: place in the menu. only_with: a setting and the values of it
    with which the page exists, as of an operation.
    """

    name: str
    title_zh: str
    title_en: str
    icon: str
    roles: frozenset[str]
    order: int
    view: Callable[..., Any]
    only_with: tuple[str, tuple[str, ...]] = ("", ())


@dataclass(frozen=True, slots=True)
class PublicAnswer:
    """What somebody without an account sees. body: HTML without script, link or style, every value escaped by who made it."""

    title_zh: str
    title_en: str
    body: str
    status: int = 200


@dataclass(frozen=True, slots=True)
class PublicPage:
    """A page for somebody without an account, reached by a secret in its address: /p/<name>/<secret>.

    name: lower-case letters. style: CSS of the page, served by the node. show(secret, language) answers a GET, answer(secret,
    fields, language) the page's own form; language: "zh" or "en". Both may raise WorkbenchError, which is shown as it is.
    """

    name: str
    style: str
    show: Callable[[str, str], PublicAnswer]
    answer: Callable[[str, Mapping[str, Sequence[str]], str], PublicAnswer]


class Machines(Protocol):
    """Machines with credentials of their own (hook workbench_machines). prefix: what their secrets begin with, no other plugin's."""

    prefix: str

    def caller(self, secret: str) -> Caller:
        """Who holds this secret, with `machine` set; SignInRequired for an unknown, ended or revoked one."""


def view_at(place: str) -> Callable[..., Any]:
    """The view "package.module:function", imported when a page is opened: a node lists pages and never loads Panel."""
    module, _, name = place.partition(":")

    def view(page: Any) -> Any:
        return getattr(import_module(module), name)(page)

    return view


class Host(Protocol):
    """What an operation or a provider may use of the node it runs in."""

    party: PartyId
    kind: str  # "demo" | "test" | "production"
    store: Store
    vault: Vault
    evidence: EvidenceLog
    blobs: BlobStore
    restricted: RestrictedStore

    @property
    def letters(self) -> Letters:
        """Durable signed messages to other institutions."""

    def now_ms(self) -> int: ...

    def random(self, size_bytes: int) -> bytes: ...

    def setting(self, name: str) -> Any: ...

    def today(self) -> date:
        """The calendar day in Asia/Shanghai."""

    def parties(self) -> Sequence[PartyId]:
        """All institutions of the project, this one included, sorted."""

    def restricted_customers(self) -> frozenset[str]:
        """Names (tokens in hex) of the customers whose data must not be used now (hook workbench_restricted_customers)."""

    def provider(self, contract: type[T]) -> T:
        """The one provider of a contract: Ledger or ConsentRegistry."""

    def call(self, partner: PartyId, path: str, body: bytes, *, timeout_s: float) -> bytes:
        """A partner's reply to a call below /peer/v1/, under the channel picked for it; blocks, not from an event loop.

        Raises PeerUnavailable when there is none in time, PeerError with the code of a refusal.
        """

    def guard(self, stage: str, **facts: str) -> None:
        """Ask every guard of the plugins at a stage; Refused when one says no or cannot answer. facts: no text of a customer."""

    def session_keys(self, partner: PartyId) -> SessionKeys:
        """Where keys for sessions with a partner outside this node's links come from; KeyUnavailable NO_LINE."""

    def answer_engines(self) -> Sequence[EngineRecipe]:
        """Engines that answer questions in a sandbox, of all plugins."""

    def document_connectors(self) -> Sequence[DocumentConnector]:
        """Kinds of file from which documents are read, of all plugins."""

    def scalers(self) -> Sequence[Scaler]:
        """Who can start and stop servers, of all plugins."""


@dataclass(frozen=True, slots=True)
class OperationContext:
    """What a running operation gets besides its request: the node, the caller, progress and cancel.

    progress(done, total, zh, en): cheap, may be called often. cancelled(): True once a person asked to stop.
    """

    host: Workbench
    caller: Caller
    progress: Callable[[int, int, str, str], None]
    cancelled: Callable[[], bool]

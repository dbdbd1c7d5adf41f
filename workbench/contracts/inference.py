"""What plugins offer so that questions can be answered in a leased sandbox; docs/sandbox-design.md section 3."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from workbench.contracts.links import PeerCall
from workbench.contracts.storing import Transaction
from workbench.domain.documents import SourceDocument
from workbench.domain.party import PartyId
from workbench.errors import WorkbenchError


@dataclass(frozen=True, slots=True)
class PeerPath:
    """Calls of partners below one path that a plugin answers (hook workbench_peer_paths).

    path: "area/" for all below it, or "area/name"; nobody else has the area. answer: body of the reply; raises WorkbenchError.
    threads: of its own for each partner, so that calls that wait hold up no mirror. refusal: what a partner is told whatever
    `answer` raised, the same bytes each time; the reason stays here, in the log and as a count. None: the error itself.
    """

    path: str
    answer: Callable[[PeerCall], bytes]
    threads: int = 4
    refusal: Callable[[], WorkbenchError] | None = None


@dataclass(frozen=True, slots=True)
class KeyShare:
    """One key of a key-management entity as a share of a session's secret. value: 32 bytes, never in a repr."""

    key_id: str
    provenance: str
    value: bytes = field(repr=False)


class SessionKeys(Protocol):
    """Keys for sessions that begin or end outside this node's links, with whom a line leads (hook workbench_session_keys).

    name: of the session, the same at both ends: lease/sandbox/serial, 1 to 120 letters, digits and / : -. what: what it is for,
    such as "sandbox"; a leak report of the entity names both. Another start under the same name ends the one before. Raises as
    taking a key does: QKD_KEY_REQUIRED or KEY_EXHAUSTED with a time to retry, LINE_STOPPED, NO_LINE, TENANT_DIFFERS,
    PROVENANCE_REFUSED; nothing is used instead, and the refusal is an entry by then. All of it blocks.
    """

    def serves(self, partner: PartyId) -> bool:
        """Does a line lead to this partner?"""

    def fresh(self, partner: PartyId, *, name: str, what: str, policy: str, renews: bool = False) -> KeyShare | None:
        """A key nobody used, written down as being opened before it is returned; None where the policy asks for none.

        renews: for the next epoch of the open session of this name, which goes on under its key until `opened`.
        """

    def named(self, partner: PartyId, key_id: str, *, name: str, what: str, policy: str, renews: bool = False) -> KeyShare:
        """The key that the partner took, by its id."""

    def opened(self, tx: Transaction, name: str, *, session: str, suite: str) -> None:
        """Both ends have the keys, or the next epoch's: in the caller's transaction. SESSION_BROKEN when people ended it meanwhile."""

    def require_live(self, name: str) -> None:
        """Before every frame: SESSION_BROKEN or LINE_STOPPED once people ended it, its key was revoked or the line is held.

        The first time after `opened` the entity is told what the key is for and asked whether it still counts. REKEY_REQUIRED:
        somebody with rights here was revoked, only a renewal or another session helps.
        """

    def ended(self, tx: Transaction, name: str, *, cause: str) -> None:
        """The session is over; twice is once."""

    def refused(self, tx: Transaction, name: str, error: WorkbenchError) -> None:
        """The exchange did not come to its end; an open session that was to be renewed goes on."""


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file of an image. path: inside; role: "code" | "runtime" | "weights" | "sealed"; source: on this machine."""

    path: str
    role: str
    source: Path


@dataclass(frozen=True, slots=True)
class EngineRecipe:
    """How an image is made of an engine (hook workbench_answer_engines). limits: members of P section 3's `limits`.

    files: called when an image is signed; raises where a package of the engine is not installed.
    """

    name: str
    kind: str
    version: str
    place: str
    licence_zh: str
    licence_en: str
    files: Callable[[], Iterable[ImageFile]]
    limits: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """The most that a connector reads: bytes of text of one document and of one cell, documents, pages, milliseconds."""

    document_characters: int = 2_000_000
    cell_characters: int = 200_000
    documents: int = 200_000
    pages: int = 5_000
    milliseconds: int = 120_000


@dataclass(frozen=True, slots=True)
class RejectedItem:
    """A row, page or item that was not taken, by its place in the file from 1; never its content."""

    place: int
    code: str
    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class ReadDocuments:
    """places: of each document the line, row or page of the file; without them documents count from 1."""

    documents: tuple[SourceDocument, ...]
    rejects: tuple[RejectedItem, ...]
    places: tuple[int, ...] = ()


class DocumentConnector(Protocol):
    """Reads one kind of file (hook workbench_document_connectors). Pure; bounded in time and memory."""

    name: str
    suffixes: tuple[str, ...]

    def read(self, content: bytes, *, kind: str, name: str, source: str, time_ms: int, limits: ReadLimits) -> ReadDocuments:
        """The documents of one file of one of DOCUMENT_KINDS. Raises InvalidRequest for a file that cannot be read at all."""


class Scaler(Protocol):
    """Who starts and stops servers (hook workbench_scalers)."""

    name: str

    def replicas(self) -> int:
        """How many are wanted now."""

    def ready(self) -> int: ...

    def set_replicas(self, count: int) -> None: ...



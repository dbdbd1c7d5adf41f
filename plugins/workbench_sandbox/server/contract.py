"""What a provider's node sees of its servers; a fake of tests has the same shape. Document: docs/sandbox-design.md section 6.1.

Values only. `Servers` is implemented by `servers.ServerProcesses` over one process and one Unix socket a card.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from workbench.contracts import KeyShare
from workbench_sandbox.formats.erasing import CHECKS, Check
from workbench_sandbox.formats.evidence import OuterFacts
from workbench_sandbox.formats.relay import CAUSES, SERVER_STATES, Download, Upload

__all__ = [
    "CAUSES",
    "CHECKS",
    "STATES",
    "Check",
    "Counters",
    "Download",
    "GivenEvidence",
    "LeaseFacts",
    "Looked",
    "ServerState",
    "Servers",
    "StartOrder",
    "Upload",
]

STATES = SERVER_STATES


@dataclass(frozen=True, slots=True)
class ServerState:
    """One server (`v-<8 hex>`). state: one of STATES; image, tenant: what it is made ready for, "" while DIRTY; sandbox: its
    spare or leased sandbox, "" for none; cause: why it is in this state, such as a code or one of CAUSES."""

    server: str
    state: str
    image: str = ""
    tenant: str = ""
    sandbox: str = ""
    cause: str = ""
    changed_ms: int = 0


@dataclass(frozen=True, slots=True)
class LeaseFacts:
    """What a sandbox is told of its lease, as the order says. tenant_key: the tenant's message key, `04` and 128 hex.

    until_ms: the lease's end as it stands; `Servers.extend` moves it. policy, provenances: of the sessions, frame.md section 2.
    """

    provider: str
    tenant: str
    lease: str
    mode: str
    pool: str
    image: str
    until_ms: int
    policy: str
    provenances: tuple[str, ...]
    tenant_key: str
    suites: tuple[str, ...] = ("x25519-mlkem768-sm3-sm4gcm",)


@dataclass(frozen=True, slots=True)
class StartOrder:
    """A session to begin ("") or to renew (its id, 32 hex). evidence: SM3 of the statement it rests on, 64 hex."""

    session: str
    evidence: str


@dataclass(frozen=True, slots=True)
class Counters:
    """What a sandbox did since its lease began. state: "live" or "ended"; cause: one of CAUSES once it ended.

    started_ms: when its sandbox was ready; asked_ms: when a frame of the tenant last came, 0 for never.
    """

    asks: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    since_ms: int = 0
    asked_ms: int = 0
    state: str = "live"
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Looked:
    """What was found after a sandbox was killed: steps 1 to 4 of section 10, for the receipt of its server.

    sandboxes: every one of this lease that ran here since the last receipt. lease, tenant: "" for a spare that nobody had.
    checks: one for each of CHECKS, in that order. clean: every one of them found nothing.
    """

    server: str
    lease: str
    tenant: str
    sandboxes: tuple[str, ...]
    reason: str
    began_ms: int
    ended_ms: int
    assurance: str
    checks: tuple[Check, ...]

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return all(one.found == 0 for one in self.checks)


@dataclass(frozen=True, slots=True)
class GivenEvidence:
    """What a sandbox states and its launcher knows. document: LV4(statement) ‖ the sandbox's signature, 64 bytes."""

    document: bytes
    facts: OuterFacts


class Servers(Protocol):
    """The servers of a provider. Safe for threads. Every call raises Refused (SANDBOX_ENDED with the cause in details["cause"],
    SANDBOX_UNKNOWN, SERVER_NOT_READY, SANDBOX_BUSY, IMAGE_ALTERED, IMAGE_REFUSED) and StorageFailed; a server whose process died
    answers SANDBOX_ENDED (`launcher-died`) until `reap`."""

    def states(self) -> Sequence[ServerState]:
        """Every server, by name."""

    def prepare(self, server: str, *, tenant: str, image: str) -> None:
        """Begin to make a server ready for an image of this tenant, in the background: DIRTY, SANITISED, READY."""

    def lease(self, server: str, facts: LeaseFacts) -> str:
        """Give its spare to a lease: the sandbox's name (`sb-<16 hex>`). SERVER_NOT_READY: it is not READY for this image."""

    def extend(self, sandbox: str, until_ms: int) -> None:
        """Move the end of the lease."""

    def evidence(self, sandbox: str, nonce: str) -> GivenEvidence:
        """A document of this sandbox, to be compared and signed (`formats.evidence.sign_evidence`). nonce: 64 hex."""

    def start(self, sandbox: str, order: StartOrder, share: KeyShare | None) -> bytes:
        """The sandbox's hello."""

    def answer(self, sandbox: str, message: bytes) -> bytes:
        """The sandbox's confirm of the tenant's answer; for a refusal b""."""

    def frames(self, sandbox: str, upload: Upload, *, wait_ms: int) -> Download:
        """Hand in frames, take those that wait; waits at most wait_ms (20,000) for the first. After the last frames of a sandbox
        that has ended were taken: SANDBOX_ENDED."""

    def counters(self, sandbox: str) -> Counters:
        """What it did; also after it ended, until it is erased."""

    def probe(self, sandbox: str) -> tuple[int, Sequence[str]]:
        """(tried, names of what was not refused) of the suite, run now. A sandbox that could do one of them has ended (`probe`)."""

    def erase(self, server: str, *, reason: str) -> Looked:
        """Stop, kill, look, clear: the facts of a receipt. The server is DIRTY, then SANITISED when nothing was found."""

    def reap(self) -> Sequence[Looked]:
        """Find what an earlier run left, kill it, look, clear; one for each lease and server found."""

    def close(self) -> None:
        """Kill and erase everything, end the servers' processes."""

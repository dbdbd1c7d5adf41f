"""A provider's servers and a tenant's end of sessions, for tests: an image of one file, a real sandbox, a session that is verified."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from workbench.channel.frame import Kind, split
from workbench.channel.handshake import Responder
from workbench.channel.session import SealedSession
from workbench.channel.session_state import OpenedFrame
from workbench.channel.stream import StreamOpener
from workbench.channel.terms import End as Peer
from workbench.channel.terms import Policy, QkdShare, SessionTerms
from workbench.contracts import KeyShare
from workbench.crypto import sm2, sm3
from workbench.domain.party import PartyId
from workbench_sandbox.formats import manifest as manifests
from workbench_sandbox.formats.asking import Ask, End, Record, RecordReader, format_ask, parse_end
from workbench_sandbox.formats.evidence import Statement, verify_self
from workbench_sandbox.formats.reading import digest
from workbench_sandbox.server import volumes
from workbench_sandbox.server.bubblewrap import Bubblewrap
from workbench_sandbox.server.gvisor import Gvisor
from workbench_sandbox.server.contract import GivenEvidence, LeaseFacts, ServerState, StartOrder, Upload
from workbench_sandbox.server.processes import ServerProcesses
from workbench_sandbox.server.runtime import EngineCode

PROVIDER, TENANT, LEASE, SERVER = "telecom", "broker", "L-20261122-00000001", "v-0000000a"
GREETING = "您好"
LIMITS = manifests.Limits(256 << 20, 24, 1000, 4 << 20, 64 << 10, 2)
ENGINES = {"echo": EngineCode("echo_engine:Echo", (), (str(Path(__file__).parent),))}


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def until(holds: Callable[[], bool], *, seconds: float = 30.0) -> None:
    """Wait for a condition; fails if it does not come."""
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends, "what was waited for did not come"
        time.sleep(0.005)


@dataclass
class World:
    """A provider with servers and one signed image of a tenant."""

    folder: Path
    without: frozenset[str] = frozenset()
    shared: Path | None = None
    isolation: str = "bubblewrap"
    contract: sm2.PrivateKey = field(default_factory=sm2.generate)
    message: sm2.PrivateKey = field(default_factory=sm2.generate)

    def __post_init__(self) -> None:
        self.volumes = self.folder / "volumes"
        self.servers = ServerProcesses(self.folder / "servers", self.volumes, engines=ENGINES, without=self.without, look_s=0.5, shared=self.shared, isolation=self.isolation)
        self.image = ""

    def make_image(self, *, listing: bytes | None = None, limits: manifests.Limits = LIMITS) -> str:
        """Sign and store the image; its id."""
        listing = self.servers.listing("echo") if listing is None else listing
        content = GREETING.encode()
        made = manifests.Manifest(
            PartyId(TENANT), "echo", "1", manifests.Engine("echo", "extractive", "1", "inside"),
            (manifests.ManifestFile("weights/greeting.txt", len(content), sm3.digest(content).hex(), "weights"),),
            sm3.digest(listing).hex(), limits, (), now_ms(),
        )  # fmt: skip
        folder = volumes.image_folder(self.volumes, TENANT, made.id)
        (folder / "files" / "weights").mkdir(parents=True)
        (folder / "files" / "weights" / "greeting.txt").write_bytes(content)
        (folder / volumes.MANIFEST).write_bytes(manifests.sign_manifest(made, key=self.contract))
        (self.volumes / TENANT).chmod(0o700)
        self.image = made.id
        return made.id

    def ready(self, server: str = SERVER) -> None:
        """The server has a spare."""
        self.servers.add(server)
        state = self.prepared(server)
        if state.cause == "IMAGE_ALTERED":
            # Sources of this checkout were edited since the image was made.
            self.make_image()
            state = self.prepared(server)
        why = self.folder / "servers" / server / "why.txt"
        assert state.state == "READY", (state, why.read_text() if why.exists() else "")

    def prepared(self, server: str = SERVER) -> ServerState:
        self.servers.prepare(server, tenant=TENANT, image=self.image)
        until(lambda: self.state(server).cause != "preparing", seconds=60)
        return self.state(server)

    def state(self, server: str = SERVER) -> ServerState:
        return next(one for one in self.servers.states() if one.server == server)

    def facts(self, *, seconds: int = 3600, lease: str = LEASE, policy: str = "hybrid-required") -> LeaseFacts:
        return LeaseFacts(
            PROVIDER, TENANT, lease, "run", "shared", self.image, now_ms() + seconds * 1000, policy, ("simulated",) if policy != "pqc-only" else (),
            self.message.public.format(),
        )  # fmt: skip

    def leased(self, server: str = SERVER, *, seconds: int = 3600) -> Tenant:
        """The tenant's end of a leased sandbox."""
        self.servers.add(server)
        if self.state(server).state != "READY":
            self.ready(server)
        return Tenant(self, server, self.servers.lease(server, self.facts(seconds=seconds)))

    def close(self) -> None:
        self.servers.close()


class Tenant:
    """The tenant's end of one sandbox: evidence looked at, a session, questions."""

    def __init__(self, world: World, server: str, sandbox: str) -> None:
        self.world, self.server, self.sandbox = world, server, sandbox
        self.first = self.taken = 0
        self.given: GivenEvidence
        self.statement: Statement
        self.session: SealedSession
        self.frames: list[bytes] = []

    def evidence(self) -> Statement:
        nonce = secrets.token_hex(32)
        self.given = self.world.servers.evidence(self.sandbox, nonce)
        self.statement = verify_self(self.given.document)
        assert self.statement.nonce == nonce
        return self.statement

    def open(self) -> SealedSession:
        """Evidence, exchange, session."""
        statement = self.evidence()
        encoded = self.given.document[4:-64]
        value = secrets.token_bytes(32)
        hello = self.world.servers.start(
            self.sandbox, StartOrder("", digest(encoded)), KeyShare("k-1", "simulated", value)
        )
        responder = Responder(
            identity=TENANT, key=self.world.message, peer=Peer(statement.identity, statement.keys.key),
            terms=SessionTerms(Policy.HYBRID_REQUIRED, provenances=("simulated",), lease=LEASE, peer_evidence=digest(encoded)),
        )  # fmt: skip
        responder.receive_hello(hello)
        confirm = self.world.servers.answer(self.sandbox, responder.answer(QkdShare("k-1", "simulated", value)))
        self.session = SealedSession(responder.receive_confirm(confirm), now_ms=now_ms())
        return self.session

    def renew(self) -> None:
        value = secrets.token_bytes(32)
        hello = self.world.servers.start(
            self.sandbox, StartOrder(self.session.session_id, "0" * 64), KeyShare("k-2", "simulated", value)
        )
        responder = self.session.renewal_responder(key=self.world.message)
        responder.receive_hello(hello)
        confirm = self.world.servers.answer(self.sandbox, responder.answer(QkdShare("k-2", "simulated", value)))
        self.session.adopt(responder.receive_confirm(confirm), now_ms=now_ms())

    def send(self, *frames: bytes) -> None:
        given = self.world.servers.frames(self.sandbox, Upload(self.first, self.taken, frames), wait_ms=0)
        self.first += len(frames)
        self._take(given.first, given.frames)

    def say(self, payload: bytes, purpose: str) -> None:
        self.send(self.session.seal(payload, purpose=purpose, now_ms=now_ms()))

    def _take(self, first: int, frames: tuple[bytes, ...]) -> None:
        fresh = frames[self.taken - first :]
        self.taken += len(fresh)
        self.frames += fresh

    def opened(self) -> Iterator[OpenedFrame]:
        """Frames of the sandbox, opened, as they come."""
        while True:
            while self.frames:
                frame = self.frames.pop(0)
                # The last frames of a session before this one are nobody's any more.
                if split(frame).header.session.hex() == self.session.session_id:
                    yield self.session.open(frame, now_ms=now_ms())
            given = self.world.servers.frames(self.sandbox, Upload(self.first, self.taken), wait_ms=5_000)
            self._take(given.first, given.frames)

    def ask(self, question: str, **changes: object) -> str:
        """Send a question; its name."""
        name = f"ask-{secrets.token_hex(16)}"
        ask = Ask(
            name, now_ms(), now_ms() + 60_000, "advice", "", "", question, "", "", (), (), 0, 0, "zh", 512, 7, "00" * 8
        )  # fmt: skip
        self.say(format_ask(replace(ask, **changes)), "ask")  # type: ignore[arg-type]
        return name

    def answer_of(self, ask: str) -> tuple[list[Record], End]:
        """Records and end of a question, the stream checked against its end."""
        return self.answers_of(ask)[0]

    def answers_of(self, *asks: str) -> list[tuple[list[Record], End]]:
        """The same of several whose frames come mixed; frames of others are passed over."""
        streams = {bytes.fromhex(one[4:20]): (RecordReader(), StreamOpener(purpose="answer"), list[Record]()) for one in asks}
        ended: dict[str, tuple[list[Record], End]] = {}
        for frame in self.opened():
            if frame.kind is Kind.CHUNK and frame.stream in streams:
                reader, opener, records = streams[frame.stream]
                for part in opener.accept(frame):
                    records += reader.feed(part)
            elif frame.purpose == "answer.end" and (end := parse_end(frame.payload)).ask in asks:
                reader, _, records = streams[bytes.fromhex(end.ask[4:20])]
                reader.finish(end)
                ended[end.ask] = records, end
                if len(ended) == len(asks):
                    break
        return [ended[one] for one in asks]


def is_root() -> bool:
    return os.geteuid() == 0


def lacking() -> str:
    """Why no sandbox can be started here, "" where one can."""
    missing = {one.control: one.en for one in Bubblewrap().available()}
    return next((missing[one] for one in ("files", "user", "own-processes") if one in missing), "")


@cache
def lacking_gvisor() -> str:
    """Why no sandbox can be started under gVisor here, "" where one can. Cost: 0.4 s."""
    why = lacking() or next((one.en for one in Gvisor().available() if one.control != "host-user"), "")
    return why if why.startswith("runsc (gVisor)") or not why else f"this kernel or account cannot start a sandbox under gVisor: {why}"

"""From an image to a spare: everything measured, the record written, the sandbox started, its suite refused.

Document: docs/protocols/sandbox.md sections 3, 7 and 9 (READY).
"""

from __future__ import annotations

import json
import platform
import queue
import re
import secrets
import select
import shutil
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from workbench.crypto import sm3
from workbench.errors import Refused, StartRefused
from workbench_sandbox.formats.evidence import CONTROLS, Control
from workbench_sandbox.formats.manifest import RUNTIME_IMAGE, Manifest, image_refused
from workbench_sandbox.formats.reading import MAX
from workbench_sandbox.formats.relay import sandbox_ended
from workbench_sandbox.inside import filter as filters
from workbench_sandbox.inside import worker as worker_module
from workbench_sandbox.inside.beside import ALTERED, SILENT
from workbench_sandbox.inside.link import RELEASE, Link, LinkClosed, Message, Type
from workbench_sandbox.server import groups, programs, reaping, runtime, upstream, volumes
from workbench_sandbox.server.bubblewrap import Bubblewrap, BubblewrapRunning
from workbench_sandbox.server.contract import Counters
from workbench_sandbox.server.gvisor import Gvisor
from workbench_sandbox.server.isolation import PidRecord, StartPlan
from workbench_sandbox.server.relaying import Relay

_WAITING = 8
"""Replies that nobody asked for; a worker that sends more is ended."""
_CODE = re.compile(r"[A-Z][A-Z_]{0,59}")
_JOIN_S = 5.0
READY_S = 120.0
REQUEST_S = 20.0
ISOLATIONS: Mapping[str, type[Bubblewrap]] = {"bubblewrap": Bubblewrap, "gvisor": Gvisor}
"""By what a server isolates its sandboxes: the values of setting `inference.isolation`."""
_WORKER = f"{runtime.CODE}/workbench_sandbox/inside/{Path(str(worker_module.__file__)).name}"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a server is told, from `server.json` of its folder. server: its name; uid: the user of its sandboxes outside, -1 for the
    account of the node; look_s: as `reaping.LOOK_S`; volumes: the provider's volumes; shared: what all servers of a provider may use (compiled forms);
    upstream: as setting `inference.upstream`, {} for none; programs: as setting `inference.programs`; engines: name -> where its class is, besides the installed ones; without: controls that are left out (tests); isolation: of ISOLATIONS."""

    server: str
    uid: int
    volumes: str
    shared: str
    engines: Mapping[str, runtime.EngineCode] = field(default_factory=dict)
    without: frozenset[str] = frozenset()
    look_s: float = reaping.LOOK_S
    upstream: Mapping[str, Any] = field(default_factory=dict)
    programs: Mapping[str, Any] = field(default_factory=dict)
    isolation: str = "bubblewrap"

    @property
    def assurance(self) -> str:
        """The level of what this server starts."""
        return ISOLATIONS[self.isolation].assurance

    def format(self) -> bytes:
        """As it is written."""
        engines = {name: {"place": one.place, "modules": list(one.modules), "paths": list(one.paths)} for name, one in self.engines.items()}
        body = {"server": self.server, "uid": self.uid, "volumes": self.volumes, "shared": self.shared, "engines": engines}
        rest = {"without": sorted(self.without), "look_s": self.look_s, "upstream": dict(self.upstream), "programs": dict(self.programs), "isolation": self.isolation}
        return json.dumps({**body, **rest}, sort_keys=True).encode()

    @classmethod
    def parse(cls, data: bytes) -> Settings:
        """Raises ValueError, KeyError, TypeError."""
        body = json.loads(data)
        if body["isolation"] not in ISOLATIONS:
            raise ValueError("no such isolation")
        engines = {
            name: runtime.EngineCode(one["place"], tuple(one["modules"]), tuple(one["paths"])) for name, one in body["engines"].items()
        }
        return cls(
            body["server"], body["uid"], body["volumes"], body["shared"], engines, frozenset(body["without"]), float(body["look_s"]), body["upstream"],
            body["programs"], body["isolation"],
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Prepared:
    """An image that was measured in full and can be started. program: the server that is started beside the worker, None for none."""

    tenant: str
    image: str
    manifest: Manifest
    bound: runtime.Runtime
    compiled: Path
    engine: runtime.EngineCode
    program: programs.Installed | None = None


def engine_code(name: str, settings: Settings) -> runtime.EngineCode:
    """Where an engine's class is. Raises StartRefused (SANDBOX_RUNTIME)."""
    if name in settings.engines:
        return settings.engines[name]
    for one in entry_points(group="workbench_sandbox.engines"):
        if one.name == name:
            modules = tuple(getattr(one.load(), "modules", ()))
            return runtime.EngineCode(one.value, ("workbench_sandbox.corpus.search", *modules))
    raise StartRefused(
        f"本机没有安装引擎 {name}，服务器未就绪；请运维人员安装",
        f"the engine {name} is not installed on this machine: the server is not made ready; operators install it",
        code="SANDBOX_RUNTIME",
    )


def prepare(settings: Settings, tenant: str, image: str) -> Prepared:
    """Measure image and runtime in full. Cost: 3 ns a byte, and what `runtime.survey` costs.

    Raises VerificationError (IMAGE_REFUSED), Refused (IMAGE_ALTERED), StartRefused (SANDBOX_RUNTIME).
    """
    manifest = volumes.check_image(Path(settings.volumes), tenant, image)
    if manifest.runtime == RUNTIME_IMAGE:
        raise image_refused("it brings its own interpreter, which this version does not start")
    engine = engine_code(manifest.engine.name, settings)
    program = programs.named(settings.programs, manifest.engine.program) if manifest.engine.program else None
    if program is not None and program.program.digest != manifest.engine.program_sm3:
        raise image_refused("its server is defined otherwise here")
    found = runtime.survey(engine, shared=Path(settings.shared), program=program)
    if found.digest != manifest.runtime:
        raise volumes.image_altered("runtime")
    volumes.open_for_reading(Path(settings.volumes), tenant, image)
    return Prepared(tenant, image, manifest, found, compiled(Path(settings.shared), found), engine, program)


def compiled(shared: Path, found: runtime.Runtime) -> Path:
    """The folder with the compiled forms of this runtime; made once for all servers. Raises Refused (IMAGE_ALTERED)."""
    folder = shared / "compiled" / found.digest
    if not folder.is_dir():
        draft = folder.with_name(f".{found.digest[:16]}-{secrets.token_hex(4)}")
        draft.mkdir(parents=True)
        if not found.compile(draft):
            shutil.rmtree(draft, ignore_errors=True)
            raise volumes.image_altered("runtime")
        try:
            draft.rename(folder)
        except OSError:
            # Another server was faster: what it made is the same.
            shutil.rmtree(draft, ignore_errors=True)
    return folder


class Sandbox:
    """A sandbox that runs, with what goes in and out of it. Made by `start`; from then on safe for threads."""

    def __init__(self, name: str, running: BubblewrapRunning, prepared: Prepared, connector: upstream.Connector | None = None) -> None:
        self.name, self.running, self.prepared = name, running, prepared
        self._connector = connector
        self.relay = Relay()
        self.link = Link(running.channel.fileno())
        self.started_ms = 0
        self.leased_ms = 0
        self.asked_ms = 0
        self.serial = 0
        self.filter_digest = ""
        self.secrets = 0
        self.cause = ""
        self._replies: queue.Queue[Message | None] = queue.Queue(_WAITING)
        self._asking = threading.Lock()
        self.stating = threading.Lock()
        self._counted = (0, 0, 0)
        self._threads = [
            threading.Thread(target=one, name=f"{one.__name__} of {name}", daemon=True) for one in (self._read, self._feed)
        ]

    def begin(self) -> None:
        """Start to carry messages; once, after the worker said ready."""
        for one in self._threads:
            one.start()

    def request(self, kind: Type, body: bytes, wanted: Type, *, secret: bytearray | None = None) -> Message:
        """Ask the worker and wait for its answer. Raises Refused (the worker's code, SANDBOX_BUSY, SANDBOX_ENDED)."""
        with self._asking:
            if self.cause:
                raise sandbox_ended(self.cause)
            try:
                if secret is not None:
                    self.link.send_secret(kind, secret)
                else:
                    self.link.send(kind, body)
                reply = self._replies.get(timeout=REQUEST_S)
            except (LinkClosed, queue.Empty):
                reply = None
        if reply is None or reply.type not in (Type.ERROR, wanted):
            # One that does not answer in time, or answers something else, is asked nothing more: what comes late would be taken for the
            # answer to a later request.
            self.ended("sandbox-died")
            raise sandbox_ended(self.cause)
        if reply.type is Type.ERROR:
            code = str(_object(reply).get("code"))
            known = code if _CODE.fullmatch(code) else "SANDBOX_REQUEST"
            raise Refused("沙箱不接受该请求", "the sandbox does not take this request", code=known)
        return reply

    def tell(self, kind: Type, body: bytes | Mapping[str, Any]) -> None:
        """Say something that is not answered. Raises Refused (SANDBOX_ENDED)."""
        try:
            self.link.send(kind, body)
        except LinkClosed as error:
            raise sandbox_ended(self.cause or "sandbox-died") from error

    def counters(self) -> Counters:
        """What it did."""
        asks, tokens_in, tokens_out = self._counted
        return Counters(
            asks, tokens_in, tokens_out, self.relay.bytes_in, self.relay.bytes_out, self.started_ms, self.asked_ms,
            "ended" if self.cause else "live", self.cause,
        )  # fmt: skip

    def finish(self, *, wait_s: float = 0.5) -> None:
        """Let the worker end its answers and close its session, as far as it does so in time."""
        if self.cause:
            return
        try:
            self.link.send(Type.END)
        except LinkClosed:
            return
        ends = time.monotonic() + wait_s
        while not self.cause and time.monotonic() < ends:
            time.sleep(0.001)

    def ended(self, cause: str) -> None:
        """It serves nothing more, for this cause; the first one counts."""
        self.cause = self.cause or cause
        self.relay.end()
        with suppress(queue.Full):
            self._replies.put_nowait(None)

    def kill(self, cause: str) -> None:
        """End it and everything that waited for it. Cost: 15 ms."""
        self.ended(cause)
        self.relay.close()
        self.running.kill()
        # Whoever was writing is let go by the end of the worker; from here on nobody uses the descriptor, and it can be closed.
        self.link.close()
        if self._connector is not None:
            self._connector.close()
        for one in self._threads:
            if one.is_alive():
                one.join(timeout=_JOIN_S)
        if not any(one.is_alive() for one in self._threads):
            self.running.close()

    def _read(self) -> None:
        """The worker's messages."""
        is_finished = False
        while True:
            try:
                message = self.link.receive()
            except LinkClosed:
                break
            if message.type in (Type.FRAME_OUT, Type.FRAMES_OUT):
                try:
                    if not self.relay.put_out(*message.frames()):
                        break
                except LinkClosed:
                    break
            elif message.type is Type.COUNTERS:
                if _object(message).get("failed"):
                    self.ended("probe")  # what it must be refused it was not, when the tenant asked
                    break
                self._counted = _counts(message, self._counted)
            elif message.type is Type.END:
                is_finished = True
                break
            else:
                try:
                    self._replies.put_nowait(message)
                except queue.Full:
                    break
        self.ended(self.cause or ("released" if is_finished else self._why()))

    def _why(self) -> str:
        """Asked once its channel is closed: the kernel's count may come a moment later."""
        ends = time.monotonic() + 0.3
        while self.running.alive() and time.monotonic() < ends:
            time.sleep(0.005)
        return self.running.cause()

    def _feed(self) -> None:
        """The tenant's frames."""
        while (frame := self.relay.next_in()) is not None:
            self.asked_ms = worker_module.now_ms()
            try:
                self.link.send_secret(Type.FRAME_IN, frame)
            except LinkClosed:
                return
            finally:
                frame[:] = bytes(len(frame))

    def outside(self) -> tuple[Control, ...]:
        """All that the launcher can say, in the order of section 7."""
        found = {one.name: one for one in self.running.seen()}
        manifest = self.prepared.manifest
        if "filter" in found and self.filter_digest:
            found["filter"] = replace(found["filter"], how=f"{found['filter'].how} {self.filter_digest}")
        found["image-measured"] = Control("image-measured", "on", f"{len(manifest.files)} files and the runtime", "outside")
        inside = manifest.engine.place == "inside"
        found["engine-inside"] = Control("engine-inside", "on" if inside else "off", manifest.engine.place, "outside")
        return tuple(found[name] for name in CONTROLS if name in found)


def _object(message: Message) -> Mapping[str, Any]:
    """A worker's object; what is none is empty."""
    try:
        return message.json()
    except LinkClosed:
        return {}


def _counts(message: Message, before: tuple[int, int, int]) -> tuple[int, int, int]:
    """Counts of a worker, which only grow; others are not taken."""
    found = tuple(_object(message).get(one) for one in ("asks", "tokens_in", "tokens_out"))
    fits = all(isinstance(one, int) and not isinstance(one, bool) and old <= one <= MAX for one, old in zip(found, before, strict=True))
    return (int(found[0] or 0), int(found[1] or 0), int(found[2] or 0)) if fits else before


def start(settings: Settings, folder: Path, prepared: Prepared, hierarchy: groups.Hierarchy, *, boot: str, foreign: tuple[str, ...]) -> Sandbox:
    """A spare of this image. Call from the thread that lives as long as the server does.

    Raises StartRefused (SANDBOX_START), Refused (IMAGE_ALTERED, PROBE_FAILED). What was started then is gone again, or its record
    is on disk.
    """
    name = f"sb-{secrets.token_hex(8)}"
    run = folder / reaping.RUNS / name
    run.mkdir(parents=True, mode=0o700)
    limits = prepared.manifest.limits
    behind = prepared.manifest.engine.place == "behind"
    told = upstream.wanted(settings.upstream) if behind else {}
    connector = upstream.Connector(settings.upstream) if behind else None
    handed = (connector.theirs.fileno(),) if connector is not None else ()
    plan = StartPlan(
        name, folder, prepared.bound, prepared.compiled, volumes.image_folder(Path(settings.volumes), prepared.tenant, prepared.image) / "files",
        volumes.corpora_folder(Path(settings.volumes), prepared.tenant), limits, settings.uid, hierarchy,
        (runtime.PROGRAM, "-I", "-S", "-B", "-X", f"pycache_prefix={runtime.COMPILED}", _WORKER), settings.without, handed,
        beside=programs.PROCESSES if prepared.program is not None else 0,
    )  # fmt: skip
    record = PidRecord(
        name, settings.server, "", "", boot, reaping.machine_boot(), str(run), settings.uid, worker_module.now_ms(),
        groups=groups.planned(name, hierarchy), assurance=settings.assurance,
    )  # fmt: skip
    reaping.write(folder, record)
    running: BubblewrapRunning | None = None
    try:
        running = ISOLATIONS[settings.isolation]().start(plan, record)
        reaping.write(folder, running.record)
        sandbox = Sandbox(name, running, prepared, connector)
        running.release()
        if connector is not None:
            connector.start()
        _make_ready(sandbox, settings, foreign, {**told, "descriptor": running.number_of(handed[0])} if handed else {})
    except BaseException:
        if connector is not None:
            connector.close()
        if running is not None:
            running.kill()
            running.close()
            reaping.settle(folder, running.record, running.group, running.look)
        elif not any(Path(one).exists() for one in record.groups):
            shutil.rmtree(run, ignore_errors=True)
            reaping.forget(folder, name)
        raise
    sandbox.started_ms = worker_module.now_ms()
    running.started_well()
    sandbox.begin()
    return sandbox


def _make_ready(sandbox: Sandbox, settings: Settings, foreign: tuple[str, ...], beside: Mapping[str, Any]) -> None:
    manifest, limits = sandbox.prepared.manifest, sandbox.prepared.manifest.limits
    by_limits = sandbox.running.group.how == "rlimit"
    kind, program = "generator" if manifest.engine.kind == "generator" else "lean", sandbox.prepared.program
    weights = {one.path: one.sm3 for one in manifest.of_role("weights")}
    # What the tenant signed by the listing: the keeper starts nothing else, and says what it started.
    executable = sandbox.prepared.bound.measured(program.executable) if program is not None else ""
    sandbox.running.channel.settimeout(None)
    try:
        sandbox.link.send(
            Type.PLAN,
            {
                "release": RELEASE, "engine": sandbox.prepared.engine.place, "modules": list(sandbox.prepared.engine.modules),
                "weights": weights, "threads": max(1, limits.cpu_milli // 1000), "filter": "" if "filter" in settings.without else kind,
                "mounts": sorted(sandbox.running.mounts), "scratch": limits.scratch_bytes, "processes": sandbox.running.most_tasks,
                "by_limits": by_limits, "memory": limits.memory_bytes if by_limits else 0, "foreign": list(foreign),
                "answer_bytes": limits.answer_bytes, "asks_at_once": limits.asks_at_once, "without": sorted(settings.without),
                "upstream": dict(beside), "program": program.program.encoded.decode() if program is not None else "",
                "model": programs.model_of(manifest) if program is not None else "", "executable": executable,
            },
        )  # fmt: skip
        said = _first(sandbox, READY_S + (program.program.ready_s if program is not None else 0))
    except LinkClosed as error:
        raise _not_ready(sandbox.running.first_words() or "it ended at once") from error
    body = _object(said)
    if said.type is not Type.READY:
        if body.get("code") == SILENT:
            raise programs.silent(str(body.get("why", ""))[:400])
        if body.get("code") == ALTERED:
            raise volumes.image_altered("runtime")
        if body.get("code") == "IMAGE_ALTERED":
            raise volumes.image_altered("weights")
        raise _not_ready(str(body.get("code", ""))[:60])
    failed = body.get("failed")
    if not isinstance(failed, list) or not all(isinstance(one, str) for one in failed):
        raise _not_ready("it does not say what its suite found")
    sandbox.filter_digest = str(body.get("filter"))
    expected = sm3.digest(filters.program(kind, platform.machine())).hex()
    if body.get("weights") != weights:
        raise volumes.image_altered("weights")
    if body.get("executable") != executable:
        raise volumes.image_altered("runtime")
    of_server = sm3.digest(filters.program("server", platform.machine())).hex() if program is not None else ""
    if not settings.without and (failed or (sandbox.filter_digest, body.get("server")) != (expected, of_server)):
        raise Refused(
            "沙箱自检中有被允许的动作，服务器转为未清；请运维人员查看",
            f"the probe suite of a sandbox was allowed something ({', '.join(failed)[:100]}): its server is dirty, operators look",
            code="PROBE_FAILED",
            details={"failed": " ".join(failed)[:400]},
        )


def _first(sandbox: Sandbox, seconds: float) -> Message:
    """The worker's first message, waited for as long as loading may take."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        ready, _, _ = select.select([sandbox.link.fileno()], [], [], 0.5)
        if ready:
            return sandbox.link.receive()
        if not sandbox.running.alive():
            raise LinkClosed
    raise LinkClosed


def _not_ready(why: str) -> StartRefused:
    return StartRefused(
        "沙箱未就绪，服务器保持未清状态；请运维人员查看原因",
        f"the sandbox did not become ready and its server stays dirty; operators look into it: {why}",
        code="SANDBOX_START",
    )

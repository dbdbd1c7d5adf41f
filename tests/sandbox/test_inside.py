"""A server inside a sandbox, beside its worker: real processes under bubblewrap; the evidence names it; it reaches nothing."""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.sandbox.test_ends import NO_GROUPS
from tests.sandbox.test_starting import STARTS
from tests.sandbox.world import SERVER, TENANT, Tenant, World, now_ms, until
from workbench.channel.frame import Kind
from workbench.crypto import sm3
from workbench.domain.documents import SourceDocument
from workbench.domain.party import PartyId
from workbench.errors import Refused
from workbench_sandbox.corpus import build
from workbench_sandbox.corpus.sealing import seal_corpus
from workbench_sandbox.formats import carried
from workbench_sandbox.formats import manifest as manifests
from workbench_sandbox.formats.asking import Cite, Dropped, Open, Text, format_stop
from workbench_sandbox.inside.link import Link, Type
from workbench_sandbox.server import ending, programs, reaping, runtime, starting, volumes
from workbench_sandbox.server.processes import ServerProcesses
from workbench_sandbox.server.runtime import EngineCode
from workbench_sandbox.server.watching import namespaces, status

pytestmark = STARTS
HERE = Path(__file__).parent
TEXT = "澄澜一号混合型证券投资基金的管理费率为1.20%。基金经理为陆砚舟。"
CODE = EngineCode("workbench_sandbox.engines.upstream:OpenAIHttp", ("workbench_sandbox.corpus.search",))
LIMITS = manifests.Limits(512 << 20, 32, 2000, 32 << 20, 64 << 10, 2)
WEIGHTS = b"weights of no model"


def program(**changes: Any) -> dict[str, Any]:
    """A definition as an operator would write it into `inference.programs`."""
    return {
        "argv": ["{python}", "-I", "-S", "-B", "-c", START, "{socket}", "{model}"],
        "binds": {f"/program/{one}": str(HERE / one) for one in ("inside_server.py", "upstream_server.py")},
        "modules": ["json", "ssl"], "model": "plain", "ready_s": 20, **changes,
    }  # fmt: skip


START = "import sys; sys.path[:0] = ['/program']; import inside_server; inside_server.main()"


@dataclass
class Inside(World):
    """A provider whose operator named a program."""

    programs: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.servers.close()
        self.servers = ServerProcesses(
            self.folder / "servers", self.volumes, engines={"openai-http": CODE}, inside=self.programs, look_s=0.5, shared=self.shared, without=self.without,
        )

    def make_image(self, *, listing: bytes | None = None, limits: manifests.Limits = LIMITS, name: str = "small", sm3_: str = "") -> str:
        listing = self.servers.listing("openai-http", name) if listing is None else listing
        digest = sm3_ or programs.named(self.programs, name).program.digest
        engine = manifests.Engine("openai-http", "upstream", "1", "inside", name, digest)
        file = manifests.ManifestFile("weights/small.gguf", len(WEIGHTS), sm3.digest(WEIGHTS).hex(), "weights")
        made = manifests.Manifest(PartyId(TENANT), "small", "1", engine, (file,), sm3.digest(listing).hex(), limits, (), now_ms())
        folder = volumes.image_folder(self.volumes, TENANT, made.id)
        (folder / "files" / "weights").mkdir(parents=True)
        (folder / "files" / "weights" / "small.gguf").write_bytes(WEIGHTS)
        (folder / volumes.MANIFEST).write_bytes(manifests.sign_manifest(made, key=self.contract))
        (self.volumes / TENANT).chmod(0o700)
        self.image = made.id
        return made.id

    def put_corpus(self, key: bytes) -> str:
        document = SourceDocument("fund-0001", "fund", "1", "澄澜一号混合", "合成", 1, "public", True, TEXT)
        sealed = b"".join(seal_corpus(build([document], None, progress=lambda done, total: None), key))
        name = sm3.digest(sealed).hex()
        folder = volumes.corpora_folder(self.volumes, TENANT)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(sealed)
        return name


@dataclass
class Asking:
    """A session with a sandbox of a world."""

    world: Inside
    tenant: Tenant
    corpus: str

    def ask(self, question: str = "澄澜一号的管理费率是多少？", **changes: Any) -> str:
        return self.tenant.ask(question, corpus=self.corpus, kinds=("fund",), **changes)


def opened(world: Inside) -> Asking:
    key = secrets.token_bytes(32)
    corpus = world.put_corpus(key)
    tenant = world.leased(SERVER)
    tenant.open()
    tenant.say(carried.format_corpus_open(carried.CorpusOpen(corpus, corpus, key)), "corpus.open")
    ready = carried.parse_corpus_ready(next(tenant.opened()).payload)
    assert (ready.documents, ready.code) == (1, "")
    return Asking(world, tenant, corpus)


@pytest.fixture(scope="module")
def host() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two listeners of the host: TCP, and a name that is no file."""
    tcp, abstract = socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX)
    abstract.bind("\0workbench-inside-test")
    abstract.listen(1)
    yield tcp, abstract
    tcp.close()
    abstract.close()


@pytest.fixture(scope="module")
def world(host: tuple[socket.socket, socket.socket], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    places = (
        f"tcp:{host[0].getsockname()[1]}", "abstract:workbench-inside-test", "unix:/run/dbus/system_bus_socket", "read:/etc/passwd", "read:/proc/1/mem",
        "read:/proc/1/environ", "write:/image/weights/small.gguf", "write:/program/inside_server.py", "run:/runtime/bin/python3", "fork", "self",
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("inside")
    world = Inside(
        folder,
        programs={
            "small": program(environment={"REACH": ",".join(places)}), "never": program(environment={"SERVE": "never"}, ready_s=1),
            "ends": program(environment={"SERVE": "ends"}),
            "own": program(argv=["/program/own", "{socket}"], binds={"/program/own": str(shutil.copy("/bin/true", folder / "own"))}, modules=[]),
        },
    )  # fmt: skip
    try:
        world.make_image()
        yield world
    finally:
        world.close()


@pytest.fixture(scope="module")
def asking(world: Inside) -> Asking:
    return opened(world)


def test_evidence_names_the_server_inside_and_every_control_is_on(asking: Asking) -> None:
    statement, program = asking.tenant.statement, programs.named(asking.world.programs, "small").program
    states = {one.name: (one.state, one.how) for one in statement.controls}
    off = {name for name, (state, _) in states.items() if state != "on"}
    assert off <= {"no-swap", "cpu", "host-user"}, off
    assert statement.image.engine.place == "inside" and statement.program == statement.image.engine.program_sm3 == program.digest
    assert statement.probe.tried > 90 and not statement.probe.failed
    assert "server" in states["filter"][1] and states["own-processes"][1].endswith("3 listed")


def test_an_answer_comes_with_its_citation_and_the_servers_own_count(asking: Asking) -> None:
    for _ in range(2):
        records, end = asking.tenant.answer_of(asking.ask())
        assert (end.state, end.citations, end.dropped) == ("answered", 1, 1)
        assert next(one for one in records if isinstance(one, Open)).place == "inside"
        assert "".join(one.d for one in records if isinstance(one, Text)) == "管理费率为1.20%[1]。" and Dropped("number", 1) in records
        [cite] = [one for one in records if isinstance(one, Cite)]
        assert cite.span_sm3 == sm3.digest(TEXT[cite.start : cite.end].encode()).hex()
        assert (end.tokens_in, end.tokens_out) == (41, 17)


def test_the_server_reaches_nothing(asking: Asking) -> None:
    _, end = asking.tenant.answer_of(asking.ask("澄澜一号的管理费率是多少？!reach"))
    assert (end.tokens_in, end.tokens_out) == (11, 0)


def test_a_tenant_lets_it_try_again_what_must_be_refused_and_has_its_signature(asking: Asking) -> None:
    asking.tenant.say(carried.format_empty(), "probe")
    frame = next(one for one in asking.tenant.opened() if one.purpose == "probe")
    probed = carried.parse_probed(frame.payload)
    assert frame.kind is Kind.SIGNED and probed.failed == () and probed.tried == probed.refused == asking.tenant.statement.probe.tried


@pytest.mark.parametrize(
    ("word", "state", "code"),
    [
        ("split", "answered", ""), ("crlf", "answered", ""), ("no-done", "answered", ""), ("busy-once", "answered", ""), ("no-done-no-finish", "failed", "ENGINE_FAILED"),
        ("garbage", "failed", "ENGINE_FAILED"), ("error-inside", "failed", "ENGINE_FAILED"), ("broken-off", "failed", "ENGINE_FAILED"),
        ("status-401", "failed", "ENGINE_FAILED"), ("status-429-9", "failed", "ENGINE_BUSY"), ("status-500", "failed", "ENGINE_FAILED"),
    ],
)  # fmt: skip
def test_what_goes_wrong_at_the_server_is_one_code(asking: Asking, word: str, state: str, code: str) -> None:
    _, end = asking.tenant.answer_of(asking.ask(f"澄澜一号的管理费率是多少？!{word}"))
    assert (end.state, end.code) == (state, code)


@pytest.mark.parametrize("word", ["endless", "silent"])
def test_a_stop_closes_the_connection_and_the_next_question_is_answered(asking: Asking, word: str) -> None:
    name = asking.ask(f"澄澜一号的管理费率是多少？!{word}")
    time.sleep(0.2)
    asking.tenant.say(format_stop(name), "ask.stop")
    assert asking.tenant.answer_of(name)[1].state == "stopped"
    assert asking.tenant.answer_of(asking.ask("澄澜一号的管理费率是多少？!gone"))[1].tokens_out == 1
    assert asking.tenant.answer_of(asking.ask())[1].state == "answered"


def test_a_server_that_dies_takes_its_sandbox_along_and_nothing_is_left(world: Inside, asking: Asking) -> None:
    records, end = asking.tenant.answer_of(asking.ask("澄澜一号的管理费率是多少？!die"))
    assert (end.state, end.code) == ("failed", "ENGINE_FAILED") and records
    until(lambda: world.servers.counters(asking.tenant.sandbox).state == "ended")
    assert world.servers.counters(asking.tenant.sandbox).cause == "sandbox-died"
    looked = world.servers.erase(SERVER, reason="sandbox-died")
    assert looked.clean, looked.checks


def test_a_kill_ends_worker_keeper_and_server(world: Inside) -> None:
    asking = opened(world)
    assert asking.tenant.answer_of(asking.ask())[1].state == "answered"
    [record] = reaping.read(world.folder / "servers" / SERVER)
    [worker] = [pid for pid in record.pids if ending.start_time(pid) and len(status(pid)["NSpid"].split()) > 1]
    inside = {
        int(one.name): ending.start_time(int(one.name))
        for one in Path("/proc").iterdir()
        if one.name.isdigit() and namespaces(one.name).get("pid") == namespaces(worker)["pid"]
    }
    assert len(inside) == 3, "the worker, its keeper, its server"
    looked = world.servers.erase(SERVER, reason="released")
    assert looked.clean and {one.name: one.found for one in looked.checks}["processes"] == 0
    assert not [pid for pid, began in inside.items() if ending.start_time(pid) == began and status(pid)["State"][0] not in "ZX"]


@pytest.mark.parametrize(
    ("name", "said"), [pytest.param("never", "not ready within 1 s", marks=pytest.mark.soak), ("ends", "no such model")]
)
def test_a_server_that_does_not_become_ready_is_refused_with_what_it_said(world: Inside, name: str, said: str) -> None:
    world.servers.add(SERVER)
    world.make_image(name=name)
    state = world.prepared()
    assert (state.state, state.cause) == ("DIRTY", "SERVER_SILENT")
    assert said in (world.folder / "servers" / SERVER / "why.txt").read_text()


def test_another_definition_than_the_signed_one_is_not_started(world: Inside) -> None:
    world.servers.add(SERVER)
    world.make_image(sm3_="a" * 64)
    assert world.prepared().cause == "IMAGE_REFUSED"


def test_a_program_that_was_swapped_after_it_was_measured_is_not_started(world: Inside) -> None:
    world.servers.add(SERVER)
    world.make_image(name="own")
    assert world.prepared().cause == "SERVER_SILENT", "what was measured is started, and ends at once"
    own, known = world.folder / "own", world.folder / "servers" / "shared" / "known.json"
    content = own.read_bytes()
    own.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    body, now = json.loads(known.read_bytes()), own.stat()
    # As if it had been another file a moment ago: the survey finds the digest that was signed.
    body["measured"][str(own)][0] = [now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns]
    known.write_text(json.dumps(body))
    state = world.prepared()
    assert (state.state, state.cause) == ("DIRTY", "IMAGE_ALTERED")
    assert "runtime" in (world.folder / "servers" / SERVER / "why.txt").read_text()


@pytest.mark.parametrize(
    ("kind", "said"), [(Type.READY, {"executable": "0" * 64}), (Type.READY, {}), (Type.ERROR, {"code": "SERVER_ALTERED"}), (Type.READY, {"executable": "right"})]
)
def test_the_launcher_compares_what_was_started_with_the_listing(world: Inside, kind: Type, said: dict[str, Any]) -> None:
    launchers, workers = socket.socketpair()
    with launchers, workers:
        manifest = volumes.check_image(world.volumes, TENANT, world.make_image())
        bound = runtime.Runtime((), (), f"{runtime.PROGRAM}0 1 {'b' * 64}\n{runtime.PROGRAM} 1 {'a' * 64}\n".encode(), ())
        sandbox: Any = SimpleNamespace(
            prepared=SimpleNamespace(manifest=manifest, bound=bound, engine=CODE, program=programs.named(world.programs, "small")),
            running=SimpleNamespace(group=SimpleNamespace(how="rlimit"), channel=launchers, mounts=(), most_tasks=3), link=Link(launchers.fileno()),
        )  # fmt: skip
        worker = Link(workers.fileno())
        body = {"failed": [], "weights": {one.path: one.sm3 for one in manifest.of_role("weights")}, **said}
        worker.send(kind, {**body, "executable": "a" * 64} if said.get("executable") == "right" else body)
        settings = starting.Settings(SERVER, -1, "", "")
        with pytest.raises(Refused) as caught:
            starting._make_ready(sandbox, settings, (), {})
        assert caught.value.code == ("PROBE_FAILED" if said.get("executable") == "right" else "IMAGE_ALTERED")
        assert worker.receive().json()["executable"] == "a" * 64


@pytest.mark.soak
@pytest.mark.skipif(NO_GROUPS, reason="this kernel or account has no control groups to write")
def test_a_server_that_takes_all_memory_ends_its_sandbox_by_that_cause(world: Inside) -> None:
    world.make_image()
    asking = opened(world)
    asking.ask("澄澜一号的管理费率是多少？!memory")
    until(lambda: world.servers.counters(asking.tenant.sandbox).state == "ended", seconds=30)
    assert world.servers.counters(asking.tenant.sandbox).cause == "memory"
    assert world.servers.erase(SERVER, reason="memory").clean


@pytest.mark.soak
def test_without_its_filter_what_the_server_may_do_is_named(tmp_path: Path) -> None:
    world = Inside(tmp_path, without=frozenset({"filter"}), programs={"small": program()})
    try:
        world.make_image()
        statement = opened(world).tenant.statement
        assert {"filter", "no-network", "no-programs"} <= set(statement.missing)
        assert {"server-fork", "server-socket-inet", "server-exec", "server-exec-at", "server-unfiltered"} <= set(statement.probe.failed)
    finally:
        world.close()

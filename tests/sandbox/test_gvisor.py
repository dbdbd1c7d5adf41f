"""Level `gvisor` over a real runsc: what its evidence says, how it ends, and that nothing of it is left, however it ended."""

from __future__ import annotations

import json
import os
import secrets
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.sandbox.world import LEASE, PROVIDER, TENANT, World, lacking_gvisor, now_ms, until
from workbench.crypto import sm2
from workbench.domain.party import PartyId
from workbench.errors import StartRefused, VerificationError
from workbench_inference.asking import verifying
from workbench_sandbox.formats import servicekey
from workbench_sandbox.formats.asking import Text, format_stop
from workbench_sandbox.formats.evidence import CONTROLS, sign_evidence
from workbench_sandbox.server import bubblewrap, ending, groups, gvisor, looking, reaping, starting, volumes
from workbench_sandbox.server.contract import Upload
from workbench_sandbox.server.isolation import PidRecord

STARTS = pytest.mark.skipif(bool(lacking_gvisor()), reason=lacking_gvisor() or "it can be started")
MISSING = {one.control for one in gvisor.Gvisor().available()} if not lacking_gvisor() else set()
SERVER = "v-0000001d"
CANARY = f"金丝雀-canary-{secrets.token_hex(6)}"
NOT_SEEN_OUTSIDE = {"scratch", "no-debugging", "clean-start", "no-more-namespaces", "probe"}


@pytest.fixture(scope="module")
def deep(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A provider whose servers isolate by gVisor."""
    deep = World(tmp_path_factory.mktemp("gvisor"), shared=world.folder / "servers" / "shared", isolation="gvisor")
    try:
        deep.make_image()
        yield deep
    finally:
        deep.close()


def record_of(world: World, sandbox: str) -> PidRecord:
    return next(one for one in reaping.read(world.folder / "servers" / SERVER) if one.sandbox == sandbox)


def left(record: PidRecord, members: dict[int, int]) -> set[int]:
    """Of the processes that it was made of, those that are still there."""
    return {pid for pid, began in members.items() if looking._is_alive(pid) and ending.start_time(pid) == began} | looking.leftover(
        record, groups.restored(record.groups, record.sandbox)
    )


def made_of(record: PidRecord) -> dict[int, int]:
    return {pid: ending.start_time(pid) for pid in groups.restored(record.groups, record.sandbox).members()}


def role(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes().partition(b"\0")[0]


@STARTS
def test_evidence_says_the_level_and_by_what_each_control_holds_and_a_question_is_answered(deep: World) -> None:
    tenant = deep.leased(SERVER)
    statement = tenant.evidence()
    assert statement.assurance == "gvisor" and statement.isolation.startswith("runsc ") and "bubblewrap" in statement.isolation
    assert not statement.probe.failed and statement.probe.refused == statement.probe.tried >= 48
    assert set(statement.missing) - {"no-swap"} == MISSING
    assert {one for one in CONTROLS if statement.control(one).seen == "inside"} == NOT_SEEN_OUTSIDE
    said = {one: statement.control(one).how for one in CONTROLS}
    assert "kernel of its own" in said["filter"] and "runsc's own" in said["no-capabilities"] and str(gvisor.OWN_TASKS) in said["processes"]
    # The worker is no process of the host: what the host sees is bubblewrap and runsc, all of it in one group.
    record = record_of(deep, tenant.sandbox)
    roles = {role(pid) for pid in made_of(record)}
    assert {b"runsc-sandbox", b"runsc-gofer", b"/runsc"} <= roles and not any(b"python" in one for one in roles)
    tenant.open()
    written = tenant.ask(f"!write {CANARY}")
    until(lambda: bool(deep.servers.frames(tenant.sandbox, Upload(tenant.first, tenant.taken), wait_ms=200).frames))
    tenant.say(format_stop(written), "ask.stop")
    assert tenant.answer_of(written)[1].state == "stopped"
    records, end = tenant.answer_of(tenant.ask(CANARY))
    assert end.state == "answered" and "".join(one.d for one in records if isinstance(one, Text)) == CANARY
    members = made_of(record)
    looked = deep.servers.erase(SERVER, reason="released")
    assert looked.clean and (looked.assurance, looked.lease) == ("gvisor", LEASE) and left(record, members) == set()
    assert not Path(record.folder).exists() and not any(Path(one).exists() for one in record.groups)
    for path in (*deep.folder.rglob("*"), *Path("/dev/shm").rglob("*")):
        assert not path.is_file() or path.is_symlink() or CANARY.encode() not in path.read_bytes(), path


@STARTS
@pytest.mark.parametrize("which", [b"runsc-sandbox", *(pytest.param(one, marks=pytest.mark.soak) for one in (b"runsc-gofer", b"/runsc"))])
def test_whichever_part_of_it_is_killed_all_of_it_ends_and_is_receipted(deep: World, which: bytes) -> None:
    tenant = deep.leased(SERVER)
    record = record_of(deep, tenant.sandbox)
    members = made_of(record)
    tenant.open()
    os.kill(next(pid for pid in members if role(pid) == which), signal.SIGKILL)
    until(lambda: deep.servers.counters(tenant.sandbox).state == "ended" or which == b"runsc-gofer")
    looked = deep.servers.erase(SERVER, reason="sandbox-died")
    assert looked.clean and looked.sandboxes == (tenant.sandbox,) and left(record, members) == set()


@STARTS
def test_a_data_class_that_needs_gvisor_is_not_sent_to_level_process(world: World, deep: World) -> None:
    """The eleven checks of a tenant, over a document of either level; over two nodes: tests/inference/test_gvisor_level.py."""
    accepted = []
    for one in (world, deep):
        tenant = one.leased(SERVER)
        nonce, now, service = secrets.token_hex(32), now_ms(), sm2.generate()
        written = servicekey.sign_service_key(servicekey.ServiceKey(PartyId(PROVIDER), service.public, now, now + 86_400_000, ""), key=one.contract)
        given = one.servers.evidence(tenant.sandbox, nonce)
        raw = sign_evidence(given.document, facts=given.facts, nonce=nonce, key=service, service=written)
        expected = verifying.Expected(
            PartyId(PROVIDER), PartyId(TENANT), one.contract.public, None, LEASE, "RUNNING", "run", "shared", tenant.sandbox, nonce, {}, frozenset(),
            volumes.check_image(one.volumes, TENANT, one.image), "process", frozenset({"filter"}), "process",
        )  # fmt: skip
        assert verifying.verify_evidence(raw, expected, now_ms=now_ms()).statement.sandbox == tenant.sandbox
        try:
            verifying.verify_evidence(raw, replace(expected, class_level="gvisor"), now_ms=now_ms())
            accepted.append(one.isolation)
        except VerificationError as refused:
            assert refused.details["check"] == "assurance"
        assert one.servers.erase(SERVER, reason="released").assurance == ("gvisor" if one is deep else "process")
    assert accepted == ["gvisor"]


@STARTS
def test_a_killed_launcher_takes_all_of_it_along_and_the_next_start_reaps_it(deep: World) -> None:
    tenant = deep.leased(SERVER)
    record = record_of(deep, tenant.sandbox)
    members = made_of(record)
    assert len(members) >= 5 and record.assurance == "gvisor"
    os.kill(deep.servers._servers[SERVER].pid, signal.SIGKILL)
    until(lambda: left(record, members) == set())
    looked = deep.servers.erase(SERVER, reason="launcher-died")
    assert looked.clean and (looked.assurance, looked.sandboxes, looked.lease) == ("gvisor", (tenant.sandbox,), LEASE)
    assert not any(Path(one).exists() for one in record.groups)


@STARTS
def test_memory_beyond_the_limit_ends_it_and_says_so(deep: World) -> None:
    tenant = deep.leased(SERVER)
    tenant.open()
    tenant.ask("!memory")
    until(lambda: deep.servers.counters(tenant.sandbox).state == "ended")
    assert deep.servers.counters(tenant.sandbox).cause == "memory"
    assert deep.servers.erase(SERVER, reason="memory").clean


@STARTS
@pytest.mark.soak
def test_evidence_names_what_was_taken_away_under_gvisor_too(world: World, tmp_path: Path) -> None:
    without = frozenset({"no-capabilities", "user", "scratch", "clean-start", "cpu", "memory", "dies-with-launcher", "no-core"})
    other = World(tmp_path, without, world.folder / "servers" / "shared", "gvisor")
    try:
        other.make_image()
        statement = other.leased(SERVER).evidence()
        assert set(statement.missing) - {"no-swap"} == without | MISSING | {"no-debugging", "probe"}
        assert set(statement.probe.failed) == {"scratch"}
    finally:
        other.close()


def test_where_runsc_is_missing_it_is_named_with_its_package_and_nothing_is_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(gvisor, "find_program", lambda: "")
    missing = gvisor.Gvisor().available()
    assert [one.control for one in missing] == ["files"] and "Debian" in missing[0].en and "runsc" in missing[0].zh
    plan, record = bubblewrap.empty_plan(tmp_path)
    with pytest.raises(StartRefused, match="Debian's package is runsc"):
        gvisor.Gvisor().start(plan, record)


@STARTS
def test_a_runsc_that_cannot_run_is_named_with_what_it_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gvisor, "best_platform", lambda: "none")
    gvisor.trial.cache_clear()
    try:
        [missing] = [one for one in gvisor.Gvisor().available() if one.control != "host-user"]
        assert missing.control == "filter" and "platform" in missing.en and "platform" in missing.zh
    finally:
        gvisor.trial.cache_clear()


@STARTS
def test_what_gvisor_cannot_hold_to_is_refused_before_anything_starts(tmp_path: Path) -> None:
    plan, record = bubblewrap.empty_plan(tmp_path)
    for changed, why in ((replace(plan, handed=(7, 8)), "beside the worker"), (replace(plan, beside=1), "beside the worker"), (plan, "control groups")):
        with pytest.raises(StartRefused, match=why):
            gvisor.Gvisor().start(changed, record)


def test_the_bundle_gives_the_worker_no_right_no_network_and_one_place_to_write(tmp_path: Path) -> None:
    plan, _ = bubblewrap.empty_plan(tmp_path)
    made = json.loads(json.dumps(gvisor.configuration(plan)))
    assert made["root"]["readonly"] and made["process"]["user"] == {"uid": 65534, "gid": 65534} and made["process"]["noNewPrivileges"]
    assert not any(made["process"]["capabilities"].values()) and not any(one["type"] == "bind" for one in made["mounts"])
    assert [one["destination"] for one in made["mounts"] if "ro" not in one["options"]] == ["/scratch"]
    assert f"size={plan.limits.scratch_bytes}" in next(one for one in made["mounts"] if one["destination"] == "/scratch")["options"]
    assert "network" in {one["type"] for one in made["linux"]["namespaces"]} and not any("path" in one for one in made["linux"]["namespaces"])


def test_an_isolation_that_nobody_knows_starts_no_server() -> None:
    settings = starting.Settings("v-00000001", -1, "", "", isolation="gvisor")
    assert starting.Settings.parse(settings.format()) == settings and settings.assurance == "gvisor"
    body = json.loads(settings.format()) | {"isolation": "none"}
    with pytest.raises(ValueError, match="no such isolation"):
        starting.Settings.parse(json.dumps(body).encode())

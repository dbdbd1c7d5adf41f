"""However a sandbox ends – worker, server or node killed, memory used up – it is found, erased and said; what is left is counted."""

from __future__ import annotations

import base64
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.sandbox.world import LEASE, TENANT, World, is_root, lacking, until
from workbench.errors import Refused
from workbench_sandbox.formats.asking import Text, format_stop
from workbench_sandbox.server import groups, looking, reaping, watching
from workbench_sandbox.server.bubblewrap import Bubblewrap
from workbench_sandbox.server.contract import Upload
from workbench_sandbox.server.isolation import PidRecord

pytestmark = pytest.mark.skipif(bool(lacking()), reason=f"this kernel or account cannot start a sandbox: {lacking()}")
NO_GROUPS = "cpu" in {one.control for one in Bubblewrap().available()}
SERVER, OTHER = "v-0000000b", "v-0000002b"
CANARY = f"金丝雀-canary-{secrets.token_hex(6)}"


HOLDER = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
space = os.open(f"/proc/{sys.argv[1]}/ns/mnt", os.O_RDONLY)
assert libc.setns(space, 0) == 0 and libc.unshare(0x00020000) == 0, os.strerror(ctypes.get_errno())
os.write(1, b"held\\n")
os.read(0, 1)
os._exit(0)
"""
"""Copies the mounts of a sandbox into a namespace of its own, outside its group, and holds them."""


def record_of(world: World, sandbox: str) -> PidRecord:
    return next(one for one in reaping.read(world.folder / "servers" / SERVER) if one.sandbox == sandbox)


def gone(record: PidRecord) -> bool:
    return looking.is_gone(record, groups.restored(record.groups))


def ends_with(world: World, sandbox: str, cause: str) -> None:
    until(lambda: world.servers.counters(sandbox).state == "ended")
    assert world.servers.counters(sandbox).cause == cause


@pytest.mark.parametrize("which", [1, 0], ids=["worker", "bubblewrap"])
def test_a_killed_worker_ends_its_answer_and_is_receipted(world: World, which: int) -> None:
    tenant = world.leased(SERVER)
    tenant.open()
    tenant.ask("!slow")
    record = record_of(world, tenant.sandbox)
    assert (record.lease, record.tenant) == (LEASE, TENANT) and len(record.pids) == 2 and all(record.began)
    os.kill(record.pids[which], signal.SIGKILL)
    ends_with(world, tenant.sandbox, "sandbox-died")
    with pytest.raises(Refused) as ended:
        while True:
            given = world.servers.frames(tenant.sandbox, Upload(tenant.first, tenant.taken), wait_ms=100)
            tenant.taken = given.first + len(given.frames)
    assert (ended.value.code, ended.value.details["cause"]) == ("SANDBOX_ENDED", "sandbox-died")
    looked = world.servers.erase(SERVER, reason="sandbox-died")
    assert looked.clean and looked.sandboxes == (tenant.sandbox,)


def test_of_two_at_once_neither_sees_the_other_and_one_answers_when_the_other_is_killed(world: World) -> None:
    """Processes, files, sockets and shared memory of a neighbour, and of the host; ten at once: test_endurance."""
    first, second = world.leased(SERVER), world.leased(OTHER)
    records = [record_of(world, first.sandbox), next(iter(reaping.read(world.folder / "servers" / OTHER)))]
    for kind in watching.NAMESPACES:
        assert len({one.namespaces.get(kind, -place) for place, one in enumerate(records)} | {watching.namespaces().get(kind)}) == 3, kind
    assert records[0].device != records[1].device and not set(records[0].groups) & set(records[1].groups)
    assert records[0].uid != records[1].uid or not is_root()
    for one in (first, second):
        one.open()
    first.ask(f"!write {CANARY}")
    named = f"\0workbench-{CANARY[-12:]}"
    shared = Path("/dev/shm", f"workbench-{CANARY[-12:]}")
    with socket.socket(socket.AF_UNIX) as host:
        host.bind(named)
        host.listen()
        shared.touch()
        try:
            assert any(named[1:] in line for line in Path("/proc/net/unix").read_text().splitlines())
            outside = [str(shared), records[0].folder, str(world.folder), *(f"/proc/{pid}" for pid in records[0].pids), "/proc/1/root/scratch/kept"]
            seen = json.loads("".join(one.d for one in second.answer_of(second.ask(f"!look {' '.join(outside)}"))[0] if isinstance(one, Text)))
        finally:
            shared.unlink()
    assert seen == {"processes": [1], "scratch": [], "shared": [], "segments": 0, "sockets": [], "paths": []}
    os.kill(records[0].pids[1], signal.SIGKILL)
    ends_with(world, first.sandbox, "sandbox-died")
    assert second.answer_of(second.ask("还在"))[1].state == "answered"
    assert world.servers.erase(SERVER, reason="sandbox-died").clean and second.answer_of(second.ask("还在"))[1].state == "answered"
    assert world.servers.erase(OTHER, reason="released").clean
    world.servers.remove(OTHER)


@pytest.mark.skipif(NO_GROUPS, reason="this kernel or account has no control groups to write")
def test_memory_beyond_the_limit_ends_the_sandbox_and_says_so(world: World) -> None:
    tenant = world.leased(SERVER)
    tenant.open()
    tenant.ask("!memory")
    ends_with(world, tenant.sandbox, "memory")
    assert world.servers.erase(SERVER, reason="memory").clean


def test_a_killed_server_takes_its_sandbox_along_and_is_reaped(world: World) -> None:
    tenant = world.leased(SERVER)
    tenant.open()
    record = record_of(world, tenant.sandbox)
    process = world.servers._servers[SERVER]
    os.kill(process.pid, signal.SIGKILL)
    until(lambda: gone(record))
    with pytest.raises(Refused) as ended:
        world.servers.counters(tenant.sandbox)
    assert ended.value.details["cause"] == "launcher-died"
    assert world.state(SERVER).cause == "launcher-died"
    assert reaping.read(process.folder) == [record]
    looked = world.servers.erase(SERVER, reason="launcher-died")
    assert looked.clean and (looked.sandboxes, looked.lease, looked.reason) == ((tenant.sandbox,), LEASE, "launcher-died")
    assert not any(Path(one).exists() for one in record.groups) and not Path(record.folder).exists()
    assert world.state(SERVER).state == "DIRTY"


def test_a_server_whose_node_is_gone_kills_ends_and_leaves_its_record(world: World) -> None:
    tenant = world.leased(SERVER)
    record = record_of(world, tenant.sandbox)
    process = world.servers._servers[SERVER]
    assert process._held is not None and process._process is not None
    process._held.close()
    process._process.wait(timeout=30)
    assert gone(record) and reaping.read(process.folder) == [record]
    found = world.servers.reap()
    assert [(one.lease, one.sandboxes, one.clean) for one in found] == [(LEASE, (tenant.sandbox,), True)]
    assert reaping.read(process.folder) == [] and world.servers.reap() == []
    world.servers.remove(SERVER)


def test_what_a_start_had_begun_to_make_is_found_by_its_record(tmp_path: Path) -> None:
    """The record is on disk before anything else is made, so a launcher that dies at any moment leaves nothing unnamed."""
    name, folder = "sb-00000000000000ff", tmp_path / "run" / "sb-00000000000000ff"
    planned = groups.planned(name, groups.find_hierarchy())
    reaping.write(tmp_path, PidRecord(name, SERVER, LEASE, TENANT, "", reaping.machine_boot(), str(folder), -1, 0, groups=planned))
    assert {Path(one).name for one in planned} <= {f"workbench-{name}"}
    for one in planned:
        Path(one).mkdir()
    folder.mkdir(parents=True)
    found = reaping.reap(tmp_path, clock=lambda: 7)
    assert [(one.lease, one.sandboxes, one.clean) for one in found] == [(LEASE, (name,), True)]
    assert not any(Path(one).exists() for one in planned) and reaping.reap(tmp_path, clock=lambda: 7) == []


def test_a_planted_file_makes_a_receipt_unclean_and_its_server_dirty(world: World) -> None:
    tenant = world.leased(SERVER)
    Path(record_of(world, tenant.sandbox).folder, "planted").write_text("x")
    looked = world.servers.erase(SERVER, reason="released")
    assert {one.name: one.found for one in looked.checks if one.found} == {"files": 1}
    assert not looked.clean and world.state(SERVER).state == "DIRTY"


@pytest.mark.skipif(not is_root(), reason="this account may give no file to another")
def test_a_planted_segment_of_shared_memory_and_a_core_file_make_a_receipt_unclean(world: World) -> None:
    tenant = world.leased(SERVER)
    record = record_of(world, tenant.sandbox)
    segment, core = Path("/dev/shm", f"workbench-{record.sandbox}"), Path("/", f"core.{record.pids[1]}")
    has_files = not Path("/proc/sys/kernel/core_pattern").read_text().startswith("|")
    try:
        segment.touch()
        os.chown(segment, record.uid, -1)
        if has_files:
            core.touch()
        looked = world.servers.erase(SERVER, reason="released")
    finally:
        segment.unlink()
        core.unlink(missing_ok=True)
    assert {one.name: one.found for one in looked.checks if one.found} == {"shared-memory": 1, **({"cores": 1} if has_files else {})}
    assert not looked.clean and world.servers.erase(SERVER, reason="released").clean


@pytest.mark.skipif(not is_root(), reason="this account may not mount a small file system")
def test_a_planted_mount_of_scratch_is_found(world: World) -> None:
    """Root can look into a sandbox, as the page says; that a mount of its scratch outlives it is found."""
    tenant = world.leased(SERVER)
    record = record_of(world, tenant.sandbox)
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(record.pids[1])], stdout=subprocess.PIPE, stdin=subprocess.PIPE)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        looked = world.servers.erase(SERVER, reason="released")
        # Asked again, it looks again; and it is made ready for nobody while something is there.
        again = world.servers.erase(SERVER, reason="released")
        assert again.sandboxes == looked.sandboxes and again.lease == LEASE and [one.found for one in again.checks] == [one.found for one in looked.checks]
        assert (world.prepared(SERVER).state, world.state(SERVER).cause) == ("DIRTY", "residue")
    finally:
        holder.communicate(b"\n", timeout=30)
    assert {one.name: one.found for one in looked.checks if one.found} == {"mounts": 1}
    assert not looked.clean
    # It is still on record, so that whoever looks again finds that it is gone now.
    folder = world.folder / "servers" / SERVER
    assert [one.sandbox for one in reaping.read(folder)] == [tenant.sandbox]
    assert world.servers.erase(SERVER, reason="released").clean and reaping.read(folder) == []


def test_a_process_left_in_its_namespaces_or_group_is_counted() -> None:
    child = subprocess.Popen(
        [*(["unshare", "--mount"] if is_root() else []), sys.executable, "-c", "import time; print(1, flush=True); time.sleep(60)"],
        stdout=subprocess.PIPE, start_new_session=True,
    )
    try:
        assert child.stdout is not None and child.stdout.readline()
        inodes = watching.namespaces(child.pid)
        record = PidRecord("sb-0000000000000001", SERVER, "", "", "", "", "/nowhere", -1, 0, namespaces={"mnt": inodes["mnt"]})
        empty = groups.Group("rlimit", (), {}, "process-group")
        assert looking.leftover(replace(record, namespaces=dict(watching.namespaces())), empty) == set()
        if is_root():
            assert looking.leftover(record, empty) == {child.pid}
        if not NO_GROUPS:
            group = groups.make("sb-0000000000000001", groups.GroupLimits(64 << 20, 8, 500), groups.find_hierarchy())
            for one in group.entrances():
                Path(one).write_text(str(child.pid))
            assert looking.leftover(replace(record, namespaces={}), group) == {child.pid}
            group.kill()
            child.wait(timeout=10)
            assert looking.is_gone(replace(record, namespaces={}), group) and group.remove() == 0
    finally:
        child.kill()
        child.wait()
        child.stdout.close() if child.stdout else None


def spellings(text: str) -> list[bytes]:
    raw = text.encode()
    encoded = base64.b64encode(raw)
    # base64 of it at any place of a longer text: what lies between the first and the last group of it
    return [raw, raw.hex().encode(), text.encode("utf-16-le"), encoded[:-4], base64.b64encode(b"x" + raw)[4:-4], base64.b64encode(b"xx" + raw)[4:-4]]


def test_a_canary_is_found_nowhere_afterwards(world: World, tmp_path: Path) -> None:
    tenant = world.leased(SERVER)
    tenant.open()
    passed: list[bytes] = []
    original = world.servers.frames

    def captured(sandbox: str, upload: Upload, *, wait_ms: int):  # type: ignore[no-untyped-def]
        given = original(sandbox, upload, wait_ms=wait_ms)
        passed.extend((*upload.frames, *given.frames))
        return given

    world.servers.frames = captured  # type: ignore[method-assign]
    try:
        record, written = record_of(world, tenant.sandbox), tenant.ask(f"!write {CANARY}")
        until(lambda: bool(world.servers.frames(tenant.sandbox, Upload(tenant.first, tenant.taken), wait_ms=200).frames))
        if is_root():
            # Root at the provider can read it while it runs: said on the page, shown here.
            assert CANARY in Path(f"/proc/{record.pids[1]}/root/scratch/kept").read_text()
        tenant.say(format_stop(written), "ask.stop")
        assert tenant.answer_of(written)[1].state == "stopped"
        # The next question, and the next session, find nothing of the one before.
        assert [one.d for one in tenant.answer_of(tenant.ask("!scratch"))[0] if isinstance(one, Text)] == ["空"]
        tenant.open()
        records, end = tenant.answer_of(tenant.ask(CANARY))
    finally:
        world.servers.frames = original  # type: ignore[method-assign]
    assert end.state == "answered" and "".join(one.d for one in records if isinstance(one, Text)) == CANARY and passed
    assert world.servers.erase(SERVER, reason="released").clean
    wanted = spellings(CANARY)
    assert any(one in json.dumps({"q": CANARY}, ensure_ascii=False).encode() for one in wanted)
    for data in passed:
        assert not any(one in data for one in wanted)
    places = [world.folder, Path("/dev/shm"), Path(record.folder).parent, Path("/mnt"), Path("/")]
    files = [one for place in places[:-1] for one in place.rglob("*")] + list(Path("/").glob("core*"))
    for path in files:
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            assert not any(one in content for one in wanted), path
    assert not Path(record.folder).exists()

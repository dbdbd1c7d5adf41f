"""What is not exactly what was signed does not run; groups of every kind; the record of a start."""

from __future__ import annotations

import socket
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.sandbox.world import ENGINES, LIMITS, TENANT, World, is_root, lacking
from workbench.errors import Refused, StartRefused, VerificationError
from workbench_sandbox.formats import manifest as manifests
from workbench_sandbox.inside.link import Link, Type
from workbench_sandbox.server import bubblewrap, groups, reaping, runtime, starting, volumes
from workbench_sandbox.server.bubblewrap import Bubblewrap
from workbench_sandbox.server.runtime import Bind, EngineCode

SERVER = "v-0000000c"
STARTS = pytest.mark.skipif(bool(lacking()), reason=f"this kernel or account cannot start a sandbox: {lacking()}")
NO_GROUPS = "cpu" in {one.control for one in Bubblewrap().available()}


@pytest.fixture
def image(world: World, tmp_path: Path) -> tuple[Path, str]:
    """Volumes of their own with the world's image."""
    place = volumes.image_folder(world.volumes, TENANT, world.image)
    copy = volumes.image_folder(tmp_path, TENANT, world.image)
    (copy / "files" / "weights").mkdir(parents=True)
    for name in (volumes.MANIFEST, "files/weights/greeting.txt"):
        (copy / name).write_bytes((place / name).read_bytes())
    return tmp_path, world.image


def test_an_image_is_taken_only_as_it_was_signed(image: tuple[Path, str]) -> None:
    folder, name = image
    assert volumes.check_image(folder, TENANT, name).name == "echo"
    weights = volumes.image_folder(folder, TENANT, name) / "files" / "weights" / "greeting.txt"
    content = weights.read_bytes()
    for altered in (content[:-1] + b"!", content + b"!", b""):
        weights.write_bytes(altered)
        with pytest.raises(Refused, match="IMAGE_ALTERED"):
            volumes.check_image(folder, TENANT, name)
    weights.write_bytes(content)
    assert volumes.check_image(folder, TENANT, name).name == "echo"
    more = weights.with_name("more.txt")
    for make, undo in ((more.touch, more.unlink), (lambda: more.symlink_to(folder), more.unlink), (lambda: more.symlink_to("nowhere"), more.unlink)):
        make()
        with pytest.raises(Refused, match="IMAGE_ALTERED"):
            volumes.check_image(folder, TENANT, name)
        undo()
    weights.unlink()
    with pytest.raises(Refused, match="IMAGE_ALTERED"):
        volumes.check_image(folder, TENANT, name)
    other = folder / "elsewhere"
    other.write_bytes(content)
    weights.symlink_to(other)
    with pytest.raises(Refused, match="IMAGE_ALTERED"):
        volumes.check_image(folder, TENANT, name)
    with pytest.raises(VerificationError, match="IMAGE_REFUSED"):
        volumes.check_image(folder, "bank", name)
    raw = (volumes.image_folder(folder, TENANT, name) / volumes.MANIFEST).read_bytes()
    (volumes.image_folder(folder, TENANT, name) / volumes.MANIFEST).write_bytes(raw[:40] + b"9" + raw[41:])
    with pytest.raises(VerificationError, match="IMAGE_REFUSED"):
        volumes.check_image(folder, TENANT, name)


@STARTS
def test_an_image_for_another_runtime_or_of_its_own_does_not_run(world: World) -> None:
    before = world.image
    try:
        world.servers.add(SERVER)
        world.make_image(listing=b"/runtime/bin/python 1 " + b"0" * 64 + b"\n")
        assert (world.prepared(SERVER).state, world.state(SERVER).cause) == ("DIRTY", "IMAGE_ALTERED")
        with pytest.raises(Refused, match="SERVER_NOT_READY"):
            world.servers.lease(SERVER, world.facts())
        assert world.servers.erase(SERVER, reason="operator").sandboxes == ()
        world.image = "0" * 64
        assert world.prepared(SERVER).cause == "IMAGE_REFUSED"
    finally:
        world.image = before


def test_what_is_known_of_files_is_found_again_and_measured_anew_where_they_differ(world: World, tmp_path: Path) -> None:
    (tmp_path / "engine_of_a_test.py").write_text("class Engine:\n    version = '1'\n")
    engine, shared = EngineCode("engine_of_a_test:Engine", (), (str(tmp_path),)), tmp_path / "shared"
    shared.mkdir()
    (shared / "known.json").write_bytes((world.folder / "servers" / "shared" / "known.json").read_bytes())
    first = runtime.survey(engine, shared=shared)
    assert (shared / "known.json").stat().st_mode & 0o777 == 0o600
    assert runtime.survey(engine, shared=shared) == first
    (tmp_path / "engine_of_a_test.py").write_text("import wave\n\n\nclass Engine:\n    version = '2'\n")
    second = runtime.survey(engine, shared=shared)
    assert second.digest != first.digest
    assert {one for _, one in second.sources} - {one for _, one in first.sources} >= {f"{runtime.STANDARD}/wave.py"}


def test_only_what_is_named_is_bound_and_each_file_of_it_is_listed(world: World) -> None:
    shared = world.folder / "servers" / "shared"
    found = runtime.survey(EngineCode("json:JSONDecoder"), shared=shared)
    inside = {one.inside for one in found.binds}
    assert all(one.startswith(("/runtime/", "/lib64/", "/lib/ld-")) for one in inside)
    assert not {"/usr", "/etc", "/home", "/root", "/tmp", "/bin"} & {one.source for one in found.binds}
    lines = found.listing.decode("ascii").splitlines()
    paths = [line.split(" ")[0] for line in lines]
    assert paths == sorted(paths) and len(paths) == len(set(paths))
    assert not any("__pycache__" in one or "/site-packages/" in one for one in paths)
    assert {"/runtime/code/workbench_sandbox/inside/worker.py", runtime.PROGRAM} <= set(paths)
    assert not any(one.startswith("/runtime/code/workbench_sandbox/server") or "/workbench/node" in one for one in paths)
    for bind in found.binds:
        if bind.inside.startswith(runtime.LIBRARIES) and bind.inside != runtime.STANDARD:
            assert Path(bind.inside).name == (runtime.soname(Path(bind.source)) or Path(bind.source).name)


def test_a_source_that_changes_before_it_is_compiled_runs_under_nobodys_name(world: World, tmp_path: Path) -> None:
    """Compiled forms are not compared with their sources inside, so they must be made from exactly what was measured."""
    place = tmp_path / "engine_of_another_test.py"
    place.write_text("class Engine:\n    version = '1'\n")
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "known.json").write_bytes((world.folder / "servers" / "shared" / "known.json").read_bytes())
    found = runtime.survey(EngineCode("engine_of_another_test:Engine", (), (str(tmp_path),)), shared=shared)
    place.write_text("class Engine:\n    version = '2'\n")
    with pytest.raises(Refused, match="IMAGE_ALTERED"):
        starting.compiled(shared, found)
    assert list((shared / "compiled").iterdir()) == []
    place.write_text("class Engine:\n    version = '1'\n")
    assert starting.compiled(shared, found).name == found.digest


def test_a_changed_file_changes_the_listing(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("a = 1\n")
    known = runtime.Known({}, {})
    before = runtime.listing([Bind(str(tmp_path), "/runtime/code/x")], known)
    assert b"/runtime/code/x/one.py 6 " in before
    (tmp_path / "one.py").write_text("a = 2\n")
    assert runtime.listing([Bind(str(tmp_path), "/runtime/code/x")], known) != before


@pytest.mark.skipif(NO_GROUPS, reason="this kernel or account has no control groups to write")
def test_limits_of_groups_are_set_and_read_back_on_what_the_machine_has() -> None:
    hierarchy, limits = groups.find_hierarchy(), groups.GroupLimits(64 << 20, 8, 500)
    group = groups.make("sb-00000000000000aa", limits, hierarchy)
    try:
        assert {name: state for name, (state, _) in groups.controls(group, limits).items() if name != "no-swap"} == dict.fromkeys(
            ("memory", "processes", "cpu", "group-kill"), "on"
        )
        assert tuple(group.folders) == groups.planned("sb-00000000000000aa", hierarchy)
        higher = groups.GroupLimits(32 << 20, 4, 250)
        assert {groups.controls(group, higher)[one][0] for one in ("memory", "processes", "cpu")} == {"off"}
        assert groups.restored(group.folders).killing == group.killing
    finally:
        assert group.remove() == 0
    assert not any(Path(one).exists() for one in group.folders)


@pytest.mark.parametrize(
    ("own", "handed", "writable", "chosen"),
    [
        ("/", {"/cg": {"memory", "pids", "cpu"}}, {"/cg"}, ("/cg", {"memory", "pids", "cpu"})),
        ("/user/app/scope", {"/cg/user/app": {"memory", "pids"}}, {"/cg/user/app/scope", "/cg/user/app"}, ("/cg/user/app", {"memory", "pids"})),
        ("/init.scope", {"/cg": {"memory", "pids", "cpu"}}, {"/cg/init.scope", "/cg"}, ("/cg", {"memory", "pids", "cpu"})),
        ("/", {}, {"/cg"}, ("/cg", set())),
        ("/user/scope", {"/cg": {"memory", "pids"}}, set(), ("", set())),
    ],
)
def test_a_unified_tree_is_taken_where_it_hands_its_controllers_on(
    monkeypatch: pytest.MonkeyPatch, own: str, handed: dict[str, set[str]], writable: set[str], chosen: tuple[str, set[str]]
) -> None:
    """Trees of other machines: a container's, a person's delegated one, a system's; one that hands nothing on still kills as one."""
    monkeypatch.setattr(groups, "_mounts", lambda: iter([("cgroup2", "/cg", frozenset[str]())]))
    monkeypatch.setattr(groups, "_own_groups", lambda: {"": own})
    monkeypatch.setattr(groups, "_usable", lambda folder: folder in writable)
    monkeypatch.setattr(groups, "_handed_on", lambda folder: frozenset(handed.get(folder, set())))
    found = groups.find_hierarchy()
    assert (found.v2, set(found.controllers)) == chosen and not found.v1


def test_without_groups_the_fallback_says_so() -> None:
    limits = groups.GroupLimits(64 << 20, 8, 500)
    group = groups.make("sb-00000000000000ab", limits, groups.Hierarchy())
    found = groups.controls(group, limits)
    assert group.how == "rlimit" and group.folders == () and group.members() == [] and group.remove() == 0
    assert found["cpu"] == ("off", "none") and found["group-kill"] == ("on", "process-group")
    assert found["memory"] == ("off", "rlimit")  # until the worker's own limit is read back


@pytest.mark.parametrize("kind", ["v1", "v2"])
def test_each_kind_of_groups_alone_where_the_machine_has_it(kind: str) -> None:
    found = groups.find_hierarchy()
    alone = groups.Hierarchy(v1=found.v1) if kind == "v1" else groups.Hierarchy(found.v2, found.controllers)
    if (kind == "v1" and not {"memory", "pids", "freezer"} <= alone.v1.keys()) or (kind == "v2" and not {"memory", "pids"} <= alone.controllers):
        pytest.skip(f"this kernel has no {kind} control groups to write")
    limits = groups.GroupLimits(64 << 20, 8, 500)
    group = groups.make("sb-00000000000000ac", limits, alone)
    try:
        assert group.how == f"cgroup-{kind}" and group.killing == ("freezer" if kind == "v1" else "cgroup.kill")
        child = subprocess.Popen(["sleep", "60"])
        for one in group.entrances():
            Path(one).write_text(str(child.pid))
        assert group.members() == [child.pid]
        group.kill()
        assert child.wait(timeout=30) != 0
    finally:
        assert group.remove() == 0


@pytest.mark.parametrize("late", [True, False])
def test_a_worker_that_answers_something_else_or_not_at_all_is_asked_nothing_more(
    world: World, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    """What comes late would be taken for the answer to a later request."""
    ours, theirs = socket.socketpair()
    running: Any = SimpleNamespace(channel=ours, alive=lambda: True, cause=lambda: "sandbox-died", kill=theirs.close, close=ours.close)
    prepared: Any = None
    sandbox, worker = starting.Sandbox("sb-00000000000000ad", running, prepared), Link(theirs.fileno())
    sandbox.begin()
    monkeypatch.setattr(starting, "REQUEST_S", 0.05 if late else 30.0)
    if not late:
        worker.send(Type.HELLO, b"of an earlier order")
    try:
        for _ in range(2):
            with pytest.raises(Refused) as ended:
                sandbox.request(Type.EVIDENCE, b"0" * 64, Type.STATEMENT)
            assert (ended.value.code, ended.value.details["cause"]) == ("SANDBOX_ENDED", "sandbox-died")
            worker.send(Type.STATEMENT, b"late")
        assert sandbox.counters().state == "ended"
    finally:
        sandbox.kill("operator")


@STARTS
@pytest.mark.skipif(NO_GROUPS, reason="this kernel or account has no control groups to write")
def test_a_start_that_fails_forgets_its_record_only_where_nothing_of_it_is_left(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    prepared = starting.prepare(world.servers._settings(SERVER), TENANT, world.image)
    settings = world.servers._settings(SERVER)
    monkeypatch.setattr(bubblewrap, "find_program", lambda: "/bin/false")
    hierarchy = groups.find_hierarchy()
    with pytest.raises(StartRefused):
        starting.start(settings, tmp_path, prepared, hierarchy, boot="0" * 32, foreign=())
    assert reaping.names(tmp_path) == []
    with monkeypatch.context() as stuck:
        stuck.setattr(groups.Group, "remove", lambda self: len(self.folders))
        with pytest.raises(StartRefused):
            starting.start(settings, tmp_path, prepared, hierarchy, boot="0" * 32, foreign=())
    assert len(reaping.names(tmp_path)) == 1
    assert [one.clean for one in reaping.reap(tmp_path, clock=lambda: 7)] == [True] and reaping.names(tmp_path) == []


@STARTS
def test_a_trial_start_leaves_nothing_and_says_why_where_none_can_be_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    bubblewrap.trial.cache_clear()
    assert bubblewrap.trial() == "" and len(list(Path("/proc/self/fd").iterdir())) == before
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho user namespaces are closed here >&2\nexit 1\n")
    broken.chmod(0o755)
    bubblewrap.trial.cache_clear()
    with monkeypatch.context() as other:
        other.setattr(bubblewrap, "find_program", lambda: str(broken))
        assert bubblewrap.trial()
        assert "own-processes" in {one.control for one in Bubblewrap().available()}
    bubblewrap.trial.cache_clear()


@STARTS
@pytest.mark.skipif(not is_root(), reason="this account may not mount a small file system")
def test_root_starts_no_sandbox_as_root(world: World) -> None:
    before, settings = world.image, replace(world.servers._settings(SERVER), uid=0)
    prepared = starting.prepare(settings, TENANT, world.make_image())
    world.image = before
    with pytest.raises(StartRefused, match="needs a user"):
        starting.start(settings, world.folder / "none", prepared, groups.find_hierarchy(), boot="0" * 32, foreign=())
    assert LIMITS == prepared.manifest.limits and isinstance(prepared.manifest, manifests.Manifest)
    assert list((world.folder / "none" / "run").iterdir()) == [] and list((world.folder / "none" / "records").iterdir()) == []


@STARTS
def test_weights_that_change_after_they_were_checked_are_found_by_the_worker_before_anything_reads_them(world: World, image: tuple[Path, str], tmp_path: Path) -> None:
    folder, name = image
    run = tmp_path / "server"
    run.mkdir(mode=0o755)
    (run / "empty").mkdir()
    settings = starting.Settings(SERVER, 64_990 if is_root() else -1, str(folder), str(world.servers._shared), ENGINES)
    try:
        prepared = starting.prepare(settings, TENANT, name)
    except Refused:
        pytest.skip("sources of this checkout were edited since the image was made")
    weights = volumes.image_folder(folder, TENANT, name) / "files" / "weights" / "greeting.txt"
    content = weights.read_bytes()
    weights.chmod(0o644)
    weights.write_bytes(content[:-1] + b"!")
    with pytest.raises(Refused, match="IMAGE_ALTERED"):
        starting.start(settings, run, prepared, groups.find_hierarchy(), boot="b0" * 16, foreign=())
    assert reaping.read(run) == [] and list((run / "run").iterdir()) == []

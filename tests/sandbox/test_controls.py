"""Evidence names exactly the controls that were taken away, and the suite finds what that opens."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sandbox.world import World, lacking
from workbench_sandbox.formats.evidence import CONTROLS
from workbench_sandbox.server.bubblewrap import Bubblewrap

pytestmark = pytest.mark.skipif(bool(lacking()), reason=f"this kernel or account cannot start a sandbox: {lacking()}")
MISSING = {one.control for one in Bubblewrap().available()}
NOT_LEFT_OUT = {
    "host-user",  # whoever is root starts none without
    "no-new-privileges",  # bubblewrap always sets it
    "no-more-namespaces",  # the filter refuses them too
    "no-programs", "no-debugging", "group-kill", "no-swap", "image-measured", "engine-inside", "probe",  # by construction, or of the machine
}  # fmt: skip
FOLLOWS = {
    "filter": {"no-more-namespaces", "no-network", "no-programs", "no-debugging", "probe"},
    "no-core": {"no-debugging"},
    # It then sees the host's, and holds them to what holds for those of its own sandbox.
    "own-processes": {"files", "probe", "filter", "no-capabilities", "no-new-privileges"},
    "files": {"probe"},
    "scratch": {"probe"},
    "processes": {"probe"},
}
"""What else a control carries; none of it is on without it."""


def shared_by(world: World) -> Path:
    return world.folder / "servers" / "shared"


def missing_of(world: World, folder: Path, without: frozenset[str]) -> tuple[set[str], tuple[str, ...]]:
    other = World(folder, without, shared_by(world))
    try:
        other.make_image(listing=world.servers.listing("echo"))
        statement = other.leased().evidence()
        assert other.servers.erase(statement.server, reason="released").sandboxes == (statement.sandbox,)
        return set(statement.missing), statement.probe.failed
    finally:
        other.close()


def expected(without: frozenset[str]) -> set[str]:
    found = set(without) | MISSING
    for one in without:
        found |= FOLLOWS.get(one, set())
    return found


def test_evidence_names_exactly_what_was_taken_away(world: World, tmp_path: Path) -> None:
    """Fourteen at once, and nothing else; each alone, and the filter, as endurance."""
    without = {
        "no-capabilities", "own-ipc", "own-hostname", "own-cgroup-view", "memory", "cpu", "user", "no-network", "no-core", "dies-with-launcher",
        "clean-start", "files", "scratch", "processes",
    }  # fmt: skip
    opened = {"write-dev", "write-dev-shm", "scratch", "tasks"}
    wanted = frozenset(without) - (MISSING | ({"memory", "processes"} if "cpu" in MISSING else set()))
    missing, failed = missing_of(world, tmp_path, wanted)
    assert missing - {"no-swap"} == expected(wanted) - {"no-swap"}
    assert set(failed) == {one for one in opened if one != "tasks" or "processes" in wanted}


@pytest.mark.soak
def test_without_groups_limits_of_the_process_hold_and_are_named(world: World, tmp_path: Path) -> None:
    other = World(tmp_path, frozenset({"groups"}), shared_by(world))
    try:
        other.make_image(listing=world.servers.listing("echo"))
        tenant = other.leased()
        statement = tenant.evidence()
        assert set(statement.missing) - {"no-swap"} == MISSING | {"cpu"}
        said = {one: (statement.control(one).state, statement.control(one).how) for one in ("memory", "processes", "cpu", "group-kill")}
        assert said == {"memory": ("on", "rlimit"), "processes": ("on", "rlimit"), "cpu": ("off", "none"), "group-kill": ("on", "process-group")}
        tenant.open()
        assert tenant.answer_of(tenant.ask("!memory"))[1].code == "ENGINE_FAILED"
        looked = other.servers.erase(statement.server, reason="released")
        assert looked.clean and {one.name: one.found for one in looked.checks}["processes"] == 0
    finally:
        other.close()


@pytest.mark.soak
@pytest.mark.parametrize("control", [one for one in CONTROLS if one not in NOT_LEFT_OUT])
def test_evidence_names_each_control_alone(world: World, tmp_path: Path, control: str) -> None:
    wanted = frozenset({control}) - MISSING
    missing, failed = missing_of(world, tmp_path, wanted)
    assert missing - {"no-swap"} == expected(wanted) - {"no-swap"}
    assert ("probe" in missing) == bool(failed)
    if control == "filter":
        assert {"socket-inet", "exec", "fork", "memfd", "keyctl", "bpf", "io-uring"} <= set(failed)

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
    "own-processes": {"files", "probe"},
    "files": {"probe"},
    "scratch": {"probe"},
    "processes": {"probe"},
}
"""What else a control carries; none of it is on without it."""


def missing_of(world: World, folder: Path, without: frozenset[str]) -> tuple[set[str], tuple[str, ...]]:
    other = World(folder, without)
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


@pytest.mark.parametrize(
    ("without", "opened"),
    [
        ({"no-capabilities", "own-ipc", "own-hostname", "own-cgroup-view", "memory", "cpu"}, set()),
        (
            {"user", "no-network", "no-core", "dies-with-launcher", "clean-start", "files", "scratch", "processes"},
            {"write-dev", "write-dev-shm", "scratch", "tasks"},
        ),
    ],
)
def test_evidence_names_exactly_what_was_taken_away(world: World, tmp_path: Path, without: set[str], opened: set[str]) -> None:
    wanted = frozenset(without) - MISSING
    missing, failed = missing_of(world, tmp_path, wanted)
    assert missing - {"no-swap"} == expected(wanted) - {"no-swap"}
    assert set(failed) == {one for one in opened if one != "tasks" or "processes" in wanted}


@pytest.mark.soak
@pytest.mark.parametrize("control", [one for one in CONTROLS if one not in NOT_LEFT_OUT])
def test_evidence_names_each_control_alone(world: World, tmp_path: Path, control: str) -> None:
    wanted = frozenset({control}) - MISSING
    missing, failed = missing_of(world, tmp_path, wanted)
    assert missing - {"no-swap"} == expected(wanted) - {"no-swap"}
    assert ("probe" in missing) == bool(failed)
    if control == "filter":
        assert {"socket-inet", "exec", "fork", "memfd", "keyctl", "bpf", "io-uring"} <= set(failed)

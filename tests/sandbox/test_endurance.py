"""A hundred cycles leave nothing, ten sandboxes at once see nothing of one another, neighbours never count as leftovers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.bench import sandbox as bench
from tests.sandbox.world import SERVER, Tenant, World, lacking, lacking_gvisor
from workbench_sandbox.formats.asking import Text
from workbench_sandbox.server import reaping

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(bool(lacking()), reason=f"this kernel or account cannot start a sandbox: {lacking()}"),
]


def test_a_hundred_cycles_leave_no_descriptor_mount_group_or_thread() -> None:
    found = bench.measure(cycles=100)
    assert found["left"] == dict.fromkeys(found["left"], 0)


@pytest.mark.skipif(bool(lacking_gvisor()), reason=lacking_gvisor() or "it can be started")
def test_thirty_cycles_under_gvisor_leave_nothing_either() -> None:
    found = bench.measure(cycles=30, isolation="gvisor")
    assert found["left"] == dict.fromkeys(found["left"], 0)


def test_ten_at_once_see_nothing_of_one_another_and_are_erased_apart(tmp_path: Path) -> None:
    world = World(tmp_path)
    names = [f"v-0000001{number:x}" for number in range(10)]
    try:
        world.make_image()
        with ThreadPoolExecutor(10) as pool:
            list(pool.map(world.ready, names))
        tenants = [Tenant(world, name, world.servers.lease(name, world.facts())) for name in names]
        records = {one.sandbox: one for name in names for one in reaping.read(tmp_path / "servers" / name)}
        for kind in ("mnt", "pid", "net", "ipc", "uts"):
            assert len({one.namespaces[kind] for one in records.values()}) == 10
        users = {one.uid for one in records.values()}
        assert len(users) == 10 or users == {-1}
        assert len({folder for one in records.values() for folder in one.groups}) == 10 * len(next(iter(records.values())).groups)
        for one in tenants:
            assert not one.evidence().probe.failed
        with ThreadPoolExecutor(10) as pool:
            list(pool.map(lambda one: one.open(), tenants))
            answers = list(pool.map(lambda one: one.answer_of(one.ask(f"我是{one.server}"))[0], tenants))
        for one, records_ in zip(tenants, answers, strict=True):
            assert "".join(each.d for each in records_ if isinstance(each, Text)) == f"我是{one.server}"
        # While half of them go and come again, the receipts of none name a process, mount or file of another.
        with ThreadPoolExecutor(10) as pool:
            for _ in range(5):
                looked = list(pool.map(lambda name: world.servers.erase(name, reason="released"), names[:5]))
                assert all(one.clean for one in looked), looked
                list(pool.map(world.ready, names[:5]))
                for name in names[:5]:
                    world.servers.lease(name, world.facts())
        for one in tenants[5:]:
            assert one.answer_of(one.ask("还在"))[1].state == "answered"
    finally:
        world.close()
    assert SERVER not in names

"""Hashing a log again: the same whether in one process or two, in one block or many, and against a naive model."""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path

import pytest
from workbench_ledger import rehash, tables
from workbench_ledger.rehash import Hashed

from tests.ledger.world import BANK, BROKER, Node, World
from workbench.domain.party import PartyId
from workbench.errors import StorageFailed

SIZES = (1, 15, 16, 17, 100, 128, 200, 203)


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path / "world")
    made.broker.write(203)
    return made


def hashed(node: Node, log: PartyId, size: int, *, block_level: int, processes: int = 1) -> Hashed:
    path = node.path if processes == 2 else None
    result = Hashed(0, 0, block_level)
    with node.store.read() as reader:
        for block in rehash.in_processes(
            reader, path, log, size, own=log == node.party, sizes=SIZES, block_level=block_level
        ):
            result.add(block)
    return result


@pytest.mark.parametrize(("block_level", "processes"), [(15, 1), (5, 1), (6, 1), (5, 2)])
def test_heads_and_subtrees_are_those_that_were_stored(world: World, block_level: int, processes: int) -> None:
    found = hashed(world.broker, BROKER, 203, block_level=block_level, processes=processes)
    assert (found.wrong, found.gaps, found.whole) == ({}, [], 203)
    with world.broker.store.read() as reader:
        assert found.head(203) == tables.read_head(reader, BROKER)
        for size in SIZES:
            assert found.head(size).roots == tables.roots_at(reader, BROKER, size)
        rows = reader.execute("SELECT level, idx, sha256, sm3 FROM ledger_node WHERE level > 0").fetchall()
    assert found.nodes == {(row[0], row[1]): (row[2], row[3]) for row in rows}
    world.close()


@pytest.mark.parametrize("processes", [1, 2])
def test_edits_and_gaps_are_found_in_either_half_and_across_blocks(world: World, processes: int) -> None:
    bodies = world.broker.ledger.entry_bodies(BROKER, 0, 203)
    with sqlite3.connect(world.broker.path) as editor:
        editor.execute("UPDATE entry SET body = replace(CAST(body AS TEXT), 'step 40', 'step 41') WHERE idx = 40")
        editor.execute("UPDATE entry SET body = body || x'20' WHERE idx = 150")
        editor.execute("DELETE FROM entry WHERE idx BETWEEN 60 AND 66 OR idx BETWEEN 190 AND 191 OR idx >= 201")
    found = hashed(world.broker, BROKER, 203, block_level=5, processes=processes)
    assert found.gaps == [(60, 67), (190, 192), (201, 203)]
    assert found.whole == 60
    assert found.wrong.keys() == {40, 150}
    assert found.wrong[150][0] == hashlib.sha256(b"\x00" + bodies[150] + b" ").digest()
    world.close()


def test_a_mirror_is_hashed_as_well(world: World) -> None:
    world.settle(BROKER)
    size = world.bank.ledger.size(BROKER)
    found = hashed(world.bank, BROKER, size, block_level=5, processes=2)
    assert found.head(size).roots == world.broker.ledger.roots(BROKER)[1:]
    assert BANK == world.bank.party
    world.close()


def test_a_second_process_that_fails_ends_the_audit_and_proves_nothing(world: World, tmp_path: Path) -> None:
    with world.broker.store.read() as reader, pytest.raises(StorageFailed) as caught:
        list(rehash.in_processes(reader, tmp_path / "absent.db", BROKER, 203, own=True, sizes=(), block_level=5))
    assert caught.value.code == "AUDIT_BROKEN_OFF"
    world.close()

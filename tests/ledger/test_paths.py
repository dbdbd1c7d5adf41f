"""Proofs fetched with one query are those of the tree, at every place and size, and a lost node is noticed."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from workbench_ledger import tables

from tests.ledger.world import BROKER, World
from workbench.domain.merkle import SHA256, SM3, check_consistency, check_inclusion, root_of_leaves
from workbench.errors import NotFound, VerificationError

COUNT = 70


def test_every_proof_of_a_small_log_holds_in_both_trees(tmp_path: Path) -> None:
    world = World(tmp_path / "world")
    world.broker.write(COUNT)
    leaves = world.broker.ledger.leaves(BROKER, 0, COUNT)
    with world.broker.store.read() as reader:
        roots = [tables.roots_at(reader, BROKER, size) for size in range(COUNT + 1)]
        for size in range(COUNT + 1):
            assert roots[size] == tuple(
                root_of_leaves(tree, [pair[side] for pair in leaves[:size]]) for side, tree in enumerate((SHA256, SM3))
            )
            for old in range(size + 1):
                paths = tables.consistency_paths(reader, BROKER, old, size)
                for side, (tree, proof) in enumerate(zip((SHA256, SM3), paths, strict=True)):
                    check_consistency(
                        tree, old=old, new=size, old_root=roots[old][side], new_root=roots[size][side], proof=proof
                    )
            for index in range(size):
                paths = tables.inclusion_paths(reader, BROKER, index, size)
                for side, (tree, proof) in enumerate(zip((SHA256, SM3), paths, strict=True)):
                    leaf = leaves[index][side]
                    check_inclusion(tree, index=index, size=size, leaf=leaf, proof=proof, root=roots[size][side])
    world.close()


def test_roots_and_paths_of_what_is_not_held_are_refused_and_others_are_those_of_the_log(tmp_path: Path) -> None:
    """What anchoring compares with a chain and gives to packages."""
    world = World(tmp_path / "world")
    seen = {}
    for _ in range(9):
        world.broker.write(1)
        size, *roots = world.broker.ledger.roots(BROKER)
        seen[size] = tuple(roots)
    world.settle(BROKER)
    for ledger in (world.broker.ledger, world.bank.ledger):
        for size in (9, 1, 5, 6, 2):
            assert ledger.roots_at(BROKER, size) == seen[size]
            for side, (tree, proof) in enumerate(zip((SHA256, SM3), ledger.consistency(BROKER, size, 9), strict=True)):
                check_consistency(
                    tree, old=size, new=9, old_root=seen[size][side], new_root=seen[9][side], proof=proof
                )
        with pytest.raises(NotFound):
            ledger.roots_at(BROKER, 10)
        with pytest.raises(NotFound):
            ledger.consistency(BROKER, 3, 10)
    world.close()


@pytest.mark.parametrize("change", ["DELETE FROM ledger_node WHERE level = 4 AND idx = 1", "UPDATE ledger_node SET sm3 = 'x' WHERE level = 0 AND idx = 3"])
def test_a_proof_that_needs_a_lost_or_cut_node_is_refused(tmp_path: Path, change: str) -> None:
    world = World(tmp_path / "world")
    world.broker.write(COUNT)
    with sqlite3.connect(world.broker.path) as editor:
        for (name,) in editor.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            editor.execute(f"DROP TRIGGER {name}")
        editor.execute(change)
    with world.broker.store.read() as reader, pytest.raises(VerificationError) as caught:
        tables.inclusion_paths(reader, BROKER, 2, COUNT)
    assert caught.value.code == "TREE"
    world.close()

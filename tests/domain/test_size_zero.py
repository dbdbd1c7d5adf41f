"""Size 0 and malformed hashes, case by case: docs/protocols/ledger.md section 2."""

from __future__ import annotations

import base64
import hashlib

import pytest

from workbench.crypto import sm3
from workbench.domain.checkpoint import Checkpoint, format_checkpoint, parse_checkpoint
from workbench.domain.merkle import (
    SHA256,
    SM3,
    Frontier,
    check_consistency,
    check_inclusion,
    root_of_leaves,
)
from workbench.domain.party import PartyId
from workbench.errors import VerificationError

BROKER = PartyId("broker")
TREES = (SHA256, SM3)
LEAVES = {tree.name: [tree.leaf(bytes([number])) for number in range(5)] for tree in TREES}


def test_the_root_of_nothing_is_the_hash_of_nothing() -> None:
    assert Frontier().root(SHA256) == root_of_leaves(SHA256, []) == hashlib.sha256(b"").digest()
    assert Frontier().root(SM3) == root_of_leaves(SM3, []) == sm3.digest(b"")


def test_no_checkpoint_of_size_0_is_written_or_read() -> None:
    empty = Frontier().root(SHA256), Frontier().root(SM3)
    with pytest.raises(ValueError, match="at least one entry"):
        format_checkpoint(Checkpoint("evidence", BROKER, 0, *empty))
    one = format_checkpoint(Checkpoint("evidence", BROKER, 1, *empty))
    with pytest.raises(VerificationError) as refused:
        parse_checkpoint(one.replace("\n1\n", "\n0\n"))
    assert refused.value.code == "CHECKPOINT"


@pytest.mark.parametrize("tree", TREES, ids=lambda one: one.name)
def test_nothing_is_included_in_the_empty_tree(tree: object) -> None:
    leaf = LEAVES[tree.name][0]  # type: ignore[attr-defined]
    for size in (0, 1):
        for index in (0, 1, 5):
            if index < size:
                check_inclusion(tree, index=index, size=size, leaf=leaf, proof=[], root=leaf)  # type: ignore[arg-type]
            else:
                with pytest.raises(VerificationError):
                    check_inclusion(tree, index=index, size=size, leaf=leaf, proof=[], root=leaf)  # type: ignore[arg-type]


@pytest.mark.parametrize("tree", TREES, ids=lambda one: one.name)
def test_every_tree_continues_the_empty_one_with_the_empty_proof_alone(tree: object) -> None:
    empty = root_of_leaves(tree, [])  # type: ignore[arg-type]
    for size in range(6):
        root = root_of_leaves(tree, LEAVES[tree.name][:size])  # type: ignore[arg-type,attr-defined]
        check_consistency(tree, old=0, new=size, old_root=empty, new_root=root, proof=[])  # type: ignore[arg-type]
        with pytest.raises(VerificationError):
            check_consistency(tree, old=0, new=size, old_root=empty, new_root=root, proof=[root])  # type: ignore[arg-type]
        check_consistency(tree, old=size, new=size, old_root=root, new_root=root, proof=[])  # type: ignore[arg-type]
        if size:
            with pytest.raises(VerificationError):
                check_consistency(tree, old=size, new=size, old_root=root, new_root=empty, proof=[])  # type: ignore[arg-type]
            with pytest.raises(VerificationError):
                check_consistency(tree, old=size, new=size - 1, old_root=root, new_root=root, proof=[])  # type: ignore[arg-type]


@pytest.mark.parametrize("length", [0, 1, 20, 31, 33, 64])
def test_hashes_of_another_length_are_refused_everywhere(length: int) -> None:
    odd, good = bytes(length), bytes(32)
    for tree in TREES:
        with pytest.raises(VerificationError):
            check_inclusion(tree, index=0, size=1, leaf=odd, proof=[], root=odd)
        with pytest.raises(VerificationError):
            check_inclusion(tree, index=0, size=2, leaf=good, proof=[odd], root=good)
        with pytest.raises(VerificationError):
            check_consistency(tree, old=1, new=2, old_root=good, new_root=good, proof=[odd])
        with pytest.raises(VerificationError):
            check_consistency(tree, old=0, new=2, old_root=good, new_root=odd, proof=[])
    with pytest.raises(ValueError, match="32 bytes"):
        format_checkpoint(Checkpoint("evidence", BROKER, 1, odd, good))
    text = format_checkpoint(Checkpoint("evidence", BROKER, 1, good, good))
    with pytest.raises(VerificationError):
        parse_checkpoint(text.replace(base64.b64encode(good).decode(), base64.b64encode(odd).decode(), 1))


@pytest.mark.parametrize("size", ["00", "01", "+1", "-1", " 1", "1 ", "1.0", "1e3", "9007199254740992", "12345678901234567", ""])
def test_sizes_have_one_spelling(size: str) -> None:
    text = format_checkpoint(Checkpoint("evidence", BROKER, 1, bytes(32), bytes(32)))
    with pytest.raises(VerificationError) as refused:
        parse_checkpoint(text.replace("\n1\n", f"\n{size}\n"))
    assert refused.value.code == "CHECKPOINT"

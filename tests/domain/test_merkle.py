"""Trees against the definition, literally; docs/protocols/evidence.md section 4."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.domain import merkle
from workbench.domain.merkle import (
    SHA256,
    SM3,
    Frontier,
    TreeHash,
    check_consistency,
    check_inclusion,
)
from workbench.errors import VerificationError

TREES = [SHA256, SM3]
LIMIT = 33
VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "rfc6962.json").read_text())


def h(tree: TreeHash, data: bytes) -> bytes:
    return hashlib.new(tree.name, data).digest()


def mth(tree: TreeHash, bodies: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, word for word."""
    if not bodies:
        return h(tree, b"")
    if len(bodies) == 1:
        return h(tree, b"\x00" + bodies[0])
    k = 1
    while k * 2 < len(bodies):
        k *= 2
    return h(tree, b"\x01" + mth(tree, bodies[:k]) + mth(tree, bodies[k:]))


def path(tree: TreeHash, m: int, bodies: list[bytes]) -> list[bytes]:
    """PATH(m, D[n]) of RFC 6962 section 2.1.1, word for word."""
    if len(bodies) == 1:
        return []
    k = 1
    while k * 2 < len(bodies):
        k *= 2
    if m < k:
        return [*path(tree, m, bodies[:k]), mth(tree, bodies[k:])]
    return [*path(tree, m - k, bodies[k:]), mth(tree, bodies[:k])]


def subproof(tree: TreeHash, m: int, bodies: list[bytes], whole: bool) -> list[bytes]:
    """SUBPROOF(m, D[n], b) of RFC 6962 section 2.1.2, word for word."""
    if m == len(bodies):
        return [] if whole else [mth(tree, bodies)]
    k = 1
    while k * 2 < len(bodies):
        k *= 2
    if m <= k:
        return [*subproof(tree, m, bodies[:k], whole), mth(tree, bodies[k:])]
    return [*subproof(tree, m - k, bodies[k:], False), mth(tree, bodies[:k])]


BODIES = [f"entry {i}".encode() for i in range(LIMIT)]


def lookup(tree: TreeHash) -> merkle.NodeOf:
    return lambda level, index: mth(tree, BODIES[index << level : (index + 1) << level])


def flip(data: bytes, bit: int) -> bytes:
    return bytes([data[0] ^ (1 << bit)]) + data[1:]


@pytest.mark.parametrize("size", range(9))
def test_published_roots(size: int) -> None:
    bodies = [bytes.fromhex(one) for one in VECTORS["leaf_inputs_hex"][:size]]
    leaves = [SHA256.leaf(body) for body in bodies]
    assert merkle.root_of_leaves(SHA256, leaves).hex() == VECTORS["root_hex_by_size"][size]
    sm3_leaves = [SM3.leaf(body) for body in bodies]
    assert merkle.root_of_leaves(SM3, sm3_leaves).hex() == VECTORS["sm3_root_hex_by_size"][size]


@pytest.mark.parametrize("case", VECTORS["inclusion"], ids=lambda case: f"{case['index']} of {case['size']}")
def test_published_inclusion_paths(case: dict[str, Any]) -> None:
    bodies = [bytes.fromhex(one) for one in VECTORS["leaf_inputs_hex"]]
    proof = merkle.inclusion_proof(
        SHA256, case["index"], case["size"], lambda level, i: mth(SHA256, bodies[i << level : (i + 1) << level])
    )
    assert [one.hex() for one in proof] == case["path_hex"]


@pytest.mark.parametrize("case", VECTORS["consistency"], ids=lambda case: f"{case['old']} to {case['new']}")
def test_published_consistency_paths(case: dict[str, Any]) -> None:
    bodies = [bytes.fromhex(one) for one in VECTORS["leaf_inputs_hex"]]
    proof = merkle.consistency_proof(
        SHA256, case["old"], case["new"], lambda level, i: mth(SHA256, bodies[i << level : (i + 1) << level])
    )
    assert [one.hex() for one in proof] == case["path_hex"]


@pytest.mark.parametrize("tree", TREES, ids=lambda tree: tree.name)
def test_roots_of_every_size_follow_the_definition(tree: TreeHash) -> None:
    leaves = [tree.leaf(body) for body in BODIES]
    for size in range(LIMIT + 1):
        expected = mth(tree, BODIES[:size])
        assert merkle.root_of_leaves(tree, leaves[:size]) == expected
        assert merkle.root_of_nodes(tree, size, lookup(tree)) == expected


@pytest.mark.parametrize("tree", TREES, ids=lambda tree: tree.name)
def test_the_frontier_grows_the_same_however_it_is_cut(tree: TreeHash) -> None:
    leaves = [tree.leaf(body) for body in BODIES]
    whole, nodes = Frontier().extended(tree, leaves)
    for cut in range(LIMIT + 1):
        first, early = Frontier().extended(tree, leaves[:cut])
        second, late = first.extended(tree, leaves[cut:])
        assert second == whole
        assert early + late == nodes
    for level, index, value in nodes:
        assert value == mth(tree, BODIES[index << level : (index + 1) << level])


@pytest.mark.parametrize("tree", TREES, ids=lambda tree: tree.name)
def test_every_inclusion_proof_is_the_definition_s_and_verifies(tree: TreeHash) -> None:
    for size in range(1, LIMIT + 1):
        root = mth(tree, BODIES[:size])
        for index in range(size):
            proof = merkle.inclusion_proof(tree, index, size, lookup(tree))
            assert proof == path(tree, index, BODIES[:size])
            leaf = tree.leaf(BODIES[index])
            check_inclusion(tree, index=index, size=size, leaf=leaf, proof=proof, root=root)


@pytest.mark.parametrize("tree", TREES, ids=lambda tree: tree.name)
def test_every_consistency_proof_is_the_definition_s_and_verifies(tree: TreeHash) -> None:
    roots = [mth(tree, BODIES[:size]) for size in range(LIMIT + 1)]
    for new in range(LIMIT + 1):
        for old in range(new + 1):
            proof = merkle.consistency_proof(tree, old, new, lookup(tree))
            if old:
                assert proof == subproof(tree, old, BODIES[:new], True)
            else:
                assert proof == []
            check_consistency(tree, old=old, new=new, old_root=roots[old], new_root=roots[new], proof=proof)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 13])
def test_damaged_inclusion_proofs_are_refused(size: int) -> None:
    root = mth(SHA256, BODIES[:size])
    for index in range(size):
        leaf, proof = SHA256.leaf(BODIES[index]), path(SHA256, index, BODIES[:size])
        damaged = [(flip(leaf, 3), proof, root), (leaf, proof, flip(root, 0)), (leaf, [*proof, root], root)]
        damaged += [(leaf, proof[:-1], root)] if proof else []
        damaged += [(leaf, [*proof[:i], flip(one, 7), *proof[i + 1 :]], root) for i, one in enumerate(proof)]
        damaged += [
            (leaf[:31], proof, root),
            (leaf, [one[:31] for one in proof] or [b""], root),
            (leaf, proof, root[:31]),
        ]
        for bad_leaf, bad_proof, bad_root in damaged:
            with pytest.raises(VerificationError) as refused:
                check_inclusion(SHA256, index=index, size=size, leaf=bad_leaf, proof=bad_proof, root=bad_root)
            assert refused.value.code == "INCLUSION"
        for other in (-1, size, *[place for place in range(size) if place != index]):
            with pytest.raises(VerificationError):
                check_inclusion(SHA256, index=other, size=size, leaf=leaf, proof=proof, root=root)


@pytest.mark.parametrize(("old", "new"), [(1, 2), (3, 7), (4, 7), (6, 8), (8, 13), (13, 33)])
def test_damaged_consistency_proofs_are_refused(old: int, new: int) -> None:
    first, second = mth(SM3, BODIES[:old]), mth(SM3, BODIES[:new])
    proof = subproof(SM3, old, BODIES[:new], True)
    damaged = [(flip(first, 0), second, proof), (first, flip(second, 0), proof), (first, second, [*proof, first])]
    damaged += [(first, second, proof[:-1]), (first, second, []), (first[:31], second, proof)]
    damaged += [(first, second, [*proof[:i], flip(one, 5), *proof[i + 1 :]]) for i, one in enumerate(proof)]
    for old_root, new_root, bad in damaged:
        with pytest.raises(VerificationError) as refused:
            check_consistency(SM3, old=old, new=new, old_root=old_root, new_root=new_root, proof=bad)
        assert refused.value.code == "CONSISTENCY"
    with pytest.raises(VerificationError):
        check_consistency(SM3, old=new, new=old, old_root=second, new_root=first, proof=proof)


def test_size_zero_is_settled() -> None:
    """Implementations differ here, so the document says exactly what holds."""
    empty = SHA256.empty
    assert empty.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert SM3.empty.hex() == "1ab21d8355cfa17f8e61194831e81a8f22bec8c728fefb747ed035eb5082aa2b"
    check_consistency(SHA256, old=0, new=0, old_root=empty, new_root=empty, proof=[])
    check_consistency(SHA256, old=0, new=5, old_root=empty, new_root=mth(SHA256, BODIES[:5]), proof=[])
    root = mth(SHA256, BODIES[:5])
    for old, old_root, new, new_root, proof in [
        (0, root, 5, root, []),
        (0, empty, 5, root, [root]),
        (0, root, 0, root, []),
        (5, root, 5, empty, []),
        (5, root, 5, root, [root]),
    ]:
        with pytest.raises(VerificationError):
            check_consistency(SHA256, old=old, new=new, old_root=old_root, new_root=new_root, proof=proof)
    with pytest.raises(VerificationError):
        check_inclusion(SHA256, index=0, size=0, leaf=empty, proof=[], root=empty)


def test_leaves_nodes_and_commitments_are_kept_apart() -> None:
    left, right = SHA256.leaf(b"a"), SHA256.leaf(b"b")
    assert SHA256.leaf(left + right) != SHA256.node(left, right)


def test_a_frontier_that_does_not_fit_its_size_is_refused() -> None:
    for size, peaks in [(3, (bytes(32),)), (1, (bytes(31),)), (0, (bytes(32),))]:
        with pytest.raises(ValueError, match="frontier"):
            Frontier(size, peaks)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 5000), st.integers(0, 5000))
def test_perfect_subtrees_tile_a_range_from_left_to_right(low: int, length: int) -> None:
    place = low
    for level, index in merkle.perfect_subtrees(low, low + length):
        assert index << level == place
        place += 1 << level
    assert place == low + length

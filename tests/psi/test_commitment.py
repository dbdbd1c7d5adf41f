"""Commitments against naive models and a second SM3: leaves, RFC 6962's tree, proofs for several leaves, digests."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC

from workbench.crypto.random import SeededSource
from workbench_psi import commitment
from workbench_psi.points import ByteRows

KEY, CONTRACT = bytes(range(32)), bytes(range(32, 64))


def sm3(data: bytes) -> bytes:
    """SM3 by the other library."""
    context = hashes.Hash(hashes.SM3())
    context.update(data)
    return context.finalize()


def hmac_sm3(key: bytes, data: bytes) -> bytes:
    context = HMAC(key, hashes.SM3())
    context.update(data)
    return context.finalize()


def rows(count: int, seed: bytes = b"rows") -> ByteRows:
    return np.frombuffer(SeededSource(seed)(32 * count), np.uint8).reshape(-1, 32).copy()


def naive_root(leaves: list[bytes]) -> bytes:
    """RFC 6962 section 2.1 as it is written: split at the largest power of two below the number of leaves."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    return sm3(b"\x01" + naive_root(leaves[:split]) + naive_root(leaves[split:]))


# ------------------------------------------------------------------------------------------------------ leaves


def test_a_customer_leaf_is_what_the_document_says() -> None:
    names, grants = [b"10000000001", b"11010119900101123X", b"7"], rows(3)
    leaves = commitment.customer_leaves(KEY, names, grants, bucket=256, random=SeededSource(b""))
    for index, name in enumerate(names):
        own_key = hmac_sm3(KEY, index.to_bytes(8, "big"))
        assert leaves[index].tobytes() == sm3(b"\x00" + own_key + name + grants[index].tobytes())


def test_padding_leaves_differ_from_one_another_and_between_attempts() -> None:
    first, second = (
        commitment.customer_leaves(KEY, [b"1"], rows(1), bucket=256, random=SeededSource(seed)) for seed in (b"1", b"2")
    )
    both = {row.tobytes() for row in np.concatenate([first, second])}
    assert len(both) == 511  # the one customer's leaf has the same key in both


def test_leaves_do_not_depend_on_where_blocks_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    names, grants = [b"%d" % number for number in range(300)], rows(300)
    whole = commitment.customer_leaves(KEY, names, grants, bucket=384, random=SeededSource(b""))
    monkeypatch.setattr(commitment, "_BLOCK_ROWS", 7)
    cut = commitment.customer_leaves(KEY, names, grants, bucket=384, random=SeededSource(b""))
    assert np.array_equal(whole[:300], cut[:300])
    assert np.array_equal(commitment.hash_rows(rows(20)), np.array([list(sm3(r.tobytes())) for r in rows(20)]))


def test_position_leaves_commit_to_salt_and_position() -> None:
    salts, positions = rows(5)[:, :16], np.array([0, 1, 255, 256, 2**24 - 1])
    leaves = commitment.position_leaves(salts, positions)
    for salt, position, leaf in zip(salts, positions.tolist(), leaves, strict=True):
        assert leaf.tobytes() == sm3(b"\x02" + salt.tobytes() + position.to_bytes(4, "big"))


def test_hashed_identifiers_are_bound_to_key_kind_and_contract() -> None:
    hashed = commitment.hash_identifiers([b"10000000001"], key_kind="phone", contract_digest=CONTRACT)
    assert hashed.tobytes() == sm3(b"workbench/v1/psi/identifier\x00phone\x00" + CONTRACT + b"10000000001")
    other_kind = commitment.hash_identifiers([b"10000000001"], key_kind="id_no", contract_digest=CONTRACT)
    other_contract = commitment.hash_identifiers([b"10000000001"], key_kind="phone", contract_digest=KEY)
    assert len({hashed.tobytes(), other_kind.tobytes(), other_contract.tobytes()}) == 3


# ---------------------------------------------------------------------------------------------------- the tree


@pytest.mark.parametrize("count", [*range(1, 34), 63, 64, 65, 256, 272])
def test_the_root_is_that_of_rfc_6962(count: int) -> None:
    leaves = rows(count)
    assert commitment.build_tree(leaves).root == naive_root([row.tobytes() for row in leaves])


def test_the_root_does_not_depend_on_the_order_of_customers() -> None:
    leaves = rows(300)
    ascending, places = commitment.sort_leaves(leaves)
    tree = commitment.build_tree(ascending)
    ascending, other_places = commitment.sort_leaves(leaves[::-1])
    shuffled = commitment.build_tree(ascending)
    assert tree.root == shuffled.root
    assert np.array_equal(tree.leaves[places], leaves)
    assert np.array_equal(places[::-1], other_places)
    assert [row.tobytes() for row in tree.leaves] == sorted(row.tobytes() for row in leaves)


@pytest.mark.parametrize("width", range(1, 11))
def test_every_set_of_leaves_of_a_small_tree_is_proved_within_the_bound(width: int) -> None:
    tree = commitment.build_tree(rows(width))
    for count in range(1, width + 1):
        for chosen in combinations(range(width), count):
            places = np.array(chosen[::-1], np.int64)  # the order given does not matter
            proof = commitment.prove(tree, places)
            root, used = commitment.root_from(tree.leaves[places], places, width, proof)
            assert root == tree.root and used == len(proof) <= commitment.most_nodes(width, count)


@pytest.mark.parametrize(("width", "count"), [(256, 1), (256, 100), (272, 271), (1000, 40), (3072, 999)])
def test_large_proofs_hold_within_the_bound(width: int, count: int) -> None:
    tree = commitment.build_tree(rows(width))
    places = np.random.default_rng(7).permutation(width)[:count].astype(np.int64)
    proof = commitment.prove(tree, places)
    assert commitment.root_from(tree.leaves[places], places, width, proof) == (tree.root, len(proof))
    assert len(proof) <= commitment.most_nodes(width, count) <= width - count


def test_no_leaf_needs_no_proof() -> None:
    assert commitment.most_nodes(256, 0) == 0


def test_every_altered_byte_of_a_proof_leads_to_another_root() -> None:
    tree = commitment.build_tree(rows(11))
    places = np.array([0, 4, 10], np.int64)
    leaves, proof = tree.leaves[places], commitment.prove(tree, places)
    for target in (leaves, proof):
        for at in range(target.size):
            changed = target.copy()
            changed.reshape(-1)[at] ^= 1
            shown = (changed, proof) if target is leaves else (leaves, changed)
            assert commitment.root_from(shown[0], places, 11, shown[1])[0] != tree.root


def test_a_leaf_shown_at_another_place_leads_to_another_root() -> None:
    tree = commitment.build_tree(rows(16))
    places = np.array([3, 9], np.int64)
    proof = commitment.prove(tree, places)
    for moved in ([9, 3], [3, 8], [2, 9]):
        root, _ = commitment.root_from(tree.leaves[places], np.array(moved, np.int64), 16, proof)
        assert root != tree.root


def test_a_proof_that_is_too_short_is_refused() -> None:
    tree = commitment.build_tree(rows(9))
    places = np.array([4], np.int64)
    with pytest.raises(ValueError, match="fewer nodes"):
        commitment.root_from(tree.leaves[places], places, 9, commitment.prove(tree, places)[:-1])


# --------------------------------------------------------------------------------------- labelled commitments


def test_a_labelled_commitment_is_bound_to_step_contract_party_and_data() -> None:
    made = commitment.commitment("count", CONTRACT, "bank", b"salt", rows(2))
    expected = sm3(b"workbench/v1/psi/commit/count\x00" + CONTRACT + b"bank\x00" + b"salt" + rows(2).tobytes())
    assert made == expected
    assert made == commitment.commitment("count", CONTRACT, "bank", b"salt" + rows(2).tobytes())
    others = [("drop", CONTRACT, "bank"), ("count", KEY, "bank"), ("count", CONTRACT, "broker")]
    assert all(commitment.commitment(*other, b"salt", rows(2)) != made for other in others)


def test_long_data_are_hashed_whole() -> None:
    long = rows(40_000)
    assert commitment.commitment("x", CONTRACT, "bank", long) == sm3(
        b"workbench/v1/psi/commit/x\x00" + CONTRACT + b"bank\x00" + long.tobytes()
    )
    assert commitment.commitment("x", CONTRACT, "bank", long.tobytes()) == commitment.commitment(
        "x", CONTRACT, "bank", long
    )


def test_the_result_digest_is_keyed_labelled_and_unambiguous() -> None:
    names = [b"10000000001", b"10000000002"]
    made = commitment.result_digest(KEY, "bank", CONTRACT, names)
    text = b"workbench/v1/psi/result\x00" + CONTRACT + b"bank\x00" + (2).to_bytes(8, "big")
    assert made == hmac_sm3(KEY, text + b"\x0b10000000001" + b"\x0b10000000002")
    others = {
        commitment.result_digest(CONTRACT, "bank", CONTRACT, names),
        commitment.result_digest(KEY, "broker", CONTRACT, names),
        commitment.result_digest(KEY, "bank", KEY, names),
        commitment.result_digest(KEY, "bank", CONTRACT, names[:1]),
        commitment.result_digest(KEY, "bank", CONTRACT, [b"1000000000", b"110000000002"]),
    }
    assert len(others | {made}) == 6


def test_both_sides_derive_the_same_result_key_and_nobody_else_does() -> None:
    from workbench.crypto import x25519

    scalars = [bytes([number]) * 32 for number in (1, 2, 3)]
    points = [x25519.public_from(scalar) for scalar in scalars]
    ours = commitment.result_key(scalars[0], points[1], CONTRACT)
    assert ours == commitment.result_key(scalars[1], points[0], CONTRACT)
    assert ours != commitment.result_key(scalars[0], points[2], CONTRACT)
    assert ours != commitment.result_key(scalars[0], points[1], KEY)

"""Commitments of an intersection: salted leaves, the SM3 tree over them, labelled commitments, the result digest.

Document: docs/protocols/intersection.md sections 1, 3, 7.7 and 7.8. Values in, values out; randomness is an argument.
Everything hashed is separated by kind: leaves 00, nodes 01, position leaves 02, all else by an ASCII label.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from workbench.crypto import kdf, sm3, x25519
from workbench_psi.points import POINT_BYTES, ByteRows, RowNumbers, ascending_order

LABEL = b"workbench/v1/psi/"
LEAF_PREFIX = b"\x00"
NODE_PREFIX = 0x01
POSITION_PREFIX = 0x02
SALT_BYTES = 16
"""Salt of a position leaf: nobody can try 2^24 positions against 2^128 salts."""

_BLOCK_ROWS = 1 << 14
"""ByteRows hashed at a time, so that the short-lived Python objects stay within a few megabytes."""

Random = Callable[[int], bytes]
_LENGTHS = [bytes((length,)) for length in range(256)]


def hash_rows(rows: npt.NDArray[np.uint8]) -> ByteRows:
    """SM3 of every row; rows: (n, width) uint8; returns (n, 32). Cost: about 0.04 microseconds a block of 64 bytes."""
    digests = np.empty((len(rows), POINT_BYTES), np.uint8)
    for start in range(0, len(rows), _BLOCK_ROWS):
        digests[start : start + _BLOCK_ROWS] = sm3.digest_rows(rows[start : start + _BLOCK_ROWS])
    return digests


def hash_identifiers(identifiers: Sequence[bytes], *, key_kind: str, contract_digest: bytes) -> ByteRows:
    """What Elligator2 maps to the curve: SM3(label, key kind, contract digest, identifier), (n, 32) (section 4)."""
    prefix = LABEL + b"identifier\x00" + key_kind.encode("ascii") + b"\x00" + contract_digest
    before = np.broadcast_to(np.frombuffer(prefix, np.uint8), (len(identifiers), len(prefix)))
    return _hash_around(before, identifiers, np.empty((len(identifiers), 0), np.uint8))


def customer_leaves(
    job_key: bytes, identifiers: Sequence[bytes], grant_digests: ByteRows, *, bucket: int, random: Random
) -> ByteRows:
    """The leaf of every customer, then those of the paddings: (bucket, 32), in input order (section 3).

    job_key: 32 bytes, secret; the key of leaf i is HMAC-SM3(job key, i); only keys of audited leaves are ever opened.
    Cost: about a microsecond a leaf.
    """
    leaves = np.empty((bucket, POINT_BYTES), np.uint8)
    count = len(identifiers)
    for start in range(0, bucket, _BLOCK_ROWS):
        stop = min(start + _BLOCK_ROWS, bucket)
        counters = np.arange(start, stop, dtype=">u8").view(np.uint8).reshape(-1, 8)
        before = np.empty((stop - start, 1 + POINT_BYTES), np.uint8)
        before[:, :1] = np.frombuffer(LEAF_PREFIX, np.uint8)
        before[:, 1:] = sm3.hmac_rows(job_key, counters)
        real = max(0, min(stop, count) - start)
        filling = stop - start - real
        fake = np.frombuffer(random(2 * POINT_BYTES * filling), np.uint8).reshape(2, filling, POINT_BYTES)
        names, grants = identifiers[start : start + real], grant_digests[start : start + real]
        leaves[start : start + real] = _hash_around(before[:real], names, grants)
        leaves[start + real : stop] = hash_rows(np.concatenate([before[real:], fake[0], fake[1]], axis=1))
    return leaves


def position_leaves(salts: npt.NDArray[np.uint8], positions: npt.NDArray[np.integer]) -> ByteRows:
    """Commitments to positions: SM3(02, salt (16), u32 position) for every row, (n, 32) (section 7.2)."""
    leaves = np.empty((len(salts), POINT_BYTES), np.uint8)
    rows = np.empty((min(len(salts), _BLOCK_ROWS), 1 + SALT_BYTES + 4), np.uint8)
    rows[:, 0] = POSITION_PREFIX
    for start in range(0, len(salts), _BLOCK_ROWS):
        part = rows[: len(salts) - start]
        part[:, 1 : 1 + SALT_BYTES] = salts[start : start + _BLOCK_ROWS]
        part[:, 1 + SALT_BYTES :] = positions[start : start + _BLOCK_ROWS].astype(">u4").view(np.uint8).reshape(-1, 4)
        leaves[start : start + _BLOCK_ROWS] = sm3.digest_rows(part)
    return leaves


def commitment(step: str, contract_digest: bytes, party: str, *parts: bytes | ByteRows) -> bytes:
    """The labelled commitment of a party to the parts joined: 32 bytes (section 1).

    Parts that can be guessed begin with a salt. Cost: about 3 nanoseconds a byte.
    """
    head = LABEL + b"commit/" + step.encode("ascii") + b"\x00" + contract_digest + party.encode("ascii") + b"\x00"
    hasher = sm3.new(head)
    for part in parts:
        for start in range(0, len(part), _BLOCK_ROWS):  # rows or bytes, a block at a time: nothing large is copied
            piece = part[start : start + _BLOCK_ROWS]
            hasher.update(piece if isinstance(piece, bytes) else piece.tobytes())
    digest: bytes = hasher.digest()
    return digest


def result_key(scalar: bytes, partner_point: bytes, contract_digest: bytes) -> bytes:
    """The key both sides share for the result digests, 32 bytes (section 7.8). Raises ProtocolViolation: low order."""
    return kdf.derive(x25519.exchange(scalar, partner_point), "psi/result-key", salt=contract_digest)


def result_digest(key: bytes, party: str, contract_digest: bytes, identifiers: Sequence[bytes]) -> bytes:
    """The keyed digest of one side's result, 32 bytes; identifiers ascending, 1 to 255 bytes each (section 7.8)."""
    return result_digests(key, (party,), contract_digest, identifiers)[0]


def result_digests(
    key: bytes, parties: Sequence[str], contract_digest: bytes, identifiers: Sequence[bytes]
) -> list[bytes]:
    """`result_digest` of the same identifiers for each party."""
    names = len(identifiers).to_bytes(8, "big") + b"".join([_LENGTHS[len(name)] + name for name in identifiers])
    start = LABEL + b"result\x00" + contract_digest
    return [sm3.hmac(key, start + party.encode("ascii") + b"\x00" + names) for party in parties]


# ------------------------------------------------------------------------------------------------ the tree


@dataclass(frozen=True, slots=True)
class Tree:
    """The tree of RFC 6962 section 2.1 with SM3: its leaf hashes as given and its root.

    What lies between is computed again when a proof is made: that costs less than keeping it through a run.
    """

    leaves: ByteRows
    root: bytes


def sort_leaves(leaves: ByteRows) -> tuple[ByteRows, RowNumbers]:
    """The leaves in ascending order, for `build_tree`, and the place of each given leaf among them."""
    order = ascending_order(leaves)
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    return leaves[order], places


def build_tree(leaves: ByteRows) -> Tree:
    """The tree over leaf hashes used as they are. Cost: about 0.3 microseconds a leaf."""
    leaves = np.ascontiguousarray(leaves)
    *_, top = _levels(leaves)
    return Tree(leaves, top[0].tobytes())


def _levels(leaves: ByteRows) -> Iterator[ByteRows]:
    """The leaves, then level after level up to the root."""
    level = leaves
    yield level
    while len(level) > 1:
        even = len(level) & ~1
        # A last node without a neighbour rises unchanged: so RFC 6962's split at the largest power of two comes out.
        level = np.concatenate([_join(level[0:even:2], level[1:even:2]), level[even:]])
        yield level


def prove(tree: Tree, places: RowNumbers) -> ByteRows:
    """One proof for several leaves: the nodes a verifier lacks, level by level, by ascending place: (k, 32).

    places: distinct, in any order. Cost: as `build_tree`.
    """
    steps = _climb(np.sort(places), len(tree.leaves))
    nodes = [level[step.sibling[step.lacking]] for level, step in zip(_levels(tree.leaves), steps, strict=False)]
    return np.concatenate(nodes) if nodes else np.empty((0, POINT_BYTES), np.uint8)


def root_from(leaves: ByteRows, places: RowNumbers, width: int, proof: ByteRows) -> tuple[bytes, int]:
    """The root that the leaves at `places` and the proof lead to, and how many nodes of the proof were used.

    leaves: (m, 32); places: distinct, 0 <= place < width, m at least 1. A proof that is too short raises ValueError.
    Cost: about 0.8 microseconds a node joined, fewer than width in all.
    """
    order = np.argsort(places)
    values, used = leaves[order], 0
    for step in _climb(places[order], width):
        wanted = int(step.lacking.sum())
        if used + wanted > len(proof):
            raise ValueError("the proof has fewer nodes than the leaves need")
        joining = np.flatnonzero(step.paired | step.lacking)
        left, right = values[joining], np.empty((len(joining), POINT_BYTES), np.uint8)
        paired = step.paired[joining]
        right[paired] = values[joining[paired] + 1]
        right[~paired] = proof[used : used + wanted]
        used += wanted
        turned = (step.known[joining] & 1).astype(bool)
        left[turned], right[turned] = right[turned], left[turned].copy()
        above = values[step.keep]  # those without a neighbour rise unchanged
        above[(step.paired | step.lacking)[step.keep]] = _join(left, right)
        values = above
    return values[0].tobytes(), used


def most_nodes(width: int, count: int) -> int:
    """The most nodes a proof for `count` of `width` leaves can need: bound(A, m) of section 5."""
    if not count:
        return 0
    total, level = min(count, width - count), (width + 1) // 2
    while level > 1:
        total += min(count, level // 2)
        level = (level + 1) // 2
    return min(width - count, total)


@dataclass(frozen=True, slots=True)
class _Step:
    """One level of a climb: the known nodes and, for each, its sibling, whether that one is the next known node,
    whether it must come from the proof, and whether the node stands for its pair on the level above."""

    known: RowNumbers
    sibling: RowNumbers
    paired: npt.NDArray[np.bool_]
    lacking: npt.NDArray[np.bool_]
    keep: npt.NDArray[np.bool_]


def _climb(known: RowNumbers, width: int) -> Iterator[_Step]:
    while width > 1:
        parent = known >> 1
        second = np.zeros(len(known), bool)
        second[1:] = parent[1:] == parent[:-1]
        paired = np.zeros(len(known), bool)
        paired[:-1] = second[1:]
        sibling = known ^ 1
        yield _Step(known, sibling, paired, ~paired & ~second & (sibling < width), ~second)
        known, width = parent[~second], (width + 1) // 2


def _join(left: ByteRows, right: ByteRows) -> ByteRows:
    nodes = np.empty((len(left), POINT_BYTES), np.uint8)
    rows = np.empty((min(len(left), _BLOCK_ROWS), 1 + 2 * POINT_BYTES), np.uint8)
    rows[:, 0] = NODE_PREFIX
    for start in range(0, len(left), _BLOCK_ROWS):
        part = rows[: len(left) - start]
        part[:, 1 : 1 + POINT_BYTES] = left[start : start + _BLOCK_ROWS]
        part[:, 1 + POINT_BYTES :] = right[start : start + _BLOCK_ROWS]
        nodes[start : start + _BLOCK_ROWS] = sm3.digest_rows(part)
    return nodes


def _hash_around(before: npt.NDArray[np.uint8], names: Sequence[bytes], after: npt.NDArray[np.uint8]) -> ByteRows:
    """SM3(before, name, after) row by row; names of one length, as nearly all are, go together."""
    digests = np.empty((len(names), POINT_BYTES), np.uint8)
    lengths = np.fromiter(map(len, names), np.int64, len(names))
    for length in np.unique(lengths).tolist():
        at = np.flatnonzero(lengths == length)
        chosen = names if len(at) == len(names) else [names[row] for row in at.tolist()]
        middle = np.frombuffer(b"".join(chosen), np.uint8).reshape(-1, length)
        digests[at] = hash_rows(np.concatenate([before[at], middle, after[at]], axis=1))
    return digests

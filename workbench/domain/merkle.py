"""RFC 6962 / RFC 9162 Merkle trees with SHA-256 and with SM3, as pure functions.

Document: docs/protocols/evidence.md section 4. Proofs are made from perfect subtrees that the caller looks up, so the
cost of a proof is the logarithm of the size. Nodes are named (level, index): level 0 are leaves, and node (l, i) covers
the leaves i * 2^l up to (i + 1) * 2^l.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from workbench.crypto import compare, sm3
from workbench.errors import VerificationError

HASH_SIZE = 32
MAX_SIZE = 2**53 - 1

NodeOf = Callable[[int, int], bytes]
"""Looks up the hash of the perfect subtree (level, index)."""

Node = tuple[int, int, bytes]
"""Level, index and hash of a perfect subtree."""


@dataclass(frozen=True, slots=True)
class TreeHash:
    """A hash function of a tree. name: as receipts and tables call it."""

    name: str
    digest: Callable[[bytes], bytes]

    def leaf(self, body: bytes) -> bytes:
        """The hash of an entry."""
        return self.digest(b"\x00" + body)

    def node(self, left: bytes, right: bytes) -> bytes:
        """The hash of an inner node."""
        return self.digest(b"\x01" + left + right)

    @property
    def empty(self) -> bytes:
        """The root of the tree without entries (RFC 6962 section 2.1)."""
        return self.digest(b"")


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


SHA256 = TreeHash("sha256", _sha256)
SM3 = TreeHash("sm3", sm3.digest)


@dataclass(frozen=True, slots=True)
class Frontier:
    """What is needed to go on appending: the roots of the maximal perfect subtrees, largest first.

    There is one peak for every 1 in the binary form of `size`.
    """

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if len(self.peaks) != self.size.bit_count() or any(len(peak) != HASH_SIZE for peak in self.peaks):
            raise ValueError("a frontier has one 32-byte peak for every 1 in the binary form of its size")

    def root(self, tree: TreeHash) -> bytes:
        """The root of the tree of this size."""
        return _fold(tree, self.peaks)

    def extended(self, tree: TreeHash, leaves: Iterable[bytes]) -> tuple[Frontier, list[Node]]:
        """The frontier after appending leaf hashes, and every perfect subtree of two or more leaves that it completed.

        Cost: about two hashes a leaf.
        """
        size, peaks, completed = self.size, list(self.peaks), []
        digest = tree.digest
        for leaf in leaves:
            level, index, carried = 0, size, leaf
            while index & 1:
                carried = digest(b"\x01" + peaks.pop() + carried)
                level, index = level + 1, index >> 1
                completed.append((level, index, carried))
            peaks.append(carried)
            size += 1
        return Frontier(size, tuple(peaks)), completed


def root_of_leaves(tree: TreeHash, leaves: Sequence[bytes]) -> bytes:
    """The root over leaf hashes, from the first to the last; the empty tree's root when there is none."""
    return Frontier().extended(tree, leaves)[0].root(tree)


def root_of_nodes(tree: TreeHash, size: int, node: NodeOf) -> bytes:
    """The root of the first `size` leaves, from stored perfect subtrees."""
    return _range(tree, 0, size, node) if size else tree.empty


def inclusion_proof(tree: TreeHash, index: int, size: int, node: NodeOf) -> list[bytes]:
    """The path from the leaf's sibling upwards (RFC 9162 section 2.1.3.1). Raises ValueError outside the tree."""
    if not 0 <= index < size:
        raise ValueError("the entry lies outside the tree")
    low, high, ranges = 0, size, []
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            ranges.append((middle, high))
            high = middle
        else:
            ranges.append((low, middle))
            low = middle
    return [_range(tree, start, stop, node) for start, stop in reversed(ranges)]


def consistency_proof(tree: TreeHash, old: int, new: int, node: NodeOf) -> list[bytes]:
    """What shows that the first `old` leaves are unchanged at size `new` (RFC 9162 section 2.1.4.1).

    Empty for old = 0 and for old = new. Raises ValueError unless 0 <= old <= new.
    """
    if not 0 <= old <= new:
        raise ValueError("a tree does not shrink")
    if old in (0, new):
        return []
    low, high, whole, ranges = 0, new, True, []
    while old != high:
        middle = low + _split(high - low)
        if old <= middle:
            ranges.append((middle, high))
            high = middle
        else:
            ranges.append((low, middle))
            low, whole = middle, False
    if not whole:
        ranges.append((low, high))
    return [_range(tree, start, stop, node) for start, stop in reversed(ranges)]


def check_inclusion(tree: TreeHash, *, index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """Return if `leaf` is entry `index` of the tree with this size and root (RFC 9162 section 2.1.3.2).

    Raises VerificationError (code INCLUSION) for anything else, hashes of another length included.
    """
    if not 0 <= index < size <= MAX_SIZE or not _hashes(leaf, root, *proof):
        raise _does_not_lead(tree, index)
    place, last, value = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise _does_not_lead(tree, index)
        if place & 1 or place == last:
            value = tree.node(sibling, value)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            value = tree.node(value, sibling)
        place, last = place >> 1, last >> 1
    if last or not compare.equal(value, root):
        raise _does_not_lead(tree, index)


def check_consistency(
    tree: TreeHash, *, old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Return if the tree of size `new` continues the tree of size `old` (RFC 9162 section 2.1.4.2).

    Raises VerificationError (code CONSISTENCY) for anything else. Size 0: its root must be the empty tree's, its proof
    empty. Equal sizes: equal roots, empty proof.
    """
    if not 0 <= old <= new <= MAX_SIZE or not _hashes(old_root, new_root, *proof):
        raise _does_not_continue(tree, old, new)
    if old in (0, new):
        expected = tree.empty if old == 0 else new_root
        if proof or not compare.equal(old_root, expected) or (new == 0 and new_root != tree.empty):
            raise _does_not_continue(tree, old, new)
        return
    path = list(proof) if old & (old - 1) else [old_root, *proof]
    if not path:
        raise _does_not_continue(tree, old, new)
    place, last = old - 1, new - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    before = after = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise _does_not_continue(tree, old, new)
        if place & 1 or place == last:
            before, after = tree.node(sibling, before), tree.node(sibling, after)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            after = tree.node(after, sibling)
        place, last = place >> 1, last >> 1
    if last or not compare.equal(before, old_root) or not compare.equal(after, new_root):
        raise _does_not_continue(tree, old, new)


def perfect_subtrees(low: int, high: int) -> list[tuple[int, int]]:
    """The fewest perfect subtrees (level, index) that cover the leaves low <= i < high, from left to right."""
    pieces = []
    while low < high:
        fitting = (high - low).bit_length() - 1
        level = min(fitting, (low & -low).bit_length() - 1) if low else fitting
        pieces.append((level, low >> level))
        low += 1 << level
    return pieces


def _split(count: int) -> int:
    """The largest power of two smaller than `count` (count > 1)."""
    return 1 << ((count - 1).bit_length() - 1)


def _range(tree: TreeHash, low: int, high: int, node: NodeOf) -> bytes:
    """The hash of a subtree that a split of the RFC produces: its pieces shrink from left to right."""
    return _fold(tree, [node(level, index) for level, index in perfect_subtrees(low, high)])


def _fold(tree: TreeHash, peaks: Sequence[bytes]) -> bytes:
    if not peaks:
        return tree.empty
    value = peaks[-1]
    for peak in reversed(peaks[:-1]):
        value = tree.node(peak, value)
    return value


def _hashes(*values: bytes) -> bool:
    return all(len(value) == HASH_SIZE for value in values)


def _does_not_lead(tree: TreeHash, index: int) -> VerificationError:
    return VerificationError(
        f"第 {index} 条的 {tree.name} 证明路径通不到检查点的树根",
        f"the {tree.name} path of entry {index} does not lead to the checkpoint's root",
        code="INCLUSION",
    )


def _does_not_continue(tree: TreeHash, old: int, new: int) -> VerificationError:
    return VerificationError(
        f"{tree.name} 树从 {old} 条到 {new} 条不是只增不改",
        f"the {tree.name} tree of {new} entries does not continue the one of {old}",
        code="CONSISTENCY",
    )

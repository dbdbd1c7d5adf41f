"""Hashing a log again, block by block, here or in a second process: the part of an audit that takes the time.

Document: docs/protocols/evidence.md section 11. Nothing is judged here: what is returned are hashes of the bodies as they
lie, where bodies are missing, and which of the hashes differ from those stored. The second process opens the database for
reading only; `main` is all it runs, and `in_processes` its caller.
"""

from __future__ import annotations

import hashlib
import json
import pickle  # only between this process and its own child
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from workbench.crypto import sm3
from workbench.domain.merkle import HASH_SIZE, SHA256, SM3, Frontier, TreeHash, perfect_subtrees, root_of_leaves
from workbench.domain.party import PartyId
from workbench.errors import StorageFailed
from workbench_ledger.tables import STORED_LEVEL, Head, Roots

BLOCK_LEVEL = 15
"""Bodies hashed at a time: 2^15, about 15 MB."""
WORTH_A_PROCESS = 4
"""From this many blocks on a second process pays for its start."""

_CHILD = "import sys; from workbench_ledger.rehash import main; sys.exit(main())"

Place = tuple[int, int]
"""Level and index of a perfect subtree."""


@dataclass(slots=True)
class Hashed:
    """What start <= index < stop of a log hash to.

    gaps: indices without a body, as start and stop. wrong: both leaf hashes of every body that does not have the stored
    ones. nodes: both hashes of every perfect subtree of 16 leaves and more. leaves: both hashes of the leaves asked for.
    """

    start: int
    stop: int
    block_level: int = BLOCK_LEVEL
    gaps: list[Place] = field(default_factory=list)
    wrong: dict[int, Roots] = field(default_factory=dict)
    nodes: dict[Place, Roots] = field(default_factory=dict)
    leaves: dict[int, Roots] = field(default_factory=dict)

    @property
    def whole(self) -> int:
        """The size up to which no body is missing."""
        return self.gaps[0][0] if self.gaps else self.stop

    def add(self, following: Hashed) -> None:
        """Take over what follows, and join the subtrees that have become whole."""
        if self.gaps and following.gaps and self.gaps[-1][1] == following.gaps[0][0]:
            following.gaps[0] = self.gaps.pop()[0], following.gaps[0][1]
        self.stop = following.stop
        self.gaps += following.gaps
        self.wrong |= following.wrong
        self.nodes |= following.nodes
        self.leaves |= following.leaves
        level, index = self.block_level, following.start >> self.block_level
        while index & 1 and (level, index) in self.nodes and (level, index - 1) in self.nodes:
            left, right = self.nodes[level, index - 1], self.nodes[level, index]
            level, index = level + 1, index >> 1
            self.nodes[level, index] = SHA256.node(left[0], right[0]), SM3.node(left[1], right[1])

    def head(self, size: int) -> Head:
        """Both trees of the first `size` bodies, which must be there; the last leaves before `size` were asked for."""
        places = perfect_subtrees(0, size)
        peaks = [(self._at(SHA256, 0, place), self._at(SM3, 1, place)) for place in places]
        return Head(Frontier(size, tuple(one for one, _ in peaks)), Frontier(size, tuple(one for _, one in peaks)))

    def _at(self, tree: TreeHash, side: int, place: Place) -> bytes:
        level, index = place
        if level >= STORED_LEVEL:
            return self.nodes[place][side]
        return root_of_leaves(tree, [self.leaves[leaf][side] for leaf in range(index << level, (index + 1) << level)])


def last_leaves(size: int) -> range:
    """The leaves that the head of this size needs besides subtrees of 16 and more."""
    return range(size >> STORED_LEVEL << STORED_LEVEL, size)


def hash_again(
    reader: sqlite3.Connection,
    log: PartyId,
    start: int,
    stop: int,
    *,
    own: bool,
    sizes: Sequence[int],
    block_level: int = BLOCK_LEVEL,
) -> Iterator[Hashed]:
    """Blocks of start <= index < stop in order; start: a multiple of a block. sizes: heads that will be asked for.

    Cost: about 5 microseconds a body. Memory: one block.
    """
    block = 1 << block_level
    asked = np.unique(np.array([leaf for size in sizes for leaf in last_leaves(size)], np.int64))
    for first in range(start, stop, block):
        end = min(first + block, stop)
        here = asked[(asked >= first) & (asked < end)].tolist()
        yield _hash_block(reader, log, Hashed(first, end, block_level), own=own, asked=here)


def in_processes(
    reader: sqlite3.Connection,
    path: Path | None,
    log: PartyId,
    stop: int,
    *,
    own: bool,
    sizes: Sequence[int],
    block_level: int = BLOCK_LEVEL,
) -> Iterator[Hashed]:
    """As `hash_again` from 0 on; where it is long and `path` is known, its second half is hashed by a second process.

    path: the database file. Blocks come in order. Raises StorageFailed when the second process fails. Leaving early ends it.
    """
    blocks = stop >> block_level
    if path is None or blocks < WORTH_A_PROCESS:
        yield from hash_again(reader, log, 0, stop, own=own, sizes=sizes, block_level=block_level)
        return
    half = blocks // 2 << block_level
    order = {
        "path": str(path.absolute()),
        "log": log,
        "start": half,
        "stop": stop,
        "own": own,
        "sizes": list(sizes),
        "block_level": block_level,
    }
    with ExitStack() as stack:
        child = subprocess.Popen(
            [sys.executable, "-c", _CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        stack.callback(child.wait)
        stack.callback(child.kill)
        assert child.stdin is not None and child.stdout is not None
        stack.callback(child.stdout.close)
        with suppress(BrokenPipeError):  # it has ended already, which is noticed when its answer is read
            child.stdin.write(json.dumps(order).encode())
            child.stdin.close()
        yield from hash_again(reader, log, 0, half, own=own, sizes=sizes, block_level=block_level)
        yield from _received(child.stdout, half, stop)


def main() -> int:
    """Hash what standard input asks for; what is found goes to standard output when all of it is done."""
    order: dict[str, Any] = json.loads(sys.stdin.buffer.read())  # Any: ours
    reader = sqlite3.connect(f"file:{quote(order.pop('path'))}?mode=ro", uri=True, isolation_level=None, timeout=30)
    reader.execute("PRAGMA query_only = ON")
    reader.execute("BEGIN")
    blocks = list(hash_again(reader, PartyId(order.pop("log")), order.pop("start"), order.pop("stop"), **order))
    reader.close()
    for one in blocks:
        pickle.dump(one, sys.stdout.buffer)
    sys.stdout.buffer.flush()
    return 0


def _received(stream: Any, start: int, stop: int) -> Iterator[Hashed]:  # Any: a file of bytes
    while start < stop:
        try:
            block: Hashed = pickle.load(stream)  # noqa: S301 - written by the child this process has started
        except (EOFError, pickle.UnpicklingError) as error:
            raise StorageFailed(
                "审计的第二个进程中断，未得出结论：请运维人员重试",
                "the audit's second process broke off and nothing was concluded: operators try again",
                code="AUDIT_BROKEN_OFF",
            ) from error
        start = block.stop
        yield block


def _hash_block(
    reader: sqlite3.Connection, log: PartyId, result: Hashed, *, own: bool, asked: Sequence[int]
) -> Hashed:
    start, stop = result.start, result.stop
    bodies = _bodies(reader, log, start, stop, own=own)
    whole = len(bodies) == stop - start
    sha256 = [hashlib.sha256(b"\x00" + body).digest() for _, body in bodies]
    sm3_leaves = _sm3_of([b"\x00" + body for _, body in bodies])
    stored = _stored(reader, log, start, stop)
    if not (whole and [one[1] for one in stored] == sha256 and [one[2] for one in stored] == sm3_leaves):
        kept = {index: (first, second) for index, first, second in stored}
        for (index, _), pair in zip(bodies, zip(sha256, sm3_leaves, strict=True), strict=True):
            if kept.get(index) != pair:
                result.wrong[index] = pair
    if not whole:
        result.gaps = _gaps([index for index, _ in bodies], start, stop)
    there = result.whole - start
    result.leaves = {leaf: (sha256[leaf - start], sm3_leaves[leaf - start]) for leaf in asked if leaf < result.whole}
    result.nodes = _subtrees(start, sha256[:there], sm3_leaves[:there])
    return result


def _bodies(
    reader: sqlite3.Connection, log: PartyId, start: int, stop: int, *, own: bool
) -> list[tuple[int, bytes]]:
    """The cast reads what somebody else wrote as text or number, so that it can be hashed and found wrong."""
    cursor = reader.cursor()
    cursor.row_factory = None  # plain tuples
    if own:
        cursor.execute(
            "SELECT idx, CAST(body AS BLOB) FROM entry WHERE idx >= ? AND idx < ? ORDER BY idx", (start, stop)
        )
    else:
        cursor.execute(
            "SELECT idx, CAST(body AS BLOB) FROM ledger_mirror_entry WHERE origin = ? AND idx >= ? AND idx < ? "
            "ORDER BY idx",
            (log, start, stop),
        )
    return cursor.fetchall()


def _stored(reader: sqlite3.Connection, log: PartyId, start: int, stop: int) -> list[tuple[int, bytes, bytes]]:
    cursor = reader.cursor()
    cursor.row_factory = None
    cursor.execute(
        "SELECT idx, sha256, sm3 FROM ledger_node WHERE log = ? AND level = 0 AND idx >= ? AND idx < ? ORDER BY idx",
        (log, start, stop),
    )
    return cursor.fetchall()


def _sm3_of(messages: list[bytes]) -> list[bytes]:
    """SM3 of every message; those of one length go side by side."""
    by_length: dict[int, list[int]] = {}
    for place, message in enumerate(messages):
        by_length.setdefault(len(message), []).append(place)
    digests = [b""] * len(messages)
    for places in by_length.values():
        for place, one in zip(places, sm3.digest_many([messages[place] for place in places]), strict=True):
            digests[place] = one
    return digests


def _subtrees(start: int, sha256: list[bytes], sm3_leaves: list[bytes]) -> dict[Place, Roots]:
    """Every perfect subtree of 16 leaves and more among the leaves from `start` on."""
    nodes: dict[Place, Roots] = {}
    first, second = b"".join(sha256), np.frombuffer(b"".join(sm3_leaves), np.uint8).reshape(-1, HASH_SIZE)
    level = 0
    while len(second) > 1:
        pairs = len(second) // 2
        hashed = [hashlib.sha256(b"\x01" + first[at : at + 64]).digest() for at in range(0, 64 * pairs, 64)]
        rows = np.empty((pairs, 1 + 2 * HASH_SIZE), np.uint8)
        rows[:, 0] = 1
        rows[:, 1:] = second[: 2 * pairs].reshape(pairs, -1)
        first, second, level = b"".join(hashed), sm3.digest_rows(rows), level + 1
        if level >= STORED_LEVEL:
            others = second.tobytes()
            nodes.update(
                ((level, (start >> level) + place), (one, others[HASH_SIZE * place : HASH_SIZE * (place + 1)]))
                for place, one in enumerate(hashed)
            )
    return nodes


def _gaps(present: Iterable[int], start: int, stop: int) -> list[Place]:
    gaps, expected = [], start
    for index in present:
        if index > expected:
            gaps.append((expected, index))
        expected = index + 1
    return [*gaps, (expected, stop)] if expected < stop else gaps

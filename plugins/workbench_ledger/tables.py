"""Reading and writing the ledger's tables: bodies, tree nodes, heads, checkpoints, co-signatures.

Document: docs/protocols/evidence.md section 11. No rule of co-signing lives here; every function works inside the
transaction or snapshot it is given.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain

from workbench.contracts import Transaction
from workbench.domain.checkpoint import (
    Checkpoint,
    Cosignature,
    SignatureLine,
    VerifiedNote,
    cosignature_lines,
    format_line,
    format_note,
    parse_checkpoint,
    parse_lines,
)
from workbench.domain.merkle import (
    HASH_SIZE,
    SHA256,
    SM3,
    Frontier,
    NodeOf,
    TreeHash,
    consistency_proof,
    inclusion_proof,
    root_of_leaves,
    root_of_nodes,
)
from workbench.domain.party import PartyId
from workbench.errors import VerificationError

Reader = sqlite3.Connection | Transaction
Roots = tuple[bytes, bytes]

STORED_LEVEL = 4
"""Perfect subtrees from this level on are stored; smaller ones are hashed from at most 8 stored leaves."""

_CHUNK = 1_000
BEFORE_A_BORDER = 1_024
"""Co-signatures read before an entry from which somebody is no member any more."""


@dataclass(frozen=True, slots=True)
class Head:
    """Size and frontiers of one log."""

    sha256: Frontier = field(default_factory=Frontier)
    sm3: Frontier = field(default_factory=Frontier)

    @property
    def size(self) -> int:
        return self.sha256.size

    @property
    def roots(self) -> Roots:
        """Both roots; those of the empty tree at size 0."""
        return self.sha256.root(SHA256), self.sm3.root(SM3)


@dataclass(frozen=True, slots=True)
class Growth:
    """What appending bodies does to a tree: leaves, completed subtrees and the new head; nothing written yet."""

    start: int
    bodies: Sequence[bytes]
    sha256_leaves: list[bytes]
    sm3_leaves: list[bytes]
    nodes: list[tuple[int, int, bytes, bytes]]
    head: Head


# ----------------------------------------------------------------------------------------------- trees


def read_head(reader: Reader, log: PartyId) -> Head:
    """The head of a log; that of the empty log when nothing is known of it. Raises VerificationError when damaged."""
    row = reader.execute("SELECT size, sha256, sm3 FROM ledger_head WHERE log = ?", (log,)).fetchone()
    if row is None:
        return Head()
    size, sha256, sm3 = row
    try:
        return Head(Frontier(size, _cut(sha256)), Frontier(size, _cut(sm3)))
    except (ValueError, TypeError) as error:
        raise damaged(log) from error


def grow(head: Head, bodies: Sequence[bytes]) -> Growth:
    """Hash bodies into both trees. Cost: about 8 microseconds a body."""
    sha256_leaves, sm3_leaves = list(map(SHA256.leaf, bodies)), list(map(SM3.leaf, bodies))
    sha256, sha256_nodes = head.sha256.extended(SHA256, sha256_leaves)
    sm3, sm3_nodes = head.sm3.extended(SM3, sm3_leaves)
    nodes = [
        (level, index, first, second)
        for (level, index, first), (_, _, second) in zip(sha256_nodes, sm3_nodes, strict=True)
        if level >= STORED_LEVEL
    ]
    return Growth(head.size, bodies, sha256_leaves, sm3_leaves, nodes, Head(sha256, sm3))


def write_growth(tx: Transaction, log: PartyId, growth: Growth, *, own: bool) -> None:
    """Store bodies, leaves, subtrees and head of one append."""
    numbered = list(enumerate(map(bytes, growth.bodies), start=growth.start))  # SQLite takes longer over a subclass
    if own:
        tx.executemany("INSERT INTO entry (idx, body) VALUES (?, ?)", numbered)
    else:
        tx.executemany(
            "INSERT INTO ledger_mirror_entry (origin, idx, body) VALUES (?, ?, ?)",
            [(log, index, body) for index, body in numbered],
        )
    leaves = zip(growth.sha256_leaves, growth.sm3_leaves, strict=True)
    rows = [(log, 0, index, first, second) for index, (first, second) in enumerate(leaves, start=growth.start)]
    rows += [(log, *node) for node in growth.nodes]
    tx.executemany("INSERT INTO ledger_node (log, level, idx, sha256, sm3) VALUES (?, ?, ?, ?, ?)", rows)
    head = growth.head
    tx.execute(
        "INSERT INTO ledger_head (log, size, sha256, sm3) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (log) DO UPDATE SET size = excluded.size, sha256 = excluded.sha256, sm3 = excluded.sm3",
        (log, head.size, b"".join(head.sha256.peaks), b"".join(head.sm3.peaks)),
    )


def node_lookup(reader: Reader, log: PartyId, tree: TreeHash) -> NodeOf:
    """How proofs of one log and tree find their subtrees. The lookup raises VerificationError when one is missing."""
    column = tree.name

    def find(level: int, index: int) -> bytes:
        if 0 < level < STORED_LEVEL:
            first = index << level
            rows = reader.execute(
                f"SELECT {column} FROM ledger_node WHERE log = ? AND level = 0 AND idx >= ? AND idx < ? ORDER BY idx",
                (log, first, first + (1 << level)),
            ).fetchall()
            if len(rows) != 1 << level:
                raise damaged(log)
            return root_of_leaves(tree, [row[0] for row in rows])
        row = reader.execute(
            f"SELECT {column} FROM ledger_node WHERE log = ? AND level = ? AND idx = ?", (log, level, index)
        ).fetchone()
        if row is None or not isinstance(row[0], bytes) or len(row[0]) != HASH_SIZE:
            raise damaged(log)
        return row[0]

    return find


def roots_at(reader: Reader, log: PartyId, size: int) -> Roots:
    """Both roots of the first `size` entries, from stored nodes. Cost: about 0.1 ms at 10^6 entries."""
    (first,), (second,) = _in_both(reader, log, lambda tree, node: [root_of_nodes(tree, size, node)])
    return first, second


def inclusion_paths(reader: Reader, log: PartyId, index: int, size: int) -> tuple[list[bytes], list[bytes]]:
    """The paths of an entry in both trees, see merkle.inclusion_proof. Cost: about 0.15 ms at 10^6 entries."""
    return _in_both(reader, log, lambda tree, node: inclusion_proof(tree, index, size, node))


def consistency_paths(reader: Reader, log: PartyId, old: int, new: int) -> tuple[list[bytes], list[bytes]]:
    """What shows in both trees that `new` continues `old`, see merkle.consistency_proof. Cost: as `inclusion_paths`."""
    return _in_both(reader, log, lambda tree, node: consistency_proof(tree, old, new, node))


def roots_and_paths_in(
    reader: Reader, log: PartyId, growth: Growth, size: int
) -> tuple[Roots, tuple[list[bytes], list[bytes]]]:
    """Both roots at `size` and the consistency paths from there, in the tree that a growth would make; it is not written.

    Cost: two hashes for each entry of the growth. Raises VerificationError when a stored node is missing.
    """

    def of(tree: TreeHash, leaves: Sequence[bytes]) -> tuple[bytes, list[bytes]]:
        stored = node_lookup(reader, log, tree)

        def node(level: int, index: int) -> bytes:
            if (index + 1) << level <= growth.start:
                return stored(level, index)
            if level == 0:
                return leaves[index - growth.start]
            return tree.node(node(level - 1, 2 * index), node(level - 1, 2 * index + 1))

        return root_of_nodes(tree, size, node), consistency_proof(tree, size, growth.head.size, node)

    (first, sha256), (second, sm3) = of(SHA256, growth.sha256_leaves), of(SM3, growth.sm3_leaves)
    return (first, second), (sha256, sm3)


_NUMBER_BYTES = 4


class _Plan:
    """What a proof is made of, found out once for both trees: the functions of merkle run on numbers instead of hashes.

    A number stands for a stored subtree, or for the hash of a node of two earlier numbers.
    """

    def __init__(self) -> None:
        self.steps: list[tuple[int, int] | list[tuple[int, int]]] = []
        self.tree = TreeHash("plan", self._node)

    def stored(self, level: int, index: int) -> bytes:
        """The number of a perfect subtree."""
        return self._number(_stored_places(level, index))

    def _node(self, data: bytes) -> bytes:
        left, right = data[1 : 1 + _NUMBER_BYTES], data[1 + _NUMBER_BYTES :]
        return self._number((int.from_bytes(left, "big"), int.from_bytes(right, "big")) if data else [])

    def _number(self, step: tuple[int, int] | list[tuple[int, int]]) -> bytes:
        self.steps.append(step)
        return (len(self.steps) - 1).to_bytes(_NUMBER_BYTES, "big")


def _in_both(
    reader: Reader, log: PartyId, make: Callable[[TreeHash, NodeOf], list[bytes]]
) -> tuple[list[bytes], list[bytes]]:
    """What `make` makes in each tree, with one query for all nodes. Raises VerificationError when a node is missing."""
    plan = _Plan()
    results = [int.from_bytes(number, "big") for number in make(plan.tree, plan.stored)]
    wanted = sorted({place for step in plan.steps if isinstance(step, list) for place in step})
    found = _fetch(reader, log, wanted)
    if len(found) != len(wanted) or any(len(one) != HASH_SIZE or len(two) != HASH_SIZE for one, two in found.values()):
        raise damaged(log)

    def hashes(tree: TreeHash, side: int) -> list[bytes]:
        values: list[bytes] = []
        for step in plan.steps:
            if isinstance(step, tuple):
                values.append(tree.digest(b"\x01" + values[step[0]] + values[step[1]]))
            else:
                values.append(_joined(tree, [found[place][side] for place in step]))
        return [values[number] for number in results]

    return hashes(SHA256, 0), hashes(SM3, 1)


def _joined(tree: TreeHash, hashes: list[bytes]) -> bytes:
    """The root of a perfect subtree; the empty tree's of none."""
    while len(hashes) > 1:
        hashes = [tree.digest(b"\x01" + hashes[at] + hashes[at + 1]) for at in range(0, len(hashes), 2)]
    return hashes[0] if hashes else tree.empty


def _stored_places(level: int, index: int) -> list[tuple[int, int]]:
    """Where a perfect subtree lies: itself, or its leaves where it is too small to be stored."""
    if 0 < level < STORED_LEVEL:
        return [(0, leaf) for leaf in range(index << level, (index + 1) << level)]
    return [(level, index)]


def _fetch(reader: Reader, log: PartyId, places: Sequence[tuple[int, int]]) -> dict[tuple[int, int], Roots]:
    found: dict[tuple[int, int], Roots] = {}
    for start in range(0, len(places), _CHUNK):
        part = places[start : start + _CHUNK]
        rows = reader.execute(
            # The cross join keeps the order: for each place wanted one search by the whole key.
            f"WITH wanted (level, idx) AS (VALUES {','.join(['(?, ?)'] * len(part))}) "
            "SELECT node.level, node.idx, CAST(node.sha256 AS BLOB), CAST(node.sm3 AS BLOB) FROM wanted CROSS JOIN "
            "ledger_node AS node ON node.log = ? AND node.level = wanted.level AND node.idx = wanted.idx",
            (*chain.from_iterable(part), log),
        )
        rows.row_factory = None  # plain tuples are read faster
        found.update({(level, index): (sha256, sm3) for level, index, sha256, sm3 in rows})
    return found


def read_bodies(reader: Reader, log: PartyId, start: int, stop: int, *, own: bool) -> list[bytes]:
    """Bodies of start <= index < stop, as far as there are."""
    return [body for _, body in numbered_bodies(reader, log, start, stop, own=own)]


def numbered_bodies(reader: Reader, log: PartyId, start: int, stop: int, *, own: bool) -> Iterator[tuple[int, bytes]]:
    """Index and body of start <= index < stop in ascending order, a thousand at a time, as they lie in the table.

    The cast reads what somebody else wrote as text or number, so that it can be hashed and found wrong.
    """
    while start < stop:
        rows = reader.execute(
            "SELECT idx, CAST(body AS BLOB) FROM entry WHERE idx >= ? AND idx < ? ORDER BY idx LIMIT ?"
            if own
            else "SELECT idx, CAST(body AS BLOB) FROM ledger_mirror_entry WHERE origin = ? AND idx >= ? AND idx < ? ORDER BY idx LIMIT ?",
            (start, stop, _CHUNK) if own else (log, start, stop, _CHUNK),
        ).fetchall()
        yield from rows
        if len(rows) < _CHUNK:
            return
        start = rows[-1][0] + 1


# ----------------------------------------------------------------------------- checkpoints, signatures


@dataclass(frozen=True, slots=True)
class StoredNote:
    """A checkpoint as it lies in the tables, with the co-signatures known; not verified again."""

    checkpoint: Checkpoint
    text: str
    log_line: SignatureLine
    cosignatures: tuple[Cosignature, ...]

    @property
    def signers(self) -> tuple[PartyId, ...]:
        """Co-signers in ascending order."""
        return tuple(one.party for one in self.cosignatures)

    @property
    def lines(self) -> list[SignatureLine]:
        """The log's signature and all co-signatures, in our order."""
        return [self.log_line, *cosignature_lines(self.cosignatures)]

    def own_lines(self, party: PartyId) -> str:
        """The note with the co-signature of `party` alone."""
        own = [one for one in self.cosignatures if one.party == party]
        return format_note(self.text, [self.log_line, *cosignature_lines(own)])

    def format(self) -> str:
        """The note with all co-signatures."""
        return format_note(self.text, self.lines)


def read_note(reader: Reader, log: PartyId, size: int) -> StoredNote | None:
    """The checkpoint of exactly this size, or None. Raises VerificationError when the row is no checkpoint."""
    row = reader.execute(
        "SELECT text, log_line FROM ledger_checkpoint WHERE log = ? AND size = ?", (log, size)
    ).fetchone()
    if row is None:
        return None
    rows = reader.execute(
        "SELECT signer, time_s, lines FROM ledger_cosignature WHERE log = ? AND size = ? ORDER BY signer", (log, size)
    ).fetchall()
    cosignatures = []
    for signer, time_s, lines in rows:
        two_or_three = parse_lines(lines)  # the third is ML-DSA-44: docs/protocols/ledger.md section 1
        if len(two_or_three) not in (2, 3):
            raise damaged(log)
        cosignatures.append(Cosignature(PartyId(signer), time_s, *two_or_three))
    checkpoint = parse_checkpoint(row[0])
    if checkpoint.size != size or checkpoint.log != log:
        raise damaged(log)
    return StoredNote(checkpoint, row[0], parse_lines(row[1])[0], tuple(cosignatures))


def newest_note(reader: Reader, log: PartyId) -> StoredNote | None:
    """The checkpoint of the largest size, or None."""
    size = reader.execute("SELECT max(size) FROM ledger_checkpoint WHERE log = ?", (log,)).fetchone()[0]
    return None if size is None else read_note(reader, log, size)


def newest_cosigned(reader: Reader, log: PartyId, signer: PartyId) -> int:
    """The largest size of a log that an institution has co-signed, as far as known here; 0 for none."""
    row = reader.execute(
        "SELECT max(size) FROM ledger_cosignature WHERE log = ? AND signer = ?", (log, signer)
    ).fetchone()
    return int(row[0] or 0)


def keep_note(tx: Transaction, note: VerifiedNote | StoredNote, cosignatures: Iterable[Cosignature]) -> None:
    """Store a checkpoint and co-signatures that have been verified; those already there stay as they are."""
    checkpoint = note.checkpoint
    log, size = checkpoint.log, checkpoint.size
    tx.execute(
        "INSERT INTO ledger_checkpoint (log, size, text, log_line) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (log, size, note.text, format_line(note.log_line)),
    )
    for one in cosignatures:
        lines = "".join(map(format_line, one.lines))
        tx.execute(
            "INSERT INTO ledger_cosignature (log, size, signer, time_s, lines) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT DO NOTHING",
            (log, size, one.party, one.time_s, lines),
        )
    rows = tx.execute(
        "SELECT signer, lines FROM ledger_cosignature WHERE log = ? AND size = ? ORDER BY signer", (log, size)
    ).fetchall()
    with_mldsa = [row[0] for row in rows if row[1].count("\n") == 3]
    for table, signers in (("ledger_seal", [row[0] for row in rows]), ("ledger_seal_mldsa", with_mldsa)):
        if signers:
            tx.execute(
                f"INSERT INTO {table} (log, signers, size) VALUES (?, ?, ?) "
                "ON CONFLICT (log, signers) DO UPDATE SET size = max(size, excluded.size)",
                (log, " ".join(signers), size),
            )


def seals(
    reader: Reader, log: PartyId, index: int, *, mldsa: bool = False, borders: Iterable[int] = ()
) -> list[tuple[int, frozenset[PartyId]]]:
    """Size and co-signers of every kind of checkpoint covering `index`; mldsa: those with an ML-DSA-44 line only.

    borders: indices from which somebody is no member any more. For every set of co-signers only the largest checkpoint is kept
    at hand, and one that whoever left signed beyond a border proves nothing: of those up to each border the newest are read too.
    """
    table = "ledger_seal_mldsa" if mldsa else "ledger_seal"
    rows = reader.execute(f"SELECT size, signers FROM {table} WHERE log = ? AND size > ?", (log, index)).fetchall()
    found = [(size, frozenset(PartyId(one) for one in signers.split(" "))) for size, signers in rows]
    for border in borders:
        if border > index and any(size > border for size, _ in found):
            found += _seals_up_to(reader, log, index, border, mldsa=mldsa)
    return found


def _seals_up_to(reader: Reader, log: PartyId, index: int, border: int, *, mldsa: bool) -> list[tuple[int, frozenset[PartyId]]]:
    """For every set of co-signers the largest checkpoint with index < size <= border, among the newest co-signatures of
    `BEFORE_A_BORDER` and the newest of each co-signer. Cost: about a millisecond.
    """
    lines_too = "lines" if mldsa else "''"
    within = f"SELECT size, signer, {lines_too} FROM ledger_cosignature WHERE log = ? AND size > ? AND size <= ?"
    rows = reader.execute(f"{within} ORDER BY size DESC LIMIT {BEFORE_A_BORDER}", (log, index, border)).fetchall()
    if len(rows) == BEFORE_A_BORDER:  # the last checkpoint may be cut
        rows = [row for row in rows if row[0] != rows[-1][0]]
    lowest = rows[-1][0] if rows else border + 1
    known = {signer for (signers,) in reader.execute("SELECT signers FROM ledger_seal WHERE log = ?", (log,)) for signer in signers.split(" ")}
    for signer in sorted(known):
        newest = reader.execute(
            "SELECT max(size) FROM ledger_cosignature WHERE log = ? AND signer = ? AND size > ? AND size < ?", (log, signer, index, lowest)
        ).fetchone()[0]
        if newest is not None:
            rows += reader.execute(within, (log, newest - 1, newest)).fetchall()
    who: dict[int, set[PartyId]] = {}
    for size, signer, lines in rows:
        if not mldsa or lines.count("\n") == 3:
            who.setdefault(size, set()).add(PartyId(signer))
    largest: dict[frozenset[PartyId], int] = {}
    for size, signers in who.items():
        largest[frozenset(signers)] = max(size, largest.get(frozenset(signers), 0))
    return [(size, signers) for signers, size in largest.items()]


def best_seal(
    reader: Reader, log: PartyId, index: int, prefer: Callable[[frozenset[PartyId]], int]
) -> tuple[int, frozenset[PartyId]] | None:
    """Size and co-signers of the checkpoint covering `index` that ranks highest; the newest of equals; None: none."""
    return max(seals(reader, log, index), key=lambda seal: (prefer(seal[1]), seal[0]), default=None)


def damaged(log: PartyId) -> VerificationError:
    """What is raised when the tables of a log cannot be used as they lie."""
    return VerificationError(
        f"本机保存的 {log} 日志的哈希树不完整或被改动：请运维人员运行审计，从镜像恢复",
        f"the tree of the log of {log} on this node is incomplete or changed: operators must run the audit and restore",
        code="TREE",
        details={"log": log},
    )


def _cut(peaks: bytes) -> tuple[bytes, ...]:
    return tuple(peaks[start : start + HASH_SIZE] for start in range(0, len(peaks), HASH_SIZE))

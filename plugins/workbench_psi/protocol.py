"""The intersection `ddh-x25519` version 1, mode `direct`, as a pure session: it yields what it wants, without a socket.

Document: docs/protocols/intersection.md; section numbers below are its own. Both sides run this code; the only branch
on the role is whose turn comes first in the reveal. Randomness and curve arithmetic are arguments. Nothing here logs,
and no error carries an identifier, a secret or a number below the floor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from workbench.contracts import (
    AskDropped,
    AskStruck,
    IntersectionOutcome,
    Mark,
    Phase,
    Receive,
    Send,
    Session,
)
from workbench.crypto import compare
from workbench.crypto.random import below
from workbench.domain.intersection import Offer, Terms, bucket_of
from workbench.errors import Disputed, Refused, WorkbenchError
from workbench_psi import commitment, points, wire
from workbench_psi.endings import Disclosed, aborted_after_reveal, below_the_floor, disputed
from workbench_psi.exchange import Steps, receive, send, swap, swap_list, swap_rows
from workbench_psi.points import POINT_BYTES, ByteRows, RowNumbers
from workbench_psi.wire import Kind, violation

PHASES = ("prepare", "mask", "compare", "count", "strike", "reveal", "check", "compare-results")
BLOCK_POINTS = 1 << 15
"""Points multiplied between two reports of progress: about a third of a second."""
RECHECKED = 4
"""Products of every block computed again with another library."""
SALT_BYTES = 32
BELOW, REACHED = b"\x00", b"\x01"

Random = Callable[[int], bytes]
Below = Callable[[int], int]


class Arithmetic(Protocol):
    """Curve operations on (n, 32) uint8 arrays; the module workbench_psi.curve is one. Document: curve.md."""

    def x25519(self, scalar: bytes, points: ByteRows, *, threads: int) -> ByteRows: ...

    def elligator2(self, uniform: ByteRows, *, threads: int) -> ByteRows: ...

    def recheck_sample(
        self, scalar: bytes, inputs: ByteRows, outputs: ByteRows, *, random: Below, count: int
    ) -> None: ...

    def recheck_map_sample(self, uniform: ByteRows, outputs: ByteRows, *, random: Below, count: int) -> None: ...


class Secret:
    """Bytes that no repr, log or pickle shows; `wipe` overwrites them as far as Python allows."""

    __slots__ = ("_data", "_name")

    def __init__(self, name: str, data: bytes) -> None:
        self._name = name
        self._data = bytearray(data)

    def __repr__(self) -> str:
        return f"<{self._name}>"

    def __reduce__(self) -> str:
        raise TypeError(f"a {self._name} is never stored")

    def reveal(self) -> bytes:
        """The bytes; ValueError once wiped."""
        if not self._data:
            raise ValueError(f"this {self._name} was used up: an attempt needs fresh input")
        return bytes(self._data)

    def wipe(self) -> None:
        """Overwrite and forget the bytes."""
        self._data[:] = bytes(len(self._data))
        self._data.clear()


@dataclass(slots=True, eq=False)
class OwnInput:
    """One side's input after commitment: the secret handle of contracts.Prepared (section 3).

    identifiers: n normalised byte strings; leaf_places: for each, its place in `tree`.
    """

    scalar: Secret
    job_key: Secret
    identifiers: Sequence[bytes] = field(repr=False)
    leaf_places: RowNumbers = field(repr=False)
    tree: commitment.Tree = field(repr=False)
    random: Random = field(repr=False)
    spent: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What stays the same during one session. contract_digest: D of the document, 32 bytes."""

    source: OwnInput = field(repr=False)
    arithmetic: Arithmetic = field(repr=False)
    terms: Terms
    contract_digest: bytes
    own: Offer
    partner: Offer
    initiator: bool
    threads: int

    @property
    def floor(self) -> int:
        return max(1, self.terms.minimum_crowd)

    def below(self, bound: int) -> int:
        """A uniform integer 0 <= x < bound from the run's randomness."""
        return below(self.source.random, bound)

    def commit(self, step: str, *parts: bytes | ByteRows) -> bytes:
        return commitment.commitment(step, self.contract_digest, self.own.party, *parts)

    def partner_commit(self, step: str, *parts: bytes | ByteRows) -> bytes:
        return commitment.commitment(step, self.contract_digest, self.partner.party, *parts)


@dataclass(slots=True, eq=False)
class _Common:
    """The common products still in play, ascending: their bytes, and their places in both sorted replies."""

    products: ByteRows
    mine: RowNumbers
    theirs: RowNumbers

    def without(self, removed: npt.NDArray[np.bool_]) -> _Common:
        return _Common(self.products[~removed], self.mine[~removed], self.theirs[~removed])

    def __len__(self) -> int:
        return len(self.mine)


@dataclass(slots=True, eq=False)
class _Reply:
    """Our sorted reply: products ascending (dropped once counted), for each the partner's position, and the salt of its
    position leaf."""

    products: ByteRows
    position: npt.NDArray[np.int32]
    salts: npt.NDArray[np.uint8]


def run_session(run: Run) -> Session:
    """The session of one side; see contracts.Session for its requests.

    Raises Refused (REFUSED_SMALL), Disputed, ProtocolViolation, SelfTestFailed, and from the first slice on PeerError
    with code ABORTED_AFTER_REVEAL, besides whatever the caller throws into it. The input is wiped on every end.
    """
    disclosed = Disclosed()
    try:
        return (yield from _steps(run, disclosed))
    except WorkbenchError as error:
        # By class, not by code alone: an error of the link may carry a code that the partner chose.
        is_own_end = isinstance(error, Disputed) or (isinstance(error, Refused) and error.code == "REFUSED_SMALL")
        if not disclosed.begun or is_own_end:
            raise
        raise aborted_after_reveal(disclosed, error) from error
    finally:
        run.source.scalar.wipe()
        run.source.job_key.wipe()


def _steps(run: Run, disclosed: Disclosed) -> Steps[IntersectionOutcome]:
    """The protocol from top to bottom."""
    _require_offer(run)
    rows, partner_points = yield from _exchange_points(run)
    reply = yield from _multiply(run, partner_points)
    del partner_points
    common, partner_commitments = yield from _exchange_replies(run, reply)
    cardinality = len(common)
    yield from _agree_on_count(run, cardinality)
    left, struck_rows = yield from _strike(run, rows, reply, common)
    del common
    hits = yield from _reveal(run, disclosed, rows, reply, left, struck_rows, partner_commitments)
    revealed = len(left)
    del reply, left, rows
    hits, shown = yield from _check(run, hits)
    digests = yield from _compare_results(run, hits)
    return IntersectionOutcome(
        hits=digests.hits,
        cardinality=cardinality,
        struck=cardinality - revealed,
        dropped=revealed - len(hits),
        result_digest=digests.own,
        partner_digest=digests.partner,
        partner_bucket=run.partner.bucket,
        grant_commitments=shown,
    )


# ------------------------------------------------------------------------- 2, 4, 7.1: offers and points


def _require_offer(run: Run) -> None:
    """Refuse a partner's offer that section 2 does not allow."""
    offer, sound = run.partner, True
    sound &= {run.own.party, offer.party} == {run.terms.initiator, run.terms.partner}
    sound &= 256 <= offer.bucket <= wire.MAX_BUCKET and offer.bucket == bucket_of(offer.bucket)
    sound &= len(offer.commitment_root) == POINT_BYTES and len(offer.public_point) == POINT_BYTES
    sound &= offer.commitment_root != run.own.commitment_root and offer.public_point != run.own.public_point
    if not sound:
        raise violation("offer", "offer")
    points.require_received(_row(offer.public_point), own=_row(run.own.public_point))


def _exchange_points(run: Run) -> Steps[tuple[npt.NDArray[np.int32], ByteRows]]:
    """Sections 4 and 7.1: for each own point the input row behind it, and the partner's points."""
    scalar, random, bucket = run.source.scalar.reveal(), run.source.random, run.own.bucket
    names = run.source.identifiers
    own = np.empty((bucket, POINT_BYTES), np.uint8)
    for start, stop in _blocks(bucket):
        yield _phase(1, start, bucket)
        hashed = commitment.hash_identifiers(
            names[start : min(stop, len(names))],
            key_kind=run.terms.key_kind.value,
            contract_digest=run.contract_digest,
        )
        padding = random(POINT_BYTES * (stop - start - len(hashed)))
        uniform = np.concatenate([hashed, np.frombuffer(padding, np.uint8).reshape(-1, POINT_BYTES)])
        own[start:stop] = run.arithmetic.elligator2(uniform, threads=run.threads)
        run.arithmetic.recheck_map_sample(uniform, own[start:stop], random=run.below, count=RECHECKED)
    yield _phase(1, bucket, bucket)
    yield from _multiply_in_place(run, scalar, own, 2)
    order = points.ascending_order(own)
    own = own[order]
    if (own[1:] == own[:-1]).all(axis=1).any():
        raise ValueError("identifiers of an intersection are distinct")
    partner_commit = yield from swap(Kind.POINTS_COMMIT, run.commit("points", own), POINT_BYTES)
    theirs = yield from swap_rows(Kind.POINTS, own, run.partner.bucket)
    if not compare.equal(run.partner_commit("points", theirs), partner_commit):
        raise violation(Kind.POINTS, "commitment")
    points.require_received(theirs, own=own)
    return order.astype(np.int32), theirs


def _row(point: bytes) -> ByteRows:
    return points.rows_from_bytes(point, count=1)


# ----------------------------------------------------------------------------- 7.2, 7.3, 7.4: counting


def _multiply(run: Run, partner_points: ByteRows) -> Steps[_Reply]:
    """Section 7.2: the partner's points times our scalar, sorted, with a fresh salt for each position.

    partner_points: overwritten.
    """
    yield from _multiply_in_place(run, run.source.scalar.reveal(), partner_points, 3)
    products, order = points.sorted_products(partner_points)
    salts = np.frombuffer(run.source.random(commitment.SALT_BYTES * len(order)), np.uint8)
    return _Reply(products, order.astype(np.int32), salts.reshape(-1, commitment.SALT_BYTES))


def _exchange_replies(run: Run, reply: _Reply) -> Steps[tuple[_Common, bytes]]:
    """Sections 7.2 and 7.3: commit to both replies, open the sorted ones; what is common, and the partner's
    commitment to its position leaves."""
    own = run.commit("reply", reply.products) + run.commit("positions", _leaves(reply))
    partner = yield from swap(Kind.REPLY_COMMIT, own, 2 * POINT_BYTES)
    theirs = yield from swap_rows(Kind.REPLY, reply.products, run.own.bucket)
    if not compare.equal(run.partner_commit("reply", theirs), partner[:POINT_BYTES]):
        raise violation(Kind.REPLY, "commitment")
    points.require_ascending(theirs)
    points.require_nonzero(theirs[:1])
    mine_at, theirs_at = points.matches(reply.products, theirs)
    common = _Common(reply.products[mine_at], mine_at, theirs_at)
    reply.products = np.empty((0, POINT_BYTES), np.uint8)  # only the common ones are needed from here on
    return common, partner[POINT_BYTES:]


def _leaves(reply: _Reply) -> ByteRows:
    return commitment.position_leaves(reply.salts, reply.position)


def _agree_on_count(run: Run, cardinality: int) -> Steps[None]:
    """Section 7.4. Below the floor neither a message nor an error nor a mark holds the number."""
    yield _phase(4, 0, 1)
    reached = cardinality >= run.floor
    salt = run.source.random(SALT_BYTES)
    number = (cardinality if reached else 0).to_bytes(8, "big")
    statement = (REACHED if reached else BELOW) + salt + number
    partner_commit = yield from swap(Kind.COUNT_COMMIT, run.commit("count", statement), POINT_BYTES)
    partner = yield from swap(Kind.COUNT, statement, len(statement))
    if not compare.equal(run.partner_commit("count", partner), partner_commit):
        raise violation(Kind.COUNT, "commitment")
    if partner[:1] not in (BELOW, REACHED) or (partner[:1] == BELOW and any(partner[-8:])):
        raise violation(Kind.COUNT, "statement")
    if partner[:1] != statement[:1] or partner[-8:] != number:
        raise disputed("count")
    if not reached:
        raise below_the_floor()
    yield Mark("cardinality", {"contract": run.contract_digest.hex(), "cardinality": str(cardinality)})
    yield _phase(4, 1, 1)


# ------------------------------------------------------------------------------------- 7.5: strike-out


def _strike(
    run: Run, rows: npt.NDArray[np.int32], reply: _Reply, common: _Common
) -> Steps[tuple[_Common, npt.NDArray[np.bool_]]]:
    """Section 7.5: the common products left, and for each own input row whether we struck it."""
    yield _phase(5, 0, 1)
    count = len(run.source.identifiers)
    struck_rows = _own_choice((yield AskStruck()), count)
    own_list = _strike_list(run, rows, struck_rows)
    yield Send(Kind.STRIKE.value, wire.format_places(own_list))
    payload: bytes = yield Receive(Kind.STRIKE.value)
    if not payload or len(payload) % (4 * wire.STRIKE_CLASS) or len(payload) > 4 * run.partner.bucket:
        raise violation(Kind.STRIKE, "length")
    partner_list = wire.parse_ascending_places(Kind.STRIKE, payload, bound=run.partner.bucket)
    place_of = np.empty(len(reply.position), np.int32)
    place_of[reply.position] = np.arange(len(place_of), dtype=np.int32)
    own_answer = np.sort(place_of[partner_list])
    answer = yield from swap(Kind.STRUCK, wire.format_places(own_answer), 4 * len(own_list))
    partner_answer = wire.parse_ascending_places(Kind.STRUCK, answer, bound=run.own.bucket)
    left = common.without(np.isin(common.mine, own_answer) | np.isin(common.theirs, partner_answer))
    ours, theirs = (own_list, own_answer), (partner_list, partner_answer)
    ordered = (*ours, *theirs) if run.initiator else (*theirs, *ours)
    yield from _agree_on_remaining(run, left, b"".join([wire.format_places(one) for one in ordered]))
    yield Mark(
        "struck",
        {
            "contract": run.contract_digest.hex(),
            "own_class": str(len(own_list)),
            "partner_class": str(len(partner_list)),
            "remaining": str(len(left)),
        },
    )
    yield _phase(5, 1, 1)
    return left, struck_rows


def _strike_list(run: Run, rows: npt.NDArray[np.int32], struck_rows: npt.NDArray[np.bool_]) -> RowNumbers:
    """Positions of the struck customers among the own points, mixed with random paddings up to the class."""
    count = len(run.source.identifiers)
    struck = np.flatnonzero((rows < count) & struck_rows[np.minimum(rows, count - 1)])
    paddings = np.flatnonzero(rows >= count)
    wanted = wire.strike_class(len(struck)) - len(struck)
    # The order of fresh random numbers is a uniform choice; ties among 64-bit numbers are too rare to matter.
    lots = np.frombuffer(run.source.random(8 * len(paddings)), np.uint64)
    return np.sort(np.concatenate([struck, paddings[np.argsort(lots)[:wanted]]]))


def _agree_on_remaining(run: Run, left: _Common, lists: bytes) -> Steps[None]:
    """Both state that the floor still holds and commit to the same strike lists, answers and products left."""
    reached = len(left) >= run.floor
    statement = expected = BELOW + bytes(POINT_BYTES)
    if reached:
        statement = REACHED + run.commit("remaining", lists, left.products)
        expected = REACHED + run.partner_commit("remaining", lists, left.products)
    partner = yield from swap(Kind.REMAINING, statement, 1 + POINT_BYTES)
    if partner[:1] not in (BELOW, REACHED):
        raise violation(Kind.REMAINING, "statement")
    if not compare.equal(partner, expected):
        raise disputed("remaining")
    if not reached:
        raise below_the_floor()


# ----------------------------------------------------------------------------------------- 7.6: reveal


def _reveal(
    run: Run,
    disclosed: Disclosed,
    rows: npt.NDArray[np.int32],
    reply: _Reply,
    left: _Common,
    struck_rows: npt.NDArray[np.bool_],
    leaves_commitment: bytes,
) -> Steps[RowNumbers]:
    """Section 7.6: own input rows behind the common products left, in the order of the products."""
    partner_leaves = yield from swap_rows(Kind.POSITIONS, _leaves(reply), run.own.bucket)
    if not compare.equal(run.partner_commit("positions", partner_leaves), leaves_commitment):
        raise violation(Kind.POSITIONS, "commitment")
    expected = partner_leaves[left.theirs]
    del partner_leaves
    usable = np.append(~struck_rows, False)[np.minimum(rows, len(struck_rows))]  # by own position; paddings are not
    hits = np.empty(len(left), np.int64)
    disclosed.begun = True
    yield _phase(6, 0, wire.SLICES)
    for number in range(wire.SLICES):
        first, end = wire.slice_bounds(number, len(left))
        places = left.mine[first:end]
        own = wire.format_openings(reply.salts[places], reply.position[places])
        if run.initiator:
            yield from _send_slice(disclosed, own, end)
        opened = yield from receive(Kind.SLICE, wire.OPENING_BYTES * (end - first))
        positions = _opened_positions(opened, expected[first:end], usable)
        hits[first:end] = rows[positions]
        usable[positions] = False  # a position opens once
        disclosed.slices_received, disclosed.own = number + 1, end
        if not run.initiator:
            yield from _send_slice(disclosed, own, end)
        yield _phase(6, number + 1, wire.SLICES)
    return hits


def _send_slice(disclosed: Disclosed, payload: bytes, end: int) -> Steps[None]:
    # Counted before it is handed over: the partner may read what the link never confirmed.
    disclosed.slices_sent, disclosed.partner = disclosed.slices_sent + 1, end
    yield from send(Kind.SLICE, payload)


def _opened_positions(payload: bytes, expected: ByteRows, usable: npt.NDArray[np.bool_]) -> RowNumbers:
    """The positions a slice opens, each checked against its leaf and against what may be opened at all."""
    salts, positions = wire.parse_openings(payload)
    if (positions >= len(usable)).any():
        raise violation(Kind.SLICE, "range")
    if not np.array_equal(commitment.position_leaves(salts, positions), expected):
        raise violation(Kind.SLICE, "opening")
    if not usable[positions].all() or _repeats(positions):
        raise violation(Kind.SLICE, "position")
    return positions


# ------------------------------------------------------------------------------- 7.7: the last check


def _check(run: Run, hits: RowNumbers) -> Steps[tuple[RowNumbers, dict[str, str]]]:
    """Section 7.7: the hits left after both drop lists, in the order of the products, and what was shown for them."""
    yield _phase(7, 0, 2)
    dropped = np.asarray((yield AskDropped(np.sort(hits))), np.int64)
    if not np.isin(dropped, hits).all():
        raise ValueError("only hits can be dropped")
    bitmap = np.packbits(np.isin(hits, dropped)).tobytes()
    opening = run.source.random(SALT_BYTES) + bitmap
    partner_commit = yield from swap(Kind.DROP_COMMIT, run.commit("drop", opening), POINT_BYTES)
    partner = yield from swap(Kind.DROP, opening, len(opening))
    if not compare.equal(run.partner_commit("drop", partner), partner_commit):
        raise violation(Kind.DROP, "commitment")
    flags = np.unpackbits(np.frombuffer(bitmap + partner[SALT_BYTES:], np.uint8).reshape(2, -1), axis=1)
    if flags[1, len(hits) :].any():
        raise violation(Kind.DROP, "statement")
    remaining = hits[~flags[:, : len(hits)].any(axis=0)]
    if len(remaining) < run.floor:
        raise below_the_floor(after_reveal=True)
    yield _phase(7, 1, 2)
    shown = yield from _show_grants(run, remaining)
    yield Mark(
        "grants",
        {
            "contract": run.contract_digest.hex(),
            "dropped": str(len(hits) - len(remaining)),
            "checked": str(len(remaining)),
            **shown,
        },
    )
    yield _phase(7, 2, 2)
    return remaining, shown


def _show_grants(run: Run, hits: RowNumbers) -> Steps[dict[str, str]]:
    """Both show the leaf of every hit with one proof; digests of what was shown, for evidence."""
    tree, count = run.source.tree, len(hits)
    places = run.source.leaf_places[hits]
    own = wire.format_grants(places, tree.leaves[places], commitment.prove(tree, places), bucket=run.own.bucket)
    expected_bytes = wire.grants_bytes(run.partner.bucket, count)
    payload = yield from swap_list(Kind.GRANTS, own, expected_bytes)
    partner_places, leaves, proof = wire.parse_grants(payload, count)
    if (partner_places >= run.partner.bucket).any() or _repeats(partner_places):
        raise violation(Kind.GRANTS, "range")
    try:
        root, used = commitment.root_from(leaves, partner_places, run.partner.bucket, proof)
    except ValueError as error:
        raise violation(Kind.GRANTS, "proof") from error
    if not compare.equal(root, run.partner.commitment_root) or proof[used:].any():
        raise violation(Kind.GRANTS, "proof")
    return {
        "own_root": run.own.commitment_root.hex(),
        "partner_root": run.partner.commitment_root.hex(),
        "own_shown": run.commit("grants", own).hex(),
        "partner_shown": run.partner_commit("grants", payload).hex(),
    }


# ------------------------------------------------------------------------------------ 7.8: same result


@dataclass(frozen=True, slots=True, eq=False)
class _Results:
    """Hits ascending by identifier, and both sides' digests."""

    hits: RowNumbers
    own: bytes
    partner: bytes


def _compare_results(run: Run, hits: RowNumbers) -> Steps[_Results]:
    """Section 7.8: both sides hold the same identifiers, or the run is disputed."""
    yield _phase(8, 0, 1)
    found = _chosen(run.source.identifiers, hits)
    order = sorted(range(len(found)), key=found.__getitem__)
    names = [found[place] for place in order]
    key = commitment.result_key(run.source.scalar.reveal(), run.partner.public_point, run.contract_digest)
    parties = run.own.party, run.partner.party
    own, expected = commitment.result_digests(key, parties, run.contract_digest, names)
    opening = run.source.random(SALT_BYTES) + own
    partner_commit = yield from swap(Kind.RESULT_COMMIT, run.commit("result", opening), POINT_BYTES)
    partner = yield from swap(Kind.RESULT, opening, len(opening))
    if not compare.equal(run.partner_commit("result", partner), partner_commit):
        raise violation(Kind.RESULT, "commitment")
    if not compare.equal(partner[SALT_BYTES:], expected):
        raise disputed("result")
    yield _phase(8, 1, 1)
    return _Results(hits[order], own, expected)


# ------------------------------------------------------------------------------------- small pieces


def _repeats(numbers: RowNumbers) -> bool:
    """Whether a number occurs twice."""
    ascending = np.sort(numbers)
    return bool((ascending[1:] == ascending[:-1]).any())


def _chosen(identifiers: Sequence[bytes], rows: RowNumbers) -> list[bytes]:
    """The identifiers of these input rows, at once where the caller's sequence can."""
    take: Callable[[RowNumbers], list[bytes]] | None = getattr(identifiers, "take", None)
    return take(rows) if take is not None else [identifiers[row] for row in rows.tolist()]


def _phase(number: int, done: int, total: int) -> Phase:
    return Phase(number, PHASES[number - 1], done, total)


def _blocks(total: int) -> list[tuple[int, int]]:
    return [(start, min(start + BLOCK_POINTS, total)) for start in range(0, total, BLOCK_POINTS)]


def _multiply_in_place(run: Run, scalar: bytes, rows: ByteRows, phase: int) -> Steps[None]:
    """Replace every point by its product with the scalar, block by block, a sample of each block recomputed."""
    for start, stop in _blocks(len(rows)):
        yield _phase(phase, start, len(rows))
        block = rows[start:stop]
        products = run.arithmetic.x25519(scalar, block, threads=run.threads)
        run.arithmetic.recheck_sample(scalar, block, products, random=run.below, count=RECHECKED)
        rows[start:stop] = products
    yield _phase(phase, len(rows), len(rows))


def _own_choice(answer: Any, count: int) -> npt.NDArray[np.bool_]:
    """The answer of the flow as one flag per input row; ValueError for a row that does not exist."""
    chosen = np.asarray(answer, np.int64)
    if len(chosen) and (chosen.min() < 0 or chosen.max() >= count):
        raise ValueError("struck customers are given as input indices")
    flags = np.zeros(count, bool)
    flags[chosen] = True
    return flags

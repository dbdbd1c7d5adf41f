"""One block of pulses at the level of events: only slots that click are ever materialised.

Document: docs/protocols/qkd.md section 3; the order of draws there is the format, and `tests/kme/physics` freezes it.
Cost: about 0.15 microseconds a click, whatever the number of pulses.
"""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from workbench_kme.physics.draws import UNIT, Uniforms, Words, binomial, half_words, words
from workbench_kme.physics.link import ATTACK_KINDS, Eavesdropper, Link, Response, responses
from workbench_kme.physics.views import Indices, ReceiverView, SenderView, Small, Table, tabulate

SEED_BYTES: Final = 32
MOST_PULSES: Final = 1 << 40
MOST_CLICKS: Final = 1 << 26
"""Expected clicks of one block that fit into memory at about 40 bytes each."""
_ONE: Final = np.uint8(1)


def simulate(
    link: Link, pulses: int, seed: bytes, block: int, eavesdropper: Eavesdropper | None = None
) -> tuple[SenderView, ReceiverView]:
    """Run one block and return what the sender knows and what the receiver knows.

    pulses: 1 to 2^40. seed: the line's 32 secret bytes: whoever has them has every key of the line. block: 0 to 2^64 - 1;
    a number is used once for a line, or its key comes out again.
    Every argument is part of what the draws depend on: ends with different settings share no slot and no bit.
    Each end runs this for itself and keeps only its own view.
    """
    if not 1 <= pulses <= MOST_PULSES:
        raise ValueError("a block has between 1 and 2^40 pulses")
    if len(seed) != SEED_BYTES or not 0 <= block < 1 << 64:
        raise ValueError("a seed has 32 bytes, a block number 64 bits")
    expected = responses(link, eavesdropper)
    context = _context(link, pulses, seed, block, eavesdropper)
    uniforms = Uniforms(context, "counts")
    share = min(1.0, math.fsum(p * r.primary for p, r in zip(link.probabilities, expected, strict=True)))
    if pulses * share > MOST_CLICKS:
        raise ValueError("this many pulses would click too often for one block; take fewer")
    clicks = binomial(uniforms, pulses, share)
    first = _primary(link, expected, context, _slots(context, pulses, clicks))
    events = _with_afterpulses(link, expected, context, pulses, first)
    sent = _sent(link, expected, uniforms, pulses, events)
    sender = SenderView(block, pulses, events.index, events.sent_bit, events.sent_basis, events.intensity, sent)
    receiver = ReceiverView(block, pulses, events.index.copy(), events.seen_bit, events.seen_basis)
    return sender, receiver


@dataclass(frozen=True, slots=True)
class _Events:
    index: Indices
    intensity: Small
    sent_basis: Small
    sent_bit: Small
    seen_basis: Small
    seen_bit: Small


def _context(link: Link, pulses: int, seed: bytes, block: int, eavesdropper: Eavesdropper | None) -> bytes:
    """Seed and block number, then every number that the physics depends on; big-endian."""
    attack = 0 if eavesdropper is None else 1 + ATTACK_KINDS.index(eavesdropper.kind)
    numbers = (
        link.length_km,
        link.loss_db_km,
        link.receiver_efficiency,
        link.dark_probability,
        link.misalignment,
        link.afterpulse,
        *link.intensities,
        *link.probabilities,
        link.key_basis_probability,
        0.0 if eavesdropper is None else eavesdropper.fraction,
    )
    return seed + struct.pack(">QQB14d", block, pulses, attack, *numbers)


def _slots(context: bytes, pulses: int, clicks: int) -> Indices:
    """`clicks` different slot numbers, uniformly chosen, increasing.

    Numbers are drawn until so many different ones are there, which favours none: by symmetry the set is uniform.
    """
    # What two draws in one slot will cost is nearly known: with that much more at once the stream is made only once.
    ready = words(context, "slots", clicks + clicks * clicks // pulses + 64)
    drawn = clicks
    chosen = _distinct(_scaled(ready[:clicks], pulses))
    while len(chosen) < clicks:
        missing = clicks - len(chosen)
        if drawn + missing > len(ready):
            ready = words(context, "slots", 2 * (drawn + missing))
        fresh = _distinct(_scaled(ready[drawn : drawn + missing], pulses))
        drawn += missing
        at = np.searchsorted(chosen, fresh)
        new = chosen[np.minimum(at, len(chosen) - 1)] != fresh
        chosen = np.insert(chosen, at[new], fresh[new])
    return chosen


def _scaled(drawn: Words, pulses: int) -> Indices:
    """floor(u · pulses) for u in steps of 2^-53; a product of two binary64 numbers, the same everywhere."""
    scaled = ((drawn >> np.uint64(11)).astype(np.float64) * (pulses / UNIT)).astype(np.uint64)
    return np.minimum(scaled, np.uint64(pulses - 1))


def _distinct(numbers: Indices) -> Indices:
    """In increasing order, each once; ten times as fast as numpy.unique."""
    ordered = np.sort(numbers)
    first = np.ones(len(ordered), dtype=np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    return ordered[first]


def _primary(link: Link, expected: Sequence[Response], context: bytes, index: Indices) -> _Events:
    """Intensity, bases, bit and error of every slot that a photon or a dark count made click."""
    chosen = (link.key_basis_probability, 1 - link.key_basis_probability)
    cells = []
    for p, r in zip(link.probabilities, expected, strict=True):
        for sent, seen in itertools.product((0, 1), (0, 1)):
            wrong = r.primary_errors if sent == seen else r.primary / 2
            cells += [p * chosen[sent] * chosen[seen] * part for part in (r.primary - wrong, wrong)]
    drawn = words(context, "events", len(index))
    cell = _pick(cells, drawn)
    sent_bit = (drawn & np.uint64(1)).astype(np.uint8)
    return _Events(
        index=index,
        intensity=cell >> np.uint8(3),
        sent_basis=cell >> np.uint8(2) & _ONE,
        sent_bit=sent_bit,
        seen_basis=cell >> np.uint8(1) & _ONE,
        seen_bit=sent_bit ^ (cell & _ONE),
    )


def _with_afterpulses(link: Link, expected: Sequence[Response], context: bytes, pulses: int, first: _Events) -> _Events:
    """Add the clicks that a click leaves behind in the next slot: the same detector, whatever was sent there."""
    if link.afterpulse == 0 or len(first.index) == 0:
        return first
    limit = np.uint32(min(round(link.afterpulse * (1 << 32)), (1 << 32) - 1))
    follows = half_words(context, "afterpulses", len(first.index)) < limit
    free = np.empty(len(first.index), dtype=np.bool_)
    free[:-1] = first.index[1:] != first.index[:-1] + np.uint64(1)
    free[-1] = int(first.index[-1]) + 1 < pulses
    causes = np.flatnonzero(follows & free)
    chosen = (link.key_basis_probability, 1 - link.key_basis_probability)
    cells = [
        p * (1 - r.primary) * sent * seen
        for (p, r), sent, seen in itertools.product(zip(link.probabilities, expected, strict=True), chosen, chosen)
    ]
    drawn = words(context, "afterpulse-slots", len(causes))
    cell = _pick(cells, drawn)
    place = causes + 1
    return _Events(
        index=np.insert(first.index, place, first.index[causes] + np.uint64(1)),
        intensity=np.insert(first.intensity, place, cell >> np.uint8(2)),
        sent_basis=np.insert(first.sent_basis, place, cell >> np.uint8(1) & _ONE),
        sent_bit=np.insert(first.sent_bit, place, (drawn & np.uint64(1)).astype(np.uint8)),
        seen_basis=np.insert(first.seen_basis, place, cell & _ONE),
        seen_bit=np.insert(first.seen_bit, place, first.seen_bit[causes]),
    )


def _sent(link: Link, expected: Sequence[Response], uniforms: Uniforms, pulses: int, events: _Events) -> Table:
    """How many pulses of each basis and intensity the sender prepared: the clicks and a draw for the silent slots."""
    seen = tabulate(events.sent_basis, events.intensity)
    chosen = (link.key_basis_probability, 1 - link.key_basis_probability)
    weights = [
        q * p * (1 - r.primary)
        for q, (p, r) in itertools.product(chosen, zip(link.probabilities, expected, strict=True))
    ]
    left, silent = pulses - len(events.index), []
    for i, weight in enumerate(weights):
        rest = math.fsum(weights[i:])
        part = left if i == len(weights) - 1 else binomial(uniforms, left, min(1.0, weight / rest) if rest else 0.0)
        silent.append(part)
        left -= part
    total = [have + quiet for have, quiet in zip((*seen[0], *seen[1]), silent, strict=True)]
    return (total[0], total[1], total[2]), (total[3], total[4], total[5])


def _pick(weights: Sequence[float], drawn: Words) -> Small:
    """A cell for every word by its upper 53 bits: cell i where they lie in [T(i), T(i+1)), T = rounded share · 2^53.

    Most words are settled by their upper 16 bits and a table; the few on a border of the table are looked up.
    """
    total = math.fsum(weights)
    limits = [round(math.fsum(weights[: i + 1]) / total * UNIT) for i in range(len(weights) - 1)]
    table = np.full(1 << 16, len(weights) - 1, dtype=np.uint8)
    low = 0
    for cell, limit in enumerate(limits):
        table[low : (limit >> 37)] = cell
        low = max(low, limit >> 37)
    borders = {limit >> 37 for limit in limits if limit < UNIT}
    table[list(borders)] = 255
    found: npt.NDArray[np.uint8] = table[(drawn >> np.uint64(48)).astype(np.intp)]
    open_ = np.flatnonzero(found == 255)
    exact = np.searchsorted(np.array(limits, dtype=np.uint64), drawn[open_] >> np.uint64(11), side="right")
    found[open_] = exact.astype(np.uint8)
    return found

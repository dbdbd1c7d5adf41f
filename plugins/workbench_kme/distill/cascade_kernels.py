"""The loops of Cascade as machine code: parities of intervals, and what follows from their differences.

One function answers a round's questions about the own key, one takes the differences and lists the next questions. Both
ends run both with equal differences, so both hold equal lists; only `CORRECTS` differs. Pure: arrays in, arrays changed.
Compiled on first use and kept in numba's cache.

Document: docs/protocols/qkd.md section 7.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from workbench_kme.distill.compiling import compiled

Bits = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.int64]
Places = npt.NDArray[np.int32]
Words = npt.NDArray[np.uint64]
Whole = Any
"""A 64-bit whole number of compiled code; Python's int to whoever calls it."""

HALVES_AT_ONCE: Final = 10
EVEN_HALVES: Final = 20
MOST_HALVES: Final = 1000

LEAF_0: Final = 0
LEAF_1: Final = 1
INSIDE: Final = 2
"""A search among the places that a random half holds; OUTSIDE among the others."""
OUTSIDE: Final = 3
BLOCKS_0: Final = 4
BLOCKS_1: Final = 5
HALVES: Final = 6

KIND: Final = 0
FRAME: Final = 1
LOW: Final = 2
HIGH: Final = 3
HALF: Final = 4

CORRECTS: Final = 0
SIDE: Final = 1
ITEMS: Final = 2
CUTS: Final = 3
FLIPS: Final = 4
FAILED: Final = 5
SIZE_0: Final = 6
SIZE_1: Final = 7
SCALARS: Final = 8

MOST_CUTS: Final = 4
MOST_PIECES: Final = 1 << MOST_CUTS

_GAMMA: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX_1: Final = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2: Final = np.uint64(0x94D049BB133111EB)
_ONE: Final = np.uint64(1)
_ALL: Final = np.uint64(0xFFFFFFFFFFFFFFFF)
_U27: Final = np.uint64(27)
_U30: Final = np.uint64(30)
_U31: Final = np.uint64(31)
_U32: Final = np.uint64(32)
_U63: Final = np.uint64(63)

class State(NamedTuple):
    """Everything one end holds while a block is corrected. n bits in F frames; pass 0 is the key's own order.

    key: own bits, 0 or 1, in the order of each pass. permutation[slot] = place and inverse[place] = slot of pass 1, places counted over the block.
    cut: [pass][slot] 1 where an interval was cut before this slot. odd: [pass][slot] 1 where a leaf that begins there is
    odd and nobody searches it. waiting: [pass][frame's start + i] beginnings of leaves that became odd;
    waiting_count: [pass][frame], above the frame's length when not all found room.
    starts: F + 1 places. words: the key again, 64 bits a word from each frame's first word_starts[frame].
    flipped: places that differ from the beginning. passes: passes whose blocks are known. even, halves: of each frame.
    items: [side][i] the questions of this round and, while they are made, of the next one. found: [i] kind, frame and
    slot of bits that a round showed to differ.
    """

    key: Bits
    permutation: Places
    inverse: Places
    cut: Bits
    odd: Bits
    waiting: Places
    waiting_count: Numbers
    starts: Numbers
    words: Words
    word_starts: Numbers
    flipped: Bits
    passes: Numbers
    even: Numbers
    halves: Numbers
    finished: Numbers
    busy: Numbers
    items: Places
    found: Places
    scalars: Numbers
    seed: Words


@compiled
def mix(value: Any) -> Any:
    """SplitMix64's finaliser."""
    value = (value ^ (value >> _U30)) * _MIX_1
    value = (value ^ (value >> _U27)) * _MIX_2
    return value ^ (value >> _U31)


@compiled
def permute(seed: Any, start: Whole, length: Whole, permutation: Places, inverse: Places) -> None:
    """Write the permutation of one frame: places start .. start + length - 1."""
    state = seed + np.uint64(length)
    for i in range(length):
        permutation[start + i] = start + i
    for i in range(length - 1, 0, -1):
        state += _GAMMA
        other = np.int64(((mix(state) >> _U32) * np.uint64(i + 1)) >> _U32)
        swapped = permutation[start + i]
        permutation[start + i] = permutation[start + other]
        permutation[start + other] = swapped
    for i in range(length):
        inverse[permutation[start + i]] = start + i


@compiled
def fill(state: State) -> None:
    """Fill the second row of `key`, and `words`, from its first row."""
    for slot in range(len(state.permutation)):
        state.key[1, slot] = state.key[0, state.permutation[slot]]
    for frame in range(len(state.starts) - 1):
        begin, end = state.starts[frame], state.starts[frame + 1]
        for word in range(state.word_starts[frame + 1] - state.word_starts[frame]):
            value = np.uint64(0)
            for place in range(min(64, end - begin - 64 * word)):
                value |= np.uint64(state.key[0, begin + 64 * word + place]) << np.uint64(place)
            state.words[state.word_starts[frame] + word] = value


@compiled
def _mask_word(seed: Any, frame: Whole, half: Whole, word: Whole) -> Any:
    counter = np.uint64(word) + (np.uint64(half) << np.uint64(20)) + (np.uint64(frame) << _U32) + _ONE
    return mix(seed + _GAMMA * counter)


@compiled
def _fold(value: Any) -> Whole:
    """Parity of a word."""
    value ^= value >> _U32
    value ^= value >> np.uint64(16)
    value ^= value >> np.uint64(8)
    value ^= value >> np.uint64(4)
    value ^= value >> np.uint64(2)
    value ^= value >> _ONE
    return np.int64(value & _ONE)


# Functions that run once for each question take the arrays they need: passing the whole state counts references to all
# of its arrays up and down, which costs more than the parity of an interval.


@compiled
def _masked_parity(
    words: Words, first_word: Whole, seed: Any, kind: Whole, frame: Whole, half: Whole, low: Whole, high: Whole
) -> Whole:
    """Parity of the places low .. high - 1 of a frame that lie inside (or outside) a random half."""
    if low >= high:
        return 0
    first, last = low >> 6, (high - 1) >> 6
    total = np.uint64(0)
    flip = _ALL if kind == OUTSIDE else np.uint64(0)
    for word in range(first, last + 1):
        chosen = _mask_word(seed, frame, half, word) ^ flip
        if word == first:
            chosen &= _ALL << np.uint64(low & 63)
        if word == last:
            chosen &= _ALL >> (_U63 - np.uint64((high - 1) & 63))
        total ^= words[first_word + word] & chosen
    return _fold(total)


@compiled
def _plain_parity(key: Bits, low: Whole, high: Whole) -> Whole:
    """Parity of the slots low .. high - 1 of a key in the order of its pass."""
    total = np.int64(0)
    for slot in range(low, high):
        total ^= np.int64(key[slot])
    return total


@compiled
def _borders(low: Whole, high: Whole, cuts: Whole, borders: Numbers) -> Whole:
    """Cut an interval of two slots or more `cuts` times into halves, pieces of one slot no further; how many they are.

    borders: piece i is borders[i] .. borders[i + 1] - 1.
    """
    if cuts == 1:
        borders[0], borders[1], borders[2] = low, (low + high) // 2, high
        return 2
    borders[0], borders[1], pieces = low, high, 1
    for _ in range(cuts):
        grown = pieces
        for i in range(pieces):
            if borders[i + 1] - borders[i] > 1:
                grown += 1
        at = grown
        for i in range(pieces - 1, -1, -1):
            lo, hi = borders[i], borders[i + 1]
            borders[at] = hi
            at -= 1
            if hi - lo > 1:
                borders[at] = (lo + hi) // 2
                at -= 1
        pieces = grown
    return pieces


@compiled
def count_questions(state: State) -> int:
    """How many parities this round discloses."""
    borders = np.empty(MOST_PIECES + 1, np.int64)
    total = 0
    items, starts, scalars = state.items[state.scalars[SIDE]], state.starts, state.scalars
    cuts = scalars[CUTS]
    for i in range(scalars[ITEMS]):
        kind, frame = np.int64(items[i, KIND]), np.int64(items[i, FRAME])
        if kind == HALVES:
            total += HALVES_AT_ONCE
        elif kind >= BLOCKS_0:
            size = scalars[SIZE_0 + kind - BLOCKS_0]
            total += (starts[frame + 1] - starts[frame] + size - 1) // size
        elif cuts == 1:
            total += 1
        else:
            total += _borders(np.int64(items[i, LOW]), np.int64(items[i, HIGH]), cuts, borders) - 1
    return total


@compiled
def answer(state: State, out: Bits) -> None:
    """Write the own parities of this round, in the order of its questions."""
    borders = np.empty(MOST_PIECES + 1, np.int64)
    natural, permuted, words, word_starts = state.key[0], state.key[1], state.words, state.word_starts
    starts, halves, scalars, seed = state.starts, state.halves, state.scalars, state.seed[1]
    items, cuts, at = state.items[scalars[SIDE]], scalars[CUTS], 0
    for i in range(scalars[ITEMS]):
        kind, frame = np.int64(items[i, KIND]), np.int64(items[i, FRAME])
        begin, end, base = starts[frame], starts[frame + 1], word_starts[frame]
        if kind == HALVES:
            for half in range(HALVES_AT_ONCE):
                out[at] = _masked_parity(words, base, seed, INSIDE, frame, halves[frame] + half, 0, end - begin)
                at += 1
        elif kind >= BLOCKS_0:
            size = scalars[SIZE_0 + kind - BLOCKS_0]
            for start in range(begin, end, size):
                out[at] = _plain_parity(natural if kind == BLOCKS_0 else permuted, start, min(start + size, end))
                at += 1
        else:
            pieces = _borders(np.int64(items[i, LOW]), np.int64(items[i, HIGH]), cuts, borders)
            for piece in range(pieces - 1):
                low, high = borders[piece], borders[piece + 1]
                if kind >= INSIDE:
                    chosen = np.int64(items[i, HALF])
                    out[at] = _masked_parity(words, base, seed, kind, frame, chosen, low, high)
                else:
                    out[at] = _plain_parity(natural if kind == LEAF_0 else permuted, low, high)
                at += 1


@compiled
def advance(state: State, differences: Bits) -> None:
    """Take the differences of both ends' parities, correct what they show, and list the next round's questions.

    With no question asked before and no difference, it lists those of the first round.
    """
    borders = np.empty(MOST_PIECES + 1, np.int64)
    scalars, starts, busy, cut = state.scalars, state.starts, state.busy, state.cut
    side = scalars[SIDE]
    items, upcoming = state.items[side], state.items[1 - side]
    count, at, cuts = scalars[ITEMS], 0, scalars[CUTS]
    scalars[SIDE], scalars[ITEMS] = 1 - side, 0
    busy[:] = 0
    found, corrections = state.found, 0
    for i in range(count):
        kind, frame = np.int64(items[i, KIND]), np.int64(items[i, FRAME])
        if kind == HALVES:
            odd_half: Whole = _take_halves(state, frame, differences, at)
            if odd_half >= 0:
                length = starts[frame + 1] - starts[frame]
                _ask(upcoming, scalars, busy, INSIDE, frame, 0, length, odd_half)
                _ask(upcoming, scalars, busy, OUTSIDE, frame, 0, length, odd_half)
            at += HALVES_AT_ONCE
        elif kind >= BLOCKS_0:
            at = _take_blocks(state, kind - BLOCKS_0, frame, differences, at)
        else:
            pieces = _borders(np.int64(items[i, LOW]), np.int64(items[i, HIGH]), cuts, borders)
            rest: Whole = np.uint8(1)
            for piece in range(pieces):
                low, high = borders[piece], borders[piece + 1]
                if piece < pieces - 1:
                    odd = differences[at]
                    rest ^= odd
                    at += 1
                else:
                    odd = rest
                if kind < INSIDE and piece:
                    cut[kind, low] = 1
                if odd and high - low == 1:
                    found[corrections, KIND], found[corrections, FRAME], found[corrections, LOW] = kind, frame, low
                    corrections += 1
                elif odd:
                    _ask(upcoming, scalars, busy, kind, frame, low, high, np.int64(items[i, HALF]))
    _correct(state, corrections)
    for number in range(len(starts) - 1):
        if not busy[number] and not state.finished[number]:
            _schedule(state, upcoming, number)
    if scalars[FAILED]:
        scalars[ITEMS] = 0
    _choose_cuts(upcoming, scalars)


@compiled
def _ask(
    items: Places, scalars: Numbers, busy: Numbers, kind: Whole, frame: Whole, low: Whole, high: Whole, half: Whole
) -> None:
    at = scalars[ITEMS]
    items[at, KIND], items[at, FRAME], items[at, LOW], items[at, HIGH], items[at, HALF] = kind, frame, low, high, half
    scalars[ITEMS] = at + 1
    busy[frame] += 1


@compiled
def _choose_cuts(items: Places, scalars: Numbers) -> None:
    searches = 0
    for i in range(scalars[ITEMS]):
        if items[i, KIND] < BLOCKS_0:
            searches += 1
    scalars[CUTS] = 1 if searches > 24 else 2 if searches > 6 else 3 if searches > 2 else 4


@compiled
def _take_blocks(state: State, kind: Whole, frame: Whole, differences: Bits, at: Whole) -> Whole:
    odd, waiting, waiting_count, size = state.odd, state.waiting, state.waiting_count, state.scalars[SIZE_0 + kind]
    start, end = state.starts[frame], state.starts[frame + 1]
    state.passes[frame] = kind + 1
    for low in range(start, end, size):
        if differences[at]:
            _turn_odd(odd, waiting, waiting_count, kind, frame, start, end, low)
        at += 1
    return at


@compiled
def _take_halves(state: State, frame: Whole, differences: Bits, at: Whole) -> Whole:
    """The first odd half of the ten, or -1."""
    first = state.halves[frame]
    state.halves[frame] += HALVES_AT_ONCE
    for half in range(HALVES_AT_ONCE):
        if differences[at + half]:
            state.even[frame] = 0
            return first + half
    state.even[frame] += HALVES_AT_ONCE
    return -1


@compiled
def _correct(state: State, count: Whole) -> None:
    """The first `count` bits of `found` differ: flip them, and with each the leaves that hold it elsewhere."""
    found, starts, scalars, passes = state.found, state.starts, state.scalars, state.passes
    flipped, key, words, word_starts = state.flipped, state.key, state.words, state.word_starts
    permutation, inverse, cut = state.permutation, state.inverse, state.cut
    odd, waiting, waiting_count = state.odd, state.waiting, state.waiting_count
    corrects = scalars[CORRECTS] != 0
    scalars[FLIPS] += count
    for i in range(count):
        kind, frame, slot = np.int64(found[i, KIND]), np.int64(found[i, FRAME]), np.int64(found[i, LOW])
        start, end = starts[frame], starts[frame + 1]
        if kind >= INSIDE:
            place = start + slot
        elif kind == LEAF_1:
            place = np.int64(permutation[slot])
        else:
            place = slot
        flipped[place] ^= 1
        if corrects:
            key[0, place] ^= 1
            key[1, inverse[place]] ^= 1
            words[word_starts[frame] + ((place - start) >> 6)] ^= _ONE << np.uint64((place - start) & 63)
        for other in range(passes[frame]):
            if other != kind:
                elsewhere = place if other == LEAF_0 else np.int64(inverse[place])
                low, _ = _leaf(cut, other, scalars[SIZE_0 + other], start, end, elsewhere)
                _turn_odd(odd, waiting, waiting_count, other, frame, start, end, low)


@compiled
def _leaf(cut: Bits, kind: Whole, size: Whole, start: Whole, end: Whole, slot: Whole) -> tuple[Whole, Whole]:
    """The smallest known interval that holds a slot of the frame start .. end - 1."""
    low = start + (slot - start) // size * size
    high = min(low + size, end)
    while high - low > 1:
        middle = (low + high) // 2
        if not cut[kind, middle]:
            break
        if slot < middle:
            high = middle
        else:
            low = middle
    return low, high


@compiled
def _turn_odd(
    odd: Bits, waiting: Places, waiting_count: Numbers, kind: Whole, frame: Whole, start: Whole, end: Whole, low: Whole
) -> None:
    """A leaf changes between even and odd; what became odd waits to be searched."""
    odd[kind, low] ^= 1
    if odd[kind, low]:
        taken = waiting_count[kind, frame]
        if taken < end - start:
            waiting[kind, start + taken] = low
        waiting_count[kind, frame] = taken + 1


@compiled
def _search_odd(state: State, upcoming: Places, kind: Whole, frame: Whole) -> None:
    """Ask about every odd leaf of a pass; odd leaves of one slot are errors and corrected at once."""
    odd, cut, found, scalars, busy = state.odd, state.cut, state.found, state.scalars, state.busy
    start, end, size = state.starts[frame], state.starts[frame + 1], state.scalars[SIZE_0 + kind]
    waiting, corrections = state.waiting, 0
    count = state.waiting_count[kind, frame]
    state.waiting_count[kind, frame] = 0
    overflowed = count > end - start
    for i in range(end - start if overflowed else count):
        low = start + i if overflowed else np.int64(waiting[kind, start + i])
        if odd[kind, low]:
            odd[kind, low] = 0
            _, high = _leaf(cut, kind, size, start, end, low)
            if high - low == 1:
                found[corrections, KIND], found[corrections, FRAME], found[corrections, LOW] = kind, frame, low
                corrections += 1
            else:
                _ask(upcoming, scalars, busy, kind, frame, low, high, 0)
    _correct(state, corrections)


@compiled
def _schedule(state: State, upcoming: Places, frame: Whole) -> None:
    """What a frame without a running search asks next."""
    while True:
        if state.waiting_count[LEAF_0, frame]:
            _search_odd(state, upcoming, LEAF_0, frame)
        elif state.waiting_count[LEAF_1, frame]:
            _search_odd(state, upcoming, LEAF_1, frame)
        else:
            break
        # A true error is found once. More corrections than bits come from answers that contradict one another, and
        # could turn the same two leaves over for ever.
        if state.scalars[FLIPS] > len(state.flipped):
            state.scalars[FAILED] = 1
            return
        if state.busy[frame]:
            return
    if state.passes[frame] < 2:
        _ask(upcoming, state.scalars, state.busy, BLOCKS_0 + state.passes[frame], frame, 0, 0, 0)
    elif state.even[frame] >= EVEN_HALVES:
        state.finished[frame] = 1
    elif state.halves[frame] >= MOST_HALVES:
        state.finished[frame] = 1
        state.scalars[FAILED] = 1
    else:
        _ask(upcoming, state.scalars, state.busy, HALVES, frame, 0, 0, 0)

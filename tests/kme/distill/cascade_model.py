"""Section 7 of docs/protocols/qkd.md word for word in plain Python: slow, and written without a look at the kernels.

Works on the differences of the two keys alone, as both ends see them; gives the number of questions of every round and
the places corrected, in order.
"""

from __future__ import annotations

M64 = (1 << 64) - 1
GAMMA = 0x9E3779B97F4A7C15


def finalise(z: int) -> int:
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & M64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & M64
    return z ^ (z >> 31)


def permutation(seed: int, length: int) -> list[int]:
    state = (seed + length) & M64
    places = list(range(length))
    for i in range(length - 1, 0, -1):
        state = (state + GAMMA) & M64
        j = ((finalise(state) >> 32) * (i + 1)) >> 32
        places[i], places[j] = places[j], places[i]
    return places


def in_half(seed: int, frame: int, half: int, place: int) -> int:
    counter = place // 64 + (half << 20) + (frame << 32) + 1
    return finalise((seed + GAMMA * counter) & M64) >> (place % 64) & 1


def pieces(low: int, high: int, cuts: int) -> list[tuple[int, int]]:
    if cuts == 0 or high - low == 1:
        return [(low, high)]
    middle = (low + high) // 2
    return pieces(low, middle, cuts - 1) + pieces(middle, high, cuts - 1)


class Frame:
    def __init__(self, number: int, differences: list[int], seeds: tuple[int, int], size: int) -> None:
        self.number, self.wrong, self.seeds = number, differences, seeds
        n = len(differences)
        self.order = [list(range(n)), permutation(seeds[0], n)]
        self.sizes = [size, 5 * size]
        self.leaves: list[dict[tuple[int, int], int]] = []
        """For each pass: interval -> 1 if odd, in which case it is also in `found`."""
        self.found: list[list[tuple[int, int]]] = [[], []]
        self.even = self.halves = 0
        self.state = "open"

    def parity(self, kind: object, low: int, high: int) -> int:
        if isinstance(kind, int):
            return sum(self.wrong[self.order[kind][slot]] for slot in range(low, high)) % 2
        half, inside = kind  # type: ignore[misc]
        return sum(self.wrong[x] for x in range(low, high) if in_half(self.seeds[1], self.number, half, x) == inside) % 2

    def correct(self, kind: object, slot: int, log: list[tuple[int, int]]) -> None:
        place = self.order[kind][slot] if isinstance(kind, int) else slot
        self.wrong[place] ^= 1
        log.append((self.number, place))
        for other, leaves in enumerate(self.leaves):
            if other != kind:
                at = self.order[other].index(place)
                leaf = next(one for one in leaves if one[0] <= at < one[1])
                leaves[leaf] ^= 1
                if leaves[leaf]:
                    self.found[other].append(leaf)

    def next_questions(self, log: list[tuple[int, int]]) -> list[tuple[object, int, int]]:
        while any(self.found[p] for p in range(len(self.leaves))):
            p = next(p for p in range(len(self.leaves)) if self.found[p])
            waiting, self.found[p] = self.found[p], []
            asked = []
            for leaf in waiting:
                if self.leaves[p].get(leaf):
                    self.leaves[p][leaf] = 0
                    if leaf[1] - leaf[0] == 1:
                        self.correct(p, leaf[0], log)
                    else:
                        asked.append((p, *leaf))
            if asked:
                return asked
        if len(self.leaves) < 2:
            return [(f"blocks {len(self.leaves)}", 0, 0)]
        if self.even >= 20:
            self.state = "finished"
            return []
        if self.halves >= 1000:
            self.state = "failed"
            return []
        return [("halves", 0, 0)]


def run(differences: list[list[int]], seed: bytes, size: int) -> tuple[list[int], list[tuple[int, int]]]:
    """differences: of each frame, 1 where the keys differ."""
    seeds = int.from_bytes(seed[:8], "big"), int.from_bytes(seed[8:], "big")
    frames = [Frame(i, list(one), seeds, size) for i, one in enumerate(differences)]
    log: list[tuple[int, int]] = []
    sizes: list[int] = []
    questions = [(frame, *one) for frame in frames for one in frame.next_questions(log)]
    while questions:
        searches = sum(not isinstance(kind, str) for _, kind, _, _ in questions)
        cuts = 1 if searches > 24 else 2 if searches > 6 else 3 if searches > 2 else 4
        count = 0
        upcoming: list[tuple[Frame, object, int, int]] = []
        for frame, kind, low, high in questions:
            n = len(frame.wrong)
            if kind == "halves":
                count += 10
                odd = [h for h in range(10) if frame.parity((frame.halves + h, 1), 0, n)]
                if odd:
                    frame.even = 0
                    upcoming += [(frame, (frame.halves + odd[0], inside), 0, n) for inside in (1, 0)]
                else:
                    frame.even += 10
                frame.halves += 10
            elif isinstance(kind, str):
                p = int(kind[-1])
                blocks = [(at, min(at + frame.sizes[p], n)) for at in range(0, n, frame.sizes[p])]
                count += len(blocks)
                frame.leaves.append({one: frame.parity(p, *one) for one in blocks})
                frame.found[p] = [one for one in blocks if frame.leaves[p][one]]
            else:
                parts = pieces(low, high, cuts)
                count += len(parts) - 1
                odds = [frame.parity(kind, *one) for one in parts]
                if isinstance(kind, int):
                    del frame.leaves[kind][low, high]
                    frame.leaves[kind].update(dict.fromkeys(parts, 0))
                for one, is_odd in zip(parts, odds, strict=True):
                    if is_odd and one[1] - one[0] == 1:
                        frame.correct(kind, one[0], log)
                    elif is_odd:
                        upcoming.append((frame, kind, *one))
        sizes.append(count)
        busy = {frame.number for frame, *_ in upcoming}
        for frame in frames:
            if frame.number not in busy and frame.state == "open":
                upcoming += [(frame, *one) for one in frame.next_questions(log)]
        questions = upcoming
    return sizes, log

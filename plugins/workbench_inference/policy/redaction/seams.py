"""Whether two characters that are a listed name stand across the seam of two words: by how often their neighbours go together in
the institution's own documents. Pure; a few look-ups a hit.

Of 苎白同业 the pairs 苎白 and 同业 are bound, so 白同 is no customer; of 陪白同去银行 they are not. Only pairs across words decide, never how
often the name itself stands in documents: a customer may share a name with a manager of a fund.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from math import exp
from typing import Any, Final

PAIRS: Final = "inference/pairs"
"""The object of the vault in which an institution keeps its own."""
LEAST: Final = 3
"""How often a pair must stand in the documents before it says anything."""
BOUND: Final = exp(3.0)
"""How much more often than by chance the two go together."""
AHEAD: Final = exp(0.5)
"""How much more firmly than the neighbour is bound to the character behind it, as 上海 is in 王海上海."""
_LOOSE: Final = frozenset("的了是在和与及也都就有为被把对给从到等吗呢吧由将让找请帮替跟问叫说想要去来我你他她您这那个")
"""Characters that are words of their own and bind nothing."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """pairs: at least LEAST times each; singles: characters of these pairs, with all that stand in the texts; total: of all."""

    pairs: Mapping[str, int] = field(default_factory=dict, repr=False)
    singles: Mapping[str, int] = field(default_factory=dict, repr=False)
    total: int = 0

    @classmethod
    def of(cls, texts: Iterable[str]) -> Pairs:
        """Cost: 0.5 microseconds a character."""
        pairs: Counter[str] = Counter()
        singles: Counter[str] = Counter()
        for text in texts:
            singles.update(filter(_is_han, text))
            pairs.update(one + other for one, other in pairwise(text) if _is_han(one) and _is_han(other))
        kept = {pair: count for pair, count in pairs.items() if count >= LEAST}
        used = {one for pair in kept for one in pair}
        return cls(kept, {one: singles[one] for one in used}, singles.total())

    def write(self) -> bytes:
        return json.dumps({"pairs": dict(self.pairs), "singles": dict(self.singles), "total": self.total}, ensure_ascii=False).encode()

    @classmethod
    def read(cls, data: bytes) -> Pairs:
        found: Any = json.loads(data)
        return cls(found["pairs"], found["singles"], found["total"])

    def is_seam(self, text: str, start: int, end: int) -> bool:
        """Is a neighbour of these characters bound to the nearer of them more firmly than to what lies beyond it?

        Where the documents do not know the pair on the other side too, it counts only if it stands more often than the characters
        themselves: else it may be known from sentences about somebody of that name and nothing else, as 同称 is from 白同称.
        """
        before, after = text[max(0, start - 1) : start], text[end : end + 1]
        front, behind = before + text[start], text[end - 1] + after
        ahead = bool(before) and self._is_bound(front, text[max(0, start - 2) : max(0, start - 1)] + before)
        is_behind = bool(after) and self._is_bound(behind, text[end : end + 2])
        if not ahead and not is_behind:
            return False
        itself, both = self.pairs.get(text[start:end], 0), (self.pairs.get(front, 0), self.pairs.get(behind, 0))
        return all(both) or max(both) > itself

    def _is_bound(self, pair: str, elsewhere: str) -> bool:
        if pair[0] in _LOOSE or pair[1] in _LOOSE:
            return False
        return self._tie(pair) > max(BOUND, AHEAD * self._tie(elsewhere))

    def _tie(self, pair: str) -> float:
        count = self.pairs.get(pair, 0)
        return count * self.total / (self.singles[pair[0]] * self.singles[pair[1]]) if count else 0.0


def _is_han(character: str) -> bool:
    return "\u4e00" <= character <= "\u9fff"


__all__ = ["PAIRS", "Pairs"]

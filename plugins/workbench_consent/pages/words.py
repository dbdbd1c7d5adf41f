"""How this page names institutions, purposes and times. Pure: texts in, texts out."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from workbench_widgets import formats


@dataclass(frozen=True, slots=True)
class Words:
    """Texts of one language. parties, purposes: id or code to the name in this language."""

    t: Callable[..., str]
    lang: formats.Lang
    own: str
    parties: Mapping[str, str]
    tiles: Mapping[str, str]
    purposes: Mapping[str, str]

    @classmethod
    def of(cls, me: Mapping[str, Any], lang: str, t: Callable[..., str]) -> Words:
        """Out of the reply of people.me."""
        zh = lang == "zh"
        return cls(
            t=t,
            lang="zh" if zh else "en",
            own=me["me"]["party"],
            parties={party: name_zh if zh else name_en for party, name_zh, name_en in me["parties"]},
            tiles={party: name_zh[:1] for party, name_zh, _ in me["parties"]},
            purposes={code: names[0 if zh else 1] for code, names in me["purposes"].items()},
        )

    def party(self, party: str) -> str:
        """The institution's name; an unknown id stands for itself."""
        return self.parties.get(party, party)

    def others(self) -> list[str]:
        """Ids of the other institutions, in order."""
        return sorted(party for party in self.parties if party != self.own)

    def named(self, sentence: str) -> str:
        """A sentence of the node with the institutions' names in place of their ids."""
        for party in sorted(self.parties, key=len, reverse=True):
            sentence = re.sub(rf"(?<![\w-]){re.escape(party)}(?![\w-])", self.party(party), sentence, flags=re.ASCII)
        return sentence

    def tile(self, party: str) -> dict[str, Any]:
        """The form of a party that components take."""
        letter = self.tiles.get(party, party[:1].upper() or "?")
        return {"tile": letter, "name": self.party(party)} | ({"mine": True} if party == self.own else {})

    def purpose(self, code: str) -> str:
        """The purpose's name; an unknown code stands for itself."""
        return self.purposes.get(code, code)

    def pair(self, purpose: str, recipient: str) -> str:
        """「理财营销 → 乙银行」."""
        return self.t("pair", purpose=self.purpose(purpose), recipient=self.party(recipient))

    def count(self, value: int) -> str:
        return formats.count(value, self.lang)

    def time(self, ms: int) -> str:
        return formats.time(ms, self.lang)

    def both(self, value: Mapping[str, Any], zh: str = "zh", en: str = "en") -> str:
        """The sentence that a reply brings in both languages."""
        return str(value.get(zh if self.lang == "zh" else en, ""))


__all__ = ["Words"]

"""Names as staff read them: institutions, purposes, identifiers, states. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Translate = Callable[..., str]
"""`PageContext.t`: a key of the locale files and its fields."""

WORKING = ("RUNNING", "REVEALING", "CHECKING")
"""States in which an attempt runs."""
WAITING = ("PROPOSED", "APPROVED")
OPEN_STATES = (*WAITING, *WORKING, "SEALING")
NO_RESULT = ("REFUSED_SMALL", "ABORTED", "ABORTED_AFTER_REVEAL", "DISPUTED", "REJECTED", "WITHDRAWN", "EXPIRED", "CANCELLED")

CHIP_OF_STATE: Mapping[str, str] = {
    "DRAFT": "neutral",
    "PROPOSED": "pending",
    "APPROVED": "pending",
    "RUNNING": "running",
    "REVEALING": "running",
    "CHECKING": "running",
    "SEALING": "pending",
    "RELEASED": "sealed",
    "REFUSED_SMALL": "refused",
    "REJECTED": "refused",
    "WITHDRAWN": "neutral",
    "EXPIRED": "neutral",
    "CANCELLED": "neutral",
    "ABORTED": "failed",
    "ABORTED_AFTER_REVEAL": "failed",
    "DISPUTED": "tampered",
}
"""Which chip of the components stands for a state of a job."""


@dataclass(frozen=True, slots=True)
class Names:
    """Names in one language. parties and purposes: id or code to the name in this language; own: this institution.

    former: those of the parties that have left; old jobs name them, nothing is begun with them. tiles: one letter for each institution, the first of its Chinese name, the same in both languages.
    """

    lang: str
    own: str
    parties: Mapping[str, str]
    tiles: Mapping[str, str]
    purposes: Mapping[str, str]
    former: frozenset[str] = frozenset()

    @classmethod
    def of(cls, me: Mapping[str, Any], lang: str) -> Names:
        """Names out of the reply of people.me."""
        at = 0 if lang == "zh" else 1
        left = me.get("former", ())
        everyone = (*me["parties"], *left)
        return cls(
            lang=lang,
            own=me["me"]["party"],
            parties={party: (zh, en)[at] for party, zh, en in everyone},
            tiles={party: zh[:1] for party, zh, _ in everyone},
            purposes={code: names[at] for code, names in me["purposes"].items()},
            former=frozenset(party for party, _, _ in left),
        )

    def party(self, party: str) -> str:
        """The institution's name; an unknown id stands for itself."""
        return self.parties.get(party, party)

    def tile(self, party: str) -> dict[str, Any]:
        """The form of a party that components take."""
        mine = party == self.own
        letter = self.tiles.get(party, party[:1].upper())
        return {"tile": letter, "name": self.party(party)} | ({"mine": True} if mine else {})

    def purpose(self, code: str) -> str:
        """The purpose's name; an unknown code stands for itself."""
        return self.purposes.get(code, code)

    def others(self) -> list[str]:
        """Ids of the other institutions of today, in order."""
        return sorted(party for party in self.parties if party != self.own and party not in self.former)

    def with_names(self, sentence: str) -> str:
        """A sentence of the node with the institutions' ids replaced by their names."""
        for party in sorted(self.parties, key=len, reverse=True):
            sentence = re.sub(rf"(?<![\w-]){re.escape(party)}(?![\w-])", self.party(party), sentence, flags=re.ASCII)
        return sentence


def error_sentence(error: Mapping[str, Any], names: Names) -> str:
    """The node's sentence of an error kept with a job, in this language; "" when there is none."""
    return names.with_names(str(error.get(names.lang, ""))) if error else ""

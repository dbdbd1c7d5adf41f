"""What is looked at: a job, a page of a log, or a search; and the conditions of a search in words. Pure but for the texts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from workbench_ledger.pages.words import Words, safe
from workbench_widgets import formats

Reply = Mapping[str, Any]
JOB = re.compile(r"J-[0-9]{8}-[0-9a-f]{4,16}")
CONDITIONS = (
    "job", "campaign", "customers", "persons", "kinds", "party", "digest", "state", "from_ms", "until_ms", "place", "words",
)  # fmt: skip
"""The fields of a search, as the reply of evidence.search gives them back."""


@dataclass(slots=True)
class Asked:
    """One job; or a page of one log narrowed by kind; or a search. before: last index of a log's page, exclusive.

    text: what a person typed, until the node has understood it; conditions: what it understood, which holds no phone and
    no identity number. pages: keys of the pages of hits turned so far. depth: pages of a job's story shown, from the newest on.
    """

    job: str = ""
    log: str = ""
    kind: str = ""
    text: str = field(default="", repr=False)
    before: int | None = None
    conditions: dict[str, Any] | None = None
    pages: list[str] = field(default_factory=list)
    depth: int = 1

    @property
    def is_search(self) -> bool:
        """Whether only a part of the job or log is looked at."""
        return bool(self.kind or self.is_find)

    @property
    def is_find(self) -> bool:
        """Whether the search index answers, and not a timeline."""
        return bool(self.text) or self.conditions is not None

    def request(self) -> dict[str, Any]:
        """The request for evidence.search."""
        fields = dict(self.conditions or {})
        if self.conditions is None:
            fields = {"text": self.text, "job": self.job, "party": self.log, "kinds": [self.kind] if self.kind else []}
        return {**fields, "before": self.pages[-1] if self.pages else ""}

    def understood(self, reply: Reply) -> None:
        """Keep what the node understood and forget what was typed when it named a customer."""
        self.conditions = {name: reply["asked"][name] for name in CONDITIONS}
        if self.conditions["customers"]:
            self.text = ""

    def without(self, name: str) -> Asked:
        """The same search without one condition; everything when none is left."""
        left = {**(self.conditions or {}), name: _EMPTY.get(name, "")}
        if name == "from_ms":
            left["until_ms"] = None
        if not any(left.values()):
            return Asked()
        if [key for key in CONDITIONS if left[key]] == ["job"]:
            return Asked(job=str(left["job"]))
        return Asked(conditions=left)

    def exportable(self) -> dict[str, str] | None:
        """What a package can be made of: one job, campaign, customer, or whole days; None for anything else."""
        if not self.is_find:
            return {"job": self.job} if self.job and not self.kind else None
        said = {key: value for key, value in (self.conditions or {}).items() if value}
        if set(said) == {"campaign"} or set(said) == {"job"}:
            return {key: str(value) for key, value in said.items()}
        if set(said) == {"customers"} and len(said["customers"]) == 1:
            return {"customer": str(said["customers"][0])}
        if set(said) == {"from_ms", "until_ms"} and (said["until_ms"] - said["from_ms"]) % 86_400_000 == 0:
            return {"from_day": formats.date(said["from_ms"]), "to_day": formats.date(said["until_ms"] - 1)}
        return None


_EMPTY: dict[str, Any] = {"customers": [], "persons": [], "kinds": [], "from_ms": None, "until_ms": None}


def chips_of(asked: Asked, reply: Reply | None, words: Words) -> list[tuple[str, str, str]]:
    """What was understood, each with the name under which it can be dropped: (name, label, label of dropping)."""
    t = words.t
    drop = t("chip.drop")
    if not asked.is_find:
        return [("job", t("chip.job", job=asked.job), drop)] if asked.job else []
    said = asked.conditions or {}
    names = dict(reply["persons"]) if reply else {}
    told: list[tuple[str, str]] = []
    if said.get("job"):
        told.append(("job", t("chip.job", job=said["job"])))
    if said.get("campaign"):
        told.append(("campaign", t("chip.campaign", name=safe(str(said["campaign"])))))
    if said.get("customers"):
        told.append(("customers", t("chip.customer", token=str(said["customers"][0])[:8].upper())))
    if said.get("persons"):
        told.append(("persons", t("chip.person", name=safe("、".join(names.get(one, one) for one in said["persons"][:3])))))
    if said.get("kinds"):
        plain = {name: both[0 if words.lang == "zh" else 1] for name, both in (reply["kinds"] if reply else {}).items()}
        kinds = "、".join(words.maybe(f"name.{one}", words.maybe(f"kind.{one}", plain.get(one, one))) for one in said["kinds"][:2])
        told.append(("kinds", t("chip.kinds", kinds=kinds + ("…" if len(said["kinds"]) > 2 else ""))))
    if said.get("party"):
        told.append(("party", t("chip.party", party=words.party(str(said["party"])))))
    if said.get("digest"):
        told.append(("digest", t("chip.digest", digest=formats.digest("", str(said["digest"])) if len(said["digest"]) > 16 else said["digest"])))
    if said.get("state"):
        told.append(("state", t(f"state.{said['state']}")))
    if said.get("from_ms") is not None:
        first, last = (formats.time(said[name], words.lang) for name in ("from_ms", "until_ms"))
        told.append(("from_ms", t("chip.time", first=first[:16], last=last[:16])))
    if said.get("place"):
        told.append(("place", str(said["place"])))
    if said.get("words"):
        told.append(("words", t("chip.words", words=safe(str(said["words"])))))
    return [(name, label, drop) for name, label in told]


__all__ = ["CONDITIONS", "JOB", "Asked", "chips_of"]

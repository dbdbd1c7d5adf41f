"""What a verification found: steps with their problems, a verdict, and what was not checked."""

from __future__ import annotations

from typing import Any

from workbench_ledger.package.verifier.words import PROBLEMS, STEPS, UNCHECKED, VERDICTS

MAX_PROBLEMS = 20


class Step:
    """One step. problems: the first twenty; more: how many others there are."""

    def __init__(self, name: str) -> None:
        self.name, self.zh, self.en = name, "", ""
        self.problems: list[dict[str, Any]] = []
        self.more = 0
        self.failed = False

    def problem(self, code: str, final: bool = True, **where: Any) -> None:
        """Something does not hold. final: False when only a co-signature is missing."""
        self.failed = self.failed or final
        found = {name: where.get(name, "") for name in ("file", "log", "index", "field", "party")}
        found["index"] = where.get("index")
        zh, en = (text.format(**found) for text in PROBLEMS[code])
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append({"code": code, **found, "zh": zh, "en": en})
        else:
            self.more += 1

    def end(self, words: str = "", **values: Any) -> None:
        """The sentence of the step: what holds, or its first problem."""
        if self.problems:
            self.zh, self.en = self.problems[0]["zh"], self.problems[0]["en"]
        else:
            self.zh, self.en = (text.format(**values) for text in STEPS[words or self.name])

    def as_dict(self) -> dict[str, Any]:
        if self.problems and not self.zh:
            self.end()
        found = {"name": self.name, "ok": not self.problems, "zh": self.zh, "en": self.en}
        return {**found, "problems": self.problems, "more": self.more}


class Result:
    """All steps in order. parties: how many institutions' keys were used."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.unchecked: list[dict[str, str]] = []
        self.entries = 0
        self.states = {"FULL": 0, "SEALED": 0, "PENDING": 0}
        self.parties = 0

    def begin(self, name: str) -> Step:
        self.steps.append(Step(name))
        return self.steps[-1]

    def leave(self, name: str, **values: Any) -> None:
        """Something that was not checked."""
        zh, en = (text.format(**values) for text in UNCHECKED[name])
        self.unchecked.append({"zh": zh, "en": en})

    def counted(self, entries: int, states: dict[str, int]) -> None:
        self.entries, self.states = entries, states

    def finish(self, word: str) -> dict[str, Any]:
        """The result as in package.md section 7. word: the verdict when nothing was found."""
        steps = [step.as_dict() for step in self.steps]
        failed = [step for step in self.steps if step.failed]
        if failed or word == "FAILED":
            first = failed[0] if failed else self.steps[-1]
            word, values = "FAILED", {"step": first.name, "zh": first.zh, "en": first.en}
        else:
            word = "NOT_FINAL" if self.states["PENDING"] else word
            values = {"steps": str(len(steps)), "parties": str(self.parties), "count": str(self.states["PENDING"])}
        zh, en = (text.format(**values) for text in VERDICTS[word])
        return {
            "v": "workbench/v1/package-result",
            "verdict": word,
            "zh": zh,
            "en": en,
            "steps": steps,
            "unchecked": self.unchecked,
            "entries": self.entries,
            "full": self.states["FULL"],
            "sealed": self.states["SEALED"],
            "pending": self.states["PENDING"],
            "parties": self.parties,
        }

"""Rules of content: one readable file, looked at before a question leaves and after an answer has come. Pure, linear.

`rules.json` is the file as delivered; compliance publishes another version by two people. A rule has patterns: words in order with
at most GAP characters between, `/` divides alternatives, `…` the places (`保证/承诺 … 收益/回报`); with `&` instead the words stand in
one sentence in any order. Text is folded first (NFKC, lower
case, no blanks or marks inside a sentence, common traditional characters), so `保 证·收 益` is the same as `保证收益`. A negated hit
(`不承诺收益`) does not count; a question of the form 能不能 is no negation.
"""

from __future__ import annotations

import json
import unicodedata
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Final

from workbench.crypto import canonical, sm3
from workbench.errors import InvalidRequest
from workbench_inference.policy.scenarios import CHANNELS, SCENARIOS

STAGES: Final = ("prompt", "answer")
GAP: Final = 14
"""Most folded characters between two places of a pattern, never across the end of a sentence."""

LATIN_GAP: Final = 48
"""The same where the next word is of Latin letters."""

_END: Final = "\n"
_ENDS: Final = frozenset("。！？!?；;\n…")
_CLAUSES: Final = frozenset(",、:\"'“”「」『』()《》-—")
_LONGEST_WORD: Final = 24
_OTHER: Final = ("保证金", "保证书", "保证人", "承诺函", "承诺书", "担保物", "担保品", "担保比例", "担保公司")
"""Words of their own that begin with one of a pattern."""
_SAME: Final = str.maketrans("證諾賺虧險漲買賣穩賠報從現預測會買進內幕資訊過繞規風無條發為這們說個還沒給對嗎幾", "证诺赚亏险涨买卖稳赔报从现预测会买进内幕资讯过绕规风无条发为这们说个还没给对吗几")
_NEGATORS: Final = (
    "不得", "不能", "不可", "不会", "不要", "不应", "不许", "不准", "不再", "不予", "不曾", "不存在", "不构成", "不代表", "不等于", "不作", "不做", "不提供", "不含", "不", "没有", "未", "没", "无法", "无", "并非", "非", "勿", "禁止", "严禁", "杜绝", "避免", "拒绝", "谨防", "警惕", "难以", "不了", "not", "never", "cannot",
    "cant", "dont", "doesnt", "isnt", "wont", "no", "without", "neither", "nor",
)  # fmt: skip
_LONGEST_NEGATOR: Final = max(map(len, _NEGATORS))
_NEAR: Final = 5
"""Folded characters that may stand between a negation and what it negates."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """rule: name of the rule that stops a text, "" when it may pass. zh, en: what it says to people; code: of the refusal."""

    rule: str = ""
    zh: str = ""
    en: str = ""
    code: str = ""

    @property
    def may_pass(self) -> bool:
        return not self.rule


PASSED: Final = Verdict()


@dataclass(frozen=True, slots=True)
class Pattern:
    """places: alternatives for each, folded; is_ordered: one after another and near, else anywhere in one sentence."""

    places: tuple[tuple[str, ...], ...]
    is_ordered: bool = True


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of content. stages, scenarios, channels: where it holds. patterns, unless: places of alternatives, folded."""

    name: str
    zh: str
    en: str
    why: str
    stages: frozenset[str]
    scenarios: frozenset[str]
    channels: frozenset[str]
    patterns: tuple[Pattern, ...] = field(repr=False)
    unless: tuple[Pattern, ...] = field(repr=False)
    negatable: bool


@dataclass(frozen=True, slots=True)
class Rules:
    """All rules of one version; lists: names such as those of the inside list, which some rules refer to."""

    version: int
    digest: str
    rules: tuple[Rule, ...]
    lists: Mapping[str, tuple[str, ...]] = field(repr=False)


@cache
def delivered() -> Rules:
    """The rules as delivered."""
    return parse(delivered_text())


def delivered_text() -> str:
    return files(__package__).joinpath("rules.json").read_text("utf-8")


def parse(text: str) -> Rules:
    """Rules from their file. Raises InvalidRequest RULES_MALFORMED, which names the rule and the member."""
    try:
        value: Any = json.loads(text)
        lists = {name: tuple(fold(one) for one in told["names"]) for name, told in value["lists"].items()}
        rules = tuple(_rule(one, lists) for one in value["rules"])
        names = [one.name for one in rules]
        if len(set(names)) != len(names) or not isinstance(value["version"], int) or not rules:
            raise ValueError("names of rules are unique, version is a whole number")
        return Rules(value["version"], sm3.digest(canonical.format(value)).hex(), rules, lists)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidRequest(
            f"内容规则文件有误：{error}。改正后重新提交", f"the file of content rules is wrong: {error}. Correct it and hand it in again", code="RULES_MALFORMED"
        ) from error


def check(text: str, rules: Rules, *, stage: str, scenario: str, channel: str = "internal") -> Verdict:
    """The first rule that stops this text, or PASSED. Cost: the text's length times the words of the rules that hold here."""
    folded = _fold(text)
    for rule in rules.rules:
        if stage not in rule.stages or scenario not in rule.scenarios or channel not in rule.channels:
            continue
        if any(_stands(folded, one, negatable=rule.negatable) for one in rule.patterns) and not any(_stands(folded, one, negatable=False) for one in rule.unless):
            return Verdict(rule.name, rule.zh, rule.en, "CONTENT_RULE")
    return PASSED


@dataclass(frozen=True, slots=True)
class _Folded:
    """text: as patterns see it. clauses: places in it at which a clause begins, ascending."""

    text: str = field(repr=False)
    clauses: tuple[int, ...]

    def clause(self, place: int) -> int:
        """Where the clause of this place begins."""
        at = bisect_right(self.clauses, place)
        return self.clauses[at - 1] if at else 0


def fold(text: str) -> str:
    """Text as patterns see it; ends of sentences stay, as line breaks."""
    return _fold(text).text


def _fold(text: str) -> _Folded:
    out: list[str] = []
    clauses: list[int] = []
    for one in unicodedata.normalize("NFKC", text).lower().translate(_SAME):
        if one in _ENDS:
            out.append(_END)
            clauses.append(len(out))
        elif one.isalnum() or one == "%":
            out.append(one)
        elif one in _CLAUSES:
            clauses.append(len(out))
    return _Folded("".join(out), tuple(clauses))


def _rule(value: Mapping[str, Any], lists: Mapping[str, tuple[str, ...]]) -> Rule:
    name = str(value["name"])
    known = {"name", "zh", "en", "why", "stages", "scenarios", "channels", "patterns", "unless", "list", "negatable"}
    if set(value) - known:
        raise ValueError(f"{name}: {', '.join(sorted(set(value) - known))}")
    stages, scenarios, channels = (_chosen(name, value.get(what, ["*"]), everything) for what, everything in (("stages", STAGES), ("scenarios", SCENARIOS), ("channels", CHANNELS)))
    patterns = [_pattern(name, one) for one in value.get("patterns", [])]
    if value.get("list"):
        named = lists[value["list"]]
        patterns += [Pattern(((one,),)) for one in named if one]
    elif not patterns:
        raise ValueError(f"{name}: patterns")
    return Rule(
        name, str(value["zh"]), str(value["en"]), str(value["why"]), stages, scenarios, channels, tuple(patterns),
        tuple(_pattern(name, one) for one in value.get("unless", [])), bool(value.get("negatable", True)),
    )  # fmt: skip


def _chosen(name: str, told: Sequence[str], everything: Sequence[str]) -> frozenset[str]:
    if list(told) == ["*"]:
        return frozenset(everything)
    if not told or not set(told) <= set(everything):
        raise ValueError(f"{name}: {', '.join(told)}")
    return frozenset(told)


def _pattern(name: str, text: str) -> Pattern:
    is_ordered = "&" not in text
    places = tuple(tuple(fold(word) for word in place.split("/")) for place in text.split("…" if is_ordered else "&"))
    if not all(word and _END not in word for place in places for word in place):
        raise ValueError(f"{name}: {text}")
    return Pattern(places, is_ordered)


def _stands(folded: _Folded, pattern: Pattern, *, negatable: bool) -> bool:
    """Whether the places of a pattern stand there, and none of them negated."""
    return _in_order(folded, pattern.places, negatable=negatable) if pattern.is_ordered else _together(folded, pattern.places, negatable=negatable)


def _together(folded: _Folded, places: tuple[tuple[str, ...], ...], *, negatable: bool) -> bool:
    """In one sentence, in any order."""
    start = 0
    for sentence in folded.text.split(_END):
        if all(any(_is_said(folded, word, start, start + len(sentence), negatable=negatable) for word in place) for place in places):
            return True
        start += len(sentence) + 1
    return False


def _is_said(folded: _Folded, word: str, start: int, stop: int, *, negatable: bool) -> bool:
    at = folded.text.find(word, start, stop)
    while at >= 0:
        if not folded.text.startswith(_OTHER, at) and not (negatable and _is_negated(folded, at, start)):
            return True
        at = folded.text.find(word, at + 1, stop)
    return False


def _in_order(folded: _Folded, pattern: tuple[tuple[str, ...], ...], *, negatable: bool) -> bool:
    """One after another, near one another."""
    for word in pattern[0]:
        start = folded.text.find(word)
        while start >= 0:
            is_other = folded.text.startswith(_OTHER, start)
            if not is_other and not (negatable and _is_negated(folded, start, 0)) and _follow(folded, start + len(word), pattern[1:], negatable=negatable):
                return True
            start = folded.text.find(word, start + 1)
    return False


def _follow(folded: _Folded, place: int, rest: tuple[tuple[str, ...], ...], *, negatable: bool) -> bool:
    if not rest:
        return True
    stop = folded.text.find(_END, place, place + LATIN_GAP + _LONGEST_WORD)
    window = folded.text[place : place + LATIN_GAP + _LONGEST_WORD if stop < 0 else stop]
    for word in rest[0]:
        at = window.find(word)
        while 0 <= at <= (LATIN_GAP if word.isascii() else GAP):
            if not (negatable and _is_negated(folded, place + at, place)) and _follow(folded, place + at + len(word), rest[1:], negatable=negatable):
                return True
            at = window.find(word, at + 1)
    return False


def _is_negated(folded: _Folded, start: int, since: int) -> bool:
    """A negation at most _NEAR characters before, in the same clause and not before `since`, that is no question such as 能不能."""
    least = max(since, folded.clause(start), start - _NEAR - _LONGEST_NEGATOR)
    left = folded.text[least:start]
    for word in _NEGATORS:
        at = left.rfind(word)
        if at < 0 or len(left) - at - len(word) > (_NEAR if len(word) > 1 else 3):
            continue
        if not word.isascii() and _is_question(folded.text[max(0, least + at - 1) : least + at + len(word) + 1]):
            continue
        return True
    return False


def _is_question(text: str) -> bool:
    """能不能, 会不会, 有没有, 是不是: the same character on both sides."""
    return any(text[place] in "不没" and text[place - 1] == text[place + 1] for place in range(1, len(text) - 1))


__all__ = ["GAP", "PASSED", "STAGES", "Pattern", "Rule", "Rules", "Verdict", "check", "delivered", "delivered_text", "fold", "parse"]

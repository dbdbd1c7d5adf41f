"""How well identifiers are found before a question is sealed: recall and precision by type on texts written apart from the code.

A labelled stretch counts as found when one replaced stretch of its type covers it whole (recall), and as covered when no letter or
digit of it would have left, whatever the type. A replaced stretch counts as right when it touches a labelled one of its type
(precision). Set, and these definitions: tests/vectors/redaction-set.jsonl.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from workbench_inference.documents import synthetic
from workbench_inference.policy.redaction import KINDS, KnownNames, Pairs, Tile, redact, scan

SETS = Path(__file__).parents[1] / "vectors"
THIRD = "redaction-third.jsonl"
TYPES = tuple(KINDS)
SEED = 20261122
SURNAMES = (
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘于蒋蔡余杜叶程苏魏吕丁任沈姚卢姜崔钟谭陆汪范金石廖贾夏韦付方白邹孟熊秦邱江尹薛闫段雷侯龙史陶黎贺顾毛郝龚邵万钱严覃武戴莫孔向汤"
)
GIVEN = (
    "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超霞平刚桂英华玉兰建国文志海燕红波斌宇浩凯健俊鑫帆雪梅琳晶欣倩颖婷婕慧莹璐玲芬云莲真环香月莺媛瑞凡佳嘉琼勤珍贞秋珊莎锦黛青怡安康宁乐天成同学新春生元全东西南北山水林风雨期一中正清远长和光辉力永"
    "兴利达富贵昌盛德仁义礼智信诚思源博书翰墨松柏竹菊业务时间点位置"
)


@dataclass
class Score:
    """Counts by type. left: labelled stretches that were not found; strange: replaced ones that touch no label of their type."""

    labelled: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    covered: Counter[str] = field(default_factory=Counter)
    replaced: Counter[str] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)
    left: list[tuple[str, str, str]] = field(default_factory=list)
    strange: list[tuple[str, str, str]] = field(default_factory=list)
    characters: int = 0
    steps: int = 0
    lines: int = 0

    def rates(self) -> dict[str, dict[str, Any]]:
        """By type and for all: labelled, recall, covered, precision."""
        out: dict[str, dict[str, Any]] = {}
        for kind in (*TYPES, "all"):
            of = TYPES if kind == "all" else (kind,)
            labelled, replaced = sum(self.labelled[one] for one in of), sum(self.replaced[one] for one in of)
            out[kind] = {
                "labelled": labelled,
                "recall": round(sum(self.found[one] for one in of) / labelled, 4) if labelled else None,
                "covered": round(sum(self.covered[one] for one in of) / labelled, 4) if labelled else None,
                "replaced": replaced,
                "precision": round(sum(self.right[one] for one in of) / replaced, 4) if replaced else None,
            }
        return out


def lines(name: str = "redaction-set.jsonl") -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The header, and the lines."""
    head, *rest = (json.loads(one) for one in (SETS / name).read_text("utf-8").splitlines() if one.strip())
    return head, rest


def known(head: dict[str, Any]) -> KnownNames:
    """The customers that a header names."""
    return KnownNames.of(head["names"], key=b"the bench's own key")


@lru_cache(maxsize=2)
def _texts(seed: int) -> tuple[str, ...]:
    return tuple(one.text for one in synthetic.make(seed).documents)


@lru_cache(maxsize=1)
def pairs() -> Pairs:
    """Of a corpus, as an index counts them."""
    return Pairs.of(_texts(SEED))


def every_name() -> list[str]:
    """Every common surname with every character that is common in given names."""
    return [surname + given for surname in SURNAMES for given in dict.fromkeys(GIVEN)]


def judge(some: list[dict[str, Any]], names: KnownNames, score: Score | None = None) -> Score:
    """Redact every line and compare; into a score that is there, or a new one."""
    score = score or Score()
    for one in some:
        text, spans = one["text"], [(start, end, kind) for start, end, kind in one["spans"]]
        made = redact(text, names)
        score.lines += 1
        score.characters += len(text)
        score.steps += made.steps
        covered = bytearray(len(text))
        for tile in made.tiles:
            covered[tile.start : tile.end] = b"\x01" * (tile.end - tile.start)
            score.replaced[tile.kind] += 1
            if any(tile.kind == kind and tile.start < end and start < tile.end for start, end, kind in spans):
                score.right[tile.kind] += 1
            else:
                score.strange.append((tile.kind, text[tile.start : tile.end], text))
        for start, end, kind in spans:
            score.labelled[kind] += 1
            score.covered[kind] += all(covered[place] for place in range(start, end) if text[place].isalnum())
            if _is_found(made.tiles, start, end, kind):
                score.found[kind] += 1
            else:
                score.left.append((kind, text[start:end], text))
    return score


def _is_found(tiles: tuple[Tile, ...], start: int, end: int, kind: str) -> bool:
    return any(one.kind == kind and one.start <= start and end <= one.end for one in tiles)


def judge_third() -> Score:
    """The third set: each sentence with a list of its own, beside what a corpus says of pairs."""
    score = Score()
    for one in lines(THIRD)[1]:
        judge([one], KnownNames.of(one["names"], key=b"the bench's own key").beside(pairs()), score)
    return score


def measure() -> dict[str, Any]:
    """Rates by type, and what a character costs."""
    head, some = lines()
    names = known(head)
    began = time.process_time()
    score = judge(some, names)
    spent = time.process_time() - began
    strange = {}
    for name, some_pairs in (("names alone", Pairs()), ("beside the corpus", pairs())):
        long = KnownNames.of(every_name(), key=b"the bench's own key").beside(some_pairs)
        strange[name] = sum(len([one for one in scan(each, long) if one[0] == "name"]) for each in _texts(SEED + 1))
    return {
        "long_list": {"names": len(every_name()), "characters": sum(map(len, _texts(SEED + 1))), "taken_for_names": strange},
        "third": judge_third().rates(), "lines": score.lines, "characters": score.characters, "rates": score.rates(), "steps_per_character": round(score.steps / score.characters, 1),
        "microseconds_per_character": round(spent * 1e6 / score.characters, 2),
    }  # fmt: skip

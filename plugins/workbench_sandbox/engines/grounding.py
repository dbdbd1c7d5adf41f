"""Does a sentence say only what a cited source says? Every number and every name of it must stand there. Pure.

For the drafts of a generator: a sentence that fails is dropped and counted, never repaired. It errs on the side of dropping.
What it promises is about numbers and names; whether a sentence puts them together rightly, it cannot know.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from workbench_sandbox.corpus.text import HAN, fold, sentences, terms
from workbench_sandbox.engines.quantities import Value, carries, scan

MARK = re.compile(r"\[([0-9]{1,3})\]")
"""A citation mark in an answer."""

_SUPPORT = 0.5
_FOREIGN = 4
_QUOTED = re.compile(r"《([^《》]{1,80})》|“([^“”]{1,80})”|「([^「」]{1,80})」|\"([^\"\n]{2,80})\"")
_LATIN = re.compile(r"[A-Za-z][A-Za-z0-9&'’.\-]*")
_BODY = (
    "证券投资基金|资产管理计划|有限责任公司|股份有限公司|有限公司|联接基金|交易型开放式|基金公司|证券公司|交易所|研究院|研究所|"
    "委员会|协会|基金|公司|集团|银行|证券|股份|资本|信托|保险|资管|科技|混合|债券|股票|指数|货币|理财|转债|ETF|LOF|FOF|REITs?"
)
_RUN = re.compile(rf"[{HAN}A-Za-z0-9（）()·]+")
_BODY_END = re.compile(rf"(?:{_BODY})[A-Za-z]?", re.IGNORECASE)
_JOINTS = re.compile(
    "目前|根据|其中|以及|由于|关于|按照|截至|截止|显示|表示|公告|披露|称|认为|属于|担任|管理|托管|发行|投资|持有|"
    "该|本|此|这|那|只|的|由|是|和|与|及|在|对|将|从|向|为|于|以|被|把|给|让|等|都|也|但|而|或|比|较|均|有|其|至"
)
_PERSON = re.compile(rf"(?:基金经理|总经理|董事长|经理|总裁|主席|总监|分析师|由|是|为)(?:是|为)?\s*([{HAN}]{{2,4}})")
_PERSON_BEFORE = re.compile(rf"([{HAN}]{{2,4}})(?:先生|女士|老师|经理|总监|董事长)")
_SURNAMES = frozenset(
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘于蒋蔡余杜叶程苏魏吕丁任沈姚卢姜崔钟谭陆"
    "汪范金石廖贾夏韦付方白邹孟熊秦邱江尹薛闫段雷侯龙史陶黎贺顾毛郝龚邵万钱严覃武戴莫孔向汤温康施洪季庞殷章鲁葛裴"
)
_TERMS = frozenset(("nav", "cny", "rmb", "usd", "hkd"))
"""Capital letters that name nobody."""
_PLAIN_ENGLISH = frozenset(
    re.findall(
        "[a-z]+",
        "the a an this that these those it its as at in on of for to from by with and or but is are was were has have had be been "
        "fund funds net asset value fee fees rate risk class manager company custodian date according total annual since both "
        "no not yes source sources document documents according there their they each",
    )
)


@dataclass(frozen=True, slots=True)
class Grounding:
    """What the cited sources of an answer say, ready to be compared with sentences.

    texts: text and title of each cited document. question: its words are no evidence, but repeating them is no claim either.
    """

    texts: tuple[str, ...] = field(repr=False)
    question: str = field(default="", repr=False)
    _folded: str = field(init=False, repr=False, default="")
    _values: set[tuple[str, Value]] = field(init=False, repr=False, default_factory=set)
    _pairs: frozenset[str] = field(init=False, repr=False, default=frozenset())
    _words: frozenset[str] = field(init=False, repr=False, default=frozenset())

    def __post_init__(self) -> None:
        folded = "\n".join(_squeeze(text) for text in self.texts)
        known: set[tuple[str, Value]] = set()
        for text in self.texts:
            known |= {(each.kind, each.value) for each in scan(text)}
        pairs = {pair for text in (*self.texts, self.question) for pair in terms(text)}
        words = {word for text in self.texts for word in re.findall(r"[a-z][a-z0-9&'’\-]*", fold(text))}
        object.__setattr__(self, "_folded", folded)
        object.__setattr__(self, "_values", known)
        object.__setattr__(self, "_pairs", frozenset(pairs))
        object.__setattr__(self, "_words", frozenset(words))

    def reason(self, sentence: str) -> str:
        """"" where every number and name of the sentence stands in a source, else "number", "name" or "no-source"."""
        plain = MARK.sub("", sentence)
        if self.missing_number(plain):
            return "number"
        if self.missing_name(plain):
            return "name"
        return "" if self._supported(plain) else "no-source"

    def missing_number(self, sentence: str) -> str:
        """The first number, share, date or code that no source has, as it is written; "" if there is none."""
        plain = MARK.sub("", sentence)
        for quantity in scan(plain):
            if not carries(self._values, quantity):
                return plain[quantity.start : quantity.end]
        return ""

    def missing_name(self, sentence: str) -> str:
        """The first name that no source has; "" if there is none."""
        for name in _names(sentence):
            if _squeeze(name) not in self._folded:
                return name
        for word, first in _latin(sentence):
            if fold(word) in self._words or fold(word) in _TERMS or (first and fold(word) in _PLAIN_ENGLISH):
                continue
            return word
        return ""

    def _supported(self, sentence: str) -> bool:
        """Most of its words are the sources' or the question's, and no stretch of four characters is wholly new."""
        run = seen = known = 0
        for quantity in reversed(scan(sentence)):  # they have been looked at
            sentence = f"{sentence[: quantity.start]} {sentence[quantity.end :]}"
        for term in terms(sentence):
            seen += 1
            if term in self._pairs or term in _PLAIN_ENGLISH:
                known += 1
                run = 0
            else:
                run += 1
                if run >= _FOREIGN and term[0] >= "\u3400":
                    return False
        return seen == 0 or known >= seen * _SUPPORT


def keep_grounded(answer: str, grounding: Grounding) -> tuple[str, dict[str, int]]:
    """The sentences of a draft that hold, as they stood, and how many were dropped for which reason."""
    kept: list[str] = []
    dropped: dict[str, int] = {}
    for start, end in sentences(answer):
        sentence = answer[start:end]
        reason = grounding.reason(sentence)
        if reason:
            dropped[reason] = dropped.get(reason, 0) + 1
        else:
            kept.append(sentence)
    return "".join(kept), dropped


def cited(texts: Iterable[tuple[str, str]], question: str = "") -> Grounding:
    """Of title and text of each cited document."""
    return Grounding(tuple(part for title, text in texts for part in (title, text)), question)


def _names(sentence: str) -> Iterable[str]:
    for match in _QUOTED.finditer(sentence):
        yield next(part for part in match.groups() if part)
    for match in _RUN.finditer(sentence):
        yield from _bodies(match.group())
    for pattern in (_PERSON, _PERSON_BEFORE):
        for match in pattern.finditer(sentence):
            yield from _person(match.group(1), before=pattern is _PERSON_BEFORE)


def _bodies(run: str) -> Iterable[str]:
    """Names of funds and firms in a run of letters: from the last joint before it to the end of its body word."""
    start = 0
    pieces: list[str] = []
    for joint in _JOINTS.finditer(run):
        pieces.append(run[start : joint.start()])
        start = joint.end()
    pieces.append(run[start:])
    for piece in pieces:
        ends = [match.end() for match in _BODY_END.finditer(piece)]
        if ends:
            name = piece[: ends[-1]]
            if not re.fullmatch(rf"(?:{_BODY}|型)+[A-Za-z]?", name):
                yield name


def _person(run: str, *, before: bool) -> Iterable[str]:
    """A person in two to four characters beside a title: a surname with one or two more."""
    if before:
        for size in (3, 2):
            if len(run) >= size and run[-size] in _SURNAMES:
                yield run[-size:]
                return
    elif run[0] in _SURNAMES:
        yield run[:2]  # the shorter reading: if not even that stands in a source, the name does not


def _latin(sentence: str) -> Sequence[tuple[str, bool]]:
    """Latin words that are names by their capitals, and whether one begins the sentence."""
    found = []
    first = True
    for match in _LATIN.finditer(sentence):
        word = match.group().rstrip(".'’-")
        if any(character.isupper() for character in word):
            found.append((word, first))
        first = False
    return found


def _squeeze(text: str) -> str:
    return re.sub(r"\s+", "", fold(text)) if not text.isascii() else re.sub(r"\s+", " ", fold(text))

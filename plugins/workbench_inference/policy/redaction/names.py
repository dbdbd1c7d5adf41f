"""Names and numbers of customers that stand on a list, found by digests in memory. Pure; cost: length of the text times the
number of different lengths on the list (bounded by MOST_LENGTHS), and a look at the words around each hit.

A list holds 64-bit keyed digests only, so that a picture of the memory shows no names, and no repr does. Names that are words, or
that stand in one by chance (`基金明年`, `提高明显`, `小李明天`), count only where the words around them say that a person is meant.
"""

from __future__ import annotations

import hashlib
import unicodedata
from array import array
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from workbench_inference.policy.redaction.folding import Meter
from workbench_inference.policy.redaction.numbers import Found
from workbench_inference.policy.redaction.seams import Pairs
from workbench_inference.policy.redaction.words import BEGINS, ENDS_IN_SURNAME, GIVEN_ONLY, LONGER, NOT_SO, TIES, WORDS

LONGEST_NAME: Final = 40
MOST_LENGTHS: Final = 40
_DOTS: Final = "·•・‧∙⋅.．"

_BEFORE: Final = (
    "客户", "姓名", "名字", "名叫", "户名", "叫", "叫做", "我是", "他是", "她是", "本人", "联系人", "收件人", "收款人", "付款人", "申请人", "经办人", "委托人", "受益人", "投资者", "投资人", "持有人", "开户人", "户主",
    "股东", "先生", "女士", "小姐", "太太", "老师", "经理", "总", "顾问", "姐", "哥", "阿姨", "叔叔", "妈妈", "爸爸", "母亲", "父亲", "儿子", "女儿", "妻子", "丈夫", "爱人", "配偶", "家属", "朋友", "同事", "亲友", "给", "帮", "替", "跟",
    "找", "请", "由", "是", "为", "把", "让", "和", "与", "及", "同", "对", "问", "约", "陪", "告诉", "通知", "联系", "回访", "拜访", "服务", "名为", "签名", "署名", "账户", "客户名", "customer", "client", "name", "mr", "mrs", "ms", "miss", "dear",
)  # fmt: skip
_AFTER: Final = (
    "先生", "女士", "小姐", "太太", "老师", "同志", "本人", "客户", "同学", "经理", "医生", "教授", "董事", "老板", "阿姨", "叔叔", "大姐", "大哥", "总", "姐", "哥", "的账户", "的帐户", "的账号", "的手机", "的电话", "的身份证", "的卡", "的银行卡", "的持仓",
    "的资金", "的风险", "的住址", "的地址", "的邮箱", "的基金", "的产品", "的订单", "的合同", "来电", "来访", "来信", "来函", "致电", "打来", "电话", "手机", "身份证", "咨询", "询问", "反映", "投诉", "申请", "办理", "购买", "申购", "赎回", "认购", "持有", "想", "要", "说", "问",
    "表示", "希望", "要求", "今年", "住", "在", "于", "已", "是", "和", "与", "、", "(", "，", ",", "。", ":", "：", "等", "名下", "女", "男", "发的", "发了", "发短信", "发微信", "发邮件", "发消息", "打电话", "打了", "寄", "回电", "回话", "留言",
)  # fmt: skip
_ABOUT: Final = ("回访", "联系", "通知", "告诉", "致电", "拜访", "提醒", "转告", "邀请", "陪同", "来自", "感谢", "介绍人", "代表", "约见", "约了", "见了", "答复", "回复", "询问", "同意")
_SOMEBODY: Final = ("她", "他", "男", "女", "本人", "手机", "电话", "身份证", "卡号", "邮箱", "住", "账号", "账户", "先生", "女士", "来电", "名下", "签字", "签名", "岁", "投诉")
_JOINS: Final = frozenset("、和与及,，/")
_MARKS: Final = " \t\n,，、。:：;；()（）「」“”\"'《》【】[]|/"
_STRONG_BEFORE: Final = ("客户", "姓名", "名字", "名叫", "户名", "叫", "我是", "联系人", "收件人", "收款人", "投资者", "投资人", "持有人", "委托人", "受益人", "经办人", "申请人", "客户名", "同名客户", "customer", "client", "name", "mr", "mrs", "ms", "miss", "dear", "mr.", "ms.", "mrs.")
_STRONG_AFTER: Final = ("先生", "女士", "小姐", "太太", "老师", "同志", "本人", "客户", "阿姨", "叔叔", "的账户", "的帐户", "的账号", "的手机", "的电话", "的身份证", "的银行卡", "的持仓", "的住址", "的地址", "的邮箱", "的定投", "的扣款", "的孩子", "的名字", "的家属", "的生日", "来电", "来访", "致电", "打来", "名下", "(")
_TIMES: Final = ("上午", "下午", "中午", "早上", "晚上", "昨天", "昨晚", "今天", "今早", "前天", "刚才", "刚刚", "上周", "周一", "周二", "周三", "周四", "周五")
_DONE: Final = ("来过", "来了", "来电", "来签", "打来", "打过", "打了", "问", "说", "办", "签", "赎回了", "买了", "走了")


@dataclass(frozen=True, slots=True)
class KnownNames:
    """Names and customer numbers of this institution's lists, as 64-bit digests under a key of this process. Its repr shows a count."""

    _digests: array[int] = field(repr=False)
    _accounts: array[int] = field(repr=False)
    _firsts: frozenset[str] = field(repr=False)
    _lengths: tuple[int, ...] = field(repr=False)
    _key: bytes = field(repr=False)
    count: int = 0
    _pairs: Pairs = field(default_factory=Pairs, repr=False)

    @classmethod
    def of(cls, names: Iterable[str], *, key: bytes, accounts: Iterable[str] = ()) -> KnownNames:
        """key: 16 to 64 random bytes of this process. Names of one character and of more than LONGEST_NAME are left out: the one
        would be found everywhere, the other is none. Customer numbers of fewer than five characters are left out too."""
        digests: set[int] = set()
        firsts: set[str] = set()
        lengths: set[int] = set()
        for name in names:
            spelling = spell(name)
            if not 2 <= len(spelling) <= LONGEST_NAME or not any(one.isalpha() for one in spelling):
                continue
            digests.add(_digest(key, b"n", spelling))
            firsts.add(spelling[0])
            lengths.add(len(spelling))
        numbers = {one.strip().lower() for one in accounts}
        known = {_digest(key, b"a", one) for one in numbers if len(one) >= 5 and any(c.isdigit() for c in one)}
        return cls(array("Q", sorted(digests)), array("Q", sorted(known)), frozenset(firsts), tuple(sorted(lengths, reverse=True)[:MOST_LENGTHS]), key, len(digests))

    def beside(self, pairs: Pairs) -> KnownNames:
        """The same, with what the institution's documents say of pairs of characters."""
        return replace(self, _pairs=pairs)

    def is_seam(self, lower: str, start: int, end: int) -> bool:
        return self._pairs.is_seam(lower, start, end)

    def has_name(self, spelling: str) -> bool:
        return _stands_in(self._digests, _digest(self._key, b"n", spelling))

    def has_account(self, token: str) -> bool:
        return bool(self._accounts) and _stands_in(self._accounts, _digest(self._key, b"a", token))

    @property
    def firsts(self) -> frozenset[str]:
        return self._firsts

    @property
    def lengths(self) -> tuple[int, ...]:
        """Of the names, longest first."""
        return self._lengths


def spell(name: str) -> str:
    """One spelling of a name: compatibility forms folded, lower case, Chinese names without blanks, one kind of middle dot."""
    if all(map(_is_han, name)):
        return name  # as nearly every name of a list is written
    folded = unicodedata.normalize("NFKC", name).strip().lower()
    folded = "".join("·" if one in _DOTS and not folded.isascii() else one for one in folded)
    return " ".join(folded.split()) if folded.isascii() else "".join(folded.split())


def find(lower: str, known: KnownNames, meter: Meter) -> list[Found]:
    """Names, then customer numbers; the longest at each place."""
    if not known.count:
        return accounts(lower, known, meter)
    return [*_names(lower, known, meter), *accounts(lower, known, meter)]


def _names(lower: str, known: KnownNames, meter: Meter) -> list[Found]:
    """Listed names that people are called by here; one that is a word counts beside another name, as in 薛平、雷鸣."""
    found: list[Found] = []
    doubtful: list[Found] = []
    place = 0
    while place < len(lower):
        meter.count += 1
        one = _name_at(lower, place, known, meter) if lower[place] in known.firsts else None
        if one is None:
            place += 1
            continue
        (found if one.tier else doubtful).append(one)
        place = one.end if one.tier else place + 1
    ends, starts = {one.end for one in found}, {one.start for one in found}
    for one in doubtful:
        meter.count += 1
        if (lower[one.start - 1 : one.start] in _JOINS and one.start - 1 in ends) or (lower[one.end : one.end + 1] in _JOINS and one.end + 1 in starts):
            found.append(one)
            ends.add(one.end)
    return found


def _name_at(lower: str, place: int, known: KnownNames, meter: Meter) -> Found | None:
    """The longest listed name here; tier 0 where it is a word that nothing says to be a person."""
    spelled, ends = _compact(lower, place, known.lengths[0], meter)
    for length in known.lengths:
        meter.count += 1
        if length > len(spelled):
            continue
        spelling = spelled[:length]
        if not known.has_name(spelling):
            continue
        end = ends[length - 1]
        if _is_person(lower, place, end, spelling, known, meter):
            return Found("name", place, end, spelling, 5)
        if spelling in WORDS and not lower.startswith(LONGER, end):
            return Found("name", place, end, spelling, 0)
    return None


def _compact(lower: str, place: int, longest: int, meter: Meter) -> tuple[str, list[int]]:
    """Characters from `place` as `spell` writes them, and the end of each in the text. Chinese ones may stand apart by at most two
    blanks; Latin ones keep one blank."""
    out: list[str] = []
    ends: list[int] = []
    is_latin = lower[place].isascii()
    while place < len(lower) and len(out) < longest:
        meter.count += 1
        one = lower[place]
        if one.isspace():
            run = place
            while run < len(lower) and run < place + 3 and lower[run].isspace():
                run += 1
            if is_latin and out and out[-1] != " ":
                out.append(" ")
                ends.append(run)
            elif run - place > 2:
                break
            place = run
            continue
        out.append("·" if one in _DOTS and not is_latin else one)
        place += 1
        ends.append(place)
    return "".join(out), ends


def _is_person(lower: str, start: int, end: int, spelling: str, known: KnownNames, meter: Meter) -> bool:
    left, right = lower[max(0, start - 8) : start], lower[end : end + 8]
    meter.count += len(_BEFORE) + len(_AFTER)
    if spelling.isascii():
        return not (left[-1:].isascii() and left[-1:].isalnum()) and not (right[:1].isascii() and right[:1].isalnum())
    bare = left.rstrip(" :：\"'“「『(（[【,，、")
    behind = right.lstrip(" ")
    if bare.endswith(_STRONG_BEFORE) or (behind.startswith(_STRONG_AFTER) and not (spelling in WORDS and behind.startswith("客户"))):
        return True  # 万一客户 is no customer called so
    is_spaced = any(one.isspace() for one in lower[start:end])
    if is_spaced:
        is_joined = bool(left) and _is_han(left[-1])
        if (is_joined and not bare.endswith(_BEFORE)) or (right and _is_han(right[0]) and not right.startswith(_AFTER) and right[0] != "的"):
            return False
    if len(spelling) > 3:
        return True
    if len(spelling) == 2 and not is_spaced and known.is_seam(lower, start, end):
        return False
    if left[-1:] + spelling[0] in ENDS_IN_SURNAME and not left.endswith(NOT_SO):
        return False
    if left[-1:] in ("小", "老", "姓", "阿") and spelling[-1] + right[:1] in BEGINS:
        return False
    if spelling[-1] + right[:1] in TIES:
        return False
    if right[:1] in GIVEN_ONLY and len(spelling) == 2:
        return False
    if right[:1] == spelling[-1] and len(spelling) == 2 and not right.startswith(_AFTER) and right[:2] not in BEGINS:
        return False
    if spelling in WORDS:
        return not right.startswith(LONGER) and ((bare.endswith(_BEFORE) and right.lstrip(" ").startswith(_AFTER)) or bare.endswith(_ABOUT) or _is_about_somebody(lower, start, end))
    return True


def _is_about_somebody(lower: str, start: int, end: int) -> bool:
    """Whether what stands right behind, in the same sentence, or on both sides speaks of a person."""
    behind = lower[end : end + 14]
    for stop in "。！？!?；;\n":
        behind = behind.split(stop)[0]
    is_apart = (not start or lower[start - 1] in _MARKS) and (end == len(lower) or lower[end] in _MARKS)
    number = lower[end : end + 14].lstrip(_MARKS)[:6]
    has_come = (not start or lower[start - 1] in _MARKS) and behind.startswith(_TIMES) and any(one in behind[:8] for one in _DONE)
    return has_come or any(one in behind for one in _SOMEBODY) or (is_apart and len(number) == 6 and number.isdigit())


def accounts(lower: str, known: KnownNames, meter: Meter) -> list[Found]:
    """Customer numbers of the lists, as whole words of ASCII letters, digits, dashes and underscores."""
    found: list[Found] = []
    place = 0
    while place < len(lower):
        meter.count += 1
        if not _is_word(lower[place]):
            place += 1
            continue
        end = place
        while end < len(lower) and _is_word(lower[end]):
            end += 1
        meter.count += end - place
        word = lower[place:end].strip("-_")
        if 5 <= len(word) <= 64 and known.has_account(word):
            start = lower.index(word, place, end)
            found.append(Found("account", start, start + len(word), word.upper(), 8))
        place = end
    return found


def _is_word(character: str) -> bool:
    return character.isascii() and (character.isalnum() or character in "-_")


def _is_han(character: str) -> bool:
    return "\u4e00" <= character <= "\u9fff"


def _stands_in(digests: array[int], one: int) -> bool:
    """Eight bytes a name: a list of millions stays small, and is looked up in twenty steps."""
    place = bisect_left(digests, one)
    return place < len(digests) and digests[place] == one


def _digest(key: bytes, what: bytes, text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8, key=key, person=what).digest(), "big")


__all__ = ["KnownNames", "find", "spell"]

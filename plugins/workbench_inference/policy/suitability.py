"""No product above the client's class; no promise, no forecast. Pure. Requirement J18; order 130 of the securities regulator, articles 18
to 22 (read in an excerpt), under which a class is a hard limit here: R at most C, and there is no override.

Which words make a promise or a forecast is said in `rules.json`; this module adds what words alone cannot say: classes.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from workbench.domain.documents import SourceDocument
from workbench.domain.identifiers import RISK_LEVELS
from workbench_inference.policy import content, leaks
from workbench_inference.policy.content import PASSED, Rules, Verdict
from workbench_inference.policy.leaks import LeakList
from workbench_inference.policy.scenarios import Scenario

PRODUCT_RISKS: Final = ("R1", "R2", "R3", "R4", "R5")
RISK_FIELD: Final = "risk_class"
"""Name of the field of a document that states a product's risk class."""

_CLASS_WORDS: Final = {"保守型": "C1", "谨慎型": "C2", "稳健型": "C3", "积极型": "C4", "进取型": "C5", "激进型": "C5"}
_RISK_WORDS: Final = {"中低风险": "R2", "中高风险": "R4", "低风险": "R1", "中风险": "R3", "中等风险": "R3", "高风险": "R5"}
_DEALS: Final = ("买", "卖", "推荐", "推给", "配置", "购", "持有", "投", "安排", "适合", "让他", "让她", "给他", "给她", "buy", "sell", "recommend", "offer", "subscribe", "invest")
_ASKED: Final = ("规定", "为什么不能", "是否可以", "能否", "可以吗", "能不能", "可不可以", "行不行", "匹配吗", "适合吗", "符合吗", "警示", "要求", "管理办法", "allowed", "may a", "can a", "is it suitable", "rule")


@dataclass(frozen=True, slots=True)
class Product:
    """A product that an answer rests on. risk: R1 to R5, "" where its documents do not say."""

    document: str
    risk: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What an answer says, as far as rules look at it. cited: the cited characters of the sources; products: what they are about."""

    text: str = field(repr=False)
    cited: tuple[str, ...] = field(default=(), repr=False)
    products: tuple[Product, ...] = ()


def products_of(documents: Iterable[SourceDocument], told: Mapping[str, str] | None = None) -> tuple[Product, ...]:
    """Products of cited documents: each fund, and whatever states a risk class. told: document -> class that the answer itself states.

    A class counts as the document's own field states it, and what the answer read in the text only raises it: an article may say
    R1 of anything. A fund whose documents do not state its class counts as unknown; of two classes the higher one counts.
    """
    found: dict[str, str] = {}
    for one in documents:
        stated = risk_of(one.fields[RISK_FIELD].value) if RISK_FIELD in one.fields else ""
        read = risk_of((told or {}).get(one.document, ""))
        if stated or (one.kind == "fund" and read):
            found[one.document] = max(found.get(one.document, ""), stated, read)
        elif one.kind == "fund" or read:
            found.setdefault(one.document, "")
    return tuple(Product(document, risk) for document, risk in sorted(found.items()))


def risk_of(text: str) -> str:
    """R1 to R5 from `R2`, `中低风险（R2）`, `R4级`, `中高风险`; "" for none, the highest of several."""
    folded = unicodedata.normalize("NFKC", text).upper()
    named = [one for one in PRODUCT_RISKS if _stands_alone(folded, one)]
    if named:
        return named[-1]
    for word, risk in _RISK_WORDS.items():
        if word in folded:
            return risk
    return ""


def class_in(text: str) -> str:
    """The lowest client class that a text names, such as `C2` or `稳健型`, "" for none."""
    folded = unicodedata.normalize("NFKC", text).upper()
    named = [one for one in RISK_LEVELS if _stands_alone(folded, one)] + [level for word, level in _CLASS_WORDS.items() if word + "客户" in folded or word + "投资者" in folded or "是" + word in folded]
    return min(named, default="")


def stricter(first: str, second: str) -> str:
    """The lower of two classes; an empty one does not count."""
    return min((one for one in (first, second) if one), default="")


def is_above(risk: str, client_class: str) -> bool:
    """Whether a product of this risk is above a client of this class."""
    return int(risk[1]) > int(client_class[1])


def check_prompt(text: str, scenario: Scenario, client_class: str, *, rules: Rules | None = None, channel: str = "internal") -> Verdict:
    """Whether a question may go: rules of content, then classes. client_class: C1 to C5, or "" where nobody was named."""
    verdict = content.check(text, rules or content.delivered(), stage="prompt", scenario=scenario.name, channel=channel)
    if not verdict.may_pass:
        return verdict
    known = stricter(client_class, class_in(text))
    folded = unicodedata.normalize("NFKC", text).lower()
    wanted = [one for one in PRODUCT_RISKS if _stands_alone(folded.upper(), one)]
    is_deal = any(one in folded for one in _DEALS) and not any(one in folded for one in _ASKED)
    if known and wanted and is_deal and is_above(wanted[-1], known):
        return _above(known, wanted[-1])
    return PASSED


def check_answer(
    answer: Answer, scenario: Scenario, client_class: str, secrets: LeakList, *, rules: Rules | None = None, channel: str = "internal", question: str = ""
) -> Verdict:
    """Whether an answer may be shown: leaks, rules of content, then classes. question: a class named in it counts too."""
    leak = leaks.scan(answer.text, secrets, cited=answer.cited, is_strict=scenario.name == "running")
    if not leak.may_pass:
        return leak
    verdict = content.check(answer.text, rules or content.delivered(), stage="answer", scenario=scenario.name, channel=channel)
    if not verdict.may_pass:
        return verdict
    if scenario.asks_client_class == "never" and channel == "internal":
        return PASSED
    return judge_products(answer.products, stricter(client_class, class_in(question)), must_know=channel == "client" or scenario.asks_client_class == "always")


def judge_products(products: Sequence[Product], client_class: str, *, must_know: bool) -> Verdict:
    """No product above the class; one whose class nobody states is above every class but the highest. must_know: without a client's
    class no product may be named at all."""
    if not products:
        return PASSED
    if not client_class:
        if not must_know:
            return PASSED
        return Verdict("client-class", "不知道客户的风险承受能力，因此不显示产品", "the client's risk class is not known, so no product is shown", "CLIENT_CLASS_MISSING")
    for one in products:
        if not one.risk:
            if client_class != RISK_LEVELS[-1]:
                return Verdict(
                    "risk-unknown", f"资料没有写明产品的风险等级，不能确认它不高于客户的 {client_class}，因此不显示",
                    f"the sources do not state the product's risk class, so nobody can say that it is not above the client's {client_class}; it is not shown", "ABOVE_CLASS",
                )  # fmt: skip
        elif is_above(one.risk, client_class):
            return _above(client_class, one.risk)
    return PASSED


def _above(client_class: str, risk: str) -> Verdict:
    return Verdict(
        "above-class", f"产品风险等级 {risk} 高于客户的 {client_class}，不能推荐或比较：换风险等级不高于 R{client_class[1]} 的产品",
        f"the product's risk class {risk} is above the client's {client_class}: it is neither recommended nor compared. Ask about products of at most R{client_class[1]}", "ABOVE_CLASS",
    )  # fmt: skip


def _stands_alone(folded: str, code: str) -> bool:
    """`R4` as a word of its own: not in `PR4`, `R45` or `CR4B`."""
    place = folded.find(code)
    while place >= 0:
        left, right = folded[place - 1 : place], folded[place + len(code) : place + len(code) + 1]
        if not (left.isascii() and left.isalnum()) and not (right.isascii() and right.isalnum()):
            return True
        place = folded.find(code, place + 1)
    return False


__all__ = ["PRODUCT_RISKS", "RISK_FIELD", "Answer", "Product", "check_answer", "check_prompt", "class_in", "is_above", "judge_products", "products_of", "risk_of", "stricter"]

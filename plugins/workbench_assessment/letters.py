"""Breach notices as documents: the three items of PIPL 57, zh and en, marked as drafts. Document: docs/assessment.md section 4. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workbench.errors import Refused

LEAST_CHARACTERS = 5
MARK = ("草稿：须由有法律训练的人员审核后方可发出", "DRAFT: to be reviewed by a person with legal training before it is sent")
DRILL_MARK = ("演练：不是真实事件，不得发出", "DRILL: not a real incident, not to be sent")
ITEMS: Mapping[str, tuple[str, str]] = {
    "data": ("一、发生或可能发生泄露、篡改、丢失的个人信息种类、原因和可能造成的危害", "1. What personal data leaked, was altered or lost, or may have been, why, and what harm may come"),
    "remedy": ("二、已采取的补救措施和个人可以采取的减轻危害的措施", "2. What was done, and what persons can do to lessen the harm"),
    "contact": ("三、个人信息处理者的联系方式", "3. How to reach the handler"),
}


COLUMN_WORDS: Mapping[str, tuple[str, str]] = {
    "customer_id": ("客户号", "customer number"), "phone": ("手机号", "phone number"), "id_no": ("身份证号", "identity number"),
    "name": ("姓名", "name"), "risk_level": ("风险等级", "risk level"), "grant_until_ms": ("授权期限", "end of the consent"),
}  # fmt: skip
"""Words for the columns every list has; a tag keeps its own name."""


@dataclass(frozen=True, slots=True)
class Items:
    """What PIPL 57 demands, in both languages each. categories: kinds of data found affected, named by the node."""

    categories: tuple[str, ...]
    cause: tuple[str, str]
    harm: tuple[str, str]
    done: tuple[str, str]
    advice: tuple[str, str]
    contact: tuple[str, str]


def require_complete(items: Items) -> None:
    """Refused BREACH_ITEMS names each of the three items that is empty in either language."""
    lacking = []
    for item, parts in (
        ("data", (items.cause, items.harm)), ("remedy", (items.done, items.advice)), ("contact", (items.contact,)),
    ):  # fmt: skip
        if any(len(text.strip()) < LEAST_CHARACTERS for pair in parts for text in pair) or (item == "data" and not items.categories):
            lacking.append(ITEMS[item])
    if lacking:
        raise Refused(
            f"泄露通知缺少（个人信息保护法第五十七条）：{'；'.join(zh for zh, _ in lacking)}",
            f"the breach notice lacks (PIPL 57): {'; '.join(en for _, en in lacking)}",
            code="BREACH_ITEMS",
        )


def to_authority(
    items: Items, *, party: tuple[str, str], breach: str, day: str, persons: int, places: Sequence[tuple[str, str]], tells: bool, reason: str, drill: bool
) -> bytes:
    """The notice to the authority. places: what was affected, in words; tells: whether persons are told, with the reason."""
    zh = [
        *_head(0, drill), f"关于个人信息安全事件 {breach} 的报告", f"报告单位：{party[0]}", f"日期：{day}", f"受影响的人数：{persons}", "",
        "涉及的处理活动：", *(f"- {one[0]}" for one in places), "", *_body(items, 0), "",
        "是否通知个人：" + ("通知" if tells else "不通知（第五十七条第二款：措施能够有效避免造成危害）"), f"理由：{reason}", *_head(0, drill),
    ]  # fmt: skip
    en = [
        *_head(1, drill), f"Report on the personal data incident {breach}", f"Institution: {party[1]}", f"Date: {day}", f"Persons affected: {persons}", "",
        "Processing concerned:", *(f"- {one[1]}" for one in places), "", *_body(items, 1), "",
        "Are persons told: " + ("yes" if tells else "no (57 para. 2: the measures effectively avoid harm)"), f"Reason: {reason}", *_head(1, drill),
    ]  # fmt: skip
    return "\n".join([*zh, "", "-" * 40, "", *en, ""]).encode()


def to_person(items: Items, *, party: tuple[str, str], breach: str, day: str, drill: bool) -> bytes:
    """The notice to a customer; it names nobody, so that one text fits all."""
    zh = [*_head(0, drill), f"{party[0]} 致客户：个人信息安全事件通知（{breach}）", f"日期：{day}", "", *_body(items, 0), *_head(0, drill)]
    en = [*_head(1, drill), f"{party[1]} to its customers: notice of a personal data incident ({breach})", f"Date: {day}", "", *_body(items, 1), *_head(1, drill)]
    return "\n".join([*zh, "", "-" * 40, "", *en, ""]).encode()


def _head(language: int, drill: bool) -> list[str]:
    return [f"【{MARK[language]}】", *([f"【{DRILL_MARK[language]}】"] if drill else [])]


def _body(items: Items, language: int) -> list[str]:
    zh = language == 0
    kinds = ("、" if zh else ", ").join(COLUMN_WORDS.get(one, (one, one))[language] for one in items.categories)
    return [
        ITEMS["data"][language], f"{'种类' if zh else 'Kinds'}: {kinds}", f"{'原因' if zh else 'Cause'}: {items.cause[language]}",
        f"{'可能的危害' if zh else 'Possible harm'}: {items.harm[language]}", "",
        ITEMS["remedy"][language], f"{'已采取' if zh else 'Done'}: {items.done[language]}",
        f"{'您可以' if zh else 'You can'}: {items.advice[language]}", "",
        ITEMS["contact"][language], items.contact[language],
    ]  # fmt: skip

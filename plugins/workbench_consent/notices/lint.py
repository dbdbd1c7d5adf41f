"""What a notice still lacks, and which article asks for it. Document: docs/protocols/notice.md section 3. Pure.

Every finding names a field and an article. The articles were read in a public collection of 2025-04-19 (law-text) and have
to be compared with the text in force; what is our reading is marked in the document.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from workbench_consent.notices.text import Line, Notice, Words, texts

SUMMARY_ZH, SUMMARY_EN = 280, 700
"""Characters that fit one screen of a phone."""
VAGUE_ZH = ("包括但不限于", "等其他用途", "其他合法用途", "法律允许的其他", "一切必要", "任何用途")
VAGUE_EN = ("including but not limited to", "any other purpose", "any lawful purpose", "other purposes permitted")
ERROR, REMARK = "error", "remark"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is missing or not allowed. field: where; article: who asks; level: "error" stops publication."""

    code: str
    field: str
    article: str
    zh: str
    en: str
    level: str = ERROR


@dataclass(frozen=True, slots=True)
class Known:
    """What a notice may name: codes in use, institutions, and who is an entrusted processor.

    categories: code -> whether it is sensitive. recipients: institutions other than this one.
    """

    party: str
    purposes: Collection[str]
    categories: Mapping[str, bool]
    channels: Collection[str]
    recipients: Collection[str]
    processors: Collection[str] = field(default_factory=frozenset)


def lint(notice: Notice, known: Known) -> list[Finding]:
    """Every finding in the order of the form; publication needs none of level "error"."""
    return [*_whole(notice, known), *_languages(notice), *(f for n, line in enumerate(notice.lines) for f in _line(n, line, known))]


def errors(findings: Collection[Finding]) -> list[Finding]:
    return [one for one in findings if one.level == ERROR]


def _whole(notice: Notice, known: Known) -> Iterator[Finding]:
    controller = notice.controller
    if not _said(controller.name) or controller.party != known.party:
        yield Finding("CONTROLLER_NAME", "controller.name", "PIPL 17", "写明本机构的名称", "name this institution")
    if not controller.contact:
        yield Finding("CONTROLLER_CONTACT", "controller.contact", "PIPL 17", "写明本机构的联系方式", "say how to reach this institution")
    if not controller.officer:
        yield Finding("OFFICER", "controller.officer", "PIPL 52", "写明个人信息保护负责人的联系方式", "say how to reach the person responsible for personal information")
    for code, words, article, zh, en in (
        ("TITLE", notice.title, "PIPL 17", "写明标题", "give a title"),
        ("BODY", notice.body, "PIPL 17", "写明完整告知内容", "give the full text"),
        ("RIGHTS", notice.rights, "PIPL 17", "写明客户行使权利的方式和程序", "say how customers exercise their rights"),
        ("WITHDRAWAL", notice.withdrawal, "PIPL 15", "写明便捷的撤回同意方式", "say how consent is withdrawn, easily"),
        ("REFUSAL", notice.refusal, "PIPL 16", "写明不同意也不影响其他服务", "say what follows from a no"),
        ("COMPLAINT", notice.complaint, "PIPL 50", "写明投诉和申请的受理渠道", "say where to complain"),
    ):
        if not _said(words):
            yield Finding(code, code.lower(), article, zh, en)
    if not _said(notice.summary):
        yield Finding("SUMMARY", "summary", "PIPL 17", "写明一屏摘要", "give the summary for one screen")
    elif len(notice.summary.zh) > SUMMARY_ZH or len(notice.summary.en) > SUMMARY_EN:
        yield Finding(
            "SUMMARY", "summary", "PIPL 17",
            f"摘要一屏读完：中文不超过 {SUMMARY_ZH} 字，英文不超过 {SUMMARY_EN} 个字符",
            f"the summary fits one screen: at most {SUMMARY_ZH} characters in Chinese, {SUMMARY_EN} in English",
        )  # fmt: skip
    if notice.minors.served and not _said(notice.minors.rules):
        yield Finding("MINORS", "minors.rules", "PIPL 31", "面向不满十四周岁者时，写明专门的处理规则", "where people under 14 are meant, give the rules for them")


def _languages(notice: Notice) -> Iterator[Finding]:
    """A text that stands in one language only."""
    found = dict(texts(notice))
    for path, text in found.items():
        if path.endswith(".zh") and bool(text) != bool(found[path[:-2] + "en"]):
            place = path[:-3]
            yield Finding("LANGUAGE", place, "PIPL 17", "中英文须都写明，或都不写", "both languages say it, or neither")


def _line(number: int, line: Line, known: Known) -> Iterator[Finding]:
    place = f"lines[{number}]."
    told = "PIPL 17, 23" if line.recipient else "PIPL 17"
    yield from _codes(place, line, known)
    for code, name, words, zh, en in (
        ("PURPOSE", "purpose_text", line.purpose_text, "写明处理目的", "say what for"),
        ("METHOD", "method", line.method, "写明处理方式", "say how it is processed"),
    ):
        if not _said(words):
            yield Finding(code, place + name, told, zh, en)
    if not line.categories:
        yield Finding("CATEGORIES", place + "categories", told, "写明个人信息的种类", "say which personal information")
    if not _said(line.retention) or line.retention_days < 1:
        yield Finding("RETENTION", place + "retention", "PIPL 17, 19", "写明保存期限（文字与天数）", "say how long it is kept, in words and days")
    if line.recipient:
        if not _said(line.recipient_name):
            yield Finding("RECIPIENT_NAME", place + "recipient_name", "PIPL 23", "写明接收方名称", "name the recipient")
        if not line.recipient_contact:
            yield Finding("RECIPIENT_CONTACT", place + "recipient_contact", "PIPL 23", "写明接收方联系方式", "say how to reach the recipient")
    is_sensitive = any(known.categories.get(code, True) for code in line.categories)
    if is_sensitive:
        if not _said(line.necessity):
            yield Finding("NECESSITY", place + "necessity", "PIPL 30", "涉及敏感个人信息：写明处理的必要性", "sensitive personal information: say why it is necessary")
        if not _said(line.effect):
            yield Finding("EFFECT", place + "effect", "PIPL 30", "涉及敏感个人信息：写明对个人权益的影响", "sensitive personal information: say what it means for the person")
    vague = [word for word in VAGUE_ZH if word in line.purpose_text.zh] + [word for word in VAGUE_EN if word in line.purpose_text.en.lower()]
    if vague:
        yield Finding(
            "PURPOSE_VAGUE", place + "purpose_text", "PIPL 28" if is_sensitive else "PIPL 6",
            f"目的须特定、明确，去掉“{vague[0]}”一类的写法", f"the purpose is specific: without words like {vague[0]}",
        )  # fmt: skip
    if line.preset:
        yield Finding("PRESET", place + "preset", "PIPL 14, 29", "开关不得预先打开", "no switch is on before the customer touches it")
    if line.required:
        yield Finding("BUNDLED", place + "required", "PIPL 16", "不得以不同意为由拒绝服务，不得捆绑", "no service is made to depend on it: no bundling")
    if line.automated and not _said(line.automated_text):
        yield Finding(
            "AUTOMATED", place + "automated_text", "PIPL 24",
            "用于自动化决策：写明如何决定，以及如何拒绝或选择不针对个人特征的方式",
            "an automated decision: say how it is made, and how to refuse it or choose an option without profiling",
        )  # fmt: skip
    if line.channels and not line.automated_text.zh and "退订" not in line.method.zh + line.purpose_text.zh:
        yield Finding(
            "CHANNEL_REFUSAL", place + "channels", "广告法 43", "以电子信息方式营销时，写明退订方式",
            "where advertising is sent by electronic message, say how to refuse it", REMARK,
        )  # fmt: skip


def _codes(place: str, line: Line, known: Known) -> Iterator[Finding]:
    if line.purpose not in known.purposes:
        yield Finding("PURPOSE_UNKNOWN", place + "purpose", "PIPL 6", "用途代码未登记", "this purpose code is not registered")
    for code in line.categories:
        if code not in known.categories:
            yield Finding("CATEGORY_UNKNOWN", place + "categories", "PIPL 6", f"信息种类代码 {code} 未登记", f"the category {code} is not registered")
    for code in line.channels:
        if code not in known.channels:
            yield Finding("CHANNEL_UNKNOWN", place + "channels", "PIPL 6", f"联系渠道代码 {code} 未登记", f"the channel {code} is not registered")
    if line.recipient in known.processors:
        yield Finding(
            "RECIPIENT_IS_PROCESSOR", place + "recipient", "PIPL 21",
            "这是受托处理方，应有受托处理合同，不能作为接收方征求同意",
            "this is an entrusted processor: it has a contract, and no consent towards it is asked",
        )  # fmt: skip
    elif line.recipient and line.recipient not in known.recipients:
        yield Finding(
            "RECIPIENT_UNKNOWN", place + "recipient", "PIPL 23", "接收方不是项目中的其他机构",
            "the recipient is not another institution of the project",
        )  # fmt: skip


def _said(words: Words) -> bool:
    return bool(words.zh and words.en)

"""A notice in layers: one screen, details, full text; as data and as HTML, in zh and en. docs/protocols/notice.md section 6. Pure.

Every text is escaped: a notice is text, and nothing in it has an effect on the page.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from workbench_consent.notices.text import Line, Notice, Words

LANGUAGES = ("zh", "en")
Names = Mapping[str, tuple[str, str]]

_WORDS: dict[str, tuple[str, str]] = {
    "purpose": ("处理目的", "Purpose"),
    "recipient": ("接收方", "Recipient"),
    "own": ("仅本机构使用", "Used by us alone"),
    "contact": ("联系方式", "Contact"),
    "method": ("处理方式", "Method"),
    "categories": ("个人信息种类", "Personal information"),
    "channels": ("联系渠道", "We may contact you by"),
    "retention": ("保存期限", "Kept for"),
    "necessity": ("必要性", "Why it is necessary"),
    "effect": ("对您的影响", "What it means for you"),
    "automated": ("自动化决策", "Automated decision"),
    "rights": ("您的权利", "Your rights"),
    "withdrawal": ("如何撤回", "How to withdraw"),
    "refusal": ("如果不同意", "If you say no"),
    "complaint": ("投诉与申请", "Complaints and requests"),
    "minors": ("不满十四周岁", "Under 14"),
    "controller": ("个人信息处理者", "Who processes"),
    "officer": ("个人信息保护负责人", "Responsible for personal information"),
    "agree": ("我单独同意", "I agree to this separately"),
    "details": ("详细内容", "Details"),
    "full": ("全文", "Full text"),
    "version": ("版本", "Version"),
    "digest": ("内容摘要 SM3", "Digest SM3"),
}


@dataclass(frozen=True, slots=True)
class Switch:
    """One choice of the first screen; always off before the customer touches it."""

    id: str
    purpose: str
    recipient: str
    label: Words
    detail: Words
    on: bool = False


@dataclass(frozen=True, slots=True)
class Layers:
    """What a page shows: first the screen with its switches, then rows of details a line, then the full text.

    details: per line (id, rows of (label, text)); closing: rows about rights, withdrawal, refusal, complaint.
    """

    title: Words
    summary: Words
    switches: tuple[Switch, ...]
    details: tuple[tuple[str, tuple[tuple[Words, Words], ...]], ...]
    closing: tuple[tuple[Words, Words], ...]
    body: Words


def layers(notice: Notice, *, categories: Names, channels: Names, purposes: Names) -> Layers:
    """The three layers; codes are replaced by their names."""
    return Layers(
        notice.title,
        notice.summary,
        tuple(
            Switch(line.name, line.purpose, line.recipient, _switch_label(line, purposes), line.purpose_text) for line in notice.lines
        ),
        tuple((line.name, tuple(_details(line, categories, channels))) for line in notice.lines),
        tuple(_closing(notice)),
        notice.body,
    )


def page(notice: Notice, shown: Layers, *, digest: str, language: str) -> str:
    """The layers as one HTML fragment without script, style or link; language: "zh" or "en"."""
    place = LANGUAGES.index(language)

    def told(words: Words) -> str:
        return html.escape(words.zh if place == 0 else words.en).replace("\n", "<br>")

    def word(name: str) -> str:
        return html.escape(_WORDS[name][place])

    switches = "".join(
        f'<li><label><input type="checkbox" name="{html.escape(one.id)}"> <strong>{told(one.label)}</strong> '
        f"<span>{word('agree')}</span></label><p>{told(one.detail)}</p></li>"
        for one in shown.switches
    )
    details = "".join(
        f"<section><h3>{told(next(s.label for s in shown.switches if s.id == name))}</h3>{_rows(rows, told)}</section>"
        for name, rows in shown.details
    )
    return (
        f'<article class="notice" lang="{"zh-CN" if place == 0 else "en"}"><header><h1>{told(shown.title)}</h1><p>{told(shown.summary)}</p></header>'
        f'<ul class="notice-switches">{switches}</ul>'
        f'<details class="notice-details"><summary>{word("details")}</summary>{details}{_rows(shown.closing, told)}</details>'
        f'<details class="notice-body"><summary>{word("full")}</summary><p>{told(shown.body)}</p></details>'
        f"<footer>{word('version')} {html.escape(notice.name)} · {word('digest')} {html.escape(digest)}</footer></article>"
    )


def _rows(rows: Sequence[tuple[Words, Words]], told: Callable[[Words], str]) -> str:
    parts = [f"<dt>{told(label)}</dt><dd>{told(text)}</dd>" for label, text in rows]
    return f"<dl>{''.join(parts)}</dl>"


def _named(name: str) -> Words:
    return Words(*_WORDS[name])


def _switch_label(line: Line, purposes: Names) -> Words:
    zh, en = purposes.get(line.purpose, (line.purpose, line.purpose))
    if not line.recipient:
        return Words(f"{zh}（{_WORDS['own'][0]}）", f"{en} ({_WORDS['own'][1].lower()})")
    return Words(f"{zh} → {line.recipient_name.zh}", f"{en} → {line.recipient_name.en}")


def _codes(codes: tuple[str, ...], names: Names) -> Words:
    told = [names.get(code, (code, code)) for code in codes]
    return Words("、".join(zh for zh, _ in told), ", ".join(en for _, en in told))


def _details(line: Line, categories: Names, channels: Names) -> list[tuple[Words, Words]]:
    rows = [(_named("purpose"), line.purpose_text)]
    if line.recipient:
        rows += [(_named("recipient"), line.recipient_name), (_named("contact"), Words(line.recipient_contact, line.recipient_contact))]
    rows += [(_named("method"), line.method), (_named("categories"), _codes(line.categories, categories))]
    if line.channels:
        rows.append((_named("channels"), _codes(line.channels, channels)))
    days = Words(f"{line.retention.zh}（{line.retention_days} 天）", f"{line.retention.en} ({line.retention_days} days)")
    rows.append((_named("retention"), days))
    if line.necessity.zh:
        rows += [(_named("necessity"), line.necessity), (_named("effect"), line.effect)]
    if line.automated:
        rows.append((_named("automated"), line.automated_text))
    return rows


def _closing(notice: Notice) -> list[tuple[Words, Words]]:
    one = notice.controller
    rows = [
        (_named("controller"), Words(f"{one.name.zh}，{one.contact}", f"{one.name.en}, {one.contact}")),
        (_named("officer"), Words(one.officer, one.officer)),
        (_named("rights"), notice.rights),
        (_named("withdrawal"), notice.withdrawal),
        (_named("refusal"), notice.refusal),
        (_named("complaint"), notice.complaint),
    ]
    if notice.minors.served:
        rows.append((_named("minors"), notice.minors.rules))
    return rows

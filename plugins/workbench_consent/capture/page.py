"""The page on which a customer agrees or declines. Document: docs/protocols/capture.md section 3.

One screen with a switch per purpose and recipient, none pre-set; the full text below; two buttons of one size and one style.
No script: what the page cannot do without one it does not do. Every value is escaped.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from typing import Any

from workbench.contracts import Host, PublicAnswer, PublicPage
from workbench_consent.capture import asking
from workbench_consent.capture.asking import Question
from workbench_consent.notices import published, rendering
from workbench_consent.receipts.printing import SHANGHAI
from workbench_consent.registry import Registry

_SAID = {
    "title": ("个人信息处理授权", "Consent to the use of your data"),
    "ask": ("请您决定", "Please decide"),
    "each": ("逐项选择，默认都不同意。您可以只同意其中几项，也可以都不同意；都不同意不影响我们向您提供其他服务。",
             "Choose one by one; nothing is agreed to beforehand. You may agree to some or to none; declining changes no other service."),
    "agree_one": ("我单独同意", "I agree to this separately"),
    "until": ("有效期至（含当日）", "until the end of"),
    "recipient": ("提供给", "given to"),
    "method": ("按标识密文比对双方共同客户，用于上述用途", "common customers are found by encrypted identifiers and used for this purpose"),
    "withdraw": ("随时可以撤回，撤回立即生效，方式与同意一样方便。", "You can withdraw at any time, at once, as easily as you agree."),
    "yes": ("同意所选", "Agree to what I chose"),
    "no": ("都不同意", "Agree to nothing"),
    "nothing": ("还没有选择任何一项：请打开要同意的开关，或选择“都不同意”。什么也没有记录。",
                "Nothing is chosen: switch on what you agree to, or choose to agree to nothing. Nothing was recorded."),
    "other": ("English", "中文"),
    "thanks": ("已记录您的选择", "Your choice is recorded"),
    "agreed": ("您同意了 {count} 项，此刻起生效。请向经办人员索取授权凭据。", "You agreed to {count}, effective now. Ask the staff for your consent receipt."),
    "declined": ("您没有同意任何一项。我们不会使用您的信息，一段时间内也不会再就此征求。",
                 "You agreed to nothing. Your data is not used, and you will not be asked about this again for some time."),
    "once": ("链接只用一次，本页可以关闭。", "The link serves once; you may close this page."),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Screen:
    """What is shown: the part with the switches, and the same as text, which goes into the signed form."""

    body: str
    text: str
    digest: str
    said: Mapping[str, Mapping[str, Any]]


def public_page(host: Host, registry: Registry) -> PublicPage:
    """The page as the node serves it."""

    def show(secret: str, language: str) -> PublicAnswer:
        question = asking.show(host, secret)
        return _answer(_form(screen_of(host, registry, question, language), language), 200)

    def answer(secret: str, fields: Mapping[str, Sequence[str]], language: str) -> PublicAnswer:
        if fields.get("decision") == ["no"]:
            asking.refuse(host, secret)
            return _answer(_done("declined", language), 200)
        with host.store.read() as reader:
            question = asking.find(reader, secret)
        screen = screen_of(host, registry, question, language)
        chosen = {one.name for one in question.offers if one.name in fields}
        if not chosen:  # the person's next step is on this page: choose, or decline
            asking.show(host, secret)
            alert = f'<div class="alert" role="alert"><p>{_said("nothing", language)}</p></div>'
            return _answer(_form(screen, language, alert), 422)
        count = asking.agree(host, registry, secret, chosen, offered=screen.text, notice_digest=screen.digest, said=screen.said)
        return _answer(_done("agreed", language, count=count), 200)

    return PublicPage("sign", resources.files("workbench_consent.capture").joinpath("page.css").read_text("utf-8"), show, answer)


def screen_of(host: Host, registry: Registry, question: Question, language: str) -> Screen:
    """What this question shows, in one language."""
    if question.notice:
        key, _, number = question.notice.partition("@")
        with host.store.read() as reader:
            version = published.version_named(reader, key, int(number))
        shown = rendering.layers(
            version.notice,
            categories=_named(host.setting("consent.categories")),
            channels=_named(host.setting("consent.channels")),
            purposes=registry.purposes(),
        )
        offered = {one.name for one in question.offers}
        kept = rendering.Layers(
            shown.title, shown.summary, tuple(one for one in shown.switches if one.id in offered),
            tuple(one for one in shown.details if one[0] in offered), shown.closing, shown.body,
        )  # fmt: skip
        body = rendering.page(version.notice, kept, digest=version.digest.hex(), language=language)
        return Screen(body + _until(question, language), published_text(version), version.digest.hex(), said_by(version))
    return _plain_screen(host, registry, question, language)


def said_by(version: published.Version) -> dict[str, dict[str, Any]]:
    """Per line of a version what a grant under it says besides purpose and recipient; columns of GRANT_SCHEMA."""
    return {
        line.name: {"categories": ",".join(sorted(line.categories)), "contacts": ",".join(sorted(line.channels)), "separate": True}
        for line in version.notice.lines
    }


def published_text(version: published.Version) -> str:
    """How the signed form names what was shown: the version's bytes are frozen, its digest stands beside it."""
    return f"{version.notice.name} SM3 {version.digest.hex()}"


def _plain_screen(host: Host, registry: Registry, question: Question, language: str) -> Screen:
    place = 0 if language == "zh" else 1
    purposes = registry.purposes()
    items, lines = [], []
    for one in question.offers:
        purpose = purposes.get(one.purpose, (one.purpose, one.purpose))[place]
        recipient = _party(host, one.recipient)[place]
        detail = f"{_say('method', language)}；{_say('until', language)} {last_day(one.until_ms)}"
        name = html.escape(one.name, quote=True)
        items.append(
            f'<li><label><input type="checkbox" name="{name}"> <strong>{html.escape(purpose)} → {html.escape(recipient)}</strong>'
            f" <span>{_said('agree_one', language)}</span></label><p>{html.escape(detail)}</p></li>"
        )
        lines.append(f"{purpose} → {recipient}: {detail}")
    body = (
        f'<article class="notice"><header><h2>{_said("ask", language)}</h2><p>{_said("each", language)}</p></header>'
        f'<ul class="notice-switches">{"".join(items)}</ul></article>'
    )
    return Screen(body, "\n".join([_say("each", language), *lines, _say("withdraw", language)]), "", {})


def last_day(until_ms: int) -> str:
    """The last day, in Asia/Shanghai, on which a grant that ends at this instant is live."""
    return datetime.fromtimestamp((until_ms - 1) / 1000, SHANGHAI).date().isoformat()


def _until(question: Question, language: str) -> str:
    ends = sorted({last_day(one.until_ms) for one in question.offers})
    return f"<p>{_said('until', language)} {html.escape('、'.join(ends))}</p>"


def _form(screen: Screen, language: str, alert: str = "") -> str:
    other = "en" if language == "zh" else "zh"
    return (
        f'<p class="language"><a href="?lang={other}" lang="{other}">{_said("other", language)}</a></p>'
        f'<form method="post" action="?lang={language}">{alert}{screen.body}<p>{_said("withdraw", language)}</p>'
        f'<div class="choices"><button name="decision" value="yes">{_said("yes", language)}</button>'
        f'<button name="decision" value="no">{_said("no", language)}</button></div></form>'
    )


def _done(name: str, language: str, **values: int) -> str:
    text = html.escape(_say(name, language).format(**values))
    return f'<section role="status"><h2>{_said("thanks", language)}</h2><p>{text}</p><p>{_said("once", language)}</p></section>'


def _answer(body: str, status: int) -> PublicAnswer:
    return PublicAnswer(*_SAID["title"], body, status)


def _say(name: str, language: str) -> str:
    return _SAID[name][0 if language == "zh" else 1]


def _said(name: str, language: str) -> str:
    return html.escape(_say(name, language))


def _named(setting: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, str]]:
    return {code: (str(words[0]), str(words[1])) for code, words in setting.items()}


def _party(host: Host, party: str) -> tuple[str, str]:
    names = getattr(host, "names", None)
    return names(party) if names is not None else (party, party)

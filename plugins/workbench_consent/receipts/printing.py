"""A receipt for people: one page that opens from disk and prints, in Chinese and English; and the same as PDF.

The page explains; the JSON file is what is signed. Every value is set as text. fpdf2 draws the PDF with a subset of a
Chinese font, segno the QR code (docs/decisions). The same receipt gives the same page.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import html
import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import segno

from workbench.domain.consent_receipt import STATES, qr_text, status_sentence

SHANGHAI = ZoneInfo("Asia/Shanghai")
USUAL_FONTS = (
    "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/noto-cjk/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/google-noto-cjk/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/google-noto-sans-cjk-fonts/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc",
    "/usr/share/fonts/wqy-microhei/wqy-microhei.ttc",
    "/System/Library/Fonts/STHeiti Light.ttc",
)
_SIGNERS = {"guardian": ("监护人", "a guardian"), "agent": ("代理人", "an agent"), "kin": ("近亲属", "next of kin")}
_TITLE = ("授权凭据", "Consent receipt")
_NOTE = (
    "本页便于阅读，签名所覆盖的是同名的 JSON 文件。状态以所写的日志高度为准，之后是否撤回须向出具机构查询。",
    "This page is for reading; the signature covers the JSON file of the same name. The status is as of the height named; ask the issuer for later.",
)
_QR_NOTE = ("二维码含凭据编号、摘要与撤回去处，不含身份信息", "The code holds the id, the digest and where to withdraw, no identifier")


@dataclass(frozen=True, slots=True)
class Line:
    """A label and a value; mono: the value is an id or a digest."""

    zh: str
    en: str
    value_zh: str
    value_en: str
    mono: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """What a printed receipt says. parts: heading zh, en and lines. state: code of the document's section 5."""

    receipt_id: str
    state: str
    status: tuple[str, str]
    anchor: tuple[str, str]
    qr: str
    parts: tuple[tuple[str, str, tuple[Line, ...]], ...]


def page_of(content: Mapping[str, Any], digest: bytes, *, sealed: str, is_final: bool) -> Page:
    """What to print. sealed: "2/3", "" when no anchor is known yet."""
    grant, status, uses = content["grant"], content["status"], content["uses"]
    processing, withdrawal = content["processing"], content["withdrawal"]
    both = [(content["controller"], "提供方（出具机构）", "From (issuer)"), (content["recipient"], "接收方", "Recipient")]
    who = [
        line
        for party, zh, en in both
        for line in (
            Line(zh, en, f"{party['name_zh']}（{party['party']}）", f"{party['name_en']} ({party['party']})"),
            Line("地址", "Address", party["address"], party["address"]),
            Line("联系方式", "Contact", party["contact"], party["contact"]),
            Line("个人信息保护负责人", "Protection officer", party["officer"], party["officer"]),
        )
    ]
    named = [(one["zh"], one["en"], one["sensitive"] == "yes") for one in processing["information"]]
    subject = "，".join(one for one in (content["subject"]["phone"], content["subject"]["id_no"]) if one)
    what = [
        Line("客户（已遮盖）", "Customer (masked)", subject or "未写入", subject or "not put in"),
        Line("用途", "Purpose", processing["purpose"]["zh"], processing["purpose"]["en"]),
        Line("方式", "Method", processing["method"]["zh"], processing["method"]["en"]),
        Line(
            "个人信息", "Personal information", "、".join(zh + ("（敏感）" if is_sensitive else "") for zh, _, is_sensitive in named),
            ", ".join(en + (" (sensitive)" if is_sensitive else "") for _, en, is_sensitive in named),
        ),
        Line("有效期", "Valid", _span(grant), _span(grant)),
        Line("签署渠道", "Signed by way of", processing["channel"] or "—", processing["channel"] or "—"),
        Line("保存期限", "Kept for", processing["retention"]["zh"], processing["retention"]["en"]),
        Line("保存地点", "Kept where", processing["storage"]["zh"], processing["storage"]["en"]),
        Line("合法性基础", "Lawful basis", content["lawful_basis"]["zh"], content["lawful_basis"]["en"]),
    ]  # fmt: skip
    what += _terms(content)
    since = _since(uses["since_ms"])
    used = [
        Line(
            local_time(run["time_ms"]), "", f"{run['job']}，第 {run['attempt'] + 1} 次，{run['recipient']}",
            f"{run['job']}, attempt {run['attempt'] + 1}, {run['recipient']}",
        )
        for run in uses["runs"]
    ] or [Line("无", "none", since[0], since[1])]  # fmt: skip
    if uses["total"] > len(uses["runs"]):
        more = uses["total"] - len(uses["runs"])
        used.append(Line("更早", "earlier", f"另有 {more} 次", f"{more} more"))
    leave = [
        Line("如何撤回", "How to withdraw", withdrawal["zh"], withdrawal["en"]),
        *([Line("网址", "Address", withdrawal["url"], withdrawal["url"])] if withdrawal["url"] else []),
        Line("不同意不影响服务", "Refusing costs nothing", "不同意或撤回，不影响本机构向您提供其他服务", "Refusing or withdrawing changes no other service"),
    ]
    check = [
        Line("凭据编号", "Receipt id", content["receipt_id"], content["receipt_id"], mono=True),
        Line("凭据摘要 SM3", "Digest, SM3", digest.hex(), digest.hex(), mono=True),
        Line("客户代号", "Token", content["subject"]["token"], content["subject"]["token"], mono=True),
        Line("授权摘要 SM3", "Grant digest, SM3", grant["digest"], grant["digest"], mono=True),
        Line("授权记录", "Record", str(grant["record"]), str(grant["record"])),
        Line("离线核对", "Check offline", "workbench verify，或随证据包的 verify.html、verify.py", "workbench verify, or verify.html and verify.py of an evidence package"),
    ]
    time = local_time(status["at_ms"])
    seal = (f"签发记录已由 {sealed} 家机构共签", f"the issuing entry is co-signed by {sealed}") if is_final else (
        "签发记录尚待共签，稍后可补", "the issuing entry waits for co-signatures, to be completed later"
    )  # fmt: skip
    return Page(
        content["receipt_id"], status["state"], status_sentence(content, time), seal, qr_text(content, digest),
        (
            ("谁提供给谁", "From whom, to whom", tuple(who)), ("同意了什么", "What was agreed", tuple(what)),
            ("用过几次", "When it was used", tuple(used)), ("如何撤回", "How to withdraw", tuple(leave)),
            ("如何核对", "How to check", tuple(check)),
        ),
    )  # fmt: skip


def render_html(page: Page) -> bytes:
    """The page as one file without script or network. Cost: about 8 ms, the QR code mostly."""
    style = _style()
    policy = f"default-src 'none'; style-src 'sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}'"
    parts = "".join(
        f'<h2>{_text(zh)} <span lang="en">{_text(en)}</span></h2><dl>{"".join(_row(one) for one in lines)}</dl>'
        for zh, en, lines in page.parts
    )
    zh, en = STATES[page.state]
    text = (
        '<!doctype html><html lang="zh-CN"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}"><title>{_TITLE[0]} {page.receipt_id}</title>'
        f"<style>{style}</style></head><body><main><header><div><h1>{_TITLE[0]} <span lang=\"en\">{_TITLE[1]}</span></h1>"
        f'<p class="mono">{page.receipt_id}</p></div><figure class="qr">{qr_svg(page.qr)}</figure></header>'
        f'<section class="state {page.state}"><strong>{_text(zh)} <span lang="en">{_text(en)}</span></strong>'
        f'<p>{_text(page.status[0])}</p><p lang="en">{_text(page.status[1])}</p>'
        f'<p>{_text(page.anchor[0])} <span lang="en">{_text(page.anchor[1])}</span></p></section>'
        f'{parts}<footer><p>{_NOTE[0]}</p><p lang="en">{_NOTE[1]}</p><p>{_QR_NOTE[0]} <span lang="en">{_QR_NOTE[1]}</span></p>'
        "</footer></main></body></html>\n"
    )
    return text.encode()


def qr_svg(text: str) -> str:
    """The QR code as an inline drawing; dark on white whatever the page's colours, so that a camera reads it."""
    out = io.BytesIO()
    segno.make(text, error="m", micro=False, encoding="utf-8").save(
        out, kind="svg", xmldecl=False, omitsize=True, border=4, light="#fff", svgclass=None, lineclass=None
    )
    return out.getvalue().decode().strip()


def render_pdf(page: Page, font: str = "") -> tuple[bytes | None, str]:
    """The PDF and "yes"; or None and why not: "NO_LIBRARY", "NO_FONT". font: a file, "" to look in the usual places.

    Cost: one second for the font.
    """
    try:
        from fpdf import FPDF
    except ImportError:
        return None, "NO_LIBRARY"
    path = find_font(font)
    if path is None:
        return None, "NO_FONT"
    pdf: Any = FPDF(format="A4")
    pdf.set_creation_date(datetime(2000, 1, 1, tzinfo=UTC))  # the same receipt gives the same bytes
    pdf.set_title(f"{_TITLE[0]} {page.receipt_id}")
    pdf.set_producer("Evidence Workbench")
    pdf.add_font("receipt", "", str(path), **_face(path))
    pdf.set_margins(16, 16)
    pdf.set_auto_page_break(auto=True, margin=16)
    for language in (0, 1):
        pdf.add_page()
        _draw(pdf, page, language)
    return bytes(pdf.output()), "yes"


def find_font(font: str) -> Path | None:
    """The font file to embed, or None."""
    return next((path for path in map(Path, [font] if font else USUAL_FONTS) if path.is_file()), None)


def local_time(time_ms: int) -> str:
    """For people: Asia/Shanghai, to the second."""
    try:
        return f"{datetime.fromtimestamp(time_ms / 1000, SHANGHAI):%Y-%m-%d %H:%M:%S} UTC+8"
    except (OverflowError, ValueError, OSError):
        return str(time_ms)


def _draw(pdf: Any, page: Page, language: int) -> None:
    code = io.BytesIO()
    segno.make(page.qr, error="m", micro=False, encoding="utf-8").save(code, kind="png", scale=6, border=4)
    pdf.image(code, x=160, y=12, w=36)
    pdf.set_font("receipt", size=18)
    pdf.cell(140, 9, _TITLE[language], new_x="LMARGIN", new_y="NEXT")
    pdf.set_font("receipt", size=8)
    pdf.cell(140, 5, page.receipt_id, new_x="LMARGIN", new_y="NEXT")
    pdf.ln(3)
    pdf.set_font("receipt", size=12)
    pdf.multi_cell(140, 6, STATES[page.state][language], new_x="LMARGIN", new_y="NEXT")
    pdf.set_font("receipt", size=9)
    for text in (page.status[language], page.anchor[language]):
        pdf.multi_cell(140, 5, text, new_x="LMARGIN", new_y="NEXT", align="L")
    pdf.set_y(max(pdf.get_y(), 50))
    for zh, en, lines in page.parts:
        pdf.ln(2)
        pdf.set_font("receipt", size=11)
        pdf.set_text_color(24, 32, 38)
        pdf.cell(0, 6, (zh, en)[language], new_x="LMARGIN", new_y="NEXT")
        for line in lines:
            pdf.set_font("receipt", size=8.5)
            pdf.set_text_color(75, 87, 97)
            top = pdf.get_y()
            pdf.multi_cell(44, 4.8, (line.zh, line.en or line.zh)[language], new_x="RIGHT", new_y="TOP", align="L")
            pdf.set_text_color(24, 32, 38)
            pdf.multi_cell(0, 4.8, (line.value_zh, line.value_en)[language] or "—", new_x="LMARGIN", new_y="NEXT", align="L")
            if pdf.get_y() < top:  # a page began
                continue
    pdf.ln(2)
    pdf.set_font("receipt", size=7.5)
    pdf.multi_cell(0, 4, f"{_NOTE[language]} {_QR_NOTE[language]}", new_x="LMARGIN", new_y="NEXT", align="L")


def _face(path: Path) -> dict[str, int]:
    """Which face of a collection is meant for simplified Chinese."""
    if path.suffix.lower() != ".ttc":
        return {}
    from fontTools.ttLib import TTCollection  # type: ignore[import-untyped]  # the library has no annotations

    collection = TTCollection(str(path), lazy=True)
    names = [str(one["name"].getBestFamilyName()) for one in collection.fonts]
    collection.close()
    return {"collection_font_number": next((at for at, name in enumerate(names) if name.endswith("SC")), 0)}


def _row(line: Line) -> str:
    label = f'{_text(line.zh)} <span lang="en">{_text(line.en)}</span>' if line.en and line.en != line.zh else _text(line.zh)
    value = f'<span class="mono">{_text(line.value_zh)}</span>' if line.mono else _text(line.value_zh)
    other = f'<span lang="en">{_text(line.value_en)}</span>' if line.value_en != line.value_zh else ""
    return f"<div><dt>{label}</dt><dd>{value}{other}</dd></div>"


def _span(grant: Mapping[str, Any]) -> str:
    return f"{local_time(grant['from_ms'])} – {local_time(grant['until_ms'])}"


def _terms(content: Mapping[str, Any]) -> list[Line]:
    """What a form says more: the notice it was signed under, who signed, how often it may be used."""
    lines = []
    notice = content["notice"]
    if notice["key"]:
        name = f"{notice['key']}@{notice['version']}"
        lines.append(Line("告知书版本", "Version of the notice", f"{name} SM3 {notice['sm3']}", f"{name} SM3 {notice['sm3']}", mono=True))
    if "represented_by" in content:
        one = content["represented_by"]
        zh, en = _SIGNERS[one["kind"]]
        lines.append(Line("代为签署", "Signed for the customer by", f"{zh}：{one['basis']}", f"{en}: {one['basis']}"))
    if content.get("limits", {}).get("max_uses"):
        most = content["limits"]["max_uses"]
        lines.append(Line("最多使用", "Uses at most", f"{most} 次求交", f"{most} intersections"))
    kept = content["notice"]["document"] == "kept"
    lines.append(
        Line(
            "签署文件", "Signed form", "本机构加密存有原件" if kept else "登记时未附原件", "kept here, encrypted" if kept else "none came with the record"
        )
    )
    return lines


def _since(since_ms: int) -> tuple[str, str]:
    if not since_ms:
        return "尚未用于任何求交", "not used in any intersection yet"
    return f"自 {local_time(since_ms)} 起没有使用", f"not used since {local_time(since_ms)}"


def _text(value: str) -> str:
    return html.escape(value)


@functools.cache
def _style() -> str:
    return resources.files("workbench_consent.receipts").joinpath("page.css").read_text("utf-8")

"""The report as PDF, with a subset of a Chinese font embedded. Left out, and said so, where the machine has no such font.

fpdf2 draws it (docs/decisions: evidence packages). The same report and font give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from workbench_ledger.package.report import Block, Command, Heading, Notice, Paragraph, Report, Table

USUAL_FONTS = (
    "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/noto-cjk/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/google-noto-cjk/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/google-noto-sans-cjk-fonts/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc",
    "/usr/share/fonts/wqy-microhei/wqy-microhei.ttc",
    "/System/Library/Fonts/STHeiti Light.ttc",
)
"""Where distributions put a Chinese font under a free licence (and macOS its own)."""

MAX_TABLE_ROWS = 200
_TONES = {
    "sealed": ((10, 99, 81), (221, 241, 234)),
    "pending": ((120, 83, 0), (250, 239, 210)),
    "failed": ((151, 64, 10), (252, 234, 219)),
    "simulated": ((87, 62, 173), (237, 232, 251)),
    "tampered": ((168, 28, 40), (251, 228, 228)),
    "empty": ((75, 87, 97), (235, 239, 237)),
}


def render_pdf(report: Report, font: str = "") -> tuple[bytes | None, str]:
    """The PDF and "yes"; or None and why not: "NO_LIBRARY", "NO_FONT". font: a file, "" to look in the usual places.

    Cost: one second for the font, and about 10 ms a row.
    """
    try:
        from fpdf import FPDF
    except ImportError:
        return None, "NO_LIBRARY"
    path = find_font(font)
    if path is None:
        return None, "NO_FONT"
    pdf: Any = FPDF(format="A4")
    pdf.set_creation_date(report.made)
    pdf.set_title("证据包报告 Evidence report")
    pdf.set_producer("Evidence Workbench")
    pdf.add_font("report", "", str(path), **_face(path))
    pdf.set_margins(16, 16)
    pdf.set_auto_page_break(auto=True, margin=18)
    for blocks in (report.zh, report.en):
        pdf.add_page()
        _draw(pdf, blocks)
    return bytes(pdf.output()), "yes"


def find_font(font: str) -> Path | None:
    """The font file to embed, or None."""
    for name in [font] if font else USUAL_FONTS:
        path = Path(name)
        if path.is_file():
            return path
    return None


def _face(path: Path) -> dict[str, int]:
    """Which face of a collection is meant for simplified Chinese."""
    if path.suffix.lower() != ".ttc":
        return {}
    from fontTools.ttLib import TTCollection  # type: ignore[import-untyped]  # the library has no annotations

    collection = TTCollection(str(path), lazy=True)
    names = [str(one["name"].getBestFamilyName()) for one in collection.fonts]
    collection.close()
    return {"collection_font_number": next((at for at, name in enumerate(names) if name.endswith("SC")), 0)}


def _draw(pdf: Any, blocks: Iterable[Block]) -> None:
    for block in blocks:
        pdf.set_text_color(24, 32, 38)
        if isinstance(block, Heading):
            pdf.set_font("report", size=16 if block.level == 1 else 12)
            pdf.ln(1 if block.level == 1 else 4)
            pdf.multi_cell(0, 8 if block.level == 1 else 7, block.text, new_x="LMARGIN", new_y="NEXT")
        elif isinstance(block, Paragraph):
            pdf.set_font("report", size=9)
            pdf.multi_cell(0, 5, block.text, align="L", new_x="LMARGIN", new_y="NEXT")
            pdf.ln(1)
        elif isinstance(block, Command):
            pdf.set_font("report", size=8)
            pdf.set_fill_color(*_TONES["empty"][1])
            pdf.multi_cell(0, 4.6, block.text, align="L", fill=True, wrapmode="CHAR", new_x="LMARGIN", new_y="NEXT")
            pdf.ln(1.5)
        elif isinstance(block, Notice):
            ink, tint = _TONES[block.tone]
            pdf.set_fill_color(*tint)
            pdf.set_text_color(*ink)
            pdf.set_font("report", size=11)
            pdf.multi_cell(0, 7, f" {block.title}", fill=True, new_x="LMARGIN", new_y="NEXT")
            if block.text:
                pdf.set_text_color(24, 32, 38)
                pdf.set_font("report", size=9)
                pdf.multi_cell(0, 5.5, f" {block.text}", fill=True, new_x="LMARGIN", new_y="NEXT")
            pdf.ln(2)
        else:
            _draw_table(pdf, block)


def _draw_table(pdf: Any, block: Table) -> None:
    pdf.set_font("report", size=7.5)
    pdf.set_fill_color(255, 255, 255)  # else rows take the tint of the band above
    pdf.set_draw_color(210, 217, 214)
    has_head = any(block.columns)
    rows = block.rows[:MAX_TABLE_ROWS]
    with pdf.table(
        col_widths=block.widths,
        line_height=4.2,
        borders_layout="HORIZONTAL_LINES",
        first_row_as_headings=has_head,
        headings_style=_plain_style(),
        text_align="LEFT",
        v_align="TOP",
        padding=(0.8, 1, 0.8, 0),
    ) as table:
        for cells in [block.columns, *rows] if has_head else rows:
            row = table.row()
            for cell in cells:
                row.cell(cell or " ")
    pdf.ln(1)
    if len(block.rows) > len(rows):
        pdf.set_font("report", size=9)
        more = len(block.rows) - len(rows)
        pdf.multi_cell(0, 5, f"… {more}（report.html）", new_x="LMARGIN", new_y="NEXT")


def _plain_style() -> Any:
    from fpdf.fonts import FontFace

    return FontFace(emphasis="", color=(75, 87, 97))


__all__ = ["find_font", "render_pdf"]

"""README.txt and keys/COMPARE.txt of a package: plain text for a reader who knows none of this."""

from __future__ import annotations

from importlib import resources

from workbench.domain.package import PackageOrder, PackageSummary
from workbench.domain.party import PartyId
from workbench_ledger.package.plan import Plan

_PDF = {
    "yes": ("report.html 与 report.pdf", "report.html and report.pdf"),
    "NO_FONT": ("report.html（出具的机器没有中文字体，因此没有 PDF）", "report.html (the exporter's machine has no Chinese font, so there is no PDF)"),
    "NO_LIBRARY": ("report.html（出具的机器没有 PDF 组件，因此没有 PDF）", "report.html (the exporter's machine has no PDF library, so there is no PDF)"),
}  # fmt: skip


def readme_text(order: PackageOrder, summary: PackageSummary, plan: Plan) -> bytes:
    """README.txt with commands that fit the files of this very package."""
    first = plan.entries[0]
    signer = _example_signer(plan, first.log, first.head)
    reports = _PDF[summary.report_pdf]
    state = (
        (f"未定稿 NOT_FINAL：{summary.not_final} 条缺少必需的共签，不可采信", f"NOT_FINAL: {summary.not_final} entries lack a required co-signature; do not rely on them")
        if summary.not_final
        else ("已定稿：全部记录由必需的机构共签", "final: every entry is co-signed by all institutions required")
    )  # fmt: skip
    values = {
        "state_zh": state[0],
        "state_en": state[1],
        "reports_zh": reports[0],
        "reports_en": reports[1],
        "count": str(len(plan.entries)),
        "log": first.log,
        "index": f"{first.index:012d}",
        "size": f"{first.head:012d}",
        "signer": signer,
        "version": "v2" if order.mldsa_required or summary.anchors else "v1",
        "anchors_zh": "anchors/（外部锚定，核对方法见报告）、" if summary.anchors else "",
        "anchors_en": "anchors/ (outside anchors; the report says how to check them), " if summary.anchors else "",
        "synthetic_zh": "" if order.workspace == "production" else "合成数据，无真人。\n",
        "synthetic_en": "" if order.workspace == "production" else "Synthetic data, nobody in it is real.\n",
    }
    return _filled("readme.txt", values)


def compare_text(order: PackageOrder) -> bytes:
    """keys/COMPARE.txt: why these keys prove nothing yet, and what to compare."""
    prints = "\n".join(
        f"  {party:<12} Ed25519 {keys.ed25519.raw.hex()[:16]}…{keys.ed25519.raw.hex()[-8:]}   SM2 {keys.sm2.raw.hex()[:16]}…{keys.sm2.raw.hex()[-8:]}"
        for party, keys in sorted(order.keys.items())
    )
    return _filled("compare.txt", {"exporter": order.exporter, "prints": prints})


def _example_signer(plan: Plan, log: PartyId, size: int) -> str:
    """Another institution than the log's own where one has co-signed."""
    signers = sorted(plan.notes[log, size].cosignatures)
    return str(next((one for one in signers if one != log), log))


def _filled(name: str, values: dict[str, str]) -> bytes:
    text = resources.files("workbench_ledger.package").joinpath(name).read_text("utf-8")
    for mark, value in values.items():
        text = text.replace("{{" + mark + "}}", value)
    assert "{{" not in text, name
    return text.encode("utf-8")

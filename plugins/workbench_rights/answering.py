"""The file a customer is given: letter, JSON and CSV, as bytes. Document: docs/rights.md sections 2 and 3. Pure."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from workbench.domain.subject import HELD, OUTSIDE, SET_ASIDE, WAITING, SubjectRecord

SHANGHAI = ZoneInfo("Asia/Shanghai")
HEADER = ("owner", "kind", "place", "state", "time", "field", "value")
PORTABLE_GROUNDS = frozenset({"consent", "contract"})
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
STATE_WORDS: Mapping[str, tuple[str, str]] = {
    HELD: ("保存中", "held"),
    SET_ASIDE: ("限制存放", "in restricted storage"),
    WAITING: ("在等待取走或导入的文件中", "in a file that waits"),
    OUTSIDE: ("在已导出的文件中", "in an exported file"),
}


def portable(records: Iterable[SubjectRecord]) -> list[SubjectRecord]:
    """What may be taken to another handler: provided by the customer, kept on consent or contract (条例 25)."""
    return [one for one in records if one.provided and one.state == HELD and one.lawful_basis in PORTABLE_GROUNDS]


def as_json(records: Sequence[SubjectRecord], *, about: Mapping[str, str]) -> bytes:
    """{about, records: [{owner, kind, place, zh, en, state, time, lawful_basis, note_zh, note_en, values}]}, UTF-8."""
    listed = [
        {
            "owner": one.owner, "kind": one.kind, "place": one.place, "zh": one.zh, "en": one.en, "state": one.state,
            "time": when(one.at_ms), "lawful_basis": one.lawful_basis, "note_zh": one.note_zh, "note_en": one.note_en,
            "values": dict(one.values),
        }
        for one in records
    ]  # fmt: skip
    return json.dumps({"about": dict(about), "records": listed}, ensure_ascii=False, indent=1).encode()


def as_csv(records: Sequence[SubjectRecord]) -> bytes:
    """One line a value; a record without values has one line with an empty field. UTF-8 with BOM, CRLF."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(HEADER)
    for one in records:
        for name, value in one.values.items() or (("", ""),):
            row = (one.owner, one.kind, one.place, one.state, when(one.at_ms), name, value)
            writer.writerow([plain(cell) for cell in row])
    return b"\xef\xbb\xbf" + out.getvalue().encode()


def counts(records: Iterable[SubjectRecord]) -> dict[str, int]:
    """Owner -> records."""
    return dict(sorted(Counter(one.owner for one in records).items()))


def letter(
    *,
    party: tuple[str, str],
    request: str,
    kind: tuple[str, str],
    ground: str,
    decision: tuple[str, str],
    reason: str,
    day: str,
    contact: tuple[str, str],
    lines: Sequence[tuple[str, str]],
) -> bytes:
    """What the customer reads first, in Chinese and then in English. lines: what was done, sentence by sentence."""
    zh = [
        f"{party[0]} 对个人信息权利请求 {request} 的答复", f"日期：{day}", "", f"请求：{kind[0]}（{ground}）", f"决定：{decision[0]}",
        f"理由：{reason}", "", *(f"· {one[0]}" for one in lines), "",
        "如不同意本答复，可向本机构投诉，也可向履行个人信息保护职责的部门投诉、举报，或依法向人民法院起诉（《个人信息保护法》第五十、六十五条）。",
        f"联系：{contact[0]}",
    ]  # fmt: skip
    en = [
        f"Answer of {party[1]} to the personal information request {request}", f"Date: {day}", "", f"Request: {kind[1]} ({ground})",
        f"Decision: {decision[1]}", f"Reason: {reason}", "", *(f"- {one[1]}" for one in lines), "",
        ("If you disagree, you may complain to this institution or to the authority for the protection of personal information,"
        " or bring an action before a people's court (PIPL 50, 65)."),
        f"Contact: {contact[1]}",
    ]  # fmt: skip
    return "\n".join([*zh, "", "-" * 40, "", *en, ""]).encode()


def packed(files: Mapping[str, bytes]) -> bytes:
    """A ZIP with these files in this order and without any time of its own, so that equal content gives equal bytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, _ZIP_TIME), data, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def when(at_ms: int) -> str:
    """An instant in Asia/Shanghai for people, "" for 0."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(SHANGHAI).isoformat(timespec="seconds") if at_ms else ""


def plain(cell: str) -> str:
    """A cell that no spreadsheet runs as a formula."""
    return "'" + cell if cell.startswith(FORMULA_STARTS) else cell


def listed(value: Any) -> bytes:
    """Any JSON value as readable bytes."""
    return json.dumps(value, ensure_ascii=False, indent=1).encode()

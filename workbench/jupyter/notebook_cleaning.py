"""What a saved notebook may hold: no phone number, no identity number, no widget state (decision 22).

Results shown by the client are masked already; this is the second net, for what people paste and print themselves.
An output that cannot be checked as text is not saved; a number in a cell's text is masked.
"""

from __future__ import annotations

import json
import re
from typing import Any

_GAP = r"[\s\-‐-―.·]?"
_DIGIT = r"[0-9０-９]"
_PHONE = re.compile(
    rf"(?<!{_DIGIT})((?:(?:\+|＋|00|００)?[8８]{_GAP}[6６]{_GAP})?[1１]{_GAP}{_DIGIT}{_GAP}{_DIGIT})"
    rf"((?:{_GAP}{_DIGIT}){{4}})((?:{_GAP}{_DIGIT}){{4}})(?!{_DIGIT})"
)
_ID_NO = re.compile(
    rf"(?<!{_DIGIT})({_DIGIT}(?:{_GAP}{_DIGIT}){{3}})((?:{_GAP}{_DIGIT}){{10}})"
    rf"((?:{_GAP}{_DIGIT}){{3}}{_GAP}[0-9０-９XxＸｘ])(?!{_DIGIT})"
)
_KEPT_TYPES = ("text/plain", "text/html", "text/markdown", "text/latex", "application/json")
_ANSWER = "workbench-answer"
_MAGIC = re.compile(r"\s*[%!]")


def mask(text: str) -> str:
    """The text with the middle of every phone and identity number replaced by asterisks.

    Also found: with country code, spaces or dashes between the digits, and in full-width digits.
    """
    text = _ID_NO.sub(lambda found: found[1] + "*" * 10 + found[3], text)
    return _PHONE.sub(lambda found: found[1] + "****" + found[3], text)


def holds_identifier(text: str) -> bool:
    """Whether an 11-digit phone number or an 18-character identity number stands in the text."""
    return bool(_PHONE.search(text) or _ID_NO.search(text))


def clean(notebook: dict[str, Any]) -> int:
    """Clean a notebook (nbformat 4 as a dictionary) in place; returns how many things were taken out.

    Outputs: kept only when every part is text without such a number. Lines with magics or shell commands that hold
    one are dropped as a whole, in other source the number is masked. Widget state never stays.
    """
    count = 0
    if notebook.get("metadata", {}).pop("widgets", None) is not None:
        count += 1
    for cell in notebook.get("cells", []):
        source = _text(cell.get("source", ""))
        cleaned = _clean_source(source) if holds_identifier(source) else source
        if cleaned != source:
            cell["source"] = cleaned
            count += 1
        if cell.pop("attachments", None):
            count += 1
        outputs = cell.get("outputs")
        if outputs:
            cell["outputs"] = [one for one in outputs if _may_stay(one)]
            count += len(outputs) - len(cell["outputs"])
    return count


def clean_before_saving(model: dict[str, Any], **_: Any) -> None:
    """The pre-save hook: notebooks only; a file that is not one is left alone."""
    if model.get("type") == "notebook" and isinstance(model.get("content"), dict):
        clean(model["content"])


def _clean_source(source: str) -> str:
    if source.lstrip().startswith("%%"):
        return "# 已略去：单元格魔法含个人标识 / left out: a cell magic with a personal identifier"
    lines = []
    for line in source.split("\n"):
        if _MAGIC.match(line) and holds_identifier(line):
            lines.append("# 已略去：含个人标识 / left out: a personal identifier")
        else:
            lines.append(line)
    return mask("\n".join(lines))


def _may_stay(output: dict[str, Any]) -> bool:
    kind = output.get("output_type")
    if kind == "stream":
        return not holds_identifier(_text(output.get("text", "")))
    if kind == "error":
        return not holds_identifier(json.dumps(output, ensure_ascii=False))
    data = output.get("data", {})
    if _ANSWER in _text(data.get("text/html", "")):
        return False  # an answer to a question: its text may hold what only its reader may see
    if not data or any(name not in _KEPT_TYPES for name in data):
        return False
    return not any(holds_identifier(_text(value)) for value in data.values())


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "".join(str(part) for part in value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

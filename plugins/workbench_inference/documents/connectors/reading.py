"""What all connectors share: bytes to text, limits of time and size, and why a place of a file was not taken."""

from __future__ import annotations

import codecs
import re
import time
from dataclasses import dataclass
from typing import Final

from workbench.contracts.inference import ReadLimits, RejectedItem
from workbench.domain.documents import DOCUMENT_KINDS
from workbench.errors import InvalidRequest
from workbench.intake.reasons import shown_text

FILE_BYTES: Final = 64 << 20
"""The largest file of documents; read whole, so it bounds memory."""

REJECTS: Final[dict[str, tuple[str, str]]] = {
    "CELL_COUNT": ("该行的单元格数与表头不同", "the row has another number of cells than the header"),
    "CELL_TOO_LONG": ("单元格超过字符上限", "a cell is longer than the limit"),
    "TEXT_TOO_LONG": ("正文超过字符上限", "the text is longer than the limit"),
    "TEXT_MISSING": ("没有内容", "there is no content"),
    "NAME_MISSING": ("没有名称或代码", "there is neither a name nor a code"),
    "VALUE_MISSING": ("没有任何数值", "there is no value"),
    "TIME_MISSING": ("没有时间，导入时也没有写明", "there is no time, and none was given with the import"),
    "TIME_FORMAT": ("时间无法识别，请写成 2026-01-31", "the time cannot be read: write 2026-01-31"),
    "SOURCE_MISSING": ("没有来源，导入时也没有写明", "there is no source, and none was given with the import"),
    "CLASS_UNKNOWN": ("数据分级应为 public、internal、important、personal", "the class is public, internal, important or personal"),
    "DOCUMENT_NAME": ("文档编号应为 1 至 64 个字母、数字、点、横线", "a document's id is 1 to 64 letters, digits, dots and dashes"),
    "DOCUMENT_REPEATED": ("同一文件中编号与版本重复，只取第一份", "id and version appear twice in the file; the first is taken"),
    "JSON_MALFORMED": ("该行不是一个完整的 JSON 对象，请一行写一个", "the line is no whole JSON object: write one a line"),
    "PAGE_EMPTY": ("该页没有文字（可能是扫描件）", "the page holds no text, it may be a scan"),
    "CHARACTERS": ("含有不能使用的控制字符，请去掉后再导入", "it holds control characters that cannot be used: take them out"),
    "PERSONAL_DATA": ("含有手机号、证件号、账号等个人信息，未导入", "it holds personal identifiers and was not taken"),
}

_OTHER: Final = {
    b"PK\x03\x04": ("压缩包或工作簿", "an archive or a workbook"),
    b"\xd0\xcf\x11\xe0": ("旧版 Office 文件", "an old Office file"),
    b"%PDF-": ("PDF", "PDF"),
}
UNFIT: Final = re.compile("[\x00-\x08\x0b-\x1f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

# A text in GB18030 does not contain this many well-formed UTF-8 characters before its first malformed one.
_UTF8_EVIDENCE: Final = 6


@dataclass(frozen=True, slots=True)
class Clock:
    """The end of the time that one file may take."""

    until: float
    name: str

    @classmethod
    def of(cls, limits: ReadLimits, name: str) -> Clock:
        return cls(time.monotonic() + limits.milliseconds / 1000, name)

    def check(self) -> None:
        """Raises InvalidRequest READ_TOO_SLOW."""
        if time.monotonic() > self.until:
            raise refuse("READ_TOO_SLOW", self.name, "读取超过时间上限", "reading it took longer than allowed")


def reject(place: int, code: str) -> RejectedItem:
    zh, en = REJECTS[code]
    return RejectedItem(place, code, zh, en)


def refuse(code: str, name: str, zh: str, en: str, **details: str) -> InvalidRequest:
    """The error for a whole file: which, what is wrong, what to do."""
    shown = shown_text(name, 80)
    return InvalidRequest(f"文件“{shown}”未导入：{zh}", f'the file "{shown}" was not imported: {en}', code=code, details={"file": shown, **details})


def too_large(name: str) -> InvalidRequest:
    return refuse("FILE_TOO_LARGE", name, f"超过 {FILE_BYTES >> 20} MiB，请分成几份", f"it has more than {FILE_BYTES >> 20} MiB: split it")


def check_file(content: bytes, kind: str, name: str) -> None:
    """Raises InvalidRequest for another kind of document, an empty file, one that is too large."""
    if kind not in DOCUMENT_KINDS:
        allowed = "、".join(DOCUMENT_KINDS)
        raise refuse("DOCUMENT_KIND", name, f"资料种类只能是 {allowed}", f"the kind of document is one of {', '.join(DOCUMENT_KINDS)}")
    if not content.strip(b"\xef\xbb\xbf \t\r\n"):
        raise refuse("FILE_EMPTY", name, "文件是空的", "the file is empty")
    if len(content) > FILE_BYTES:
        raise too_large(name)


def decode(content: bytes, name: str) -> str:
    """The text of a file in UTF-8, UTF-16 with a mark, or GB18030; line ends become LF.

    Raises InvalidRequest FILE_ENCODING where no one encoding fits the whole of it, FILE_NUL for NUL bytes, FILE_KIND for what is
    no text by its first bytes.
    """
    for magic, (zh, en) in _OTHER.items():
        if content.startswith(magic):
            raise refuse("FILE_KIND", name, f"后缀是文本，内容却是{zh}，请改回原来的后缀", f"by its suffix it is text, but the content is {en}: give it its own suffix")
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            text = content.decode("utf-16")
        except UnicodeDecodeError:
            raise refuse("FILE_ENCODING", name, "损坏的 UTF-16，请另存为 UTF-8", "damaged UTF-16: save it as UTF-8") from None
    else:
        text = _decode_bytes(content, name)
    if "\0" in text:
        raise refuse("FILE_NUL", name, "含有 NUL 字节，不是文本文件，或是没有标记的 UTF-16，请另存为 UTF-8", "it holds a NUL byte: no text, or UTF-16 without its mark; save it as UTF-8")
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def _decode_bytes(content: bytes, name: str) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8")
        line = str(content.count(b"\n", 0, error.start) + 1)
        if content.startswith(codecs.BOM_UTF8) or sum(not character.isascii() for character in before[:100_000]) >= _UTF8_EVIDENCE:
            raise refuse(
                "FILE_ENCODING", name, f"第 {line} 行起不是 UTF-8，一个文件只能用一种编码", f"from line {line} on it is not UTF-8: a file has one encoding",
                line=line,
            ) from None  # fmt: skip
    try:
        return content.decode("gb18030")
    except UnicodeDecodeError as error:
        line = str(content.count(b"\n", 0, error.start) + 1)
        raise refuse(
            "FILE_ENCODING", name, f"编码既不是 UTF-8 也不是 GB18030（第 {line} 行）", f"neither UTF-8 nor GB18030 (line {line})", line=line
        ) from None


def is_fit(text: str) -> bool:
    """No control character but tab and line end, none that turns the direction of what is shown, no half of a surrogate pair."""
    return UNFIT.search(text) is None


def titled(name: str) -> str:
    """The title that a file's name gives, with blanks for `_` and `-`: what is glued to them would pass the rules that redact a title."""
    stem = name.rpartition("/")[2]
    return (stem.rpartition(".")[0] or stem).translate({ord("_"): " ", ord("-"): " "}).strip() or stem

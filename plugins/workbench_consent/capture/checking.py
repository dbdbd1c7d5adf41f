"""Whether the bytes of a signed form are a whole PDF, PNG or JPG. Document: docs/protocols/capture.md section 2. Pure.

Structure only: nothing is rendered or decompressed, so a hostile file costs one pass over its bytes.
"""

from __future__ import annotations

import re
import zlib

PDF, PNG, JPG = "pdf", "png", "jpg"
ENDINGS = {".pdf": PDF, ".png": PNG, ".jpg": JPG, ".jpeg": JPG}
TAIL = 1024

_PDF_HEAD = re.compile(rb"%PDF-[12]\.")
_PDF_END = re.compile(rb"startxref\s+([0-9]{1,12})\s+%%EOF\s*\Z")
_PDF_PLACE = re.compile(rb"\s*(?:xref\b|[0-9]{1,10}\s+[0-9]{1,5}\s+obj\b)")
_PNG_HEAD = b"\x89PNG\r\n\x1a\n"
_JPG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPG_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})


def kind_of(data: bytes) -> str:
    """What the bytes begin as: "pdf", "png", "jpg" or ""."""
    if _PDF_HEAD.match(data):
        return PDF
    if data.startswith(_PNG_HEAD):
        return PNG
    return JPG if data.startswith(b"\xff\xd8\xff") else ""


def fault_of(name: str, data: bytes) -> str:
    """Why a file cannot be taken as a signed form: "FORM_TYPE", "FORM_DAMAGED", or "" when nothing speaks against it.

    name: of the file, only its ending counts. Cost: one pass over the bytes of a PNG, less for the others.
    """
    kind = kind_of(data)
    if not kind or ENDINGS.get("." + name.rpartition(".")[2].lower()) != kind:
        return "FORM_TYPE"
    whole = {PDF: _is_whole_pdf, PNG: _is_whole_png, JPG: _is_whole_jpg}[kind](data)
    return "" if whole else "FORM_DAMAGED"


def _is_whole_pdf(data: bytes) -> bool:
    end = _PDF_END.search(data[-TAIL:])
    if end is None:
        return False
    place = int(end[1])
    return place < len(data) and _PDF_PLACE.match(data, place) is not None


def _is_whole_png(data: bytes) -> bool:
    at, kinds = len(_PNG_HEAD), []
    while at + 12 <= len(data):
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        stop = at + 12 + size
        if stop > len(data) or zlib.crc32(data[at + 4 : stop - 4]) != int.from_bytes(data[stop - 4 : stop], "big"):
            return False
        kinds.append(kind)
        at = stop
        if kind == b"IEND":
            break
    return at == len(data) and kinds[:1] == [b"IHDR"] and kinds[-1] == b"IEND" and b"IDAT" in kinds


def _is_whole_jpg(data: bytes) -> bool:
    end = data.rstrip(b"\x00")
    if not end.endswith(b"\xff\xd9"):
        return False
    at, has_frame = 2, False
    while at + 4 <= len(end):
        if end[at] != 0xFF:
            return False
        marker = end[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker in _JPG_ALONE:
            at += 2
            continue
        size = int.from_bytes(end[at + 2 : at + 4], "big")
        if size < 2 or at + 2 + size > len(end):
            return False
        has_frame = has_frame or marker in _JPG_FRAMES
        if marker == 0xDA:  # the scan: what follows is picture
            return has_frame
        at += 2 + size
    return False

"""Small whole files of the kinds that signed forms have, written byte by byte."""

from __future__ import annotations

import struct
import zlib


def pdf(text: str = "signed") -> bytes:
    body = b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog /Note (" + text.encode() + b") >>\nendobj\n"
    place = len(body)
    table = b"xref\n0 2\n0000000000 65535 f \n0000000009 00000 n \ntrailer\n<< /Size 2 /Root 1 0 R >>\n"
    return body + table + b"startxref\n" + str(place).encode() + b"\n%%EOF\n"


def png(text: str = "signed") -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    parts = [chunk(b"IHDR", head), chunk(b"tEXt", b"Comment\0" + text.encode()), chunk(b"IDAT", zlib.compress(b"\0\0")), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def jpg(text: str = "signed") -> bytes:
    def segment(marker: int, data: bytes) -> bytes:
        return bytes((0xFF, marker)) + struct.pack(">H", len(data) + 2) + data

    frame = segment(0xC0, bytes((8, 0, 1, 0, 1, 1, 1, 0x11, 0)))
    scan = segment(0xDA, bytes((1, 1, 0, 0, 63, 0))) + b"\x12\x34"
    return b"\xff\xd8" + segment(0xFE, text.encode()) + segment(0xDB, bytes(65)) + frame + segment(0xC4, bytes(20)) + scan + b"\xff\xd9"

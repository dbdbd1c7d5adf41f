"""Exported lists against the digests that entries open (evidence.md section 3)."""

from __future__ import annotations

import csv
import io

from workbench_ledger.package.verifier.arithmetic import hmac_sm3, sm3

Csv = bytes
KEY_COLUMNS = {"phone": ("phone", "mobile", "手机号"), "id_no": ("id_no", "身份证号")}


def key_column(content: Csv, key_kind: str) -> list[str]:
    """The identifiers of a CSV file, row by row. key_kind "" takes the only key column. Raises ValueError."""
    text = content.decode("utf-8-sig")
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise ValueError("csv") from error
    header = rows[0] if rows else []
    kinds = [key_kind] if key_kind else list(KEY_COLUMNS)
    places = [header.index(name) for kind in kinds for name in KEY_COLUMNS.get(kind, ()) if name in header]
    if len(places) != 1 or any(row and len(row) <= places[0] for row in rows):
        raise ValueError("column")
    return [row[places[0]] for row in rows[1:] if row]


def list_digest(key: bytes, identifiers: list[str]) -> str:
    """Hex of the keyed digest over the distinct identifiers. Raises ValueError."""
    encoded = sorted({one.encode("utf-8") for one in identifiers})
    if len(key) != 32 or any(not one or b"\n" in one for one in encoded):
        raise ValueError("identifier")
    return hmac_sm3(key, b"workbench/v1/list\n" + b"".join(one + b"\n" for one in encoded)).hex()


def check_list(vouching: list[tuple[str, dict[str, str]]], content: Csv) -> str:
    """"" when an entry vouches for this file, else a code. vouching: key kind and opened fields of each entry.

    Entries that name the whole file go before others.
    """
    candidates = [one for one in vouching if "file_sm3" in one[1]] or vouching
    if not candidates:
        return "LIST_NONE"
    whole, readable = sm3(content).hex(), False
    for key_kind, opened in candidates:
        try:
            digest = list_digest(bytes.fromhex(opened["list_key"]), key_column(content, key_kind))
        except ValueError:
            continue
        readable = True
        if digest == opened["list_digest"] and opened.get("file_sm3", whole) == whole:
            return ""
    return "LIST_OTHER" if readable else "LIST_FILE"

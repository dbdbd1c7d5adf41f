"""The walk of docs/protocols/erasure.md section 11 as data, and what the program really has."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "protocols" / "erasure.md"
NAME = re.compile(r"`([^`]+)`")
WRITES = re.compile(r"vault\.(?:put|put_stream|stage)\(|stage_frame\(|put_frame\(")
NO_OWNERS = {"workbench/store/frames.py", "workbench/store/vault.py"}


def _rows(header: str) -> list[list[str]]:
    """Cells of the table below this header row."""
    lines = DOCUMENT.read_text("utf-8").partition("## 11. ")[2].splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(header)) + 2
    found = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in line.strip("|").split("|")])
    return found


def tables() -> dict[str, str]:
    """Table -> what becomes of the customer's part: none, out, aside or stays."""
    found: dict[str, str] = {}
    for names, becomes, _ in _rows("| table |"):
        for name in NAME.findall(names):
            assert name not in found, f"{name} stands twice"
            found[name] = becomes
    return found


def objects() -> dict[str, set[str]]:
    """Prefix of an object of the vault -> modules that write it."""
    return {
        prefix: set(NAME.findall(writers)) for names, writers, _ in _rows("| object of the vault |") for prefix in NAME.findall(names)
    }


def tables_of(reader: sqlite3.Connection) -> list[str]:
    """Every table there is."""
    return [str(row[0]) for row in reader.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]


def writers_in_sources() -> set[str]:
    """Modules that write objects of the vault, as paths."""
    found = set()
    for folder in ("workbench", "plugins"):
        for path in (ROOT / folder).rglob("*.py"):
            if WRITES.search(path.read_text("utf-8")):
                found.add(path.relative_to(ROOT).as_posix())
    return found - NO_OWNERS

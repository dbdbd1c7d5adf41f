"""docs/intake.md names every spelling, reason and code that the program uses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from workbench.intake import CUSTOMER_FIELDS, FILE_REASONS, GRANT_FIELDS, ROW_REASONS

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "intake.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("code", sorted({**ROW_REASONS, **dict.fromkeys(FILE_REASONS)}))
def test_every_reason_has_its_row(code: str) -> None:
    assert re.search(rf"^\| `{code}` \| .+ \| .+ \|$", TEXT, re.MULTILINE)


@pytest.mark.parametrize("field", sorted({**CUSTOMER_FIELDS, **GRANT_FIELDS}))
def test_every_spelling_stands_in_the_row_of_its_field(field: str) -> None:
    row = re.search(rf"^\| `{field}` \| \S+ \| (.+) \|$", TEXT, re.MULTILINE)
    assert row is not None
    assert set(row[1].split()) == set({**CUSTOMER_FIELDS, **GRANT_FIELDS}[field])


def test_every_code_in_the_sources_is_documented_and_the_other_way_round() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "workbench" / "intake").glob("*.py"))
    audience = set(re.findall(r"\bAUDIENCE_[A-Z_]+\b", sources))
    assert audience == set(re.findall(r"\bAUDIENCE_[A-Z_]+\b", TEXT))
    used = set(re.findall(r'refuse_file\(\s*"([A-Z_]+)"', sources))
    assert used == set(FILE_REASONS), "every file reason is used, and no other"


def test_every_reason_is_written_in_both_languages() -> None:
    for code, (zh, en) in ROW_REASONS.items():
        assert re.search(r"[\u4e00-\u9fff]", zh) and en.isascii(), code

"""docs/consent.md says what the code does: every reason, operation, kind, setting, table and refusal is in it."""

from __future__ import annotations

import re
from pathlib import Path

from workbench_consent import operations, schema
from workbench_consent.grants import Reason
from workbench_consent.reasons import SENTENCES

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "consent.md").read_text("utf-8")


def test_every_reason_stands_in_the_table_in_its_order() -> None:
    rows = [f"| `{reason.code or 'OK'}` | {zh} | {en} |" for reason, (zh, en) in SENTENCES.items()]
    assert len(rows) == len(Reason)
    assert all(row in TEXT for row in rows)
    places = [TEXT.index(f"| `{reason.code or 'OK'}` |") for reason in Reason if reason <= Reason.NO_GRANT]
    assert places == sorted(places)


def test_every_name_staff_may_meet_is_explained() -> None:
    names = [one.name for one in operations.OPERATIONS]
    names += [kind.name for kind in schema.EVIDENCE_KINDS] + [setting.name for setting in schema.SETTINGS]
    names += re.findall(r"CREATE TABLE (\w+)", schema.MIGRATIONS[0].sql)
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "plugins" / "workbench_consent").glob("*.py"))
    names += re.findall(r'code="([A-Z_]+)"', sources)
    names += re.findall(r'Finding\([^)]*"([A-Z]+)"\)', sources)
    assert len(names) > 30
    assert [name for name in names if f"`{name}`" not in TEXT] == []


def test_every_label_that_is_hashed_is_written_down() -> None:
    sources = (ROOT / "plugins" / "workbench_consent" / "grants.py").read_text("utf-8")
    labels = re.findall(r'b"(workbench/v1/[a-z-]+)\\n"', sources)
    assert len(labels) == 5
    assert all(f'"{label}" LF' in TEXT for label in labels)

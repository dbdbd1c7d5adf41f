"""What a report or a result points out reaches the page in both languages; a plain one adds nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import workbench_psi
from workbench_psi.pages import sidecards

LOCALE = Path(workbench_psi.__file__).parent / "locale"
AGE = {"source": "column", "column": "更新日期", "oldest": "2020-01-01", "newest": "2025-01-01", "stale": 7, "undated": 2, "days": 365}


def translate(name: str) -> Any:
    words = json.loads((LOCALE / f"{name}.json").read_text("utf-8"))
    return lambda key, **values: words[key].format(**values)


@pytest.mark.parametrize(("lang", "conflict"), [("zh_CN", "C1（第 2 行） → C4（第 4 行）"), ("en", "C1 (line 2) → C4 (line 4)")])
def test_old_data_and_class_conflicts_stand_in_the_quality_report(lang: str, conflict: str) -> None:
    report = {"age": AGE, "class_conflicts": 1, "conflicts": [{"customer": "kun****01", "lines": [2, 4], "levels": ["C1", "C4"]}]}
    told = json.dumps(sidecards.pointed_out(report, translate(lang)), ensure_ascii=False)
    assert conflict in told and "2020-01-01" in told and "365" in told
    assert sidecards.pointed_out({}, translate(lang)) == []
    calm = {"age": {**AGE, "source": "", "oldest": "", "stale": 0, "undated": 9}, "class_conflicts": 0, "conflicts": []}
    assert len(sidecards.pointed_out(calm, translate(lang))) == 2  # that nobody knows how old it is


@pytest.mark.parametrize("lang", ["zh_CN", "en"])
def test_a_deviation_is_told_with_the_usual_share_and_a_small_one_without_its_own(lang: str) -> None:
    found = [
        {"code": "MATCHED", "share": 0.25, "median": 0.6, "is_below": False},
        {"code": "NO_GRANT", "share": 0.31, "median": 0.5, "is_below": True},
    ]
    told = json.dumps(sidecards.deviations({"earlier": 4, "deviations": found}, translate(lang)), ensure_ascii=False)
    assert all(one in told for one in ("25 %", "60 %", "31 %", "50 %")) and ("at most" in told or "不超过" in told)
    assert sidecards.deviations({"earlier": 4, "deviations": []}, translate(lang)) == [] == sidecards.deviations({}, translate(lang))

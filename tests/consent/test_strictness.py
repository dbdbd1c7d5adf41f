"""Production is stricter by itself; demo and test are lax; what is loosened shows. docs/settings.md, docs/consent.md section 1."""

from __future__ import annotations

from typing import Any

import pytest
import workbench_assessment
import workbench_consent
from consent_house import House, phone_number
from test_capture_forms import approved
from workbench_consent import health, operations
from workbench_consent.capture import backdating

from workbench.errors import Refused
from workbench.settings import Settings

STRICT = {
    "consent.notice_required": (False, True), "consent.backdating_required": (False, True), "consent.representative_required": (False, True),
    "assessment.stage": ("trial", "formal"),
}  # fmt: skip
DECLARED = [*workbench_consent.workbench_settings(), *workbench_assessment.workbench_settings()]


@pytest.mark.parametrize("name", STRICT)
def test_production_has_the_strict_default_and_the_others_the_lax_one(name: str) -> None:
    lax, strict = STRICT[name]
    assert [Settings(DECLARED, workspace=kind)[name] for kind in ("demo", "test", "production")] == [lax, lax, strict]
    assert Settings(DECLARED, {name: lax}, workspace="production")[name] == lax, "the settings file decides"


def test_no_other_default_depends_on_the_kind_of_workspace() -> None:
    assert {one.name for one in DECLARED if one.production is not None} == set(STRICT)


def test_what_production_loosens_stands_on_the_health_page(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    values = dict.fromkeys(health.STRICT, True) | {"consent.notice_required": False}
    plain = house.setting
    monkeypatch.setattr(house, "setting", lambda name: values[name] if name in values else plain(name))
    assert not [one for one in health.reports(house) if one.name == "consent.strictness"]
    monkeypatch.setattr(house, "kind", "production")
    [line] = [one for one in health.reports(house) if one.name == "consent.strictness"]
    assert (line.state, "consent.notice_required" in line.zh, "representative" in line.zh) == ("warning", True, False)


def give(house: House, *lines: str, **request: Any) -> Any:
    house.write_file(lines, "rows.csv")
    operation = next(one for one in operations.OPERATIONS if one.name == "consent.import")
    return operation.run(house.context(), operation.request(file="rows.csv", **request))


def row(number: int, begins: str) -> str:
    return f"{phone_number(number)},,wealth-marketing,bank,{begins},2027-06-01,,"


def test_where_it_is_required_rows_of_the_past_need_a_second_person(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    past, today = row(1, "2026-05-20"), row(2, "2026-06-01")
    assert give(house, past).accepted == 1, "the lax default takes the file's word"
    plain = house.setting
    monkeypatch.setattr(house, "setting", lambda name: True if name == "consent.backdating_required" else plain(name))
    reply = give(house, row(3, "2026-05-20"), today, max_bad_share=0.5)
    assert (reply.accepted, reply.reasons) == (1, {"BACKDATED": 1})
    assert "BACKDATED" in house.downloads.offered["rejects.csv"].decode()
    early = backdating.start_of_today(house) - 20 * 86_400_000
    for proposal in (approved(house, earliest_ms=early, by="t-zhao"), approved(house, earliest_ms=early + 15 * 86_400_000)):
        with pytest.raises(Refused) as refusal:
            give(house, row(3, "2026-05-20"), backdating=proposal)
        assert refusal.value.code == "BACKDATED"
    good = approved(house, earliest_ms=early)
    assert give(house, row(3, "2026-05-20"), backdating=good).accepted == 1
    assert house.entries("consent.imported")[-1]["proposal"] == good
    with pytest.raises(Refused):
        give(house, row(4, "2026-05-20"), backdating=good)

"""Processing records are a view of the log: the same as the log, in the same numbers, whatever the tables say. docs/assessment.md section 3."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta

import pytest

from tests.assessment.conftest import Office, PURPOSE
from workbench.domain.party import Role
from workbench.errors import Denied, InvalidRequest

THREE_YEARS_MS = 3 * 365 * 86_400_000


def test_each_release_is_one_record_with_what_the_log_says_of_it(office: Office) -> None:
    released = {one.job: one for one in office.entries("intersection.released")}
    told = {one.job: one for one in office.call("assessment.records", limit=1000).records}
    assert set(told) == set(released) and office.job in told
    one, entry = told[office.job], released[office.job]
    assert (one.partner, one.purpose, one.provided, one.received) == ("bank", PURPOSE, "broker -> bank", "bank -> broker")
    assert one.persons == int(entry.values["customers"]) > 0 and one.at_ms == entry.time_ms
    assert one.keep_until_ms >= one.at_ms + THREE_YEARS_MS
    assert "资产档" in one.audience and one.lawful_basis == "consent" and one.approved_by
    snapshots = {two.values["snapshot"] for two in office.three.entries("broker", job=office.job, kind="consent.snapshot")}
    assert one.snapshot in snapshots
    exports = office.three.entries("broker", job=office.job, kind="intersection.exported")
    assert one.exports == len(exports) and one.exported_persons == sum(int(two.values["customers"]) for two in exports)
    assert "资产档" in one.columns.split()
    for reference in one.entries:
        kind, index = reference.split()
        assert office.three.entries("broker", job=office.job, kind=kind) and any(
            two.ref.index == int(index) for two in office.three.entries("broker", job=office.job, kind=kind)
        )


def test_the_partner_has_the_mirror_image(office: Office) -> None:
    mine = next(one for one in office.call("assessment.records", limit=1000).records if one.job == office.job)
    theirs = next(one for one in office.call("assessment.records", party="bank", limit=1000).records if one.job == office.job)
    assert (theirs.provided, theirs.received, theirs.persons) == (mine.received, mine.provided, mine.persons)


def test_nothing_in_the_tables_can_change_a_record(office: Office) -> None:
    """A view of the co-signed log: who rewrites host_job changes no record."""
    before = office.call("assessment.records", limit=1000)
    node = office.node
    row = node.store.write(lambda tx: tuple(tx.execute("SELECT terms, request FROM host_job WHERE job = ?", (office.job,)).fetchone()))
    node.store.write(
        lambda tx: tx.execute("UPDATE host_job SET terms = json_set(terms, '$.purpose', 'other'), request = '{}' WHERE job = ?", (office.job,)) and None
    )
    try:
        assert office.call("assessment.records", limit=1000) == before
    finally:
        node.store.write(lambda tx: tx.execute("UPDATE host_job SET terms = ?, request = ? WHERE job = ?", (*row, office.job)) and None)


def test_csv_and_json_hold_the_same_records_and_the_export_is_evidence(office: Office) -> None:
    made = {form: office.call("assessment.export_records", format=form) for form in ("csv", "json")}
    rows = list(csv.DictReader(io.StringIO(office.file(made["csv"]).decode("utf-8-sig"))))
    told = json.loads(office.file(made["json"]))
    assert len(rows) == len(told["records"]) == made["csv"].records == made["json"].records >= 1
    for row, record in zip(rows, told["records"], strict=True):
        assert (row["job"], row["at"], row["persons"], row["keep_until"]) == (record["job"], record["at"], str(record["persons"]), record["keep_until"])
        assert row["entries"].split(" | ") == record["entries"]
    assert told["about"]["institution"] == "broker"
    assert [one.values["format"] for one in office.entries("assessment.records_exported")][-2:] == ["csv", "json"]


def test_days_are_those_of_shanghai_and_both_are_included(office: Office) -> None:
    today = office.node.today()
    assert office.call("assessment.records", from_day=str(today), to_day=str(today)).total == office.call("assessment.records").total
    yesterday = str(today - timedelta(days=1))
    assert office.call("assessment.records", from_day=yesterday, to_day=yesterday).total == 0
    with pytest.raises(InvalidRequest):
        office.call("assessment.records", from_day=str(today), to_day=yesterday)


def test_the_regulator_reads_them_and_marketing_does_not(office: Office) -> None:
    with pytest.raises(Denied):
        office.call("assessment.records", Role.MARKETING)
    with pytest.raises(Denied):
        office.call("assessment.export_records", Role.APPROVER)
    assert Role.REGULATOR in office.node.gate.registry.named("assessment.records").roles

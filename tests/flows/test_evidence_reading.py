"""What staff are told about evidence: the story of a job, checks of it, and what a changed database looks like to them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest

from workbench.contracts import OperationContext
from workbench.domain.party import Role
from workbench.errors import Cancelled, NotFound, WorkbenchError
from workbench.node.evidence_checking import Checker

from tests.flows import population
from tests.flows.evidence import change_body, index_of, no_sealing, sealed_job, signed_by_all, timeline
from tests.flows.institutions import Institutions, fresh_institutions


@pytest.fixture(scope="module")
def house() -> Iterator[Institutions]:
    """Institutions of this file alone: their databases are edited by hand."""
    with fresh_institutions() as made:
        yield made


@pytest.fixture(scope="module")
def job(house: Institutions) -> str:
    return sealed_job(house)


def test_a_job_reads_as_one_story_in_which_every_frame_has_both_records(house: Institutions, job: str) -> None:
    reply = timeline(house, job)
    messages = [one for one in reply.entries if one.kind == "intersection.message"]
    places = {f"{one.log}/{one.index}": one for one in messages}
    assert reply.one_sided == []
    assert len(messages) > 100
    for one in messages:
        other = places[one.counterpart]
        assert other.counterpart == f"{one.log}/{one.index}"
        assert {one.values["direction"], other.values["direction"]} == {"sent", "received"}
        assert one.values["digest"] == other.values["digest"]
    assert {one.log for one in reply.entries} == {"broker", "bank"}


def test_values_of_the_partner_that_are_only_committed_are_named_and_not_shown(house: Institutions, job: str) -> None:
    [theirs] = [one for one in timeline(house, job, kind="intersection.released").entries if one.log == "bank"]
    [mine] = [one for one in timeline(house, job, kind="intersection.released").entries if one.log == "broker"]
    assert "customers" in theirs.closed and "customers" not in theirs.values
    assert "customers" in mine.values and "list_key" not in mine.values


def test_a_search_narrows_the_partners_entries_as_well_as_the_own(house: Institutions, job: str) -> None:
    kinds = {one.kind for one in timeline(house, job, kind="intersection.contract").entries}
    logs = [one.log for one in timeline(house, job, kind="intersection.contract").entries]
    assert kinds == {"intersection.contract"} and sorted(logs) == ["bank", "broker"]
    digest = timeline(house, job, kind="intersection.contract").entries[0].values["contract"]
    found = timeline(house, job, text=digest).entries
    assert found and all(digest in one.values.values() for one in found)
    assert timeline(house, job, text="there is no such thing").entries == []


def test_a_person_is_found_by_name_and_by_token(house: Institutions, job: str) -> None:
    [proposed] = timeline(house, job, kind="intersection.proposed").entries
    assert proposed.actor != proposed.actor_token
    by_name = timeline(house, text=proposed.actor).entries
    assert proposed.index in {one.index for one in by_name}
    assert {one.index for one in by_name} == {one.index for one in timeline(house, text=proposed.actor_token).entries}


def test_a_mirror_can_be_read_and_paged(house: Institutions, job: str) -> None:
    newest = house.call("broker", Role.COMPLIANCE, "evidence.timeline", log="bank", limit=10)
    older = house.call(
        "broker", Role.COMPLIANCE, "evidence.timeline", log="bank", limit=10, before=newest.entries[0].index
    )
    indices = [one.index for one in [*older.entries, *newest.entries]]
    assert indices == list(range(newest.total - 20, newest.total))
    assert {one.log for one in newest.entries} == {"bank"} and newest.more
    with pytest.raises(NotFound):
        house.call("broker", Role.COMPLIANCE, "evidence.timeline", log="nobody")


def test_marketing_reads_and_checks_jobs_but_neither_consent_nor_the_whole_log(house: Institutions, job: str) -> None:
    reply = timeline(house, job, Role.MARKETING)
    assert {one.kind.split(".")[0] for one in reply.entries} == {"intersection"}
    checked = house.call("broker", Role.MARKETING, "evidence.check", job=job)
    assert checked.changed == 0 and checked.checked == len(reply.entries)
    with pytest.raises(WorkbenchError) as refused:
        house.call("broker", Role.MARKETING, "evidence.audit")
    assert refused.value.code == "DENIED"


def test_every_entry_of_a_sealed_job_agrees_with_what_was_signed(house: Institutions, job: str) -> None:
    reply = house.call("broker", Role.COMPLIANCE, "evidence.check", job=job)
    assert (reply.changed, reply.pending) == (0, 0) and reply.agree == reply.checked > 200
    assert [one.log for one in reply.logs] == ["bank", "broker"]
    for one in reply.logs:
        assert one.required == ["bank", "broker"]
        assert all(signature.valid and signature.time_ms for signature in one.signatures)
    assert reply.without_values > 0
    with pytest.raises(NotFound):
        house.call("broker", Role.COMPLIANCE, "evidence.check", job="J-20000101-00000000")


def test_a_changed_field_is_named_with_both_values_and_the_first_link_breaks(house: Institutions, job: str) -> None:
    index = index_of(house, "broker", job, "intersection.released")
    undo = change_body(house, "broker", index, lambda body: body.replace(b'"key_kind":"phone"', b'"key_kind":"id_no"'))
    try:
        [seen] = [one for one in timeline(house, job).entries if one.problem]
        assert (seen.log, seen.index, seen.problem) == ("broker", index, "EDITED")
        reply = house.call("broker", Role.COMPLIANCE, "evidence.check", job=job)
        assert [(one.log, one.index, one.problem) for one in reply.problems] == [("broker", index, "EDITED")]
        [comparison] = reply.comparisons
        assert comparison.proven and comparison.copies == {"bank": "cosigned", "cardnet": "cosigned"}
        differing = [one for one in comparison.rows if one.here != one.cosigned]
        assert [(one.name, one.here, one.cosigned) for one in differing] == [("key_kind", "id_no", "phone")]
        entry = house.call("broker", Role.MARKETING, "evidence.entry", log="broker", index=index)
        assert entry.problem == "EDITED" and entry.verdict == "FAILED"
        assert all(one.valid for one in entry.signatures) and entry.proof["leaf"] != ""
        audit = house.call("broker", Role.COMPLIANCE, "evidence.audit")
        assert not audit.holds and [one.index for one in audit.comparisons] == [index]
    finally:
        undo()
    assert house.call("broker", Role.COMPLIANCE, "evidence.audit").holds


def test_a_body_that_is_no_envelope_any_more_hides_nothing_else(house: Institutions, job: str) -> None:
    """The page of a job must open although one of its rows was ruined; that row is red and keeps its place."""
    index = index_of(house, "broker", job, "intersection.contract")
    count = len(timeline(house, job).entries)
    for ruin in (lambda body: body[:-7], lambda _: b"\xff\x00", lambda body: body.replace(b'"v":', b'"w":')):
        undo = change_body(house, "broker", index, ruin)
        try:
            entries = timeline(house, job).entries
            assert len(entries) == count
            assert [(one.index, one.problem, one.kind) for one in entries if one.problem] == [
                (index, "UNREADABLE", "intersection.contract")
            ]
            entry = house.call("broker", Role.COMPLIANCE, "evidence.entry", log="broker", index=index)
            assert (entry.problem, entry.verdict, entry.receipt) == ("EDITED", "FAILED", {})
            reply = house.call("broker", Role.COMPLIANCE, "evidence.check", job=job)
            assert [one.index for one in reply.problems] == [index] and reply.comparisons[0].proven
        finally:
            undo()


def test_a_changed_commitment_is_a_changed_entry_and_no_fault(house: Institutions, job: str) -> None:
    index = index_of(house, "broker", job, "intersection.cardinality")

    def flip(body: bytes) -> bytes:
        at = body.index(b'"cardinality":"') + len(b'"cardinality":"')
        return body[:at] + (b"0" if body[at : at + 1] != b"0" else b"1") + body[at + 1 :]

    undo = change_body(house, "broker", index, flip)
    try:
        [seen] = [one for one in timeline(house, job).entries if one.problem]
        assert (seen.index, seen.problem) == (index, "OPENING")
        comparison = house.call("broker", Role.COMPLIANCE, "evidence.compare", log="broker", index=index)
        assert [one.name for one in comparison.rows if one.here != one.cosigned] == ["cardinality"]
    finally:
        undo()


def test_a_damaged_copy_of_a_partners_log_is_compared_with_the_partner(house: Institutions, job: str) -> None:
    index = index_of(house, "bank", job, "intersection.released")
    path = house.nodes["broker"].folder / "evidence.db"
    with sqlite3.connect(path, timeout=30) as database:
        kept = database.execute(
            "SELECT name, sql FROM sqlite_master WHERE tbl_name = 'ledger_mirror_entry' AND type = 'trigger'"
        ).fetchall()
        for name, _ in kept:
            database.execute(f"DROP TRIGGER {name}")
        place = ("bank", index)
        [before] = database.execute("SELECT body FROM ledger_mirror_entry WHERE origin = ? AND idx = ?", place).fetchone()
        database.execute(
            "UPDATE ledger_mirror_entry SET body = ? WHERE origin = ? AND idx = ?",
            (before.replace(b'"attempt":"1"', b'"attempt":"7"'), *place),
        )
        database.commit()
        try:
            comparison = house.call("broker", Role.COMPLIANCE, "evidence.compare", log="bank", index=index)
            assert comparison.copies == {"bank": "cosigned"} and comparison.proven
            assert [(r.name, r.here, r.cosigned) for r in comparison.rows if r.here != r.cosigned] == [("attempt", "7", "1")]
            assert house.call("broker", Role.COMPLIANCE, "evidence.check", job=job).changed == 1
        finally:
            database.execute("UPDATE ledger_mirror_entry SET body = ? WHERE origin = ? AND idx = ?", (before, *place))
            for _, sql in kept:
                database.execute(sql)
    database.close()


def test_an_absent_partner_leaves_the_change_found_and_the_field_unnamed(house: Institutions, job: str) -> None:
    index = index_of(house, "broker", job, "intersection.sealed")
    undo = change_body(house, "broker", index, lambda body: body.replace(b'"partner":"bank"', b'"partner":"bonk"'))
    house.wire.cut("bank", "cardnet")
    try:
        reply = house.call("broker", Role.COMPLIANCE, "evidence.check", job=job)
        assert [one.index for one in reply.problems] == [index]
        assert reply.comparisons[0].copies == {"bank": "absent", "cardnet": "absent"}
        assert not reply.comparisons[0].proven and reply.comparisons[0].rows == []
    finally:
        house.wire.mend()
        undo()


def test_an_entry_of_a_moment_ago_is_pending_and_says_who_is_missing(house: Institutions, job: str) -> None:
    house.wire.rules.append(no_sealing)
    try:
        other = house.propose("broker", "bank", population.RICH)
        reply = house.call("broker", Role.COMPLIANCE, "evidence.check", job=other)
        assert reply.pending == reply.checked > 0 and reply.changed == 0
        assert [log.log for log in reply.logs] == ["broker"]
        assert reply.logs[0].required == ["bank", "broker"]
        assert [one.party for one in reply.logs[0].signatures if not one.valid] == ["bank", "cardnet"]
    finally:
        house.wire.mend()


def test_an_audit_can_be_stopped_and_then_tells_nothing(house: Institutions, job: str) -> None:
    task = house.nodes["broker"].gate.registry.named("evidence.audit")
    caller = house.caller("broker", Role.COMPLIANCE)
    told: list[tuple[int, int]] = []
    context = OperationContext(
        host=house.nodes["broker"], caller=caller, progress=lambda done, total, *_: told.append((done, total)),
        cancelled=lambda: True,
    )  # fmt: skip
    with pytest.raises(Cancelled):
        task.run(context, task.request())
    assert told and all(done <= total for done, total in told)


@pytest.mark.parametrize("between", ["entry_bodies", "leaves"])
def test_an_entry_that_is_written_while_it_is_looked_for_is_neither_deleted_nor_edited(
    house: Institutions, monkeypatch: pytest.MonkeyPatch, between: str
) -> None:
    node = house.nodes["broker"]
    read, index, written = getattr(node.ledger, between), node.ledger.size("broker"), []

    def before_it_is_written(*place: Any) -> Any:
        found = read(*place)
        if not written:
            written.append(node.store.write(lambda tx: node.evidence.append(tx, "people.password_changed", {})))
        return found

    monkeypatch.setattr(node.ledger, between, before_it_is_written)
    try:
        assert Checker(node).check(node.party, index).problem == ""
    except NotFound:
        assert between == "entry_bodies", "nothing of it was there at the first look"
    assert Checker(node).check(node.party, index).problem == ""


def test_entries_are_not_called_sealed_by_co_signatures_that_came_after_their_check(
    house: Institutions, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, _ = house.run("broker", "bank", population.RICH)
    node, check = house.nodes["broker"], Checker.check

    def pending() -> int:
        return int(house.call("broker", Role.COMPLIANCE, "evidence.check", job=mine.job).pending)

    house.wait_until(lambda: signed_by_all(house, mine.job) and pending() == 0)
    house.wire.rules.append(no_sealing)
    house.exported("broker", mine.job)
    exported = index_of(house, "broker", mine.job, "intersection.exported")

    def late(self: Checker, log: Any, index: int) -> Any:
        found = check(self, log, index)
        if (log, index) == ("broker", exported):
            house.wire.mend()
            house.wait_until(lambda: node.ledger.seal(node.party, index).state == "FULL")
        return found

    monkeypatch.setattr(Checker, "check", late)
    assert pending() > 0
    monkeypatch.undo()
    assert pending() == 0

"""Every rule that says no: with its code, recorded as evidence, and nothing half-done."""

from __future__ import annotations

import json
import re
import sqlite3
import threading
from typing import Any

import pytest

from workbench.domain.party import Role
from workbench.errors import WorkbenchError
from workbench.gate import action_digest

from tests.flows import population
from tests.flows.institutions import Institutions


def refused_with(three: Institutions, code: str, party: str, role: Role, operation: str, /, **request: Any) -> Any:
    """The refusal of an operation, which must be in this party's own log and change no job."""
    before = jobs(three, party)
    recorded = len(three.entries(party, kind="action.refused"))
    with pytest.raises(WorkbenchError) as raised:
        three.call(party, role, operation, **request)
    assert raised.value.code == code, raised.value
    assert raised.value.zh and raised.value.en
    entries = three.entries(party, kind="action.refused")[recorded:]
    assert [(one.values["operation"], one.values["code"]) for one in entries] == [(operation, code)]
    assert entries[0].actor == three.caller(party, role).person.token
    assert jobs(three, party) == before
    return raised.value


def jobs(three: Institutions, party: str) -> list[tuple[str, str]]:
    return sorted((job.job, job.state) for job in three.nodes[party].jobs.all())


GOOD = {"partner": "bank", "purpose": population.RICH}


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("UNKNOWN_PARTY", {"partner": "nobody"}),
        ("UNKNOWN_PARTY", {"partner": "broker"}),
        ("UNKNOWN_PURPOSE", {"purpose": "gossip"}),
        ("UNDECLARED_LIST", {"list_id": "C-000000000000"}),
        ("EMPTY_AUDIENCE", {"audience": "资产档 = Z"}),
        ("AUDIENCE_SYNTAX", {"audience": "资产档 in (A"}),
        ("TOO_FEW_CUSTOMERS", {"audience": "资产档 = A"}),
        ("TOO_FEW_CUSTOMERS", {"minimum_crowd": 5000}),
        ("UNKNOWN_COLUMN", {"columns": ["没有这一列"]}),
        ("INVALID_REQUEST", {"minimum_crowd": 0}),
        ("INVALID_REQUEST", {"key_kind": "shoe_size"}),
    ],
)
def test_a_proposal_that_cannot_run_is_refused_before_anybody_hears_of_it(
    three: Institutions, code: str, change: dict[str, Any]
) -> None:
    three.wire.keeps = True
    refusal = refused_with(three, code, "broker", Role.MARKETING, "intersection.propose", **{**GOOD, **change})
    assert not [call for call in three.wire.calls if call[2] == "message"]
    assert "100000" not in f"{refusal} {refusal.details}"


def test_no_consent_is_refused_with_the_number_for_each_reason(apart: Institutions, tmp_path: Any) -> None:
    from tests.flows.institutions import CATALOGUE, write_customers

    path = write_customers(tmp_path / "new.csv", [(f"N{one}", population.phone(500 + one), "A") for one in range(60)])
    made = apart.call("broker", Role.MARKETING, "lists.import", file=apart.upload("broker", path), catalogue=CATALOGUE)
    refusal = refused_with(
        apart, "NO_CONSENT", "broker", Role.MARKETING, "intersection.propose", **GOOD, list_id=made.list_id
    )
    assert refusal.details == {"NO_GRANT": "60"}


@pytest.mark.parametrize(
    ("role", "operation"),
    [(Role.APPROVER, "intersection.propose"), (Role.MARKETING, "intersection.approve"), (Role.AUDITOR, "intersection.export")],
)
def test_a_wrong_role_is_denied_and_recorded(three: Institutions, role: Role, operation: str) -> None:
    node = three.nodes["broker"]
    recorded = len(three.entries("broker", kind="action.refused"))
    with pytest.raises(WorkbenchError) as raised:
        node.gate.call(operation, {"job": "J-20261121-0a1b2c3d"}, three.caller("broker", role))
    assert raised.value.code == "DENIED"
    assert len(three.entries("broker", kind="action.refused")) == recorded + 1


def test_nobody_approves_what_their_own_institution_proposed(three: Institutions, purpose: str) -> None:
    job = three.propose("broker", "bank", purpose)
    refused_with(three, "SELF_APPROVAL", "broker", Role.APPROVER, "intersection.approve", job=job)
    assert three.nodes["broker"].jobs.get(job).state == "PROPOSED"
    three.call("broker", Role.MARKETING, "intersection.cancel", job=job)
    three.wait("bank", job, "WITHDRAWN")


def test_a_notebook_token_approves_and_exports_nothing(three: Institutions, purpose: str) -> None:
    job = three.propose("broker", "bank", purpose)
    node = three.nodes["bank"]
    kernel = three.caller("bank", Role.APPROVER, kernel=True)
    with pytest.raises(WorkbenchError, match="KERNEL_TOKEN"):
        node.gate.call("intersection.approve", {"job": job}, kernel)
    digest = action_digest(
        "intersection.approve", node.gate.validate(node.gate.registry.named("intersection.approve"), {"job": job})
    )
    _, password = three.workspace.sign_in("bank", Role.APPROVER)
    with pytest.raises(WorkbenchError, match="KERNEL_TOKEN"):
        node.people.confirm(kernel, password=password, action_digest=digest)
    # Not even with a confirmation that the same person gave on the node's own page.
    secret = node.people.confirm(three.caller("bank", Role.APPROVER), password=password, action_digest=digest)
    with pytest.raises(WorkbenchError, match="KERNEL_TOKEN"):
        node.gate.call("intersection.approve", {"job": job}, kernel, confirmation=secret)
    assert three.entries("bank", kind="action.refused")[-1].values["code"] == "KERNEL_TOKEN"
    with pytest.raises(WorkbenchError, match="KERNEL_TOKEN"):
        three.call("broker", Role.MARKETING, "intersection.export", kernel=True, job=job)
    assert three.nodes["bank"].jobs.get(job).state == "PROPOSED"
    three.call("bank", Role.APPROVER, "intersection.reject", job=job, reason="试验")


def test_a_confirmation_serves_one_person_one_action_once(three: Institutions, purpose: str) -> None:
    jobs_made = [three.propose("broker", "bank", purpose) for _ in range(2)]
    node = three.nodes["bank"]
    approver, compliance = three.caller("bank", Role.APPROVER), three.caller("bank", Role.COMPLIANCE)
    _, password = three.workspace.sign_in("bank", Role.APPROVER)

    def digest(job: str) -> str:
        operation = node.gate.registry.named("intersection.approve")
        return action_digest("intersection.approve", node.gate.validate(operation, {"job": job}))

    def approve(job: str, secret: str) -> str:
        with pytest.raises(WorkbenchError) as raised:
            node.gate.call("intersection.approve", {"job": job}, approver, confirmation=secret)
        return raised.value.code

    assert approve(jobs_made[0], "") == approve(jobs_made[0], "0" * 64) == "CONFIRMATION_NEEDED"
    foreign = node.people.confirm(approver, password=password, action_digest=digest(jobs_made[0]))
    assert approve(jobs_made[1], foreign) == "CONFIRMATION_NEEDED"
    assert approve(jobs_made[0], foreign) == "CONFIRMATION_NEEDED", "a confirmation tried elsewhere is spent"
    _, other = three.workspace.sign_in("bank", Role.COMPLIANCE)
    theirs = node.people.confirm(compliance, password=other, action_digest=digest(jobs_made[0]))
    assert approve(jobs_made[0], theirs) == "CONFIRMATION_NEEDED"
    changed = node.people.confirm(approver, password=password, action_digest=digest(jobs_made[0]))
    with pytest.raises(WorkbenchError, match="CONFIRMATION_NEEDED"):
        node.gate.call("intersection.approve", {"job": jobs_made[0], "audience": "资产档 = A"}, approver, confirmation=changed)
    good = node.people.confirm(approver, password=password, action_digest=digest(jobs_made[0]))
    three.wire.cut("broker")  # so that nothing starts
    node.gate.call("intersection.approve", {"job": jobs_made[0]}, approver, confirmation=good)
    assert approve(jobs_made[0], good) == "CONFIRMATION_NEEDED"
    old = node.people.confirm(approver, password=password, action_digest=digest(jobs_made[1]))
    now, node.people._now_ms = node.people._now_ms, lambda: now() + 5 * 60_000 + 1
    try:
        assert approve(jobs_made[1], old) == "CONFIRMATION_NEEDED"
    finally:
        node.people._now_ms = now
    assert [three.nodes["bank"].jobs.get(job).state for job in jobs_made] == ["APPROVED", "PROPOSED"]
    three.wire.mend()
    three.both("broker", "bank", jobs_made[0], "RELEASED")


def test_a_rejection_ends_the_proposal_on_both_sides_and_its_reason_stays_where_it_was_given(
    three: Institutions, purpose: str
) -> None:
    job = three.propose("broker", "bank", purpose)
    three.call("bank", Role.APPROVER, "intersection.reject", job=job, reason="与本季计划不符")
    mine, _ = three.both("broker", "bank", job, "REJECTED")
    assert mine.error["code"] == "REJECTED"
    assert "与本季计划不符" not in json.dumps(
        [dict(one.values) for one in three.entries("broker", job)] + [mine.error], ensure_ascii=False
    )
    assert three.entries("bank", job, "intersection.rejected")[0].values["reason"] == "与本季计划不符"
    assert three.entries("broker", job, "intersection.ended")[0].values["state"] == "REJECTED"
    refused_with(three, "NOT_NOW", "bank", Role.APPROVER, "intersection.approve", job=job)
    refused_with(three, "NOT_NOW", "broker", Role.MARKETING, "intersection.run", job=job)


def test_an_expired_proposal_can_neither_be_approved_nor_run_and_ends_on_both_sides(
    three: Institutions, purpose: str
) -> None:
    job = three.propose("broker", "bank", purpose)
    broker, bank = three.nodes["broker"], three.nodes["bank"]
    later = 8 * 86_400_000
    clocks = {node: node.now_ms for node in (broker, bank)}
    idle = threading.Event()
    bank.flow.expire = idle.set  # or the job might be gone before anybody asks
    bank.negotiations.wake()
    assert idle.wait(60), "the thread that expires proposals has left the real rule"
    bank.now_ms = lambda: clocks[bank]() + later
    try:
        refused_with(three, "EXPIRED", "bank", Role.APPROVER, "intersection.approve", job=job)
        del bank.flow.expire
        three.wait("bank", job, "EXPIRED")
        broker.now_ms = lambda: clocks[broker]() + later
        three.wait("broker", job, "EXPIRED")
    finally:
        broker.now_ms, bank.now_ms = clocks[broker], clocks[bank]
    for party in ("broker", "bank"):
        assert three.entries(party, job, "intersection.ended")[-1].values["code"] == "EXPIRED"


def test_a_proposal_that_arrives_with_implausible_terms_is_not_taken(three: Institutions, purpose: str) -> None:
    broker = three.nodes["broker"]
    job = three.propose("broker", "bank", purpose)
    terms = broker.jobs.get(job).terms.as_json()
    other = "J-20261121-0a1b2c3d"
    for change, code in (
        ({"initiator": "cardnet", "directions": "cardnet->bank bank->cardnet"}, "WRONG_PARTY"),
        ({"purpose": "gossip"}, "UNKNOWN_PURPOSE"),
        ({"engine": "spu/1"}, "NO_ENGINE"),
        ({"minimum_crowd": "0"}, "BAD_TERMS"),
        ({"valid_until_ms": "5"}, "BAD_TERMS"),
        ({"minimum_crowd": "٥٠"}, "MALFORMED"),
        ({"extra": "x"}, "MALFORMED"),
        ({"job": job}, "OTHER_JOB"),
    ):
        with pytest.raises(WorkbenchError) as raised:
            broker.negotiations.send_now("bank", other, "proposal", {**terms, "job": other, **change})
        assert raised.value.code == code, change
        refusal = three.entries("bank", kind="peer.refused")[-1]
        assert (refusal.values["code"], refusal.values["peer"]) == (code, "broker")
    with pytest.raises(WorkbenchError, match="JOB_EXISTS"):
        broker.negotiations.send_now("bank", job, "proposal", terms)
    assert three.nodes["bank"].jobs.get(job).state == "PROPOSED"
    with pytest.raises(WorkbenchError, match="NO_JOB"):
        three.nodes["bank"].jobs.get(other)


def test_below_the_floor_nobody_keeps_a_result_row_or_a_count(three: Institutions, purpose: str) -> None:
    """Decisions 9 and 2: REFUSED_SMALL, and the number of common customers lies in no table of either side."""
    count = len(population.expected("broker", "bank", purpose))
    assert count == 98
    mine, theirs = three.run("broker", "bank", purpose, "REFUSED_SMALL", minimum_crowd=120)
    for party, found in (("broker", mine), ("bank", theirs)):
        node = three.nodes[party]
        assert found.result == {}
        assert [step["code"] for step in found.waterfall] == ["imported", "audience", "consent"]
        assert found.error["code"] == "REFUSED_SMALL" and not re.search(r"\d", found.error["zh"] + found.error["en"])
        assert not re.search(r"\d", json.dumps(found.error["details"]))
        kinds = three.kinds(party, found.job)
        assert kinds[-1] == "intersection.refused_small"
        assert not {"intersection.cardinality", "intersection.struck", "intersection.released"} & set(kinds)
        values = [value for entry in three.entries(party, found.job) for value in entry.values.values()]
        assert str(count) not in values
        with node.store.read() as reader:
            assert not node.vault.names(reader, f"result/{found.job}")
        assert numbers_in_tables(three, party, found.job, count) == []
        with pytest.raises(WorkbenchError, match="NOT_RELEASED"):
            three.call(party, Role.MARKETING, "intersection.result", job=found.job)
        with pytest.raises(WorkbenchError, match="NOT_RELEASED"):
            three.call(party, Role.MARKETING, "intersection.export", job=found.job)
    refused_with(three, "NOT_NOW", "broker", Role.MARKETING, "intersection.run", job=mine.job)


def numbers_in_tables(three: Institutions, party: str, job: str, number: int) -> list[str]:
    """Cells that hold this number, in rows that belong to a job, whatever their table."""
    found = []
    path = three.nodes[party].folder / "evidence.db"
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as reader:
        tables = [name for (name,) in reader.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            cursor = reader.execute(f'SELECT * FROM "{table}"')
            columns = [one[0] for one in cursor.description]
            for row in cursor:
                if not any(isinstance(cell, (str, bytes)) and job in _text(cell) for cell in row):
                    continue
                for column, cell in zip(columns, row, strict=True):
                    text = _text(cell)
                    if re.search(rf'(?<![\w.:-]){number}(?![\w.:-])', text) and column not in ("idx", "entry_idx", "id"):
                        found.append(f"{table}.{column}: {text[:200]}")
    return found


def _text(cell: object) -> str:
    return cell.decode("utf-8", "replace") if isinstance(cell, bytes) else str(cell)


def test_the_higher_of_both_floors_counts(apart: Institutions) -> None:
    """The partner's policy raises the floor of the terms; the initiator takes it over and both sign it."""
    from tests.flows.institutions import write_settings

    apart.stop("bank")
    write_settings(apart.workspace, "bank", intersection__minimum_crowd=110)
    apart.start("bank")
    mine, theirs = apart.run("broker", "bank", "customer-service", "REFUSED_SMALL", minimum_crowd=60)
    assert mine.terms == theirs.terms and mine.terms.minimum_crowd == 110


def test_the_budget_of_attempts_is_counted_on_both_sides(apart: Institutions) -> None:
    from tests.flows.institutions import write_settings

    for party in ("broker", "bank"):
        apart.stop(party)
    write_settings(apart.workspace, "bank", intersection__attempts_per_period=1)
    write_settings(apart.workspace, "broker", intersection__attempts_per_period=2)
    for party in ("broker", "bank"):
        apart.start(party)
    # The first attempt is aborted, and counts all the same.
    apart.wire.on("bank", "reply-commit", lambda body: None)
    mine, _ = apart.run("broker", "bank", "customer-service", "ABORTED")
    apart.wire.mend()
    apart.call("broker", Role.MARKETING, "intersection.run", job=mine.job)
    again = apart.wait("broker", mine.job, "ABORTED")
    apart.wait_until(lambda: apart.nodes["broker"].jobs.get(mine.job).error.get("code") == "BUDGET_SPENT")
    assert apart.wait("bank", mine.job, "ABORTED").attempt == 1 and again.attempt in (1, 2)
    refused_with(apart, "BUDGET_SPENT", "broker", Role.MARKETING, "intersection.run", job=mine.job)
    refused_with(
        apart, "BUDGET_SPENT", "broker", Role.MARKETING, "intersection.propose", partner="bank", purpose="customer-service"
    )
    # Another purpose has a budget of its own, at the broker; the bank's approval meets its own limit.
    job = apart.propose("broker", "bank", "investor-education")
    apart.approve("bank", job)
    apart.both("broker", "bank", job, "RELEASED")
    refused = apart.propose("broker", "bank", "investor-education")
    refused_with(apart, "BUDGET_SPENT", "bank", Role.APPROVER, "intersection.approve", job=refused)

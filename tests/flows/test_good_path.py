"""The main job between every pair, whoever starts: the same customers on both sides, those that naive sets give."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from workbench.domain.party import Role
from workbench.store.frames import get_frame
from workbench.verify import verify_receipt, verify_receipt_file

from tests.flows import population
from tests.flows.institutions import Institutions

PHASES = [
    "points-commit", "points", "reply-commit", "reply", "count-commit", "count", "strike", "struck", "remaining",
    "positions", *["slice"] * 64, "drop-commit", "drop", "grants", "result-commit", "result",
]  # fmt: skip


def frames(three: Institutions, party: str, job: str, direction: str) -> list[dict[str, str]]:
    entries = three.entries(party, job, "intersection.message")
    return [dict(one.values) for one in entries if one.values["direction"] == direction]


@pytest.mark.parametrize(
    ("first", "second"),
    [("broker", "bank"), ("bank", "broker"), ("cardnet", "bank"), ("broker", "cardnet")],
)
def test_both_sides_get_the_customers_that_naive_sets_give(three: Institutions, first: str, second: str) -> None:
    expected = population.expected(first, second, population.RICH)
    mine, theirs = three.run(first, second, population.RICH)
    job = mine.job
    assert three.released_phones(first, job) == three.released_phones(second, job) == expected
    assert mine.result["released"] == theirs.result["released"] == mine.result["cardinality"] == len(expected)
    assert mine.result["result_digest"] == theirs.result["partner_digest"] != mine.result["partner_digest"]
    for party, found in ((first, mine), (second, theirs)):
        steps = found.waterfall
        assert [step["code"] for step in steps] == ["imported", "audience", "consent", "matched", "recheck"]
        for before, after in zip(steps, steps[1:], strict=False):
            assert before["kept"] - after["removed"] == after["kept"]
            assert not after["reasons"] or sum(after["reasons"].values()) == after["removed"]
        other = second if party == first else first
        assert steps[2]["kept"] == len(population.usable(party, other, population.RICH))
        assert steps[2]["reasons"] == reasons_of(party, other)


def reasons_of(party: str, recipient: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    for person in population.KNOWN[party]:
        reason = population.may_use(party, recipient, population.RICH, person)
        if reason:
            counts[reason] = counts.get(reason, 0) + 1
    if party == "broker":  # the two rows more of its list
        counts["AMBIGUOUS_KEY"] += 1
        counts["DUPLICATE_KEY"] = 1
    return counts


def test_an_audience_and_the_identity_number_lead_to_the_same_people(three: Institutions) -> None:
    rule = "资产档 in (A,B) and risk_level >= C2"
    mine, theirs = three.run("broker", "bank", "customer-service", audience=rule, key_kind="id_no")
    people = [
        one
        for one in population.KNOWN["broker"]
        if one in population.KNOWN["bank"] and population.tier(one) in "AB" and one % 5 and one != population.STRANGER
    ]
    # The person whose phone two customers share has an identity number of their own, so nothing is ambiguous here.
    for party, found in (("broker", mine), ("bank", theirs)):
        node = three.nodes[party]
        with node.store.read() as reader:
            frame = get_frame(reader, node.vault, f"result/{found.job}")
        assert frame["id_no"].to_list() == sorted(population.id_no(one) for one in people)
    assert mine.waterfall[1]["kept"] < mine.waterfall[0]["kept"] == 162


def test_every_message_is_an_entry_on_both_sides_and_the_digests_pair_up(three: Institutions) -> None:
    mine, _ = three.run("broker", "bank", "investor-education")
    job = mine.job
    for one, other in (("broker", "bank"), ("bank", "broker")):
        sent, received = frames(three, one, job, "sent"), frames(three, other, job, "received")
        assert [frame["digest"] for frame in sent] == [frame["digest"] for frame in received]
        assert [(frame["message"], frame["size"], frame["round"]) for frame in sent] == [
            (frame["message"], frame["size"], frame["round"]) for frame in received
        ]
        in_attempt = [frame for frame in sent if frame["attempt"] == "1"]
        opening = ["attempt", "contract"] if one == "broker" else ["offer", "contract"]
        assert [frame["message"] for frame in in_attempt] == opening + PHASES
        assert [frame["round"] for frame in in_attempt] == [str(number) for number in range(1, len(in_attempt) + 1)]


def test_the_entries_of_both_sides_stand_in_the_order_of_the_flow(three: Institutions, purpose: str) -> None:
    job = three.propose("broker", "bank", purpose)
    three.approve("bank", job, automatic=True)
    three.both("broker", "bank", job, "RELEASED")
    steps = {
        party: [kind.removeprefix("intersection.") for kind in three.kinds(party, job) if not kind.endswith(".message")]
        for party in ("broker", "bank")
    }
    attempt = ["attempt_started", "consent.snapshot", "contract", "cardinality", "struck", "grants", "assessment.missing", "released", "sealed"]
    assert steps["broker"] == ["proposed", "approval_received", *attempt]
    assert steps["bank"] == ["proposal_received", "assessment.missing", "approved", *attempt]
    approved = three.entries("bank", job, "intersection.approved")[0]
    proposed = three.entries("broker", job, "intersection.proposed")[0]
    assert approved.values["automatic"] == "yes"
    assert proposed.values["terms"] == approved.values["terms"]
    contracts = [three.entries(party, job, "intersection.contract")[0].values for party in ("broker", "bank")]
    assert contracts[0]["contract"] == contracts[1]["contract"]
    assert contracts[0]["own_signature"] == contracts[1]["partner_signature"]
    timeline = three.call("broker", Role.COMPLIANCE, "evidence.timeline", job=job, limit=1000)
    attempts = {e.values["digest"] for e in timeline.entries if e.kind.endswith(".message") and e.values["attempt"] == "1"}
    assert attempts and not attempts & set(timeline.one_sided)


def test_a_receipt_verifies_with_trust_and_with_the_exported_list(three: Institutions, tmp_path: Path) -> None:
    mine, _ = three.run("broker", "bank", population.RICH, columns=["资产档", "备注"])
    reply, data = three.exported("broker", mine.job, columns=["资产档", "备注"])
    path = tmp_path / "list.csv"
    path.write_bytes(data)
    three.wait_until(lambda: three.call("broker", Role.COMPLIANCE, "evidence.receipt", job=mine.job).sealed == "3/3")
    three.wait_until(lambda: receipt_of(three, mine.job) is not None)
    receipt = receipt_of(three, mine.job)
    trust = three.nodes["cardnet"].trust_keys()
    verdict = verify_receipt(receipt, trust=trust, csv_path=path)
    assert verdict.exit_status == 0, [step for step in verdict.steps if not step.ok]
    stored = tmp_path / "receipt.json"
    stored.write_text(json.dumps(receipt, ensure_ascii=False, indent=1), "utf-8")
    assert verify_receipt_file(stored, trust=trust, csv_path=path).exit_status == 0
    lines = data.decode("utf-8-sig").split("\r\n")
    assert lines[0] == "customer_id,phone,资产档,备注"
    assert [line.split(",")[1] for line in lines[1:-1]] == population.expected("broker", "bank", population.RICH)
    assert all(line.endswith(",'=1+1") for line in lines[1:-1]), "a cell that a spreadsheet would run is not neutralised"
    assert reply.customers == len(lines) - 2 and reply.withheld == 0
    path.write_bytes(data.replace(lines[1].encode() + b"\r\n", b""))
    assert verify_receipt(receipt, trust=trust, csv_path=path).exit_status == 2


def receipt_of(three: Institutions, job: str) -> dict[str, Any] | None:
    """The receipt once the export's entry is co-signed too."""
    receipt = three.call("broker", Role.COMPLIANCE, "evidence.receipt", job=job).receipt
    verdict = verify_receipt(receipt, trust=three.nodes["broker"].trust_keys())
    return dict(receipt) if len(receipt["links"]) == 2 and verdict.exit_status == 0 else None


def test_the_masked_list_shows_no_identifier_and_names_people_anew_in_each_job(three: Institutions) -> None:
    jobs = [three.run("broker", "bank", population.RICH)[0].job for _ in range(2)]
    pages = [three.call("broker", Role.MARKETING, "intersection.result", job=job, limit=5) for job in jobs]
    for page in pages:
        assert not re.search(r"\b1\d{10}\b", page.model_dump_json())
        assert page.total == len(population.expected("broker", "bank", population.RICH))
    assert not {row["token"] for row in pages[0].rows} & {row["token"] for row in pages[1].rows}
    contracts = [three.entries("broker", job, "intersection.contract")[0].values["contract"] for job in jobs]
    assert contracts[0] != contracts[1]

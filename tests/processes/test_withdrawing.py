"""Withdrawal and erasure between real node processes over mutual TLS: the partner is killed, comes back, and has answered."""

from __future__ import annotations

import signal
from typing import Any

from workbench.domain.party import PartyId, Role
from workbench.supervisor import running_nodes

from tests.flows import population
from tests.processes.live import Live, wait_until, workbench

PURPOSE = "test-40"
PEOPLE = iter((140, 142, 144))
"""Customers of all three whom no other test here looks at, for this purpose: one for each try, for who has withdrawn is in no later list."""


def told(live: Live, event: int) -> dict[str, Any]:
    """The one partner told of this withdrawal, as the command shows it; {} while the search goes on."""
    found = workbench("consent", "withdrawals", live.folder, "--party", "broker", "--json").value["withdrawals"]
    partners = next((one["partners"] for one in found if one["event"] == event and not one["searching"]), [])
    return dict(partners[0]) if partners else {}


def test_a_partner_that_was_killed_is_told_when_it_is_back_and_its_answer_is_signed(live: Live) -> None:
    who = next(PEOPLE)
    run = workbench(
        "intersect", live.folder, "--party", "broker", "--with", "bank", "--purpose", PURPOSE, "--auto-approve", "--json"
    )
    assert run.status == 0, run.err
    job = run.value["job"]
    wait_until(lambda: live.state("bank", job) == "RELEASED", limit_s=90, what="the partner's release")
    live.signal("bank", signal.SIGKILL)
    wait_until(lambda: PartyId("bank") not in running_nodes(live.workspace), limit_s=60, what="the end of the partner")
    try:
        withdrawn = workbench(
            "consent", "withdraw", live.folder, "--party", "broker", "--phone", population.phone(who), "--id-no",
            population.id_no(who), "--purpose", PURPOSE, "--by", "kin", "--proof", "亲属关系证明 7", "--json",
        )  # fmt: skip
        assert withdrawn.status == 0, withdrawn.err
        event = withdrawn.value["event"]
        wait_until(lambda: told(live, event).get("tries", 0) >= 1, limit_s=90, what="a try while the partner is away")
        assert told(live, event)["state"] == "waiting"
        with live.client("broker", Role.OPERATOR) as client:
            [line] = [one for one in client.node.status().letters if one["partner"] == "bank"]
        assert line["waiting"] >= 1 and line["last_error"]
    finally:
        live.restart("bank")
    wait_until(lambda: told(live, event).get("state") == "acknowledged", limit_s=120, what="the acknowledgement")
    # Jobs of other tests that released this customer for this purpose are answered for too.
    answer = [one for one in told(live, event)["answer"] if one["job"] == job]
    assert [(one["job"], one["state"], one["customers"]) for one in answer] == [(job, "marked", 1)]
    assert live.rows("bank", "SELECT count(*) FROM host_stopped WHERE job = ?", job) == [(1,)]
    assert live.rows("bank", "SELECT count(*) FROM host_letter WHERE direction = 'in' AND code = ''")[0][0] >= 1
    both = workbench("consent", "withdrawals", live.folder, "--party", "broker", "--state", "overdue")
    assert both.status == 0 and "acknowledged" in both.out

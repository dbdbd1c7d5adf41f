"""Row by row of the two state tables of docs/protocols/sandbox.md, sections 4 and 9, and every step that they do not have."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from workbench_inference.leasing.lease import (
    CAUSES,
    Accepted,
    Changed,
    Ended,
    Lease,
    LeaseEvent,
    NoneLeft,
    OrderRefused,
    Receipt,
    ServerLeased,
    State,
    Waited,
    due,
    next_state,
    takes_asks,
)
from workbench_inference.leasing.servers import Server, ServerStage, fits, free, ready_for, require_ready

from workbench.errors import Refused

FROM, UNTIL = 1_000_000, 9_000_000
ORDERED = Lease("L-20261122-0a1b2c3d", cards=2, most_cards=10, from_ms=FROM, until_ms=UNTIL)
ACCEPTED = next_state(ORDERED, Accepted(2, FROM, UNTIL), now_ms=FROM - 5)
RUNNING = next_state(ACCEPTED, ServerLeased("v-1"), now_ms=FROM)
TWO = next_state(RUNNING, ServerLeased("v-2"), now_ms=FROM + 10)
RELEASING = next_state(TWO, Ended("released"), now_ms=FROM + 1000)
UNPROVEN = next_state(RELEASING, Waited(), now_ms=FROM + 301_000)
ERASED = next_state(next_state(RELEASING, Receipt("v-1", True), now_ms=FROM + 2000), Receipt("v-2", True), now_ms=FROM + 2000)
REFUSED = next_state(ORDERED, OrderRefused("NO_CAPACITY"), now_ms=FROM)


def test_every_row_of_the_lease_table() -> None:
    assert ACCEPTED.state is State.ORDERED and ACCEPTED.accepted
    assert RUNNING.state is State.RUNNING and RUNNING.started_ms == FROM and TWO.started_ms == FROM
    assert (REFUSED.state, REFUSED.cause) == (State.REFUSED, "NO_CAPACITY")
    for cause in sorted(CAUSES):
        ended = next_state(TWO, Ended(cause), now_ms=FROM + 7)
        assert (ended.state, ended.cause, ended.ended_ms) == (State.RELEASING, cause, FROM + 7)
    assert RELEASING.held == {"v-1", "v-2"}
    half = next_state(RELEASING, Receipt("v-1", True), now_ms=FROM + 2000)
    assert half.state is State.RELEASING and half.held == {"v-2"}
    assert ERASED.state is State.ERASED and ERASED.erased == {"v-1", "v-2"}
    assert UNPROVEN.state is State.UNPROVEN
    with_residue = next_state(RELEASING, Receipt("v-1", False), now_ms=FROM + 2000)
    assert with_residue.state is State.UNPROVEN and with_residue.residue == {"v-1"}
    late = next_state(next_state(UNPROVEN, Receipt("v-1", True), now_ms=FROM + 900_000), Receipt("v-2", True), now_ms=FROM + 900_000)
    assert late.state is State.ERASED


def test_a_lease_waits_its_five_minutes_to_the_millisecond() -> None:
    assert next_state(RELEASING, Waited(), now_ms=RELEASING.ended_ms + 299_999).state is State.RELEASING
    assert next_state(RELEASING, Waited(), now_ms=RELEASING.ended_ms + 300_000).state is State.UNPROVEN


def test_residue_of_a_card_that_was_given_back_is_not_forgotten_when_the_lease_ends() -> None:
    given_back = next_state(TWO, Receipt("v-1", False), now_ms=FROM + 50)
    assert given_back.state is State.RUNNING
    assert next_state(next_state(given_back, Ended("released"), now_ms=FROM + 60), Receipt("v-2", True), now_ms=FROM + 70).state is State.UNPROVEN
    clean = next_state(next_state(TWO, Receipt("v-1", True), now_ms=FROM + 50), Ended("released"), now_ms=FROM + 60)
    assert clean.held == {"v-2"}
    assert next_state(clean, Receipt("v-2", True), now_ms=FROM + 70).state is State.ERASED


def test_a_server_that_comes_back_to_its_lease_owes_another_receipt() -> None:
    back = next_state(next_state(TWO, Receipt("v-1", True), now_ms=FROM + 50), ServerLeased("v-1"), now_ms=FROM + 60)
    assert back.held == {"v-1", "v-2"} and not back.erased


def test_an_order_that_never_got_a_server_ends_with_nothing_to_erase() -> None:
    assert next_state(ACCEPTED, Ended("lease-ended"), now_ms=UNTIL).state is State.ERASED


def test_a_tenant_that_cannot_know_every_server_waits_for_the_providers_word() -> None:
    unsure = replace(TWO, is_certain=False)
    both = next_state(unsure, Ended("released"), now_ms=FROM + 60)
    for server in ("v-1", "v-2"):
        both = next_state(both, Receipt(server, True), now_ms=FROM + 70)
    assert both.state is State.RELEASING and not both.held
    assert next_state(both, NoneLeft(), now_ms=FROM + 80).state is State.ERASED
    assert next_state(both, Waited(), now_ms=FROM + 300_060).state is State.UNPROVEN
    assert next_state(next_state(unsure, Ended("released"), now_ms=FROM + 60), NoneLeft(), now_ms=FROM + 70).state is State.RELEASING, "a receipt is still owed"


def test_steps_that_the_table_does_not_have_are_refused() -> None:
    """All states against all events; what is allowed stands here and nothing else is."""
    states = {"ordered": ORDERED, "accepted": ACCEPTED, "refused": REFUSED, "running": TWO, "releasing": RELEASING, "unproven": UNPROVEN, "erased": ERASED}
    events: dict[str, LeaseEvent] = {
        "accepted": Accepted(2, FROM, UNTIL), "refused": OrderRefused("X"), "leased": ServerLeased("v-9"), "changed": Changed(1, 3, UNTIL), "ended": Ended("released"),
        "receipt": Receipt("v-1", True), "none left": NoneLeft(), "waited": Waited(),
    }  # fmt: skip
    allowed = {
        ("ordered", "accepted"), ("ordered", "refused"), ("accepted", "leased"), ("accepted", "changed"), ("accepted", "ended"), ("running", "leased"),
        ("running", "changed"), ("running", "ended"), ("running", "receipt"), ("releasing", "receipt"), ("unproven", "receipt"), ("releasing", "none left"), ("unproven", "none left"),
        *((one, "waited") for one in states),
    }  # fmt: skip
    for (name, lease), (what, event) in itertools.product(states.items(), events.items()):
        if (name, what) in allowed:
            next_state(lease, event, now_ms=FROM + 5000)
        else:
            with pytest.raises(ValueError, match="no arrow"):
                next_state(lease, event, now_ms=FROM + 5000)


@pytest.mark.parametrize(
    "event", [Changed(2, 3, UNTIL), Changed(1, 11, UNTIL), Changed(1, 0, UNTIL), Changed(1, 3, FROM + 5000), ServerLeased("v-3")]
)
def test_a_change_out_of_its_bounds_or_after_the_end_changes_nothing(event: LeaseEvent) -> None:
    at = UNTIL if isinstance(event, ServerLeased) else FROM + 5000
    with pytest.raises(ValueError, match="no arrow"):
        next_state(TWO, event, now_ms=at)


def test_no_server_is_leased_before_the_order_begins() -> None:
    with pytest.raises(ValueError, match="no arrow"):
        next_state(ACCEPTED, ServerLeased("v-1"), now_ms=FROM - 1)


def test_what_ends_a_lease_by_itself_and_which_comes_first() -> None:
    assert due(TWO, now_ms=FROM + 5) == ""
    assert due(TWO, now_ms=UNTIL, spent_fen=9, budget_fen=9) == "lease-ended"
    assert due(TWO, now_ms=FROM + 5, spent_fen=9, budget_fen=9) == "budget"
    assert due(TWO, now_ms=FROM + 5, spent_fen=8, budget_fen=9) == due(TWO, now_ms=FROM + 5, spent_fen=8) == ""
    assert due(TWO, now_ms=FROM + 300_000, heard_ms=1) == "tenant-silent"
    assert due(TWO, now_ms=FROM + 299_999, heard_ms=1) == ""
    assert due(TWO, now_ms=FROM + 60_000, idle_s=60) == "idle"
    assert due(TWO, now_ms=FROM + 60_000, idle_s=60, asked_ms=FROM + 1) == ""
    assert due(ACCEPTED, now_ms=UNTIL) == "lease-ended" and due(RELEASING, now_ms=UNTIL) == ""


def test_the_last_twenty_seconds_take_no_ask() -> None:
    assert takes_asks(TWO, now_ms=UNTIL - 20_001)
    assert not takes_asks(TWO, now_ms=UNTIL - 20_000)
    assert not takes_asks(ACCEPTED, now_ms=FROM + 5) and not takes_asks(RELEASING, now_ms=FROM + 5)


# ---------------------------------------------------------------- servers

IMAGE, OTHER = "3f" * 32, "4a" * 32
def test_a_server_that_is_not_ready_for_this_very_image_is_never_leased() -> None:
    ready = Server("v-00000001", stage=ServerStage.READY, image=IMAGE)
    require_ready(ready, tenant="broker", pool="shared", image=IMAGE)
    others = [replace(ready, stage=stage) for stage in ServerStage if stage is not ServerStage.READY]
    for server in (*others, replace(ready, image=OTHER), replace(ready, is_draining=True), replace(ready, tenant="bank")):
        assert ready_for([server], tenant="broker", pool="shared", image=IMAGE) == []
        with pytest.raises(Refused, match="SERVER_NOT_READY"):
            require_ready(server, tenant="broker", pool="shared", image=IMAGE)


def test_a_dedicated_server_serves_its_tenant_only_and_the_shared_pool_never_has_it() -> None:
    alone = Server("v-00000002", stage=ServerStage.READY, image=IMAGE, tenant="broker")
    shared = Server("v-00000003", stage=ServerStage.READY, image=IMAGE)
    assert ready_for([alone, shared], tenant="broker", pool="dedicated", image=IMAGE) == [alone]
    assert ready_for([alone, shared], tenant="bank", pool="shared", image=IMAGE) == [shared]
    for tenant, pool in (("bank", "dedicated"), ("bank", "shared")):
        assert not fits(alone, tenant=tenant, pool=pool)
    assert not fits(alone, tenant="broker", pool="shared")
    assert free([alone, shared, replace(shared, is_draining=True)], tenant="bank", pool="shared") == [shared]

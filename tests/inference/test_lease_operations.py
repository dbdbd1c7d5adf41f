"""What staff do with leases through the gate: orders, looks, changes, releases, prices, freezes, settlements; roles at both ends."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.gate_client import GateClient
from tests.inference.lease_world import BROKER, TELECOM, LeaseWorld, lease_world, make_workspace
from workbench.cli import main
from workbench.commands import leases
from workbench.domain.party import Role
from workbench.errors import Denied, InvalidRequest, NotFound, Refused
from workbench_inference.leasing import auditing, spending
from workbench_inference.policy.feedback import p95
from workbench_sandbox.formats.erasing import verify_receipt
from workbench_sandbox.formats.manifest import Manifest

OP, PO, CO = Role.OPERATOR, Role.PROVIDER_OPERATOR, Role.COMPLIANCE


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LeaseWorld]:
    with lease_world(make_workspace(tmp_path_factory.mktemp("operations"))) as made:
        yield made


@pytest.fixture(scope="module")
def image(world: LeaseWorld, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return world.image(tmp_path_factory.mktemp("image"))


def at_tenant(world: LeaseWorld, name: str, role: Role = OP, **request: Any) -> Any:
    return world.call(BROKER, role, f"inference.{name}", **request)


def at_provider(world: LeaseWorld, name: str, role: Role = PO, **request: Any) -> Any:
    return world.call(TELECOM, role, f"inference.{name}", **request)


def test_an_operator_leases_looks_changes_and_releases(world: LeaseWorld, image: Manifest) -> None:
    offered = at_tenant(world, "offer")
    assert (offered.provider, offered.fen_per_card_minute, offered.pools[0].most_cards) == (TELECOM, 30, 3)
    ordered = at_tenant(world, "lease_order", image=image.id, cards=1, most_cards=3, hours=2, budget_fen=9_000)
    assert (ordered.state, ordered.code) == ("ORDERED", "")
    lease = ordered.lease
    world.until(lambda: world.state(BROKER, lease) == "RUNNING", seconds=0.5)
    told = at_tenant(world, "leases")
    assert told.live == 1 and told.leases[0].lease == lease and told.leases[0].ready == 1 and told.leases[0].budget_fen == 9_000
    changed = at_tenant(world, "lease_change", lease=lease, cards=2, reason="more people")
    assert changed.cards == 2
    world.until(lambda: len(world.provider.held_by(lease)) == 2, seconds=0.5)
    shown = at_tenant(world, "lease", lease=lease)
    assert [one.number for one in shown.changes] == [1] and json.loads(shown.order)["lease"] == lease
    seen = at_provider(world, "leases").leases[0]
    assert (seen.partner, seen.side, seen.cards, seen.state) == (BROKER, "provider", 2, "RUNNING")
    # A server that nobody needed yet was looked through once, so it is dirty no more.
    world.until(lambda: {one.state for one in at_provider(world, "servers").servers} == {"LEASED", "SANITISED"})
    assert at_provider(world, "servers").leased == 2
    world.until(lambda: len(at_tenant(world, "servers").servers) == 2, seconds=1.0)
    world.turn(seconds=90)
    world.until(lambda: at_tenant(world, "meters", lease=lease).count > 0, seconds=1.0)
    released = at_tenant(world, "lease_release", Role.ADVISER, lease=lease, reason="done")
    assert released.state == "RELEASING"
    with pytest.raises(Refused) as again:
        at_tenant(world, "lease_release", lease=lease)
    assert again.value.code == "LEASE_OVER"
    world.until(lambda: world.state(BROKER, lease) == "ERASED" and bool(at_tenant(world, "statements").statements))
    statement = at_tenant(world, "statements").statements[0]
    meters = at_tenant(world, "meters", lease=lease)
    assert statement.agreed and statement.card_seconds == meters.card_seconds == sum(one.card_seconds for one in meters.ticks) > 0
    assert statement.amount_fen == statement.card_seconds * 30 // 60 == at_tenant(world, "leases").leases[0].amount_fen
    for party, kinds in (
        (BROKER, ("lease_ordered", "scaled", "lease_changed", "lease_ended", "erased", "erased", "metered", "statement")),
        (TELECOM, ("image_pulled", "leased", "sandbox_started", "sandbox_started", "lease_changed", "lease_ended", "sandbox_ended", "sandbox_ended", "erased", "erased", "metered", "statement")),
    ):
        assert sorted(world.kinds(party, lease)) == sorted(f"inference.{one}" for one in kinds), party
    costs = at_tenant(world, "costs", days=3)
    assert costs.amount_fen == statement.amount_fen < costs.always_fen and costs.days[-1].most_cards == 2


def test_a_receipt_is_checked_with_the_pinned_contract_key_alone(world: LeaseWorld, image: Manifest) -> None:
    found = at_tenant(world, "erasures")
    assert found.clean == 2 and not found.missing and not found.residue
    one = found.erasures[0]
    written = at_tenant(world, "erasures", lease=one.lease, server=one.server)
    keys = world.institutions.nodes[BROKER].pinned_keys(TELECOM)
    assert written.contract_key == keys.contract.format()
    receipt, _ = verify_receipt(base64.b64decode(written.receipt), provider=TELECOM, contract_key=keys.contract, known=None)
    assert receipt.clean and receipt.digest == one.digest and receipt.kept == (f"images/{image.id}",)


def test_each_role_has_its_acts_and_no_other(world: LeaseWorld, image: Manifest) -> None:
    for role in (Role.ADVISER, Role.AUDITOR, Role.COMPLIANCE):
        with pytest.raises(Denied):
            at_tenant(world, "lease_order", role, image=image.id)
    for name, request in (("lease_order", {"image": image.id}), ("offer", {}), ("model_sign", {"engine": "x"})):
        with pytest.raises(NotFound) as unknown:
            world.call(TELECOM, PO, f"inference.{name}", **request)
        assert unknown.value.code == "UNKNOWN_OPERATION"
    for name, request in (("server_add", {}), ("tariff_set", {"fen_per_card_minute": 1}), ("freeze_set", {})):
        with pytest.raises(NotFound):
            world.call(BROKER, OP, f"inference.{name}", **request)


def test_a_price_of_yesterday_and_a_freeze_and_too_many_cards_are_refused_with_their_code(world: LeaseWorld, image: Manifest) -> None:
    at_provider(world, "tariff_set", fen_per_card_minute=42, reason="new year")
    old = at_tenant(world, "lease_order", image=image.id, fen_per_card_minute=30)
    assert (old.state, old.code) == ("REFUSED", "TARIFF_DIFFERS")
    many = at_tenant(world, "lease_order", image=image.id, cards=4, most_cards=4)
    assert (many.state, many.code, many.fen_per_card_minute) == ("REFUSED", "NO_CAPACITY", 42)
    high = at_tenant(world, "lease_order", image=image.id, assurance="tee")
    assert high.code == "ASSURANCE_TOO_LOW"
    set_ = at_provider(world, "freeze_set", from_ms=world.now_ms, until_ms=world.now_ms + 3_600_000, reason="maintenance")
    frozen = at_tenant(world, "lease_order", image=image.id)
    assert (frozen.state, frozen.code) == ("REFUSED", "FREEZE_WINDOW")
    assert at_tenant(world, "offer").freezes
    at_provider(world, "freeze_set", remove=int(set_.what))
    assert not at_tenant(world, "offer").freezes
    refused = [one for one in world.institutions.entries(TELECOM, kind="inference.lease_refused")]
    assert [one.values["code"] for one in refused] == ["TARIFF_DIFFERS", "NO_CAPACITY", "ASSURANCE_TOO_LOW", "FREEZE_WINDOW"]
    at_provider(world, "tariff_set", fen_per_card_minute=30, reason="back")


def test_a_freeze_window_ends_what_runs_and_nothing_is_leased_in_it(world: LeaseWorld, image: Manifest) -> None:
    lease = world.running(image.id, cards=1)
    set_ = at_provider(world, "freeze_set", from_ms=world.now_ms + 30_000, until_ms=world.now_ms + 3_600_000, reason="major event")
    world.turn(seconds=10)
    assert world.state(TELECOM, lease) == "RUNNING"
    world.turn(seconds=25)
    world.until(lambda: world.state(BROKER, lease) == world.state(TELECOM, lease) == "ERASED")
    assert {world.row(party, lease).cause for party in (BROKER, TELECOM)} == {"freeze"}
    assert at_tenant(world, "lease_order", image=image.id).code == "FREEZE_WINDOW"
    at_provider(world, "freeze_set", remove=int(set_.what))


def test_a_card_that_is_another_tenants_alone_is_leased_to_nobody_else(world: LeaseWorld, image: Manifest) -> None:
    store = world.institutions.nodes[TELECOM].store
    world.until(lambda: at_provider(world, "servers").leased == 0)
    server = at_provider(world, "servers").servers[0].server
    belongs = "UPDATE inference_server SET dedicated = ? WHERE server = ?"
    store.write(lambda tx: tx.execute(belongs, ("bank", server)) and None)
    try:
        for pool, cards in (("dedicated", 1), ("shared", 3)):
            assert at_tenant(world, "lease_order", image=image.id, pool=pool, cards=cards, most_cards=cards).code == "NO_CAPACITY", pool
        lease = world.running(image.id, cards=2)
        for _ in range(3):
            world.turn(seconds=10)
        assert server not in {one.server for one in world.provider.held_by(lease)}
        at_tenant(world, "lease_release", lease=lease)
        world.until(lambda: world.state(BROKER, lease) == "ERASED")
    finally:
        store.write(lambda tx: tx.execute(belongs, ("", server)) and None)


@pytest.mark.soak
def test_servers_are_added_drained_and_cleaned_by_the_providers_people(world: LeaseWorld, image: Manifest) -> None:
    added = at_provider(world, "server_add", dedicated=BROKER)
    world.turn()
    one = next(one for one in at_provider(world, "servers").servers if one.server == added.what)
    assert (one.state, one.pool, one.dedicated) == ("DIRTY", "dedicated", BROKER)
    assert at_provider(world, "server_clean", server=added.what).state == "SANITISED"
    drained = at_provider(world, "server_drain", server=added.what)
    assert drained.state == "drained"
    refused = at_tenant(world, "lease_order", image=image.id, pool="dedicated")
    assert refused.code == "NO_CAPACITY", "a drained server is leased to nobody"
    at_provider(world, "server_drain", server=added.what, is_drained=False)
    lease = at_tenant(world, "lease_order", image=image.id, pool="dedicated").lease
    world.until(lambda: [one.server for one in world.provider.held_by(lease)] == [added.what], seconds=0.5)
    with pytest.raises(Refused, match="SERVER_LEASED"):
        at_provider(world, "server_clean", server=added.what)
    at_tenant(world, "lease_release", lease=lease)
    world.until(lambda: world.state(BROKER, lease) == "ERASED")


def test_two_people_settle_a_difference_and_nobody_settles_what_agrees(world: LeaseWorld, image: Manifest) -> None:
    lease = world.running(image.id, cards=1)
    world.turn(seconds=90)
    world.call(BROKER, OP, "inference.lease_release", lease=lease)
    world.until(lambda: bool(world.query(BROKER, "SELECT 1 FROM inference_statement WHERE lease = ?", lease)))
    with pytest.raises(Refused) as agreed:
        at_tenant(world, "settle", lease=lease, card_seconds=1, reason="x")
    assert agreed.value.code == "NOTHING_TO_SETTLE"
    node = world.institutions.nodes[BROKER]
    node.store.write(lambda tx: tx.execute("UPDATE inference_statement SET agreed = 0, reason = 'card_seconds' WHERE lease = ?", (lease,)))
    assert at_tenant(world, "settle", lease=lease, card_seconds=10, reason="as seen").state == "proposed"
    waits = next(one for one in at_tenant(world, "statements").statements if one.lease == lease)
    assert (waits.proposed_card_seconds, waits.reason) == (10, "as seen"), "the second person sees what to confirm"
    with pytest.raises(Denied):
        at_tenant(world, "settle", lease=lease, card_seconds=10, reason="myself")
    with pytest.raises(Refused, match="SETTLE_BOUNDS"):
        at_tenant(world, "settle", CO, lease=lease, card_seconds=10**6, reason="too much")
    done = at_tenant(world, "settle", CO, lease=lease, card_seconds=10, reason="as seen")
    assert (done.state, done.amount_fen) == ("settled", 5)
    entry = world.institutions.entries(BROKER, lease, "inference.settled")[0]
    assert entry.values["card_seconds"] == "10" and len(entry.values["people"].split()) == 2
    assert next(one for one in at_tenant(world, "statements").statements if one.lease == lease).amount_fen == 5


def test_calendar_scaler_and_budget_are_set_by_people_with_their_entry(world: LeaseWorld, image: Manifest) -> None:
    at_tenant(world, "schedule_set", peak=["09:00-15:30"], release_at="22:00", is_on=False, image=image.id, reason="winter")
    at_tenant(world, "scaler_set", least=1, most=5)
    at_tenant(world, "budget_set", fen=123)
    assert [p95(list(range(1, size + 1))) for size in (0, 1, 2, 20, 100, 101)] == [0, 1, 2, 19, 95, 96]
    found = at_tenant(world, "scaling")
    assert (found.least, found.most, found.calendar, found.is_scheduled) == (1, 5, "09:00–15:30", False)
    assert at_tenant(world, "costs").budget_fen == 123
    assert [one.values["what"] for one in world.institutions.entries(BROKER, kind="inference.rule_changed")] == ["calendar", "plan", "scaler", "budget"]
    with pytest.raises(InvalidRequest):
        at_tenant(world, "scaler_set", least=6, most=5)
    with pytest.raises(NotFound):
        at_tenant(world, "scaler_set", scaler="nobody")


def test_the_month_s_budget_is_told_of_once_when_it_is_reached_and_asked_for_nowhere_else(world: LeaseWorld) -> None:
    host = world.tenant.host
    month = at_tenant(world, "leases").month_fen
    assert month > 0
    at_tenant(world, "budget_set", fen=month * 2)
    assert spending.tell_budget(host) == "" and not world.institutions.entries(BROKER, kind="inference.budget_reached")
    near = -(-month * 11 // 10)
    for limit, stage in ((near, "near"), (month, "reached")):
        at_tenant(world, "budget_set", fen=limit)
        assert [spending.tell_budget(host), spending.tell_budget(host)] == [stage, stage]
    told = [one.values for one in world.institutions.entries(BROKER, kind="inference.budget_reached")]
    assert [(one["limit"], one["used"]) for one in told] == [(str(near), str(month)), (str(month), str(month))]
    at_tenant(world, "budget_set", fen=0)


def test_sixty_ticks_are_one_entry_at_both_ends_and_the_rest_another_at_the_end(world: LeaseWorld, image: Manifest) -> None:
    lease = world.running(image.id, cards=1, most=1, hours=2)
    world.until(lambda: world.query(BROKER, "SELECT count(*) FROM inference_tick WHERE lease = ?", lease)[0][0] >= 62, seconds=61)
    at_tenant(world, "lease_release", lease=lease)
    world.until(lambda: [one[0] for one in world.query(BROKER, "SELECT agreed FROM inference_statement WHERE lease = ?", lease)] == [1])
    ticks, seconds = world.query(BROKER, "SELECT count(*), max(number) FROM inference_tick WHERE lease = ?", lease)[0][0], at_tenant(world, "meters", lease=lease).card_seconds
    for party in (BROKER, TELECOM):
        told = [one.values for one in world.institutions.entries(party, lease, "inference.metered")]
        assert [int(one["ticks"]) for one in told] == [60, ticks - 60] and sum(int(one["card_seconds"]) for one in told) == seconds
        assert told[0]["to"] == told[1]["from"] and told[0]["root"] != told[1]["root"]


def test_the_words_of_lease_models_meter_and_erase_answer_as_one_object(
    world: LeaseWorld, image: Manifest, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def client(_workspace: object, party: str, role: Role) -> GateClient:
        return GateClient(world.institutions.nodes[party].gate.registry, lambda operation, **request: world.call(party, role, operation, **request))

    monkeypatch.setattr(leases, "client_for", client)
    monkeypatch.setattr(leases, "credentials", lambda *_: ("somebody", "password"))

    def say(group: str, verb: str, *rest: str, party: str = BROKER) -> Any:
        assert main([group, verb, str(world.institutions.workspace.folder), *rest, "--party", party, "--json"]) == 0, (group, verb)
        return json.loads(capsys.readouterr().out)

    assert say("lease", "offer")["pools"] and say("models", "show", image.id[:12])["id"] == image.id
    assert image.id in {one["id"] for one in say("models", "list")["images"]}
    lease = say("lease", "order", "--image", image.id, "--hours", "2", "--most", "2")["lease"]
    world.until(lambda: world.state(BROKER, lease) == "RUNNING")
    assert say("lease", "change", lease, "--cards", "2", "--extend-minutes", "5", "--reason", "more people")["cards"] == 2
    world.until(lambda: len(world.provider.held_by(lease)) == 2)
    world.until(lambda: say("lease", "show", lease)["lease"]["ready"] == 2, seconds=1)  # what the tenant has not seen it does not pay
    for party in (BROKER, TELECOM):
        assert lease in {one["lease"] for one in say("lease", "list", party=party)["leases"]}
        assert {one["lease"] for one in say("lease", "servers", party=party)["servers"]} >= {lease}
    assert say("lease", "show", lease)["lease"]["cards"] == 2 and say("lease", "scaling")["decisions"][0]["after"] == 2
    assert say("lease", "schedule", "--off", "--peak", "09:00-15:30", "--reason", "no calendar")["state"]
    world.turn(seconds=90)
    world.until(lambda: say("meter", "show", lease)["card_seconds"] > 0, seconds=1)
    assert say("meter", "ticks", lease, "--limit", "1")["ticks"][0]["state"] == "agreed" and len(say("meter", "costs", "--days", "2")["days"]) == 2
    say("lease", "release", lease, "--reason", "done")
    world.until(lambda: world.state(BROKER, lease) == "ERASED" and bool(world.query(BROKER, "SELECT 1 FROM inference_statement WHERE lease = ? AND agreed = 1", lease)))
    assert lease in {one["lease"] for one in say("meter", "statement")["statements"]} and float(say("meter", "invoice")["amount_yuan"]) > 0
    assert {one["state"] for one in say("erase", "list", "--lease", lease)["erasures"]} == {"clean"}


@pytest.mark.soak
def test_a_new_service_key_continues_the_one_before_and_the_partner_takes_it(world: LeaseWorld, image: Manifest) -> None:
    before = world.query(TELECOM, "SELECT count(*) FROM inference_service_key WHERE party = ?", TELECOM)[0][0]
    made = world.call(TELECOM, Role.ADMIN, "inference.service_key_make")
    assert made.number == before + 1
    lease = world.running(image.id, cards=1)
    assert world.query(BROKER, "SELECT max(number) FROM inference_service_key WHERE party = ?", TELECOM)[0][0] == made.number
    at_tenant(world, "lease_release", lease=lease)
    world.until(lambda: world.state(BROKER, lease) == "ERASED")


def test_an_audit_holds_ticks_statements_and_receipts_against_the_log_and_names_what_was_touched(world: LeaseWorld) -> None:
    node = world.institutions.nodes[BROKER]
    assert auditing.findings(node) == [] and auditing.findings(world.institutions.nodes[TELECOM]) == []
    lease, number, body = world.query(BROKER, "SELECT lease, number, body FROM inference_tick ORDER BY lease, number LIMIT 1")[0]
    receipt = bytes(world.query(BROKER, "SELECT receipt FROM inference_erasure LIMIT 1")[0][0])

    def touch(tx: Any, tick: bytes, written: bytes, kept: bytes) -> None:
        tx.execute("UPDATE inference_tick SET body = ? WHERE lease = ? AND number = ?", (tick, lease, number))
        tx.execute("UPDATE inference_erasure SET receipt = ? WHERE receipt = ?", (written, kept))

    altered = receipt[:-1] + bytes([receipt[-1] ^ 1])
    node.store.write(lambda tx: touch(tx, bytes(body).replace(b'"asks":', b'"asks":1', 1), altered, receipt))
    assert {one.problem for one in auditing.findings(node)} == {"TICK", "ERASE_RECEIPT"}
    node.store.write(lambda tx: touch(tx, bytes(body), receipt, altered))
    assert auditing.findings(node) == []


def test_no_secret_or_text_stands_in_any_entry(world: LeaseWorld) -> None:
    for party in (BROKER, TELECOM):
        for entry in world.institutions.entries(party):
            if entry.kind.startswith("inference."):
                assert "answer" not in json.dumps(dict(entry.values)), entry.kind


def test_files_of_the_image_lie_in_the_volume_of_its_tenant(world: LeaseWorld, image: Manifest) -> None:
    volume = Path(str(world.institutions.nodes[TELECOM].folder.parent)) / f"volumes-{TELECOM}" / BROKER / "images" / image.id
    assert sorted(str(one.relative_to(volume)) for one in volume.rglob("*") if one.is_file()) == ["files/code/engine.py", "files/weights/words.bin", "manifest"]

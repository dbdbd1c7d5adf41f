"""Leases when something fails: ticks that lie, partners that are gone, sandboxes that die, images that were touched, nights that come."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.inference.lease_world import BROKER, HOUR_MS, TELECOM, LeaseWorld, lease_world, make_workspace
from workbench.clock import SHANGHAI
from workbench.contracts import PeerCall
from workbench.domain.party import Role
from workbench.errors import PeerError, Refused, VerificationError
from workbench_inference.leasing import images, keys, rows
from workbench_inference.leasing.tenant import instant
from workbench_sandbox.formats import relay
from workbench_sandbox.formats.manifest import Manifest
from workbench_sandbox.formats.metering import Tick, parse_tick, sign_tick, verify_reply
from workbench_sandbox.server import volumes


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LeaseWorld]:
    with lease_world(make_workspace(tmp_path_factory.mktemp("trouble"))) as made:
        yield made


@pytest.fixture(scope="module")
def image(world: LeaseWorld, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return world.image(tmp_path_factory.mktemp("image"))


def over(world: LeaseWorld, lease: str) -> None:
    """Released, erased and accounted for at both ends."""
    world.tenant.release(lease)
    world.until(lambda: world.state(BROKER, lease) == world.state(TELECOM, lease) == "ERASED")
    world.until(lambda: bool(world.query(TELECOM, "SELECT 1 FROM inference_statement WHERE lease = ? AND agreed = 1", lease)))


def ask(world: LeaseWorld, path: str, body: bytes, *, to: str = TELECOM) -> bytes:
    """A call of the other institution, as the channel hands it over."""
    sender = BROKER if to == TELECOM else TELECOM
    return world.institutions.nodes[sender].call(to, path, body, timeout_s=20)


def evidence(world: LeaseWorld, lease: str, sandbox: str = "") -> bytes:
    asked = relay.EvidenceRequest(lease, sandbox, secrets.token_hex(32), world.now_ms)
    return relay.read_reply(ask(world, relay.EVIDENCE, relay.format_evidence_request(asked)))


def test_ticks_that_are_forged_repeated_altered_or_out_of_order(world: LeaseWorld, image: Manifest) -> None:
    lease = world.running(image.id, cards=1)
    evidence(world, lease)
    world.turn(seconds=20)
    with world.institutions.nodes[TELECOM].store.read() as reader:
        key, _ = keys.own(reader, world.provider.host)
    tick = Tick(lease, 1, 0, 10, 1, 10, 10, 0, 0, 0, 0, 0, "")
    raw = sign_tick(tick, provider=TELECOM, key=key)
    forged = sign_tick(tick, provider=TELECOM, key=world.provider.host.keys.message)
    for bad in (forged, raw[:-1] + bytes([raw[-1] ^ 1]), raw[:40] + bytes([raw[40] ^ 1]) + raw[41:], raw + b"\0", b""):
        with pytest.raises(PeerError) as refused:
            ask(world, relay.TICK, bad, to=BROKER)
        assert refused.value.code == "SANDBOX_REFUSED"
    assert not world.query(BROKER, "SELECT 1 FROM inference_tick WHERE lease = ?", lease)
    with world.institutions.nodes[TELECOM].store.read() as reader:
        known = keys.require_known(reader, BROKER)
    first = relay.read_reply(ask(world, relay.TICK, raw, to=BROKER))
    assert verify_reply(first, tick=tick, tenant=BROKER, service_key=known.key).agreed
    assert relay.read_reply(ask(world, relay.TICK, raw, to=BROKER)) == first, "the same tick gets the stored reply"
    for number, wrong in enumerate((Tick(lease, 3, 20, 30, 1, 10, 30, 0, 0, 0, 0, 0, "0" * 64), Tick(lease, 1, 0, 11, 1, 11, 11, 0, 0, 0, 0, 0, ""))):
        answer = relay.read_reply(ask(world, relay.TICK, sign_tick(wrong, provider=TELECOM, key=key), to=BROKER))
        view = verify_reply(answer, tick=wrong, tenant=BROKER, service_key=known.key).view
        assert view is not None and view.reason == "chain", number
    assert len(world.query(BROKER, "SELECT 1 FROM inference_tick WHERE lease = ?", lease)) == 1
    greedy = Tick(lease, 2, 10, 15, 3, 15, 25, 0, 0, 0, 0, 0, tick.digest)
    view = verify_reply(relay.read_reply(ask(world, relay.TICK, sign_tick(greedy, provider=TELECOM, key=key), to=BROKER)), tick=greedy, tenant=BROKER, service_key=known.key).view
    assert view is not None and view.reason == "cards" and view.card_seconds <= 5
    world.tenant.release(lease)
    world.until(lambda: world.state(BROKER, lease) == "ERASED")
    world.until(lambda: bool(world.query(BROKER, "SELECT 1 FROM inference_statement WHERE lease = ?", lease)), seconds=60)
    assert world.query(BROKER, "SELECT agreed FROM inference_statement WHERE lease = ?", lease)[0][0] == 0, "what was claimed beside the chain is no agreement"


def test_whatever_is_wrong_with_a_call_is_one_refusal_with_the_same_bytes(world: LeaseWorld, image: Manifest) -> None:
    lease = world.running(image.id, cards=1)
    strange, sandbox = "L-20261122-ffffffff", world.provider.held_by(lease)[0].sandbox
    calls = [
        (relay.STATE, relay.format_state_request(strange)), (relay.STATE, b"{}"), (relay.STATE, b""), ("sandbox/nothing", b""),
        (relay.EVIDENCE, relay.format_evidence_request(relay.EvidenceRequest(strange, "", "5e" * 32, 0))),
        (relay.EVIDENCE, relay.format_evidence_request(relay.EvidenceRequest(strange, sandbox, "5e" * 32, 0))),
        (relay.START, relay.format_start(relay.Start("sb-" + "0" * 16, "", "5e" * 32, "", ""))), (relay.START, relay.format_start(relay.Start(sandbox, "", "5e" * 32, "", ""))),
        (relay.FRAMES, relay.format_frames(relay.FramesRequest("sb-" + "0" * 16, relay.Upload(0, 0), 0))),
    ]  # fmt: skip
    told = set()
    for path, body in calls:
        with pytest.raises(PeerError) as refused:
            ask(world, path, body)
        told.add((refused.value.code, str(refused.value)))
    assert len(told) == 1 and next(iter(told))[0] == "SANDBOX_REFUSED"
    over(world, lease)
    with pytest.raises(Refused) as ended:
        relay.read_reply(ask(world, relay.FRAMES, relay.format_frames(relay.FramesRequest(sandbox, relay.Upload(0, 0), 0))))
    assert (ended.value.code, ended.value.details["cause"]) == ("SANDBOX_ENDED", "released"), "of an own sandbox that ended the cause is told"


def test_the_provider_may_be_gone_at_each_letter_and_every_arrow_is_taken_once(world: LeaseWorld, image: Manifest) -> None:
    """order, change, release, erased, statement: each is lost on its way, and the lease still goes its way once."""
    wire = world.institutions.wire
    lost: set[str] = set()

    def lose_first(call: PeerCall, to: str, header: Any) -> bytes | None:
        if call.path != "letter":
            return call.body
        mark = f"{call.peer} {call.body[8:400]!r}"
        for kind in ("inference.order", "inference.change", "inference.release", "inference.erased", "inference.statement"):
            if kind.encode() in call.body[:600] and kind not in lost:
                lost.add(kind)
                return None
        return call.body if mark else None

    wire.rules.append(lose_first)
    try:
        lease = world.running(image.id, cards=1)
        world.tenant.change(lease, cards=2, until_ms=world.row(BROKER, lease).until_ms, cause="test")
        world.until(lambda: len(world.provider.held_by(lease)) == 2 and world.row(BROKER, lease).cards == 2)
        evidence(world, lease)
        world.turn(seconds=30)
        over(world, lease)
    finally:
        wire.rules.clear()
    assert lost == {"inference.order", "inference.change", "inference.release", "inference.erased", "inference.statement"}
    for party, once in ((BROKER, ("lease_ordered", "lease_changed", "lease_ended", "statement")), (TELECOM, ("leased", "lease_changed", "lease_ended", "statement"))):
        found = world.kinds(party, lease)
        assert [found.count(f"inference.{one}") for one in once] == [1] * len(once), party
        assert found.count("inference.erased") == 2


@pytest.mark.soak
def test_a_dead_sandbox_is_erased_and_another_server_takes_over_under_the_same_lease(world: LeaseWorld, image: Manifest) -> None:
    lease = world.running(image.id, cards=1)
    evidence(world, lease)
    first = world.provider.held_by(lease)[0]
    world.turn(seconds=10)
    world.servers.die(first.sandbox, "memory")
    world.until(lambda: bool(world.provider.held_by(lease)) and world.provider.held_by(lease)[0].sandbox != first.sandbox)
    assert world.state(TELECOM, lease) == "RUNNING"
    world.until(lambda: "inference.erased" in world.kinds(BROKER, lease))
    assert world.state(BROKER, lease) == "RUNNING", "a receipt of one server ends no lease"
    ended = next(one for one in world.institutions.entries(TELECOM, lease, "inference.sandbox_ended"))
    assert (ended.values["sandbox"], ended.values["cause"]) == (first.sandbox, "memory")
    over(world, lease)


@pytest.mark.soak
def test_residue_is_shown_until_it_is_gone_and_a_receipt_never_says_otherwise(world: LeaseWorld, image: Manifest) -> None:
    lease = world.running(image.id, cards=1)
    server = world.provider.held_by(lease)[0].server
    world.servers.cards[server].planted["files"] = 2
    world.tenant.release(lease)
    world.until(lambda: world.state(BROKER, lease) == world.state(TELECOM, lease) == "UNPROVEN")
    told = world.call(BROKER, Role.OPERATOR, "inference.erasures", lease=lease)
    assert told.residue == 1 and next(check.found for check in told.erasures[0].checks if check.name == "files") == 2
    assert world.servers.cards[server].state == "DIRTY"
    with pytest.raises(AssertionError):
        assert world.order(image.id, cards=3) and world.provider.servers.cards[server].state == "READY"  # type: ignore[attr-defined]  # pretended servers
    world.servers.cards[server].planted.clear()
    world.until(lambda: world.state(BROKER, lease) == "ERASED", seconds=5)
    three = world.query(BROKER, "SELECT lease FROM inference_lease WHERE state IN ('ORDERED', 'RUNNING')")
    for (one,) in three:
        world.until(lambda one=one: world.state(BROKER, one) == "RUNNING", seconds=1)
        over(world, one)


@pytest.mark.soak
def test_without_a_receipt_for_five_minutes_a_lease_is_unproven_with_an_entry_for_each_server(world: LeaseWorld, image: Manifest) -> None:
    lease = world.running(image.id, cards=2)
    world.institutions.wire.cut(TELECOM)
    try:
        world.tenant.release(lease)
        world.turn(seconds=290)
        assert world.state(BROKER, lease) == "RELEASING"
        world.turn(seconds=15)
        assert world.state(BROKER, lease) == "UNPROVEN"
        assert world.kinds(BROKER, lease).count("inference.erase_missing") == 2
        assert world.call(BROKER, Role.OPERATOR, "inference.erasures", lease=lease).missing == 2
    finally:
        world.institutions.wire.mend()
    world.until(lambda: world.state(BROKER, lease) == "ERASED", seconds=2)


def test_a_receipt_that_leaves_out_a_sandbox_that_gave_evidence_is_refused(world: LeaseWorld, image: Manifest) -> None:
    lease = world.running(image.id, cards=1)
    holding = world.provider.held_by(lease)[0]
    node = world.institutions.nodes[BROKER]
    node.store.write(
        lambda tx: rows.evidence_kept(tx, sandbox="sb-" + "9" * 16, lease=lease, server=holding.server, serial=1, statement="5e" * 32, assurance="process", missing=(), at_ms=world.now_ms)
    )
    world.tenant.release(lease)
    world.until(lambda: bool(world.query(TELECOM, "SELECT 1 FROM host_letter WHERE job = ? AND kind = 'inference.erased' AND code = 'ERASE_RECEIPT'", lease)))
    world.turn(seconds=310)
    assert world.state(BROKER, lease) == "UNPROVEN"
    node.store.write(lambda tx: tx.execute("UPDATE inference_lease SET state = 'ERASED' WHERE lease = ?", (lease,)))


def test_an_image_that_was_touched_on_the_way_is_refused_and_one_touched_later_makes_no_server_ready(world: LeaseWorld, tmp_path: Path) -> None:
    made = world.image(tmp_path / "one", b"other", name="touched")

    original = images.fetch_piece
    images.fetch_piece = lambda host, tenant, wanted, *, timeout_s: bytes(original(host, tenant, wanted, timeout_s=timeout_s)).replace(b"other", b"0ther", 1)  # type: ignore[assignment]
    try:
        refused = world.call(BROKER, Role.OPERATOR, "inference.lease_order", image=made.id)
    finally:
        images.fetch_piece = original
    assert (refused.state, refused.code) == ("REFUSED", "IMAGE_ALTERED")
    assert not images.image_folder(world.provider.host, BROKER, made.id).exists()
    assert [one.values["code"] for one in world.institutions.entries(TELECOM, kind="inference.image_refused")] == ["IMAGE_ALTERED"]
    lease = world.order(made.id, cards=1)
    world.until(lambda: images.image_folder(world.provider.host, BROKER, made.id).is_dir())
    touched = images.image_folder(world.provider.host, BROKER, made.id) / volumes.FILES / "weights" / "words.bin"
    world.until(lambda: world.state(BROKER, lease) == "RUNNING")
    over(world, lease)
    touched.chmod(0o644)
    content = touched.read_bytes()
    touched.write_bytes(content[:-1] + b"!")
    for card in world.servers.cards.values():
        card.state, card.image = "DIRTY", ""
    again = world.order(made.id, cards=1, keep=False)
    world.until(lambda: "IMAGE_ALTERED" in {one.cause for one in world.servers.states()}, seconds=1)
    for _ in range(3):
        world.turn(seconds=31)
    assert {one.state for one in world.servers.states()} == {"DIRTY"} and "IMAGE_ALTERED" in {one.cause for one in world.servers.states()}
    assert not world.provider.held_by(again) and world.state(TELECOM, again) == "ORDERED"
    touched.write_bytes(content)
    world.until(lambda: world.state(BROKER, again) == "RUNNING", seconds=20)
    over(world, again)
    world.until(lambda: not images.image_folder(world.provider.host, BROKER, made.id).exists())
    assert not world.query(TELECOM, "SELECT 1 FROM inference_image WHERE id = ?", made.id), "an order that keeps nothing takes its image with it"


def test_an_image_of_nobodys_order_is_not_given_out(world: LeaseWorld, tmp_path: Path) -> None:
    made = world.image(tmp_path / "two", b"secret", name="kept")
    for wanted in (relay.Pull("image", made.id, -1, 0), relay.Pull("image", made.id, 0, 0), relay.Pull("image", "0" * 64, -1, 0), relay.Pull("corpus", "0" * 64, 0, 0)):
        with pytest.raises(PeerError) as refused:
            ask(world, relay.PULL, relay.format_pull(wanted), to=BROKER)
        assert refused.value.code == "SANDBOX_REFUSED"


@pytest.mark.soak
def test_the_budget_of_a_lease_ends_it_and_a_silent_tenant_too(world: LeaseWorld, image: Manifest) -> None:
    lease = world.running(image.id, cards=2, budget_fen=60, price=30)
    evidence(world, lease)
    evidence(world, lease)
    world.until(lambda: world.state(BROKER, lease) not in ("ORDERED", "RUNNING"), seconds=20)
    assert world.row(BROKER, lease).cause == "budget"
    over(world, lease)
    silent = world.running(image.id, cards=1)
    leasing = world.leasing(TELECOM)
    for _ in range(8):
        world.now_ms += 50_000
        leasing.round()
    assert world.row(TELECOM, silent).cause == "tenant-silent"
    world.until(lambda: world.state(BROKER, silent) == "ERASED", seconds=1)
    assert world.row(BROKER, silent).cause == "tenant-silent", "why it ended stands in the receipt"


def test_after_22_00_every_card_is_given_back_and_the_receipts_are_there(world: LeaseWorld, image: Manifest) -> None:
    evening = instant(world.now_ms).astimezone(SHANGHAI)
    day = next(evening.date() + timedelta(days=ahead) for ahead in range(1, 8) if (evening.date() + timedelta(days=ahead)).isoweekday() <= 5)
    world.call(
        BROKER, Role.OPERATOR, "inference.schedule_set", peak=["09:00-15:30", "18:00-22:00"], opens_at="09:00", release_at="22:00", image=image.id, most_cards=3, peak_cards=2, is_on=True
    )
    world.now_ms = int(datetime(day.year, day.month, day.day, 9, 0, 5, tzinfo=SHANGHAI).timestamp() * 1000)
    world.until(lambda: bool(world.query(BROKER, "SELECT 1 FROM inference_lease WHERE state = 'RUNNING'")), seconds=1)
    lease = str(world.query(BROKER, "SELECT lease FROM inference_lease WHERE state = 'RUNNING'")[0][0])
    row = world.row(BROKER, lease)
    assert instant(row.until_ms).astimezone(SHANGHAI).strftime("%H:%M") == "22:00" and row.cards == 2
    world.until(lambda: len(world.provider.held_by(lease)) == 2, seconds=1)
    world.now_ms = row.until_ms - 2 * HOUR_MS
    world.until(lambda: True, seconds=1)
    world.provider.heard(lease)
    world.now_ms = row.until_ms + 1_000
    world.until(lambda: world.state(BROKER, lease) == world.state(TELECOM, lease) == "ERASED", seconds=0.2)
    assert not world.provider.held and {one.state for one in world.servers.states()} <= {"SANITISED", "DIRTY"}
    assert {world.row(party, lease).cause for party in (BROKER, TELECOM)} <= {"lease-ended", "tenant-silent"}
    told = world.call(BROKER, Role.OPERATOR, "inference.leases")
    assert (told.last_night_erased, told.last_night_clean) == (2, 2)
    assert world.call(BROKER, Role.OPERATOR, "inference.erasures", lease=lease).clean == 2
    world.turn(seconds=30)
    assert not world.query(BROKER, "SELECT 1 FROM inference_lease WHERE state IN ('ORDERED', 'RUNNING')"), "nothing is leased at night"
    world.call(BROKER, Role.OPERATOR, "inference.schedule_set", is_on=False)


def test_a_provider_that_was_killed_receipts_what_it_had_leased_when_it_starts_again(world: LeaseWorld, image: Manifest) -> None:
    lease = world.running(image.id, cards=2)
    evidence(world, lease)
    world.turn(seconds=20)
    leasing = world.leasing(TELECOM)
    assert leasing.provider is not None
    leasing.provider.held.clear()  # nobody ends anything: as after a kill
    world.institutions.stop(TELECOM)
    world.start(TELECOM)
    assert world.state(TELECOM, lease) == "RELEASING" and world.row(TELECOM, lease).cause == "launcher-died"
    world.until(lambda: world.state(BROKER, lease) == "ERASED", seconds=1)
    assert len(world.call(BROKER, Role.OPERATOR, "inference.erasures", lease=lease).erasures) == 2


def test_a_reply_that_is_altered_proves_nothing(world: LeaseWorld) -> None:
    tick = Tick("L-20261122-0a1b2c3d", 1, 0, 10, 1, 10, 10, 0, 0, 0, 0, 0, "")
    with world.institutions.nodes[TELECOM].store.read() as reader:
        key, _ = keys.own(reader, world.provider.host)
    assert parse_tick(sign_tick(tick, provider=TELECOM, key=key))[0] == tick
    with pytest.raises(VerificationError, match="TICK_REFUSED"):
        verify_reply(b"\x01" + b"\0" * 64, tick=tick, tenant=BROKER, service_key=key.public)

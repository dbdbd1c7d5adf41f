"""Charge keys from the operation to the store and back: filled, delivered, revoked with everything a person has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from workbench_qkd import charge_restoring, charging, sessions
from workbench_qkd.charge_schema import EVIDENCE_KINDS
from workbench_qkd.charging import OPERATIONS, session_name
from workbench_qkd.service import Management
from workbench_qkd.sessions import Opened

from tests.qkd.conftest import Site
from tests.qkd.entity import Entity
from tests.qkd.linked import Stock
from workbench.contracts import OperationContext
from workbench.crypto import random
from workbench.domain.evidence import RestoredEntry
from workbench.domain.party import Role
from workbench.errors import Denied, KeyUnavailable, NotFound, PeerUnavailable, Refused, SignInRequired, WorkbenchError
from workbench.store import Database
from workbench_kme.devices import Device, Suite
from workbench_kme.devices.device import fresh_keys
from workbench_kme.devices.soft import SoftKek
from workbench_kme.keys import KEY_MIGRATIONS, ChargeMedium, ChargePools, KeyStore, Line, Provenance
from workbench_kme.keys.medium import open_medium, pack_medium
from workbench_kme.service import views

PASSPHRASE = "correct horse battery"
REASON = "人员离岗，按预案处理"
LINE = Line("a1", "kme-broker", "kme-bank", "kme-broker")


@dataclass
class Charged(Entity):
    """An entity whose charge pools are those of a real key store. files: what was filled, without its passphrase's cost."""

    pools: Any = None
    source: Any = field(default_factory=lambda: random.SeededSource(b"line"))
    media: list[list[Any]] = field(default_factory=list)
    packed: bool = False
    lost: bool = False

    def charges(self) -> list[views.ChargePool]:
        self._answer()
        return [views.ChargePool(*(getattr(one, name) for name in views.ChargePool.__slots__)) for one in self.pools.pools()]

    def fill_charges(self, *, person: str, device: str, line: str, count: int, low_water: int, after: int, passphrase: str) -> views.ChargeFilling:
        self._answer()
        made = self.pools.fill_anew(person, device, line, count, low_water=low_water, after=after)
        self.media.append(made.keys)
        if self.lost:
            raise PeerUnavailable("没有回应", "no answer", code="KME_UNREACHABLE")
        file = pack_medium(made.keys, passphrase, namespace=made.namespace, line=line, person=person, device=device).decode() if self.packed else "{}"
        pool = next(one for one in self.charges() if (one.person, one.device) == (person, device))
        return views.ChargeFilling(pool, made.replaced, after + 1, file)

    def deliver_under_charge(
        self, *, person: str, device: str, line: str, sae: str, slave: str, origins: Sequence[str] = ()
    ) -> views.ChargeDelivery:
        self._answer()
        self.asked.append(("deliver", sae, slave))
        if origins and "simulated" not in origins:
            raise Refused("没有这个来源的密钥", "no keys of this origin", code="ORIGIN_UNMET")
        self.pools.check_deliverable(person, device, line)
        key_id, value = UUID(bytes=self.source(16), version=4), self.source(32)
        one = self.pools.deliver(person, device, line, key_id, value, Provenance.SIMULATED, renew=True)
        ended = [str(each) for each in one.ended]
        return views.ChargeDelivery(str(one.charge_key_id), one.counter, str(key_id), "simulated", one.sealed.hex(), ended, one.left, one.low, one.low_water)

    def revoke_charges(self, *, person: str, device: str = "", reason: str) -> views.ChargesRevoked:
        self._answer()
        self.asked.append(("revoke_charges", person, device, reason))
        done = self.pools.revoke(person, device, reason=reason)
        return views.ChargesRevoked(done.revoked, done.pools, [str(one) for one in done.sessions])


@pytest.fixture
def entity(site: Site, tmp_path: Path) -> Iterator[Charged]:
    source = random.SeededSource(b"device")
    kek = SoftKek(source(16), source(8), Suite.SM4_GCM)
    database = Database(tmp_path / "kme.sqlite", KEY_MIGRATIONS, reserve_bytes=0)
    store = KeyStore(database, Device(kek, fresh_keys(kek, source)).open_session(), now_ms=site.node.now_ms)
    store.register_line(LINE)
    made = Charged(pools=ChargePools(store.core))
    site.service.attach(made, Stock(), sae="sae-broker")  # type: ignore[arg-type]
    yield made
    site.node.store.write(lambda tx: [tx.execute(f"DELETE FROM {one}") for one in ("qkd_charge_session", "qkd_charge_revoking")])
    store.close()
    database.close()


_numbers = iter(range(10_000))


def new_person(site: Site) -> tuple[str, str]:
    """(account, token) of a member of staff whom a test may disable."""
    account = f"staff{next(_numbers)}"
    return account, site.node.people.add(person=account, display_name="甲", roles=[Role.MARKETING], password=PASSPHRASE + "9!X").token


def act(site: Site, operation: str, role: Role = Role.OPERATOR, **request: Any) -> Any:
    """Behind the gate, whose password costs a second; what the gate asks for is in the last tests."""
    named = site.node.gate.registry.named(operation)
    ctx = OperationContext(site.node, site.three.caller("broker", role), lambda *_: None, lambda: False)
    return named.run(ctx, site.node.gate.validate(named, request))


def fill(site: Site, person: str = "marketing", device: str = "card-1", **more: Any) -> Any:
    return act(site, "qkd.charge_fill", person=person, device=device, line="a1", passphrase=PASSPHRASE, **({"count": 3, "low_water": 2} | more))


def revoke(site: Site, role: Role = Role.OPERATOR, /, **request: Any) -> Any:
    return act(site, "qkd.charge_revoke", role, **({"reason": REASON} | request))


def sign_in(site: Site, account: str) -> str:
    """Secret of a ticket of that person."""
    person = next(one for one in site.node.people.everyone() if one.person == account)
    return str(site.node.people._issue(person, "page").secret)


def deliver(site: Site, person: str = "marketing", device: str = "card-1") -> Any:
    return site.call("qkd.charge_deliver", person=person, device=device, line="a1")


def pools(site: Site) -> dict[str, Any]:
    return {one.device: one for one in site.call("qkd.charge_status").pools}


def states(site: Site) -> dict[str, str]:
    return {one.session: one.state for one in site.call("qkd.sessions", line="a1").sessions}


def test_a_filled_medium_opens_the_session_keys_that_are_delivered_to_it(site: Site, entity: Charged) -> None:
    entity.packed = True
    filled = site.call("qkd.charge_fill", person="marketing", device="card-1", line="a1", passphrase=PASSPHRASE, count=3, low_water=2)
    caller = site.three.caller("broker", Role.OPERATOR)
    name, file = site.node.downloads.take(caller, filled.download)
    assert name == "medium-card-1.json" and PASSPHRASE.encode() not in file
    with pytest.raises(NotFound):
        site.node.downloads.take(caller, filled.download)
    line, medium = open_medium(file, PASSPHRASE)
    made = deliver(site)
    session, provenance, _value = medium.open_delivery(bytes.fromhex(made.sealed))
    assert (line, str(session), str(provenance), made.counter) == ("a1", made.key_id, "simulated", 1)
    assert entity.asked == [("deliver", "sae-broker", "sae-bank")] and (made.master, made.slave) == ("sae-broker", "sae-bank")
    assert states(site) == {session_name(made.key_id): "OPEN"}
    assert (pools(site)["card-1"].left, pools(site)["card-1"].state, pools(site)["card-1"].live) == (2, "OPEN", 1)


def test_entries_name_tokens_and_hold_no_name_no_account_and_no_key(site: Site, entity: Charged) -> None:
    token = next(one.token for one in site.node.people.everyone() if one.person == "marketing")
    fill(site)
    values = [bytes(one.value).hex() for one in entity.media[0]]
    for _ in range(3):
        deliver(site)
    revoke(site, person="marketing")
    found = [one for kind in ("filled", "delivered", "low", "revoking", "revoked") for one in site.entries(f"qkd.charge_{kind}")[-3:]]
    assert {one.values["person"] for one in found} == {token}
    assert {name for one in EVIDENCE_KINDS for name in [one.name]} == {one.kind for one in found}
    for one in found:
        assert not set(one.values.values()) & {"marketing", PASSPHRASE, *values}
    assert [one.values["left"] for one in site.entries("qkd.charge_low")[-2:]] == ["1", "0"]
    assert {each[1] for each in entity.asked if each[0] == "revoke_charges"} == {token}, "the entity learns no account and no name"
    assert {one.person for one in entity.pools.pools()} == {token}


def test_a_new_session_key_ends_the_session_before_it_and_another_medium_keeps_its_own(site: Site, entity: Charged) -> None:
    fill(site)
    fill(site, device="card-2")
    first, other, second = deliver(site), deliver(site, device="card-2"), deliver(site)
    assert states(site) == {first.session: "ENDED", other.session: "OPEN", second.session: "OPEN"}
    assert site.entries("qkd.session_ended")[-1].values["cause"] == "renewed"


def test_a_filling_whose_answer_was_lost_is_made_anew_without_a_gap(site: Site, entity: Charged) -> None:
    entity.lost = True
    with pytest.raises(WorkbenchError):
        fill(site)
    entity.lost = False
    again = fill(site)
    assert (again.replaced, again.first, again.pool.left) == (3, 4, 3)
    medium = ChargeMedium(LINE.namespace, again.pool.person, "card-1")
    medium.take_in(entity.media[-1])
    assert str(medium.open_delivery(bytes.fromhex(deliver(site).sealed))[0])


@pytest.mark.parametrize(
    "bad", [{"count": 0}, {"count": 4097}, {"device": "a/b"}, {"device": ""}, {"passphrase": "eleven char"}, {"person": "Nobody"}, {"person": ""}, {"low_water": -1}]
)
def test_a_filling_of_another_form_reaches_nothing(site: Site, entity: Charged, bad: dict[str, Any]) -> None:
    with pytest.raises(WorkbenchError):
        act(site, "qkd.charge_fill", **({"person": "marketing", "device": "card-1", "line": "a1", "passphrase": PASSPHRASE} | bad))
    assert entity.pools.pools() == []


def test_only_who_works_here_gets_a_medium(site: Site, entity: Charged) -> None:
    account, _token = new_person(site)
    fill(site, account, "card-5")
    act(site, "people.disable", Role.ADMIN, person=account)
    for name in (account, "nobody"):
        with pytest.raises(NotFound, match="NO_SUCH_ACCOUNT"):
            fill(site, name, "card-6")
        with pytest.raises(NotFound, match="NO_SUCH_ACCOUNT"):
            deliver(site, name, "card-5")


def test_a_line_that_gives_no_session_keys_gives_none_to_media(site: Site, entity: Charged) -> None:
    fill(site)
    with pytest.raises(NotFound, match="NO_CHARGE_POOL"):
        deliver(site, device="card-2")
    entity.change(policy="qkd-required")
    with pytest.raises(Refused, match="PROVENANCE_REFUSED"):
        deliver(site)
    entity.change(policy="hybrid-required", state="alarm")
    with pytest.raises(KeyUnavailable, match="LINE_STOPPED"):
        deliver(site)
    entity.change(state="full")
    entity.alarm("qber-drift")
    site.follow()
    with pytest.raises(KeyUnavailable, match="LINE_STOPPED"):
        deliver(site)
    with pytest.raises(NotFound, match="SAE_UNKNOWN"):
        site.node.store.write(lambda tx: tx.execute("DELETE FROM qkd_held"))
        site.call("qkd.charge_deliver", person="marketing", device="card-1", line="a1", slave="sae-nobody")
    assert pools(site)["card-1"].left == 3 and not [one for one in entity.asked if one[0] == "deliver" and one[2] != "sae-bank"]


def test_a_medium_gets_no_key_from_before_a_line_had_its_device(site: Site, entity: Charged) -> None:
    fill(site)
    entity.change(policy="qkd-required", provenance="device-014")
    with pytest.raises(Refused, match="ORIGIN_UNMET"):
        deliver(site)
    assert pools(site)["card-1"].left == 3 and not states(site)


def test_revoking_a_person_ends_keys_sessions_and_sign_ins_in_one_act(site: Site, entity: Charged) -> None:
    account, token = new_person(site)
    ticket = sign_in(site, account)
    fill(site, account)
    fill(site, account, "card-2")
    fill(site, device="card-3")
    mine, other = deliver(site, account), deliver(site, device="card-3")
    channel = Opened("S-1", "a1", "channel", "hybrid-required", "0f8fad5b-d9cb-469f-a165-70867728950e", "simulated")
    site.node.store.write(lambda tx: (sessions.begin(tx, site.node, channel), tx.execute("UPDATE qkd_session SET state = 'OPEN' WHERE session = 'S-1'")))
    before = site.service.renewals
    done = revoke(site, person=account)
    assert (done.renewing, site.entries("qkd.charge_revoking")[-1].values["renewing"], site.service.renewals) == (1, "1", before + 1)
    assert (done.person, done.account, done.tickets, done.keys, done.pools, done.sessions, done.is_done) == (token, "open", 1, 5, 2, 1, True)
    assert done.took_ms >= 0 and int(site.entries("qkd.charge_revoked")[-1].values["took_ms"]) >= 0
    with pytest.raises(SignInRequired):
        site.node.people.caller(ticket)
    assert states(site) == {mine.session: "ENDED", other.session: "OPEN", "S-1": "OPEN"}, "the nodes' own goes on, under a fresh key"
    assert {device: one.state for device, one in pools(site).items()} == {"card-1": "REVOKED", "card-2": "REVOKED", "card-3": "OPEN"}
    for each in (fill, deliver):
        with pytest.raises(WorkbenchError, match="CHARGE_REVOKED"):
            each(site, account)
    again = revoke(site, person=account)
    assert (again.keys, again.pools, again.sessions, again.tickets, again.is_done) == (0, 0, 0, 0, True)


def test_revoking_a_medium_leaves_its_person_the_other_one_and_the_sign_ins(site: Site, entity: Charged) -> None:
    account, _token = new_person(site)
    ticket = sign_in(site, account)
    fill(site, account)
    fill(site, account, "card-2")
    first, second = deliver(site, account), deliver(site, account, "card-2")
    before = site.service.renewals
    done = revoke(site, device="card-1")
    assert (done.renewing, site.service.renewals) == (0, before), "a medium is lost, nobody has left"
    assert (done.person, done.account, done.tickets, done.pools, done.sessions) == ("", "", 0, 1, 1)
    assert states(site) == {first.session: "ENDED", second.session: "OPEN"}
    assert site.node.people.caller(ticket).person.person == account
    deliver(site, account, "card-2")


def test_an_administrator_disables_the_account_in_the_same_act_and_nobody_else_may(site: Site, entity: Charged) -> None:
    account, token = new_person(site)
    fill(site, account)
    with pytest.raises(Denied, match="ROLE_MISSING"):
        revoke(site, person=account, disable=True)
    assert pools(site)["card-1"].state == "OPEN"
    ticket = sign_in(site, account)
    done = revoke(site, Role.ADMIN, person=account, disable=True)
    assert (done.account, done.tickets, done.keys, done.is_done) == ("disabled", 1, 3, True)
    with pytest.raises(SignInRequired):
        site.node.people.caller(ticket)
    with pytest.raises(SignInRequired):
        site.node.people.sign_in(person=account, password=PASSPHRASE + "9!X", audience="page")
    assert site.entries("people.disabled")[-1].values["person"] == token
    with pytest.raises(Denied, match="SELF_APPROVAL"):
        revoke(site, Role.ADMIN, person="admin", disable=True)


@pytest.mark.parametrize("bad", [{}, {"person": "nobody"}, {"device": "card-1", "reason": "x"}, {"device": "card-1", "disable": True}, {"person": "marketing", "reason": "line\nbreak it"}])
def test_a_revocation_of_nothing_is_refused(site: Site, entity: Charged, bad: dict[str, Any]) -> None:
    fill(site)
    with pytest.raises(WorkbenchError):
        revoke(site, Role.ADMIN, **bad)
    assert pools(site)["card-1"].state == "OPEN"


def test_while_the_entity_is_away_the_rest_ends_at_once_and_the_mirror_as_soon_as_it_is_back(site: Site, entity: Charged) -> None:
    account, token = new_person(site)
    ticket = sign_in(site, account)
    fill(site, account)
    held = deliver(site, account)
    entity.away = True
    done = revoke(site, person=account)
    assert (done.is_done, done.problem_code, done.sessions, done.tickets) == (False, "KME_AWAY", 1, 1)
    with pytest.raises(SignInRequired):
        site.node.people.caller(ticket)
    assert states(site) == {held.session: "ENDED"}
    assert {one.name: one.state for one in site.node.health()}["qkd.charge"] == "failed"
    with pytest.raises(PeerUnavailable):
        charging.settle(site.service)
    entity.away = False
    for each in (fill, deliver):
        with pytest.raises(Refused, match="CHARGE_REVOKED"):
            each(site, account)
    assert pools(site)["card-1"].state == "REVOKING"
    assert charging.settle(site.service, least_age_ms=3_600_000) == 0, "a young one is left to whoever asked for it"
    before = len(site.entries("qkd.charge_revoked"))
    assert (charging.settle(site.service), charging.settle(site.service)) == (1, 0)
    (entry,) = site.entries("qkd.charge_revoked")[before:]
    assert (entry.values["person"], entry.values["keys"], entry.actor) == (token, "2", next(one.token for one in site.node.people.everyone() if one.person == "operator"))
    assert pools(site)["card-1"].state == "REVOKED"
    assert "qkd.charge" not in {one.name for one in site.node.health()}


def test_media_of_an_account_that_was_disabled_elsewhere_are_revoked_by_themselves(site: Site, entity: Charged) -> None:
    account, token = new_person(site)
    fill(site, account)
    fill(site, device="card-3")
    held = deliver(site, account)
    assert charging.settle(site.service) == 0
    before = site.service.renewals
    act(site, "people.disable", Role.ADMIN, person=account)
    assert (charging.settle(site.service), charging.settle(site.service)) == (1, 0)
    assert {device: one.state for device, one in pools(site).items()} == {"card-1": "REVOKED", "card-3": "OPEN"}
    assert states(site)[held.session] == "ENDED"
    assert site.service.renewals == before + 1
    begun, done = site.entries("qkd.charge_revoking")[-1], site.entries("qkd.charge_revoked")[-1]
    assert (begun.values["person"], done.values["person"], begun.values["account"], done.values["keys"]) == (token, token, "disabled", "2")


def test_the_entity_is_asked_when_somebody_left_or_something_waits_and_else_now_and_then(site: Site, entity: Charged) -> None:
    account, _token = new_person(site)
    fill(site, account)
    keeper = charging.ChargeKeeper(site.node)
    keeper.round(site.service)
    assert [keeper.round(site.service) for _ in range(charging.QUIET_ROUNDS + 2)] == [*[False] * charging.QUIET_ROUNDS, True, False]
    act(site, "people.disable", Role.ADMIN, person=account)
    entity.away = True
    for _ in range(2):
        with pytest.raises(PeerUnavailable):
            keeper.round(site.service)
    entity.away = False
    assert keeper.round(site.service) and pools(site)["card-1"].state == "REVOKED"
    assert not keeper.round(site.service)


def test_sessions_of_a_pool_that_the_entity_closed_itself_end_here(site: Site, entity: Charged) -> None:
    fill(site)
    held = deliver(site)
    token = pools(site)["card-1"].person
    entity.pools.revoke(token, reason="older copy")
    charging.settle(site.service)
    assert states(site) == {held.session: "ENDED"}


def test_a_restored_node_orders_again_what_its_copy_does_not_know(site: Site, entity: Charged) -> None:
    account, token = new_person(site)
    fill(site, account)
    held = deliver(site, account)
    entity.away = True
    revoke(site, person=account)
    entry = site.entries("qkd.charge_revoking")[-1]
    site.node.store.write(lambda tx: [tx.execute("DELETE FROM qkd_charge_revoking"), tx.execute("UPDATE qkd_session SET state = 'OPEN'")])
    ticket = sign_in(site, account)
    restored = RestoredEntry(1, entry.kind, 1_795_000_000_000, "", "P-0a", {"recovery": entry.values["recovery"]}, ("person", "device"))
    altered = [replace(restored, shared={"recovery": bad}) for bad in ("", "00", entry.values["recovery"][:-2])]
    for _ in range(2):
        (need,) = charge_restoring.replay(site.node, [restored, *altered, replace(restored, kind="qkd.charge_filled")])
        assert need.count == 3
    with pytest.raises(SignInRequired):
        site.node.people.caller(ticket)
    entity.away = False
    assert (charging.settle(site.service), charging.settle(site.service)) == (1, 0)
    assert states(site) == {held.session: "ENDED"} and pools(site)["card-1"].state == "REVOKED"
    assert (site.entries("qkd.charge_revoked")[-1].values["person"], token in entry.values["recovery"]) == (token, False)


def test_low_pools_are_on_the_health_page_and_looking_is_open_to_readers(site: Site, entity: Charged) -> None:
    fill(site, count=1)
    assert {one.name: one.state for one in site.node.health()}["qkd.charge_low"] == "warning"
    for role in (Role.COMPLIANCE, Role.AUDITOR, Role.REGULATOR):
        (one,) = site.call("qkd.charge_status", role).pools
        assert (one.account, one.roles, one.state, one.is_disabled) == ("marketing", ["marketing"], "LOW", False)
    for role in (Role.COMPLIANCE, Role.MARKETING):
        for name, request in (("qkd.charge_fill", {"line": "a1", "passphrase": PASSPHRASE}), ("qkd.charge_deliver", {"line": "a1"}), ("qkd.charge_revoke", {"reason": REASON})):
            with pytest.raises(Denied):
                site.call(name, role, person="marketing", device="card-1", **request)


def test_filling_and_revoking_ask_for_the_password_and_no_notebook_does_either() -> None:
    named = {one.name: one for one in OPERATIONS}
    assert {name for name, one in named.items() if one.fresh_password} == {"qkd.charge_fill", "qkd.charge_revoke"}
    assert {name for name, one in named.items() if one.weak_token} == {"qkd.charge_status"}


def test_the_node_asks_its_entity_for_no_charge_key_in_the_clear() -> None:
    assert not {"session_under_charge", "get_keys", "get_keys_by_id"} & set(dir(Management))
    filling = views.ChargeFilling(views.ChargePool("P-1", "d", "a1", 1, 1, False, False, 1, 0, 0.0, -1.0), 0, 1, "the file")
    assert "the file" not in repr(filling)

"""Keys of a line for sessions with a sandbox: written down before they are handed out, ended by whoever revokes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from workbench_qkd import policies
from workbench_qkd.outside import OutsideSessions, keys_of
from workbench_qkd.service import service_of

from tests.qkd.conftest import Site
from tests.qkd.entity import Entity, line
from tests.qkd.test_sessions import Pool
from workbench.contracts import KeyShare
from workbench.domain.party import PartyId
from workbench.errors import KeyUnavailable, Refused, WorkbenchError

BROKER, BANK = PartyId("broker"), PartyId("bank")
NAME = "L-20261122-0a1b2c3d/sb-0011223344556677/1"
SANDBOX = {"what": "sandbox", "policy": "hybrid-required"}


class Two:
    """A tenant (broker) and a provider (bank) on one line, each with its entity."""

    def __init__(self, site: Site) -> None:
        self.site, self.pool = site, Pool()
        self.far = Entity({"a1": line(role="receiver", peer_site="broker", peer_kme="kme-broker", peer_saes=["sae-broker"])})
        site.service.attach(site.entity, self.pool, sae="sae-broker")
        service_of(self.far_node).attach(self.far, self.pool, sae="sae-bank")

    @property
    def far_node(self) -> Any:
        return self.site.three.nodes["bank"]

    def keys(self, party: str = "broker") -> OutsideSessions:
        found = keys_of(self.site.three.nodes[party])
        assert found is not None
        return found

    def row(self, party: str = "broker", name: str = NAME) -> tuple[Any, ...] | None:
        with self.site.three.nodes[party].store.read() as reader:
            found = reader.execute("SELECT state, what, policy, key_id, next_key_id FROM qkd_session WHERE session = ?", (name,)).fetchone()
            return tuple(found) if found else None

    def write(self, act: Any, party: str = "broker") -> None:
        self.site.three.nodes[party].store.write(act)

    def open(self, name: str = NAME, **options: Any) -> KeyShare:
        """The exchange of docs/protocols/sandbox.md section 8, as far as the nodes take part in it."""
        wanted = {**SANDBOX, **options}
        share = self.keys().fresh(BANK, name=name, **wanted)
        assert share is not None
        assert self.keys("bank").named(BROKER, share.key_id, name=name, **wanted).value == share.value
        for party in ("broker", "bank"):
            self.write(lambda tx, party=party: self.keys(party).opened(tx, name, session="0a" * 16, suite="x25519"), party)
            self.keys(party).require_live(name)
        return share

    def last(self, kind: str, party: str = "broker") -> dict[str, str]:
        return dict(self.site.three.entries(party, kind=kind)[-1].values)


@pytest.fixture
def two(site: Site) -> Iterator[Two]:
    made = Two(site)
    yield made
    made.far_node.store.write(lambda tx: [tx.execute(f"DELETE FROM {one}") for one in ("qkd_session", "qkd_policy", "qkd_decision", "qkd_held")])
    for party in ("broker", "bank"):
        made.keys(party)._live.clear()
        made.keys(party)._entered.clear()


def test_the_node_offers_it_to_other_plugins_by_partner(two: Two) -> None:
    node = two.site.node
    assert node.session_keys(BANK) is two.keys()
    two.site.entity.known = {}
    with pytest.raises(KeyUnavailable, match="NO_LINE"):
        node.session_keys(BANK)


def test_both_ends_write_the_key_down_before_they_have_it_and_a_leak_report_names_the_lease(two: Two) -> None:
    seen: list[Any] = []
    taken = two.pool.get_keys

    def taking(*values: Any, **named: Any) -> Any:
        seen.append(two.row())
        return taken(*values, **named)

    two.pool.get_keys = taking  # type: ignore[method-assign]
    share = two.keys().fresh(BANK, name=NAME, **SANDBOX)
    assert share is not None and share.value.hex() not in repr(share)
    assert (seen, two.row()) == ([None], ("OPENING", "sandbox", "hybrid-required", share.key_id, ""))
    with pytest.raises(Refused, match="SESSION_BROKEN"):
        two.keys().require_live(NAME)
    two.keys("bank").named(BROKER, share.key_id, name=NAME, **SANDBOX)
    assert two.row("bank") == two.row()
    for party in ("broker", "bank"):
        two.write(lambda tx, party=party: two.keys(party).opened(tx, NAME, session="0a" * 16, suite="x25519"), party)
        two.keys(party).require_live(NAME)
        two.keys(party).require_live(NAME)
        entry = two.last("qkd.session_opened", party)
        assert (entry["session"], entry["key_id"], entry["provenance"]) == (NAME, share.key_id, "simulated")
    told = [one for entity in (two.site.entity, two.far) for one in entity.asked if one[0] == "consume"]
    assert told == [("consume", (share.key_id,), NAME)] * 2, "once at each end, with the lease in its name"
    two.write(lambda tx: two.keys().ended(tx, NAME, cause="released"))
    assert (two.row()[0], two.last("qkd.session_ended")["cause"]) == ("ENDED", "released")  # type: ignore[index]
    with pytest.raises(Refused, match="SESSION_BROKEN"):
        two.keys().require_live(NAME)


def test_revoking_its_key_or_stopping_its_line_ends_it_before_the_next_frame(two: Two) -> None:
    share = two.open()
    two.write(lambda tx: policies.hold(tx, "a1", at_ms=1, cause="rate-collapse", block=3))
    with pytest.raises(KeyUnavailable, match="LINE_STOPPED"):
        two.keys().require_live(NAME)
    two.write(lambda tx: tx.execute("DELETE FROM qkd_held"))
    two.keys().require_live(NAME)
    two.site.call("qkd.revoke", line="a1", key_ids=[share.key_id], reason="演练：这把密钥作废")
    with pytest.raises(Refused, match="SESSION_BROKEN"):
        two.keys().require_live(NAME)
    assert two.row()[0] == "ENDED"  # type: ignore[index]


@pytest.mark.parametrize("state", ["REVOKED", "QUARANTINED"])
def test_a_key_that_was_revoked_meanwhile_carries_no_frame(two: Two, state: str) -> None:
    share = two.keys().fresh(BANK, name=NAME, **SANDBOX)
    assert share is not None
    two.write(lambda tx: two.keys().opened(tx, NAME, session="0a" * 16, suite="x25519"))
    two.site.entity.states[share.key_id] = state
    with pytest.raises(Refused, match="SESSION_BROKEN"):
        two.keys().require_live(NAME)
    assert two.last("qkd.session_ended")["cause"] == "revoked"


def test_a_key_that_nobody_answers_for_carries_no_frame(two: Two) -> None:
    two.keys().fresh(BANK, name=NAME, **SANDBOX)
    two.write(lambda tx: two.keys().opened(tx, NAME, session="0a" * 16, suite="x25519"))
    two.site.entity.away = True
    with pytest.raises(WorkbenchError, match="KME_AWAY"):
        two.keys().require_live(NAME)
    two.site.entity.away = False
    assert two.last("qkd.session_ended")["cause"] == "key not checked"


def test_the_stricter_of_order_and_line_counts_and_no_simulated_key_passes_for_a_devices(two: Two) -> None:
    with pytest.raises(Refused, match="PROVENANCE_REFUSED"):
        two.keys().fresh(BANK, name=NAME, what="sandbox", policy="qkd-required")
    assert (two.pool.asked, two.row()) == ([], None), "no key was touched"
    assert two.last("qkd.session_refused")["code"] == "PROVENANCE_REFUSED"
    share = two.keys().fresh(BANK, name=NAME, what="sandbox", policy="pqc-only")
    assert share is not None, "the line demands a key though the order does not"
    assert two.row()[2] == "hybrid-required"  # type: ignore[index]
    two.far.change(policy="qkd-required")
    with pytest.raises(WorkbenchError, match="PROVENANCE_REFUSED"):
        two.keys("bank").named(BROKER, share.key_id, name=NAME, **SANDBOX)
    assert two.row("bank") is None, "a key that came all the same is not handed on"
    two.site.entity.change(policy="pqc-only")
    assert two.keys().fresh(BANK, name="L-1/sb-2/1", what="sandbox", policy="pqc-only") is None


def test_without_a_key_it_waits_and_says_how_long(two: Two) -> None:
    two.pool.left = 0
    with pytest.raises(KeyUnavailable) as short:
        two.keys().fresh(BANK, name=NAME, **SANDBOX)
    assert (short.value.code, short.value.details["retry_after_s"]) == ("KEY_EXHAUSTED", "40")
    before = len(two.site.entries("qkd.session_refused"))
    with pytest.raises(KeyUnavailable):
        two.keys().fresh(BANK, name=NAME, **SANDBOX)
    assert len(two.site.entries("qkd.session_refused")) == before, "one entry a minute of one kind"


def test_a_key_that_the_other_site_lacks_is_refused_there_with_a_time(two: Two) -> None:
    share = two.keys().fresh(BANK, name=NAME, **SANDBOX)
    assert share is not None
    two.pool.lost = True
    for key_id in (share.key_id, ""):
        with pytest.raises(KeyUnavailable) as refused:
            two.keys("bank").named(BROKER, key_id, name=NAME, **SANDBOX)
        assert (refused.value.code, refused.value.details["retry_after_s"]) == ("QKD_KEY_REQUIRED", "30")
    two.write(lambda tx: two.keys().refused(tx, NAME, refused.value))
    assert (two.row()[0], two.last("qkd.session_refused")["code"]) == ("REFUSED", "QKD_KEY_REQUIRED")  # type: ignore[index]


def test_a_renewal_has_its_own_key_written_down_beside_the_running_one(two: Two) -> None:
    first = two.open()
    second = two.keys().fresh(BANK, name=NAME, renews=True, **SANDBOX)
    assert second is not None and second.key_id != first.key_id
    assert two.row() == ("OPEN", "sandbox", "hybrid-required", first.key_id, second.key_id)
    two.keys().require_live(NAME)
    two.write(lambda tx: two.keys().refused(tx, NAME, Refused("不行", "no", code="SESSION_REFUSED")))
    assert two.row() == ("OPEN", "sandbox", "hybrid-required", first.key_id, ""), "the session goes on under its old key"
    with pytest.raises(Refused, match="SESSION_BROKEN"):
        two.write(lambda tx: two.keys().opened(tx, NAME, session="0a" * 16, suite="x25519"))
    third = two.open(renews=True)
    assert two.row() == ("OPEN", "sandbox", "hybrid-required", third.key_id, "")
    entry = two.last("qkd.session_renewed")
    assert (entry["session"], entry["epoch"], entry["key_id"]) == (NAME, "1", third.key_id)


def test_revoking_the_next_key_ends_the_session_that_is_about_to_use_it(two: Two) -> None:
    two.open()
    second = two.keys().fresh(BANK, name=NAME, renews=True, **SANDBOX)
    assert second is not None
    two.site.call("qkd.revoke", line="a1", key_ids=[second.key_id], reason="演练：下一把密钥作废")
    with pytest.raises(Refused, match="SESSION_BROKEN"):
        two.write(lambda tx: two.keys().opened(tx, NAME, session="0a" * 16, suite="x25519"))


def test_after_somebody_was_revoked_only_a_renewal_helps(two: Two) -> None:
    two.open()
    two.site.service.renew_sessions()
    with pytest.raises(Refused, match="REKEY_REQUIRED"):
        two.keys().require_live(NAME)
    two.open(renews=True)
    two.keys().require_live(NAME)


def test_another_start_of_the_same_name_ends_the_one_before(two: Two) -> None:
    first = two.open()
    second = two.open()
    assert two.row()[0] == "ENDED"  # type: ignore[index]
    assert two.row(name=f"{NAME}.2") == ("OPEN", "sandbox", "hybrid-required", second.key_id, "")
    assert (two.last("qkd.session_ended")["cause"], first.key_id == second.key_id) == ("replaced", False)


def test_sessions_of_a_run_before_are_over(two: Two) -> None:
    two.open()
    two.keys()._live.clear()  # as after a restart: keys and names were in memory only
    two.keys().start()
    assert (two.row()[0], two.last("qkd.session_ended")["cause"]) == ("ENDED", "restart")  # type: ignore[index]
    with pytest.raises(Refused, match="SESSION_BROKEN"):
        two.keys().require_live(NAME)


def test_a_name_that_is_no_id_is_a_mistake_of_the_caller(two: Two) -> None:
    for name, what in (("", "sandbox"), ("客户张三", "sandbox"), (NAME, "something")):
        with pytest.raises(ValueError, match="a session has a name"):
            two.keys().fresh(BANK, name=name, what=what, policy="hybrid-required")

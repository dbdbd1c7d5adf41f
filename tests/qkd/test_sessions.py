"""A session between two nodes: keys of both ends, what is refused, and that nothing else ever takes a key's place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from workbench_qkd import conversing
from workbench_qkd.service import service_of

from tests.qkd.conftest import Site
from tests.qkd.entity import Entity, line
from workbench.errors import InvalidRequest, KeyUnavailable, Refused, WorkbenchError
from workbench_kme.service.client import ReceivedKey
from workbench_kme.service.standard import MANDATORY_UNMET

EXTENSION = {"workbench_provenance": {"origin": "simulated"}}


@dataclass
class Pool:
    """Keys of one line at both ends; each is given out once at each end. asked: what was asked for."""

    left: int = 5
    lost: bool = False
    held: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def get_keys(self, slave: str, *, number: int = 1, size: int = 256, additional_slaves: Any = (), origins: Any = ()) -> list[ReceivedKey]:
        self.asked.append("new")
        if origins and "simulated" not in origins:
            raise InvalidRequest("没有这个来源的密钥", MANDATORY_UNMET, code="KME_REFUSED")
        if not self.left:
            raise KeyUnavailable("不足", "short", code="EXHAUSTED", details={"retry_after_s": "40"})
        self.left -= 1
        name = f"00000000-0000-4000-8000-{self.left:012d}"
        self.held[name] = bytes([self.left + 1]) * 32
        return [ReceivedKey(name, self.held[name], EXTENSION)]

    def get_keys_by_id(self, master: str, key_ids: Any) -> list[ReceivedKey]:
        self.asked.append("by id")
        if self.lost or key_ids[0] not in self.held:
            raise Refused("没有", "none", code="KME_REFUSED")
        return [ReceivedKey(key_ids[0], self.held.pop(key_ids[0]), EXTENSION)]

    def close(self) -> None: ...


@dataclass
class Two:
    site: Site
    far: Entity
    pool: Pool

    def rehearse(self) -> Any:
        return self.site.call("qkd.rehearse_session", line="a1")

    def far_sessions(self) -> list[str]:
        with self.site.three.nodes["bank"].store.read() as reader:
            return [row[0] for row in reader.execute("SELECT state FROM qkd_session ORDER BY opened_ms")]


@pytest.fixture
def two(site: Site) -> Iterator[Two]:
    made = Two(site, Entity({"a1": line(role="receiver", peer_site="broker", peer_kme="kme-broker", peer_saes=["sae-broker"])}), Pool())
    far = site.three.nodes["bank"]
    site.service.attach(site.entity, made.pool, sae="sae-broker")
    service_of(far).attach(made.far, made.pool, sae="sae-bank")
    conversing.conversations_of(far)._asked.clear()
    yield made
    far.store.write(lambda tx: [tx.execute(f"DELETE FROM {one}") for one in ("qkd_session", "qkd_policy", "qkd_decision", "qkd_held")])


def test_both_ends_use_the_same_key_once_and_say_what_for(two: Two) -> None:
    told = two.rehearse()
    assert (told.state, told.provenance, told.suite) == ("ENDED", "simulated", "x25519-mlkem768-sm3-sm4gcm")
    assert two.pool.held == {}, "the key was taken at both ends"
    uses = [one for entity in (two.site.entity, two.far) for one in entity.asked if one[0] == "consume"]
    assert uses == [("consume", (told.key_id,), told.session)] * 2, "a leak report of either site names the session"
    assert two.far_sessions() == ["ENDED"]
    for party in ("broker", "bank"):
        entry = two.site.three.entries(party, kind="qkd.session_opened")[-1]
        assert (entry.values["session"], entry.values["key_id"], entry.values["provenance"]) == (told.session, told.key_id, "simulated")


def test_out_of_keys_is_a_refusal_that_says_what_is_missing_and_when(two: Two) -> None:
    two.pool.left = 0
    with pytest.raises(KeyUnavailable) as refused:
        two.rehearse()
    assert (refused.value.code, refused.value.details["missing"], refused.value.details["retry_after_s"]) == ("KEY_EXHAUSTED", "1", "40")
    assert two.far_sessions() == [], "nothing was sent: no weaker session instead"
    assert [one.state for one in two.site.call("qkd.sessions", line="a1").sessions] == ["REFUSED"]
    assert two.site.entries("qkd.session_refused")[-1].values["code"] == "KEY_EXHAUSTED"


def test_a_held_line_refuses_at_either_end(two: Two) -> None:
    two.site.entity.alarm("rate-collapse")
    two.site.follow()
    with pytest.raises(KeyUnavailable) as refused:
        two.rehearse()
    assert refused.value.code == "LINE_STOPPED"
    assert two.pool.asked == [], "no key was touched"
    two.site.node.store.write(lambda tx: tx.execute("DELETE FROM qkd_held"))
    two.far.change(state="alarm")
    with pytest.raises(WorkbenchError):
        two.rehearse()
    assert two.far_sessions() == ["REFUSED"]


def test_device_keys_required_means_no_simulated_one(two: Two) -> None:
    two.site.call("qkd.propose_policy", line="a1", policy="qkd-required", reason="只认设备给的密钥")
    with pytest.raises(Refused) as refused:
        two.rehearse()
    assert refused.value.code == "PROVENANCE_REFUSED"
    assert two.pool.asked == []


def test_a_key_from_before_a_line_had_its_device_begins_no_session(two: Two) -> None:
    two.site.entity.change(policy="qkd-required", provenance="device-014")
    with pytest.raises(Refused) as refused:
        two.rehearse()
    assert (refused.value.code, two.pool.left, two.far_sessions()) == ("PROVENANCE_REFUSED", 5, []), "none of them is taken"


def test_a_key_that_the_far_end_lacks_ends_the_session(two: Two) -> None:
    two.pool.lost = True
    with pytest.raises(WorkbenchError) as refused:
        two.rehearse()
    assert refused.value.code == "QKD_KEY_REQUIRED"
    assert two.far_sessions() == ["REFUSED"]
    assert two.site.call("qkd.sessions", line="a1").sessions[0].state == "REFUSED"


def test_ends_with_different_policies_do_not_meet_in_the_middle(two: Two) -> None:
    two.far.change(policy="pqc-only")
    with pytest.raises(WorkbenchError):
        two.rehearse()
    assert two.far_sessions() == ["REFUSED"]


def test_post_quantum_only_takes_no_key_and_says_so(two: Two) -> None:
    two.far.change(policy="pqc-only")
    two.site.entity.change(policy="pqc-only")
    told = two.rehearse()
    assert (told.state, told.key_id, told.provenance) == ("ENDED", "", "")
    assert two.pool.asked == []


def test_a_partner_gets_so_many_rehearsals_an_hour_and_the_next_one_takes_no_key_here(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    far = two.site.three.nodes["bank"]
    real = far.setting
    monkeypatch.setattr(far, "setting", lambda name: 2 if name == "qkd.rehearsals_an_hour" else real(name))
    two.rehearse()
    two.rehearse()
    taken = two.pool.asked.count("by id")
    with pytest.raises(Refused) as refused:
        two.rehearse()
    assert refused.value.code == "TOO_MANY_REHEARSALS"
    assert two.pool.asked.count("by id") == taken
    assert two.far_sessions() == ["ENDED", "ENDED"], "nothing is written down for it either"
    now = far.now_ms()
    monkeypatch.setattr(conversing.conversations_of(far)._host, "now_ms", lambda: now + 3_600_001)
    assert two.rehearse().state == "ENDED", "an hour later"


@pytest.mark.parametrize("state", ["REVOKED", "QUARANTINED", "unknown"])
def test_a_key_out_of_use_is_refused_like_one_that_is_not_there(two: Two, state: str) -> None:
    two.far.usual_state = state
    two.far.states = {f"00000000-0000-4000-8000-{number:012d}": state for number in range(9)}
    with pytest.raises(WorkbenchError) as refused:
        two.rehearse()
    assert refused.value.code == "QKD_KEY_REQUIRED"
    assert two.far_sessions() == ["REFUSED"]


def test_a_key_that_was_revoked_during_the_exchange_ends_it_at_either_end(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the answering end between answer and confirmation; at the asking end before it confirms."""
    real = conversing.Conversations.prepare_confirm

    def late(self: Any, letter: Any) -> Any:
        two.far.usual_state = "REVOKED"
        return real(self, letter)

    monkeypatch.setattr(conversing.Conversations, "prepare_confirm", late)
    with pytest.raises(WorkbenchError) as refused:
        two.rehearse()
    assert refused.value.code == "SESSION_BROKEN"
    two.far.usual_state = "CONSUMED"
    two.site.entity.usual_state = "REVOKED"
    with pytest.raises(WorkbenchError) as here:
        two.rehearse()
    assert here.value.code == "SESSION_BROKEN"
    assert [one.state for one in two.site.call("qkd.sessions", line="a1").sessions] == ["REFUSED", "REFUSED"]

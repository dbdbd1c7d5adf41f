"""Sessions of one tenant never take a key of another's line: not as a new session, a renewal, a rehearsal, nor because their own line is cut."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from workbench_qkd import channel, sessions, taking, tenants
from workbench_qkd.bodies import group_of
from workbench_qkd.capacity import Supply, by_partner
from workbench_qkd.choosing import choose
from workbench_qkd.service import service_of

from tests.qkd.asking import causes, end, own, refusal, sent
from tests.qkd.conftest import Site
from tests.qkd.entity import Entity, line
from tests.qkd.linked import Linked
from workbench.domain.party import PartyId, Role
from workbench.errors import PeerError, Refused, StartRefused, WorkbenchError

BANK = PartyId("bank")


def set_tag(node: Any, monkeypatch: pytest.MonkeyPatch, **tags: str) -> None:
    monkeypatch.setitem(node.settings._values, tenants.SETTING, tags)


@pytest.fixture
def two(channel_nodes: Linked, monkeypatch: pytest.MonkeyPatch) -> Iterator[Linked]:
    """Both nodes' sessions with one another belong to desk-a; line a1 carries that tag, line b1 the one of desk-b."""
    made = channel_nodes
    monkeypatch.setattr(channel, "PAUSE_S", 0.0)
    made.stock.left, made.stock.away = 200, False
    for party, other in (("broker", "bank"), ("bank", "broker")):
        set_tag(made.nodes[party], monkeypatch, **{other: "desk-a"})
        entity = made.entities[party]
        entity.away = entity.keeps_quiet = False
        entity.change(policy="hybrid-required", state="full", peer_reachable=True, tenant="desk-a")
        entity.known["b1"] = replace(entity.known["a1"], line="b1", tenant="desk-b")
        for _, sealed in made.links[party]._links.values():  # type: ignore[attr-defined]
            if isinstance(sealed, channel.SealedLink):
                sealed._channel.carried()._noting.forget()
    end(made)
    yield made
    node = made.nodes["broker"]
    node.store.write(lambda tx: [sessions.end_all(tx, node, name, cause="test") for name in ("a1", "b1")])
    for entity in made.entities.values():
        entity.change(tenant="", state="full", peer_reachable=True)
        del entity.known["b1"]


def test_a_session_says_whose_key_it_has_at_both_ends_and_in_what_both_sign(two: Linked) -> None:
    two.ask()
    held = own(two)
    assert (held.line, held.tenant) == ("a1", "desk-a")
    assert any(b'"group":"line:a1:tenant:desk-a"' in body for path, body in _hellos(two)), "so the tag is in the transcript, and in every key"
    for party in ("broker", "bank"):
        [opened] = [one.values for one in two.entries(party, kind="qkd.session_opened") if one.values["session"] == held.name]
        assert (opened["line"], opened["tenant"]) == ("a1", "desk-a")
    shown = {one.line: (one.tenant, one.partner_tenant) for one in two.call("broker", Role.OPERATOR, "qkd.status").lines}
    assert shown == {"a1": ("desk-a", "desk-a"), "b1": ("desk-b", "desk-a")}
    assert group_of("a1", "") == "line:a1"


def test_a_line_that_is_cut_is_never_followed_by_another_tenants(two: Linked) -> None:
    two.ask()
    end(two)
    for entity in two.entities.values():
        entity.change(state="alarm")
    asked, before = len(two.stock.asked), _of_other(two)
    error = refusal(two)
    assert error.code == "LINE_STOPPED", "and the other tenant's line has keys"
    assert [one for one in two.stock.asked[asked:] if one == "by id"] == []
    assert _of_other(two) == before, "a session on the other tenant's line"


def test_without_a_line_of_its_tenant_a_session_is_refused_and_no_key_is_asked_for(two: Linked, monkeypatch: pytest.MonkeyPatch) -> None:
    for party, other in (("broker", "bank"), ("bank", "broker")):
        set_tag(two.nodes[party], monkeypatch, **{other: "desk-c"})
    two.stock.asked.clear()
    assert refusal(two).code == "TENANT_DIFFERS"
    assert two.stock.asked == []
    for party in ("broker", "bank"):
        assert "TENANT_DIFFERS" in {one.values["code"] for one in two.entries(party, kind="qkd.session_refused")}
    with pytest.raises(Refused, match="TENANT_DIFFERS"):
        choose(service_of(two.nodes["broker"]), BANK)


def test_no_tag_means_lines_without_one_only(two: Linked, monkeypatch: pytest.MonkeyPatch) -> None:
    for node in two.nodes.values():
        set_tag(node, monkeypatch)
    assert refusal(two).code == "TENANT_DIFFERS"
    for entity in two.entities.values():
        entity.change(tenant="")
    two.ask()
    assert own(two).line == "a1"


@pytest.mark.parametrize("wrong", ["broker", "bank"])
def test_ends_that_are_set_for_different_tenants_have_no_session(two: Linked, monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    set_tag(two.nodes[wrong], monkeypatch, broker="desk-b", bank="desk-b")
    two.stock.asked.clear()
    assert refusal(two).code == "TENANT_DIFFERS"
    assert two.stock.asked == [], "the caller asks the far end before it takes a key"
    assert "TENANT_DIFFERS" in {one.values["code"] for one in two.entries("bank", kind="qkd.session_refused")}


def test_entities_that_name_different_tenants_for_a_line_have_no_session(two: Linked, monkeypatch: pytest.MonkeyPatch) -> None:
    set_tag(two.nodes["bank"], monkeypatch, broker="desk-z")
    two.entities["bank"].change(tenant="desk-z")  # node and entity of the bank agree with one another, not with the broker's
    assert refusal(two).code == "TENANT_DIFFERS"
    two.change = lambda party, path, body: body.replace(b"desk-a", b"desk-z") if (party, path) == ("broker", "qkd/ready") else body
    try:  # whoever names another tag there meets the signed terms
        assert refusal(two).code in ("SESSION_TERMS_DIFFER", "SESSION_REFUSED")
    finally:
        two.change = lambda party, path, body: body
    assert "SESSION_TERMS_DIFFER" in {one.values["code"] for one in two.entries("bank", kind="qkd.session_refused")}


def test_a_hello_for_another_tenants_line_is_refused_before_a_key_is_fetched(two: Linked) -> None:
    two.ask()
    end(two)
    two.stock.asked.clear()
    two.change = lambda party, path, body: body.replace(b'"line":"a1"', b'"line":"b1"') if (party, path) == ("broker", "qkd/hello") else body
    try:
        assert refusal(two).code == "TENANT_DIFFERS"
    finally:
        two.change = lambda party, path, body: body
    assert "by id" not in two.stock.asked
    assert ("b1", "desk-b") in {(one.values["line"], one.values["tenant"]) for one in two.entries("bank", kind="qkd.session_refused")}


def test_a_session_whose_line_went_to_another_tenant_is_not_renewed(two: Linked, monkeypatch: pytest.MonkeyPatch) -> None:
    two.ask()
    first = own(two)
    for entity in two.entities.values():
        entity.change(tenant="desk-b")
        entity.change("b1", tenant="desk-a")
    service_of(two.nodes["broker"]).renew_sessions()  # a fresh key before anything more
    for _ in range(5):
        with suppress(PeerError):
            two.ask()
    assert causes(two, "broker", first.name), "it ended"
    assert own(two).line == "b1", "what carries the tag now is taken"


def test_the_one_door_to_keys_compares_the_tag(two: Linked) -> None:
    service = service_of(two.nodes["broker"])
    other = two.entities["broker"].known["b1"]
    two.stock.asked.clear()
    with pytest.raises(Refused, match="TENANT_DIFFERS"):
        taking.fresh(service, other, "hybrid-required", held=False)
    with pytest.raises(Refused, match="TENANT_DIFFERS"):
        taking.named(service, other, "00000000-0000-4000-8000-000000000001")
    with pytest.raises(Refused, match="TENANT_DIFFERS"):
        taking.fresh(service, other, "pqc-only", held=False)
    assert two.stock.asked == []


def test_a_rehearsal_and_a_session_key_for_a_medium_of_another_tenants_line_are_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.entity.change(tenant="desk-b")
    with pytest.raises(Refused, match="TENANT_DIFFERS"):
        site.call("qkd.rehearse_session", line="a1")
    assert site.entries("qkd.session_refused")[-1].values["tenant"] == "desk-b"
    person = site.three.caller("broker", Role.OPERATOR).person.person
    with pytest.raises(WorkbenchError) as refused:
        site.call("qkd.charge_deliver", person=person, device="m-1", line="a1")
    assert refused.value.code == "TENANT_DIFFERS"
    assert not [one for one in site.entity.asked if one[0] == "consume"]

    far = site.three.nodes["bank"]
    service_of(far).attach(Entity({"a1": line(role="receiver", peer_site="broker", peer_saes=["sae-broker"], tenant="desk-b")}), _Never(), sae="sae-bank")
    set_tag(site.node, monkeypatch, bank="desk-b")
    site.service.attach(site.entity, _One(), sae="sae-broker")
    with pytest.raises(Refused) as told:
        site.call("qkd.rehearse_session", line="a1")
    assert told.value.code == "TENANT_DIFFERS", "the far end's own setting counts there"
    assert site.three.entries("bank", kind="qkd.session_refused")[-1].values["code"] == "TENANT_DIFFERS"


def test_capacity_of_one_tenant_is_none_of_another() -> None:
    made = by_partner([Supply("a1", "bank", 100, 10, 5, 1, True, "desk-a"), Supply("b1", "bank", 900, 10, 5, 1, True, "desk-b"), Supply("c1", "bank", 1, 0, 0, 0, True)])
    assert [(one.peer, one.tenant, one.available) for one in made] == [("bank", "", 1), ("bank", "desk-a", 100), ("bank", "desk-b", 900)]


@pytest.mark.parametrize("wrong", [[], "desk-a", {"bank": ""}, {"bank": 7}, {"bank": "Desk"}, {"bank": "a" * 32}, {"bank": "-a"}, {"bank": "a b"}])
def test_a_setting_of_another_form_stops_the_start(wrong: Any) -> None:
    with pytest.raises(StartRefused, match="WRONG_SETTING"):
        tenants.tags(wrong)


def _of_other(two: Linked) -> list[int]:
    """How many sessions took line b1, or opened on it, so far."""
    found = [("broker", "qkd.line_passed_over", "taken"), ("broker", "qkd.session_opened", "line"), ("bank", "qkd.session_opened", "line")]
    return [sum(one.values[field] == "b1" for one in two.entries(party, kind=kind)) for party, kind, field in found]


class _One:
    """An entity's side that gives one key."""

    def get_keys(self, *_values: Any, **_named: Any) -> list[Any]:
        from workbench_kme.service.client import ReceivedKey

        return [ReceivedKey("00000000-0000-4000-8000-000000000077", b"\x07" * 32, {"workbench_provenance": {"origin": "simulated"}})]

    def get_keys_by_id(self, *_values: Any, **_named: Any) -> list[Any]:
        raise AssertionError("nobody may ask")

    def close(self) -> None: ...


class _Never(_One):
    def get_keys(self, *_values: Any, **_named: Any) -> list[Any]:
        raise AssertionError("nobody may ask")


def _hellos(two: Linked) -> list[tuple[str, bytes]]:
    import base64
    import json

    return [(path, base64.b64decode(json.loads(body)["hello"])) for path, body in sent(two) if path == "qkd/hello"]

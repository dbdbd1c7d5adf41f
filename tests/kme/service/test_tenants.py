"""Lines and applications of two tenants at the same two entities: no key goes from one to the other, whatever door is tried."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from kme_pair import LINE, RECEIVER, SENDER
from test_two_lines import PLANS, SAES, SECOND, Sites, ask
from workbench_kme.service import config, link, management
from workbench_kme.service.client import ReceivedKey
from workbench_kme.service.config import SAE_URI
from workbench_kme.service.entity import Entity
from workbench_kme.service.link import _VERBS
from workbench_kme.service.listening import Call
from workbench_kme.service.sites import LinePlan, issue_client, make_sites
from workbench_kme.sources.device_014 import are_from_a_device

from workbench.crypto import canonical
from workbench.errors import KeyUnavailable, Refused, StartRefused

NOW = datetime.now(UTC)
TAGS = {LINE: "desk-a", SECOND: "desk-b"}
TENANTS = [replace(plan, tenant=TAGS[plan.line]) for plan in PLANS]


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    made = Sites(tmp_path_factory.mktemp("tenants") / "sites", TENANTS)
    made.bring_files()
    made.beat()
    yield made
    made.close()


def code_of(told: Any) -> str:
    return next(one["code"] for one in told["details"] if "code" in one)


def crossed(entity: Entity) -> list[dict[str, Any]]:
    return [{"line": one.line, **one.facts} for one in entity.store.events(limit=500) if one.kind == "tenant.refused"]


def test_each_tenant_gets_keys_of_its_line_which_say_whose_they_are(sites: Sites) -> None:
    for number, line in enumerate(TAGS):
        status, told = sites.take(number)
        assert status == 200, told
        [key] = told["keys"]
        assert key["key_extension"]["workbench_provenance"]["tenant"] == TAGS[line]
        assert told["key_container_extension"]["workbench_container"]["tenant"] == TAGS[line]
        status, there = sites.fetch(number, key["key_ID"])
        assert (status, there["keys"][0]["key"]) == (200, key["key"])


def test_an_application_of_another_tenant_gets_nothing_at_either_end_and_it_is_told_once(sites: Sites) -> None:
    (own, other), (far, _) = SAES[SENDER], SAES[RECEIVER]
    before = sites.sender.store.status(LINE).available
    for call in ("enc_keys", "status", "enc_keys"):
        status, told = ask(sites.sender, other, f"/api/v1/keys/{far}/{call}")
        assert (status, code_of(told)) == (401, "OTHER_TENANT"), call
    assert sites.sender.store.status(LINE).available == before
    assert crossed(sites.sender) == [{"line": LINE, "application": other, "tenant": "desk-b", "line_tenant": "desk-a"}]
    status, told = sites.take(0)
    key_id = told["keys"][0]["key_ID"]
    status, refused = ask(sites.receiver, SAES[RECEIVER][1], f"/api/v1/keys/{own}/dec_keys", (("key_ID", key_id),))
    assert (status, code_of(refused)) == (401, "OTHER_TENANT")
    assert [one["application"] for one in crossed(sites.receiver)] == [SAES[RECEIVER][1]]
    assert sites.fetch(0, key_id)[0] == 200, "the key waits for whom it belongs to"


def test_a_session_key_under_a_charge_key_is_of_the_mediums_line_and_its_tenants_application(sites: Sites) -> None:
    sites.sender.charges.fill_anew("P-1", "m-1", LINE, 4, low_water=1, after=0)
    body = {"person": "P-1", "device": "m-1", "line": LINE, "sae": SAES[SENDER][1], "slave": SAES[RECEIVER][0], "origins": []}

    def deliver() -> tuple[int, Any]:
        pinned = sites.sender.config.node_fingerprint
        call = Call("POST", "/management/v1/charges/deliver", (), "application/json", json.dumps(body).encode(), ("node", SENDER), pinned)
        answer = management.answer(sites.sender, call)
        return answer.status, json.loads(answer.body)

    status, told = deliver()
    assert (status, told["code"]) == (409, "OTHER_TENANT")
    body["sae"] = SAES[SENDER][0]
    assert deliver()[0] == 200


def test_an_application_is_registered_for_lines_of_its_own_tenant_only_and_told_to_their_far_end_only(sites: Sites) -> None:
    folder = sites.folders[SENDER]
    made = issue_client(folder, "app-b", SAE_URI + "app-b", now=NOW)
    wanted = {
        "application": "app-b", "certificate": made.certificate_pem.decode(), "line": LINE, "tenant": "desk-b", "per_hour": 60, "burst": 4,
        "most_reserved": 0, "priority": 0, "act": "E-1",
    }  # fmt: skip

    def register() -> tuple[int, Any]:
        pinned = sites.sender.config.node_fingerprint
        call = Call("POST", "/management/v1/applications/register", (), "application/json", json.dumps(wanted).encode(), ("node", SENDER), pinned)
        answer = management.answer(sites.sender, call)
        return answer.status, json.loads(answer.body)

    status, told = register()
    assert (status, told["code"]) == (400, "APPLICATION_TENANT")
    wanted["tenant"] = ""
    assert register()[1]["code"] == "APPLICATION_TENANT", "no tag is another one than a tag"
    wanted |= {"line": SECOND, "tenant": "desk-b"}
    status, told = register()
    assert (status, told["tenant"]) == (200, "desk-b")
    sites.beat()
    assert "app-b" in sites.receiver.lines[SECOND].far.saes and "app-b" not in sites.receiver.lines[LINE].far.saes
    assert ask(sites.sender, "app-b", f"/api/v1/keys/{SAES[RECEIVER][1]}/enc_keys")[0] == 200
    assert ask(sites.sender, "app-b", f"/api/v1/keys/{SAES[RECEIVER][0]}/enc_keys")[0] == 401


def test_a_call_with_another_tag_is_refused_for_every_verb_before_its_body_is_looked_at(sites: Sites) -> None:
    own = sites.receiver.lines[LINE].config.peer
    named = [f"{LINE}@desk-b", LINE, f"{LINE}@desk-", f"{LINE}@desk-aa", f"{LINE}@DESK-A"]
    before = sites.sender.store.status(LINE).available
    for verb in _VERBS:
        for line in named:
            answer = link.answer(sites.receiver, Call("POST", f"/link/v1/{line}/{verb}", (), "application/json", b"\x00", ("kme", own.kme), own.fingerprint))
            told = json.loads(answer.body)
            assert (answer.status, told) in ((409, {"code": "OTHER_TENANT"}), (401, {"code": "NOT_THE_PEER"})), (verb, line)
    assert sites.receiver.lines[LINE].state() == "other-tenant" and sites.receiver.lines[SECOND].state() != "other-tenant"
    with pytest.raises(KeyUnavailable, match="OTHER_TENANT"):
        sites.receiver.lines[LINE].check_deliverable()
    sites.beat()
    sites.beat()
    assert sites.receiver.lines[LINE].state() != "other-tenant", "the right tag again ends it"
    assert sites.sender.store.status(LINE).available == before
    assert [one.kind for one in sites.receiver.journal.alarms(limit=50) if one.line == LINE and one.cleared_ms] == ["other-tenant"]


def test_ends_that_name_different_tenants_make_and_give_nothing_until_they_agree(tmp_path: Path) -> None:
    def mistake(folders: Mapping[str, Path], tag: str = "desk-b") -> None:
        path = folders[RECEIVER] / "kme.json"
        value: Any = canonical.parse_object(path.read_bytes())
        value["lines"][0]["tenant"] = tag
        value["tenants"][SAES[RECEIVER][0]] = tag
        path.write_bytes(canonical.format(value))

    sites = Sites(tmp_path / "sites", TENANTS, before_start=mistake)
    sites.bring_files()
    for entity in (sites.sender, sites.receiver):
        end = entity.lines[LINE]
        assert (end.state(), end.in_step, entity.store.status(LINE).available) == ("other-tenant", False, 0)
        assert {one.kind for one in entity.journal.alarms(open_only=True, limit=10) if one.line == LINE} == {"other-tenant"}
        assert [one.facts["alarm"] for one in entity.store.events(limit=100) if one.kind == "alarm.raised" and one.line == LINE] == ["other-tenant"]
    status, told = sites.take(0)
    assert (status, code_of(told)) == (503, "OTHER_TENANT")
    assert sites.take(1)[0] == 200, "the other tenant's line goes on"
    sites.close()

    mistake(sites.folders, "desk-a")
    sites.open()
    sites.bring_files()
    sites.beat()
    assert all(entity.lines[LINE].in_step and entity.store.status(LINE).available for entity in (sites.sender, sites.receiver))
    assert not [one for one in sites.sender.journal.alarms(open_only=True, limit=10) if one.kind == "other-tenant"]
    # the list of applications keeps what it was made with: people set the tag of each
    status, told = ask(sites.receiver, SAES[RECEIVER][0], f"/api/v1/keys/{SAES[SENDER][0]}/enc_keys")
    assert (status, code_of(told)) == (401, "OTHER_TENANT")
    sites.close()
    mistake(sites.folders)
    with pytest.raises((Refused, StartRefused), match="LINE_CHANGED"):
        Entity(sites.folders[RECEIVER], "")


def test_a_device_that_names_another_tenant_gives_no_keys() -> None:
    def key(**said: Any) -> ReceivedKey:
        return ReceivedKey("k", b"\x01" * 32, {"workbench_provenance": {"origin": "device-014", "quantum": True, **said}})

    assert are_from_a_device([key(tenant="desk-a"), key()], "desk-a"), "a device of another make names none"
    assert are_from_a_device([key(tenant="")], "")
    for wrong in ("desk-b", "", "desk-", None, 7):
        assert not are_from_a_device([key(tenant="desk-a"), key(tenant=wrong)], "desk-a")


def test_an_application_is_one_tenants(tmp_path: Path) -> None:
    shared = [replace(plan, saes={}) for plan in TENANTS]
    with pytest.raises(ValueError, match="one tenant"):
        make_sites(tmp_path / "two", shared, now=NOW, saes=SAES)
    one = make_sites(tmp_path / "one", [LinePlan(LINE, SENDER, RECEIVER, tenant="7")], now=NOW)
    read = config.read_config(one[SENDER].folder)
    assert (read.lines[0].tenant, read.tenants) == ("7", {f"sae-{SENDER}": "7"})
    assert config.parse_config(config.format_config(read)) == read

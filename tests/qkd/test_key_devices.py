"""Key devices of the entity as people see and change them: entries, health, page, and who may."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from workbench_qkd import health
from workbench_qkd.pages import devices as page
from workbench_qkd.schema import EVIDENCE_KINDS

from tests.qkd.conftest import Site
from workbench.app.parts.acting import words_of
from workbench.app.texts import texts_of
from workbench.cli import main
from workbench.commands import qkd_devices
from workbench.domain.party import Role
from workbench.errors import Denied, InvalidRequest, NotFound

REASON = "容量预测将用尽，按计划扩容"
TEXTS = texts_of("workbench_qkd")


def test_a_device_that_is_added_or_taken_away_is_evidence_and_seen_by_everyone(site: Site) -> None:
    added = site.call("qkd.add_device", name="d2", reason=REASON)
    assert (added.state, added.own_process) == ("serving", True)
    assert site.entries("qkd.device_added")[-1].values == {"device": "d2", "backend": "soft", "kek": added.kek, "reason": REASON}
    for role in (Role.OPERATOR, Role.COMPLIANCE, Role.AUDITOR, Role.REGULATOR):
        assert [one.name for one in site.call("qkd.devices", role).devices] == ["home", "d2"]
    assert site.call("qkd.capacity").devices == 2 and site.call("qkd.status").devices == {"home": "serving", "d2": "serving"}
    assert site.call("qkd.drain_device", name="d2", reason=REASON).moved == 100
    assert site.entries("qkd.device_drained")[-1].values == {"device": "d2", "values": "100", "reason": REASON}
    assert {"qkd.device_added", "qkd.device_drained"} <= {one.name for one in EVIDENCE_KINDS}


def test_what_the_entity_refuses_leaves_no_entry_and_only_operators_with_their_password_act(site: Site) -> None:
    before = len(site.entries("qkd.device_drained"))
    with pytest.raises(NotFound):
        site.call("qkd.drain_device", name="nobody", reason=REASON)
    assert len(site.entries("qkd.device_drained")) == before
    for operation in ("qkd.add_device", "qkd.drain_device"):
        with pytest.raises(Denied):
            site.call(operation, Role.COMPLIANCE, name="d2", reason=REASON)
        with pytest.raises(InvalidRequest):
            site.call(operation, name="../d2", reason=REASON)
        assert site.node.gate.registry.named(operation).fresh_password
    assert not [one for one in site.entity.asked if one[0] == "add_device"]


def test_a_device_out_of_service_is_a_line_of_the_health_page(site: Site) -> None:
    def lines() -> dict[str, str]:
        return {one.name: one.state for one in health.reports(site.service) if "device" in one.name}

    assert lines() == {}
    site.entity.device_states = {"home": "serving", "d2": "out", "d3": "missing", "d4": "draining"}
    assert lines() == {"qkd.device.d2": "failed", "qkd.device.d3": "failed"}


def test_every_state_has_its_word_and_only_a_device_that_can_go_has_a_button() -> None:
    for language, texts in TEXTS.items():
        def t(key: str, texts: Any = texts, **fields: Any) -> str:
            return str(texts[key].format(**fields))

        states = {"home": "serving", "d2": "serving", "d3": "out", "d4": "missing", "d5": "draining"}
        rows = page.rows(states, t, may=lambda _name: True)
        assert [one["can"] for one in rows] == [[], ["qkd.drain_device"], [], [], []], language
        assert all(one["state"]["label"] for one in rows) and len(page.columns(t)) == 2
        assert words_of([page.ADD, page.DRAIN]) <= texts.keys(), language
    assert page.rows({"home": "out", "d2": "serving"}, lambda key, **_: key, may=lambda _name: True)[1]["can"] == []


class Client:
    """Where the commands ask a node of this machine: the operations themselves."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def call(self, operation: str, **request: Any) -> dict[str, Any]:
        return dict(self._site.call(operation, **request).model_dump())

    def confirmed(self, operation: str, *, password: str, **request: Any) -> dict[str, Any]:
        assert password
        return self.call(operation, **request)


def test_the_commands_add_show_and_take_away(site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    @contextmanager
    def client_for(_workspace: Any, party: str, role: Role) -> Iterator[Client]:
        assert (party, role) == ("broker", Role.OPERATOR)
        yield Client(site)

    monkeypatch.setattr(qkd_devices, "client_for", client_for)

    def run(*words: str) -> tuple[int, Any]:
        status = main(["qkd", "device", words[0], str(site.three.workspace.folder), "--party", "broker", "--json", *words[1:]])
        return status, json.loads(capsys.readouterr().out)

    status, added = run("add", "--name", "d2", "--reason", REASON)
    assert (status, added["state"]) == (0, "serving")
    status, told = run("list")
    assert (status, [one["name"] for one in told["devices"]]) == (0, ["home", "d2"])
    site.entity.device_states["d2"] = "out"
    assert run("list")[0] == 2
    assert run("drain", "--name", "d2", "--reason", REASON) == (0, {"name": "d2", "moved": 100})

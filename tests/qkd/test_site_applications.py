"""Applications of a site as people look after them: operations, evidence, health, command line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from workbench_qkd.taking import far_application

from tests.qkd.conftest import Site
from tests.qkd.entity import line
from workbench.cli import main
from workbench.commands import qkd_application
from workbench.crypto import certificates
from workbench.domain.party import Role
from workbench.errors import Denied, InvalidRequest, KeyUnavailable, PeerError, WorkbenchError
from workbench.workspace import Workspace
from workbench_kme.service.config import SAE_URI
from workbench_kme.service.sites import LinePlan, make_sites

REASON = "档案系统接入，按评审意见登记"
NEW: dict[str, Any] = {"application": "app-archive", "certificate": "PEM", "line": "a1", "tenant": "", "per_hour": 60, "burst": 4, "most_reserved": 8, "priority": 2}


def states(site: Site) -> dict[str, str]:
    return {one.name: one.state for one in site.node.health() if one.name == "qkd.applications"}


def test_registering_changing_and_withdrawing_are_orders_to_the_entity_and_evidence(site: Site) -> None:
    made = site.call("qkd.application_add", reason=REASON, **NEW)
    assert (made.state, made.left, made.known_there, made.own) == ("registered", 4, False, False)
    token = site.three.caller("broker", Role.OPERATOR).person.token
    assert site.entity.asked[-1] == ("register", NEW, token), "the entity learns the token of a person, never a name"
    entry = site.entries("qkd.application_registered")[-1].values
    told = {name: str(value) for name, value in NEW.items() if name != "certificate"}
    assert dict(entry) == {**told, "fingerprint": "0a" * 32, "reason": REASON}
    site.call("qkd.application_set", reason=REASON, **{**NEW, "certificate": "", "per_hour": 7})
    assert site.entries("qkd.application_changed")[-1].values["per_hour"] == "7"
    site.entity.registered["app-archive"] = replace(site.entity.registered["app-archive"], reserved=3)
    gone = site.call("qkd.application_withdraw", application="app-archive", reason=REASON)
    assert (gone.withdrawn, gone.revoked) == (True, 3)
    withdrawn = site.entries("qkd.application_withdrawn")
    assert (withdrawn[-1].values["application"], withdrawn[-1].values["revoked"]) == ("app-archive", "3")
    assert site.call("qkd.application_withdraw", application="app-archive", reason=REASON).withdrawn is False
    assert site.entries("qkd.application_withdrawn")[-1].values["revoked"] == "0", "ordered again is written down again"
    listed = site.call("qkd.applications", Role.REGULATOR).applications
    assert [(one.application, one.state) for one in listed] == [("sae-bank", "registered"), ("sae-broker", "registered"), ("app-archive", "withdrawn")]


def test_only_operators_with_a_fresh_password_change_anything_and_a_refusal_leaves_no_entry(site: Site) -> None:
    for operation, request in (("qkd.application_add", {**NEW, "reason": REASON}), ("qkd.application_withdraw", {"application": "x", "reason": REASON})):
        with pytest.raises(Denied):
            site.call(operation, Role.COMPLIANCE, **request)
        with pytest.raises(WorkbenchError):
            site.node.gate.call(operation, request, site.three.caller("broker", Role.OPERATOR))
    for wrong in ({"application": "no name"}, {"burst": 0}, {"priority": 4}, {"line": "A1"}, {"reason": "短"}, {"more": 1}):
        with pytest.raises(InvalidRequest):
            site.call("qkd.application_add", **{"reason": REASON, **NEW, **wrong})
    before = len(site.entries("qkd.application_withdrawn"))
    with pytest.raises(WorkbenchError, match="NO_APPLICATION"):
        site.call("qkd.application_withdraw", application="nobody", reason=REASON)
    site.entity.away = True
    with pytest.raises(PeerError, match="KME_AWAY"):
        site.call("qkd.application_withdraw", application="sae-bank", reason=REASON)
    assert len(site.entries("qkd.application_withdrawn")) == before and not [one for one in site.entity.asked if one[0] == "register"]


def test_health_says_when_the_list_is_in_doubt_and_when_this_node_gets_no_keys(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site.service, "_attached_keys", (object(), "sae-broker"))
    assert states(site) == {}
    assert [one.own for one in site.call("qkd.applications").applications] == [False, True]
    site.call("qkd.application_withdraw", application="sae-broker", reason=REASON)
    assert states(site) == {"qkd.applications": "failed"}
    site.entity.list_problem = "older"
    assert states(site) == {"qkd.applications": "failed"}
    assert site.call("qkd.applications").problem == "older"


def test_a_far_site_without_applications_is_named_and_no_key_is_asked_for() -> None:
    assert far_application(line(peer_saes=["x", "y"])) == "x"
    with pytest.raises(KeyUnavailable, match="NO_FAR_APPLICATION"):
        far_application(line(peer_saes=[]))


# -------------------------------------------------------------------------------------- command line


class Client:
    """Operations as the gate runs them; what a node process would do."""

    def __init__(self, site: Site) -> None:
        self.site = site

    def call(self, operation: str, **request: Any) -> Any:
        return self.site.call(operation, **request).model_dump()

    def confirmed(self, operation: str, *, password: str, **request: Any) -> Any:
        assert password
        return self.call(operation, **request)


@pytest.fixture
def run(site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, dict[str, Any]]]:
    @contextmanager
    def client_for(workspace: Workspace, party: str, role: Role) -> Iterator[Client]:
        assert (party, role) == ("broker", Role.OPERATOR)
        yield Client(site)

    monkeypatch.setattr(qkd_application, "client_for", client_for)

    def made(verb: str, *rest: str) -> tuple[int, dict[str, Any]]:
        status = main(["qkd", "application", verb, str(site.three.workspace.folder), "--party", "broker", *rest, "--json"])
        return status, json.loads(capsys.readouterr().out)

    return made


def test_the_command_registers_changes_what_is_named_lists_and_withdraws(
    site: Site, run: Callable[..., tuple[int, dict[str, Any]]], tmp_path: Path
) -> None:
    pem = tmp_path / "app.pem"
    pem.write_text("-----BEGIN CERTIFICATE-----\n")
    which = ("--application", "app-archive", "--reason", REASON)
    status, told = run("add", *which, "--certificate", str(pem), "--line", "a1", "--per-hour", "120", "--reserved", "5")
    assert (status, told["per_hour"], told["burst"], told["most_reserved"], told["line"]) == (0, 120, 60, 5, "a1")
    assert site.entity.asked[-1][1]["certificate"] == pem.read_text()
    status, told = run("set", *which, "--per-hour", "7")
    assert (status, told["per_hour"], told["most_reserved"], told["line"]) == (0, 7, 5, "a1")
    assert site.entity.asked[-1][1]["certificate"] == "", "its own stays"
    status, told = run("list")
    assert status == 0 and [one["application"] for one in told["applications"]][-1] == "app-archive"
    assert run("withdraw", *which)[1]["withdrawn"] is True
    assert run("withdraw", *which)[1]["withdrawn"] is False
    site.entity.list_problem = "damaged"
    assert run("list")[0] == 2
    assert run("add", *which, "--certificate", str(tmp_path / "none"))[0] == 2
    with pytest.raises(SystemExit) as usage:
        run("set", *which)
    assert usage.value.code == 64


def test_a_certificate_is_issued_by_the_sites_authority_where_its_key_is(
    site: Site, run: Callable[..., tuple[int, dict[str, Any]]], tmp_path: Path
) -> None:
    folder = make_sites(tmp_path / "kme", [LinePlan("a1", "broker", "bank")], now=datetime.now(UTC))["broker"].folder
    settings, out = site.three.workspace.node_folder("broker") / "settings.json", tmp_path / "app.pem"
    kept = settings.read_bytes() if settings.exists() else None
    settings.write_text(json.dumps({**json.loads(kept or b"{}"), "qkd.kme": {"folder": str(folder)}}), "utf-8")
    try:
        assert run("issue", "--application", "app-archive", "--out", str(out))[0] == 0
        assert run("issue", "--application", "no name", "--out", str(tmp_path / "other"))[0] == 2
        (folder / "authority.key").unlink()
        status, told = run("issue", "--application", "app-archive", "--out", str(tmp_path / "third"))
        assert (status, told["error"]["code"]) == (2, "NO_AUTHORITY")
    finally:
        settings.write_bytes(kept) if kept is not None else settings.unlink()
    certificates.verify_issued(out.read_bytes(), (folder / "authority.pem").read_bytes())
    assert certificates.describe(out.read_bytes()).uris == (SAE_URI + "app-archive",)
    key = tmp_path / "app.pem.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert certificates.key_matches(certificates.KeyAndCertificate(key.read_bytes(), out.read_bytes()))

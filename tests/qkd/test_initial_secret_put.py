"""A new initial secret as people put it in: the entry at both ends with one check value, the file, nothing of the secret anywhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.qkd.conftest import Site
from workbench.cli import main
from workbench.commands import qkd_secret
from workbench.domain.party import PartyId, Role
from workbench.errors import Denied, InvalidRequest
from workbench_kme.service import config, initial
from workbench_kme.service.sites import LinePlan, make_sites

CHECK, OTHER = "0123456789abcdef0123", "f" * 20
REASON = "认证密钥池将尽，两端换入新的初始秘密"


def test_each_end_writes_the_check_value_down_and_sees_what_the_other_wrote(site: Site) -> None:
    three = site.three

    def put(party: str, check: str, peer: str) -> Any:
        return three.call(party, Role.OPERATOR, "qkd.initial_secret", line="a1", check=check, peer=peer, reason=REASON)

    assert put("bank", CHECK, "broker").far_check == ""
    broker, bank = PartyId("broker"), PartyId("bank")
    three.wait_until(lambda: three.nodes["broker"].ledger.size(bank) >= three.nodes["bank"].ledger.size(bank))
    same = put("broker", CHECK, "bank")
    assert (same.far_check, same.agrees) == (CHECK, True)
    three.wait_until(lambda: three.nodes["bank"].ledger.size(broker) >= three.nodes["broker"].ledger.size(broker))
    differs = put("bank", OTHER, "broker")
    assert (differs.far_check, differs.agrees) == (CHECK, False)
    entry = site.entries("qkd.initial_secret_put")[-1]
    assert (entry.values["line"], entry.values["check"], entry.values["reason"]) == ("a1", CHECK, REASON)
    with pytest.raises(Denied):
        site.node.gate.call("qkd.initial_secret", {"line": "a1", "check": CHECK, "peer": "bank", "reason": REASON}, three.caller("broker", Role.COMPLIANCE))
    with pytest.raises(InvalidRequest):
        put("broker", "not a value", "bank")


class Client:
    """The operation as the gate runs it; what a node process would do."""

    def __init__(self, site: Site, party: str) -> None:
        self.site, self.party = site, party

    def confirmed(self, operation: str, *, password: str, **request: Any) -> Any:
        assert password
        return self.site.three.call(self.party, Role.OPERATOR, operation, **request).model_dump()


@pytest.fixture
def sites(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Path]]:
    """Two sites on this machine that the settings of both institutions name."""

    @contextmanager
    def client_for(workspace: Any, party: str, role: Role) -> Iterator[Client]:
        assert role is Role.OPERATOR
        yield Client(site, party)

    monkeypatch.setattr(qkd_secret, "client_for", client_for)
    made = make_sites(tmp_path / "kme", [LinePlan("a1", "broker", "bank", options={"preset": "metro-10"})], now=datetime.now(UTC))
    kept = {}
    for party in ("broker", "bank"):
        path = site.three.workspace.node_folder(party) / "settings.json"
        kept[path] = path.read_bytes() if path.exists() else None
        values = json.loads(kept[path] or b"{}")
        path.write_text(json.dumps({**values, "qkd.kme": {"folder": str(made[party].folder)}}), "utf-8")
    yield {name: one.folder for name, one in made.items()}
    for path, data in kept.items():
        path.write_bytes(data) if data is not None else path.unlink()


def in_place(folder: Path) -> bytes:
    return config.parse_secrets((folder / "secrets.json").read_bytes(), "").lines["a1"].authentication


def test_one_end_makes_it_the_other_takes_it_with_the_value_it_was_told(
    site: Site, sites: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, carried = str(site.three.workspace.folder), tmp_path / "carried"
    first = ["qkd", "initial-secret", folder, "--party", "broker", "--line", "a1", "--reason", REASON, "--json"]
    assert main([*first, "--make", str(carried)]) == 0
    said = capsys.readouterr()
    told = json.loads(said.out)
    secret = in_place(sites["broker"])
    assert (told["check"], told["peer"]) == (initial.check_value("a1", secret), "bank")
    assert secret[:16].hex() not in said.out + said.err
    second = ["qkd", "initial-secret", folder, "--party", "bank", "--line", "a1", "--reason", REASON, "--json", "--file", str(carried)]
    before, entries = in_place(sites["bank"]), len(site.three.entries("bank", kind="qkd.initial_secret_put"))
    assert main([*second, "--check", OTHER]) == 2
    with pytest.raises(SystemExit) as usage:
        main(second)
    assert usage.value.code == 64
    assert in_place(sites["bank"]) == before and len(site.three.entries("bank", kind="qkd.initial_secret_put")) == entries
    assert main([*second, "--check", told["check"]]) == 0
    assert in_place(sites["bank"]) == secret
    assert main([*second, "--check", told["check"]]) == 2, "once"
    assert main([*first, "--make", str(carried)]) == 2, "no file is written over"
    assert in_place(sites["broker"]) == secret
    for party in ("broker", "bank"):
        assert site.three.entries(party, kind="qkd.initial_secret_put")[-1].values["check"] == told["check"]


def test_an_entity_on_another_machine_is_not_reached_from_here(site: Site, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = str(site.three.workspace.folder)
    assert main(["qkd", "initial-secret", folder, "--party", "broker", "--line", "a1", "--reason", REASON, "--make", str(tmp_path / "x"), "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "KME_ELSEWHERE"

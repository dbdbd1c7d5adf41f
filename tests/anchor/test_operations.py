"""Anchors through the gate, for packages and pages; and that nothing leaves the machine by default."""

from __future__ import annotations

import base64
import json
import socket
import time
from typing import Any

import pytest

from tests.anchor.authority import Server, Signer
from tests.anchor.conftest import Anchored, Open, on_a_chain, until_anchored
from tests.anchor.evm import Anvil
from workbench.contracts import AnchorProof
from workbench.domain.checkpoint import Checkpoint, parse_checkpoint, split_note
from workbench.domain.merkle import SHA256, SM3, check_consistency
from workbench.domain.party import PartyId, Role
from workbench.errors import Denied, InvalidRequest, Refused, VerificationError
from workbench.node.links import NoLinks
from workbench_anchor import chain, contract, describing
from workbench_anchor.anchoring import WHAT as EVM
from workbench_anchor.schema import SETTINGS
from workbench_anchor.stamping import WHAT as RFC3161


def call(one: Anchored, name: str, role: Role, **request: Any) -> dict[str, Any]:
    node = one.house.node
    operation = node.gate.registry.named(name)
    confirmation = one.house.confirmation(role, operation, request) if operation.fresh_password else ""
    return node.gate.call(name, request, one.house.caller(role), confirmation=confirmation).model_dump()


def by_kind(reply: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {line["kind"]: line for line in reply["anchors"]}


def proofs(one: Anchored, size: int, origin: str = "broker") -> list[AnchorProof]:
    node = one.house.node
    found: list[AnchorProof] = node.plugins.collect_all(
        "workbench_anchors", host=node, origin=PartyId(origin), size=size
    )
    return found


def checkpoint(note: str) -> Checkpoint:
    return parse_checkpoint(split_note(note)[0])


# --------------------------------------------------------------------------------------- off by default


def test_with_default_settings_nothing_is_opened_and_no_thread_runs(
    open_house: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a bank's security asks first. Sockets of any family are counted, resolving a name too."""
    opened: list[object] = []
    one = open_house()
    one.write(3)
    one.house.node.start(NoLinks())
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: opened.append(address))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **options: opened.append(arguments) or [])
    one.house.clock.forward(hours=48)
    with pytest.raises(Refused) as refused:
        call(one, "ledger.anchor_now", Role.OPERATOR)
    assert refused.value.code == "ANCHOR_OFF"
    reply = call(one, "ledger.anchors", Role.OPERATOR)
    health = {line.name: line.state for line in one.house.node.health() if line.name.startswith("anchor.")}
    assert {kind: line["state"] for kind, line in by_kind(reply).items()} == {"rfc3161": "off", "evm": "off"}
    assert health == {"anchor.stamps": "ok", "anchor.chain": "ok"}
    assert one.service._threads == []
    assert opened == []


def test_every_address_is_empty_by_default() -> None:
    defaults = {one.name: one.default for one in SETTINGS}
    assert (defaults["anchor.tsa_url"], defaults["anchor.chain_url"], defaults["anchor.chain_contract"]) == ("", "", "")


def test_the_background_work_stamps_by_itself(
    open_house: Open, server: Server, signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench_anchor.service.STAMP_ROUND_S", 0.05)
    one = open_house(pinned=signer.pinned, tsa_url=server.url, every_entries=1)
    one.write()
    one.house.node.start(NoLinks())
    ends = time.monotonic() + 60
    while "anchor.stamped" not in one.kinds():
        assert time.monotonic() < ends
        time.sleep(0.05)


# ------------------------------------------------------------------------------------------- the gate


def test_an_operator_anchors_now_with_a_fresh_password(
    open_house: Open, server: Server, signer: Signer, anvil: Anvil
) -> None:
    one = on_a_chain(open_house, anvil, tsa_url=server.url)
    (one.house.node.folder / "tsa.pem").write_bytes(signer.pinned)
    one.write(2)
    reply = call(one, "ledger.anchor_now", Role.OPERATOR)
    assert by_kind(reply)["rfc3161"]["state"] == "confirmed"
    anvil.mine(2)
    one.service.round(EVM)
    reply = call(one, "ledger.anchors", Role.AUDITOR)
    lines = by_kind(reply)
    assert {kind: line["state"] for kind, line in lines.items()} == {"rfc3161": "confirmed", "evm": "confirmed"}
    assert lines["rfc3161"]["size"] > 0
    assert lines["evm"]["id"] in {one["transaction"] for one in one.house.entries("anchor.anchored")}
    for line in lines.values():
        assert "不证明内容属实" in line["zh"]
        assert "does not say that" in line["en"]
    assert one.house.entries("anchor.ordered")[-1]["actor"]


def test_only_operators_act_and_what_leaves_the_trust_boundary_needs_a_fresh_password(open_house: Open) -> None:
    gate, one = (made := open_house()).house.node.gate, made.house
    for name in ("anchor_now", "anchor_account", "anchor_request", "anchor_response"):
        request = {"response": "AAAA"} if name == "anchor_response" else {}
        for role in (Role.MARKETING, Role.AUDITOR, Role.COMPLIANCE, Role.ADMIN):
            with pytest.raises(Denied):
                gate.call(f"ledger.{name}", request, one.caller(role))
    for name in ("anchor_now", "anchor_account"):
        with pytest.raises(Denied):
            gate.call(f"ledger.{name}", {}, one.caller(Role.OPERATOR))


def test_a_request_file_travels_through_the_gate(open_house: Open, signer: Signer) -> None:
    one = open_house(pinned=signer.pinned)
    one.write()
    asked = call(one, "ledger.anchor_request", Role.OPERATOR)
    response = base64.b64encode(signer.reply(base64.b64decode(asked["request"]))).decode()
    done = call(one, "ledger.anchor_response", Role.OPERATOR, response=response)
    assert done["note_sha256"] == asked["note_sha256"]
    assert one.house.entries("anchor.stamped")[0]["actor"]
    for odd in ("%%%%", "AAA"):
        with pytest.raises((InvalidRequest, VerificationError)):
            call(one, "ledger.anchor_response", Role.OPERATOR, response=odd)


def test_a_checkpoint_is_compared_with_the_chain_through_the_gate(open_house: Open, anvil: Anvil) -> None:
    one = on_a_chain(open_house, anvil)
    one.write()
    until_anchored(one, anvil)
    [proof] = proofs(one, 1)
    reply = call(one, "ledger.anchor_check", Role.AUDITOR, note=proof.note)
    assert (reply["state"], reply["size"], reply["log"]) == ("CONFIRMED", proof.size, "broker")
    with pytest.raises(VerificationError):
        call(one, "ledger.anchor_check", Role.AUDITOR, note=proof.note.replace("\n— ", "\n— x", 1))


def test_the_plugin_says_plainly_that_its_optional_part_is_missing(
    open_house: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain, "find_spec", lambda name: None)
    one = open_house(chain_url="http://127.0.0.1:9", chain_id=1, chain_contract="0x" + "ab" * 20)
    one.write()
    with pytest.raises(Refused) as refused:
        one.service.round(EVM)
    assert refused.value.code == "ANCHOR_NOT_INSTALLED"
    assert "evidence-workbench[anchor]" in refused.value.en
    [line] = [line for line in one.house.node.health() if line.name == "anchor.chain"]
    assert (line.state, "evidence-workbench[anchor]" in line.zh) == ("warning", True)


# --------------------------------------------------------------------------------- words and packages


def test_an_anchor_s_files_hold_all_that_a_stranger_needs(
    open_house: Open, server: Server, signer: Signer, anvil: Anvil
) -> None:
    one = on_a_chain(open_house, anvil, tsa_url=server.url)
    (one.house.node.folder / "tsa.pem").write_bytes(signer.pinned)
    one.write(9)
    one.service.round(RFC3161, force=True)
    until_anchored(one, anvil)
    stamp, chained = proofs(one, 4)
    assert (stamp.kind, stamp.state, chained.kind, chained.state) == ("rfc3161", "confirmed", "evm", "confirmed")
    assert set(stamp.files) == {"checkpoint.note", "request.tsq", "token.tsr", "tsa.pem"}
    assert set(chained.files) == {"checkpoint.note", "transaction.json"}
    told = json.loads(chained.files["transaction.json"])
    assert told["v"] == "workbench/v1/anchor-transaction"
    assert told["topics"].split(" ")[0] == contract.ANCHORED.hex()
    assert told["data"].endswith(chained.digest.hex())
    receipt = anvil.chain.receipt(bytes.fromhex(told["transaction"]))
    assert receipt is not None
    assert [(log.topics, log.data) for log in receipt.logs] == [
        (tuple(bytes.fromhex(topic) for topic in told["topics"].split(" ")), bytes.fromhex(told["data"]))
    ]


def test_an_anchor_covers_smaller_checkpoints_by_consistency_in_both_trees(open_house: Open, signer: Signer) -> None:
    one = open_house(pinned=signer.pinned)
    notes = []
    for _ in range(6):
        one.write(3)
        notes.append(checkpoint(one.house.node.ledger.own_checkpoint()))
    row = one.service.stamping.request_file(actor="P-1")
    one.service.stamping.accept_file(signer.reply(row.request), actor="P-1")
    held = checkpoint(row.note)
    for asked in notes:
        [proof] = proofs(one, asked.size)
        for tree, path, old, new in (
            (SHA256, proof.sha256_path, asked.sha256_root, held.sha256_root),
            (SM3, proof.sm3_path, asked.sm3_root, held.sm3_root),
        ):
            check_consistency(tree, old=asked.size, new=proof.size, old_root=old, new_root=new, proof=path)


def test_another_institution_s_log_and_later_entries_have_no_anchor_here(open_house: Open, signer: Signer) -> None:
    one = open_house(pinned=signer.pinned)
    one.write()
    row = one.service.stamping.request_file(actor="P-1")
    one.service.stamping.accept_file(signer.reply(row.request), actor="P-1")
    assert proofs(one, row.size + 1) == []
    assert proofs(one, 1, "bank") == []
    lines = describing.describe_anchors(one.service, Checkpoint("evidence", PartyId("bank"), 5, bytes(32), bytes(32)))
    assert {line.state for line in lines} == {"none"}
    assert all("bank" in line.en for line in lines)


def test_entries_after_the_last_anchor_are_named(open_house: Open, signer: Signer) -> None:
    one = open_house(pinned=signer.pinned)
    one.write()
    row = one.service.stamping.request_file(actor="P-1")
    one.service.stamping.accept_file(signer.reply(row.request), actor="P-1")
    one.write(7)
    line = by_kind(call(one, "ledger.anchors", Role.OPERATOR))["rfc3161"]
    behind = one.house.node.ledger.size(one.house.node.party) - row.size
    assert (line["state"], f"其后 {behind} 条" in line["zh"]) == ("confirmed", True)

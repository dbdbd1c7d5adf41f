"""Decisions about lines inside a package: both verifiers check what two people signed, as every audit does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from workbench_qkd import deciding
from workbench_qkd.deciding import LineRequest
from workbench_qkd.schema import EVIDENCE_KINDS

from tests.altering import other_end
from tests.ledger.world import BANK, BROKER, NOW_MS, Node, World
from tests.package.package_world import build, files_of, order_of, trust_bytes
from workbench.crypto import canonical, labels, sm2
from workbench.crypto.random import SeededSource
from workbench.domain.envelope import build_envelope
from workbench.domain.party import PartyId
from workbench_ledger.package.verifier import formats
from workbench_ledger.package.verifier.checks import Package, check_package

Engine = Callable[[list[dict[str, Any]]], list[Any]]
KINDS = {one.name: one for one in EVIDENCE_KINDS}
KEYS = {party: sm2.generate(SeededSource(b"contract " + party.encode())) for party in (BROKER, BANK)}
RESUME = {"act": "resume", "target": "", "before": ""}


def asked(**changes: Any) -> LineRequest:
    values: dict[str, Any] = {
        "line": "a1", "act": "policy", "target": "pqc-only", "before": "hybrid-required", "first": "P-one", "asked_ms": NOW_MS, "until_ms": NOW_MS + 9000, "nonce": "0" * 32,
    }  # fmt: skip
    return LineRequest(**{**values, **changes})


def write(node: Node, kind: str, values: dict[str, str]) -> None:
    known = {one.name for one in KINDS[kind].fields}
    body, openings = build_envelope(
        KINDS[kind], {name: value for name, value in values.items() if name in known}, time_ms=NOW_MS, log=node.party, job="", actor="P-two",
        refs=(), salts=node.salts,
    )  # fmt: skip
    node.append(body, openings)


def propose(node: Node, request: LineRequest, **changes: str) -> bytes:
    body = deciding.sign_request(request, party=node.party, key=KEYS[node.party])
    values = {
        "proposal": request.name, "line": request.line, "policy": request.target, "before": request.before, "until": str(request.until_ms), "reason": "检修",
        "request": body.decode(),
    }  # fmt: skip
    write(node, "qkd.resume_proposed" if request.act == "resume" else "qkd.downgrade_proposed", values | changes)
    return body


def decide(node: Node, request: LineRequest, number: int, previous: str = "", *, second: str = "P-two", party: PartyId | None = None, kind: str = "", **changes: str) -> str:
    """Write a decision down; its digest."""
    signer = party or node.party
    body = deciding.sign_request(request, party=signer, key=KEYS[signer])
    made, text = deciding.decide(body, second=second, decided_ms=NOW_MS, number=number, previous=previous, party=signer, key=KEYS[signer])
    return enter(node, made.request, text, kind=kind or ("qkd.resumed" if request.act == "resume" else "qkd.downgraded" if second else "qkd.policy_tightened"), **changes)


def enter(node: Node, request: LineRequest, text: bytes, *, kind: str = "qkd.downgraded", **changes: str) -> str:
    values = {
        "proposal": request.name, "line": request.line, "policy": request.target, "before": request.before, "first": request.first, "second": "P-two",
        "reason": "检修", "decision": text.decode(),
    }  # fmt: skip
    write(node, kind, values | changes)
    return deciding.digest(text)


def forged(node: Node, number: int, **changes: Any) -> bytes:
    """A decision that the institution's own program would not make, signed with its own key."""
    key = KEYS[node.party]

    def sign(kind: str, value: dict[str, Any]) -> str:
        return key.sign(labels.signing_input(kind, party=node.party, job="", body=canonical.format(value))).hex()

    request = deciding._request(asked())
    body: dict[str, Any] = {"decided_ms": NOW_MS, "number": number, "previous": "aa" * 32, "second": "P-two", "v": 1}
    body |= {"request": {"request": request, "signature": sign("line-request", request)}} | changes
    return canonical.format({"decision": body, "signature": sign("line-decision", body)})


def other_signature(text: bytes) -> bytes:
    """The decision under a signature with another last digit."""
    return other_end(text.decode()[:-2]).encode() + b'"}'


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Broker: five sound entries. Bank: a node whose database somebody wrote into, its log sealed all the same."""
    made = World(tmp_path_factory.mktemp("decisions") / "world")
    broker, bank = made.broker, made.bank
    propose(broker, asked())
    first = decide(broker, asked(), 1)
    propose(broker, asked(**RESUME, nonce="1" * 32))
    second = decide(broker, asked(**RESUME, nonce="1" * 32), 2, first)
    decide(broker, asked(target="qkd-required", before="pqc-only", until_ms=NOW_MS), 3, second, second="")
    for number, act in enumerate(WRONG, 1):
        act(bank, number)
    made.settle()
    return made


WRONG: dict[Callable[[Node, int], Any], str] = {
    lambda node, n: propose(node, asked(), until="1"): "DECISION_DIFFERS",
    lambda node, n: decide(node, asked(), 1, party=BROKER): "DECISION_ALTERED",
    lambda node, n: enter(node, asked(), b"{}"): "DECISION_ALTERED",
    lambda node, n: enter(node, asked(), forged(node, n, second="")): "DECISION_ALTERED",
    lambda node, n: enter(node, asked(), forged(node, n, second="P-one")): "DECISION_ALTERED",
    lambda node, n: enter(node, asked(), forged(node, n, decided_ms=NOW_MS + 9001)): "DECISION_ALTERED",
    lambda node, n: enter(node, asked(), forged(node, n, v=True)): "DECISION_ALTERED",
    lambda node, n: enter(node, asked(), forged(node, n, previous="")): "DECISION_ALTERED",
    lambda node, n: enter(node, asked(), other_signature(forged(node, n))): "DECISION_ALTERED",
    lambda node, n: decide(node, asked(), n, "bb" * 32): "",
    lambda node, n: decide(node, asked(), n - 1, "bb" * 32): "DECISION_DIFFERS",
    lambda node, n: decide(node, asked(), n - 1, "bb" * 32): "DECISION_DIFFERS",
    lambda node, n: decide(node, asked(), n + 1, "cc" * 32, policy="hybrid-required"): "DECISION_DIFFERS",
    lambda node, n: decide(node, asked(**RESUME), n + 1, "cc" * 32): "DECISION_DIFFERS",
    lambda node, n: decide(node, asked(**RESUME), n + 20, "cc" * 32, kind="qkd.downgraded"): "DECISION_DIFFERS",
}
"""What writes an entry -> what is wrong with it, "" for nothing. The second argument: its place, from 1."""


def package(world: World, *logs: PartyId) -> bytes:
    sizes = {log: world.nodes[log].ledger.size(log) for log in logs}
    return build(world, order_of([(log, index) for log in logs for index in range(sizes[log])], kinds={}))[0]


def checked(data: bytes, trust: bytes) -> dict[str, Any]:
    held = files_of(data)
    return check_package(Package(sorted(held), held.__getitem__, "", []), formats.parse_trust(trust), [], None)


def step_of(result: dict[str, Any]) -> dict[str, Any]:
    return next(one for one in result["steps"] if one["name"] == "decisions")


def test_sound_decisions_hold_and_what_stays_the_institutions_word_is_said(world: World) -> None:
    result = checked(package(world, BROKER), trust_bytes())
    assert (result["verdict"], step_of(result)["ok"]) == ("OK", True)
    assert step_of(result)["en"].startswith("5 requests and decisions")
    assert any("tokens" in one["en"] for one in result["unchecked"])


def test_each_wrong_decision_is_named_by_both_verifiers(world: World, engine: Engine, tmp_path: Path) -> None:
    data = package(world, BROKER, BANK)
    (tmp_path / "one.zip").write_bytes(data)
    result = checked(data, trust_bytes())
    found = {(one["log"], one["index"]): one["code"] for one in step_of(result)["problems"]}
    assert found == {("bank", index): code for index, code in enumerate(WRONG.values()) if code}
    assert {step["name"] for step in result["steps"] if not step["ok"]} == {"decisions"} and result["verdict"] == "FAILED"
    other = trust_bytes(broker={"contract_key": KEYS[BANK].public.format()}, bank={"contract_key": KEYS[BROKER].public.format()})
    cases = [{"path": str(tmp_path / "one.zip"), "trust": one.hex()} for one in (trust_bytes(), other)]
    assert engine(cases) == [result, checked(data, other)], "the page says the same, also under other pinned keys"

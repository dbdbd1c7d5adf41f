"""A question from an operation to a cited answer, over two nodes: order of evidence, refusals, stops, losses, who sees what."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.flows.institutions import Institutions
from tests.inference import fake_servers, worked_servers
from tests.inference.lease_world import BROKER, TELECOM, LeaseWorld, make_workspace
from workbench.domain.party import Role
from workbench_inference.documents import importing, indexing
from workbench_inference.leasing import service
from workbench_sandbox.inside import worker

SMALL = {"funds": 12, "notices": 4, "news": 3, "quotes": 2, "prompts": 1, "questions": 2}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LeaseWorld]:
    made: list[fake_servers.FakeServers] = []
    worked_servers.work(2, made=made)
    workspace = make_workspace(tmp_path_factory.mktemp("asking"), inference__policy="pqc-only", inference__controls=["no-network", "filter"])
    pause, service.ROUND_S = service.ROUND_S, 10_000.0  # type: ignore[misc]
    corpora, clock = worker.CORPORA, worker.now_ms
    built = LeaseWorld(Institutions(workspace), made)
    worker.now_ms = lambda: built.now_ms
    try:
        for party in (BROKER, TELECOM):
            built.start(party)
        node = built.institutions.nodes[BROKER]
        importing.import_synthetic(node, 5, actor="", progress=lambda done, total: None, sizes=SMALL)
        indexing.index(node, actor="", embedder=None, synthetic_only=False, progress=lambda done, total: None, cancelled=lambda: False)
        for scenario in ("advice", "research"):
            for kind in ("fund", "news"):
                built.call(BROKER, Role.COMPLIANCE, "inference.usage_grant", kind=kind, scenario=scenario, roles=["adviser", "compliance"], until="2030-01-01T00:00:00Z", reason="测试用途")
        yield built
    finally:
        built.institutions.wire.mend()
        for party in list(built.institutions.nodes):
            built.institutions.stop(party)
        service.ROUND_S = pause  # type: ignore[misc]
        worker.CORPORA, worker.now_ms = corpora, clock
        fake_servers.MAKERS.pop(fake_servers.ISOLATION, None)


@pytest.fixture(scope="module")
def lease(world: LeaseWorld, tmp_path_factory: pytest.TempPathFactory) -> str:
    image = world.image(tmp_path_factory.mktemp("image"), name="extractive")
    return world.running(image.id, cards=1, hours=2)


def fund(world: LeaseWorld) -> str:
    """Name of a fund of the corpus."""
    title = world.query(BROKER, "SELECT title FROM inference_document WHERE kind = 'fund' AND removed_ms = 0 ORDER BY document LIMIT 1")[0][0]
    return str(title)


def ask(world: LeaseWorld, text: str, role: Role = Role.ADVISER, **request: Any) -> Any:
    """The ended ask."""
    taken = world.call(BROKER, role, "inference.ask", question=text, **{"scenario": "research", **request})
    return ended(world, taken.ask, role)


def ended(world: LeaseWorld, name: str, role: Role = Role.ADVISER) -> Any:
    limit, after = time.monotonic() + 30, 0
    while time.monotonic() < limit:
        found = world.call(BROKER, role, "inference.ask_progress", ask=name, after=after)
        after = found.next
        if found.ask.state not in ("QUEUED", "STREAMING"):
            return found.ask
    raise AssertionError("the question did not end")


def kinds_since(world: LeaseWorld, before: int) -> list[str]:
    return [one for one in world.institutions.kinds(BROKER)[before:] if one.startswith("inference.")]


def test_a_question_gets_an_answer_whose_citations_are_the_own_documents(world: LeaseWorld, lease: str) -> None:
    before = len(world.institutions.kinds(BROKER))
    told = ask(world, f"{fund(world)}的管理费率是多少？")
    assert told.state == "ANSWERED", (told.code, told.zh)
    assert told.citations and all(one.matches for one in told.citations) and "⟦1⟧" in told.text
    assert told.lease == lease and told.engine == "extractive" and told.disclaimer_zh and told.entry.startswith("broker/")
    assert kinds_since(world, before) == [
        "inference.evidence_accepted", "inference.session_opened", "inference.asked", "inference.answered",
    ]  # fmt: skip
    source = world.call(BROKER, Role.ADVISER, "inference.source", ask=told.ask, n=1)
    assert source.matches and source.cited and source.cited in source.before + source.cited + source.after
    assert {one.name for one in told.steps} >= {"redacted", "evidence", "key", "sent", "retrieved", "returned", "judged"}
    assert [tuple(one) for one in world.query(BROKER, "SELECT state, lease FROM inference_ask WHERE ask = ?", told.ask)] == [("ANSWERED", lease)]

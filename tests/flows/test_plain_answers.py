"""What documents and refusals say is so: the tour of the readme, names of operations and partners, words by language."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from workbench.domain.party import Role
from workbench.errors import Refused
from workbench.node.staff import build_staff_app

from tests.flows.institutions import Institutions, fresh_institutions

HOST = "127.0.0.1:8800"
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def alone() -> Iterator[Institutions]:
    with fresh_institutions("broker") as made:
        yield made


def test_an_operation_that_does_not_exist_is_named_over_http_and_the_refusal_recorded(alone: Institutions) -> None:
    node = alone.nodes["broker"]
    person = alone.caller("broker", Role.MARKETING).person
    ticket = node.people._issue(person, "command").secret
    http = TestClient(build_staff_app(node, allowed_hosts={HOST}), base_url=f"http://{HOST}")
    before = len(alone.entries("broker", kind="action.refused"))
    reply = http.post("/api/v1/operations/lists.invent", json={}, headers={"Authorization": f"Bearer {ticket}"})
    assert (reply.status_code, reply.json()["code"]) == (404, "UNKNOWN_OPERATION")
    assert len(alone.entries("broker", kind="action.refused")) == before + 1
    elsewhere = http.get("/api/v1/nothing", headers={"Authorization": f"Bearer {ticket}"})
    assert (elsewhere.status_code, elsewhere.json()["code"]) == (404, "HTTP")


def test_the_partners_that_can_be_named_are_listed_in_the_words_of_each_language(alone: Institutions) -> None:
    with pytest.raises(Refused) as refusal:
        alone.propose("broker", "nobody", "customer-service")
    assert refusal.value.code == "UNKNOWN_PARTY"
    assert refusal.value.zh.endswith("bank、cardnet") and refusal.value.en.endswith("bank, cardnet")


@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="the tour needs the command sqlite3")
def test_the_line_of_the_tour_edits_an_entry_and_the_audit_names_it(alone: Institutions) -> None:
    found = re.search(r'^sqlite3 (\S+) "(UPDATE entry .*)"$', (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    assert found is not None
    file = alone.workspace.node_folder("broker") / Path(found[1]).name
    assert ("broker", 3) not in places(alone)
    subprocess.run(["sqlite3", str(file), found[2]], check=True, timeout=30)
    assert ("broker", 3) in places(alone)


def places(alone: Institutions) -> set[tuple[str, int | None]]:
    report = alone.call("broker", Role.AUDITOR, "evidence.audit", compare=False)
    return {(one.log, one.index) for one in report.findings}

"""The page on which a person types their password again: words instead of a request, and exactly that request."""

from __future__ import annotations

import html
import re
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.flows import population
from tests.flows.institutions import Institutions, fresh_workspace, running
from workbench.domain.party import Role
from workbench.gate import action_digest
from workbench.node.confirming import ACTIONS, LABELS, confirmation_rows
from workbench.node.pages import prepare_action
from workbench.node.staff import build_staff_app
from workbench.node.trust import TrustAction

HOST = "127.0.0.1:8800"


@pytest.fixture(scope="module")
def house() -> Iterator[Institutions]:
    workspace = fresh_workspace()
    with running(workspace, ("broker", "bank")) as made:
        yield made
    shutil.rmtree(workspace.folder)


def shown(house: Institutions, party: str, role: Role, operation: str, **request: Any) -> str:
    """The page of a prepared action as a browser gets it."""
    node = house.nodes[party]
    action = prepare_action(node, house.caller(party, role), operation, request)
    web = TestClient(build_staff_app(node, allowed_hosts={HOST}), base_url=f"http://{HOST}")
    answer = web.get(f"/confirm/{action}")
    assert answer.status_code == 200
    return answer.text


def told(page: str) -> str:
    return html.unescape(re.sub(r"<[^>]+>", " ", page))


def test_every_field_of_every_operation_that_needs_a_password_has_words(house: Institutions) -> None:
    needing = [one for one in house.nodes["bank"].gate.registry if one.fresh_password]
    assert len(needing) > 8
    silent = {field for one in needing for field in one.request.model_fields} - set(LABELS)
    assert not silent, "give them words in workbench/node/confirming.py"
    assert all(zh and en and zh != en for zh, en in LABELS.values())
    assert set(ACTIONS) == set(TrustAction)


def test_an_approval_says_with_whom_what_for_which_list_and_both_directions(house: Institutions) -> None:
    job = house.propose("broker", "bank", population.SPARE[0], minimum_crowd=60)
    listed = house.call("bank", Role.APPROVER, "lists.all").lists[0]
    request = {"job": job, "list_id": listed.list_id, "audience": "资产档 in (A,B)", "columns": ["资产档"]}
    page = shown(house, "bank", Role.APPROVER, "intersection.approve", **request)
    mine, theirs = house.nodes["bank"].names("bank"), house.nodes["bank"].names("broker")  # type: ignore[arg-type]
    purpose = house.nodes["bank"].purposes()[population.SPARE[0]]
    text = told(page)
    for part in (job, *purpose, "手机号", "60 位", listed.name, f"{listed.rows:,} 位", "资产档 in (A,B)", f"{mine[0]} → {theirs[0]}", f"{theirs[0]} → {mine[0]}"):
        assert part in text, part
    node = house.nodes["bank"]
    digest = action_digest("intersection.approve", node.gate.validate(node.gate.registry.named("intersection.approve"), request))
    assert digest in page[page.index("取消 / Decline") :], "the digest stands at the bottom and is the one that is confirmed"
    assert "{" not in text and "list_id" not in text, "no request as a program writes it"


def test_what_is_left_empty_is_said_and_not_left_out(house: Institutions) -> None:
    job = house.propose("broker", "bank", population.SPARE[1])
    text = told(shown(house, "bank", Role.APPROVER, "intersection.approve", job=job))
    assert "名单里的每一位" in text and "最新导入的一份" in text and "不附带" in text


def test_no_identifier_and_no_new_password_stands_on_the_page(house: Institutions) -> None:
    phone = population.phone(7)
    page = shown(house, "bank", Role.COMPLIANCE, "consent.withdraw", phone=phone, reason="本人来电")
    assert phone not in page and f"{phone[:3]}****{phone[-4:]}" in page and "每一个用途" in page and "本人来电" in page
    page = shown(house, "bank", Role.MARKETING, "people.change_password", password="Neues-Pferd-8-Batterie")
    assert "Neues-Pferd" not in page and "••••" in page
    medium = {"line": "a1", "person": "marketing", "device": "card-1", "passphrase": "Neues-Pferd-8-Batterie"}
    page = shown(house, "bank", Role.OPERATOR, "qkd.charge_fill", **medium)
    assert "Neues-Pferd" not in page and "••••" in page and "card-1" in page


def test_a_text_that_would_be_markup_stays_text(house: Institutions) -> None:
    trick = '<img src=x onerror="alert(1)"></dd><script>'
    page = shown(house, "bank", Role.COMPLIANCE, "consent.withdraw", phone=population.phone(8), reason=trick)
    assert html.escape(trick) in page and "<script" not in page and "<img" not in page


def test_a_second_person_sees_what_the_digest_stands_for(house: Institutions) -> None:
    digest = house.call("bank", Role.ADMIN, "partners.remove", party="broker").digest
    rows = confirmation_rows(house.nodes["bank"], {"digest": digest})
    assert [row.zh for row in rows if row.label_zh == "变更"] == ["移除"]
    assert any("broker" in row.zh for row in rows) and any("北京时间" in row.zh for row in rows)


def test_a_thing_that_is_gone_is_shown_by_its_id(house: Institutions) -> None:
    rows = confirmation_rows(house.nodes["bank"], {"job": "J-20200101-00000000", "list_id": "C-gone", "party": "nobody", "more": {"a": 1}})
    assert [row.zh for row in rows] == ["J-20200101-00000000", "C-gone", "nobody", '{"a": 1}']

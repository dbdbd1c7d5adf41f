"""The office system and the customers' app: credentials of machines, who is asked for, what is told, over two nodes and the staff API."""

from __future__ import annotations

import io
import json
import stat
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi.testclient import TestClient

from tests.flows.institutions import CATALOGUE
from tests.inference.asking_world import asking_world
from tests.inference.lease_world import BROKER, LeaseWorld
from workbench.cli import main
from workbench.commands import channels, common
from workbench.domain.erasure import Customer, ErasureRequest, Stage
from workbench.domain.party import PartyId, Role
from workbench.errors import Denied, NotFound, Refused
from workbench.node.staff import build_staff_app
from workbench_inference.asking import rights
from workbench_inference.asking.steps import HouseSteps
from workbench_inference.channels import words
from workbench_inference.channels.credentials import PREFIX, RateLimit
from workbench_inference.policy import stages, tables
from workbench_inference.policy.scenarios import scenarios
from workbench_sandbox.formats.asking import Cite, FieldValue, Open, Text

PLACE = "127.0.0.1:9"
MIRA, OTTO, NOBODY, UNCLASSED = "13912345671", "13912345672", "13912345679", "13912345673"
CUSTOMERS = f"客户号,手机号,姓名,风险等级\nK-1,{MIRA},欧阳鹤汀,C2\nK-2,{OTTO},诸葛照野,C5\nK-3,{UNCLASSED},东方予一,\n"


ALLOWED = {PLACE}


def served(world: LeaseWorld) -> Any:
    """The staff API of the tenant, made once: it takes a second."""
    if not hasattr(world, "app"):
        world.app = build_staff_app(world.institutions.nodes[BROKER], allowed_hosts=ALLOWED)  # type: ignore[attr-defined]
    return world.app  # type: ignore[attr-defined]


class Channel:
    """One machine at the staff API, with its secret."""

    def __init__(self, world: LeaseWorld, secret: str) -> None:
        app = served(world)
        self.web = TestClient(app, base_url=f"http://{PLACE}", headers={"Authorization": f"Bearer {secret}"})

    def post(self, operation: str, **body: Any) -> tuple[int, dict[str, Any]]:
        reply = self.web.post(f"/api/v1/operations/inference.channel_{operation}", json={"v": 1, **body})
        return reply.status_code, reply.json()

    def ok(self, operation: str, **body: Any) -> dict[str, Any]:
        status, told = self.post(operation, **body)
        assert status == 200, told
        return told

    def refused(self, operation: str, **body: Any) -> dict[str, Any]:
        status, told = self.post(operation, **body)
        assert status >= 400, told
        return told

    def answer(self, question: str, **who: Any) -> dict[str, Any]:
        """The ended question; nothing is shown before it is over where a customer asks."""
        more = {name: who.pop(name) for name in ("scenario", "client_class") if name in who}
        ask = self.ok("ask", question=question, **more, **who)["ask"]
        limit, after = time.monotonic() + 30, 0
        while time.monotonic() < limit:
            told = self.ok("answer", ask=ask, after=after, **who)
            after = told["next"]
            if told["state"] != "WAITING":
                return told
            assert not ("customer" in who and told["text"])
        raise AssertionError("the question did not end")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LeaseWorld]:
    with asking_world(tmp_path_factory.mktemp("channels")) as made:
        path = tmp_path_factory.mktemp("lists") / "customers.csv"
        path.write_text(CUSTOMERS, "utf-8")
        made.call(BROKER, Role.MARKETING, "lists.import", file=made.institutions.upload(BROKER, path), catalogue=CATALOGUE)
        image = made.image(tmp_path_factory.mktemp("image"), name="extractive")
        made.running(image.id, cards=1, hours=2)
        yield made


def credential(world: LeaseWorld, name: str, channel: str, **more: Any) -> str:
    """The secret of a confirmed credential."""
    until = (world.institutions.nodes[BROKER].today() + timedelta(days=90)).isoformat()
    request = {"name": name, "channel": channel, "role": "adviser", "until_day": until, "reason": "试点接入渠道", **more}
    secret = str(world.call(BROKER, Role.ADMIN, "inference.channel_add", **request).secret)
    world.call(BROKER, Role.COMPLIANCE, "inference.channel_confirm", name=name, reason="已核对接入方")
    return secret


@pytest.fixture(scope="module")
def app(world: LeaseWorld) -> Channel:
    return Channel(world, credential(world, "first-app", "client"))


@pytest.fixture(scope="module")
def office(world: LeaseWorld) -> Channel:
    return Channel(world, credential(world, "first-office", "internal"))


def at_stage(world: LeaseWorld, stage: str) -> None:
    """As two people or one decided it; how is tests/inference/policy/test_stages.py."""
    world.institutions.nodes[BROKER].store.write(
        lambda tx: tx.execute(
            "INSERT INTO inference_stage (before, after, state, first, made_ms, reason) VALUES ('', ?, 'decided', 't', 0, 'test')", (stage,)
        )
        and None
    )


def invite(world: LeaseWorld, phone: str, action: str = "invite") -> None:
    day = (world.institutions.nodes[BROKER].today() + timedelta(days=30)).isoformat()
    world.call(BROKER, Role.COMPLIANCE, "inference.cohort_change", action=action, phone=phone, until_day=day, reason="首批受邀的客户")


def fund(world: LeaseWorld, *risks: str) -> str:
    """Name of a fund whose documents state one of these classes."""
    with world.institutions.nodes[BROKER].store.read() as reader:
        from workbench_inference.documents import corpus_store

        for row in corpus_store.document_rows(reader, kind="fund"):
            own = corpus_store.read_document(world.institutions.nodes[BROKER], reader, row.document)
            if any(one in own.fields["risk_class"].value for one in risks):
                return row.title
    raise AssertionError("no such fund")


def entries(world: LeaseWorld, kind: str) -> list[dict[str, str]]:
    node = world.institutions.nodes[BROKER]
    with node.store.read() as reader:
        return [node.evidence.view(reader, row.index) for row in reversed(node.evidence.search(reader, kind=kind, limit=1000))]


# ---------------------------------------------------------------------------------------------------------- credentials


def test_a_credential_opens_nothing_before_another_person_confirmed_it_and_nothing_after_it_was_revoked(world: LeaseWorld) -> None:
    until = (world.institutions.nodes[BROKER].today() + timedelta(days=90)).isoformat()
    request = {"name": "spare-app", "channel": "client", "role": "adviser", "until_day": until, "reason": "试点接入渠道"}
    added = world.call(BROKER, Role.ADMIN, "inference.channel_add", **request)
    assert added.secret.startswith(PREFIX) and added.secret not in repr(added) and added.channel.state == "waiting"
    machine = Channel(world, added.secret)
    assert machine.refused("customer", phone=MIRA)["code"] == "CREDENTIAL_REFUSED"
    with pytest.raises(Denied) as own:
        world.call(BROKER, Role.ADMIN, "inference.channel_confirm", name="spare-app", reason="我自己确认")
    assert own.value.code == "SELF_APPROVAL"
    world.call(BROKER, Role.COMPLIANCE, "inference.channel_confirm", name="spare-app", reason="已核对接入方")
    assert machine.ok("customer", phone=MIRA)["customer"]
    for changes, code in (({}, "CREDENTIAL_TAKEN"), ({"name": "third", "role": "admin"}, "ROLE_NEVER_ASKS"), ({"name": "third", "until_day": "2020-01-01"}, "CREDENTIAL_TIME")):
        with pytest.raises(Refused) as refused:
            world.call(BROKER, Role.ADMIN, "inference.channel_add", **{**request, **changes})
        assert refused.value.code == code
    world.call(BROKER, Role.OPERATOR, "inference.channel_revoke", name="spare-app", reason="密钥疑似泄露")
    assert machine.refused("customer", phone=MIRA)["code"] == "CREDENTIAL_REFUSED"
    with pytest.raises(NotFound):
        world.call(BROKER, Role.OPERATOR, "inference.channel_revoke", name="spare-app", reason="再撤销一次")
    told = json.dumps([entries(world, f"inference.channel_{one}") for one in ("added", "confirmed", "revoked")])
    assert added.channel.credential in told and added.secret.removeprefix(PREFIX) not in told
    database = (world.institutions.nodes[BROKER].folder / "evidence.db").read_bytes()
    assert added.secret.removeprefix(PREFIX).encode() not in database


def test_a_credential_calls_the_operations_of_its_channel_and_nothing_else_of_the_node(world: LeaseWorld, app: Channel, office: Channel) -> None:
    for path in ("inference.ask", "inference.history", "people.all", "inference.cohort", "inference.stages"):
        reply = app.web.post(f"/api/v1/operations/{path}", json={})
        assert (reply.status_code, reply.json()["code"]) == (403, "MACHINE_SCOPE"), path
    for method, path in (("POST", "/api/v1/session/derive"), ("POST", "/api/v1/session/renew"), ("POST", "/api/v1/files"), ("GET", "/api/v1/openapi.json"), ("DELETE", "/api/v1/session")):
        reply = app.web.request(method, path, json={"audience": "page"})
        assert (reply.status_code, reply.json()["code"]) == (403, "MACHINE_SCOPE"), path
    assert office.refused("customer", phone=MIRA)["code"] == "MACHINE_SCOPE"
    with pytest.raises(Denied) as person:
        world.call(BROKER, Role.ADVISER, "inference.channel_ask", v=1, question="费率多少", customer="aa" * 16)
    assert person.value.code == "MACHINE_ONLY"
    for secret in ("", PREFIX, f"{PREFIX}{'0' * 64}", "0" * 64):
        assert Channel(world, secret).post("customer", phone=MIRA)[0] == 401
    assert not [one for one in world.call(BROKER, Role.ADVISER, "people.me").operations if one.startswith("inference.channel_")]


def test_a_machine_that_asks_too_often_waits(world: LeaseWorld) -> None:
    machine = Channel(world, credential(world, "slow-app", "client", per_minute=2))
    assert [machine.post("customer", phone=MIRA)[0] for _ in range(3)] == [200, 200, 409]
    assert machine.refused("customer", phone=MIRA)["code"] == "CHANNEL_RATE"
    assert 1 <= int(machine.refused("ask", question="费率", customer="aa" * 16)["details"]["retry_after_s"]) <= 60
    limit = RateLimit()
    assert [limit.spend("a", most=2, now_ms=at) for at in (0, 10_000, 20_000, 60_000, 60_001)] == [0, 0, 40_000, 0, 9_999]
    assert limit.spend("b", most=2, now_ms=20_000) == 0


# -------------------------------------------------------------------------------------------------------------- the app


def test_a_customer_is_refused_in_plain_words_until_the_stage_is_open_and_they_are_invited(world: LeaseWorld, app: Channel) -> None:
    at_stage(world, "internal")
    told = app.ok("customer", phone=f"139 {MIRA[3:7]} {MIRA[7:]}")
    assert (told["may_ask"], told["code"], told["zh"]) == (False, "STAGE_NOT_OPEN", words.WORDS["STAGE_NOT_OPEN"][0]) and MIRA not in json.dumps(told)
    mira = told["customer"]
    assert app.refused("ask", question="费率多少？", customer=mira)["code"] == "STAGE_NOT_OPEN"
    at_stage(world, "invited")
    refused = [app.ok("customer", phone=one) for one in (MIRA, NOBODY)]  # a stranger is told as one who is not invited
    assert {(one["code"], one["zh"]) for one in refused} == {("NOT_INVITED", words.WORDS["NOT_INVITED"][0])}
    invite(world, MIRA)
    told = app.ok("customer", phone=MIRA)
    assert (told["may_ask"], told["code"], told["left"], [one["scenario"] for one in told["scenarios"]]) == (True, "", 60, told_scenarios())
    invite(world, UNCLASSED)
    assert app.ok("customer", phone=UNCLASSED)["code"] == "CLIENT_CLASS_MISSING"
    node = world.institutions.nodes[BROKER]
    restricted, node.restricted_customers = node.restricted_customers, lambda: frozenset({mira})  # type: ignore[method-assign]
    try:
        assert app.ok("customer", phone=MIRA)["code"] == app.refused("ask", question="费率多少？", customer=mira)["code"] == "CUSTOMER_SUSPENDED"
    finally:
        node.restricted_customers = restricted  # type: ignore[method-assign]
    for wrong in ({"customer": ""}, {"customer": mira, "staff": "adviser"}, {"customer": mira, "client_class": "C5"}, {"customer": MIRA}):
        assert app.refused("ask", question="费率多少？", **wrong)["code"] == "INVALID_REQUEST"
    assert app.refused("ask", question="费率多少？", customer=mira, scenario="research")["code"] == "SCENARIO_NOT_FOR_CLIENTS"


def told_scenarios() -> list[str]:
    return [one.name for one in scenarios().values() if one.clients and not one.is_draft]


def test_a_customer_gets_a_cited_answer_with_their_own_name_back_and_nobody_elses(world: LeaseWorld, app: Channel) -> None:
    at_stage(world, "invited")
    for phone in (MIRA, OTTO):
        invite(world, phone)
    mira, otto = (app.ok("customer", phone=one)["customer"] for one in (MIRA, OTTO))
    told = app.answer(f"我是欧阳鹤汀，手机{MIRA}，{fund(world, 'R1', 'R2')}的管理费率是多少？", customer=mira)
    assert told["state"] == "ANSWERED" and told["citations"] and told["label_zh"] == "AI 生成", told
    assert "过往业绩" in told["disclaimer_zh"] and not told["entry"] and MIRA not in json.dumps(told)
    for other in ({"customer": otto}, {"customer": "ab" * 16}):
        assert app.refused("answer", ask=told["ask"], **other)["code"] == "NO_ASK"
        assert app.refused("rate", ask=told["ask"], rating="up", **other)["code"] == "NO_ASK"
    assert app.ok("rate", ask=told["ask"], rating="down", reason=f"没说清，回电{MIRA}", customer=mira)["rating"] == "down"
    # Evidence and history name channel and credential, and no number.
    credential = next(one for one in world.call(BROKER, Role.COMPLIANCE, "inference.channels").channels if one.name == "first-app")
    entry = next(one for one in entries(world, "inference.asked") if one["ask"] == told["ask"])
    assert (entry["channel"], entry["credential"], entry["person"]) == ("client", credential.credential, credential.credential) and credential.asks >= 1
    line = next(one for one in world.call(BROKER, Role.COMPLIANCE, "inference.history").lines if one.ask == told["ask"])
    assert (line.channel, line.credential, line.mine) == ("client", "first-app", False)
    seen = world.call(BROKER, Role.COMPLIANCE, "inference.answer", ask=told["ask"])
    assert "鹤汀" not in seen.model_dump_json() and "〔姓名1〕" in seen.question
    [feedback] = [one for one in world.call(BROKER, Role.COMPLIANCE, "inference.feedback").lines if one.down]
    assert [one.text for one in feedback.reasons] == ["没说清，回电〔手机1〕"]
    exported = world.call(BROKER, Role.COMPLIANCE, "inference.history_export")
    assert exported.count >= 1


def test_the_class_is_the_institutions_record_and_a_correction_counts_at_once(world: LeaseWorld, app: Channel) -> None:
    at_stage(world, "invited")
    invite(world, MIRA)
    mira = app.ok("customer", phone=MIRA)["customer"]
    told = app.answer(f"{fund(world, 'R4', 'R5')}的管理费率是多少？", customer=mira)
    assert (told["state"], told["code"], told["text"], told["zh"]) == ("REFUSED", "ABOVE_CLASS", "", words.WORDS["ABOVE_CLASS"][0])
    from workbench.node.correcting import correct

    node = world.institutions.nodes[BROKER]
    names = node.consent.customer_names(phones=[MIRA], id_nos=())
    correct(node, Customer(tuple({mira, *names})), {"risk_level": "C5"}, actor="t", case="case-1")
    assert app.answer(f"{fund(world, 'R4', 'R5')}的管理费率是多少？", customer=mira)["state"] == "ANSWERED"
    correct(node, Customer(tuple({mira, *names})), {"risk_level": "C2"}, actor="t", case="case-2")


def test_documents_that_are_not_public_answer_no_customer(world: LeaseWorld, app: Channel, office: Channel) -> None:
    at_stage(world, "invited")
    invite(world, OTTO)
    otto, name = app.ok("customer", phone=OTTO)["customer"], fund(world, "R1", "R2", "R3")
    question = f"{name}的管理费率是多少？"
    node = world.institutions.nodes[BROKER]

    def classed(klass: str) -> None:
        node.store.write(lambda tx: tx.execute("UPDATE inference_document SET class = ? WHERE title = ?", (klass, name)) and None)

    classed("internal")
    try:
        hidden, shown = app.answer(question, customer=otto), office.answer(question, staff="adviser", client_class="C5")
    finally:
        classed("public")
    assert (hidden["state"], hidden["citations"]) == ("ABSTAINED", []) and shown["state"] == "ANSWERED"
    assert app.answer(question, customer=otto)["state"] == "ANSWERED"


def test_all_customers_of_the_lists_may_ask_once_the_trial_is_open_and_strangers_still_may_not(world: LeaseWorld, app: Channel) -> None:
    invite(world, OTTO, "invite")
    invite(world, OTTO, "remove")
    at_stage(world, "open")
    try:
        assert app.ok("customer", phone=OTTO)["may_ask"]
        assert app.ok("customer", phone=NOBODY)["code"] == "NOT_A_CUSTOMER"
    finally:
        at_stage(world, "invited")
    assert app.ok("customer", phone=OTTO)["code"] == "NOT_INVITED"


def test_a_customers_quota_is_their_own_and_an_erasure_takes_questions_and_quota(world: LeaseWorld, app: Channel) -> None:
    at_stage(world, "invited")
    invite(world, OTTO)
    otto = app.ok("customer", phone=OTTO)["customer"]
    before = app.ok("customer", phone=OTTO)["left"]
    ask = app.answer(f"{fund(world, 'R1')}的管理费率是多少？", customer=otto)["ask"]
    assert app.ok("customer", phone=OTTO)["left"] == before - 1
    node = world.institutions.nodes[BROKER]
    month = tables.month_of(node.now_ms())
    node.store.write(lambda tx: tx.execute("UPDATE inference_quota SET most = used WHERE whose = ? AND month = ?", (f"customer:{otto}", month)) and None)
    assert app.refused("ask", question="费率多少？", customer=otto)["zh"] == words.WORDS["QUOTA_SPENT"][0]
    assert otto not in world.call(BROKER, Role.OPERATOR, "inference.quota").model_dump_json()
    found = rights.erase(node, ErasureRequest("E-9", Stage.RESTRICT, Customer((otto,))))
    assert {one.what for one in found} >= {"questions", "invitations"}
    assert not world.query(BROKER, "SELECT 1 FROM inference_quota WHERE whose = ?", f"customer:{otto}")
    assert not world.query(BROKER, "SELECT 1 FROM inference_ask WHERE customer = ?", otto)
    assert app.refused("answer", ask=ask, customer=otto)["code"] == "NO_ASK"


# ----------------------------------------------------------------------------------------------------------- the office


def test_the_office_system_asks_for_a_member_of_staff_under_their_role_and_quota(world: LeaseWorld, office: Channel) -> None:
    node = world.institutions.nodes[BROKER]
    adviser = next(one for one in node.people.everyone() if one.person == "adviser")
    used = world.call(BROKER, Role.ADVISER, "inference.quota").mine.used
    told = office.answer(f"{fund(world, 'R1')}的管理费率是多少？", staff="adviser", scenario="research")
    assert told["state"] == "ANSWERED" and told["entry"].startswith("broker/") and "过往业绩" not in told["disclaimer_zh"]
    assert world.call(BROKER, Role.ADVISER, "inference.quota").mine.used == used + 1
    entry = next(one for one in entries(world, "inference.asked") if one["ask"] == told["ask"])
    assert entry["person"] == adviser.token and entry["credential"].startswith("C-") and entry["channel"] == "internal"
    line = next(one for one in world.call(BROKER, Role.ADVISER, "inference.history").lines if one.ask == told["ask"])
    assert (line.credential, line.mine) == ("first-office", True)
    for staff, code in (("compliance", "STAFF_ROLE"), ("nobody", "NO_PERSON"), ("", "INVALID_REQUEST")):
        assert office.refused("ask", question="费率多少？", staff=staff)["code"] == code
    assert office.refused("answer", ask=told["ask"], staff="compliance")["code"] in ("NO_ASK", "STAFF_ROLE")
    assert office.refused("ask", question="费率多少？", customer="aa" * 16)["code"] == "INVALID_REQUEST"
    # What a person asked in their own session is not the office system's to read.
    own = world.call(BROKER, Role.ADVISER, "inference.ask", question=f"{fund(world, 'R1')}的管理费率是多少？", scenario="research")
    assert office.refused("answer", ask=own.ask, staff="adviser")["code"] == "NO_ASK"
    assert next(one for one in entries(world, "inference.ask_refused"))["channel"] in ("internal", "client")


def test_a_sentence_of_a_generator_that_no_cited_source_carries_is_shown_to_nobody(world: LeaseWorld, office: Channel, monkeypatch: pytest.MonkeyPatch) -> None:
    question = f"{fund(world, 'R1')}的管理费率是多少？"
    plain = office.answer(question, staff="adviser", scenario="research")
    original = HouseSteps.send

    def generated(*, with_citations: bool) -> Any:
        def send(self: HouseSteps, leased: Any, frame: bytes) -> Iterator[Any]:
            for one in original(self, leased, frame):
                if isinstance(one, Cite | FieldValue) and not with_citations:
                    continue
                yield replace(one, kind="generator") if isinstance(one, Open) else one
                if isinstance(one, Open):
                    yield Text("它明天的净值是9.8765元。")

        return send

    monkeypatch.setattr(HouseSteps, "send", generated(with_citations=True))
    told = office.answer(question, staff="adviser", scenario="research")
    assert told["state"] == "ANSWERED" and "9.8765" not in told["text"] and told["text"] == plain["text"]
    monkeypatch.setattr(HouseSteps, "send", generated(with_citations=False))
    told = office.answer(question, staff="adviser", scenario="research")
    assert (told["state"], told["code"], told["text"]) == ("REFUSED", "ANSWER_UNGROUNDED", "")


def test_an_answer_that_carries_out_the_prompt_or_what_was_redacted_is_shown_to_nobody(world: LeaseWorld, office: Channel, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a model that was made to dump what it was given: whatever it says, the house looks before it shows."""
    original, dumped = HouseSteps.send, [""]

    def send(self: HouseSteps, leased: Any, frame: bytes) -> Iterator[Any]:
        for one in original(self, leased, frame):
            yield one
            if isinstance(one, Open):
                yield Text(dumped[0])

    monkeypatch.setattr(HouseSteps, "send", send)
    question = f"手机{NOBODY}的客户问：{fund(world, 'R1')}的管理费率是多少？"
    for text in (max(scenarios()["research"].template.instructions(), key=len), f"他的手机是{NOBODY[:3]} {NOBODY[3:7]} {NOBODY[7:]}。"):
        dumped[0] = text
        told = office.answer(question, staff="adviser", scenario="research")
        assert (told["state"], told["code"], told["text"], told["citations"]) == ("REFUSED", "ANSWER_LEAK", "", []), told
    dumped[0] = ""
    monkeypatch.undo()
    told = office.answer(question, staff="adviser", scenario="research")
    assert (told["state"], told["code"]) == ("ANSWERED", "")


# --------------------------------------------------------------------------------------------------------- the commands


@dataclass
class Node:
    staff_url: str


@pytest.fixture(scope="module")
def folder(world: LeaseWorld) -> Iterator[str]:
    """The workspace's folder, its node's staff API served here."""
    made = uvicorn.Config("tests:nothing", host="127.0.0.1", port=0, log_level="error", lifespan="off")
    server = uvicorn.Server(made)
    made.loaded_app = made.app = served(world)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    limit = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < limit
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    ALLOWED.add(f"127.0.0.1:{port}")
    running = {PartyId(BROKER): Node(f"http://127.0.0.1:{port}")}
    patched = pytest.MonkeyPatch()
    for module in (common, channels):
        patched.setattr(module, "running_nodes", lambda workspace: running)
    yield str(world.institutions.workspace.folder)
    patched.undo()
    server.should_exit = True
    thread.join(timeout=10)


def run(folder: str, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    """Exit status and the one object of --json."""
    status = main([*words[:2], folder, "--party", BROKER, "--json", *words[2:]])
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return status, told


def test_a_credential_is_made_by_two_commands_and_the_app_shows_what_a_customer_sees(
    world: LeaseWorld, folder: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    at_stage(world, "internal")
    app = ("channels", "app", "--customer", MIRA)
    question = f"{fund(world, 'R1', 'R2')}的管理费率是多少？"
    status, told = run(folder, capsys, *app, "--question", question)
    assert (status, told["error"]["code"]) == (2, "NO_CREDENTIAL")
    status, told = run(folder, capsys, "channels", "add", "--name", "junhong-app", "--channel", "client", "--reason", "试点接入渠道")
    path = Path(told["secret_file"])
    assert status == 0 and stat.S_IMODE(path.stat().st_mode) == 0o600 and path.read_text().strip() not in json.dumps(told)
    assert run(folder, capsys, *app, "--question", question)[1]["error"]["code"] == "CREDENTIAL_REFUSED"
    assert run(folder, capsys, "channels", "confirm", "--name", "junhong-app", "--reason", "已核对接入方")[1]["state"] == "live"
    status, told = run(folder, capsys, *app, "--question", question)
    assert (status, told["code"], told["may_ask"]) == (2, "STAGE_NOT_OPEN", False)
    at_stage(world, "invited")
    invite(world, MIRA)
    status, told = run(folder, capsys, *app, "--question", question)
    assert (status, told["state"]) == (0, "ANSWERED") and told["citations"]
    # As people read it: text, source, label and disclaimer; a conversation goes on after a refusal.
    monkeypatch.setattr("sys.stdin", io.StringIO(f"这只基金明年会涨多少？\n{question}\n\n"))
    assert main(["channels", "app", folder, "--party", BROKER, "--customer", MIRA]) == 0
    shown = capsys.readouterr().out
    assert "CONTENT_RULE" in shown and shown.count("AI 生成") == 1 and "[1] " in shown and "⟦" not in shown and MIRA not in shown
    assert run(folder, capsys, "channels", "app", "--customer", OTTO, "--question", question)[1]["code"] == "NOT_INVITED"
    assert run(folder, capsys, "channels", "app", "--customer", MIRA)[1]["error"]["code"] == "INVALID_REQUEST"
    run(folder, capsys, "channels", "add", "--name", "office", "--channel", "internal", "--reason", "试点接入渠道")
    run(folder, capsys, "channels", "confirm", "--name", "office", "--reason", "已核对接入方")
    status, told = run(folder, capsys, "channels", "office", "--staff", "adviser", "--class", "C5", "--question", question)
    assert (status, told["state"]) == (0, "ANSWERED") and told["entry"]
    revoked = run(folder, capsys, "channels", "revoke", "--name", "office", "--reason", "换用新的密钥")[1]["channels"]
    assert [one["state"] for one in revoked if one["name"] == "office"] == ["revoked"]
    asks = {one["name"]: one["asks"] for one in run(folder, capsys, "channels", "list")[1]["channels"]}
    assert asks["junhong-app"] == 2 and asks["office"] == 1


def test_the_trial_goes_on_and_back_by_commands(world: LeaseWorld, folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    at_stage(world, "internal")
    world.institutions.nodes[BROKER].store.write(lambda tx: tx.execute("UPDATE inference_ask SET rating = 'up' WHERE state = 'ANSWERED'") and None)
    status, told = run(folder, capsys, "stage", "propose", "--to", "invited", "--reason", "评价达到预期")
    step = told["steps"][0]
    assert status == 0 and step["state"] == "proposed" and step["ground"]["rated"] >= 1
    status, told = run(folder, capsys, "stage", "decide", "--number", str(step["number"]), "--report", step["report"], "--reason", "同意进入下一阶段")
    assert (status, told["stage"]) == (0, "invited")
    assert main(["stage", "show", folder, "--party", BROKER]) == 0
    shown = capsys.readouterr().out
    assert step["report"] in shown and "[from memory]" in shown and "凭记忆" in shown
    assert run(folder, capsys, "stage", "close", "--reason", "回答有问题")[1]["stage"] == "internal"
    assert run(folder, capsys, "stage", "propose", "--to", "open", "--reason", "直接向全部开放")[1]["error"]["code"] == "STAGE_ORDER"


def test_duty_and_risks_are_kept_by_commands(folder: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, told = run(folder, capsys, "duty", "add", "--person", "operator", "--from", "2099-12-01T09:00", "--until", "2099-12-01T21:00", "--note", "保障")
    assert (status, len(told["turns"])) == (0, 1)
    assert run(folder, capsys, "duty", "add", "--person", "operator", "--from", "9 o'clock", "--until", "x")[1]["error"]["code"] == "INVALID_REQUEST"
    out = tmp_path / "duty.ics"
    assert run(folder, capsys, "duty", "export", "--out", str(out))[1]["count"] == 1 and "DTSTART:20991201T010000Z" in out.read_text()
    assert run(folder, capsys, "duty", "remove", "--duty", str(told["turns"][0]["duty"]), "--reason", "改期以后再排")[1]["turns"] == []
    run(folder, capsys, "risks", "add", "--title", "第二路电源未演练", "--level", "high", "--owner", "operator", "--due", "2020-01-01")
    status, told = run(folder, capsys, "risks", "list")
    assert (status, told["overdue"]) == (2, 1)
    number = str(told["risks"][0]["risk"])
    assert run(folder, capsys, "risks", "change", "--risk", number, "--due", "2099-01-01", "--reason", "经批准延期")[1]["overdue"] == 0
    assert run(folder, capsys, "risks", "close", "--risk", number, "--reason", "演练已通过")[1]["open"] == 0
    assert run(folder, capsys, "risks", "export", "--out", str(tmp_path / "risks.csv"))[1]["count"] == 1


# ------------------------------------------------------------------------------------------------------------- the rest


def test_a_channel_of_a_restored_node_is_closed(world: LeaseWorld, office: Channel) -> None:
    from workbench.domain.evidence import RestoredEntry
    from workbench_inference.policy import restoring

    (need,) = restoring.replay(world.institutions.nodes[BROKER], [RestoredEntry(0, "inference.channel_revoked", 0, "", "", {}, ())])
    assert need.name == "inference.channel_revoked"
    assert office.refused("ask", question="费率多少？", staff="adviser")["code"] == "CREDENTIAL_REFUSED"


def test_every_refusal_of_a_standing_has_words_for_a_customer() -> None:
    for code in ("STAGE_NOT_OPEN", "CUSTOMER_SUSPENDED", "NOT_INVITED", "COHORT_FULL", "NOT_A_CUSTOMER", "SCENARIO_NOT_FOR_CLIENTS", "CLIENT_CLASS_MISSING"):
        zh, en = words.WORDS[code]
        assert zh and en and not any(one in zh + en for one in ("合规岗", "审批岗", "compliance", "approver", "operators", "租约", "lease"))
    assert stages.STAGES == ("internal", "invited", "open")

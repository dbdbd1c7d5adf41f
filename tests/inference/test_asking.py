"""A question from an operation to a cited answer, over two nodes: order of evidence, refusals, stops, losses, who sees what."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.inference.asking_world import asking_world
from tests.inference.lease_world import BROKER, TELECOM, LeaseWorld
from workbench.cli import main
from workbench.client import Record
from workbench.commands import asking as asking_command
from workbench.commands.asking import ROLES
from workbench.commands.questions import USED
from workbench.contracts import ConsentRegistry
from workbench.crypto import sm3
from workbench.domain.erasure import Customer, ErasureRequest, Stage
from workbench.domain.party import Role
from workbench.errors import Denied, InvalidRequest, NotFound, Refused, StorageFailed
from workbench.flows import question
from workbench_inference.asking import enclosing, house, keeping, rights
from workbench_inference.asking.service import asking_of
from workbench_inference.asking.steps import HouseSteps
from workbench_inference.policy.scenarios import SCENARIOS
from workbench_sandbox.engines.extractive import Extractive

@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LeaseWorld]:
    with asking_world(tmp_path_factory.mktemp("asking")) as made:
        yield made


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
    limit, after = time.monotonic() + 120, 0  # a machine at load 15 takes longer than half a minute
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
    load = world.call(BROKER, Role.OPERATOR, "inference.scaling")
    assert load.asks_hour >= 1 and load.asks_per_card_minute > 0  # the clock of this world stands still
    source = world.call(BROKER, Role.ADVISER, "inference.source", ask=told.ask, n=1)
    assert source.matches and source.cited and source.cited in source.before + source.cited + source.after
    assert {one.name for one in told.steps} >= {"redacted", "evidence", "key", "sent", "retrieved", "returned", "judged"}
    assert [tuple(one) for one in world.query(BROKER, "SELECT state, lease FROM inference_ask WHERE ask = ?", told.ask)] == [("ANSWERED", lease)]


# ------------------------------------------------------------------------------------------------------------ refusals


def test_a_session_rests_on_a_key_of_the_line_and_who_stops_the_line_ends_it_before_the_next_question(world: LeaseWorld, lease: str) -> None:
    told = ask(world, f"{fund(world)}的管理费率是多少？")
    key = next(one for one in told.steps if one.name == "key")
    assert key.told["provenance"] == "simulated" and key.told["key_id"]
    for party in (BROKER, TELECOM):
        [row] = world.query(party, "SELECT session, what, state, key_id FROM qkd_session WHERE state = 'OPEN' AND session LIKE ?", f"{lease}/%")
        assert (row[0].rsplit("/", 1)[0], row[1], row[3]) == (f"{lease}/{told.sandbox}", "sandbox", key.told["key_id"])
    inside = world.servers.inside[told.sandbox]  # type: ignore[attr-defined]
    sent, before = len(inside.frames), len(world.institutions.kinds(BROKER))
    node = world.institutions.nodes[BROKER]
    node.gate.call("qkd.revoke", {"line": "a1", "key_ids": [key.told["key_id"]], "reason": "演练：这把密钥作废"}, world.institutions.caller(BROKER, Role.OPERATOR), is_confirmed=True)
    again = ask(world, f"{fund(world)}的托管费率是多少？")
    found = [one for one in world.institutions.kinds(BROKER)[before:] if one.startswith("inference.")]
    assert again.state == "ANSWERED" and len(inside.frames) > sent
    assert found.index("inference.session_ended") < found.index("inference.evidence_accepted") < found.index("inference.asked")
    fresh = next(one for one in again.steps if one.name == "key")
    assert fresh.told["key_id"] not in ("", key.told["key_id"])


def test_what_a_rule_refuses_is_written_down_and_nothing_is_sent(world: LeaseWorld, lease: str) -> None:
    inside = next(iter(world.servers.inside.values()), None)  # type: ignore[attr-defined]
    sent = len(inside.frames) if inside is not None else 0
    before = len(world.institutions.kinds(BROKER))
    for role, request, kind, code in (
        (Role.MARKETING, {"scenario": "research"}, Denied, "ASK_DENIED"),
        (Role.ADVISER, {"scenario": "nowhere"}, NotFound, "NO_SCENARIO"),
        (Role.ADVISER, {"scenario": "research", "kinds": ["prompt"]}, Refused, "KIND_NOT_ALLOWED"),
        (Role.ADVISER, {"scenario": "together"}, Refused, "USAGE_MISSING"),
        (Role.ADVISER, {"scenario": "research", "model": "another"}, Refused, "NO_LEASE"),
    ):
        with pytest.raises(kind) as caught:
            world.call(BROKER, role, "inference.ask", question="管理费率是多少？", **request)
        assert caught.value.code == code
        log, _, index = caught.value.details["entry"].partition("/")
        assert (log, world.institutions.kinds(BROKER)[int(index)]) == (BROKER, "inference.ask_refused"), "who asked is told which entry says so"
    found = kinds_since(world, before)
    assert found == ["inference.ask_refused"] * 5
    assert (len(inside.frames) if inside is not None else 0) == sent
    assert world.query(BROKER, "SELECT count(*) FROM inference_ask WHERE state IN ('QUEUED', 'STREAMING')")[0][0] == 0


def test_a_question_that_asks_for_a_promise_is_refused_before_it_is_sent(world: LeaseWorld, lease: str) -> None:
    with pytest.raises(Refused) as caught:
        world.call(BROKER, Role.ADVISER, "inference.ask", question="请承诺这只基金保本保收益，稳赚不赔，写一段话术", scenario="advice")
    assert caught.value.details["rule"]


def test_no_answer_without_a_source_and_none_is_said_to_be_one(world: LeaseWorld, lease: str) -> None:
    told = ask(world, "火星探测器的发射日期是哪一天？")
    assert told.state == "ABSTAINED" and told.citations == []


# -------------------------------------------------------------------------------------------------------- who sees what


def test_identifiers_never_leave_and_come_back_to_who_asked_alone(world: LeaseWorld, lease: str) -> None:
    before = len(world.servers.inside)  # type: ignore[attr-defined]
    phone = "13912345678"
    told = ask(world, f"客户王小明（手机 {phone}）想了解{fund(world)}的管理费率，是多少？")
    assert before >= 0 and phone not in told.question and "〔手机" in told.question and {one.kind for one in told.tiles} >= {"phone"}
    assert phone not in told.model_dump_json()
    answers = world.call(BROKER, Role.AUDITOR, "inference.answer", ask=told.ask)
    assert not answers.mine and answers.question == told.question and phone not in answers.model_dump_json()
    assert "evidence.viewed" in world.institutions.kinds(BROKER)[-3:]
    with pytest.raises(NotFound):
        world.call(BROKER, Role.OPERATOR, "inference.answer", ask=told.ask)
    node = world.institutions.nodes[BROKER]
    for party in (BROKER, TELECOM):
        files = [one for one in world.institutions.workspace.folder.rglob("*") if one.is_file() and party in str(one)]
        assert not any(phone.encode() in one.read_bytes() for one in files if one.stat().st_size < 8 << 20)
    assert node.vault.names is not None


def test_a_customer_who_is_erased_leaves_no_question(world: LeaseWorld, lease: str) -> None:
    from workbench.contracts import ConsentRegistry
    from workbench.domain.erasure import Customer, ErasureRequest, Stage
    from workbench.domain.subject import SubjectRequest
    from workbench_inference.asking import rights

    phone = "13711112222"
    told = ask(world, f"手机 {phone} 的客户问：{fund(world)}的托管费率是多少？")
    node = world.institutions.nodes[BROKER]
    names = node.provider(ConsentRegistry).tokens_of(phones=[phone], id_nos=[])  # type: ignore[type-abstract, attr-defined]
    customer = Customer(tuple(names), (phone,))
    [record] = rights.records(node, SubjectRequest(customer))
    assert phone in record.values.values() and "管" not in record.values["replaced"]
    request = ErasureRequest("E-1", next(iter(Stage)), customer)
    assert [one.erased for one in rights.erase(node, request)] == [1] and rights.erase(node, request) == []
    seen = world.call(BROKER, Role.ADVISER, "inference.answer", ask=told.ask)
    assert (seen.question, seen.text, seen.citations, seen.state) == ("", "", [], told.state)
    assert rights.audit(node) == [] and rights.records(node, SubjectRequest(customer)) == []


def test_history_rating_and_export_hold_what_was_asked_and_a_signed_receipt(world: LeaseWorld, lease: str) -> None:
    told = ask(world, f"{fund(world)}的基金经理是谁？")
    lines = world.call(BROKER, Role.ADVISER, "inference.history", text="基金经理")
    assert told.ask in [one.ask for one in lines.lines] and all(one.mine for one in lines.lines)
    assert world.call(BROKER, Role.ADVISER, "inference.history", watermark=told.watermark).total == 1
    assert world.call(BROKER, Role.ADVISER, "inference.history", text="没有人这样问过").total == 0
    rated = world.call(BROKER, Role.ADVISER, "inference.rate", ask=told.ask, rating="up", reason="手机 13812345678 的客户满意")
    assert rated.rating == "up" and "13812345678" not in world.query(BROKER, "SELECT reason FROM inference_ask WHERE ask = ?", told.ask)[0][0]
    with pytest.raises(NotFound):
        world.call(BROKER, Role.COMPLIANCE, "inference.rate", ask=told.ask, rating="down")
    exported = world.call(BROKER, Role.ADVISER, "inference.history_export")
    assert exported.count >= 1 and len(exported.receipt) == 64
    assert world.institutions.kinds(BROKER)[-1] == "inference.history_exported"


def test_the_desk_and_the_preview_say_what_a_question_would_meet(world: LeaseWorld, lease: str) -> None:
    desk = world.call(BROKER, Role.ADVISER, "inference.desk")
    assert desk.lease == lease and desk.lease_state == "RUNNING" and desk.problem_code == "" and desk.evidence == "accepted"
    assert {one.scenario for one in desk.scenarios} >= {"advice", "research"} and desk.asked >= 1
    seen = world.call(BROKER, Role.ADVISER, "inference.preview", question=f"手机 13912345678：{fund(world)}费率？", scenario="research")
    assert "13912345678" not in seen.text and [one.kind for one in seen.tiles] == ["phone"] and seen.code == "" and seen.documents > 0
    assert world.call(BROKER, Role.ADVISER, "inference.preview", question="费率？", scenario="together").code == "USAGE_MISSING"


# -------------------------------------------------------------------------------------------------- stores that refuse


def test_nothing_is_sent_when_the_question_cannot_be_written_down(world: LeaseWorld, lease: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(world, f"{fund(world)}的管理费率是多少？")  # a session is there
    inside = next(iter(world.servers.inside.values()))  # type: ignore[attr-defined]
    sent = [one for one in inside.frames]

    def full(self: HouseSteps, leased: Any, frame: bytes) -> None:
        raise StorageFailed("磁盘满", "the disk is full")

    monkeypatch.setattr(HouseSteps, "record_asked", full)
    before = len(world.institutions.kinds(BROKER))
    taken = world.call(BROKER, Role.ADVISER, "inference.ask", question=f"{fund(world)}的托管费率是多少？", scenario="research")
    desk = asking_of(world.institutions.nodes[BROKER]).desk
    progress = desk.progress(taken.ask)
    assert progress is not None
    world.institutions.wait_until(lambda: progress.is_over)
    assert inside.frames == sent and kinds_since(world, before) == []
    assert ended(world, taken.ask).state == "FAILED"
    monkeypatch.undo()

    def late(self: HouseSteps, leased: Any, answer: Any) -> None:
        raise StorageFailed("磁盘满", "the disk is full")

    monkeypatch.setattr(HouseSteps, "record_answered", late)
    told = ask(world, f"{fund(world)}的托管费率是多少？")
    assert (told.state, told.text, told.citations) == ("FAILED", "", [])
    assert kinds_since(world, before)[-2:] == ["inference.asked", "inference.answer_lost"]


def test_asks_of_an_earlier_run_are_cut(world: LeaseWorld, lease: str) -> None:
    node = world.institutions.nodes[BROKER]
    told = ask(world, f"{fund(world)}的管理费率是多少？")
    node.store.write(lambda tx: tx.execute("UPDATE inference_ask SET state = 'STREAMING' WHERE ask = ?", (told.ask,)))
    before = len(world.institutions.kinds(BROKER))
    assert house.cut_unfinished(node, before_ms=world.now_ms) == 0 and house.cut_unfinished(node, before_ms=world.now_ms + 1) == 1 and kinds_since(world, before) == ["inference.answer_lost"]
    assert world.call(BROKER, Role.ADVISER, "inference.answer", ask=told.ask).state == "CUT"


def test_questions_wait_for_one_another_and_a_full_desk_says_when_to_come_again(world: LeaseWorld, lease: str) -> None:
    desk = asking_of(world.institutions.nodes[BROKER]).desk
    names = [world.call(BROKER, Role.ADVISER, "inference.ask", question=f"{fund(world)}的管理费率是多少？第{one}问", scenario="research").ask for one in range(5)]
    assert {ended(world, one).state for one in names} <= {"ANSWERED", "ABSTAINED"}
    world.institutions.wait_until(lambda: desk.waiting == 0)  # a question leaves the queue after its end is written
    desk._waiting = 200
    try:
        with pytest.raises(Refused) as caught:
            world.call(BROKER, Role.ADVISER, "inference.ask", question="还能问吗？", scenario="research")
        assert caught.value.code == "ASKS_WAIT" and int(caught.value.details["retry_after_s"]) > 0
    finally:
        desk._waiting = 0


def test_a_question_stopped_by_who_asked_ends_and_nobody_else_may_stop_it(world: LeaseWorld, lease: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, begun = Extractive.answer, threading.Event()

    def waits(self: Extractive, asked: Any, sources: Any, stop: Any) -> Iterator[Any]:
        yield next(iter(whole(self, asked, sources, stop)))
        begun.set()
        while not stop():
            time.sleep(0.005)

    monkeypatch.setattr(Extractive, "answer", waits)
    taken = world.call(BROKER, Role.ADVISER, "inference.ask", question=f"{fund(world)}的管理费率是多少？", scenario="research")
    assert begun.wait(30)
    with pytest.raises(NotFound):
        world.call(BROKER, Role.COMPLIANCE, "inference.ask_stop", ask=taken.ask)
    world.call(BROKER, Role.ADVISER, "inference.ask_stop", ask=taken.ask)
    told = ended(world, taken.ask)
    assert (told.state, told.citations) == ("STOPPED", [])


def test_each_of_the_seven_scenarios_answers_with_the_demonstrations_grants_and_no_other_role_asks_in_it(world: LeaseWorld, lease: str) -> None:
    told: dict[str, str] = {}
    for scenario, (kinds, roles) in USED.items():
        for kind in kinds:
            request = {"kind": kind, "scenario": scenario, "roles": [one.value for one in roles], "until": "2030-01-01T00:00:00Z", "reason": "七个场景"}
            world.call(BROKER, Role.COMPLIANCE, "inference.usage_grant", **request)
        role = ROLES.get(scenario, Role.ADVISER)
        assert role in roles, scenario
        found = ask(world, f"{fund(world)}的管理费率是多少？", role, scenario=scenario, client_class="C5")
        told[scenario] = found.state
        assert found.state in ("ANSWERED", "ABSTAINED"), (scenario, found.state, found.code, found.zh)
        assert found.disclaimer_zh and found.template.startswith(scenario), scenario
    assert set(told) == set(SCENARIOS) and set(told.values()) == {"ANSWERED", "ABSTAINED"}, told
    assert {one for one, state in told.items() if state == "ANSWERED"} >= {"advice", "research", "marketing", "risk"}, told
    for scenario in ROLES:
        with pytest.raises(Denied) as denied:
            ask(world, f"{fund(world)}的管理费率是多少？", Role.ADVISER, scenario=scenario, client_class="C5")
        assert denied.value.code == "ASK_DENIED"


class Calls:
    """A client of the command line and of notebooks, straight to the gate."""

    def __init__(self, world: LeaseWorld) -> None:
        self._world = world

    def __enter__(self) -> Calls:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def call(self, operation: str, **request: Any) -> Any:
        return json.loads(self._world.call(BROKER, Role.ADVISER, operation, **request).model_dump_json(), object_hook=Record)

    def upload(self, path: Path) -> str:
        return self._world.institutions.upload(BROKER, path)


def test_a_question_that_is_too_large_is_refused_whole_by_operation_command_and_format(
    world: LeaseWorld, lease: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ask(world, f"{fund(world)}的管理费率是多少？")  # a session is there
    inside = next(iter(world.servers.inside.values()))  # type: ignore[attr-defined]

    def state() -> Any:
        rows = world.query(BROKER, "SELECT count(*) FROM inference_ask"), world.query(BROKER, "SELECT whose, used FROM inference_quota ORDER BY whose")
        return len(inside.frames), [[tuple(row) for row in one] for one in rows]

    before, entries = state(), len(world.institutions.kinds(BROKER))
    with pytest.raises(InvalidRequest) as caught:
        world.call(BROKER, Role.ADVISER, "inference.ask", question="长" * 4_001, scenario="research")
    assert "question" in caught.value.zh and "4000" in caught.value.zh.replace(",", "") and "长长" not in str(caught.value)
    monkeypatch.setattr(asking_command, "client_for", lambda workspace, party, role: Calls(world))
    assert cli_ask(world, "长" * 4_001) == 2 and "4000" in capsys.readouterr().err
    assert (state(), kinds_since(world, entries)) == (before, [])

    # Labels can be longer than what they stand for; and a template's prompt beyond the format, where no rule before it saw that.
    with monkeypatch.context() as patch, pytest.raises(Refused) as refused:
        patch.setattr(enclosing, "MAX_QUESTION", 20)
        ask(world, f"{fund(world)}的管理费率是多少？这一问在脱敏后超过了格式的限度")
    assert refused.value.code == "ASK_TOO_LARGE" and "未提问" in refused.value.zh and "nothing was asked" in refused.value.en
    assert (state(), kinds_since(world, entries)) == (before, ["inference.ask_refused"])
    prompt = HouseSteps._ask
    monkeypatch.setattr(HouseSteps, "_ask", lambda self, prepared, corpus: replace(prompt(self, prepared, corpus), prompt="字" * 30_000))
    told = ask(world, f"{fund(world)}的管理费率是多少？")
    assert (told.state, told.code, told.where) == ("REFUSED", "ASK_TOO_LARGE", "before") and told.zh and told.en
    assert state()[0] == before[0] and state()[1][1] == before[1][1] and kinds_since(world, entries) == ["inference.ask_refused"] * 2
    desk = asking_of(world.institutions.nodes[BROKER]).desk
    world.institutions.wait_until(lambda: desk.waiting == 0 and desk.sandboxes.waiting(lease) == 0)


def cli_ask(world: LeaseWorld, question_: str, *more: str) -> int:
    """`workbench ask`: its exit status."""
    return main(["ask", str(world.institutions.workspace.folder), question_, "--party", BROKER, "--scenario", "research", "--json", *more])


def test_each_step_of_a_question_names_what_it_handed_on(world: LeaseWorld, lease: str) -> None:
    used = "SELECT sum(used) FROM inference_usage"
    before = world.query(BROKER, used)[0][0]
    told = ask(world, f"{fund(world)}的托管费率是多少？")
    assert world.query(BROKER, used)[0][0] > before, "a question is one use of each contract that it reads under"
    sm3s = {one.name: one.told["sm3"] for one in told.steps if "sm3" in one.told}
    assert set(sm3s) >= {"redacted", "evidence", "sent", "returned", "judged"} and all(len(one) == 64 for one in sm3s.values())
    node = world.institutions.nodes[BROKER]
    with node.store.read() as reader:
        rows = reader.execute("SELECT entry_idx, kind FROM evidence_index WHERE kind IN ('inference.asked', 'inference.answered') ORDER BY entry_idx DESC LIMIT 2").fetchall()
        answered, asked_ = (node.evidence.view(reader, int(row[0])) for row in rows)
        kept = keeping.get(node, reader, told.ask)
    assert kept is not None and (asked_["question"], asked_["frame"]) == (sm3s["redacted"], sm3s["sent"]) and asked_["documents"] == "0"
    returned = next(one.told for one in told.steps if one.name == "returned")
    assert (answered["end"], answered["answer"]) == (returned["sm3"], returned["records_sm3"])
    assert sm3s["redacted"] == sm3.digest(told.question.encode()).hex() and sm3s["judged"] == sm3.digest(kept.text.encode()).hex()


def test_a_file_sent_with_a_question_is_redacted_cited_kept_with_it_and_erased_with_it(
    world: LeaseWorld, lease: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    phone, note, text = "13655556666", tmp_path / "概要.md", "青松稳健回报混合型证券投资基金的管理费率是多少？"
    note.write_text(f"---\n标题: 青松稳健回报混合型证券投资基金\n---\n青松稳健回报混合型证券投资基金\n\n管理费率：1.23%\n\n联系人手机：{phone}\n", "utf-8")
    monkeypatch.setattr(asking_command, "client_for", lambda workspace, party, role: Calls(world))
    before = len(world.institutions.kinds(BROKER))
    assert cli_ask(world, text, "--with", str(note), "--with-kind", "fund") == 0
    told = json.loads(capsys.readouterr().out, object_hook=Record)
    assert told.state == "ANSWERED", (told.state, told.code, told.zh)
    cite = next(one for one in told.citations if one.document == "sent-001")
    assert cite.matches and cite.title.startswith("青松") and "1.23%" in told.text
    assert kinds_since(world, before)[-2:] == ["inference.asked", "inference.answered"]
    source = world.call(BROKER, Role.ADVISER, "inference.source", ask=told.ask, n=cite.n)
    whole = source.before + source.cited + source.after
    assert source.matches and "管理费率" in whole and phone not in whole and "〔手机" in whole
    node = world.institutions.nodes[BROKER]
    with node.store.read() as reader:
        context = node.vault.get(reader, f"{keeping.SENT}{told.ask}")
        row = reader.execute("SELECT entry_idx FROM evidence_index WHERE kind = 'inference.asked' ORDER BY entry_idx DESC LIMIT 1").fetchone()
        entry = node.evidence.view(reader, int(row[0]))
    assert (entry["documents"], entry["context"], entry["class"]) == ("1", sm3.digest(context).hex(), "internal") and "phone=1" in entry["redacted"]
    inside = next(iter(world.servers.inside.values()))  # type: ignore[attr-defined]
    assert phone.encode() not in context and not any("青松".encode() in one for one in inside.frames)
    assert not any((node.folder / "uploads").rglob("*.md"))

    # The next question reads nothing of it; and it goes with the customer it named.
    assert "1.23%" not in ask(world, text).text
    names = node.provider(ConsentRegistry).tokens_of(phones=[phone], id_nos=[])  # type: ignore[type-abstract, attr-defined]
    assert [one.erased for one in rights.erase(node, ErasureRequest("E-2", next(iter(Stage)), Customer(tuple(names), (phone,))))] == [1]
    with node.store.read() as reader:
        assert not node.vault.names(reader, f"{keeping.SENT}{told.ask}")
    assert rights.audit(node) == []


def test_a_file_that_may_not_go_with_a_question_is_refused_and_nothing_is_asked(world: LeaseWorld, lease: str, tmp_path: Path) -> None:
    before = len(world.institutions.kinds(BROKER))

    def refused(name: str, content: str, **request: Any) -> str:
        (tmp_path / name).write_text(content, "utf-8")
        file = world.institutions.upload(BROKER, tmp_path / name)
        with pytest.raises((Refused, InvalidRequest)) as caught:
            ask(world, "周会时间是什么时候？", files=[file], **request)
        assert not any((world.institutions.nodes[BROKER].folder / "uploads").rglob(name))
        return caught.value.code

    assert refused("a.md", "# 话术\n\n说明", files_kind="prompt") == "KIND_NOT_ALLOWED"
    assert refused("b.md", "---\n标题: 名单\n分级: personal\n---\n正文") == "CLASS_TOO_HIGH"
    assert refused("c.md", "字" * 100_001 + "\n\n" + "字" * 100_001) in ("ASK_TOO_LARGE", "ENCLOSED_REFUSED")
    assert refused("d.exe", "x") == "FILE_KIND"
    assert [one for one in kinds_since(world, before) if one != "inference.ask_refused"] == []


def test_the_lease_ends_and_the_next_question_finds_none(world: LeaseWorld, lease: str) -> None:
    node = world.institutions.nodes[BROKER]
    asking = asking_of(node)
    world.tenant.release(lease, reason="收盘")
    world.until(lambda: world.state(BROKER, lease) == "ERASED", seconds=1)
    asking.desk.round()
    assert asking.desk.sandboxes.leases() == []
    assert "inference.session_ended" in world.kinds(BROKER, lease)
    with pytest.raises(Refused) as caught:
        world.call(BROKER, Role.ADVISER, "inference.ask", question="还有吗？", scenario="research")
    assert caught.value.code == "NO_LEASE"
    assert world.call(BROKER, Role.ADVISER, "inference.desk").problem_code == "NO_LEASE"


def test_the_flow_is_the_order_of_the_design_and_a_failing_guard_stops_it() -> None:
    done: list[str] = []

    class Steps:
        def __getattr__(self, name: str) -> Any:
            def step(*values: Any) -> Any:
                done.append(name)
                return {"facts": {}, "send": iter(["record", "end"]), "is_end": values and values[0] == "end", "seal": b"frame"}.get(name, name)

            return step

    class Host:
        refuses = ""

        def guard(self, stage: str, **facts: str) -> None:
            done.append(f"guard {stage}")
            if stage == self.refuses:
                raise Refused("不行", "no", code="GUARDED")

    host, steps = Host(), Steps()
    told: list[Any] = []
    assert question.ask(host, steps, None, None, told.append, lambda: False) == "show"  # type: ignore[arg-type]
    assert told == ["record"]
    assert [one for one in done if one not in ("facts", "is_end")] == [
        "admit", "redact", "guard prompt", "lease", "seal", "record_asked", "send", "judge", "guard answer", "record_answered", "show",
    ]  # fmt: skip
    done.clear()
    host.refuses = "prompt"
    with pytest.raises(Refused):
        question.ask(host, steps, None, None, told.append, lambda: False)  # type: ignore[arg-type]
    assert done[-1] == "record_refused" and "lease" not in done
    done.clear()
    host.refuses = "answer"
    with pytest.raises(Refused):
        question.ask(host, steps, None, None, told.append, lambda: False)  # type: ignore[arg-type]
    assert done[-1] == "record_lost" and "record_answered" not in done and "show" not in done


def test_a_sandbox_that_dies_in_mid_answer_is_followed_by_another_under_the_same_lease(world: LeaseWorld, tmp_path_factory: pytest.TempPathFactory) -> None:
    image = world.image(tmp_path_factory.mktemp("second"), content=b"second", name="extractive")
    lease = world.running(image.id, cards=1, hours=2)
    assert ask(world, f"{fund(world)}的管理费率是多少？").state == "ANSWERED"
    [sandbox] = list(world.servers.inside)  # type: ignore[attr-defined]
    inside = world.servers.inside[sandbox]  # type: ignore[attr-defined]
    dying = threading.Event()
    inside._fault = lambda message: [] if message.sender == "sandbox" and dying.is_set() else [message]
    dying.set()
    taken = world.call(BROKER, Role.ADVISER, "inference.ask", question=f"{fund(world)}的托管费率是多少？", scenario="research")
    desk = asking_of(world.institutions.nodes[BROKER]).desk
    progress = desk.progress(taken.ask)
    assert progress is not None
    world.institutions.wait_until(lambda: any(step.name == "sent" for step in progress.steps))
    world.servers.die(sandbox, "memory")
    told = ended(world, taken.ask)
    assert (told.state, told.text, told.citations, told.where) == ("CUT", "", [], "after")
    assert world.kinds(BROKER, lease)[-1] in ("inference.answer_lost", "inference.session_ended")
    world.until(lambda: [one.sandbox for one in world.provider.held_by(lease)] not in ([], [sandbox]), seconds=0.1)
    again = ask(world, f"{fund(world)}的托管费率是多少？")
    assert again.state == "ANSWERED" and again.sandbox != sandbox and again.lease == lease
    world.tenant.release(lease, reason="收盘")
    world.until(lambda: world.state(BROKER, lease) == "ERASED", seconds=1)


def test_where_no_server_is_left_a_question_is_told_so_and_was_never_sent(world: LeaseWorld, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    image = world.image(tmp_path_factory.mktemp("third"), content=b"third", name="extractive")
    lease = world.running(image.id, cards=1, hours=2)
    assert ask(world, f"{fund(world)}的管理费率是多少？").state == "ANSWERED"
    [sandbox] = list(world.servers.inside)  # type: ignore[attr-defined]
    monkeypatch.setattr(asking_of(world.institutions.nodes[BROKER]).desk.sandboxes, "wait_s", 0.3)
    world.servers.die(sandbox)
    before = len(world.institutions.kinds(BROKER))
    told = ask(world, f"{fund(world)}的托管费率是多少？")
    assert told.state in ("REFUSED", "CUT") and told.text == "" and told.code in ("SANDBOX_ENDED", "SANDBOX_BUSY", "ANSWER_LOST", "SANDBOX_REFUSED")
    if told.state == "REFUSED":
        assert told.zh and told.en and told.where == "before" and "托管费率" in told.question
        assert "inference.asked" not in kinds_since(world, before) and kinds_since(world, before)[-1] == "inference.ask_refused"
    world.tenant.release(lease, reason="收盘")
    world.until(lambda: world.state(BROKER, lease) == "ERASED", seconds=1)


def test_another_model_stands_in_where_one_has_no_sandbox_unless_a_person_named_it(world: LeaseWorld, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    for (held,) in world.query(BROKER, "SELECT lease FROM inference_lease WHERE state = 'RUNNING'"):
        world.tenant.release(held, reason="两台都要用")
    world.until(lambda: not world.query(BROKER, "SELECT lease FROM inference_lease WHERE state IN ('RUNNING', 'RELEASING')"), seconds=1)
    leases = {}
    for name in ("alpha", "beta"):
        leases[name] = world.running(world.image(tmp_path_factory.mktemp(name), content=name.encode(), name=name).id, cards=1, hours=2)
        allowed = ("adviser", "research", name, 1, world.now_ms, "")
        world.institutions.nodes[BROKER].store.write(lambda tx, row=allowed: tx.execute("INSERT INTO inference_access VALUES (?, ?, ?, ?, ?, ?)", row))
    sandboxes = asking_of(world.institutions.nodes[BROKER]).desk.sandboxes
    take = sandboxes.take

    def taken(row: Any, corpus: Any, **more: Any) -> Any:
        if row.lease == leases["alpha"]:
            raise Refused("沙箱忙", "the sandbox is busy", code="SANDBOX_BUSY")
        return take(row, corpus, **more)

    monkeypatch.setattr(sandboxes, "take", taken)
    told = ask(world, f"{fund(world)}的管理费率是多少？")
    assert (told.state, told.lease, told.model) == ("ANSWERED", leases["beta"], "beta")
    assert ask(world, f"{fund(world)}的管理费率是多少？", model="alpha").code == "SANDBOX_BUSY"
    monkeypatch.undo()
    assert ask(world, f"{fund(world)}的托管费率是多少？").lease == leases["alpha"]

    # The same with a model that is really gone: its sandbox dies, and no server is left to take over.
    [dead] = [one.sandbox for one in world.provider.held.values() if one.lease == leases["alpha"]]
    world.servers.die(dead)
    assert ask(world, f"{fund(world)}的申购费率是多少？").lease == leases["beta"]
    for lease in leases.values():
        world.tenant.release(lease, reason="收盘")
    world.until(lambda: all(world.state(BROKER, lease) == "ERASED" for lease in leases.values()), seconds=1)

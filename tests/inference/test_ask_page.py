"""The page of questions from replies alone: what it says in each state, what it leaves out, and that both languages say it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.inference.ask_samples import NOW_MS, answer, desk, source
from workbench_inference.asking.replies import ASK_STATES
from workbench_inference.pages import ask_drawing as drawing
from workbench_inference.pages.ask import AskPage
from workbench_widgets import Badge, ChatMessage, LeaseBar, SourcePanel

from workbench.app.page import PageContext
from workbench.app.texts import texts_of
from workbench.errors import Refused

TEXTS = texts_of("workbench_inference")
ME = {
    "me": {"party": "broker", "roles": ["adviser"]}, "parties": [["broker", "甲证券", "Broker A"], ["telecom", "丁云", "Cloud D"]],
    "operations": ["inference.ask", "inference.lease_release", "inference.history_export"],
}  # fmt: skip


def t(key: str, **fields: Any) -> str:
    return TEXTS["zh"][key].format(**fields)


@pytest.mark.parametrize(
    ("changes", "state", "key"),
    [
        ({}, "info", "ready_simulated"),
        ({"provenance": "device-014"}, "info", "ready"),
        ({"silent_s": 12}, "failed", "silent"),
        ({"lease": "", "lease_state": ""}, "pending", "no_lease"),
        ({"lease_state": "ORDERED", "problem_code": "NO_LEASE", "began_ms": 0}, "pending", "ordered"),
        ({"lease_state": "RELEASING"}, "pending", "releasing"),
        ({"lease_state": "UNPROVEN"}, "failed", "unproven"),
        ({"evidence": "refused"}, "tampered", "evidence_refused"),
        ({"asked": 300}, "refused", "quota"),
        ({"group_asked": 3_000}, "refused", "quota_group"),
        ({"scenarios": [], "group": "", "group_asked": 0, "group_quota": 0}, "refused", "no_scenario"),
        ({"problem_code": "QKD_KEY_REQUIRED", "problem_zh": "密钥不足", "problem_en": "no key"}, "refused", "problem"),
    ],
)  # fmt: skip
def test_the_answer_strip_says_whether_a_question_can_be_asked(changes: dict[str, Any], state: str, key: str) -> None:
    made = drawing.verdict(desk(**changes), "zh", "丁云")
    assert (made.state, made.key) == (state, key)
    assert drawing.bar(desk(**changes), t, releasable=False)["from_ms"] > 0, "a lease that has not begun does not begin in 1970"
    for lang in ("zh", "en"):
        for one in [f"ask.answer.{key}", f"ask.answer.{key}.why"] if key != "problem" else []:
            assert "{" not in TEXTS[lang][one].format(**made.fields)
        if made.todo:
            assert "{" not in TEXTS[lang][f"ask.todo.{made.todo}"].format(**made.fields)


@pytest.mark.parametrize("state", ASK_STATES)
def test_every_state_of_a_question_is_a_turn_that_the_component_takes(state: str) -> None:
    code = "" if state in ("ANSWERED", "STREAMING", "QUEUED") else "SOME_CODE"
    for lang in ("zh", "en"):
        made = drawing.turn(answer(state=state, code=code, where="after" if state == "REFUSED" else ""), lambda key, lang=lang, **fields: TEXTS[lang][key].format(**fields), lang, "甲证券")  # type: ignore[misc]
        turn = ChatMessage(turns=[made]).turns[0]
        assert turn["state"] == drawing.TURN[state]
        assert ("label" in turn) is (state == "ANSWERED"), "an unfinished or refused text is not labelled as an answer"


def test_a_row_without_a_citation_is_not_shown() -> None:
    rows = drawing.turn(answer(), t, "zh", "甲证券")["fields"]
    assert [row["label"] for row in rows] == ["管理费"]
    assert rows[0]["value"] == "0.30%"


def test_a_refusal_says_whether_the_model_was_asked_and_that_nothing_is_billed() -> None:
    before = drawing.turn(answer(state="REFUSED", where="before", rule="不承诺收益", zh="不能预测或承诺收益", en="no forecast"), t, "zh", "甲证券")
    assert "没有送进模型，也不计费" in before["reason"] and before["facts"] == [t("ask.fact.here")]
    after = drawing.turn(answer(state="REFUSED", where="after", rule="泄漏", zh="答案含个人信息", en="leak"), t, "zh", "甲证券")
    assert "没有显示" in after["reason"] and len(after["facts"]) > 1


def test_under_an_answer_stand_engine_tokens_cost_and_the_watermark_by_which_a_copy_is_found() -> None:
    told = answer()
    facts = drawing.turn(told, t, "zh", "甲证券")["facts"]
    assert "842 词元" in facts and f"水印 {told['watermark']}" in facts and any(one.startswith("2 卡·秒") for one in facts) and any("extractive" in one for one in facts)
    assert not any("水印" in one for one in drawing.turn(answer(state="STREAMING"), t, "zh", "甲证券")["facts"])


def test_the_source_and_the_steps_are_what_the_panel_takes() -> None:
    told = answer()
    panel = SourcePanel(source=drawing.source(source(), 1, told["citations"]), steps=drawing.steps(told, t, "zh"))
    assert panel.source["next"] == 2 and drawing.source(source(), 2, told["citations"])["next"] == 1
    assert "next" not in drawing.source(source(), 1, told["citations"][:1])
    assert all("{" not in step["told"] for step in panel.steps) and panel.steps[-1]["told"] == "later"


@pytest.mark.parametrize(
    ("changes", "kind"),
    [({}, "sandbox_missing"), ({"missing": []}, "sandbox_process"), ({"missing": [], "assurance": "tee"}, "sandbox_tee"), ({"missing": [], "evidence": "refused"}, "sandbox_missing")],
)
def test_the_badges_tell_what_is_behind_them(changes: dict[str, Any], kind: str) -> None:
    told = desk(**changes)
    box = Badge(**drawing.sandbox_badge(told, t, "丁云"))
    assert box.kind == kind and ("no-swap" in box.meaning) is bool(told["missing"]) and "如果想看，就看得到" in box.meaning
    key = Badge(**drawing.key_badge(told, t))
    assert key.kind == "simulated_qkd" and "模拟量子密钥" in key.label and told["suite"] in key.meaning
    assert LeaseBar(**drawing.bar(told, t, releasable=True)).releasable and not drawing.bar(desk(lease_state="RELEASING"), t, releasable=True)["releasable"]


def test_what_cannot_be_promised_follows_what_is_so() -> None:
    said = " ".join(drawing.limits(desk(), t, "丁云"))
    assert "量子密钥来自模拟" in said and "算力方如果想看，就看得到" in said and "no-swap" in said
    assert "没有用量子密钥" in " ".join(drawing.limits(desk(provenance=""), t, "丁云"))
    assert "没有用量子密钥" not in " ".join(drawing.limits(desk(provenance="", session=""), t, "丁云")), "before the first question nothing is said of a session"
    other = " ".join(drawing.limits(desk(provenance="device-014", assurance="tee", missing=[], place="behind"), t, "丁云"))
    assert "模拟" not in other and "算力方如果想看" not in other and "引擎在沙箱之外" in other


class Node:
    """Answers what the page asks for, and remembers it."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.told = [answer(state="QUEUED", text="", citations=[], fields=[], seal="", entry=""), answer(state="STREAMING", fields=[], seal="", entry=""), answer()]

    def call(self, operation: str, **request: Any) -> Any:
        self.asked.append((operation, request))
        if operation == "inference.desk":
            return desk()
        if operation == "inference.history":
            return {"lines": [{"ask": "ask-0", "asked_ms": NOW_MS, "state": "ANSWERED", "scenario": "advice", "title": "费率", "rating": "", "mine": True}], "total": 1}
        if operation == "inference.preview":
            tile = {"kind": "phone", "label_zh": "手机 1", "label_en": "Phone 1", "start": 0, "end": 4}
            return {
                "text": "手机 1 想买", "tiles": [tile], "klass": "internal", "scenario": "advice", "template": "advice v7", "documents": 3, "documents_ms": NOW_MS, "cost_fen": 5,
                "code": "", "rule": "", "zh": "", "en": "",
            }  # fmt: skip
        if operation == "inference.ask":
            return {"ask": self.told[0]["ask"], "waiting": 0}
        if operation == "inference.ask_progress":
            return {"ask": self.told.pop(0), "next": request["after"] + 1}
        if operation == "inference.source":
            return source()
        if operation in ("inference.answer", "inference.rate"):
            return answer(rating="up")
        return {}


def test_a_question_is_previewed_sent_followed_and_its_source_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench_inference.pages.ask.PREVIEW_S", 0.0)
    node = Node()
    page = PageContext(client=node, me=ME, package="workbench_inference")
    made = AskPage(page)

    async def run() -> None:
        await made.open()
        assert made.strip.state == "info" and made.scenario.value == "advice"
        made.text.value_input = "19900000317 想买"
        while made.preview is None:  # noqa: ASYNC110 - a page has no event to wait for
            await asyncio.sleep(0.01)
        assert "发出前遮盖 1 处" in made.told.blocks and "手机 1 想买" in made.told.blocks
        await made._send()
        assert made.text.value == "" and made.preview is None and [turn["state"] for turn in made.chat.turns] == ["answered"]
        ask = made.chat.turns[0]["id"]
        await made._open_source(ask, 1)
        assert made.panel.source["cited"] == source()["cited"] and made.chat.chosen == {"id": ask, "n": 1}
        await made._rate(ask, "up")
        assert made.chat.turns[0]["rating"] == "up" and made.because.visible
        made.reason.value = "引文准确"
        await made._tell_reason()
        assert not made.because.visible
        made._of_source("close", {})
        assert made.panel.source == {} and made.panel.steps, "the way of the question stays when its source is closed"
        await made._begin_anew()
        assert made.chat.turns == [] and made.past.rows

    asyncio.run(run())
    assert ("inference.ask", {"question": "19900000317 想买", "scenario": "advice"}) in node.asked
    assert [name for name, _ in node.asked].count("inference.ask_progress") == 3
    assert ("inference.rate", {"ask": answer()["ask"], "rating": "up", "reason": "引文准确"}) in node.asked


def test_an_answer_is_stopped_by_button_and_key_the_history_searched_and_its_export_confirmed(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node()
    made = AskPage(PageContext(client=node, me=ME, package="workbench_inference"))
    confirmed: list[tuple[str, dict[str, Any]]] = []
    taken: list[str] = []

    async def confirm(_page: PageContext, operation: str, request: dict[str, Any], done: Any) -> None:
        confirmed.append((operation, request))
        await done("done", {"download": "d-1"})

    monkeypatch.setattr(PageContext, "confirm", confirm)
    monkeypatch.setattr(PageContext, "download", lambda _page, name: taken.append(name))

    async def until(wanted: tuple[str, dict[str, Any]], times: int) -> None:
        while node.asked.count(wanted) < times:  # noqa: ASYNC110 - a page has no event to wait for
            await asyncio.sleep(0.01)

    async def run() -> None:
        await made.open()
        running = answer(state="STREAMING", fields=[], seal="", entry="")
        made._put(running)
        made._draw_chat()
        assert made.chat.turns[0]["state"] == "streaming"
        stop = ("inference.ask_stop", {"ask": running["ask"]})
        made._heard("stop", {"id": running["ask"]})
        await until(stop, 1)
        made._pressed("Escape")
        await until(stop, 2)
        made.search.value = "费率"
        await until(("inference.history", {"text": "费率"}), 1)
        assert made.keep.visible
        await made._export()

    asyncio.run(asyncio.wait_for(run(), 30))
    assert (confirmed, taken) == ([("inference.history_export", {})], ["d-1"])


def test_a_question_that_a_rule_stops_stands_in_the_conversation_and_stays_in_the_box() -> None:
    node = Node()
    given = node.call

    def call(operation: str, **request: Any) -> Any:
        if operation == "inference.ask":
            raise Refused("不能预测收益", "No forecast", code="CONTENT_RULE", details={"entry": "broker/7"})
        return given(operation, **request) | ({"code": "CONTENT_RULE", "rule": "no-forecast"} if operation == "inference.preview" else {})

    node.call = call  # type: ignore[method-assign]
    made = AskPage(PageContext(client=node, me=ME, package="workbench_inference"))

    async def run() -> None:
        await made.open()
        made.text.value = "明年能涨多少？"
        await made._send()

    asyncio.run(run())
    turn = made.chat.turns[0]
    assert (turn["state"], turn["sentence"], turn["code"]) == ("refused", "不能预测收益", "CONTENT_RULE") and "no-forecast" in turn["reason"]
    assert turn["recorded"] and made.turns[turn["id"]]["entry"] == "broker/7", "its evidence can be opened"
    assert made.text.value == "明年能涨多少？" and not made.send.disabled


def test_where_two_models_are_leased_one_may_be_named_and_what_stood_in_is_said() -> None:
    node = Node()
    given = node.call
    offered = desk()["scenarios"][0]

    def call(operation: str, **request: Any) -> Any:
        return desk(scenarios=[{**offered, "models": ["extractive", "extractive-words"]}]) if operation == "inference.desk" else given(operation, **request)

    node.call = call  # type: ignore[method-assign]
    made = AskPage(PageContext(client=node, me=ME, package="workbench_inference"))

    async def run() -> None:
        await made.open()
        assert made.model.visible and list(made.model.options.values()) == ["", "extractive", "extractive-words"]
        assert "model" not in made._request(), "by rule until somebody names one"
        made.model.value = "extractive-words"
        assert made._request()["model"] == "extractive-words"
        assert "language" not in made._request()
        made.page.lang = "en"
        assert made._request()["language"] == "en", "who reads English is answered in English"

    asyncio.run(run())
    step = {"name": "stood_in", "time_ms": NOW_MS, "told": {"model": "extractive-words", "instead": "extractive", "code": "SANDBOX_ENDED"}}
    facts = drawing.turn(answer(steps=[step]), t, "zh", "甲证券")["facts"]
    assert "「extractive」没有可用的沙箱，由「extractive-words」代答" in facts


def test_documents_go_along_with_one_question_and_no_other() -> None:
    class Uploading(Node):
        def upload_bytes(self, name: str, content: bytes) -> str:
            self.asked.append(("upload", {"name": name, "content": content}))
            return f"u-{name}"

    node = Uploading()
    made = AskPage(PageContext(client=node, me=ME, package="workbench_inference"))

    async def run() -> None:
        await made.open()
        made.enclosed._took("纪要.md", b"# x")
        assert "纪要.md" in str(made.enclosed.told.blocks) and "不进资料库" in str(made.enclosed.told.blocks)
        made.enclosed.kind.value = "fund"
        made.text.value = "费率是多少？"
        await made._send()
        assert made.enclosed.files == [] and not made.enclosed.told.blocks.strip("[]")

    asyncio.run(run())
    sent = next(request for name, request in node.asked if name == "inference.ask")
    assert (sent["files"], sent["files_kind"]) == (["u-纪要.md"], "fund")
    assert all("files" not in request for name, request in node.asked if name == "inference.preview"), "a preview keeps nothing"

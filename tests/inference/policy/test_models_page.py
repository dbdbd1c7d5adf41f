"""The page of models over a node's own replies: what it says first, who sees what, and that both languages have every word."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from tests.host.house import House, copied, opened
from workbench.app.page import PageContext
from workbench.app.parts.acting import words_of
from workbench.app.texts import texts_of
from workbench.domain.party import Role
from workbench.errors import Refused
from workbench.workspace import Workspace
from workbench_inference.documents import importing
from workbench_inference.pages import models_acts as acts
from workbench_inference.pages.models import ModelsPage
from workbench_inference.pages.models_channels import EVERY as CHANNEL_ACTS
from workbench_inference.pages.models_channels import Channels
from workbench_inference.pages.models_images import Images
from workbench_inference.pages.models_stages import Stages
from workbench_inference.policy import tables

TEXTS = texts_of("workbench_inference")
SMALL = {"funds": 2, "notices": 1, "news": 1, "quotes": 1, "prompts": 1, "questions": 1, "series": 0}


@pytest.fixture(scope="module")
def house(made_institution: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with opened(copied(made_institution, tmp_path_factory.mktemp("tenant") / "workspace"), settings={"inference.role": "tenant"}) as made:
        importing.import_synthetic(made.node, 5, actor="", progress=lambda done, total: None, sizes=SMALL)
        yield made


class Client:
    """A page's client that calls the gate as one person; it keeps what was asked."""

    def __init__(self, house: House, role: Role) -> None:
        self.house, self.role = house, role
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def call(self, operation: str, /, *, progress: Any = None, cancelled: Any = None, **request: Any) -> dict[str, Any]:
        self.calls.append((operation, request))
        reply: dict[str, Any] = self.house.node.gate.call(operation, request, self.house.caller(self.role), is_confirmed=True).model_dump()
        return reply

    def prepare_action(self, operation: str, /, **request: Any) -> Any:
        self.calls.append((operation, request))
        raise Refused("这里不确认", "nothing is confirmed here", code="NOT_HERE")


def opened_page(house: House, role: Role) -> ModelsPage:
    may = [one.name for one in house.node.gate.registry if role in one.roles]
    me = {
        "me": {"party": "broker", "person": role.value, "display_name": "某人", "roles": [role.value]}, "parties": [["broker", "甲证券", "Broker A"]], "operations": may,
        "workspace": "demo", "purposes": {},
    }  # fmt: skip
    page = PageContext(client=Client(house, role), me=me, package="workbench_inference")  # type: ignore[arg-type]  # as a session's client
    made = ModelsPage(page)

    async def look() -> None:
        await made.open()
        for section in made.sections.all:
            await section.show()
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.gather(*others)

    asyncio.run(look())
    made.draw()
    return made


def test_every_act_and_choice_has_words_in_both_languages() -> None:
    for lang in ("zh", "en"):
        missing = words_of(acts.EVERY) - set(TEXTS[lang])
        assert missing == set()
        for name in acts.SCENARIOS:
            assert f"option.scenario.{name}" in TEXTS[lang]
        assert "{{question}}" in TEXTS[lang]["about.inference.template_propose"].format()


@pytest.mark.parametrize(
    ("role", "sections"),
    [
        (Role.COMPLIANCE, ["documents", "templates", "images", "access", "cohort", "stages", "channels", "quota"]), (Role.APPROVER, ["templates", "images", "access", "cohort", "stages", "channels"]), (Role.MARKETING, ["templates", "images", "access", "stages", "quota"]),
        (Role.REGULATOR, ["documents", "templates", "images", "access", "cohort", "stages", "channels"]), (Role.ADMIN, ["templates", "images", "access", "cohort", "stages", "channels", "quota"]),
    ],
)  # fmt: skip
def test_each_role_sees_the_sections_it_may_read_and_they_are_drawn(house: House, role: Role, sections: list[str]) -> None:
    made = opened_page(house, role)
    for lang in ("zh", "en"):
        made.page.lang = lang
        made.draw()
        assert [one.name for one in made.sections.all] == sections
        assert made.strip.state in ("info", "pending") and made.strip.sentence
        assert not any("{" in text for text in (made.strip.sentence, made.strip.reason, made.strip.todo))


def test_a_person_publishes_what_another_proposed_with_the_digest_that_was_read(house: House) -> None:
    call = Client(house, Role.COMPLIANCE).call
    texts = {one: f"改写 {one}" for one in acts.TEXTS if one.startswith(("disclaimer", "client"))}
    made = call("inference.template_propose", scenario="together", text_zh="整理。\n{{question}}", text_en="Arrange.\n{{question}}", reason="精简模板文字", **texts)
    author, other = opened_page(house, Role.COMPLIANCE), opened_page(house, Role.APPROVER)
    row = f"template/together/{made['version']}"
    shown = {one["id"]: one for one in author.templates.versions.rows}
    assert shown[row]["can"] == [] and author.strip.state == "pending"
    assert {one["id"]: one for one in other.templates.versions.rows}[row]["can"] == ["publish"]
    asyncio.run(other.templates._open_version(row))
    assert any("整理" in str(block) for block in other.templates.text.told()) and other.templates.before.told()
    asyncio.run(other.templates._act(row, "publish"))
    asked = other.page.client.calls[-1]
    assert asked == ("inference.template_publish", {"scenario": "together", "version": made["version"], "digest": made["digest"]})
    house.node.store.write(lambda tx: tx.execute("DELETE FROM inference_template WHERE name = 'together'"))


def test_the_matrix_marks_what_is_allowed_and_only_that(house: House) -> None:
    made = opened_page(house, Role.COMPLIANCE)
    access = next(one for one in made.sections.all if one.name == "access")
    rows = {one["id"]: one for one in access.cells.rows}  # type: ignore[attr-defined]  # a section of this page
    assert [name for name in acts.SCENARIOS if rows["adviser"][name]] == ["advice", "research", "banking", "together"]
    assert [name for name in acts.SCENARIOS if rows["operator"][name]] == ["together", "running"]


def fields_of(section: Images) -> set[str]:
    """What the form of signing asks for; the form is shut again."""

    async def look() -> set[str]:
        await section.signing.open(acts.SIGN.operation)
        found = set(section.signing.values())
        await section.signing.open(acts.SIGN.operation)
        return found

    return asyncio.run(look())


def test_an_image_is_signed_by_words_alone_and_the_section_says_what_it_is_made_of(house: House) -> None:
    call = Client(house, Role.OPERATOR).call
    signed = call("inference.model_sign", engine="extractive", name="words", words_only=True, runtime="ab" * 32)
    assert signed["weights"] == [] and signed["bytes"] == 0
    with pytest.raises(Refused) as refused:
        call("inference.model_sign", engine="openai-http", words_only=True, runtime="ab" * 32)
    assert refused.value.code == "ENGINE_NEEDS_MODEL"
    made = opened_page(house, Role.OPERATOR)
    section = next(one for one in made.sections.all if one.name == "images")
    assert isinstance(section, Images) and [one["weights"] for one in section.images.rows] == [TEXTS["zh"]["models.words_only"]]
    assert set(section._choices("engine").values()) >= {"extractive", "openvino", "openai-http"}
    section._open(signed["id"])
    assert any("abababab" in str(block) for block in section.detail.told())
    assert "lease" in {one["key"] for one in section.images.columns} and acts.SIGN.operation in section.signing.acts
    assert "program" not in fields_of(section), "no server is defined here that could be started inside"
    section.found["inference.models"]["programs"] = ["llama-cpp"]  # type: ignore[index]  # as a node with such a setting says
    section.draw()
    assert "program" in fields_of(section) and list(section._choices("program").values()) == ["", "llama-cpp"]
    marketing = next(one for one in opened_page(house, Role.MARKETING).sections.all if isinstance(one, Images))
    assert not marketing.signing.acts and "lease" not in {one["key"] for one in marketing.images.columns}, "who may not read leases sees images alone"


def test_documents_say_that_they_are_not_indexed_and_that_no_usage_allows_them(house: House) -> None:
    made = opened_page(house, Role.COMPLIANCE)
    assert made.documents.numbers.remark == TEXTS["zh"]["models.outdated"]
    assert made.documents.usages.state == "empty" and made.documents.corpora.state == "empty"
    assert made.strip.todo == TEXTS["zh"]["models.todo.index"]
    assert {one["origin"]["state"] for one in made.documents.documents.rows} == {"simulated"}


def test_words_only_beside_an_index_under_way_is_not_read_as_a_fault(house: House) -> None:
    made = opened_page(house, Role.COMPLIANCE)
    made.documents.found["inference.documents"] |= {"is_outdated": False, "corpora": [{"corpus": "5d" * 32, "documents": 5, "passages": 9, "size_bytes": 1, "embedder": "", "built_ms": 1}]}
    for going, said in (({"done": 1_200, "total": 4_000, "embedder": "e5"}, "暂按词检索；按含义的索引进行中：1,200 / 4,000 段"), ({"done": 1, "total": 9, "embedder": ""}, "正在建立索引"), (None, "索引与资料一致")):
        made.documents.found["inference.documents"]["indexing"] = going
        made.documents.draw()
        assert said in made.documents.numbers.remark


def test_a_stage_is_proposed_by_one_decided_by_another_on_the_report_that_was_read_and_taken_back_by_one(house: House) -> None:
    house.node.store.write(
        lambda tx: tx.execute(
            "INSERT OR IGNORE INTO inference_ask (ask, person, scenario, template, model, class, state, asked_ms, ended_ms, rating, reason)"
            " VALUES ('ask-stage', 't', 'advice', 'advice-v1', 'extractive', 'public', 'ANSWERED', ?, ?, 'up', '')", (house.node.now_ms() - 1_000, house.node.now_ms()),
        )
    )  # fmt: skip
    Client(house, Role.COMPLIANCE).call("inference.stage_propose", to="invited", reason="内部试用已满一月")
    author, other = opened_page(house, Role.COMPLIANCE), opened_page(house, Role.APPROVER)

    def section(made: ModelsPage) -> Stages:
        return next(one for one in made.sections.all if isinstance(one, Stages))

    assert section(author).steps.rows[0]["can"] == ["decline"] and section(other).steps.rows[0]["can"] == ["approve", "decline"]
    assert section(other).now.todo == TEXTS["zh"]["models.stage.todo.mine"] and section(author).now.todo == TEXTS["zh"]["models.stage.todo.other"]
    shown = section(other)

    async def decide() -> None:
        await shown._decide("1", "approve")
        shown.deciding.fields["reason"].value = "依据看过，同意"
        await shown.deciding.do()

    asyncio.run(decide())
    report = (shown._step(1) or {})["report"]
    assert other.page.client.calls[-1] == ("inference.stage_decide", {"number": 1, "report": report, "approve": True, "reason": "依据看过，同意"})
    assert report[:8] in str(shown.ground.blocks) and "95 %" in str(shown.ground.blocks)
    Client(house, Role.APPROVER).call("inference.stage_decide", number=1, report=report, approve=True, reason="依据看过，同意")
    after = section(opened_page(house, Role.OPERATOR)) if "stages" in {one.name for one in opened_page(house, Role.OPERATOR).sections.all} else section(opened_page(house, Role.ADMIN))
    assert "受邀客户" in after.now.sentence and list(after._choices("to").values()) == ["internal"]
    Client(house, Role.ADMIN).call("inference.stage_close", to="internal", reason="先停一停看看")
    assert "仅内部员工" in section(opened_page(house, Role.COMPLIANCE)).now.sentence


def test_a_usage_ends_with_its_last_day_in_shanghai() -> None:
    assert acts.GRANT.shape is not None
    assert acts.GRANT.shape({"kind": "fund", "until_day": "2026-12-31"}) == {"kind": "fund", "until": "2026-12-31T23:59:59+08:00"}
    assert acts.QUOTA.shape is not None and acts.QUOTA.shape({"role": "", "person": "adviser", "most": 3})["role"] is None
    assert acts.COHORT.shape is not None and acts.COHORT.shape({"phone": "", "list_id": "C-1", "audience": ""}) == {"list_id": "C-1", "audience": ""}


def test_quotas_of_everybody_are_for_those_who_change_them(house: House) -> None:
    token = house.caller(Role.COMPLIANCE).person.token
    house.node.store.write(lambda tx: tables.spend(house.node, tx, person=token, role="compliance"))
    for role, people in ((Role.COMPLIANCE, 2), (Role.ADMIN, 6)):
        made = opened_page(house, role)
        quota = next(one for one in made.sections.all if one.name == "quota")
        assert len(quota.lines.rows) == people  # type: ignore[attr-defined]  # a section of this page


def test_a_credential_of_a_channel_is_confirmed_by_another_person_and_no_page_shows_its_secret(house: House) -> None:
    until = f"{house.node.today() + timedelta(days=9)}"
    made = Client(house, Role.ADMIN).call("inference.channel_add", name="junhong-app", channel="client", role="adviser", until_day=until, reason="试点接入渠道")
    own, other = (next(one for one in opened_page(house, role).sections.all if isinstance(one, Channels)) for role in (Role.ADMIN, Role.COMPLIANCE))
    assert [one["can"] for one in (own.credentials.rows[0], other.credentials.rows[0])] == [["revoke"], ["confirm", "revoke"]]
    asyncio.run(other._act(made["channel"]["credential"], "confirm"))
    assert other.acting.given == {"name": "junhong-app"} and other.acting.chosen is not None and other.acting.chosen.operation == "inference.channel_confirm"
    assert made["secret"] not in str(own.credentials.rows) + str(own.found)
    assert words_of(CHANNEL_ACTS) <= set(TEXTS["zh"]) and words_of(CHANNEL_ACTS) <= set(TEXTS["en"])

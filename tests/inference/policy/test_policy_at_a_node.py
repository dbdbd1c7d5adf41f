"""Templates, rules, access, invited customers and quotas at a node: by two people where it must be, with an entry each, default deny."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.host.house import House, copied, opened
from workbench.domain.erasure import Customer, ErasureRequest, Stage
from workbench.domain.evidence import RestoredEntry
from workbench.domain.party import Caller, Person, PersonId, Role
from workbench.domain.subject import SubjectRequest
from workbench.errors import Denied, InvalidRequest, NotFound, Refused, VerificationError
from workbench.workspace import Workspace
from workbench_inference.asking import rights
from workbench_inference.operations_policy import POLICY_OPERATIONS
from workbench_inference.policy import content, restoring, scenarios, tables
from workbench_inference.policy.admission import Admission, admit
from workbench_inference.policy.channels import Standing
from workbench_inference.policy.customers import CustomerNames
from workbench_inference.policy.redaction import redact
from workbench_inference.policy.scenarios import SCENARIOS

DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def house(made_institution: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with opened(copied(made_institution, tmp_path_factory.mktemp("tenant") / "workspace"), settings={"inference.role": "tenant"}) as made:
        yield made


def call(house: House, name: str, who: Role = Role.COMPLIANCE, /, **request: Any) -> Any:
    return house.node.gate.call(f"inference.{name}", request, house.caller(who), is_confirmed=True)


def person(house: House, *roles: Role, token: str = "") -> Caller:
    """Somebody with these roles, as if signed in; the workspace of tests has no adviser."""
    return Caller(Person(PersonId("somebody"), house.node.party, frozenset(roles), "某人", token or "t-" + "-".join(sorted(roles))))


def admitted(house: House, caller: Caller, scenario: str = "advice", model: str = "extractive", **more: Any) -> Admission:
    with house.node.store.read() as reader:
        return admit(reader, house.node, caller, scenario=scenario, model=model, **more)


def standing(house: House, token: str) -> Standing:
    """A customer of class C2 whom the lists know, at the stage of invited customers; invited or not as the tables say."""
    node = house.node
    with node.store.read() as reader:
        return Standing("invited", tables.cohort_size(reader, node.now_ms()), 10_000, True, False, tables.is_invited(reader, [token], node.now_ms()), "C2")


def proposed(house: House, scenario: str = "advice", role: Role = Role.COMPLIANCE, text: str = "查资料。\n{{question}}") -> Any:
    texts = {f"{name}_{lang}": f"{name} {lang}" for name in ("disclaimer", "client_disclaimer") for lang in ("zh", "en")}
    return call(house, "template_propose", role, scenario=scenario, text_zh=text, text_en=text, reason="改进模板措辞", **texts)


# ---- access (J13)


def test_every_cell_of_role_scenario_and_model_is_denied_unless_the_table_of_the_design_names_it(house: House) -> None:
    table = {
        "advice": {Role.ADVISER}, "research": {Role.ADVISER, Role.COMPLIANCE}, "banking": {Role.ADVISER, Role.COMPLIANCE}, "marketing": {Role.MARKETING},
        "risk": {Role.COMPLIANCE, Role.AUDITOR}, "together": {Role.ADVISER, Role.MARKETING, Role.COMPLIANCE, Role.OPERATOR, Role.AUDITOR}, "running": {Role.OPERATOR},
    }  # fmt: skip
    for role, scenario, model in itertools.product(Role, SCENARIOS, ("extractive", "smollm2", "")):
        if role in table[scenario] and model:
            found = admitted(house, person(house, role), scenario, model, client_class="C3")
            assert (found.role, found.scenario.name, found.template.name) == (role, scenario, f"{scenario}-v1")
        else:
            with pytest.raises(Denied) as refused:
                admitted(house, person(house, role), scenario, model, client_class="C3")
            assert refused.value.code == "ASK_DENIED"
    with pytest.raises(NotFound):
        admitted(house, person(house, Role.ADVISER), "trading")


def test_people_open_and_close_cells_and_the_next_question_heeds_it(house: House) -> None:
    auditor = person(house, Role.AUDITOR)
    call(house, "access_change", role="auditor", scenario="research", model="extractive", allowed=True, reason="审计抽查需要")
    assert admitted(house, auditor, "research").role is Role.AUDITOR
    with pytest.raises(Denied):
        admitted(house, auditor, "research", "smollm2")
    # A row for every model counts before the default, one for a model before both.
    call(house, "access_change", Role.APPROVER, role="adviser", scenario="advice", model="*", allowed=False, reason="暂停使用一天")
    adviser = person(house, Role.ADVISER)
    with pytest.raises(Denied):
        admitted(house, adviser)
    call(house, "access_change", role="adviser", scenario="advice", model="extractive", allowed=True, reason="抽取式可用")
    assert admitted(house, adviser).model == "extractive"
    with pytest.raises(Denied):
        admitted(house, adviser, model="smollm2")
    cells = {(one.role, one.scenario, one.model): one for one in call(house, "access").cells}
    assert cells["adviser", "advice", "extractive"].allowed and not cells["adviser", "advice", "*"].allowed
    assert cells["auditor", "banking", "*"].origin == "nobody"
    entries = house.entries("inference.access_changed")
    assert [(one["role"], one["model"], one["allowed"]) for one in entries] == [("auditor", "extractive", "1"), ("adviser", "*", "0"), ("adviser", "extractive", "1")]
    call(house, "access_change", role="adviser", scenario="advice", model="*", allowed=True, reason="恢复使用全部")


def test_who_approves_or_supervises_is_never_allowed_to_ask(house: House) -> None:
    for role in ("approver", "admin", "regulator", "provider-operator"):
        with pytest.raises(Refused) as refused:
            call(house, "access_change", role=role, scenario="together", model="*", allowed=True, reason="试一试看看")
        assert refused.value.code == "ROLE_NEVER_ASKS"
    with pytest.raises(Denied):
        call(house, "access_change", Role.MARKETING, role="marketing", scenario="risk", model="*", allowed=True, reason="自己给自己")


def test_in_production_everything_starts_closed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(house.node, "kind", "production")
    with pytest.raises(Denied):
        admitted(house, person(house, Role.MARKETING), "marketing", client_class="C2")


# ---- templates and rules (J2, J10)


def test_a_template_is_published_by_another_person_tried_in_debug_and_promoted_by_an_approver(house: House) -> None:
    made = proposed(house)
    assert (made.version, made.state, made.mode, made.may_publish) == (2, "proposed", "debug", False)
    adviser = person(house, Role.ADVISER)
    assert admitted(house, adviser).template.version == 1
    with pytest.raises(Denied) as refused:
        call(house, "template_publish", scenario="advice", version=2, digest=made.digest)
    assert refused.value.code == "SELF_APPROVAL"
    with pytest.raises(Refused) as refused:
        call(house, "template_publish", Role.APPROVER, scenario="advice", version=2, digest="0" * 64)
    assert refused.value.code == "TEMPLATE_CHANGED"
    assert call(house, "template", Role.APPROVER, scenario="advice", version=2).version.may_publish
    call(house, "template_publish", Role.APPROVER, scenario="advice", version=2, digest=made.digest)
    assert admitted(house, adviser, mode="debug").template.version == 2
    assert admitted(house, adviser).template.version == 1
    with pytest.raises(Denied):
        call(house, "template_promote", Role.COMPLIANCE, scenario="advice", version=2, digest=made.digest)
    call(house, "template_promote", Role.APPROVER, scenario="advice", version=2, digest=made.digest)
    found = admitted(house, adviser)
    assert (found.template.version, found.template.digest) == (2, made.digest)
    with pytest.raises(Refused) as refused:
        call(house, "template_promote", Role.APPROVER, scenario="advice", version=2, digest=made.digest)
    assert refused.value.code == "WRONG_STATE"
    (published,) = house.entries("inference.template_published")
    (promoted,) = house.entries("inference.template_promoted")
    assert published["first"] != published["second"] and promoted["author"] == published["first"]
    assert published["digest"] == promoted["digest"] == made.digest
    assert not any("查资料" in str(one) for one in (published, promoted, *house.entries("inference.template_proposed")))


def test_the_author_does_not_promote_their_own_template(house: House) -> None:
    made = proposed(house, "research", Role.APPROVER)
    call(house, "template_publish", Role.COMPLIANCE, scenario="research", version=made.version, digest=made.digest)
    with pytest.raises(Denied) as refused:
        call(house, "template_promote", Role.APPROVER, scenario="research", version=made.version, digest=made.digest)
    assert refused.value.code == "SELF_APPROVAL"


@pytest.mark.parametrize("text", ["没有占位", "{{question}}{{question}}", "{{question}} {{secret}}", "{{question}} {{", " " * 40])
def test_a_template_without_one_place_for_the_question_or_with_unknown_fields_is_refused(house: House, text: str) -> None:
    with pytest.raises(InvalidRequest):
        proposed(house, "banking", text=text)


def test_a_template_that_was_altered_in_the_vault_is_not_used(house: House) -> None:
    made = proposed(house, "risk")
    call(house, "template_publish", Role.APPROVER, scenario="risk", version=made.version, digest=made.digest)
    house.node.store.write(lambda tx: house.node.vault.put(tx, f"inference/template/risk/{made.version}", b"{}"))
    with pytest.raises(VerificationError) as refused:
        admitted(house, person(house, Role.COMPLIANCE), "risk", mode="debug")
    assert refused.value.code == "TEMPLATE_ALTERED"
    house.node.store.write(lambda tx: tx.execute("DELETE FROM inference_template WHERE name = 'risk'"))


def test_rules_of_content_come_into_force_by_two_people(house: House) -> None:
    value = json.loads(content.delivered_text())
    value["lists"]["inside"]["names"] = ["汀野重工"]
    made = call(house, "rules_propose", text=json.dumps(value, ensure_ascii=False), reason="限制名单加一家")
    with pytest.raises(Denied):
        call(house, "rules_publish", version=made.version, digest=made.digest)
    with house.node.store.read() as reader:
        assert tables.rules_in_force(reader, house.node).version == 1
    call(house, "rules_publish", Role.APPROVER, version=made.version, digest=made.digest)
    with house.node.store.read() as reader:
        rules = tables.rules_in_force(reader, house.node)
    assert rules.version == 2 and made.digest
    assert content.check("汀野 重工的公告", rules, stage="prompt", scenario="banking").rule == "inside-list"
    assert content.check("汀野重工的公告", rules, stage="prompt", scenario="research").may_pass
    assert call(house, "scenarios").rules_version == 2
    assert json.loads(call(house, "rules").text)["lists"]["inside"]["names"] == ["汀野重工"]
    assert json.loads(call(house, "rules", version=1).text)["lists"]["inside"]["names"] == []
    for wrong in ("[]", "{", '{"version": 1, "lists": {}, "rules": []}', json.dumps(value | {"rules": [value["rules"][0] | {"stages": ["never"]}]})):
        with pytest.raises(InvalidRequest):
            call(house, "rules_propose", text=wrong, reason="写错了的文件")


# ---- channels, documents, quota (J4, J16, J17)


def test_kinds_of_documents_beyond_the_scenario_are_refused(house: House) -> None:
    found = admitted(house, person(house, Role.MARKETING), "marketing", client_class="C2", documents=["fund"])
    assert found.kinds == ("fund",) and found.klass == "public"
    with pytest.raises(Refused) as refused:
        admitted(house, person(house, Role.MARKETING), "marketing", client_class="C2", documents=["fund", "news"])
    assert refused.value.code == "KIND_NOT_ALLOWED"


def test_a_crowd_or_a_client_without_a_class_is_refused(house: House) -> None:
    for caller, scenario, channel in ((person(house, Role.MARKETING), "marketing", "internal"), (person(house, Role.ADVISER), "advice", "client")):
        with house.node.store.read() as reader, pytest.raises(Refused) as refused:
            admit(reader, house.node, caller, scenario=scenario, model="extractive", channel=channel, client_class="C5" if channel == "client" else "")
        assert refused.value.code == ("CLIENT_CLASS_MISSING" if channel == "internal" else "STAGE_NOT_OPEN")


def test_only_invited_customers_come_through_their_channel_and_only_where_it_is_open(house: House) -> None:
    adviser = person(house, Role.ADVISER)
    now = house.node.now_ms()
    house.node.store.write(lambda tx: tables.invite(house.node, tx, ["aa" * 16], until_ms=now + DAY_MS, actor="t-co", reason="试点客户邀请"))
    asks = {"channel": "client", "customer": ["aa" * 16], "standing": standing(house, "aa" * 16)}
    found = admitted(house, adviser, client_class="C5", **asks)
    assert (found.client_class, found.person.whose, found.person.most) == ("C2", "customer:" + "aa" * 16, 60)
    assert found.kinds == ("fund", "news", "quote")  # no texts of the house, no questions of other customers
    assert found.channel.name == "client" and found.channel.restores == {"name"}
    assert "过往业绩" not in scenarios.scenarios()["advice"].template.disclaimed("internal")["zh"]
    assert "过往业绩" in scenarios.scenarios()["advice"].template.disclaimed("client")["zh"]
    for changes, scenario, code in (
        ({"customer": ["bb" * 16], "standing": standing(house, "bb" * 16)}, "advice", "NOT_INVITED"),
        ({"customer": ["bb" * 16], "standing": replace(standing(house, "bb" * 16), cap=1)}, "advice", "COHORT_FULL"),
        ({"standing": replace(standing(house, "aa" * 16), stage="internal")}, "advice", "STAGE_NOT_OPEN"),
        ({"standing": replace(standing(house, "aa" * 16), is_restricted=True)}, "advice", "CUSTOMER_SUSPENDED"),
        ({"standing": replace(standing(house, "aa" * 16), klass="")}, "advice", "CLIENT_CLASS_MISSING"),
        ({"standing": replace(standing(house, "bb" * 16), stage="open", is_known=False)}, "advice", "NOT_A_CUSTOMER"),
        ({"standing": None}, "advice", "STAGE_NOT_OPEN"),
        ({}, "research", "SCENARIO_NOT_FOR_CLIENTS"),
        ({"documents": ["prompt"]}, "advice", "KIND_NOT_ALLOWED"),
    ):  # fmt: skip
        with pytest.raises(Refused) as refused:
            admitted(house, adviser, scenario, client_class="C5", **{**asks, **changes})
        assert refused.value.code == code
    assert admitted(house, adviser, **{**asks, "customer": ["bb" * 16], "standing": replace(standing(house, "bb" * 16), stage="open")}).client_class == "C2"
    house.clock.forward(hours=25)
    with pytest.raises(Refused) as refused:
        admitted(house, adviser, **{**asks, "standing": standing(house, "aa" * 16)})
    assert refused.value.code == "NOT_INVITED"
    house.node.store.write(lambda tx: tables.uninvite(house.node, tx, ["aa" * 16], actor="t-co", reason="试点结束"))


def test_the_ten_thousand_and_first_customer_is_refused_and_nobody_of_that_batch_is_taken(house: House) -> None:
    node = house.node
    until = node.now_ms() + DAY_MS

    def invite(*names: int) -> int:
        return int(node.store.write(lambda tx: tables.invite(node, tx, [f"{one:032x}" for one in names], until_ms=until, actor="t-co", reason="试点客户邀请")))

    assert invite(*range(9_999)) == 9_999
    assert invite(9_999) == 10_000
    for batch in ((10_000,), (5, 10_000), (10_000, 10_001)):
        with pytest.raises(Refused) as refused:
            invite(*batch)
        assert refused.value.code == "COHORT_FULL"
    assert invite(5, 6) == 10_000  # those who take part already take no further place
    reply = call(house, "cohort")
    assert (reply.people, reply.cap, reply.hard_cap, reply.stage) == (10_000, 10_000, 10_000, "internal")
    assert {one["people"] for one in house.entries("inference.cohort_changed")} >= {"9999", "10000"}
    assert node.store.write(lambda tx: tables.forget_customer(tx, [f"{3:032x}", "no such"])) == 1
    assert invite(10_000) == 10_000
    node.store.write(lambda tx: tables.uninvite(node, tx, [f"{one:032x}" for one in range(10_001)], actor="t-co", reason="清空名额"))
    assert call(house, "cohort").people == 0


def test_a_setting_above_the_cap_invites_nobody(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    original = house.node.setting
    monkeypatch.setattr(house.node, "setting", lambda name: 20_000 if name == "inference.cohort_cap" else original(name))
    with pytest.raises(Refused) as refused:
        call(house, "cohort")
    assert refused.value.code == "COHORT_CAP"


def test_customers_are_invited_by_phone_and_no_entry_or_table_holds_it(house: House) -> None:
    day = (house.node.today() + timedelta(days=30)).isoformat()
    assert call(house, "cohort_change", action="invite", phone="100 1234 5678", until_day=day, reason="优质客户邀请").people == 1
    with house.node.store.read() as reader:
        rows = reader.execute("SELECT * FROM inference_cohort").fetchall()
    told = json.dumps([list(row) for row in rows] + house.entries("inference.cohort_changed"))
    assert "10012345678" not in told and len(rows) == 1
    assert call(house, "cohort_change", action="remove", phone="10012345678", reason="客户不再参加").people == 0
    with pytest.raises(InvalidRequest):
        call(house, "cohort_change", action="invite", until_day=day, reason="谁也没有写明")
    with pytest.raises(Denied):
        call(house, "cohort_change", Role.MARKETING, action="invite", phone="10012345678", until_day=day, reason="营销岗不能邀请")


def test_a_spent_quota_of_a_person_or_a_role_stops_the_next_question_until_the_month_ends(house: House) -> None:
    node = house.node
    operator = person(house, Role.OPERATOR, token="t-op")
    call(house, "quota_change", Role.ADMIN, role="operator", most=3)
    for _ in range(2):
        admitted(house, operator, "running")
        node.store.write(lambda tx: tables.spend(node, tx, person="t-op", role="operator"))
    found = admitted(house, operator, "running")
    assert (found.person.used, found.group.left) == (2, 1)
    node.store.write(lambda tx: tables.change_quota(node, tx, whose="t-op", most=2, actor="t-admin"))
    with pytest.raises(Refused) as refused:
        admitted(house, operator, "running")
    assert (refused.value.code, refused.value.details["of"]) == ("QUOTA_SPENT", "person")
    node.store.write(lambda tx: tables.spend(node, tx, person="t-other", role="operator"))
    with pytest.raises(Refused) as refused:
        admitted(house, person(house, Role.OPERATOR, token="t-third"), "running")
    assert (refused.value.code, refused.value.details["of"]) == ("QUOTA_SPENT", "group")
    house.clock.forward(hours=24 * 31)
    assert admitted(house, operator, "running").person.used == 0
    assert admitted(house, operator, "running").group.most == 3  # a limit that people set goes on
    call(house, "quota_change", Role.OPERATOR, role="operator", most=-1)
    assert admitted(house, operator, "running").group.most == 3_000
    assert house.entries("inference.quota_changed")[0]["limit"] == "3"
    reply = call(house, "quota", Role.OPERATOR)
    assert reply.groups[0].whose == "operator" and reply.everybody


def test_of_two_questions_that_were_admitted_at_once_only_the_one_within_the_quota_is_counted(house: House) -> None:
    node, caller = house.node, person(house, Role.MARKETING, token="t-once")
    node.store.write(lambda tx: tables.change_quota(node, tx, whose="t-once", most=1, actor="t-admin"))
    for _ in range(2):
        admitted(house, caller, "marketing", client_class="C1")
    node.store.write(lambda tx: tables.spend(node, tx, person="t-once", role="marketing"))
    with pytest.raises(Refused) as refused:
        node.store.write(lambda tx: tables.spend(node, tx, person="t-once", role="marketing"))
    assert refused.value.code == "QUOTA_SPENT"
    with node.store.read() as reader:
        assert tables.quota_of(reader, node, "t-once", is_group=False).used == 1


# ---- names, feedback


def test_customers_of_the_lists_are_known_for_redaction(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    import polars as pl

    names = CustomerNames(house.node)
    assert names.now().count == 0

    class Lists:
        def everything(self) -> list[Any]:
            return [type("Info", (), {"list_id": "C-1", "rows": 2})()]

        def frame(self, list_id: str) -> pl.DataFrame:
            return pl.DataFrame({"name": ["张伟", None], "customer_id": ["KH100234", "KH100235"]})

    monkeypatch.setattr(house.node, "lists", Lists())
    assert redact("张伟（KH100235）问费率", names.now()).text == "〔姓名1〕（〔账号1〕）问费率"
    assert names.now() is names.now()


def test_feedback_is_counted_by_scenario_and_shows_reasons_without_identifiers(house: House) -> None:
    def asked(number: int, rating: str, reason: str, state: str = "ANSWERED") -> None:
        house.node.store.write(
            lambda tx: tx.execute(
                "INSERT INTO inference_ask (ask, person, scenario, template, model, class, state, asked_ms, rating, reason) VALUES (?, 't', 'advice', 'advice-v1', 'extractive', 'public', ?, ?, ?, ?)",
                (f"ask-{number}", state, house.node.now_ms(), rating, reason),
            )
        )

    asked(1, "up", "")
    asked(2, "down", "没有说清楚，客户 13812345678 追问")
    asked(3, "", "", "ABSTAINED")
    reply = call(house, "feedback", Role.APPROVER)
    (line,) = reply.lines
    assert (line.asked, line.answered, line.abstained, line.up, line.down) == (3, 2, 1, 1, 1)
    assert [one.text for one in line.reasons] == ["没有说清楚，客户 〔手机1〕 追问"]


def test_after_a_restore_nothing_is_open_that_may_have_been_closed(house: House) -> None:
    node = house.node
    until = node.now_ms() + 400 * DAY_MS

    def change(tx: Any) -> None:
        tables.invite(node, tx, ["cc" * 16], until_ms=until, actor="t-co", reason="试点客户邀请")
        tx.execute("INSERT INTO inference_usage (usage, kind, scenario, roles, until_ms, by) VALUES ('U-1', 'fund', 'advice', 'adviser', ?, 't')", (until,))

    node.store.write(change)
    kinds = ("inference.access_changed", "inference.cohort_changed", "inference.usage_changed", "inference.rules_published", "intersection.proposed")
    assert restoring.replay(node, [RestoredEntry(0, "intersection.proposed", 0, "", "", {}, ())]) == []
    assert admitted(house, person(house, Role.ADVISER)).role is Role.ADVISER
    for _ in range(2):
        needs = restoring.replay(node, [RestoredEntry(number, kind, 0, "", "", {}, ()) for number, kind in enumerate(kinds)])
        assert [one.name for one in needs] == list(kinds[:4]) and all("1" in one.zh for one in needs)
    for role, scenario in itertools.product(Role, SCENARIOS):
        with pytest.raises(Denied):
            admitted(house, person(house, role), scenario, client_class="C1")
    with node.store.read() as reader:
        assert tables.cohort_size(reader, node.now_ms()) == 0
        assert reader.execute("SELECT count(*) FROM inference_usage WHERE revoked_ms = 0").fetchone()[0] == 0
    call(house, "access_change", role="adviser", scenario="advice", model="*", allowed=True, reason="恢复后重新设定")
    assert admitted(house, person(house, Role.ADVISER)).role is Role.ADVISER


def test_an_erasure_takes_a_customer_out_and_a_request_is_told_of_the_invitation(house: House) -> None:
    node, names = house.node, ("dd" * 16,)
    node.store.write(lambda tx: tables.invite(node, tx, names, until_ms=node.now_ms() + DAY_MS, actor="t-co", reason="试点客户邀请"))
    (told,) = rights.records(node, SubjectRequest(Customer(names)))
    assert told.kind == "invitation" and told.values["until"]
    (found,) = rights.erase(node, ErasureRequest("E-1", Stage.RESTRICT, Customer(names)))
    assert (found.what, found.erased) == ("invitations", 1)
    assert rights.records(node, SubjectRequest(Customer(names))) == []


def test_every_operation_of_policy_exists_at_a_tenant_only_and_each_change_leaves_an_entry() -> None:
    for one in POLICY_OPERATIONS:
        assert one.only_with == ("inference.role", ("tenant",))
        assert one.reads_only or one.evidence
        assert one.reads_only or one.fresh_password or one.name.endswith("_propose")

"""Notices: what stops publication and which article asks for it, two people, frozen content, what a change makes stale."""

from __future__ import annotations

import json
import re
import sqlite3
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from consent_house import House
from hypothesis import given, settings
from hypothesis import strategies as st
from workbench_consent.notices import lint, operations, published, sample
from workbench_consent.notices.difference import Change, changes, staleness
from workbench_consent.notices.text import DIGEST_LABEL, digest, format_notice, notice_of, parse_notice

from workbench.contracts import OperationContext
from workbench.crypto import sm3
from workbench.domain.party import Caller, PartyId, Person, PersonId, Role
from workbench.errors import Denied, InvalidRequest, NotFound, Refused, VerificationError

BY_NAME = {one.name: one for one in operations.OPERATIONS}
NAMES = {"broker": ("甲证券", "Broker A"), "bank": ("乙银行", "Bank B"), "cardnet": ("丙清算", "Card network C")}
TEXT = (Path(__file__).parents[2] / "docs" / "protocols" / "notice.md").read_text("utf-8")


def person(house: House, name: str, role: Role = Role.COMPLIANCE) -> OperationContext:
    someone = Person(PersonId(name), house.party, frozenset({role}), name, f"t-{name}")
    return OperationContext(house, Caller(someone), lambda done, total, zh, en: None, lambda: False)  # type: ignore[arg-type]


def call(house: House, name: str, by: str = "chen", **request: Any) -> Any:
    operation = BY_NAME[name]
    return operation.run(person(house, by), operation.request.model_validate(request))


def content(**changed: Any) -> dict[str, Any]:
    return {**sample.content("broker", NAMES), **changed}


def first_line(text: dict[str, Any], **changed: Any) -> dict[str, Any]:
    """The same text with the first line changed."""
    made = deepcopy(text)
    made["lines"][0] |= changed
    return made


def publish(house: House, text: dict[str, Any], *, confirm: list[str] | None = None, key: str = "joint") -> Any:
    """Proposed by one, published by another."""
    house.time_ms += 1000
    check = call(house, "notices.lint", notice=key, content=text)
    proposed = call(house, "notices.propose", notice=key, content=text, confirm=check.must_confirm if confirm is None else confirm)
    return call(house, "notices.publish", by="li", notice=key, version=proposed.version, digest=proposed.digest)


def test_the_sample_is_complete_and_preset_nowhere(house: House) -> None:
    reply = call(house, "notices.lint", notice="joint", content=content())
    assert (reply.complete, reply.findings, reply.version, reply.changes) == (True, [], 1, [])
    assert len(content()["lines"]) == 4  # two purposes, two recipients, a switch each
    assert not any(one["preset"] or one["required"] for one in content()["lines"])


def test_the_sample_is_offered_to_start_from(house: House) -> None:
    reply = call(house, "notices.sample")
    assert call(house, "notices.lint", notice=reply.notice, content=reply.content).complete
    assert {line.recipient for line in reply.content.lines} == {"bank", "cardnet"}


BREAKS: list[tuple[str, str, str, dict[str, Any]]] = [
    ("CONTROLLER_NAME", "controller.name", "PIPL 17", {"controller": {**content()["controller"], "name": {"zh": "", "en": ""}}}),
    ("CONTROLLER_CONTACT", "controller.contact", "PIPL 17", {"controller": {**content()["controller"], "contact": " "}}),
    ("OFFICER", "controller.officer", "PIPL 52", {"controller": {**content()["controller"], "officer": ""}}),
    ("RIGHTS", "rights", "PIPL 17", {"rights": {"zh": "", "en": ""}}),
    ("WITHDRAWAL", "withdrawal", "PIPL 15", {"withdrawal": {"zh": "", "en": ""}}),
    ("REFUSAL", "refusal", "PIPL 16", {"refusal": {"zh": "", "en": ""}}),
    ("COMPLAINT", "complaint", "PIPL 50", {"complaint": {"zh": "", "en": ""}}),
    ("TITLE", "title", "PIPL 17", {"title": {"zh": "", "en": ""}}),
    ("BODY", "body", "PIPL 17", {"body": {"zh": "", "en": ""}}),
    ("SUMMARY", "summary", "PIPL 17", {"summary": {"zh": "长" * 281, "en": "long"}}),
    ("MINORS", "minors.rules", "PIPL 31", {"minors": {"served": True, "rules": {"zh": "", "en": ""}}}),
    ("LANGUAGE", "rights", "PIPL 17", {"rights": {"zh": "查阅", "en": ""}}),
]
LINE_BREAKS: list[tuple[str, str, str, dict[str, Any]]] = [
    ("PURPOSE", "purpose_text", "PIPL 17, 23", {"purpose_text": {"zh": "", "en": ""}}),
    ("METHOD", "method", "PIPL 17, 23", {"method": {"zh": "", "en": ""}}),
    ("CATEGORIES", "categories", "PIPL 17, 23", {"categories": []}),
    ("RETENTION", "retention", "PIPL 17, 19", {"retention_days": 0}),
    ("RECIPIENT_NAME", "recipient_name", "PIPL 23", {"recipient_name": {"zh": "", "en": ""}}),
    ("RECIPIENT_CONTACT", "recipient_contact", "PIPL 23", {"recipient_contact": ""}),
    ("RECIPIENT_UNKNOWN", "recipient", "PIPL 23", {"recipient": "nobody"}),
    ("NECESSITY", "necessity", "PIPL 30", {"necessity": {"zh": "", "en": ""}}),
    ("EFFECT", "effect", "PIPL 30", {"effect": {"zh": "", "en": ""}}),
    ("PURPOSE_VAGUE", "purpose_text", "PIPL 28", {"purpose_text": {"zh": "营销，包括但不限于其他", "en": "marketing"}}),
    ("PRESET", "preset", "PIPL 14, 29", {"preset": True}),
    ("BUNDLED", "required", "PIPL 16", {"required": True}),
    ("AUTOMATED", "automated_text", "PIPL 24", {"automated": True, "automated_text": {"zh": "", "en": ""}}),
    ("PURPOSE_UNKNOWN", "purpose", "PIPL 6", {"purpose": "credit-scoring"}),
    ("CATEGORY_UNKNOWN", "categories", "PIPL 6", {"categories": ["phone", "soul"]}),
    ("CHANNEL_UNKNOWN", "channels", "PIPL 6", {"channels": ["pigeon"]}),
]
WHOLE = [(code, field, article, content(**changed)) for code, field, article, changed in BREAKS]
LINES = [(code, f"lines[0].{field}", article, first_line(content(), **changed)) for code, field, article, changed in LINE_BREAKS]


def test_what_is_missing_is_named_with_its_article_and_refused(house: House) -> None:
    for code, field, article, text in [*WHOLE, *LINES]:
        reply = call(house, "notices.lint", notice="joint", content=text)
        assert (code, field, article) in {(one.code, one.field, one.article) for one in reply.findings}, code
        assert not reply.complete
        with pytest.raises(Refused) as refusal:
            call(house, "notices.propose", notice="joint", content=text)
        first = next(one for one in reply.findings if one.level == "error")
        assert refusal.value.code == "NOTICE_INCOMPLETE"
        assert (refusal.value.details["field"], refusal.value.details["article"]) == (first.field, first.article)
        assert first.article in refusal.value.zh and first.field in refusal.value.en
    assert house.entries("notices.proposed") == []


def test_every_finding_has_a_case_and_stands_in_the_document() -> None:
    source = Path(lint.__file__).read_text("utf-8")
    codes = set(re.findall(r'"([A-Z][A-Z_]{3,})"', source)) - {"ERROR", "REMARK"}
    tried = {one[0] for one in [*BREAKS, *LINE_BREAKS]} | {"RECIPIENT_IS_PROCESSOR", "CHANNEL_REFUSAL"}
    assert codes == tried
    assert all(f"`{code}`" in TEXT for code in codes)


def test_a_second_person_publishes_exactly_what_was_proposed(house: House) -> None:
    proposed = call(house, "notices.propose", notice="joint", content=content())
    assert proposed.state == "PROPOSED" and not proposed.offered
    with pytest.raises(Denied) as own:
        call(house, "notices.publish", notice="joint", version=1, digest=proposed.digest)
    assert own.value.code == "SELF_APPROVAL"
    with pytest.raises(VerificationError) as other:
        call(house, "notices.publish", by="li", notice="joint", version=1, digest="0" * 64)
    assert other.value.code == "NOTICE_ALTERED"
    with pytest.raises(NotFound):
        call(house, "notices.render", notice="joint")
    done = call(house, "notices.publish", by="li", notice="joint", version=1, digest=proposed.digest)
    assert (done.state, done.offered, done.digest) == ("PUBLISHED", True, proposed.digest)
    with house.store.read() as reader:
        body = bytes(reader.execute("SELECT body FROM consent_notice").fetchone()[0])
    assert sm3.digest(DIGEST_LABEL + body).hex() == done.digest == house.entries("notices.published")[0]["digest"]
    assert house.entries("notices.proposed")[0]["digest"] == done.digest
    with pytest.raises(Refused) as again:
        call(house, "notices.publish", by="li", notice="joint", version=1, digest=proposed.digest)
    assert again.value.code == "NOT_NOW"
    assert BY_NAME["notices.publish"].fresh_password and BY_NAME["notices.retire"].fresh_password


def test_a_version_waits_for_its_decision_and_a_rejected_number_is_used_again(house: House) -> None:
    first = call(house, "notices.propose", notice="joint", content=content())
    with pytest.raises(Refused) as waits:
        call(house, "notices.propose", notice="joint", content=content())
    assert waits.value.code == "NOTICE_WAITS"
    call(house, "notices.reject", by="li", notice="joint", version=1, reason="摘要须更短")
    second = publish(house, content())
    assert (first.version, second.version) == (1, 1)
    assert [one.state for one in call(house, "notices.list").rows] == ["PUBLISHED", "REJECTED"]
    assert house.entries("notices.rejected")[0]["reason"] == "摘要须更短"
    with pytest.raises(Refused) as same:
        house.time_ms += 1000
        call(house, "notices.propose", notice="joint", content=content())
    assert same.value.code == "NOTICE_SAME"


def test_a_draft_is_the_callers_own_and_need_not_be_complete(house: House) -> None:
    unfinished = first_line(content(rights={"zh": "", "en": ""}), recipient_contact="")
    before = len(house.ledger.bodies)
    call(house, "notices.draft_save", notice="joint", content=unfinished)
    assert len(house.ledger.bodies) == before
    mine = call(house, "notices.get", notice="joint", draft=True)
    assert (mine.state, mine.digest) == ("DRAFT", "") and {one.code for one in mine.findings} == {"RIGHTS", "RECIPIENT_CONTACT"}
    assert call(house, "notices.list").drafts == ["joint"] and call(house, "notices.list", by="li").drafts == []
    with pytest.raises(NotFound) as other:
        call(house, "notices.get", by="li", notice="joint", draft=True)
    assert other.value.code == "NO_DRAFT"
    with pytest.raises(InvalidRequest):
        call(house, "notices.draft_save", notice="joint", content=content(lines=[content()["lines"][0]] * 2))


def test_altered_content_is_refused_wherever_it_is_read(house: House) -> None:
    publish(house, content())
    database = sqlite3.connect(house.path)
    (body,) = database.execute("SELECT body FROM consent_notice").fetchone()
    database.execute("UPDATE consent_notice SET body = ?", (body.replace(b'"retention_days":365', b'"retention_days":366'),))
    database.commit()
    database.close()
    for name, request in (
        ("notices.list", {}), ("notices.get", {"notice": "joint"}), ("notices.render", {"notice": "joint"}), ("notices.registers", {}),
    ):  # fmt: skip
        with pytest.raises(VerificationError) as refusal:
            call(house, name, **request)
        assert refusal.value.code == "NOTICE_ALTERED"


def test_bytes_have_one_spelling_and_every_changed_byte_is_another_notice() -> None:
    value = {**deepcopy(content()), "key": "joint", "version": 1, "effective_ms": 5}
    data = format_notice(notice_of(value))
    assert parse_notice(data) == notice_of(value) and json.loads(data)["v"] == "workbench/v1/notice"
    for place in range(0, len(data), 97):
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        try:
            assert digest(format_notice(parse_notice(changed))) != digest(data)
        except VerificationError as refusal:
            assert refusal.code == "NOTICE_ALTERED"
    for other in (data + b"\n", data.replace(b'":"', b'": "', 1), data.replace(b"workbench/v1/notice", b"workbench/v2/notice")):
        with pytest.raises(VerificationError):
            parse_notice(other)
    unsorted = deepcopy(value)
    unsorted["lines"][0]["categories"] = ["phone", "id-no"]
    with pytest.raises(ValueError, match="codes"):
        notice_of(unsorted)


LINE = content()["lines"][0]
CHANGES: list[tuple[str, bool, dict[str, Any]]] = [
    ("purpose", True, {"purpose_text": {"zh": "另一目的", "en": "another purpose"}}),
    ("recipient", True, {"recipient_name": {"zh": "丁银行", "en": "Bank D"}}),
    ("method", True, {"method": {"zh": "另一方式，可退订", "en": "another way"}}),
    ("method", True, {"channels": [*LINE["channels"], "visit"]}),
    ("category", True, {"categories": sorted([*LINE["categories"], "assets"])}),
    ("retention", False, {"retention_days": 400}),
    ("contact", False, {"recipient_contact": "new@bank.example"}),
    ("necessity", False, {"necessity": {"zh": "别的理由", "en": "other reasons"}}),
    ("effect", False, {"effect": {"zh": "别的影响", "en": "other effects"}}),
    ("narrower", False, {"categories": ["phone"]}),
    ("narrower", False, {"channels": []}),
    ("narrower", False, {"retention_days": 30}),
]


def test_a_difference_is_found_and_material_where_the_law_asks_for_new_consent(house: House) -> None:
    for number, (field, material, changed) in enumerate(CHANGES):
        key = f"joint-{number}"
        publish(house, content(), key=key)
        house.time_ms += 1000
        text = first_line(content(), **changed)
        reply = call(house, "notices.lint", notice=key, content=text)
        assert [(one.field, one.material) for one in reply.changes] == [(field, material)]
        assert [one.id for one in reply.changes] == [f"{LINE['purpose']}/{LINE['recipient']}/{field}"]
        assert reply.changes[0].zh and reply.changes[0].en
        assert bool(reply.must_confirm) == material
        if material:
            with pytest.raises(Refused) as refusal:
                call(house, "notices.propose", notice=key, content=text)
            assert refusal.value.code == "MATERIAL_UNCONFIRMED" and refusal.value.details["changes"] == reply.must_confirm[0]
        done = publish(house, text, key=key)
        assert done.confirmed == reply.must_confirm
        assert house.entries("notices.published")[-1]["changes"] == (" ".join(reply.must_confirm) or "none")
        assert [one.field for one in call(house, "notices.compare", notice=key, before=1, after=2).changes] == [field]


def test_people_may_call_more_material_but_never_less_or_what_did_not_change(house: House) -> None:
    publish(house, content())
    text = first_line(content(), retention_days=400)
    retention = f"{LINE['purpose']}/{LINE['recipient']}/retention"
    with pytest.raises(Refused) as refusal:
        publish(house, text, confirm=[f"{LINE['purpose']}/{LINE['recipient']}/method"])
    assert refusal.value.code == "MATERIAL_UNCONFIRMED"
    assert publish(house, text, confirm=[retention]).confirmed == [retention]
    with house.store.read() as reader:
        stale = published.stale_since(published.all_versions(reader, states=published.IN_FORCE))
    assert [(at, one.purpose, one.recipient, one.whole) for at, one in stale["joint", 1]] == [
        (house.time_ms, LINE["purpose"], LINE["recipient"], True)
    ]


def test_a_new_line_needs_new_consent_and_leaves_the_old_lines_alone() -> None:
    before = notice_of({**content(lines=content()["lines"][:1]), "key": "joint", "version": 1, "effective_ms": 5})
    after = notice_of({**content(), "key": "joint", "version": 2, "effective_ms": 6})
    found = changes(before, after)
    assert all(one.material for one in found) and LINE["purpose"] + "/" + LINE["recipient"] not in {f"{one.purpose}/{one.recipient}" for one in found}
    assert {one.field for one in found if one.recipient != LINE["recipient"]} == {"purpose", "recipient"}
    assert [one.field for one in changes(after, before)] == ["narrower"] * 3
    assert staleness(found, []) == []


@settings(max_examples=100, deadline=None)
@given(st.sets(st.sampled_from(["assets", "id-no", "phone", "tags"]), min_size=1), st.sets(st.sampled_from(["assets", "id-no", "phone", "tags"]), min_size=1))
def test_added_categories_are_exactly_what_old_grants_do_not_cover(old: set[str], new: set[str]) -> None:
    base = {**content(lines=[LINE]), "key": "joint", "effective_ms": 5}
    before = notice_of({**first_line(base, categories=sorted(old)), "version": 1})
    after = notice_of({**first_line(base, categories=sorted(new)), "version": 2})
    found: list[Change] = changes(before, after)
    made = staleness(found, [one.id for one in found if one.material])
    assert {code for one in made for code in one.added} == new - old
    assert not any(one.whole for one in made)


def test_retiring_ends_signing_and_keeps_the_version(house: House) -> None:
    publish(house, content())
    assert call(house, "notices.list", offered=True).rows
    done = call(house, "notices.retire", notice="joint", version=1, reason="业务结束，不再签署")
    assert (done.state, done.offered) == ("RETIRED", False) and call(house, "notices.list", offered=True).rows == []
    assert call(house, "notices.get", notice="joint", version=1).digest == done.digest
    assert house.entries("notices.retired")[0]["notice"] == "joint"
    with pytest.raises(Refused):
        call(house, "notices.retire", notice="joint", version=1, reason="再停用一次")


def test_a_version_is_on_offer_only_from_its_time(house: House) -> None:
    publish(house, content(effective_ms=house.time_ms + 86_400_000))
    assert not call(house, "notices.list").rows[0].offered
    house.time_ms += 86_400_000
    assert call(house, "notices.list").rows[0].offered
    with pytest.raises(Refused) as order:
        call(house, "notices.propose", notice="joint", content=first_line(content(effective_ms=5), retention_days=9))
    assert order.value.code == "NOTICE_ORDER"


def test_layers_show_every_choice_by_itself_switched_off_and_as_text(house: House) -> None:
    hostile = '<script>alert(1)</script>"><img src=x onerror=y>'
    text = first_line(content(title={"zh": hostile, "en": hostile}, body={"zh": hostile, "en": hostile}), method={"zh": hostile, "en": hostile})
    publish(house, text)
    for language in ("zh", "en"):
        reply = call(house, "notices.render", notice="joint", language=language)
        assert [(one.purpose, one.recipient) for one in reply.switches] == [(one["purpose"], one["recipient"]) for one in text["lines"]]
        assert not any(one.on for one in reply.switches)
        assert reply.html.count('type="checkbox"') == 4 and "checked" not in reply.html
        assert "<script" not in reply.html and "<img" not in reply.html and "&lt;script&gt;" in reply.html
        assert "http" not in reply.html and "style=" not in reply.html
    assert reply.details[0].rows[0].label.zh == "处理目的" and {one.label.en for one in reply.closing} >= {"How to withdraw", "If you say no"}
    chinese = call(house, "notices.render", notice="joint", language="zh").html
    assert "如何撤回" in chinese and "How to withdraw" not in chinese and reply.digest in chinese


def test_registers_list_what_is_collected_and_shared_under_notices_on_offer(house: House) -> None:
    assert call(house, "notices.registers").shared == []
    publish(house, content())
    reply = call(house, "notices.registers")
    assert {one.category for one in reply.collected} == {"customer-relation", "id-no", "phone"}
    assert [(one.recipient, one.purpose) for one in reply.shared] == [
        ("bank", "investor-education"), ("bank", "wealth-marketing"), ("cardnet", "investor-education"), ("cardnet", "wealth-marketing"),
    ]  # fmt: skip
    assert all(one.recipient_contact and one.categories and one.notices == ["joint@1"] for one in reply.shared)
    call(house, "notices.retire", notice="joint", version=1, reason="业务结束，不再签署")
    assert call(house, "notices.registers").collected == []


def test_an_entrusted_processor_is_never_a_recipient_of_a_notice() -> None:
    notice = notice_of({**content(), "key": "joint", "version": 1, "effective_ms": 5})
    known = lint.Known(
        "broker", {one.purpose for one in notice.lines}, {"phone": True, "id-no": True, "customer-relation": False}, {"call", "push", "sms"},
        {"bank", "cardnet"}, {"cardnet"},
    )  # fmt: skip
    found = lint.lint(notice, known)
    assert {(one.code, one.article) for one in found} == {("RECIPIENT_IS_PROCESSOR", "PIPL 21")}
    silent = notice_of({**content(lines=[{**LINE, "method": {"zh": "比对", "en": "compare"}, "automated": False, "automated_text": {"zh": "", "en": ""}}]), "key": "joint", "version": 1, "effective_ms": 5})
    assert [(one.code, one.level) for one in lint.lint(silent, known) if one.field == "lines[0].channels"] == [("CHANNEL_REFUSAL", "remark")]
    assert PartyId("bank") in known.recipients

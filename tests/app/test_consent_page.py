"""The page Consent: what it says is what the registry decided, and who may see which part of it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import pytest
import workbench_consent
from workbench_consent import lifeline, pages, withdrawing
from workbench_consent.notices import sample
from workbench_consent.grants import Reason
from workbench_consent.pages.centre import ConsentPage
from workbench_consent.pages.capture import Capture
from workbench_consent.pages.coverage import Coverage
from workbench_consent.pages.customer import CHIPS, Customer
from workbench_consent.pages.erasures import Erasures
from workbench_consent.pages import forms
from workbench_consent.pages.notices import Notices
from workbench_consent.pages.receipts import Receipts
from workbench_consent.pages.withdrawals import WHO, ContactStops, Withdrawals

from tests.app.desk import LANGUAGES, Desk
from tests.flows import population
from tests.flows.institutions import Institutions, fresh_institutions
from workbench.app import parts
from workbench.app.page import PageContext, SilentSurroundings
from workbench.app.parts.acting import Acting, words_of
from workbench.app.texts import texts_of
from workbench.domain.party import Role
from workbench.node.erasure_operations import ERASURE_OPERATIONS
from workbench.node.withdrawals import WITHDRAWAL_OPERATIONS

T = TypeVar("T")


@pytest.fixture(scope="module")
def house() -> Iterator[Institutions]:
    with fresh_institutions() as made:
        yield made


def opened(house: Institutions, role: Role, lang: str = "zh", **params: str) -> tuple[ConsentPage, SilentSurroundings]:
    desk, around = Desk(house, "broker", role), SilentSurroundings()
    page = PageContext(
        client=desk,  # type: ignore[arg-type]
        me=desk.call("people.me"), package="workbench_consent", params=params, lang=lang, surroundings=around,
    )  # fmt: skip
    made = ConsentPage(page)
    asyncio.run(made.open())
    return made, around


def naive(purpose: str, recipient: str) -> int:
    """Customers of the broker's list who may be used, by the plain model; somebody listed twice counts once."""
    return len(population.usable("broker", recipient, purpose))


@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_answer_and_the_matrix_say_what_the_rule_says(house: Institutions, lang: str) -> None:
    made, _ = opened(house, Role.COMPLIANCE, lang)
    coverage = made.coverage
    shown = {row["id"]: row["usable"] for row in coverage.matrix.rows}
    for recipient in ("bank", "cardnet"):
        assert shown[f"{population.RICH}|{recipient}"] == naive(population.RICH, recipient)
    coverage._choose(f"{population.RICH}|bank")
    assert str(naive(population.RICH, "bank")) in made.strip.sentence
    last = coverage.reasons.rows[-1]
    assert last["kept"] + last["removed"] == coverage.coverage["customers"] and last["kept"] == naive(population.RICH, "bank")
    assert sum(bar["count"] for bar in coverage.bars.bars) + coverage.ends()["later"] == last["kept"]


def test_marketing_sees_coverage_and_may_look_up_nobody(house: Institutions) -> None:
    made, _ = opened(house, Role.MARKETING, section="customer")
    assert [type(one) for one in made.sections] == [Coverage, Capture, ContactStops, Notices] and not made.coverage.renew.visible
    notices = made.sections[-1]
    asyncio.run(notices.show())
    assert not notices.write.visible and not notices.propose.visible
    compliance, _ = opened(house, Role.COMPLIANCE)
    assert [type(one) for one in compliance.sections][:2] == [Coverage, Customer]


def test_a_list_of_renewals_is_taken_as_a_file_and_told_in_the_answer(house: Institutions) -> None:
    made, around = opened(house, Role.COMPLIANCE)
    made.coverage._choose(f"{population.RICH}|bank")
    asyncio.run(made.coverage._list_renewals())
    [download] = [told for name, told in around.asked if name == "download"]
    content = made.page.client.download(download).decode("utf-8-sig")
    assert content.startswith("customer_id,reason,ends_on") and population.phone(63) not in content
    assert str(content.count("\n") - 1) in made.strip.todo


@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_customers_line_is_told_newest_first_without_the_identifier(house: Institutions, lang: str) -> None:
    made, _ = opened(house, Role.COMPLIANCE, lang, section="customer")
    section = next(one for one in made.sections if isinstance(one, Customer))
    section.phone.value = population.phone(99)
    asyncio.run(section._look())
    rows = section.table.rows
    assert rows and section.table.state == "done"
    times = [row["at"] for row in rows if row["at"]]
    assert times == sorted(times, reverse=True)
    assert population.phone(99) not in str(rows) and population.id_no(99) not in str(rows)


def section_of(made: ConsentPage, kind: type[T]) -> T:
    return next(one for one in made.sections if isinstance(one, kind))


@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_withdrawal_is_confirmed_by_password_and_shows_who_has_to_answer(house: Institutions, lang: str) -> None:
    house.run("broker", "bank", population.RICH)
    made, _ = opened(house, Role.COMPLIANCE, lang, section="withdrawals")
    section = section_of(made, Withdrawals)
    person = 62 if lang == "zh" else 64
    section.phone.value, section.recipient.value = population.phone(person), "bank"
    asyncio.run(section._record())
    [(operation, request)] = made.page.client.prepared
    assert operation == "consent.withdraw" and request["recipient"] == "bank" and request["by"] == "subject"
    reply = house.call("broker", Role.COMPLIANCE, "consent.withdraw", **request)
    asyncio.run(section._recorded("done", reply.model_dump()))
    mine = f"{reply.event}/"  # rows of this withdrawal: another one of this house may have been answered long ago

    def answered() -> bool:
        asyncio.run(section._again())
        return any(row["id"].startswith(mine) and row["state"]["state"] == "sealed" for row in section.table.rows)

    house.wait_until(answered)
    assert section.phone.value == "" and population.phone(person) not in str(section.table.rows)
    newest = section.table.rows[0]
    assert newest["id"].startswith(mine) and newest["partner"]["tile"] == "乙" and newest["state"]["state"] == "sealed"


def test_the_editor_names_what_is_missing_and_proposes_only_what_is_complete(house: Institutions) -> None:
    made, _ = opened(house, Role.COMPLIANCE, section="notices")
    section = section_of(made, Notices)
    section.key.value = "page-test"
    asyncio.run(section._write())
    assert section.propose.disabled and "PIPL 17" in section.findings.blocks
    section.form.fill(sample.content("broker", {party: (zh, en) for party, zh, en in made.page.me["parties"]}))
    section.form._at = 0
    section.form._show_line()
    section.form.recipient_contact.value = ""
    asyncio.run(section._check(save=True))
    assert section.propose.disabled and "PIPL 23" in section.findings.blocks
    section.form.recipient_contact.value = "privacy@bank.example"
    asyncio.run(section._check(save=True))
    assert not section.propose.disabled, section.findings.blocks
    section.confirm.value = list(section.confirm.options.values())
    asyncio.run(section._propose())
    [row] = [one for one in section.table.rows if one["id"] == "page-test/1"]
    assert row["can"] == ["show", "publish", "reject"] and row["state"]["state"] == "pending"
    asyncio.run(section._act("page-test/1", "publish"))
    assert made.page.client.prepared[-1][0] == "notices.publish"
    asyncio.run(section._act("page-test/1", "show"))
    assert "甲证券" in section.preview.blocks


def test_every_key_the_page_asks_for_exists_and_every_code_has_words() -> None:
    known = texts_of("workbench_consent")["zh"].keys()
    asked = set()
    for path in [*Path(str(pages.__path__[0])).glob("*.py"), *Path(parts.__file__).parent.glob("*.py")]:
        source = path.read_text("utf-8")
        asked |= set(re.findall(r'\bt\(\s*"([a-z_]+\.[\w-]+)"', source)) | set(re.findall(r'(?:label|button|select|field)\([^"()]*"([a-z_]+\.\w+)"', source))
    assert len(asked) > 40 and asked <= known, asked - known
    wanted = {f"reason.{one.code}" for one in Reason if one.code} | {f"step.{one}" for one in CHIPS}
    wanted |= {f"actor.{one}" for one in WHO} | {f"ack.{one}" for one in ("waiting", "acknowledged", "overdue", "refused", "none", "searching")}
    wanted |= {f"notice_state.{one}" for one in ("PROPOSED", "PUBLISHED", "REJECTED", "RETIRED")}
    assert wanted <= known, wanted - known
    assert set(WHO) == set(withdrawing.WHO)
    assert {*lifeline.STEPS.values(), "withdrawal", "other"} <= CHIPS.keys()


def test_a_change_of_language_keeps_what_was_chosen(house: Institutions) -> None:
    made, _ = opened(house, Role.COMPLIANCE)
    made.coverage._choose(f"{population.RICH}|cardnet")
    made.page.lang = "en"
    assert made.coverage.chosen == (population.RICH, "cardnet")
    assert "customers may be used" in made.strip.sentence and made.choice.value == "coverage"
    assert set(made.choice.options) >= {"Coverage", "Look up a customer"}


def acted(section_acting: Acting, operation: str, **values: object) -> None:
    """Fill in the form of an act and do it."""
    if section_acting.chosen is None:
        asyncio.run(section_acting.open(operation))
    for name, value in values.items():
        section_acting.fields[name].value = value
    asyncio.run(section_acting.do())


@pytest.mark.parametrize("lang", LANGUAGES)
def test_whether_a_customer_may_be_used_is_answered_with_rule_and_record(house: Institutions, lang: str) -> None:
    made, _ = opened(house, Role.COMPLIANCE, lang, section="customer")
    section = section_of(made, Customer)
    person = 99
    section.phone.value, section.id_no.value = population.phone(person), population.id_no(person)
    assert not section.acting.root.visible, "about nobody, nothing can be asked"
    asyncio.run(section._look())
    section.phone.value = population.phone(1)  # typed afterwards: the answer is about the person whose line is shown
    for recipient in ("bank", "cardnet"):
        acted(section.acting, "consent.decide", purpose=population.RICH, recipient=recipient)
        request = {"phone": population.phone(person), "id_no": population.id_no(person), "purpose": population.RICH, "recipient": recipient}
        verdict = house.call("broker", Role.COMPLIANCE, "consent.decide", **request)
        assert section.verdict is not None and section.verdict["code"] == verdict.code
        assert verdict.rule in section.answer.blocks and (verdict.zh if lang == "zh" else verdict.en) in section.answer.blocks
    assert population.phone(person) not in section.answer.blocks


def test_a_receipt_is_issued_for_the_person_looked_at_and_each_file_is_taken_once(house: Institutions) -> None:
    made, around = opened(house, Role.COMPLIANCE, section="customer")
    section = section_of(made, Customer)
    person = next(one for one in range(200) if population.phone(one) and _has_grant(house, one))
    section.phone.value = population.phone(person)
    asyncio.run(section._look())
    acted(section.acting, "consent.receipt", purpose=population.RICH, recipient="bank")
    reply = section.receipt.reply
    assert reply is not None, section.acting.told.told()
    for _ in range(2):
        section.receipt._take("json_file")
    [taken] = [told for name, told in around.asked if name == "download"]
    assert reply["receipt_id"].encode() in made.page.client.download(taken)
    listed = section_of(made, Receipts)
    asyncio.run(listed.show())
    assert listed.table.rows[0]["receipts"] == 1
    acted(listed.acting, "consent.receipt_status", receipt_id=reply["receipt_id"])
    assert reply["receipt_id"] in listed.told.blocks and population.phone(person) not in listed.told.blocks + section.receipt.told.blocks


def _has_grant(house: Institutions, person: int) -> bool:
    request = {"phone": population.phone(person), "purpose": population.RICH, "recipient": "bank"}
    return bool(house.call("broker", Role.COMPLIANCE, "consent.decide", **request).usable)


def test_a_question_gives_its_link_once_and_backdating_waits_for_somebody_else(house: Institutions) -> None:
    made, _ = opened(house, Role.COMPLIANCE, section="capture")
    section = section_of(made, Capture)
    asked = {"phone": "10000000001", "notice": "", "place": "counter", "identity": "document seen", "purpose": population.RICH}
    acted(section.acting, "consent.ask", **asked, until="2000-01-01", recipients=["bank"])
    assert section.done is None and "INVALID_REQUEST" in section.acting.told.blocks, "a refusal stands beside what was typed"
    until = str(house.nodes["broker"].today().replace(year=house.nodes["broker"].today().year + 1, day=1))
    acted(section.acting, "consent.ask", **asked, until=until, recipients=["bank"])
    assert "/p/sign/" in section.told.blocks, section.acting.told.told()
    assert section.funnel is not None and section.funnel["served"] == 1
    acted(section.acting, "consent.backdating_propose", earliest="2026-01-01", most=3, reason="forms of a roadshow, signed on paper")
    [row] = section.backdatings.rows
    assert row["can"] == [] and "/p/sign/" not in section.told.blocks
    theirs, _ = opened(house, Role.APPROVER, section="capture")
    other = section_of(theirs, Capture)
    assert other.backdatings.rows[0]["can"] == ["approve"]
    asyncio.run(other._approve(str(row["id"])))
    assert theirs.page.client.prepared[-1] == ("consent.backdating_approve", {"proposal": row["id"]})


def test_every_word_of_the_forms_exists_and_passwords_are_asked_for_where_the_node_asks() -> None:
    known = texts_of("workbench_consent")["zh"].keys()
    assert words_of(forms.ALL_ACTS) <= known, words_of(forms.ALL_ACTS) - known
    told = {one.name: one for one in (*workbench_consent.workbench_operations(), *ERASURE_OPERATIONS, *WITHDRAWAL_OPERATIONS)}
    assert all(one.password == told[one.operation].fresh_password for one in forms.ALL_ACTS)


def test_an_erased_customer_leaves_a_report_and_nothing_about_them_on_the_page(house: Institutions) -> None:
    made, _ = opened(house, Role.COMPLIANCE, section="customer")
    section = section_of(made, Customer)
    person = next(one for one in range(150, 400) if population.phone(one) and _has_grant(house, one))
    section.phone.value, section.id_no.value = population.phone(person), population.id_no(person)
    asyncio.run(section._look())
    acted(section.acting, "consent.opt_out", what=["sms"], reason="不愿收短信")
    assert section.line is not None and "consent.opted_out" in str(section.line["events"]), section.acting.told.told()
    acted(section.acting, "customers.erase", by="subject", reason="客户书面申请")
    operation, request = made.page.client.prepared[-1]
    reply = made.page.client.call(operation, **request)
    asyncio.run(section.acting._confirmed(section.acting.acts[operation], "done", reply))
    assert section.line is None and section.phone.value == "" and not section.acting.root.visible and section.table.rows == []
    listed = section_of(made, Erasures)
    asyncio.run(listed.show())
    [row] = [one for one in listed.table.rows if one["id"] == reply["request"]]
    assert row["erased"] and row["left"] == 0 and row["state"]["state"] == "sealed" and row["can"] == []
    listed.look_at(row["id"])
    assert sum(one["erased"] for one in listed.report.rows) == row["erased"] and {one["owner"] for one in listed.report.rows} >= {"consent", "lists"}
    shown = str([listed.table.rows, listed.report.rows, listed.set_aside.rows, listed.told.blocks])
    assert population.phone(person) not in shown and population.id_no(person) not in shown

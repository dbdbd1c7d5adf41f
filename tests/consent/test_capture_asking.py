"""Asking for consent: a link that serves one decision, refusal with a cool-down, staff's captures; docs/protocols/capture.md 3 to 8."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from captured_files import pdf
from consent_house import House, beijing_ms, identity_number, phone_number
from test_notices import content, publish
from workbench_consent.capture import asking, backdating, erasing, operations, people, records
from workbench_consent.capture.ending import EndsQuestions
from workbench_consent.capture.page import public_page
from workbench_consent.capture.people import DAY_MS, Offer

from workbench.crypto import canonical, sm3
from workbench.domain.erasure import Customer, ErasureRequest, Stage
from workbench.errors import InvalidRequest, NotFound, WorkbenchError

UNTIL = beijing_ms("2027-06-02")
BANK, CARDNET = (Offer("wealth-marketing", one, UNTIL) for one in ("bank", "cardnet"))


def ask(house: House, number: int = 1, offers: Iterable[Offer] = (BANK, CARDNET), *, way: str = "page") -> tuple[str, str]:
    asked, secret, _ = asking.ask(
        house, house.registry, phone=phone_number(number), id_no=identity_number(number), offers=list(offers), notice="", way=way,
        place="静安营业部", identity="身份证原件，柜台核对", method="page", actor="t-chen",
    )  # fmt: skip
    return asked, secret


def page(house: House) -> Any:
    return public_page(house, house.registry)


def agree(house: House, secret: str, *offers: Offer) -> Any:
    return page(house).answer(secret, {"decision": ["yes"], **{one.name: ["on"] for one in offers}}, "zh")


def code_of(work: Any) -> str:
    with pytest.raises(WorkbenchError) as refused:
        work()
    return refused.value.code


def test_agreeing_to_one_of_two_gives_one_grant_and_leaves_the_rest_alone(house: House) -> None:
    asked, secret = ask(house)
    house.time_ms += 60_000
    page(house).show(secret, "zh")
    house.time_ms += 60_000
    answer = agree(house, secret, BANK)
    assert "同意了 1 项" in answer.body
    state = house.registry.state()
    assert [(term.purpose, term.recipient) for term in state.terms] == [("wealth-marketing", "bank")]
    assert (int(state.grants.from_ms[0]), int(state.grants.until_ms[0])) == (house.time_ms, UNTIL)
    assert (state.terms[0].conditions.method, state.terms[0].conditions.signer) == ("click", "self")
    form = house.registry.form(1)
    told = canonical.parse_object(form[:-1])
    assert (told["ask"], told["agreed"], told["declined"]) == (
        asked, [{"purpose": "wealth-marketing", "recipient": "bank", "until_ms": UNTIL}],
        [{"purpose": "wealth-marketing", "recipient": "cardnet", "until_ms": UNTIL}],
    )  # fmt: skip
    assert (told["shown_ms"], told["signed_ms"]) == (house.time_ms - 60_000, house.time_ms)
    assert "随时可以撤回" in str(told["offered"])
    kinds = [entry for kind in ("consent.asked", "consent.opened", "consent.signed") for entry in house.entries(kind)]
    assert [entry["ask"] for entry in kinds] == [asked] * 3
    assert kinds[2]["form"] == sm3.digest(form).hex()
    assert code_of(lambda: ask(house, 1, [CARDNET])) == "ASKED_TOO_SOON"


def test_under_a_notice_the_page_shows_its_layers_and_the_grant_keeps_what_it_told(house: House) -> None:
    published = publish(house, content())
    name = f"joint@{published.version}"
    operation = next(one for one in operations.OPERATIONS if one.name == "consent.ask")
    about = {"phone": phone_number(1), "place": "静安营业部", "identity": "身份证原件"}
    offers = [{"purpose": "wealth-marketing", "recipient": one, "until": "2027-06-01"} for one in ("bank", "cardnet")]
    for missing, code in ((f"joint@{published.version + 1}", "NO_NOTICE"), ("joint", "NO_NOTICE")):
        request = operation.request(notice=missing, offers=offers, **about)
        assert code_of(lambda request=request: operation.run(house.context(), request)) == code
    other = [{"purpose": "customer-service", "recipient": "bank", "until": "2027-06-01"}]
    request = operation.request(notice=name, offers=other, **about)
    assert code_of(lambda: operation.run(house.context(), request)) == "NOTICE_LINE_MISSING"
    house.time_ms += 30 * DAY_MS
    reply = operation.run(house.context(), operation.request(notice=name, offers=offers, **about))
    secret = reply.path.rpartition("/")[2]
    body = page(house).show(secret, "zh").body
    assert re.findall(r'<input type="checkbox" name="([^"]*)">', body) == ["wealth-marketing/bank", "wealth-marketing/cardnet"]
    assert published.digest in body
    assert "<details" in body
    agree(house, secret, CARDNET)
    conditions = house.registry.state().terms[0].conditions
    assert (conditions.notice, conditions.notice_digest, conditions.separate) == (name, published.digest, True)
    assert "phone" in conditions.categories
    told = canonical.parse_object(house.registry.form(1)[:-1])
    assert told["notice"] == {"digest": published.digest, "key": "joint", "version": str(published.version)}
    assert repr(reply).count(secret) == 0


def test_nothing_is_pre_set_and_declining_is_as_easy_as_agreeing(house: House) -> None:
    _, secret = ask(house)
    for language in ("zh", "en"):
        body = page(house).show(secret, language).body
        boxes = re.findall(r"<input [^>]*>", body)
        assert len(boxes) == 2
        assert not any("checked" in one or "disabled" in one for one in boxes)
        buttons = re.findall(r"<button([^>]*)>", body)
        assert [re.sub(r'value="\w+"', "", one) for one in buttons] == [' name="decision" '] * 2
        assert "<script" not in body
        assert "style=" not in body
        assert phone_number(1) not in body
    style = page(house).style
    rules = re.findall(r"([^{}]*button[^{}]*)\{", style)
    assert all("value" not in rule and "nth" not in rule and "first" not in rule for rule in rules)


def test_each_state_takes_what_it_may_and_nothing_else(house: House) -> None:
    """docs/protocols/capture.md section 3: the table of states, row by row, and every forbidden step."""
    after: Mapping[str, Any] = {
        "SIGNED": lambda secret, asked: agree(house, secret, BANK),
        "REFUSED": lambda secret, asked: page(house).answer(secret, {"decision": ["no"]}, "zh"),
        "CANCELLED": lambda secret, asked: asking.take_back(house, asked, actor="t-li"),
    }
    for number, (state, step) in enumerate(after.items(), start=1):
        for opened in (False, True):
            asked, secret = ask(house, 10 * number + opened)
            if opened:
                page(house).show(secret, "en")
            step(secret, asked)
            with house.store.read() as reader:
                assert asking.find(reader, secret).state == state
            for again in after.values():
                assert code_of(lambda again=again, secret=secret, asked=asked: again(secret, asked)) == "LINK_USED"
            assert code_of(lambda secret=secret: page(house).show(secret, "zh")) == "LINK_USED"
    assert len(house.registry.state().grants) == 2
    assert len(house.entries("consent.refused")) == 2


def test_agreeing_to_nothing_or_to_what_was_not_asked_changes_nothing(house: House) -> None:
    _, secret = ask(house, 1, [BANK])
    for fields in ({"decision": ["yes"]}, {}, {"decision": ["yes"], "investor-education/bank": ["on"]}):
        answer = page(house).answer(secret, fields, "zh")
        assert (answer.status, "还没有选择任何一项" in answer.body, 'name="decision" value="no"' in answer.body) == (422, True, True)
    for chosen in ((), ("investor-education/bank", BANK.name)):
        refused = lambda chosen=chosen: asking.agree(house, house.registry, secret, chosen, offered="", notice_digest="", said={})  # noqa: E731
        assert code_of(refused) == "NOTHING_CHOSEN"
    assert house.entries("consent.imported") == []
    assert code_of(lambda: page(house).show("A" * 43, "zh")) == "NO_LINK"
    assert code_of(lambda: agree(house, secret + "A", BANK)) == "NO_LINK"
    agree(house, secret, BANK)
    assert len(house.entries("consent.imported")) == 1


def test_a_refusal_cools_down_to_the_last_moment_and_for_what_was_refused_alone(house: House) -> None:
    _, secret = ask(house, 1, [BANK])
    page(house).answer(secret, {"decision": ["no"]}, "zh")
    refused_ms = house.time_ms
    ask(house, 1, [CARDNET])
    ask(house, 2, [BANK])
    house.time_ms = refused_ms + 180 * DAY_MS - 1
    assert code_of(lambda: ask(house, 1, [BANK])) == "ASKED_TOO_SOON"
    by_phone = lambda: asking.ask(  # noqa: E731  asked like the others below
        house, house.registry, phone=phone_number(1), id_no=None, offers=[BANK], notice="", way="page", place="x", identity="x", method="page",
        actor="t",
    )  # fmt: skip
    assert code_of(by_phone) == "ASKED_TOO_SOON"
    house.time_ms += 1
    ask(house, 1, [BANK])


def test_a_link_ends_with_its_time_and_nothing_of_the_person_stays_in_clear(house: House) -> None:
    asked, secret = ask(house)
    with house.store.read() as reader:
        assert house.vault.names(reader, "capture/") == [f"capture/{asked}"]
        dump = "\n".join(str(tuple(row)) for row in reader.execute("SELECT * FROM consent_capture_ask"))
    for clear in (phone_number(1), identity_number(1), secret):
        assert clear not in dump
        assert clear.encode() not in b"".join(house.ledger.bodies)
    house.time_ms += 72 * 3_600_000
    for step in (lambda: page(house).show(secret, "zh"), lambda: agree(house, secret, BANK)):
        assert code_of(step) == "LINK_EXPIRED"
    ends = EndsQuestions(house)
    assert [ends.look(), ends.look()] == [1, 0]
    with house.store.read() as reader:
        assert house.vault.names(reader, "capture/") == []
        assert asking.totals(reader) == {"served": 1, "opened": 0, "signed": 0, "refused": 0, "expired": 1, "cancelled": 0}
    assert [(one["ask"], one["state"]) for one in house.entries("consent.ask_closed")] == [(asked, "EXPIRED")]
    _, other = ask(house, 5)
    agree(house, other, BANK)
    with house.store.read() as reader:
        assert house.vault.names(reader, "capture/") == []


def test_the_funnel_counts_what_became_of_every_question(house: House) -> None:
    secrets = [ask(house, number, [BANK], way="assisted" if number > 3 else "page")[1] for number in range(1, 7)]
    for secret in secrets[:5]:
        page(house).show(secret, "zh")
    agree(house, secrets[0], BANK)
    agree(house, secrets[4], BANK)
    page(house).answer(secrets[1], {"decision": ["no"]}, "zh")
    reply = operations.OPERATIONS[2].run(house.context(), operations.OPERATIONS[2].request())
    assert reply.model_dump(exclude={"rows"}) == {"served": 6, "opened": 5, "signed": 2, "refused": 1, "expired": 0, "cancelled": 0}
    rows = {row.way: (row.served, row.opened, row.signed, row.refused) for row in reply.rows}
    assert rows == {"page": (3, 3, 1, 1), "assisted": (3, 2, 1, 0)}


def test_somebody_who_left_is_not_asked(house: House) -> None:
    house.registry.withdraw(phone=phone_number(1), purpose="wealth-marketing", recipient="bank")
    assert code_of(lambda: ask(house, 1, [BANK])) == "CUSTOMER_KEPT_OUT"
    _, secret = ask(house, 1, [CARDNET])
    house.registry.withdraw(phone=phone_number(1))
    assert code_of(lambda: agree(house, secret, CARDNET)) == "CAPTURE_NOTHING_NEW"
    with house.store.read() as reader:
        assert asking.find(reader, secret).state == "SERVED"
    assert house.entries("consent.signed") == []


def capture(house: House, number: int = 1, form: bytes = b"", **options: Any) -> Any:
    (house.folder / "upload").write_bytes(form or pdf(str(number)))
    named = {"phone": phone_number(number), "id_no": identity_number(number), "file": "upload", "method": "wet-scan", "place": "静安营业部"}
    offers = [{"purpose": "wealth-marketing", "recipient": "bank", "until": "2027-06-01"}]
    operation = next(one for one in operations.OPERATIONS if one.name == "consent.capture")
    request = operation.request(**{**named, "offers": offers, "identity": "身份证原件", **options})
    return operation.run(house.context(), request)


def test_a_scanned_form_is_kept_with_who_and_where(house: House) -> None:
    reply = capture(house, method="otp-stated", initiative="customer")
    assert (reply.grants, reply.event, reply.form) == (1, 1, sm3.digest(pdf("1")).hex())
    assert house.registry.form(1) == pdf("1")
    entry = house.entries("consent.captured")[0]
    assert (entry["place"], entry["method"], entry["initiative"], entry["proposal"]) == ("静安营业部", "otp-stated", "customer", "")
    body = canonical.parse_object(house.ledger.bodies[-1])
    assert (body["actor"], body["shared"]) == ("t-chen", {})
    assert not (house.folder / "upload").exists()


def test_forms_that_are_none_and_dates_that_are_past_are_refused(house: House) -> None:
    assert code_of(lambda: capture(house, form=pdf()[:-9])) == "FORM_DAMAGED"
    assert code_of(lambda: capture(house, form=b"hello")) == "FORM_TYPE"
    assert code_of(lambda: capture(house, name="form.png")) == "FORM_TYPE"
    assert code_of(lambda: capture(house, begins="2026-05-31")) == "BACKDATED"
    for bad in ({"phone": "", "id_no": ""}, {"offers": [{"purpose": "wealth-marketing", "recipient": "bank", "until": "2026-05-01"}]}):
        with pytest.raises(InvalidRequest):
            capture(house, **bad)  # type: ignore[arg-type]
    assert house.entries("consent.captured") == house.entries("consent.imported") == []
    assert capture(house, form=b"RIFF....WAVE", method="voice").grants == 1


def test_a_backdated_form_names_its_approval_and_spends_it(house: House) -> None:
    propose, approve = (
        next(one for one in operations.OPERATIONS if one.name == f"consent.backdating_{name}") for name in ("propose", "approve")
    )
    made = propose.run(house.context(), propose.request(earliest="2026-05-20", most=1, reason="网点漏录，表单日期为五月二十日"))
    assert (made.state, made.mine) == ("WAITING", True)
    assert code_of(lambda: approve.run(house.context(), approve.request(proposal=made.proposal))) == "SELF_APPROVAL"
    house.store.write(lambda tx: backdating.approve(tx, house, made.proposal, actor="t-li"))
    assert capture(house, begins="2026-05-20", backdating=made.proposal).grants == 1
    assert house.entries("consent.captured")[0]["proposal"] == made.proposal
    assert code_of(lambda: capture(house, 2, begins="2026-05-20", backdating=made.proposal)) == "BACKDATED"
    assert fresh_password_operations() == ["consent.backdating_approve"]


def fresh_password_operations() -> list[str]:
    return [one.name for one in operations.OPERATIONS if one.fresh_password]


def test_staff_may_not_ask_again_by_paper_and_the_customer_may_come(house: House) -> None:
    _, secret = ask(house, 1, [BANK])
    page(house).answer(secret, {"decision": ["no"]}, "zh")
    assert code_of(lambda: capture(house)) == "ASKED_TOO_SOON"
    assert capture(house, initiative="customer").grants == 1


def test_an_erasure_forgets_questions_and_refusals(house: House) -> None:
    _, first = ask(house, 1, [BANK])
    page(house).answer(first, {"decision": ["no"]}, "zh")
    _, open_link = ask(house, 1, [CARDNET])
    ask(house, 2, [BANK])
    names = tuple(house.registry.evidence_names(phone=phone_number(1), id_no=identity_number(1)))
    request = ErasureRequest("E-1", Stage.RESTRICT, Customer(names), "t-chen")
    finding = erasing.erase(house, request)[0]
    assert (finding.found, finding.erased) == (3, 3)
    assert erasing.erase(house, request)[0].found == 0
    assert code_of(lambda: page(house).show(open_link, "zh")) == "NO_LINK"
    with house.store.read() as reader:
        assert people.cooling_until(reader, house, house.registry.subject(phone_number(1), None), [BANK]) == {}
        assert len(house.vault.names(reader, "capture/")) == 1


def test_who_asks_for_everything_is_told_of_questions_refusals_and_receipts(house: House) -> None:
    _, secret = ask(house, 1)
    agree(house, secret, BANK)
    ask(house, 2)
    house.store.write(
        lambda tx: tx.execute(
            "INSERT INTO consent_receipt_batch VALUES (1, 5, 0, 1, 2, x'00', ?, ?)", (b"\x01" * 16 + b"\x02" * 16, b"\x09" + bytes(7) + b"\x01" + bytes(7))
        )
    )
    names = house.registry.evidence_names(phone=phone_number(1), id_no=identity_number(1))
    found = records.records(house, house.registry.state(), names)
    assert [(one.kind, one.values.get("state") or one.values.get("recipient") or one.values["receipt_id"]) for one in found] == [
        ("consent.question", "SIGNED"), ("consent.refusal", "cardnet"), ("consent.receipt", "CR-" + "02" * 16),
    ]  # fmt: skip
    assert records.records(house, house.registry.state(), []) == []


def test_a_proposal_that_is_none_is_not_found(house: House) -> None:
    with house.store.read() as reader, pytest.raises(NotFound):
        backdating.read(reader, "B-0")

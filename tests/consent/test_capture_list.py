"""Questions one by one, refusals told to staff, and what a restore from an older copy leaves of both; docs/protocols/capture.md 3, 7."""

from __future__ import annotations

from typing import Any

import pytest
from consent_house import House, identity_number, phone_number
from test_capture_asking import BANK, CARDNET, agree, ask, capture, code_of, page
from workbench_consent import replaying
from workbench_consent.capture import asked, asking, recovering
from workbench_consent.capture.people import DAY_MS

from workbench.domain.envelope import parse_envelope
from workbench.domain.evidence import RestoredEntry
from workbench.errors import NotFound, VerificationError

BY_NAME = {one.name: one for one in (*asked.OPERATIONS, *replaying.REPLAY_OPERATIONS)}


def call(house: House, operation: str, **request: Any) -> Any:
    return BY_NAME[operation].run(house.context(), BY_NAME[operation].request(**request))


def test_every_question_is_listed_by_page_with_its_state_and_masked(house: House) -> None:
    made = []
    for number in range(1, 8):
        made.append(ask(house, number, [BANK, CARDNET]))
        house.time_ms += 1000
    page(house).show(made[1][1], "zh")
    agree(house, made[2][1], BANK)
    page(house).answer(made[3][1], {"decision": ["no"]}, "zh")
    asking.take_back(house, made[4][0], actor="t-li")
    first = call(house, "consent.asked", limit=3)
    second = call(house, "consent.asked", limit=3, before=first.next)
    third = call(house, "consent.asked", limit=3, before=second.next)
    assert [one.ask for one in (*first.questions, *second.questions, *third.questions)] == [number for number, _ in reversed(made)]
    assert (first.total, third.next, len(third.questions)) == (7, "", 1)
    states = {one.ask: one.state for one in call(house, "consent.asked").questions}
    assert [states[number] for number, _ in made] == ["SERVED", "OPENED", "SIGNED", "REFUSED", "CANCELLED", "SERVED", "SERVED"]
    told = {one.ask: one for one in call(house, "consent.asked").questions}
    waiting, refused, signed = (told[made[at][0]] for at in (0, 3, 2))
    assert (waiting.phone, waiting.id_no[-4:]) == (f"{phone_number(1)[:3]}****{phone_number(1)[-4:]}", identity_number(1)[-4:])
    assert refused.phone.endswith("…"), "the identifiers of a closed question are destroyed"
    assert refused.cool_down_until_ms == refused.closed_ms + 180 * DAY_MS
    assert [(offer.recipient, offer.cool_down_until_ms > 0) for offer in signed.offers] == [("bank", False), ("cardnet", True)]
    assert (signed.agreed, waiting.cool_down_until_ms, waiting.asked_by) == (1, 0, "t-chen")
    text = call(house, "consent.asked").model_dump_json()
    assert not [number for number in range(1, 8) if phone_number(number) in text or identity_number(number) in text]


def test_questions_are_found_by_state_and_by_person(house: House) -> None:
    _, secret = ask(house, 1, [BANK])
    page(house).answer(secret, {"decision": ["no"]}, "zh")
    house.time_ms += 1
    ask(house, 1, [CARDNET])
    late, _ = ask(house, 2, [BANK])
    assert [one.state for one in call(house, "consent.asked", phone=phone_number(1)).questions] == ["SERVED", "REFUSED"]
    assert call(house, "consent.asked", id_no=identity_number(2)).total == 1
    assert [one.state for one in call(house, "consent.asked", state="COOLING").questions] == ["REFUSED"]
    house.time_ms += 72 * 3_600_000
    assert {one.ask: one.state for one in call(house, "consent.asked", state="EXPIRED").questions}[late] == "EXPIRED", "before it is swept"
    assert call(house, "consent.asked", state="SERVED").total == 0
    house.time_ms += 180 * DAY_MS
    assert call(house, "consent.asked", state="COOLING").questions == []


def test_who_declines_before_staff_is_not_asked_again(house: House) -> None:
    declined = [{"purpose": "wealth-marketing", "recipient": "bank"}]
    reply = call(house, "consent.refusal_note", phone=phone_number(1), declined=declined, place="静安营业部", identity="来电核对")
    assert reply.cool_down_until_ms == house.time_ms + 180 * DAY_MS
    assert code_of(lambda: ask(house, 1, [BANK])) == "ASKED_TOO_SOON"
    ask(house, 1, [CARDNET])
    assert capture(house, initiative="customer").grants == 1
    entry = house.entries("consent.refused")[0]
    assert (entry["ask"], entry["scope"], entry["place"]) == (reply.ask, "wealth-marketing/bank", "静安营业部")
    with house.store.read() as reader:
        assert asking.totals(reader)["refused"] == 1
    assert code_of(lambda: call(house, "consent.refusal_note", phone=phone_number(1), declined=[{"purpose": "x-y", "recipient": "bank"}], place="xx", identity="xx")) == "UNKNOWN_PURPOSE"


# ---- after a restore from an older copy


def restored(house: House, kind: str, **shared: str) -> RestoredEntry:
    """The newest entry of a kind as it comes back from a mirror: shared fields only."""
    index, body = [(at, parse_envelope(body)) for at, body in enumerate(house.ledger.bodies) if parse_envelope(body).kind == kind][-1]
    return RestoredEntry(index, kind, body.time_ms, "", body.actor, {**body.shared, **shared}, tuple(body.committed))


def older(house: House, number: str, known: bytes) -> None:
    """The tables as they were before the question ended."""

    def change(tx: Any) -> None:
        tx.execute("UPDATE consent_capture_ask SET state = 'SERVED', closed_ms = NULL, agreed = 0 WHERE ask = ?", (number,))
        tx.execute("DELETE FROM consent_capture_refusal")
        house.vault.put(tx, f"capture/{number}", known)

    house.store.write(change)


def waiting_object(house: House, number: str) -> bytes:
    with house.store.read() as reader:
        return house.vault.get(reader, f"capture/{number}")


@pytest.mark.parametrize("way", ["refused", "signed"])
def test_a_refusal_after_the_copy_still_keeps_from_asking_and_its_link_is_dead(house: House, way: str) -> None:
    number, secret = ask(house, 1, [BANK, CARDNET])
    known = waiting_object(house, number)
    if way == "refused":
        page(house).answer(secret, {"decision": ["no"]}, "zh")
    else:
        agree(house, secret, CARDNET)
    entry = restored(house, f"consent.{way}")
    older(house, number, known)
    ended_ms = house.time_ms
    house.time_ms += 5 * DAY_MS
    assert replaying.replay(house, [entry]) == []
    assert replaying.replay(house, [entry]) == [], "twice changes nothing"
    assert code_of(lambda: page(house).show(secret, "zh")) == "LINK_USED"
    assert code_of(lambda: ask(house, 1, [BANK])) == "ASKED_TOO_SOON"
    with house.store.read() as reader:
        assert house.vault.names(reader, "capture/") == []
    house.time_ms = ended_ms + 180 * DAY_MS
    ask(house, 1, [BANK])


def test_a_question_taken_back_after_the_copy_stays_closed(house: House) -> None:
    number, secret = ask(house, 1)
    known = waiting_object(house, number)
    asking.take_back(house, number, actor="t-li")
    older(house, number, known)
    replaying.replay(house, [restored(house, "consent.ask_closed")])
    with house.store.read() as reader:
        assert asking.find(reader, secret).state == "CANCELLED"
    assert replaying.replay(house, [restored(house, "consent.ask_closed", recovery="")]) == [], "nobody refused by it"


@pytest.mark.parametrize("recovery", ["", "00" * 600])
def test_a_refusal_that_cannot_be_read_stops_asking_until_compliance_has_entered_it(house: House, recovery: str) -> None:
    house.give("10000000001,,wealth-marketing,bank,2026-01-01,2027-01-01,,")
    number, secret = ask(house, 1, [BANK])
    known = waiting_object(house, number)
    page(house).answer(secret, {"decision": ["no"]}, "zh")
    entry = restored(house, "consent.refused", recovery=recovery)
    older(house, number, known)
    [need] = replaying.replay(house, [entry])
    assert (need.name, need.count) == ("consent.refused", 1)
    assert "consent.refusal_note" in need.zh
    assert code_of(lambda: ask(house, 2, [BANK])) == "REFUSALS_PENDING"
    assert code_of(lambda: capture(house, 3)) == "REFUSALS_PENDING"
    assert capture(house, 3, initiative="customer").grants == 1, "of their own accord"
    replaying.require_replayed(house.store)  # a lost refusal to be asked stops nobody's use
    assert [(one.entry, one.kind) for one in call(house, "consent.replay").waiting] == [(entry.index, "consent.refused")]
    call(house, "consent.refusal_note", phone=phone_number(1), declined=[{"purpose": "wealth-marketing", "recipient": "bank"}], place="总行", identity="按纸质登记补录")
    with pytest.raises(NotFound):
        call(house, "consent.replay_confirm", entries=[entry.index + 99], reason="核对纸质登记")
    assert call(house, "consent.replay_confirm", entries=[entry.index], reason="核对纸质登记后补录").waiting == []
    assert code_of(lambda: ask(house, 1, [BANK])) == "ASKED_TOO_SOON"
    ask(house, 2, [BANK])


def test_the_mirrors_learn_nothing_of_who_refused_what(house: House) -> None:
    """Sealed, padded, and as long for a page that was signed as for one that was declined."""
    sizes = set()
    for number, chosen in ((1, ()), (2, (BANK,)), (3, (BANK, CARDNET))):
        _, secret = ask(house, number)
        if chosen:
            agree(house, secret, *chosen)
            entry = restored(house, "consent.signed")
        else:
            page(house).answer(secret, {"decision": ["no"]}, "zh")
            entry = restored(house, "consent.refused")
        assert set(entry.shared) == {"recovery"}
        sizes.add(len(entry.shared["recovery"]))
    assert len(sizes) == 1


def test_the_sealed_bytes_have_one_spelling() -> None:
    message = recovering.pack(ask="A-1", state="REFUSED", phone=b"p" * 16, id_no=bytes(16), at_ms=7, refused=[BANK])
    assert message == b"\0\x03A-1\0\x07REFUSED" + b"p" * 16 + bytes(16) + (7).to_bytes(8, "big") + b"\0\x01\0\x10wealth-marketing\0\x04bank"
    ask_, state, phone, id_no, at_ms, refused = recovering.unpack(message)
    assert (ask_, state, phone, id_no, at_ms, [one.name for one in refused]) == ("A-1", "REFUSED", b"p" * 16, bytes(16), 7, [BANK.name])
    for bad in (b"", message[:-1], message + b"\0", message[:2] + b"\xff" + message[3:]):
        with pytest.raises(VerificationError):
            recovering.unpack(bad)

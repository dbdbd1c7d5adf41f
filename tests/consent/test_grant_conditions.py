"""What a form says besides purpose and recipient: notice, age, categories, channels, uses, refusals; in the registry end to end."""

from __future__ import annotations

import sqlite3
from copy import deepcopy
from typing import Any

import pytest
from consent_house import House, beijing_ms, customer_list, phone_number
from grant_forms import I1, P1, P2, P3, born_on, call, content, give, publish, query, reasons, row
from workbench_consent import grants, refusing, replaying, schema, tables
from workbench_consent.grants import Conditions, Reason, day_of, grant_digest, is_minor, signed_form_commitment

from workbench.contracts import GrantQuery
from workbench.crypto import sm3
from workbench.domain.envelope import parse_envelope
from workbench.domain.evidence import RestoredEntry
from workbench.domain.intersection import KeyKind
from workbench.domain.party import PartyId
from workbench.errors import InvalidRequest, NotFound, Refused, VerificationError
from workbench.store import Database


# ---- bytes


def test_the_digest_of_a_plain_grant_stays_and_every_condition_enters_the_new_one() -> None:
    common = {
        "salt": bytes(32), "purpose": "wealth-marketing", "party": "broker", "recipient": "bank", "channel": "app",
        "from_ms": 1, "until_ms": 2, "form": signed_form_commitment(bytes(32), b"", 1),
    }  # fmt: skip
    said = {
        "notice": "joint@1", "notice_digest": "ab" * 32, "categories": ("id-no", "phone"), "contacts": ("sms",), "method": "otp",
        "signer": "self", "minor": True, "separate": True, "max_uses": 3,
    }  # fmt: skip

    def lp(text: str) -> bytes:
        return len(text.encode()).to_bytes(2, "big") + text.encode()

    tail = bytes(32) + (1).to_bytes(8, "big") + (2).to_bytes(8, "big") + common["form"]  # type: ignore[operator]
    texts = lp("wealth-marketing") + lp("broker") + lp("bank") + lp("app")
    assert grant_digest(**common) == sm3.digest(b"workbench/v1/grant\n" + texts + tail)  # type: ignore[arg-type]
    more = lp("joint@1") + b"\xab" * 32 + lp("id-no,phone") + lp("sms") + lp("otp") + lp("self") + b"\x03" + (3).to_bytes(4, "big")
    whole = grant_digest(**common, conditions=Conditions(**said))  # type: ignore[arg-type]
    assert whole == sm3.digest(b"workbench/v2/grant\n" + texts + more + tail)
    others = {grant_digest(**common, conditions=Conditions(**{**said, name: type(value)()})) for name, value in said.items()}  # type: ignore[arg-type]
    assert len(others | {whole, grant_digest(**common)}) == len(said) + 2  # type: ignore[arg-type]


def test_a_database_of_the_first_version_keeps_its_terms_and_digests(tmp_path: Any, house: House) -> None:
    old = Database(tmp_path / "old.db", [one for one in schema.MIGRATIONS if one.owner == "consent" and one.number <= 4], reserve_bytes=0)
    old.write(lambda tx: tx.execute("INSERT INTO consent_term VALUES (0, 'a', 'bank', 'app'), (1, 'b', 'cardnet', '')"))
    old.close()
    new = Database(tmp_path / "old.db", [one for one in schema.MIGRATIONS if one.owner == "consent"], reserve_bytes=0)
    with new.read() as reader:
        kept = tables.terms(reader)
    new.close()
    assert [(one.purpose, one.recipient, one.channel, one.conditions) for one in kept] == [
        ("a", "bank", "app", grants.PLAIN), ("b", "cardnet", "", grants.PLAIN),
    ]  # fmt: skip


def test_an_edited_condition_is_found_by_the_audit(house: House) -> None:
    publish(house, content())
    give(house, row(P1, notice="joint@1", uses="2"))
    call(house, "consent.opt_out", phone=P2, what=["profiling"])
    assert house.registry.audit().findings == ()
    database = sqlite3.connect(house.path)
    database.execute("UPDATE consent_term SET max_uses = 200")
    database.execute("UPDATE consent_refusal SET what = 'sms'")
    database.commit()
    database.close()
    house.restart()
    assert [(one.event, one.problem) for one in house.registry.audit().findings] == [(2, "RECORD"), (3, "ROOT")]


# ---- under a notice


def test_a_row_lies_inside_what_its_version_told(house: House) -> None:
    publish(house, content())
    done = give(
        house, row(P1, notice="joint@1"), row(P2, notice="JOINT@1", categories="手机号、id-no", contacts="sms", method="短信验证码确认", signer="本人"),
    )  # fmt: skip
    assert done.accepted == 2
    state = house.registry.state()
    told, named = (state.terms[int(number)].conditions for number in state.grants.term)
    assert (told.categories, told.contacts) == (("customer-relation", "id-no", "phone"), ("call", "push", "sms"))
    assert (named.categories, named.contacts, named.method, named.signer) == (("id-no", "phone"), ("sms",), "otp", "self")
    assert told.separate and told.notice_digest == call(house, "notices.get", notice="joint").digest
    bad = [
        ("NOTICE_UNKNOWN", row(P3, notice="joint@2")), ("NOTICE_UNKNOWN", row(P3, notice="v1")),
        ("NOTICE_NOT_IN_FORCE", row(P3, notice="joint@1", start="2025-12-31")),
        ("NOTICE_SCOPE", row(P3, notice="joint@1", categories="assets")), ("NOTICE_SCOPE", row(P3, notice="joint@1", contacts="visit")),
        ("CATEGORY_UNKNOWN", row(P3, categories="soul")), ("CONTACT_UNKNOWN", row(P3, contacts="pigeon")),
        ("METHOD_UNKNOWN", row(P3, method="nod")), ("SIGNER_UNKNOWN", row(P3, signer="neighbour")),
        ("SEPARATE_MISSING", row(P3, notice="joint@1", separate="否")), ("FLAG_FORMAT", row(P3, separate="maybe")),
        ("USES_FORMAT", row(P3, uses="0")), ("USES_FORMAT", row(P3, uses="many")),
    ]  # fmt: skip
    table = give(house, row(P3), *[line for _, line in bad], bad=1.0).extra
    assert table.rejects["reason"].to_list() == [code for code, _ in bad]
    call(house, "notices.retire", notice="joint", version=1, reason="改用新版本")
    day = "2026-06-02"
    table = give(house, row(P3, notice="joint@1", start="2026-05-01"), row(P3, notice="joint@1", start=day), bad=1.0).extra
    assert table.rejects["reason"].to_list() == ["NOTICE_NOT_IN_FORCE"]


def test_nobody_is_used_while_what_a_published_notice_says_was_altered(house: House) -> None:
    publish(house, content())
    give(house, row(P1, notice="joint@1"))
    database = sqlite3.connect(house.path)
    database.execute("UPDATE consent_notice SET body = CAST(replace(CAST(body AS TEXT), 'sms', 'SMS') AS BLOB)")
    database.commit()
    database.close()
    house.restart()
    people = customer_list(("C1", P1, None))
    for decide in (house.registry.decide, lambda _, asked: house.registry.decide_one(P1, None, asked)):
        with pytest.raises(VerificationError) as refusal:
            decide(people, query(house))
        assert refusal.value.code == "NOTICE_ALTERED"


def test_where_a_notice_is_required_a_row_without_one_is_refused(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = house.setting
    monkeypatch.setattr(house, "setting", lambda name: True if name == "consent.notice_required" else plain(name))
    with pytest.raises(Refused) as refusal:
        give(house, row(P1))
    assert refusal.value.details["reason"] == "NOTICE_MISSING"


def test_a_material_change_makes_old_grants_stale_for_the_new_scope_only(house: House) -> None:
    publish(house, content())
    give(house, row(P1, notice="joint@1"), row(P2, notice="joint@1", recipient="cardnet"), row(P3))
    people = customer_list(("C1", P1, None), ("C2", P2, None), ("C3", P3, None))
    wider = frozenset({"assets"})
    assert reasons(house, people, query(house)) == ["OK", "RECIPIENT_MISMATCH", "OK"]
    assert reasons(house, people, query(house, categories=wider)) == ["CATEGORY_MISMATCH", "RECIPIENT_MISMATCH", "OK"]
    as_of = house.registry.decide(people, query(house)).as_of
    begins = beijing_ms("2026-07-01 00:00:00")
    # Version 2 adds a category towards the bank; version 3 changes the method towards the card network.
    second = content()
    second["effective_ms"] = begins
    for line in second["lines"]:
        if line["recipient"] == "bank":
            line["categories"] = ["assets", "customer-relation", "id-no", "phone"]
    told = call(house, "notices.lint", notice="joint", content=second)
    assert (told.affected, told.must_confirm) == (1, [f"{line['purpose']}/bank/category" for line in second["lines"] if line["recipient"] == "bank"])
    publish(house, second)
    assert [(one.version, one.grants) for one in call(house, "notices.list").rows] == [(2, 0), (1, 2)]
    assert house.registry.changed_since(as_of), "a running job decides anew"
    july = "2026-07-01 00:00:00"
    assert reasons(house, people, query(house, july)) == ["OK", "RECIPIENT_MISMATCH", "OK"], "the old scope stays"
    assert reasons(house, people, query(house, july, categories=wider)) == ["STALE", "RECIPIENT_MISMATCH", "OK"]
    assert reasons(house, people, query(house, "2026-06-30 23:59:59.999", categories=wider))[0] == "CATEGORY_MISMATCH"
    third = deepcopy(second)
    third["effective_ms"] = begins + 1000
    for line in third["lines"]:
        if line["recipient"] == "cardnet":
            line["method"] = {"zh": "另一方式，可退订", "en": "another way"}
    publish(house, third)
    asked = query(house, "2026-07-01 00:00:00.999", recipient="cardnet")
    decision = house.registry.decide(people, asked)
    assert [one or "OK" for one in decision.reason] == ["RECIPIENT_MISMATCH", "OK", "RECIPIENT_MISMATCH"]
    assert decision.valid_until_ms[1] == begins + 1000, "usable until the version already published is effective"
    assert reasons(house, people, query(house, "2026-07-01 00:00:01", recipient="cardnet"))[1] == "STALE"
    assert reasons(house, people, query(house, "2026-07-01 00:00:01"))[0] == "OK", "nobody else is touched"
    house.time_ms = begins + 1000
    house.lists.frames["L"] = people
    asked = {"list_id": "L", "purpose": "wealth-marketing", "recipient": "cardnet", "within_days": 0}
    renewals = call(house, "consent.renewals", **asked)
    assert renewals.expired == 1 and "C2,STALE," in house.downloads.offered[renewals.download].decode(), "the list to ask again"
    give(house, row(P2, recipient="cardnet", notice="joint@3", start="2026-07-02"))
    assert reasons(house, people, query(house, "2026-07-02 00:00:00", recipient="cardnet"))[1] == "OK", "new consent mends it"


def test_retiring_a_version_makes_nobody_usable_again(house: House) -> None:
    """One person may retire, because it only narrows: what the version made stale stays stale, also when it never took effect."""
    publish(house, content())
    give(house, row(P1, notice="joint@1"))
    people = customer_list(("C1", P1, None))
    second = content(method={"zh": "另一种方式", "en": "another way"})
    second["effective_ms"] = house.time_ms + 1000
    publish(house, second)
    for seconds in (0, 2):
        house.time_ms += 1000 * seconds
        before = reasons(house, people, query(house))
        if seconds:
            call(house, "notices.retire", notice="joint", version=2, reason="改回纸质办理，不再签署")
            house.restart()
        assert before == reasons(house, people, query(house)) == (["STALE"] if seconds else ["OK"])
    call(house, "notices.retire", notice="joint", version=1, reason="旧版停用，不再签署")
    assert reasons(house, people, query(house)) == ["STALE"]


def test_channels_and_categories_that_a_form_does_not_name_are_not_covered(house: House) -> None:
    publish(house, content())
    give(house, row(P1, I1, notice="joint@1", categories="phone", contacts="sms"), row(P2))
    people = customer_list(("C1", P1, I1), ("C2", P2, None))
    assert reasons(house, people, query(house, contact="sms")) == ["OK", "OK"]
    assert reasons(house, people, query(house, contact="call")) == ["CHANNEL_MISMATCH", "OK"]
    assert reasons(house, people, query(house, kind=KeyKind.ID_NO)) == ["CATEGORY_MISMATCH", "MISSING_KEY"], "comparing by number needs it"


# ---- under 14


def test_the_fourteenth_birthday_is_the_last_day_under_fourteen() -> None:
    for born, day, expected in (
        (2012_06_01, 2026_06_01, True), (2012_06_01, 2026_06_02, False), (2012_06_01, 2026_05_31, True), (2012_02_29, 2026_02_28, True),
        (2012_02_29, 2026_03_01, False), (0, 2026_06_01, False), (1990_01_01, 2026_06_01, False),
    ):  # fmt: skip
        assert is_minor(born, day) is expected, (born, day)
    assert day_of(beijing_ms("2026-06-01 23:59:59.999")) == 2026_06_01
    assert day_of(beijing_ms("2026-06-02 00:00:00")) == 2026_06_02


def test_under_fourteen_a_guardian_signs(house: House) -> None:
    child, grown = born_on("20120601"), born_on("20080601", 2)
    give(
        house, row("", child, start="2026-02-01"), row("", grown, start="2026-02-01"), row(P1, start="2026-02-01"),
        row(P2, start="2026-02-01", signer="监护人"),
    )  # fmt: skip
    number = query(house, kind=KeyKind.ID_NO)
    assert reasons(house, customer_list(("C1", None, child), ("C2", None, grown)), number) == ["GUARDIAN", "OK"]
    # The list knows the age where the form names the phone alone.
    assert reasons(house, customer_list(("C1", P1, child), ("C2", P2, child)), query(house)) == ["GUARDIAN", "OK"]
    assert reasons(house, customer_list(("C1", P1, grown)), query(house)) == ["OK"]
    # Growing up mends nothing; a form of their own does, from the day after the birthday.
    later = query(house, "2026-11-01 00:00:00", kind=KeyKind.ID_NO)
    alone = customer_list(("C1", None, child))
    assert reasons(house, alone, later) == ["GUARDIAN"]
    give(house, row("", child, start="2026-06-01", end="2026-12-30"))
    assert reasons(house, alone, later) == ["GUARDIAN"]
    give(house, row("", child, start="2026-06-02", end="2026-12-30"))
    assert reasons(house, alone, later) == ["OK"]


# ---- uses


def test_a_grant_serves_in_as_many_jobs_as_it_allows(house: House) -> None:
    give(house, row(P1, uses="2"), row(P2))
    people = customer_list(("C1", P1, None), ("C2", P2, None))

    def run(job: str, attempt: int) -> list[str]:
        asked = query(house, job=job)
        decision = house.registry.decide(people, asked)

        def change(tx: Any) -> None:
            snapshot = house.registry.take_snapshot(tx, job=job, attempt=attempt, query=asked, decision=decision)
            house.registry.use_snapshot(tx, snapshot, job=job, attempt=attempt, query=asked)

        house.store.write(change)
        return reasons(house, people, query(house))

    assert run("J-1", 1) == ["OK", "OK"]
    assert run("J-1", 2) == ["OK", "OK"], "attempts of one job are one use"
    assert run("J-2", 1) == ["USED_UP", "OK"]
    assert reasons(house, people, query(house, job="J-2")) == ["OK", "OK"], "the job that runs is not stopped by itself"
    assert call(house, "consent.decide", phone=P1, purpose="wealth-marketing", recipient="bank").code == "USED_UP"
    house.restart()
    assert reasons(house, people, query(house)) == ["USED_UP", "OK"]


# ---- refusals


def test_who_refuses_profiling_or_a_channel_is_out_of_just_that(house: House) -> None:
    give(house, row(P1, I1), row(P2), f"{P1},{I1},customer-service,bank,2026-02-01,2026-12-31,,app,,,,,,,")
    people = customer_list(("C1", P1, I1), ("C2", P2, None))
    service = GrantQuery("customer-service", PartyId("bank"), house.time_ms, KeyKind.PHONE)
    done = call(house, "consent.opt_out", phone=P1, what=["profiling"])
    assert done.entries == 2, "the number that a form ties to the phone goes with it"
    assert reasons(house, people, query(house)) == ["PROFILING_REFUSED", "OK"]
    assert reasons(house, people, service) == ["OK", "PURPOSE_MISMATCH"], "a purpose without profiling stays"
    call(house, "consent.opt_in", phone=P1, what=["profiling"], reason="客户来电重新允许")
    assert reasons(house, people, query(house)) == ["OK", "OK"]
    call(house, "consent.opt_out", phone=P2, what=["sms", "call"])
    assert reasons(house, people, query(house, contact="sms")) == ["OK", "CHANNEL_REFUSED"]
    assert reasons(house, people, query(house, contact="push")) == ["OK", "OK"]
    assert reasons(house, people, query(house)) == ["OK", "OK"]
    call(house, "consent.opt_out", phone=P2, what=["push", "mail", "visit"])
    assert reasons(house, people, query(house)) == ["OK", "CHANNEL_REFUSED"], "nobody could reach them"
    counts = {one.what: one.entries for one in call(house, "consent.refusals").rows}
    assert counts == {"profiling": 0, "sms": 1, "call": 1, "push": 1, "mail": 1, "visit": 1}
    with pytest.raises(InvalidRequest):
        call(house, "consent.opt_out", phone=P2, what=["pigeon"])
    with pytest.raises(NotFound) as nothing:
        call(house, "consent.opt_in", phone=P2, what=["profiling"], reason="没有拒绝过")
    assert nothing.value.code == "NOT_REFUSED"
    assert [one["what"] for one in house.entries("consent.opted_out")] == ["profiling", "sms", "call", "push", "mail", "visit"]
    assert house.registry.audit().findings == ()
    assert not any(P1.encode() in body or I1.encode() in body for body in house.ledger.bodies)


def test_a_refusal_after_the_copy_is_written_again_from_its_own_entry(house: House, tmp_path: Any) -> None:
    give(house, row(P1))
    call(house, "consent.opt_out", phone=P1, what=["profiling"])
    index = len(house.ledger.bodies) - 1
    envelope = parse_envelope(house.ledger.bodies[index])
    came_back = RestoredEntry(index, envelope.kind, house.time_ms, envelope.job, envelope.actor, dict(envelope.shared), tuple(envelope.committed))
    database = sqlite3.connect(house.path)
    database.executescript("DELETE FROM consent_refusal; DELETE FROM consent_event WHERE kind = 'refused'")
    database.close()
    house.restart()
    people = customer_list(("C1", P1, None))
    assert reasons(house, people, query(house)) == ["OK"]
    assert replaying.replay(house, [came_back]) == [] == replaying.replay(house, [came_back])
    assert reasons(house, people, query(house)) == ["PROFILING_REFUSED"]
    lost = RestoredEntry(index + 7, refusing.OPTED_OUT, house.time_ms, "", "", {"root": "00" * 32, "recovery": ""}, ())
    assert [one.count for one in replaying.replay(house, [lost])] == [1]
    with pytest.raises(Refused) as pending:
        house.registry.decide(people, query(house))
    assert pending.value.code == "REPLAY_PENDING"


# ---- one customer


def test_one_customer_is_answered_with_rule_and_record_and_leaves_evidence(house: House) -> None:
    publish(house, content())
    give(house, row(P1, I1, notice="joint@1", method="otp", signer="self"))
    reply = call(house, "consent.decide", phone=P1, id_no=I1, purpose="wealth-marketing", recipient="bank")
    assert (reply.usable, reply.code, reply.rule, reply.valid_until_ms) == (True, "OK", "1", beijing_ms("2027-01-01 00:00:00"))
    assert (reply.record.record, reply.record.notice, reply.record.method, reply.record.signer) == (1, "joint@1", "otp", "self")
    assert reply.record.notice_digest == call(house, "notices.get", notice="joint").digest
    ended = call(house, "consent.decide", phone=P1, purpose="wealth-marketing", recipient="bank", at_ms=reply.valid_until_ms)
    assert (ended.code, ended.record.record, ended.usable) == ("EXPIRED", 1, False) and ended.zh and ended.rule_en
    nobody = call(house, "consent.decide", phone=P2, purpose="wealth-marketing", recipient="bank")
    assert (nobody.code, nobody.record) == ("NO_GRANT", None)
    assert [one["outcome"] for one in house.entries("consent.checked")] == ["OK", "EXPIRED", "NO_GRANT"]
    assert P1 not in reply.model_dump_json() and I1 not in reply.model_dump_json()
    with pytest.raises(InvalidRequest):
        call(house, "consent.decide", phone=P1, purpose="wealth-marketing", recipient="bank", key_kind="id_no")


def test_one_customer_is_judged_like_a_list_of_one(house: House) -> None:
    publish(house, content())
    lines = []
    for number in range(1, 40):
        phone, id_no = phone_number(number % 13), born_on(f"{2000 + number % 15}0601", number % 7)
        lines.append(
            row(
                phone if number % 3 else "", id_no if number % 4 else "", recipient="bank" if number % 5 else "cardnet",
                start=f"2026-0{1 + number % 7}-01", end=f"2026-0{2 + number % 8}-28" if number % 8 < 7 else "2026-12-31",
                notice="joint@1" if number % 2 and number % 7 else "", signer="guardian" if number % 11 == 0 else "",
                contacts="sms" if number % 6 == 0 and not number % 2 else "",
            )
        )  # fmt: skip
    give(house, *lines, bad=1.0)
    house.registry.withdraw(phone=phone_number(3), purpose="wealth-marketing")
    house.registry.withdraw(id_no=born_on("20050601", 5), suppress=False)
    call(house, "consent.opt_out", phone=phone_number(5), what=["profiling"])
    call(house, "consent.opt_out", phone=phone_number(6), what=["sms"])
    seen = set()
    for number in range(15):
        for id_no in (None, *(born_on(f"{2000 + year}0601", order) for year in range(0, 15, 3) for order in range(2))):
            for asked in (query(house), query(house, "2026-08-01 00:00:00", contact="sms"), query(house, kind=KeyKind.ID_NO)):
                phone = phone_number(number)
                verdicts, _ = house.registry.explain(customer_list(("C", phone, id_no)), asked)
                one, _ = house.registry.decide_one(phone, id_no, asked)
                grant = one.grant.record - 1 if one.grant else -1
                assert (int(one.reason), grant, one.valid_until_ms) == (
                    int(verdicts.reason[0]), int(verdicts.grant[0]), int(verdicts.valid_until_ms[0]),
                ), (number, id_no, asked)  # fmt: skip
                seen.add(one.reason)
    assert {Reason.OK, Reason.GUARDIAN, Reason.WITHDRAWN, Reason.NOT_YET_VALID, Reason.EXPIRED, Reason.PROFILING_REFUSED} <= seen


def test_a_number_of_fifteen_digits_is_the_same_person(house: House) -> None:
    long = born_on("19750601", 3)
    short = long[:6] + long[8:17]
    done = give(house, row("", long), row("", short))
    assert (done.accepted, done.duplicates) == (1, 1)
    assert call(house, "consent.decide", id_no=short, purpose="wealth-marketing", recipient="bank", key_kind="id_no").code == "OK"
    house.registry.withdraw(id_no=long)
    assert call(house, "consent.decide", id_no=short, purpose="wealth-marketing", recipient="bank", key_kind="id_no").code == "WITHDRAWN"


def test_overlapping_windows_leave_no_gap_and_the_widest_that_fits_speaks(house: House) -> None:
    publish(house, content())
    give(
        house, row(P1, start="2026-02-01", end="2026-06-30 24:00", notice="joint@1", contacts="sms"),
        row(P1, start="2026-06-15", end="2026-09-30", notice="joint@1", contacts="call"),
        row(P2, start="2026-02-01", end="2026-06-30 23:59:59"),
    )  # fmt: skip
    people = customer_list(("C1", P1, None))
    for at, contact, expected in (
        ("2026-06-14 23:59:59", "call", "CHANNEL_MISMATCH"), ("2026-06-20 00:00:00", "call", "OK"), ("2026-06-20 00:00:00", "sms", "OK"),
        ("2026-06-30 23:59:59.999", "sms", "OK"), ("2026-07-01 00:00:00", "sms", "CHANNEL_MISMATCH"), ("2026-09-30 23:59:59.999", "", "OK"),
        ("2026-10-01 00:00:00", "", "EXPIRED"),
    ):  # fmt: skip
        assert reasons(house, people, query(house, at, contact=contact)) == [expected], (at, contact)
    second = customer_list(("C2", P2, None))
    assert reasons(house, second, query(house, "2026-06-30 23:59:58.999")) == ["OK"]
    assert reasons(house, second, query(house, "2026-06-30 23:59:59")) == ["EXPIRED"], "what was written ends there"

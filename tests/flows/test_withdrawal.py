"""A withdrawal beyond the gates: partners mark and answer, exports that were handed out are named, nothing is forgotten."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from workbench.channel.letter import letter_header, open_answer, seal_letter
from workbench.contracts import PeerCall
from workbench.domain.intersection import KeyKind
from workbench.domain.party import PartyId, Role
from workbench.domain.withdrawal import LETTER_KIND, WithdrawalNotice, meant, parse_answer
from workbench.errors import WorkbenchError

from tests.flows import population
from tests.flows.institutions import Institutions

WHO = 90
"""Somebody both broker and bank know and may use."""


def withdraw(three: Institutions, party: str, purpose: str, *people: int, **more: Any) -> list[Any]:
    return [
        three.call(
            party, Role.COMPLIANCE, "consent.withdraw", phone=population.phone(one), id_no=population.id_no(one),
            purpose=purpose, **more,
        )
        for one in people
    ]  # fmt: skip


def withdrawal(three: Institutions, party: str, event: int) -> Any:
    """How the withdrawal of this number stands, as compliance reads it."""
    node = three.nodes[party]
    node.withdrawals.settle()
    page = three.call(party, Role.COMPLIANCE, "consent.withdrawals", before=event + 1, limit=1)
    [found] = page.withdrawals
    assert found.event == event
    return found


def answered(three: Institutions, party: str, event: int) -> Any:
    three.wait_until(lambda: all(one.acknowledged_ms for one in withdrawal(three, party, event).partners))
    return withdrawal(three, party, event)


def phones_of(data: bytes) -> list[str]:
    return [line.split(",")[1] for line in data.decode("utf-8-sig").split("\r\n")[1:-1]]


def stops(three: Institutions, party: str, job: str, **more: Any) -> list[Any]:
    return list(three.call(party, Role.MARKETING, "consent.contact_stops", job=job, **more).stops)


def test_after_the_export_the_partner_marks_and_both_name_their_exported_files(three: Institutions, purpose: str) -> None:
    mine, _ = three.run("broker", "bank", purpose)
    three.exported("broker", mine.job)
    three.exported("bank", mine.job)
    [done] = withdraw(three, "broker", purpose, WHO)
    found = answered(three, "broker", done.event)
    assert (found.purpose, found.recipient, found.searching, found.exports) == (purpose, "", False, 1)
    [told] = found.partners
    assert (told.partner, told.state, told.jobs) == ("bank", "acknowledged", [mine.job])
    assert [(one.job, one.state, one.customers, one.exports) for one in told.answer] == [(mine.job, "marked", 1, 1)]
    # The partner leaves the customer out from now on, although the customer's own grants there are untouched.
    reply, data = three.exported("bank", mine.job)
    assert reply.withheld == 1 and population.phone(WHO) not in phones_of(data)
    check = three.call(
        "bank", Role.COMPLIANCE, "consent.check", phone=population.phone(WHO), id_no=population.id_no(WHO), purpose=purpose,
        recipient="broker",
    )  # fmt: skip
    assert check.usable
    # Both sides: which file, when and by whom; the second export of the bank is clean and not named.
    for party, origin in (("broker", "own"), ("bank", "partner")):
        [stop] = stops(three, party, mine.job)
        first = three.entries(party, mine.job, "intersection.exported")[0]
        assert (stop.origin, stop.entry, stop.file_sm3) == (origin, first.ref.index, first.values["file_sm3"])
        assert stop.exported_ms == first.time_ms and stop.exported_by and stop.taken_ms == 0
        file = three.call(party, Role.MARKETING, "consent.contact_stop_file", job=mine.job)
        _, rows = three.nodes[party].downloads.take(three.caller(party, Role.MARKETING), file.download)
        assert phones_of(rows) == [population.phone(WHO)] and file.customers == 1
        assert stops(three, party, mine.job, open_only=True) == []
        assert stops(three, party, mine.job)[0].taken_ms


def test_nothing_in_logs_letters_or_replies_names_the_customer(three: Institutions, purpose: str) -> None:
    mine, _ = three.run("broker", "bank", purpose)
    three.wire.keeps = True
    [done] = withdraw(three, "broker", purpose, WHO)
    found = answered(three, "broker", done.event)
    carried = [body for _, _, path, body in three.wire.calls if path.startswith("letter")]
    assert len(carried) == 2
    secrets = [population.phone(WHO).encode(), population.id_no(WHO).encode()]
    for party in ("broker", "bank"):
        for kind in ("letter.posted", "letter.received", "letter.acknowledged", "consent.withdrawal_followed", "consent.withdrawal_received"):
            for entry in three.entries(party, kind=kind):
                assert not any(secret.decode() in text for secret in secrets for text in entry.values.values())
    assert not any(secret in body for secret in secrets for body in carried)
    assert not any(secret.decode() in found.model_dump_json() for secret in secrets)
    [followed] = three.entries("broker", kind="consent.withdrawal_followed")[-1:]
    body = three.nodes["broker"].ledger.entry_bodies("broker", followed.ref.index, followed.ref.index + 1)[0]
    assert mine.job.encode() not in body and b"bank" not in body, "the third institution learns neither job nor count"


def test_whoever_is_in_no_released_list_of_the_scope_causes_no_letter(three: Institutions, purpose: str) -> None:
    mine, _ = three.run("broker", "bank", purpose)
    outsider, other = withdraw(three, "broker", purpose, 10), withdraw(three, "broker", population.UNUSED, WHO)
    elsewhere = withdraw(three, "broker", purpose, WHO + 2, recipient="cardnet")
    for done in (*outsider, *other, *elsewhere):
        assert withdrawal(three, "broker", done.event).partners == []
    assert mine.job in three.entries("broker", kind="intersection.released")[-1].job
    entries = three.entries("broker", kind="consent.withdrawal_followed")[-3:]
    assert [entry.values["partners"] for entry in entries] == ["", "", ""]


def test_after_the_last_check_and_before_the_release_both_lists_hold_the_customer_and_no_export_does(
    three: Institutions, purpose: str
) -> None:
    broker = three.nodes["broker"]
    guard = broker.guard
    events: list[int] = []

    def late(stage: str, **facts: str) -> None:
        if stage == "release" and not events:
            events.extend(one.event for one in withdraw(three, "broker", purpose, WHO))
            broker.withdrawals.settle()  # while the run is still under way
            assert withdrawal(three, "broker", events[0]).searching
        guard(stage, **facts)

    broker.guard = late
    try:
        mine, _ = three.run("broker", "bank", purpose)
    finally:
        del broker.guard
    assert population.phone(WHO) in three.released_phones("broker", mine.job)
    [told] = answered(three, "broker", events[0]).partners
    assert told.state == "acknowledged" and told.answer[0].state == "marked"
    for party in ("broker", "bank"):
        reply, data = three.exported(party, mine.job)
        assert reply.withheld == 1 and population.phone(WHO) not in phones_of(data)
        assert stops(three, party, mine.job) == []


@pytest.mark.parametrize("party", ["broker", "bank"])
def test_a_withdrawal_while_the_export_is_made_begins_it_anew(three: Institutions, purpose: str, party: str) -> None:
    """At the institution of the customer, and at the partner that is told at that very moment."""
    mine, _ = three.run("broker", "bank", purpose)
    node, guard = three.nodes[party], three.nodes[party].guard
    done: list[Any] = []

    def late(stage: str, **facts: str) -> None:
        guard(stage, **facts)
        if stage == "export" and not done:
            done.extend(withdraw(three, "broker", purpose, WHO))
            if party == "bank":
                answered(three, "broker", done[0].event)

    node.guard = late
    try:
        reply, data = three.exported(party, mine.job)
    finally:
        del node.guard
    assert reply.withheld == 1 and population.phone(WHO) not in phones_of(data)
    assert len(three.entries(party, mine.job, "intersection.exported")) == 1
    answered(three, "broker", done[0].event)
    assert stops(three, party, mine.job) == []


def test_a_partner_that_is_away_is_overdue_after_the_term_and_told_when_it_is_back(three: Institutions, purpose: str) -> None:
    mine, _ = three.run("broker", "bank", purpose)
    three.exported("bank", mine.job)
    three.stop("bank")
    [done] = withdraw(three, "broker", purpose, WHO)
    [told] = withdrawal(three, "broker", done.event).partners
    assert told.state == "waiting" and round((told.due_ms - told.posted_ms) / 3_600_000, 3) == 72
    node, now = three.nodes["broker"], three.nodes["broker"].now_ms
    for late_ms, state in ((0, "waiting"), (1, "overdue")):
        node.now_ms = lambda late_ms=late_ms: told.due_ms + late_ms
        try:
            page = three.call("broker", Role.COMPLIANCE, "consent.withdrawals", state=state, partner="bank")
            lines = [one for one in node.health() if one.name == "withdrawals"]
        finally:
            node.now_ms = now
        assert page.counts[state] >= 1 and done.event in [one.event for one in page.withdrawals]
        assert bool(lines) == (state == "overdue")
    three.stop("broker")
    three.start("broker")
    three.start("bank")
    [told] = answered(three, "broker", done.event).partners
    assert told.state == "acknowledged" and told.answer[0].exports == 1
    assert [one.origin for one in stops(three, "bank", mine.job)] == ["partner"]


def test_who_acts_for_the_customer_gives_the_proof_which_is_kept_under_the_customers_key(
    three: Institutions, purpose: str
) -> None:
    for by in ("agent", "guardian", "kin"):
        with pytest.raises(WorkbenchError, match="PROOF_NEEDED"):
            withdraw(three, "broker", purpose, WHO, by=by)
    withdraw(three, "broker", purpose, WHO, by="kin", proof="户籍注销证明 2026-17")
    entry = three.entries("broker", kind="consent.withdrawn")[-1]
    assert (entry.values["by"], entry.values["proof"]) == ("kin", "户籍注销证明 2026-17")
    with pytest.raises(WorkbenchError, match="INVALID_REQUEST"):
        withdraw(three, "broker", purpose, WHO, by="neighbour", proof="none at all")


def test_pages_filters_and_counts_of_withdrawals_fit_one_another(three: Institutions, purpose: str) -> None:
    mine, _ = three.run("broker", "bank", purpose)
    made = withdraw(three, "broker", purpose, WHO, WHO + 2, WHO + 4)
    for done in made:
        answered(three, "broker", done.event)
    everything: list[int] = []
    before = 0
    while True:
        page = three.call("broker", Role.AUDITOR, "consent.withdrawals", before=before, limit=2)
        everything += [one.event for one in page.withdrawals]
        before = page.next
        if not before:
            break
    assert len(everything) == page.total == len(set(everything)) and everything == sorted(everything, reverse=True)
    acknowledged = three.call("broker", Role.AUDITOR, "consent.withdrawals", state="acknowledged", partner="bank", limit=500)
    assert {one.event for one in made} <= {one.event for one in acknowledged.withdrawals}
    assert sum(page.counts.values()) >= 3 and mine.job in acknowledged.withdrawals[0].partners[0].jobs
    with pytest.raises(WorkbenchError, match="DENIED"):
        three.call("broker", Role.MARKETING, "consent.withdrawals")


def letter_of(three: Institutions, body: bytes) -> Callable[[], Any]:
    """A letter of the broker to the bank, delivered anew at each call; the answer."""
    node = three.nodes["broker"]
    header = letter_header(
        letter_id=node.random(16).hex(), kind=LETTER_KIND, sender=PartyId("broker"), recipient=PartyId("bank"), job="",
        body=body, time_ms=node.now_ms(),
    )  # fmt: skip

    def deliver() -> Any:
        sealed = seal_letter(header, body, key=node.keys.message)
        reply = three.nodes["bank"].peer_api.answer(PeerCall(PartyId("broker"), "letter", sealed))
        return open_answer(reply, letter=header, key=node.pinned_keys(PartyId("bank")).message)

    return deliver


def notice(job: str, *people: int) -> bytes:
    rows = meant(bytes(range(32)), job=job, key_kind=KeyKind.PHONE, values=[population.phone(one) for one in people])
    return WithdrawalNotice("", 1_790_000_000_000, (rows,)).pack()


def test_a_letter_about_others_or_about_nothing_marks_nobody(three: Institutions, purpose: str) -> None:
    mine, _ = three.run("broker", "bank", purpose)
    foreign, _ = three.run("bank", "cardnet", purpose)
    for job, people, state in ((mine.job, (10, 215), "not-found"), ("J-20200101-00000000", (WHO,), "no-list"), (foreign.job, (WHO,), "no-list")):
        answer = letter_of(three, notice(job, *people))()
        assert [(one.state, one.customers) for one in parse_answer(answer.answer)] == [(state, 0)]
    for body in (b"{}", b"[]", notice(mine.job, WHO)[:-1], notice(mine.job, WHO).replace(b'"phone"', b'"email"')):
        answer = letter_of(three, body)()
        assert (answer.header.code, answer.answer) == ("WITHDRAWAL_MALFORMED", b"")
    for job in (mine.job, foreign.job):
        reply, _ = three.exported("bank", job)
        assert reply.withheld == 0


def test_a_letter_about_a_run_that_has_not_ended_here_comes_again(three: Institutions, purpose: str) -> None:
    bank = three.nodes["bank"]
    guard = bank.guard
    seen: list[str] = []

    def early(stage: str, **facts: str) -> None:
        if stage == "release":
            with pytest.raises(WorkbenchError) as refused:
                letter_of(three, notice(facts["job"], WHO))()
            seen.append(refused.value.code)
        guard(stage, **facts)

    bank.guard = early
    try:
        _, theirs = three.run("broker", "bank", purpose)
    finally:
        del bank.guard
    assert seen == ["JOB_RUNNING"]
    again = letter_of(three, notice(theirs.job, WHO, WHO + 2))
    first, second = again(), again()
    assert parse_answer(first.answer)[0].customers == 2 and first.digest == second.digest
    assert three.exported("bank", theirs.job)[0].withheld == 2


def test_an_erasure_tells_the_partner_before_the_row_is_gone(apart: Institutions) -> None:
    purpose = "customer-service"
    mine, _ = apart.run("broker", "bank", purpose)
    apart.exported("broker", mine.job)
    reply = apart.call("broker", Role.COMPLIANCE, "customers.erase", phone=population.phone(WHO), reason="asked to leave")
    assert reply.state == "RESTRICTED" and population.phone(WHO) not in apart.released_phones("broker", mine.job)
    event = apart.call("broker", Role.COMPLIANCE, "consent.withdrawals").withdrawals[0].event
    found = answered(apart, "broker", event)
    assert [(one.partner, one.state) for one in found.partners] == [("bank", "acknowledged")] and found.exports == 1
    assert apart.exported("bank", mine.job)[0].withheld == 1
    # A restored node would tell again; nothing changes at the partner.
    node = apart.nodes["broker"]
    node.store.write(lambda tx: tx.execute("DELETE FROM host_withdrawal_letter").rowcount)
    node.store.write(lambda tx: tx.execute("DELETE FROM host_withdrawal").rowcount)
    assert apart.exported("bank", mine.job)[0].withheld == 1
    # What stays at the partner says nothing of a number: a keyed token of this job.
    with apart.nodes["bank"].store.read() as reader:
        rows = [tuple(row) for row in reader.execute("SELECT job, length(customer), partner FROM host_stopped")]
        waiting = reader.execute("SELECT count(*) FROM host_letter WHERE header LIKE '%phone%'").fetchone()[0]
    assert rows == [(mine.job, 16, "broker")] and waiting == 0
    assert json.dumps(reply.model_dump(mode="json")).count(population.phone(WHO)) == 0


def test_a_partner_that_refused_is_told_once_more_and_who_had_marked_marks_nothing_new(
    three: Institutions, purpose: str
) -> None:
    mine, _ = three.run("broker", "bank", purpose)
    three.exported("bank", mine.job)
    bank = three.nodes["bank"]
    kinds, bank.letters._kinds = bank.letters._kinds, {}
    try:
        [done] = withdraw(three, "broker", purpose, WHO)
        [told] = answered(three, "broker", done.event).partners
    finally:
        bank.letters._kinds = kinds
    assert (told.state, told.code) == ("refused", "UNKNOWN_LETTER_KIND")
    assert any(one.name == "withdrawals" and one.state == "warning" for one in three.nodes["broker"].health())
    again = three.call("broker", Role.COMPLIANCE, "consent.tell_again", event=done.event, reason="they updated their program")
    assert [one.letter for one in again.partners] != [told.letter]
    [told] = answered(three, "broker", done.event).partners
    assert (told.state, told.answer[0].state, told.answer[0].exports) == ("acknowledged", "marked", 1)
    with pytest.raises(WorkbenchError, match="NOT_REFUSED"):
        three.call("broker", Role.COMPLIANCE, "consent.tell_again", event=done.event, reason="and once more")
    node = three.nodes["broker"]
    node.store.write(lambda tx: tx.execute("UPDATE host_withdrawal SET searched_ms = NULL WHERE event = ?", (done.event,)).rowcount)
    both = answered(three, "broker", done.event).partners
    assert [one.state for one in both] == ["acknowledged"] * 2 and both[1].answer[0].exports == 0
    assert len(stops(three, "bank", mine.job)) == 1, "the same file is named once"

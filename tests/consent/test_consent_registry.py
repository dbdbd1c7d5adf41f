"""Import, withdrawal, suppression, snapshots and what is left on disk, over a real database, vault and evidence log."""

from __future__ import annotations

import base64
import hashlib
import sqlite3
import threading
from dataclasses import replace

import pytest
from consent_house import DOCUMENT, House, beijing_ms, customer_list, identity_number, phone_number
from workbench_consent import importing, merkle, tables
from workbench_consent.grants import grant_digest, signed_form_commitment

from workbench.contracts import GrantQuery, Transaction
from workbench.crypto import sm3
from workbench.domain.intersection import KeyKind
from workbench.domain.party import PartyId
from workbench.errors import InvalidRequest, NotFound, Refused, VerificationError
from workbench.intake import import_grant_rows

P1, P2, P3 = phone_number(1), phone_number(2), phone_number(3)
I1, I2 = identity_number(1), identity_number(2)
BANK, CARDNET = PartyId("bank"), PartyId("cardnet")


def row(
    phone: str = "", id_no: str = "", purpose: str = "wealth-marketing", recipient: str = "bank",
    start: str = "2026-01-01", end: str = "2026-12-31", document: str = DOCUMENT,
) -> str:  # fmt: skip
    return f"{phone},{id_no},{purpose},{recipient},{start},{end},{document},counter"


def reason(
    house: House, phone: str | None = None, id_no: str | None = None, *, purpose: str = "wealth-marketing",
    recipient: str = "bank", kind: KeyKind | None = None,
) -> str:  # fmt: skip
    asked = kind or (KeyKind.PHONE if phone else KeyKind.ID_NO)
    query = GrantQuery(purpose, PartyId(recipient), house.time_ms, asked)
    return str(house.registry.decide(customer_list(("C1", phone, id_no)), query).reason[0])


# ---- import


def test_an_import_leaves_one_entry_whose_root_stands_for_its_rows(house: House) -> None:
    result = house.give(row(P1, I1), row(P2), row("", I2, recipient="cardnet", document=""))
    assert (result.rows, result.accepted, result.rejected, result.duplicates) == (3, 3, 0, 0)
    (entry,) = house.entries("consent.imported")
    assert entry["root"] == result.root and entry["accepted"] == "3" and entry["file"] == "consents.csv"
    with house.store.read() as reader:
        (chunk,) = tables.chunks(reader)
    rows = [
        chunk.phone[16 * i : 16 * i + 16]
        + chunk.id_no[16 * i : 16 * i + 16]
        + chunk.form[32 * i : 32 * i + 32]
        + chunk.digest[32 * i : 32 * i + 32]
        for i in range(3)
    ]
    assert merkle.rows_root(b"".join(rows), 96).hex() == result.root
    assert sm3.digest(b"\x00" + b"".join(rows)).hex() == result.root
    assert house.registry.audit().findings == ()


def test_a_grant_digest_is_what_the_document_says(house: House) -> None:
    """docs/consent.md section 4, byte by byte: the intersection commits to it."""
    house.give(row(P1))
    with house.store.read() as reader:
        (chunk,) = tables.chunks(reader)
    form = sm3.digest(
        b"workbench/v1/signed-form\n" + chunk.salt + b"\x20" + bytes.fromhex(DOCUMENT) + (1).to_bytes(8, "big")
    )
    expected = sm3.digest(
        b"workbench/v1/grant\n"
        + b"\x00\x10wealth-marketing\x00\x06broker\x00\x04bank\x00\x07counter"
        + chunk.salt
        + beijing_ms("2026-01-01 00:00:00").to_bytes(8, "big")
        + beijing_ms("2027-01-01 00:00:00").to_bytes(8, "big")
        + form
    )
    query = GrantQuery("wealth-marketing", BANK, house.time_ms, KeyKind.PHONE)
    decision = house.registry.decide(customer_list(("C1", P1, None)), query)
    assert chunk.form == form
    assert decision.grant_digest[0].tobytes() == expected == chunk.digest


def test_every_field_of_a_grant_changes_its_digest() -> None:
    fields = {
        "salt": b"s" * 32, "purpose": "p", "party": "broker", "recipient": "bank", "channel": "c",
        "from_ms": 1, "until_ms": 2, "form": b"f" * 32,
    }  # fmt: skip
    other = {
        "salt": b"t" * 32, "purpose": "q", "party": "bank", "recipient": "broker", "channel": "",
        "from_ms": 0, "until_ms": 3, "form": b"g" * 32,
    }  # fmt: skip
    digests = {grant_digest(**{**fields, name: value}) for name, value in other.items()}
    # Moving the border between two texts is another grant too.
    digests.add(grant_digest(**{**fields, "purpose": "pb", "party": "roker"}))
    assert len(digests | {grant_digest(**fields)}) == len(other) + 2
    forms = {signed_form_commitment(b"s" * 32, document, n) for document in (b"", b"d" * 32, b"e" * 32) for n in (1, 2)}
    assert len(forms) == 6


def test_the_same_file_twice_adds_nothing(house: House) -> None:
    lines = [row(P1, I1), row(P2), row(P2, recipient="cardnet"), row("", I2, document="")]
    house.give(*lines)
    again = house.give(*lines, row(P3))
    assert (again.rows, again.accepted, again.duplicates) == (5, 1, 4)
    house.restart()
    third = house.give(*lines, row(P3), row(P3))
    assert (third.rows, third.accepted, third.duplicates, third.root) == (6, 0, 6, "")
    assert len(house.registry.state().grants) == 5
    assert len(house.entries("consent.imported")) == 3


def test_another_signed_form_for_the_same_terms_is_another_grant(house: House) -> None:
    house.give(row(P1, document="ab" * 32))
    assert house.give(row(P1, document="cd" * 32)).accepted == 1
    assert house.give(row(P1, document="")).accepted == 1
    assert house.give(row(P1, document="cd" * 32), row(P1, document=""), row(P1)).duplicates == 3


def test_a_file_with_too_many_bad_rows_imports_nothing(house: House) -> None:
    good = [row(phone_number(i)) for i in range(18)]
    bad = [row("123"), row(P1, purpose="astrology")]
    with pytest.raises(Refused) as refusal:
        house.give(*good, *bad)
    assert refusal.value.code == "QUALITY"
    assert "consents.csv" in refusal.value.zh
    assert len(house.registry.state().grants) == 0 and house.ledger.bodies == []
    result = house.give(*good, *bad, max_bad_share=0.2)
    assert (result.rows, result.accepted, result.rejected) == (20, 18, 2)


def test_an_import_that_fails_at_its_end_leaves_nothing(house: House) -> None:
    def fail(tx: Transaction, table: object) -> None:
        raise Refused("不", "no", code="TEST")

    with pytest.raises(Refused):
        house.give(row(P1), also=fail)
    assert len(house.registry.state().grants) == 0
    assert reason(house, P1) == "NO_GRANT"
    assert house.give(row(P1)).accepted == 1


def test_a_withdrawal_during_an_import_is_not_overtaken(house: House) -> None:
    """The row was compared before the withdrawal and is written after it: it must be compared anew."""
    table = import_grant_rows(
        house.write_file([row(P1), row(P2)]),
        purposes=["wealth-marketing"], recipients=["bank"], today=house.today(),
    )  # fmt: skip
    withdrawn: list[int] = []

    def withdraw_once(done: int, total: int) -> None:
        if done == 2 and not withdrawn:
            withdrawn.append(house.registry.withdraw(phone=P1).event)

    registry = house.registry
    result = importing.import_table(
        house, registry._projection, registry._token_key, table, actor="t", progress=withdraw_once
    )
    assert withdrawn == [1]
    assert (result.accepted, result.suppressed) == (1, 1)
    assert (reason(house, P1), reason(house, P2)) == ("SUPPRESSED", "")


def test_an_import_gives_up_when_withdrawals_keep_coming(house: House) -> None:
    table = import_grant_rows(
        house.write_file([row(P1)]), purposes=["wealth-marketing"], recipients=["bank"], today=house.today()
    )

    def withdraw_always(done: int, total: int) -> None:
        if done == 2:
            house.registry.withdraw(phone=P3)

    with pytest.raises(Refused) as refusal:
        importing.import_table(
            house, house.registry._projection, house.registry._token_key, table, actor="t", progress=withdraw_always
        )
    assert refusal.value.code == "IMPORT_BUSY"
    assert len(house.registry.state().grants) == 0


def test_two_imports_at_once_both_arrive_without_doubles(house: House) -> None:
    shared = [row(phone_number(i)) for i in range(50)]
    paths = [
        house.write_file([*shared, *(row(phone_number(100 * n + i)) for i in range(50))], f"{n}.csv") for n in (1, 2, 3)
    ]
    threads = [
        threading.Thread(target=house.registry.import_file, args=(path,), kwargs={"actor": "t"}) for path in paths
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(house.registry.state().grants) == 200
    assert house.registry.audit().findings == ()


def test_many_chunks_and_a_restart_give_the_same_answers(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench_consent.rows.CHUNK_ROWS", 128)
    house.give(*[row(phone_number(i), end="2026-12-31" if i % 3 else "2026-05-31") for i in range(700)])
    house.give(*[row(phone_number(i)) for i in range(650, 800)])
    house.registry.withdraw(phone=phone_number(5))
    people = customer_list(*[(f"C{i:04d}", phone_number(i), None) for i in range(810)])
    query = GrantQuery("wealth-marketing", BANK, house.time_ms, KeyKind.PHONE)
    before = house.registry.decide(people, query)
    house.restart()
    after = house.registry.decide(people, query)
    assert before.counts == after.counts
    assert before.counts["EXPIRED"] == 217 and before.counts["NO_GRANT"] == 10 and before.counts["WITHDRAWN"] == 1
    assert (before.grant_digest == after.grant_digest).all()
    assert house.registry.audit() == house.registry.audit() and house.registry.audit().findings == ()


# ---- withdrawal


def test_a_withdrawal_counts_at_once_and_leaves_a_sealed_entry(house: House) -> None:
    house.give(row(P1, I1), row(P2))
    decided = house.registry.state().seq
    assert not house.registry.changed_since(decided)
    done = house.registry.withdraw(phone=P1, actor="t-compliance", reason="电话退订")
    assert (done.grants, done.records) == (1, (1,))
    assert house.registry.changed_since(decided)
    assert (reason(house, P1), reason(house, P2)) == ("WITHDRAWN", "")
    (entry,) = house.entries("consent.withdrawn")
    assert (entry["purpose"], entry["recipient"], entry["suppressed"]) == ("*", "*", "yes")
    body = house.ledger.bodies[done.entry.index].decode()
    for hidden in (P1, I1, entry["subject"], "wealth-marketing", "电话退订"):
        assert hidden not in body
    # The opening lies under the customer's own key: erasing that key leaves the entry and nothing to read.
    house.store.write(lambda tx: house.evidence.forget_subject(tx, entry["subject"]))
    with house.store.read() as reader:
        assert set(house.evidence.view(reader, done.entry.index)) == {"root", "recovery", "event", "suppressed"}


def test_no_token_of_a_customer_repeats_in_mirrored_entries(house: House) -> None:
    house.give(row(P1))
    house.registry.withdraw(phone=P1, purpose="wealth-marketing")
    house.registry.withdraw(phone=P1)
    bodies = [body.decode() for body in house.ledger.bodies[1:]]
    words = [set(body.replace('"', " ").replace(":", " ").replace(",", " ").split()) for body in bodies]
    same_by_nature = {"consent.withdrawn", "workbench/v1/entry"}
    assert not {word for word in words[0] & words[1] if len(word) >= 16} - same_by_nature


def test_a_partial_withdrawal_ends_only_its_scope(house: House) -> None:
    house.give(row(P1), row(P1, recipient="cardnet"), row(P1, purpose="customer-service"))
    house.registry.withdraw(phone=P1, purpose="wealth-marketing", recipient="bank")
    assert reason(house, P1) == "WITHDRAWN"
    assert reason(house, P1, recipient="cardnet") == ""
    assert reason(house, P1, purpose="customer-service") == ""
    again = house.give(row(P1, start="2026-06-02"), row(P1, purpose="customer-service", start="2026-06-02"))
    assert (again.accepted, again.suppressed) == (1, 1)
    house.registry.withdraw(phone=P1, recipient="bank")
    assert reason(house, P1, purpose="customer-service") == "WITHDRAWN"
    assert reason(house, P1, recipient="cardnet") == ""


def test_a_withdrawn_customer_stays_out_of_every_later_file(house: House) -> None:
    house.give(row(P1, I1))
    house.registry.withdraw(phone=P1)
    house.time_ms = beijing_ms("2026-08-01 00:00:00")
    later = house.give(row(P1, I1), row(P1, start="2026-07-15"), row("", I1, start="2026-07-15"), row(P2))
    assert (later.rows, later.accepted, later.suppressed, later.duplicates) == (4, 1, 3, 0)
    house.restart()
    assert house.give(row(f"+86 {P1[:3]}-{P1[3:]}", start="2026-07-20")).suppressed == 1
    # Leaving by phone keeps the identity number out that a signed form ties to it, and a new phone with that number.
    assert reason(house, None, I1) == "WITHDRAWN"
    assert reason(house, phone_number(77), I1) == "SUPPRESSED"


def test_leaving_by_identity_number_keeps_the_phones_of_its_forms_out(house: House) -> None:
    house.give(row(P1, I1), row(P2, I1), row(P3))
    house.registry.withdraw(id_no=I1)
    assert [reason(house, phone) for phone in (P1, P2, P3)] == ["WITHDRAWN", "WITHDRAWN", ""]
    assert house.give(row(P2, start="2026-05-01")).suppressed == 1


def test_a_withdrawal_before_any_grant_keeps_the_customer_out(house: House) -> None:
    assert house.registry.withdraw(phone=P1).grants == 0
    assert house.give(row(P1)).suppressed == 1
    assert reason(house, P1) == "SUPPRESSED"


def test_without_suppression_a_new_form_counts_and_the_old_one_does_not(house: House) -> None:
    house.give(row(P1))
    house.registry.withdraw(phone=P1, suppress=False)
    assert house.give(row(P1)).duplicates == 1
    assert reason(house, P1) == "WITHDRAWN"
    assert house.give(row(P1, document="cd" * 32)).accepted == 1
    assert reason(house, P1) == ""


def test_lifting_a_suppression_revives_no_old_grant(house: House) -> None:
    house.give(row(P1, I1))
    house.registry.withdraw(phone=P1)
    lifted = house.registry.lift_suppression(phone=P1, actor="t", reason="客户到柜台重新签署")
    assert lifted.entries >= 1
    assert reason(house, P1) == "WITHDRAWN"
    assert house.give(row(P1, I1)).duplicates == 1
    assert reason(house, P1) == "WITHDRAWN"
    assert house.give(row(P1, I1, document="cd" * 32)).accepted == 1
    assert reason(house, P1) == ""
    house.restart()
    assert reason(house, P1) == ""
    with pytest.raises(NotFound):
        house.registry.lift_suppression(phone=P1, actor="t", reason="again")
    assert len(house.entries("consent.suppression_lifted")) == 1


def test_a_withdrawal_can_take_part_in_another_transaction(house: House) -> None:
    house.give(row(P1))

    def fails(tx: Transaction) -> None:
        house.registry.withdraw(phone=P1, tx=tx)
        raise Refused("不", "no", code="TEST")

    bodies = len(house.ledger.bodies)
    with pytest.raises(Refused):
        house.store.write(fails)
    del house.ledger.bodies[bodies:]
    assert reason(house, P1) == ""
    house.store.write(lambda tx: house.registry.withdraw(phone=P1, tx=tx))
    assert reason(house, P1) == "WITHDRAWN"


def test_a_withdrawal_names_somebody_and_a_scope_that_exists(house: House) -> None:
    for arguments, kind in (
        ({}, InvalidRequest), ({"phone": P1, "purpose": "astrology"}, Refused), ({"phone": P1, "recipient": "x"}, Refused),
    ):  # fmt: skip
        with pytest.raises(kind):
            house.registry.withdraw(**arguments)
    assert house.ledger.bodies == []


# ---- snapshots


def snapshot_of(house: House, query: GrantQuery, *, attempt: int = 1) -> str:
    decision = house.registry.decide(customer_list(("C1", P1, I1), ("C2", P2, None)), query)
    return str(
        house.store.write(
            lambda tx: house.registry.take_snapshot(tx, job="J-1", attempt=attempt, query=query, decision=decision)
        )
    )


def use(house: House, snapshot: str, query: GrantQuery, *, job: str = "J-1", attempt: int = 1) -> None:
    house.store.write(lambda tx: house.registry.use_snapshot(tx, snapshot, job=job, attempt=attempt, query=query))


def test_a_snapshot_serves_one_attempt_once(house: House) -> None:
    house.give(row(P1, I1), row(P2))
    query = GrantQuery("wealth-marketing", BANK, house.time_ms, KeyKind.PHONE)
    first, second = snapshot_of(house, query), snapshot_of(house, query)
    for wrong in (
        {"job": "J-2"}, {"attempt": 2}, {"query": replace(query, recipient=CARDNET)},
        {"query": replace(query, purpose="customer-service")}, {"query": replace(query, key_kind=KeyKind.ID_NO)},
    ):  # fmt: skip
        with pytest.raises(Refused) as refusal:
            use(house, first, **{"query": query, **wrong})
        assert refusal.value.code == "SNAPSHOT_OTHER_USE"
    use(house, first, query)
    for spent in (first, second):
        with pytest.raises(Refused) as refusal:
            use(house, spent, query)
        assert refusal.value.code == "SNAPSHOT_USED"
    with pytest.raises(NotFound):
        use(house, "S-0000000000000000", query)
    entry = house.entries("consent.snapshot")[0]
    assert (entry["usable"], entry["customers"], entry["snapshot"]) == ("2", "2", first)
    body = next(body for body in house.ledger.bodies if b"consent.snapshot" in body)
    assert b'"usable":"2"' not in body and b'"customers":"2"' not in body
    # Both snapshots hold the same customers: nobody else may see that, so the root of one is not in the other's clear.
    assert entry["root"] == house.entries("consent.snapshot")[1]["root"] and entry["root"].encode() not in body


def test_what_is_forgotten_for_the_engine_is_found_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A used snapshot frees the memory of large lists; who may be used must not depend on it."""
    monkeypatch.setattr("workbench_consent.projection.LARGE_ROWS", 3)
    house.give(row(P1, I1), row(P2), row("", I2), row(P3, end="2026-02-01"))
    people = customer_list(("C1", P1, I1), ("C2", P2, None), ("C3", P3, None), ("C4", None, I2))
    query = GrantQuery("wealth-marketing", BANK, house.time_ms, KeyKind.PHONE)
    before = house.registry.decide(people, query)
    state = house.registry.state()
    use(house, snapshot_of(house, query), query)
    assert house.registry.state() is not state, "nothing was forgotten"
    after = house.registry.decide(people, query)
    assert after.reason.tolist() == before.reason.tolist() and after.counts == before.counts
    assert (after.grant_digest == before.grant_digest).all() and after.as_of == before.as_of
    house.registry.withdraw(phone=P2)
    use(house, snapshot_of(house, query, attempt=2), query, attempt=2)
    assert house.registry.decide(people, query).reason.tolist()[1] == "WITHDRAWN"


def test_a_withdrawal_between_snapshot_and_use_spoils_the_snapshot(house: House) -> None:
    house.give(row(P1, I1), row(P2))
    query = GrantQuery("wealth-marketing", BANK, house.time_ms, KeyKind.PHONE)
    snapshot = snapshot_of(house, query)
    house.give(row(P3))
    house.registry.withdraw(id_no=I1)
    with pytest.raises(Refused) as refusal:
        use(house, snapshot, query)
    assert refusal.value.code == "SNAPSHOT_STALE"
    anew = snapshot_of(house, query)
    use(house, anew, query)
    assert house.entries("consent.snapshot")[-1]["usable"] == "1"


def test_an_import_does_not_spoil_a_snapshot_and_an_expiry_does(house: House) -> None:
    house.give(row(P1, end="2026-06-01T12:00:01+08:00"), row(P2))
    query = GrantQuery("wealth-marketing", BANK, house.time_ms, KeyKind.PHONE)
    snapshot = snapshot_of(house, query)
    house.give(row(P3))
    house.time_ms += 1000
    with pytest.raises(Refused) as refusal:
        use(house, snapshot, query)
    assert refusal.value.code == "SNAPSHOT_STALE"
    house.time_ms -= 1
    use(house, snapshot, query)


# ---- what lies on disk


def test_no_identifier_can_be_found_in_the_files_by_trying_all_of_them(house: House) -> None:
    """Row B11: a phone has 10^11 values, so that a bare hash of it is the phone."""
    house.give(row(P1, I1), row(P2, I2))
    house.registry.withdraw(phone=P1, reason="客户来电")
    house.registry.withdraw(id_no=I2)
    assert reason(house, P2) == "WITHDRAWN"
    house.store.checkpoint()
    data = b"".join(path.read_bytes() for path in house.folder.glob("evidence.db*") if path.suffix != ".lock")
    assert len(data) > 10_000 and house.registry.subject(P1, None).phone in data
    for identifier in (P1, P2, I1, I2):
        plain = identifier.encode()
        spellings = [plain, plain[::-1], base64.b64encode(plain), plain.hex().encode()]
        for message in (plain, b"phone\x00" + plain, b"id_no\x00" + plain, b"phone" + plain, b"86" + plain):
            for digest in (sm3.digest(message), hashlib.sha256(message).digest(), hashlib.md5(message).digest()):
                spellings += [digest[:8], digest.hex()[:16].encode(), base64.b64encode(digest)[:12]]
        for spelling in spellings:
            assert spelling not in data


def test_another_institution_has_other_tokens(house: House) -> None:
    token = house.registry.subject(P1, None).phone
    assert token == house.vault.token("consent-subject", b"phone\x00" + P1.encode())[:16]
    assert token != sm3.hmac(bytes(32), b"phone\x00" + P1.encode())[:16]


# ---- audit


def edit(house: House, sql: str, *parameters: object) -> None:
    with sqlite3.connect(house.path) as connection:
        connection.execute(sql, parameters)


def test_every_byte_of_a_stored_grant_counts(house: House) -> None:
    house.give(row(P1, I1), row(P2, recipient="cardnet"))
    with house.store.read() as reader:
        (chunk,) = tables.chunks(reader)
    for column in ("phone", "id_no", "term", "from_ms", "until_ms", "salt", "form", "digest"):
        whole = getattr(chunk, column)
        for place in range(len(whole)):
            changed = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
            edit(house, f"UPDATE consent_grant SET {column} = ?", changed)
            assert house.registry.audit().findings, (column, place)
        edit(house, f"UPDATE consent_grant SET {column} = ?", whole)
    assert house.registry.audit().findings == ()


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM consent_grant WHERE first = 1",
        "UPDATE consent_event SET root = x'00' WHERE seq = 1",
        "UPDATE consent_event SET kind = 'withdrawn' WHERE seq = 1",
        "DELETE FROM consent_event WHERE seq = 2",
        "DELETE FROM consent_suppression",
        "DELETE FROM consent_event WHERE seq = 1",
        "UPDATE consent_event SET entry = 999 WHERE seq = 2",
        "UPDATE consent_term SET recipient = 'cardnet'",
        "UPDATE consent_grant SET until_ms = 'soon'",
        "UPDATE consent_grant SET digest = x'00'",
        "UPDATE consent_grant SET seq = 7",
        "UPDATE consent_suppression SET phone = zeroblob(16)",
        "UPDATE consent_suppression SET id_no = randomblob(16)",
        "UPDATE consent_suppression SET purpose = 'customer-service'",
        "UPDATE consent_suppression SET recipient = 'bank'",
        "UPDATE consent_suppression SET suppresses = 0",
        "UPDATE consent_suppression SET lifted_seq = 1",
        "UPDATE consent_suppression SET lifted_seq = 4 WHERE seq = 2",
        "UPDATE consent_suppression SET lifted_seq = NULL WHERE seq = 3",
        "UPDATE consent_suppression SET phone = 7",
        "INSERT INTO consent_suppression SELECT 9, 2, zeroblob(16), zeroblob(16), '', '', 1, NULL",
    ],
)
def test_an_edit_with_a_database_tool_is_found(house: House, sql: str) -> None:
    house.give(row(P1))
    house.registry.withdraw(phone=P1)
    house.registry.withdraw(phone=P2)
    house.registry.lift_suppression(phone=P2, reason="客户重新签署")
    assert house.registry.audit().findings == ()
    edit(house, sql)
    assert house.registry.audit().findings


def test_damaged_records_stop_every_decision(house: House) -> None:
    house.give(row(P1))
    edit(house, "UPDATE consent_grant SET until_ms = x'00'")
    house.restart()
    with pytest.raises(VerificationError) as failure:
        reason(house, P1)
    assert failure.value.code == "CONSENT_ALTERED"


def test_a_withdrawal_taken_out_of_every_table_is_missed_by_the_log(house: House) -> None:
    house.give(row(P1))
    house.registry.withdraw(phone=P1)
    edit(house, "DELETE FROM consent_suppression")
    edit(house, "DELETE FROM consent_event WHERE seq = 2")
    (finding,) = house.registry.audit().findings
    assert (finding.event, finding.problem) == (0, "MISSING")


def test_a_placeholder_phone_on_thousands_of_rows_stays_cheap(house: House) -> None:
    """Lists often carry one number for "unknown": 4,000 customers times 4,000 forms must not become 16 million pairs."""
    numbers = [identity_number(i) for i in range(336)]
    house.give(*[row(P1, number, end=f"2026-{6 + i:02d}-30") for number in numbers for i in range(6)])
    house.give(
        *[row(P1, start=f"2026-01-{1 + i:02d}", end=f"2026-{6 + j:02d}-30") for i in range(28) for j in range(6)]
    )
    people = customer_list(*[(f"C{i:05d}", P1, numbers[i % 336] if i % 2 else None) for i in range(4000)])
    query = GrantQuery("wealth-marketing", BANK, house.time_ms, KeyKind.PHONE)
    assert house.registry.decide(people, query).counts == {"AMBIGUOUS_KEY": 4000}
    links = house.registry._lists.find(people, house.registry.state()).links
    sizes = [len(one.left) + len(one.right) for one in (*links.by_phone, *links.by_id)]
    assert sum(sizes) <= 5 * (4000 + 336 * 6 + 28 * 6)
    done = house.registry.withdraw(phone=P1)
    assert done.grants == 336 * 6 + 28 * 6
    assert house.registry.decide(people, query).counts == {"AMBIGUOUS_KEY": 4000}
    assert house.give(row("", numbers[7], start="2026-05-01")).suppressed == 1

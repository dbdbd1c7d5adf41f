"""Receipts as bytes: what is issued says what the registry knows, in one spelling, and every change of a byte is refused."""

from __future__ import annotations

import copy
import io
import re
import zipfile
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from consent_house import DOCUMENT, House, beijing_ms, customer_list, identity_number, phone_number
from hypothesis import given
from hypothesis import strategies as st
from workbench_consent import tables
from workbench_consent.grants import PLAIN, Conditions, grant_digest
from workbench_consent.notices.difference import Staleness
from workbench_consent.receipts import archive, issuing, printing
from workbench_consent.receipts.content import Words
from workbench_consent.receipts.facts import Around
from workbench_consent.receipts.issuing import Issued, Signer

from workbench.contracts import GrantQuery
from workbench.crypto import canonical, sm2, sm3
from workbench.crypto.random import SeededSource
from workbench.domain import consent_receipt as receipts
from workbench.domain.intersection import KeyKind
from workbench.domain.merkle import SM3, check_inclusion, root_of_leaves
from workbench.domain.party import PartyId
from workbench.errors import NotFound, Refused, VerificationError
from workbench.verify import VerdictWord
from workbench.verify_consent import verify_consent_receipt

KEY = sm2.generate(SeededSource(b"contract key of the receipts' tests"))
WORDS = Words(
    {"broker": ("甲证券", "Broker"), "bank": ("乙银行", "Bank"), "cardnet": ("丙卡组织", "Card network")},
    {"wealth-marketing": ("财富管理营销", "wealth management marketing")}, {}, {}, {"phone": ["手机号", "phone number", "yes"]},
)  # fmt: skip
BANK = PartyId("bank")


def row(number: int, *, recipient: str = "bank", until: str = "2027-06-01", channel: str = "网点", document: str = "") -> str:
    return f"{phone_number(number)},{identity_number(number)},wealth-marketing,{recipient},2026-01-01,{until},{document},{channel}"


def issue(house: House, *records: int, **options: Any) -> Issued:
    return issuing.issue(
        house, house.registry.state, np.array(records, np.int64), WORDS, Signer(KEY.public, KEY.sign),
        size=lambda: house.ledger.size(house.party), selection="test", actor="t-chen", **options,
    )  # fmt: skip


def content(issued: Issued, at: int = 0) -> Any:
    return receipts.parse(issued.file(at)).content


def verdict(data: bytes, **options: Any) -> Any:
    return verify_consent_receipt(
        data, **{"trust": None, "contracts": {PartyId("broker"): KEY.public}, "now_ms": None, **options}
    )


def test_a_receipt_says_what_the_registry_knows_and_names_nobody(house: House) -> None:
    house.give(row(1, document=DOCUMENT), row(2, recipient="cardnet"))
    issued = issue(house, 1, 2)
    said = content(issued)
    assert (said["controller"]["party"], said["recipient"]["party"]) == ("broker", "bank")
    assert said["recipient"]["name_zh"] == "乙银行"
    assert said["processing"]["purpose"]["code"] == "wealth-marketing"
    assert said["processing"]["channel"] == "网点"
    assert (said["grant"]["from_ms"], said["grant"]["until_ms"]) == (beijing_ms("2026-01-01"), beijing_ms("2027-06-02"))
    assert said["status"] == {"at_ms": house.time_ms, "event": 1, "log": "broker", "size": 1, "state": "LIVE"}
    assert said["uses"] == {"runs": [], "since_ms": 0, "total": 0}
    assert [one["type"] for one in said["events"]] == ["recorded"]
    text = issued.file(0).decode() + issued.file(1).decode()
    token = house.registry.subject(phone_number(1), identity_number(1))
    assert token.id_no is not None
    for secret in (phone_number(1), identity_number(1), token.id_no.hex(), sm3.digest(phone_number(1).encode()).hex()):
        assert secret not in text
    assert content(issued, 1)["subject"]["token"] != said["subject"]["token"]


def test_the_fast_encoding_is_the_canonical_one(house: House) -> None:
    house.give(row(1, channel='引号" 反斜\\ 😀'), row(2, recipient="cardnet"), row(3))
    house.registry.withdraw(phone=phone_number(3), reason="told at the branch")
    run(house, 1)
    issued = issue(house, 1, 2, 3, masks=lambda facts: lambda at: ("9900**********1234", "100****0001"))
    for at in range(3):
        body = issued.contents.body(at)
        assert canonical.format(canonical.parse(body)) == body
        assert content(issued, at)["subject"]["phone"] == "100****0001"
    assert content(issued, 0)["uses"]["total"] == 1


def run(house: House, *numbers: int, job: str = "J-20260601-00000001", spend: bool = True) -> None:
    customers = customer_list(*((f"c{number}", phone_number(number), identity_number(number)) for number in numbers))
    query = GrantQuery("wealth-marketing", BANK, house.now_ms(), KeyKind.PHONE)
    decision = house.registry.decide(customers, query)
    snapshot = house.store.write(
        lambda tx: house.registry.take_snapshot(tx, job=job, attempt=0, query=query, decision=decision)
    )
    if spend:
        house.store.write(lambda tx: house.registry.use_snapshot(tx, snapshot, job=job, attempt=0, query=query))


def test_runs_that_used_the_grant_are_listed_and_others_are_not(house: House) -> None:
    house.give(*(row(number) for number in range(1, 6)))
    run(house, 1, 2, job="J-20260601-0000000a")
    house.time_ms += 60_000
    run(house, 2, 3, job="J-20260601-0000000b")
    run(house, 4, job="J-20260601-0000000c", spend=False)
    issued = issue(house, 1, 2, 3, 4, 5)
    named = [[one["job"][-1] for one in content(issued, at)["uses"]["runs"]] for at in range(5)]
    assert named == [["a"], ["b", "a"], ["b"], [], []]
    one = content(issued, 1)["uses"]["runs"][0]
    assert (one["recipient"], one["time_ms"]) == ("bank", house.time_ms)
    index = int(one["entry"].split(":")[2])
    assert b'"consent.snapshot"' in house.ledger.bodies[index]


def test_a_grant_used_before_uses_were_recorded_says_since_when_they_are(house: House) -> None:
    house.give(row(1))
    run(house, 1)
    house.store.write(lambda tx: tx.execute("DELETE FROM consent_receipt_use"))
    assert content(issue(house, 1))["uses"] == {"runs": [], "since_ms": house.time_ms + 1, "total": 0}


def test_each_state_is_told_and_the_first_withdrawal_is_the_one_that_counts(house: House) -> None:
    house.give(
        row(1), row(2, until="2026-05-31"), row(3), row(4),
        f"{phone_number(5)},,wealth-marketing,bank,2026-07-01,2027-01-01,,", row(6),
    )  # fmt: skip
    house.time_ms += 1000
    for number in (9, 3, 3, 8):
        house.time_ms += 1000
        house.registry.withdraw(phone=phone_number(number), suppress=number == 8)
    facts = issue(house, 1, 2, 3, 4, 5).facts
    assert facts.state == ["LIVE", "EXPIRED", "WITHDRAWN", "LIVE", "NOT_YET_VALID"]
    assert (facts.withdrawn_by[2], facts.withdrawn_ms[2]) == (3, house.time_ms - 2000)
    said = content(issue(house, 3))
    assert [one["type"] for one in said["events"]] == ["recorded", "withdrawn"]
    assert said["events"][1]["time_ms"] == house.time_ms - 2000


def test_withdrawals_are_found_as_one_by_one(house: House) -> None:
    """The search over events must agree with looking at each grant and each event."""
    house.give(*(row(number, recipient="bank" if number % 2 else "cardnet") for number in range(1, 25)))
    expected = dict.fromkeys(range(1, 25), 0)
    for event, number in enumerate((5, 3, 17, 5, 8, 24, 3, 11), start=2):
        house.registry.withdraw(phone=phone_number(number), suppress=False)
        expected[number] = expected[number] or event
    assert issue(house, *range(1, 25)).facts.withdrawn_by == list(expected.values())


def test_an_erased_grant_and_a_number_that_is_none_get_no_receipt(house: House) -> None:
    house.give(row(1), row(2))
    with pytest.raises(NotFound) as none:
        issue(house, 3)
    assert none.value.code == "NO_GRANT_RECORD"
    house.store.write(
        lambda tx: tx.execute("UPDATE consent_grant SET phone = zeroblob(32), id_no = zeroblob(32), salt = zeroblob(64)")
    )
    house.restart()
    with pytest.raises(NotFound) as gone:
        issue(house, 1)
    assert gone.value.code == "GRANT_ERASED"


def test_no_receipt_shows_a_status_from_before_a_withdrawal_that_precedes_its_entry(house: House) -> None:
    house.give(row(1))
    waiting = [lambda: house.registry.withdraw(phone=phone_number(1))]

    def step(done: int) -> None:
        if waiting:
            waiting.pop()()

    issued = issue(house, 1, step=step)
    assert issued.facts.state == ["WITHDRAWN"]
    assert issued.entry >= issued.facts.size > house.ledger.size(house.party) - 3
    assert len(house.entries("consent.receipts_issued")) == 1


def test_issuing_leaves_the_root_shared_and_the_rest_committed(house: House) -> None:
    house.give(row(1), row(2))
    issued = issue(house, 1, 2)
    assert house.entries("consent.receipts_issued") == [
        {"root": issued.root.hex(), "receipts": "2", "selection": "test", "event": "1", "size": "1"}
    ]
    body = canonical.parse_object(house.ledger.bodies[issued.entry])
    assert body["shared"] == {"root": issued.root.hex()}


def test_a_receipt_is_found_again_by_its_id_and_ids_do_not_repeat(house: House) -> None:
    house.give(row(1), row(2))
    first, second = issue(house, 1, 2), issue(house, 2)
    with house.store.read() as reader:
        assert issuing.find(reader, first.name(1)) == (2, 1, first.entry)
        assert issuing.find(reader, second.name(0)) == (2, 2, second.entry)
        for unknown in ("CR-" + "0" * 32, "CR-xyz", ""):
            with pytest.raises(NotFound):
                issuing.find(reader, unknown)
    assert first.name(1) != second.name(0)
    assert content(first, 1)["subject"] == content(second, 0)["subject"]


@given(st.integers(1, 70))
def test_the_tree_is_that_of_the_log_s_standard(size: int) -> None:
    leaves = [sm3.digest(bytes([at])) for at in range(size)]
    levels = receipts.levels_of(leaves)
    assert levels[-1] == [root_of_leaves(SM3, leaves)]
    for index in range(size):
        path = receipts.path_of(levels, index)
        check_inclusion(SM3, index=index, size=size, leaf=leaves[index], proof=path, root=levels[-1][0])
        assert receipts.root_from(leaves[index], index=index, size=size, path=path) == levels[-1][0]
        if path:
            with pytest.raises(VerificationError):
                receipts.root_from(leaves[index], index=index, size=size, path=path[:-1])
        with pytest.raises(VerificationError):
            receipts.root_from(leaves[index], index=index, size=size, path=[*path, bytes(32)])


def test_every_change_of_one_byte_is_refused(house: House) -> None:
    house.give(row(1, document=DOCUMENT), row(2))
    data = issue(house, 1, 2).file(0)
    assert verdict(data).word is VerdictWord.NOT_FINAL  # everything but the ledger proof, which is not given
    for at in range(len(data)):
        changed = data[:at] + bytes([data[at] ^ (1 if at % 2 else 4)]) + data[at + 1 :]
        assert verdict(changed).word is VerdictWord.FAILED, at
    for other in (data[:-1], data + b"\n", b" " + data, data[: len(data) // 2], b""):
        assert verdict(other).word is VerdictWord.FAILED


def test_a_receipt_of_one_customer_does_not_stand_for_another(house: House) -> None:
    house.give(row(1), row(2))
    issued = issue(house, 1, 2)
    first, second = (canonical.parse_object(issued.file(at)[:-1]) for at in (0, 1))
    swapped = copy.deepcopy(first)
    swapped["content"] = second["content"]
    found = verdict(canonical.format(swapped) + b"\n")
    assert [step.name for step in found.steps if not step.ok] == ["signature"]


def test_terms_that_do_not_give_the_grant_s_digest_are_named_even_when_signed(house: House) -> None:
    house.give(row(1))
    file: Any = canonical.parse_object(issue(house, 1).file(0)[:-1])
    file["content"]["grant"]["until_ms"] += 1000
    body = canonical.format(file["content"])
    root, signed_ms = receipts.leaf_of(body), file["proof"]["signed_ms"]
    message = receipts.signing_bytes(issuer="broker", root=root, receipts=1, signed_ms=signed_ms)
    proof = receipts.format_proof(key=KEY.public, signature=KEY.sign(message), signed_ms=signed_ms)
    found = verdict(receipts.format_file(body, index=0, size=1, path=[], proof=proof))
    assert [step.name for step in found.steps if not step.ok] == ["grant"]


def test_the_signed_form_is_told_from_any_other(house: House) -> None:
    form = b"%PDF-1.4 signed"
    house.give(row(1, document=sm3.digest(form).hex()))
    data = issue(house, 1).file(0)
    assert verdict(data, document=form).word is VerdictWord.NOT_FINAL
    assert verdict(data, document=form + b" ").zh.startswith("不成立（document）")


def test_a_key_that_is_not_pinned_is_never_called_proven(house: House) -> None:
    house.give(row(1))
    data = issue(house, 1).file(0)
    other = sm2.generate(SeededSource(b"another institution"))
    assert verdict(data, contracts={PartyId("broker"): other.public}).word is VerdictWord.FAILED
    assert verdict(data, contracts={}).word is VerdictWord.FAILED
    found = verdict(data, contracts=None)
    assert not found.pinned
    assert [step.name for step in found.steps if step.state == "not_proven"] == ["keys"]


def test_the_words_never_say_valid_now(house: House) -> None:
    house.give(row(1, until="2026-06-30"))
    data = issue(house, 1).file(0)
    now = verdict(data, now_ms=beijing_ms("2026-06-15"))
    later = verdict(data, now_ms=beijing_ms("2026-07-01"))
    assert now.status.is_live
    assert not later.status.is_live
    assert now.status.en.startswith("as of height 1 of the log of broker")
    assert later.status.ended
    for one in (now, later):
        assert re.search(r"valid now|现在有效", one.status.en + one.status.zh + one.en + one.zh) is None


def test_a_batch_with_pages_is_a_zip_whose_bytes_do_not_change(house: House) -> None:
    house.give(row(1), row(2, recipient="cardnet"))
    issued = issue(house, 1, 2)

    def packed() -> bytes:
        return b"".join(archive.parts_of(issued, b"{}", inside=False, pages=True, sealed="2/3", is_final=True))

    data = packed()
    assert packed() == data
    with zipfile.ZipFile(io.BytesIO(data)) as found:
        names = [issued.name(0), issued.name(1)]
        assert found.namelist() == [
            "README.txt", "anchor.json", *(f"{kind}/{name}.{end}" for name in names for kind, end in (("receipts", "json"), ("pages", "html"))),
            "index.csv",
        ]  # fmt: skip
        assert found.read(f"receipts/{names[1]}.json") == issued.file(1)
        assert found.read("index.csv").decode().split() == ["record,receipt_id,state", f"1,{names[0]},LIVE", f"2,{names[1]},LIVE"]
        page = found.read(f"pages/{names[0]}.html").decode()
    assert "乙银行" in page
    assert names[0] in page


def test_what_a_setting_says_is_printed_and_a_malformed_one_issues_nothing(house: House) -> None:
    house.give(row(1, channel='<b>"网点"</b>'))
    words = replace(WORDS, contacts={"bank": ["北京", "95500 <x>", "张工"]}, texts={"withdrawal": ["来电", "call", "https://bank.example/w"]})
    issued = issuing.issue(
        house, house.registry.state, np.array([1]), words, Signer(KEY.public, KEY.sign), size=lambda: 1, selection="", actor=""
    )
    said = content(issued)
    assert (said["recipient"]["contact"], said["withdrawal"]["url"]) == ("95500 <x>", "https://bank.example/w")
    page = printing.page_of(said, receipts.parse(issued.file(0)).digest, sealed="", is_final=False)
    assert page.qr.split("\n")[1:] == [said["receipt_id"], receipts.leaf_of(issued.contents.body(0)).hex(), "https://bank.example/w"]
    text = printing.render_html(page).decode()
    assert "95500 &lt;x&gt;" in text
    assert "<b>" not in text.split("<dl>", 1)[1]
    assert re.search(r'<svg [^>]*viewBox="0 0 (\d+) \1"', text), "a code of a fixed size would be cut off by the page"
    for bad in ({"contacts": {"bank": ["a"]}}, {"information": {"phone": ["手机号", "phone", "maybe"]}}, {"texts": {"storage": "x"}}):
        with pytest.raises(Refused) as refused:
            issuing.issue(
                house, house.registry.state, np.array([1]), replace(WORDS, **bad), Signer(KEY.public, KEY.sign),  # type: ignore[arg-type]
                size=lambda: 1, selection="", actor="",
            )  # fmt: skip
        assert refused.value.code == "RECEIPT_SETTINGS"
    assert len(house.entries("consent.receipts_issued")) == 1


FULL = Conditions(
    "wealth@3", "cd" * 32, ("id-no", "phone"), ("call", "sms"), "otp", "guardian", minor=True, separate=True, max_uses=7
)  # fmt: skip


def conditioned(house: House, *conditions: Conditions) -> Any:
    """A state whose grants carry these conditions, as an import of forms under a notice leaves them."""
    house.give(*(row(number) for number in range(1, len(conditions) + 1)))
    plain = house.registry.state()
    terms = tuple(replace(plain.terms[0], conditions=one) for one in conditions)
    with house.store.read() as reader:
        chunk = tables.chunk_holding(reader, 1)
    digests = b"".join(
        grant_digest(
            salt=chunk.salt[32 * at : 32 * at + 32], purpose="wealth-marketing", party="broker", recipient="bank", channel="网点",
            from_ms=int(plain.grants.from_ms[at]), until_ms=int(plain.grants.until_ms[at]), form=chunk.form[32 * at : 32 * at + 32],
            conditions=one,
        )
        for at, one in enumerate(conditions)
    )  # fmt: skip
    grants = replace(
        plain.grants, term=np.arange(len(conditions), dtype=np.uint16), digest=np.frombuffer(digests, np.uint8).reshape(-1, 32)
    )
    return replace(plain, terms=terms, grants=grants)


def test_a_form_under_a_notice_shows_its_terms_and_its_digest_follows_from_each_of_them(house: House) -> None:
    state = conditioned(house, FULL, Conditions(signer="self"), PLAIN)
    words = replace(WORDS, categories={"phone": ["手机号", "phone number", True], "id-no": ["身份证号", "identity number", True]})
    issued = issuing.issue(
        house, lambda: state, np.array([1, 2, 3]), words, Signer(KEY.public, KEY.sign), size=lambda: 1, selection="", actor=""
    )
    first, second, third = (content(issued, at) for at in range(3))
    assert (first["notice"]["key"], first["notice"]["version"], first["notice"]["sm3"]) == ("wealth", "3", "cd" * 32)
    assert first["represented_by"]["kind"] == "guardian"
    assert first["limits"]["max_uses"] == "7"
    assert [one["code"] for one in first["processing"]["information"]] == ["id-no", "phone"]
    page = printing.render_html(printing.page_of(first, b"", sealed="2/3", is_final=True)).decode()
    assert all(word in page for word in ("wealth@3", "监护人", "7 次求交", "登记时未附原件"))
    assert (second["grant"]["v"], second["grant_v2"]["signer"], "represented_by" in second) == (2, "self", False)
    assert (third["grant"]["v"], "grant_v2" in third) == (1, False)
    for at in range(3):
        assert verdict(issued.file(at)).word is VerdictWord.NOT_FINAL
        assert canonical.format(content(issued, at)) == issued.contents.body(at)
    others = {
        "categories": "phone", "contacts": "sms", "max_uses": "8", "method": "paper", "minor": "no", "separate": "no", "signer": "agent",
    }  # fmt: skip
    for name, value in others.items():
        changed: Any = canonical.parse_object(issued.file(0)[:-1])
        changed["content"]["grant_v2"][name] = value
        found = verdict(canonical.format(changed) + b"\n")
        assert next(step.name for step in found.steps if not step.ok) == "grant", name


def test_what_stands_against_a_live_grant_is_told_without_a_reason_that_is_nobody_s_business(house: House) -> None:
    """Stale, a minor without a guardian, uses spent, processing restricted: the first is named, the others are "not usable"."""
    minor = Conditions(signer="self", minor=True)
    noticed = Conditions("wealth@1", "cd" * 32, ("phone",), signer="self")
    state = conditioned(house, noticed, minor, PLAIN, PLAIN, PLAIN)
    restricted = house.registry.subject(None, identity_number(4)).id_no
    assert restricted is not None
    around = Around(
        stale={"wealth@1": [(house.time_ms - 1, Staleness("wealth-marketing", "bank", True, ()))]},
        used_up=np.array([False, False, True, False, False]),
        restricted=[restricted.hex()],
    )
    issued = issuing.issue(
        house, lambda: state, np.arange(1, 6), WORDS, Signer(KEY.public, KEY.sign), size=lambda: 1, selection="", actor="",
        around=lambda state: around,
    )  # fmt: skip
    assert issued.facts.state == ["STALE", "UNUSABLE", "UNUSABLE", "UNUSABLE", "LIVE"]


def test_contents_of_another_shape_are_refused(house: House) -> None:
    house.give(row(1))
    good: Any = canonical.parse_object(issue(house, 1).contents.body(0))
    receipts.check_content(good)
    receipts.check_content({**good, "represented_by": {"basis": "户口簿", "kind": "guardian"}})
    receipts.check_content({**good, "limits": {"data_life": "", "max_uses": "3", "not_by": "sms"}})
    bad: list[Any] = [
        {**good, "more": ""},
        {name: value for name, value in good.items() if name != "withdrawal"},
        {**good, "status": {**good["status"], "state": "FINE"}},
        {**good, "status": {**good["status"], "log": "bank"}},
        {**good, "recipient": {**good["recipient"], "party": "broker"}},
        {**good, "grant": {**good["grant"], "until_ms": good["grant"]["from_ms"]}},
        {**good, "grant": {**good["grant"], "record": True}},
        {**good, "grant": {**good["grant"], "v": 2}},
        {**good, "notice": {**good["notice"], "key": "wealth", "version": "1"}},
        {**good, "grant": {**good["grant"], "v": 2}, "grant_v2": {"notice": "x"}},
        {**good, "uses": {**good["uses"], "total": -1}},
        {**good, "represented_by": {"basis": "", "kind": "friend"}},
        {**good, "events": []},
        {**good, "language": "x" * 4001},
    ]
    for one in bad:
        with pytest.raises(VerificationError):
            receipts.check_content(one)

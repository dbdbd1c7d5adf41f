"""Receipts and their offline verification; docs/protocols/evidence.md sections 9 and 10."""

from __future__ import annotations

import copy
import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ledger.world import BANK, BROKER, CARDNET, JOB, KEYS, PARTIES, PINNED, World
from workbench.domain import checkpoint as notes
from workbench.domain.checkpoint import PartyKeys
from workbench.domain.listdigest import export_digest
from workbench.domain.party import PartyId
from workbench.domain.receipt import format_receipt, job_receipt, load_receipt
from workbench.errors import VerificationError
from workbench.verify import (
    StepState,
    Verdict,
    VerdictWord,
    file_sm3,
    read_identifiers,
    verify_receipt,
    verify_receipt_file,
)

KEY = bytes(range(32))
PHONES = [f"1990000{number:04d}" for number in range(60)]


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world in which broker and bank released a job and everybody has signed; tests only read it."""
    made = World(tmp_path_factory.mktemp("receipts") / "world")
    made.broker.write(12)
    for node, partner in ((made.broker, "bank"), (made.bank, "broker")):
        values = {
            "partner": partner,
            "key_kind": "phone",
            "note": "released",
            "list_digest": export_digest(KEY, PHONES).hex(),
            "list_key": KEY.hex(),
            "count": "60",
        }
        node.append(*node.envelope(values))
    made.settle()
    yield made
    made.close()


def own_receipt(world: World) -> dict[str, Any]:
    openings = {name: world.broker.openings[12][name] for name in ("list_digest", "list_key")}
    return world.broker.ledger.receipt(BROKER, 12, openings=openings)


def full_receipt(world: World) -> dict[str, Any]:
    """The job's receipt: the broker's entry with the bank's linked, the latter from the broker's own mirror."""
    return job_receipt([own_receipt(world), world.broker.ledger.receipt(BANK, 0)])


def write_list(path: Path, phones: list[str]) -> Path:
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["customer_id", "phone", "资产档"])
        writer.writerows([f"C{number:05d}", phone, "A"] for number, phone in enumerate(phones))
    return path


def failing(verdict: Verdict) -> list[str]:
    return [step.name for step in verdict.steps if step.state is StepState.FAILED]


def test_a_receipt_holds_under_pinned_keys_and_says_who_signed(sealed: World) -> None:
    verdict = verify_receipt(full_receipt(sealed), trust=PINNED)
    assert (verdict.word, verdict.exit_status, failing(verdict)) == (VerdictWord.OK, 0, [])
    assert (verdict.log, verdict.index, verdict.cosigners) == (BROKER, 12, PARTIES)
    assert verdict.required == (BANK, BROKER)
    assert "3/3" in verdict.zh
    assert verdict.entry is not None
    assert verdict.entry.job == JOB
    names = [step.name for step in verdict.steps]
    assert names[:8] == ["format", "entry", "sha256", "sm3", "tlog_proof", "keys", "checkpoint", "openings"]
    assert names[-1] == "sealed"
    assert all(step.zh and step.en for step in verdict.steps)


def test_every_institution_can_issue_a_receipt_for_every_log(sealed: World) -> None:
    for issuer in PARTIES:
        for log in (BROKER, BANK):
            receipt = sealed.nodes[issuer].ledger.receipt(log, 0)
            assert verify_receipt(receipt, trust=PINNED).word is VerdictWord.OK


def test_every_entry_has_a_receipt_that_holds(sealed: World) -> None:
    for index in range(13):
        assert verify_receipt(sealed.cardnet.ledger.receipt(BROKER, index), trust=PINNED).holds


def test_without_pinned_keys_the_verdict_says_so(sealed: World) -> None:
    verdict = verify_receipt(full_receipt(sealed), trust=None)
    assert verdict.word is VerdictWord.KEYS_NOT_PINNED
    assert not verdict.holds
    assert "keys not pinned" in verdict.en
    assert "未锁定公钥" in verdict.zh
    assert not verdict.pinned and verdict.as_dict()["pinned"] is False
    # No tick for what nothing could have shown: the keys of the entry and those of its link.
    open_steps = {step.name: step.state for step in verdict.steps if not step.ok}
    assert open_steps == {"keys": StepState.NOT_PROVEN, "link 1 keys": StepState.NOT_PROVEN}
    assert verify_receipt(full_receipt(sealed), trust=PINNED).pinned


def test_a_receipt_under_other_keys_fails_only_for_who_has_pinned_them(sealed: World) -> None:
    """A forger can always make a receipt that is consistent with the keys inside it."""
    forger = {party: PartyKeys(party, KEYS[BANK].ed25519.public, KEYS[BANK].sm2.public) for party in PARTIES}
    verdict = verify_receipt(full_receipt(sealed), trust=forger)
    assert verdict.word is VerdictWord.FAILED
    assert "keys" in failing(verdict)


def test_the_keys_inside_must_be_the_pinned_ones(sealed: World) -> None:
    receipt = full_receipt(sealed)
    receipt["keys"]["bank"]["sm2"] = KEYS[CARDNET].sm2.public.format()
    verdict = verify_receipt(receipt, trust=PINNED)
    assert "keys" in failing(verdict)
    assert "bank" in next(step for step in verdict.steps if not step.ok).en


def strip(receipt: dict[str, Any], party: PartyId) -> None:
    """Leave out an institution's lines, as an issuer could."""
    text, lines = notes.split_note(receipt["checkpoint"])
    name = notes.origin_of("evidence", party)
    log_line = lines[0]
    kept = [line for line in lines if line == log_line or line.name != name]
    note = notes.format_note(text, kept)
    receipt["tlog_proof"] = receipt["tlog_proof"].replace(receipt["checkpoint"], note)
    receipt["checkpoint"] = note


def test_without_the_partner_s_signature_it_is_not_final(sealed: World) -> None:
    receipt = own_receipt(sealed)
    strip(receipt, BANK)
    verdict = verify_receipt(receipt, trust=PINNED)
    assert (verdict.word, verdict.exit_status, failing(verdict)) == (VerdictWord.NOT_FINAL, 2, ["sealed"])
    assert "bank" in verdict.en
    assert "未定稿" in verdict.zh


def test_the_third_institution_may_follow_later(sealed: World) -> None:
    receipt = own_receipt(sealed)
    strip(receipt, CARDNET)
    verdict = verify_receipt(receipt, trust=PINNED)
    assert verdict.word is VerdictWord.OK
    assert verdict.as_dict()["cosigned"] == "2/3"


def test_the_log_s_own_co_signature_is_required_too(sealed: World) -> None:
    receipt = own_receipt(sealed)
    strip(receipt, BROKER)
    assert verify_receipt(receipt, trust=PINNED).word is VerdictWord.NOT_FINAL


def test_a_link_that_is_not_final_makes_the_job_not_final(sealed: World) -> None:
    receipt = full_receipt(sealed)
    strip(receipt["links"][0], BROKER)
    verdict = verify_receipt(receipt, trust=PINNED)
    assert verdict.word is VerdictWord.NOT_FINAL


def test_an_unsealed_entry_says_not_final(world: World) -> None:
    world.broker.write(1)
    verdict = verify_receipt(world.broker.ledger.receipt(BROKER, 0), trust=PINNED)
    assert verdict.word is VerdictWord.NOT_FINAL
    assert verdict.as_dict()["cosigned"] == "1/3"


def test_one_institution_alone_never_seals_an_entry_without_partner(world: World) -> None:
    """An entry that names nobody still needs a witness."""
    world.broker.write(1, partner="")
    assert verify_receipt(world.broker.ledger.receipt(BROKER, 0), trust=PINNED).word is VerdictWord.NOT_FINAL
    world.exchange(BROKER, CARDNET)
    assert verify_receipt(world.broker.ledger.receipt(BROKER, 0), trust=PINNED).word is VerdictWord.OK


def leaves_of(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Every string in a receipt with its place."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict):
        for name, one in value.items():
            yield from leaves_of(one, (*place, name))
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from leaves_of(one, (*place, number))


def replaced(receipt: dict[str, Any], place: tuple[Any, ...], value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(receipt)
    target: Any = changed
    for one in place[:-1]:
        target = target[one]
    target[place[-1]] = value
    return changed


@pytest.mark.parametrize("pinned", [True, False], ids=["pinned", "not pinned"])
def test_every_change_of_one_character_is_refused(sealed: World, pinned: bool) -> None:
    """Every string of the receipt, a sample of its characters: entry, paths, note, proof text, keys, openings, link."""
    receipt = full_receipt(sealed)
    trust = PINNED if pinned else None
    tried = 0
    for place, text in leaves_of(receipt):
        step = 1 if pinned and len(text) <= 40 else max(1, len(text) // (20 if pinned else 6))
        for position in range(0, len(text), step):
            old = text[position]
            new = "A" if old != "A" else "B"
            changed = replaced(receipt, place, text[:position] + new + text[position + 1 :])
            verdict = verify_receipt(changed, trust=trust)
            assert verdict.word is VerdictWord.FAILED, (place, position)
            tried += 1
    assert tried > (400 if pinned else 100)


def test_every_byte_of_the_entry_is_covered(sealed: World) -> None:
    receipt = own_receipt(sealed)
    entry = receipt["entry"]
    for position in range(len(entry)):
        changed = entry[:position] + ("0" if entry[position] != "0" else "1") + entry[position + 1 :]
        assert verify_receipt({**receipt, "entry": changed}, trust=PINNED).word is VerdictWord.FAILED


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("index",), 11),
        (("index",), "12"),
        (("index",), True),
        (("index",), -1),
        (("log",), "bank"),
        (("v",), "workbench/v2/receipt"),
        (("proof", "sha256"), []),
        (("proof", "sm3"), []),
        (("proof", "sm3"), None),
        (("proof",), {}),
        (("keys",), {}),
        (("openings",), []),
        (("links",), [1]),
        (("links",), {}),
        (("entry",), 1),
        (("checkpoint",), ""),
        (("more",), ""),
    ],
)
def test_odd_members_are_refused_and_never_raise(sealed: World, place: tuple[str, ...], value: Any) -> None:
    assert verify_receipt(replaced(own_receipt(sealed), place, value), trust=None).word is VerdictWord.FAILED


def test_swapped_paths_and_notes_are_refused(sealed: World) -> None:
    receipt = own_receipt(sealed)
    other = sealed.broker.ledger.receipt(BROKER, 3)
    bank = sealed.broker.ledger.receipt(BANK, 0)
    swaps = [
        {**receipt, "proof": other["proof"]},
        {**receipt, "proof": {"sha256": receipt["proof"]["sm3"], "sm3": receipt["proof"]["sha256"]}},
        {**receipt, "entry": other["entry"]},
        {**receipt, "checkpoint": bank["checkpoint"]},
        {**receipt, "tlog_proof": other["tlog_proof"]},
        {**receipt, "openings": {"count": {"salt": "00" * 32, "value": "60"}}},
        {**receipt, "links": [receipt]},
        {**receipt, "links": [bank, bank]},
        {**receipt, "links": [sealed.cardnet.ledger.receipt(BROKER, 12)]},
        {**receipt, "links": [{**bank, "links": [other]}]},
    ]
    for one in swaps:
        assert verify_receipt(one, trust=PINNED).word is VerdictWord.FAILED
    others: tuple[object, ...] = (None, [], "receipt", 7, {})
    for nothing in others:
        assert verify_receipt(nothing, trust=None).word is VerdictWord.FAILED


def test_a_link_about_another_job_is_refused(world: World) -> None:
    world.broker.write(1)
    world.bank.now_ms += 1
    body = world.bank.body(0, partner="broker")[0].replace(JOB.encode(), b"J-20261121-ffffffff")
    world.bank.store.write(lambda tx: world.bank.ledger.append(tx, [body]))
    world.settle()
    receipt = job_receipt([world.broker.ledger.receipt(BROKER, 0), world.broker.ledger.receipt(BANK, 0)])
    verdict = verify_receipt(receipt, trust=PINNED)
    assert "link 1 job" in failing(verdict)


def test_a_wrong_opening_is_never_put_into_a_receipt(sealed: World) -> None:
    salt, _ = sealed.broker.openings[12]["count"]
    with pytest.raises(VerificationError):
        sealed.broker.ledger.receipt(BROKER, 12, openings={"count": (salt, "61")})


# ---- the exported list


def test_the_exported_list_is_vouched_for(sealed: World, tmp_path: Path) -> None:
    path = write_list(tmp_path / "out.csv", PHONES)
    verdict = verify_receipt(full_receipt(sealed), trust=PINNED, csv_path=path)
    assert verdict.word is VerdictWord.OK
    assert "60" in next(step for step in verdict.steps if step.name == "list").en


@pytest.mark.parametrize(
    "change",
    [
        lambda phones: phones[:-1],
        lambda phones: [*phones, "19900009999"],
        lambda phones: [*phones[:-1], "19900009999"],
        lambda phones: [*phones[:-1], ""],
        lambda phones: [],
    ],
    ids=["row removed", "row added", "row changed", "empty value", "no row"],
)
def test_a_changed_list_is_refused(sealed: World, tmp_path: Path, change: Any) -> None:
    path = write_list(tmp_path / "out.csv", change(PHONES))
    verdict = verify_receipt(full_receipt(sealed), trust=PINNED, csv_path=path)
    assert (verdict.word, failing(verdict)) == (VerdictWord.FAILED, ["list"])


def test_the_order_of_rows_and_other_columns_do_not_matter_to_the_key_digest(sealed: World, tmp_path: Path) -> None:
    path = write_list(tmp_path / "out.csv", PHONES[::-1])
    assert verify_receipt(full_receipt(sealed), trust=PINNED, csv_path=path).word is VerdictWord.OK


@pytest.mark.parametrize(
    "data",
    [b"", b"a,b\n1,2\n", b"\xff\xfe\x00", b"phone,mobile\n1,2\n", b'phone\n"1', b"customer_id,phone\nC1\n"],
    ids=["empty", "no key column", "not utf-8", "two key columns", "open quote", "short row"],
)
def test_files_that_are_no_such_list_are_refused(sealed: World, tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(data)
    assert failing(verify_receipt(full_receipt(sealed), trust=PINNED, csv_path=path)) == ["list"]


def test_a_missing_file_or_opening_is_said(sealed: World, tmp_path: Path) -> None:
    missing = verify_receipt(full_receipt(sealed), trust=PINNED, csv_path=tmp_path / "none.csv")
    assert failing(missing) == ["list"]
    closed = sealed.broker.ledger.receipt(BROKER, 12)
    path = write_list(tmp_path / "out.csv", PHONES)
    assert failing(verify_receipt(closed, trust=PINNED, csv_path=path)) == ["list"]


def test_an_export_entry_vouches_for_the_whole_file(world: World, tmp_path: Path) -> None:
    """The release vouches for 60 identifiers; the export, after a withdrawal, for 59 and for every byte of the file."""
    path = write_list(tmp_path / "out.csv", PHONES[:-1])
    for phones, name in ((PHONES, ""), (PHONES[:-1], file_sm3(path))):
        world.broker.append(*world.broker.export(export_digest(KEY, phones), KEY, name))
    world.settle()
    shown = [{name: one for name, one in world.broker.openings[index].items() if one[1]} for index in (0, 1)]
    parts = [world.broker.ledger.receipt(BROKER, index, openings=shown[index]) for index in (0, 1)]
    receipt = job_receipt(parts)
    assert verify_receipt(receipt, trust=PINNED, csv_path=path).word is VerdictWord.OK
    before_withdrawal = write_list(tmp_path / "all.csv", PHONES)
    assert failing(verify_receipt(receipt, trust=PINNED, csv_path=before_withdrawal)) == ["list"]
    text = path.read_text(encoding="utf-8-sig").replace("C00003", "C00004")
    path.write_text(text, encoding="utf-8-sig")
    refused = verify_receipt(receipt, trust=PINNED, csv_path=path)
    assert failing(refused) == ["list"]
    assert "something else in the file" in refused.en
    assert verify_receipt(parts[0], trust=PINNED, csv_path=before_withdrawal).word is VerdictWord.OK


def test_an_export_that_is_not_sealed_makes_the_receipt_not_final(world: World) -> None:
    """Otherwise an institution could vouch for any list by an entry that it shows to nobody."""
    world.broker.write(1)
    world.settle()
    world.broker.write(1)
    receipt = job_receipt([world.broker.ledger.receipt(BROKER, index) for index in (0, 1)])
    assert verify_receipt(receipt, trust=PINNED).word is VerdictWord.NOT_FINAL


def test_the_key_column_may_have_its_chinese_name(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("客户号,手机号\nC1,19900000001\n", encoding="utf-8")
    assert read_identifiers(path, "phone") == ["19900000001"]
    assert read_identifiers(path, "") == ["19900000001"]
    with pytest.raises(VerificationError):
        read_identifiers(path, "id_no")


# ---- files


def test_a_receipt_file_round_trips_and_verifies(sealed: World, tmp_path: Path) -> None:
    receipt = full_receipt(sealed)
    path = tmp_path / "receipt.json"
    path.write_bytes(format_receipt(receipt))
    assert load_receipt(path.read_bytes()) == receipt
    assert verify_receipt_file(path, trust=PINNED).word is VerdictWord.OK
    assert verify_receipt_file(path, trust=PINNED).as_dict()["verdict"] == "OK"


def test_a_file_with_a_repeated_member_is_refused(sealed: World, tmp_path: Path) -> None:
    """Two readers could otherwise take different ones."""
    text = format_receipt(own_receipt(sealed)).decode()
    path = tmp_path / "twice.json"
    path.write_text(text.replace('"index": 12,', '"index": 11,\n  "index": 12,', 1), encoding="utf-8")
    assert verify_receipt_file(path, trust=PINNED).word is VerdictWord.FAILED
    for data in (b"", b"{", b"[]", b"\xff", b"[" * 5000):
        path.write_bytes(data)
        assert verify_receipt_file(path, trust=None).word is VerdictWord.FAILED


def test_a_receipt_shows_no_committed_value_that_was_not_opened(sealed: World) -> None:
    text = json.dumps(sealed.broker.ledger.receipt(BROKER, 12))
    assert KEY.hex() not in text


def test_job_receipts_join_plain_receipts_only(sealed: World) -> None:
    own, partner = own_receipt(sealed), sealed.broker.ledger.receipt(BANK, 0)
    with pytest.raises(ValueError, match="job receipt"):
        job_receipt([])
    with pytest.raises(ValueError, match="job receipt"):
        job_receipt([own, job_receipt([partner, own])])
    assert own["links"] == []

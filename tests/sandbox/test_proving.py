"""A lease file by itself: what the checks take, what they refuse, and that another reader, written from the document, finds the same."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from typing import Any

import pytest

from tests.sandbox.samples import (
    KEYS,
    LEASE,
    ORDER,
    PROVIDER,
    PROVIDER_SERVICE,
    RECEIPT,
    SANDBOX,
    TENANT,
    TICK,
    make_lease_file,
)
from workbench.channel import frame
from workbench.crypto import sm2, sm3
from workbench.errors import VerificationError
from workbench_sandbox.formats import erasing, evidence, leasefile, metering, proving, servicekey

CONTRACTS = {TENANT: KEYS["tenant-contract"].public, PROVIDER: KEYS["provider-contract"].public}


def states(file: leasefile.LeaseFile) -> dict[str, str]:
    return {one.name: one.state for one in proving.prove(file, CONTRACTS).steps}


def test_everything_that_was_signed_about_a_lease_holds_and_its_sums_come_from_it() -> None:
    found = proving.prove(make_lease_file(), CONTRACTS)
    signed = dict.fromkeys(("keys", "evidence", "ends", "ticks", "statement", "erased"), "ok")
    assert {one.name: one.state for one in found.steps} == {"order": "not-proven", **signed}  # nobody signed the order in this file: entries name it
    assert (found.state, len(found.ends), [one.agreed_card_seconds for one in found.ticks]) == ("not-proven", 2, [118])
    assert found.statement is not None and found.statement.amount_fen == 118 * 12 // 60


def test_no_changed_byte_is_taken_but_in_the_order_which_entries_name_and_in_whose_file_it_says_it_is() -> None:
    raw = make_lease_file().encoded
    step = max(1, len(raw) // 120)
    for place in range(0, len(raw), step):
        copy = raw[:place] + bytes([raw[place] ^ (1, 0x20)[place % 2]]) + raw[place + 1 :]
        try:
            file = leasefile.parse_lease_file(copy)
        except VerificationError as error:
            assert error.code == "LEASE_FILE"
            continue
        assert (file.order, file.party) != (ORDER, TENANT) or proving.prove(file, CONTRACTS).state == "failed", (place, raw[place - 20 : place + 20])


def test_what_is_left_out_is_not_proven_and_what_does_not_belong_there_fails() -> None:
    file = make_lease_file()
    for name, change, step, state in (
        ("no document", {"evidence": ()}, "evidence", "not-proven"), ("ends of nobody known", {"evidence": ()}, "ends", "failed"),
        ("no ends", {"ends": ()}, "ends", "not-proven"), ("no reply", {"ticks": ((file.ticks[0][0], b""),)}, "ticks", "not-proven"),
        ("a statement over a tick nobody answered", {"ticks": ((file.ticks[0][0], b""),)}, "statement", "failed"), ("no statement", {"statement": b""}, "statement", "not-proven"),
        ("no receipt", {"receipts": ()}, "erased", "not-proven"), ("a document twice", {"evidence": file.evidence * 2}, "evidence", "failed"),
        ("a tick twice", {"ticks": file.ticks * 2}, "ticks", "failed"), ("ends twice", {"ends": file.ends * 2}, "ends", "failed"),
        ("no service key", {"service_keys": {}}, "keys", "failed"), ("another order", {"order": replace(ORDER, image="ab" * 32)}, "evidence", "failed"),
        ("a higher level", {"order": replace(ORDER, assurance="gvisor")}, "evidence", "failed"), ("fewer cards", {"order": replace(ORDER, most_cards=1)}, "ticks", "failed"),
        ("another price", {"order": replace(ORDER, tariff=replace(ORDER.tariff, fen_per_card_minute=13))}, "statement", "failed"),
        ("a control that was off", {"order": replace(ORDER, controls=("no-swap",))}, "evidence", "failed"),
    ):  # fmt: skip
        assert states(make_lease_file(**change))[step] == state, name
    assert states(make_lease_file(party=PROVIDER)) == states(file)
    assert proving.prove(file, {TENANT: CONTRACTS[TENANT]}).state == "failed"  # a key that is pinned nowhere shows nothing
    assert proving.prove(file, dict(zip(CONTRACTS, reversed(CONTRACTS.values()), strict=True))).state == "failed"


def test_ends_are_looked_at_under_the_sandbox_and_session_that_they_name_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    file, tried = make_lease_file(), list[sm2.PublicKey]()
    real = proving.verify_signed_item

    def counted(statement: bytes, signature: bytes, payload: bytes, *, key: sm2.PublicKey) -> frame.SignedItem:
        tried.append(key)
        return real(statement, signature, payload, key=key)

    monkeypatch.setattr(proving, "verify_signed_item", counted)
    [document] = proving.prove(file, CONTRACTS).documents
    assert tried == [document.statement.keys.key]
    others = [replace(document, statement=replace(document.statement, sandbox=f"sb-{number:016x}")) for number in range(500)]
    by_sandbox = {one.statement.identity: [one] for one in (*others, document)}
    under: dict[str, evidence.Evidence] = {}
    tried.clear()
    session, value = proving._signed_ends(file, by_sandbox, under, file.ends[0])
    assert (len(tried), value.last, under) == (1, 2, {session: document})
    del by_sandbox[document.statement.identity]
    with pytest.raises(VerificationError):
        proving._signed_ends(file, by_sandbox, {}, file.ends[0])
    assert len(tried) == 1, "no key of another sandbox is tried"
    for wrong in (replace(file.ends[0], ends=file.ends[0].ends[:1]), replace(file.ends[0], ends=file.ends[0].ends[::-1])):
        with pytest.raises(VerificationError):
            proving._signed_ends(file, by_sandbox, under, wrong)
    assert len(tried) == 1, "what is wrong without a look at a signature costs none"


def test_a_receipt_with_residue_or_of_another_sandbox_fails_and_a_later_clean_one_counts() -> None:
    service = servicekey.sign_service_key(PROVIDER_SERVICE, key=KEYS["provider-contract"])

    def signed(receipt: erasing.Receipt) -> bytes:
        return erasing.sign_receipt(receipt, key=KEYS["provider-service"], service=service)

    left = replace(RECEIPT, checks=(replace(RECEIPT.checks[0], found=1), *RECEIPT.checks[1:]))
    later = replace(RECEIPT, began_ms=RECEIPT.ended_ms, ended_ms=RECEIPT.ended_ms + 1)
    for receipts, state in (
        ((left,), "failed"), ((left, later), "ok"), ((later, left), "ok"), ((replace(RECEIPT, sandboxes=("sb-" + "0" * 16,)),), "failed"),
        ((replace(RECEIPT, lease="L-20251122-ffffffff"),), "failed"), ((replace(RECEIPT, tenant=PROVIDER),), "failed"),
    ):  # fmt: skip
        assert states(make_lease_file(receipts=tuple(map(signed, receipts))))["erased"] == state


def test_a_lease_file_has_exactly_its_members_in_one_spelling() -> None:
    body = json.loads(make_lease_file().encoded)
    for name in body:
        for value in (None, 7, {}, [], "xyz", True):
            if type(value) is type(body[name]) and value != "xyz":
                continue
            refuse({**body, name: value})
        refuse({other: one for other, one in body.items() if other != name})
    for changes in ({"zz": 1}, {"party": "bank"}, {"kind": "lease-receipt"}, {"v": 2}, {"service_keys": {**body["service_keys"], "bank": []}}, {"evidence": ["0"]}, {"receipts": ["AB"]}):
        refuse({**body, **changes})
    for name, other in (("ends", {"ends": []}), ("ends", {"zz": 1}), ("ticks", {"zz": ""}), ("ticks", {"reply": 1})):
        refuse({**body, name: [{**body[name][0], **other}]})


def refuse(body: dict[str, Any]) -> None:
    encoded = json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(VerificationError) as caught:
        leasefile.parse_lease_file(encoded)
    assert caught.value.code == "LEASE_FILE"


def test_two_files_of_one_lease_are_compared_part_by_part() -> None:
    one = make_lease_file()
    assert list(proving.compare(one, replace(one, party=PROVIDER, evidence=(), ends=()))) == []
    changes: tuple[dict[str, Any], ...] = ({"ticks": ()}, {"statement": b""}, {"receipts": ()}, {"order": replace(ORDER, cards=2)}, {"ticks": ((one.ticks[0][0], b""),)})
    for change in changes:
        assert len(list(proving.compare(one, replace(one, party=PROVIDER, **change)))) == 1, change


# ----------------------------------------------------------------------------------- a reader by the document alone


def cut(raw: bytes) -> tuple[bytes, bytes, bytes]:
    """LV4(body) ‖ 64 bytes ‖ rest."""
    size = struct.unpack(">I", raw[:4])[0]
    assert 4 + size + 64 <= len(raw)
    return raw[4 : 4 + size], raw[4 + size : 68 + size], raw[68 + size :]


def holds(kind: str, party: str, job: str, body: bytes, signature: bytes, key: str) -> None:
    """*signed(kind, key, body)* of section 1, by the pure Python library."""
    assert json.dumps(json.loads(body), ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode() == body
    sm2.verify_portable(sm2.PublicKey.parse(key), f"workbench/v1/{kind}\n{party}\n{job}\n".encode() + body, signature)


def read_by_the_document(raw: bytes, contracts: dict[str, str]) -> dict[str, Any]:
    """What section 14.1 says of a lease file, from its words: JSON, lengths and digests by the standard library."""
    file = json.loads(raw)
    assert sorted(file) == sorted(("v", "kind", "party", "order", "service_keys", "ticks", "statement", "receipts", "evidence", "ends")) and file["kind"] == "lease-file"
    order = json.loads(bytes.fromhex(file["order"]))
    tenant, provider, lease = order["tenant"], order["provider"], order["lease"]
    keys: dict[str, list[str]] = {}
    for party, statements in file["service_keys"].items():
        before = ""
        for one in statements:
            body, signature, rest = cut(bytes.fromhex(one))
            holds("service-key", party, "", body, signature, contracts[party])
            said = json.loads(body)
            assert rest == b"" and said["party"] == party and said["previous"] == before
            before = sm3.digest(body).hex()
            keys.setdefault(party, []).append(said["key"])
    inside = {}
    for one in file["evidence"]:
        body, own, rest = cut(bytes.fromhex(one))
        provided, service = rest[:64], rest[64:]
        said, stated = json.loads(body), json.loads(cut(service)[0])
        holds("sandbox-self", f"{provider}:{said['sandbox']}", lease, body, own, said["keys"]["sm2"])
        holds("sandbox-evidence", provider, lease, body, provided, stated["key"])
        assert (said["tenant"], said["lease"], said["image"]["id"]) == (tenant, lease, order["image"]) and stated["key"] in keys[provider]
        assert set(order["controls"]) <= {control["name"] for control in said["controls"] if control["state"] == "on"}
        inside[f"{provider}:{said['sandbox']}"] = said["keys"]["sm2"]
    for one in file["ends"]:
        statement, payload = bytes.fromhex(one["statement"]), bytes.fromhex(one["payload"])
        said, signed = json.loads(statement), json.loads(payload)
        holds("session-item", said["from"], said["session"], statement, bytes.fromhex(one["signature"]), inside[said["from"]])
        assert (said["to"], said["digest"], said["size"]) == (tenant, sm3.digest(payload).hex(), len(payload))
        assert signed["root"] == sm3.digest(b"".join(map(bytes.fromhex, one["ends"]))).hex() and signed["last"] - signed["first"] + 1 == len(one["ends"])
    digests, previous, total, agreed, second = [], "", 0, 0, 0
    for number, one in enumerate(file["ticks"], 1):
        body, signature, rest = cut(bytes.fromhex(one["tick"]))
        holds("meter-tick", provider, lease, body, signature, keys[provider][-1])
        tick, reply = json.loads(body), bytes.fromhex(one["reply"])
        total += tick["card_seconds"]
        assert (rest, tick["number"], tick["previous"], tick["from_s"], tick["total_card_seconds"]) == (b"", number, previous, second, total)
        assert tick["card_seconds"] == tick["cards"] * (tick["to_s"] - tick["from_s"])
        previous, second = sm3.digest(body).hex(), tick["to_s"]
        digests.append(previous)
        if reply[:1] == b"\x01":
            holds("meter-agreed", tenant, lease, body, reply[1:], keys[tenant][-1])
            agreed += tick["card_seconds"]
        else:
            view, signature, rest = cut(reply[1:])
            holds("meter-differs", tenant, lease, view, signature, keys[tenant][-1])
            assert json.loads(view)["tick"] == previous and rest == b""
            agreed += min(tick["card_seconds"], json.loads(view)["card_seconds"])
    account = json.loads(bytes.fromhex(file["statement"]))
    price = order["tariff"]["fen_per_card_minute"]
    assert account == {
        "v": 1, "kind": "meter-statement", "lease": lease, "ticks": len(digests), "root": sm3.digest(b"".join(map(bytes.fromhex, digests))).hex(), "card_seconds": total,
        "agreed_card_seconds": agreed, "fen_per_card_minute": price, "amount_fen": agreed * price // 60,
    }  # fmt: skip
    erased = []
    for one in file["receipts"]:
        body, signature, service = cut(bytes.fromhex(one))
        stated, by, rest = cut(service)
        holds("service-key", provider, "", stated, by, contracts[provider])
        holds("erase-receipt", provider, lease, body, signature, json.loads(stated)["key"])
        receipt = json.loads(body)
        assert rest == b"" and receipt["clean"] == all(check["found"] == 0 for check in receipt["checks"]) and receipt["lease"] == lease
        erased += receipt["sandboxes"]
    return {"lease": lease, "agreed": agreed, "amount_fen": account["amount_fen"], "erased": erased, "inside": sorted(inside)}


def test_another_reader_written_from_the_document_finds_the_same() -> None:
    contracts = {str(party): key.format() for party, key in CONTRACTS.items()}
    found = read_by_the_document(make_lease_file().encoded, contracts)
    assert found == {"lease": LEASE, "agreed": 118, "amount_fen": 23, "erased": [SANDBOX], "inside": [f"{PROVIDER}:{SANDBOX}"]}
    agreed = metering.sign_agreed(TICK, tenant=TENANT, key=KEYS["tenant-service"])
    tick = metering.sign_tick(TICK, provider=PROVIDER, key=KEYS["provider-service"])
    account = metering.make_statement([TICK], lease=LEASE, agreed_card_seconds=120, fen_per_card_minute=12)
    other = make_lease_file(ticks=((tick, agreed),), statement=metering.format_statement(account))
    assert read_by_the_document(other.encoded, contracts)["agreed"] == 120 and states(other)["statement"] == "ok"
    with pytest.raises((AssertionError, VerificationError, ValueError)):
        read_by_the_document(make_lease_file(service_keys={PROVIDER: (tick,)}).encoded, contracts)

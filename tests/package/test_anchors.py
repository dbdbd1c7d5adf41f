"""Outside anchors in packages: what both verifiers check offline, what they say they did not, and that others' tools can."""

from __future__ import annotations

import hashlib
import json
import random
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.anchor.authority import HAS_OPENSSL, Server, Signer
from tests.anchor.conftest import Open, anvil, authority, institution, on_a_chain, open_house, server, signer, until_anchored  # noqa: F401  fixtures
from tests.anchor.evm import CHAIN_ID, Anvil
from tests.ledger.world import BANK, BROKER, CARDNET, World
from tests.package.package_world import EXPLAINED, build, files_of, order_of, packed, trust_bytes
from tests.package.test_odd_json import mutants
from workbench.crypto import canonical
from workbench.crypto.timestamps import format_request, make_nonce, read_authority, verify_response
from workbench.domain.package import PackageAnchor
from workbench.domain.party import Role
from workbench.operations import Reply
from workbench_anchor import contract
from workbench_anchor.chain import Account
from workbench_anchor.notes import Note, origin_id, read_note
from workbench_anchor.stamping import WHAT as RFC3161
from workbench_ledger.package.verifier import anchors as reading
from workbench_ledger.package.verifier import formats
from workbench_ledger.package.verifier.checks import Package, check_package

pytestmark = pytest.mark.skipif(not HAS_OPENSSL, reason="the OpenSSL command is not installed")

Files = dict[str, bytes]
Engine = Callable[[list[dict[str, Any]]], list[Any]]
BLOCK_TIME = 1_795_000_000
CONTRACT = bytes(range(20))
STAMP, CHAIN = "anchors/broker/rfc3161/", "anchors/broker/evm/"


def stamp_of(note: str, by: Signer, nonce: int = make_nonce(b"12345678")) -> PackageAnchor:
    """A note stamped by a real authority."""
    digest = hashlib.sha256(note.encode()).digest()
    request = format_request(digest, nonce)
    token = by.reply(request)
    stamp = verify_response(token, digest=digest, nonce=nonce, policy="", authority=read_authority(by.pinned))
    files = {"checkpoint.note": note.encode(), "request.tsq": request, "token.tsr": token, "tsa.pem": by.pinned}
    return PackageAnchor("rfc3161", BROKER, "confirmed", read_note(note).size, int(stamp.time.timestamp() * 1000), digest, files)


def transaction(note: Note, **changed: str) -> bytes:
    """transaction.json of a note, with a really signed transaction."""
    number, head = origin_id("evidence", BROKER), contract.head_of(note)
    account = Account.from_key(bytes(31) + b"\7")
    call = contract.anchor_call(number, head)
    signed = account.sign(chain_id=CHAIN_ID, nonce=3, to=CONTRACT, data=call, gas=200_000, gas_price=10**9)
    told = {
        "v": "workbench/v1/anchor-transaction", "chain_id": str(CHAIN_ID), "contract": CONTRACT.hex(),
        "origin": "workbench.example/evidence/broker", "origin_id": number.hex(), "sender": account.address.hex(),
        "transaction": signed.hash.hex(), "raw": signed.raw.hex(), "block": "77", "block_hash": "ab" * 32, "block_time": str(BLOCK_TIME),
        "topics": " ".join(one.hex() for one in contract.anchored_topics(number, note.size)), "data": contract.anchored_data(head).hex(),
        "code_sha256": "cd" * 32,
    }  # fmt: skip
    return canonical.format({**told, **changed})


def on_chain(note: str) -> PackageAnchor:
    read = read_note(note)
    files = {"checkpoint.note": note.encode(), "transaction.json": transaction(read)}
    return PackageAnchor("evm", BROKER, "confirmed", read.size, BLOCK_TIME * 1000, read.digest, files)


@dataclass(frozen=True)
class Made:
    """A world whose log was anchored at 4 and at 9 entries and co-signed at 7."""

    world: World
    notes: Mapping[int, str]
    stamp: PackageAnchor
    chain: PackageAnchor

    def package(self, *anchors: PackageAnchor, entries: int = 4) -> Files:
        wanted = [(BROKER, index) for index in range(entries)] + [(BANK, 0)]
        order = order_of(wanted, anchors=lambda log, size: anchors)
        return files_of(build(self.world, order)[0])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, signer: Signer) -> Iterator[Made]:  # noqa: F811
    world = World(tmp_path_factory.mktemp("anchored") / "world")
    world.bank.write(1, partner="broker")
    notes = {}
    for size, count in ((4, 4), (7, 3), (9, 2)):
        world.broker.write(count)
        if size < 9:
            world.settle()
        notes[size] = world.broker.ledger.own_checkpoint()
    yield Made(world, notes, stamp_of(notes[4], signer), on_chain(notes[9]))
    world.close()


@pytest.fixture(scope="module")
def files(made: Made) -> Files:
    """A stamp on a smaller head than the package's, an anchor on the chain of a larger one."""
    return made.package(made.stamp, made.chain)


def checked(files: Mapping[str, bytes], trust: bytes | None = None) -> dict[str, Any]:
    held = files_of(packed(files))
    return check_package(Package(sorted(held), held.__getitem__, "", []), formats.parse_trust(trust or trust_bytes()), [], None)


def problems(result: Mapping[str, Any]) -> set[tuple[str, str]]:
    return {(one["code"], one["file"]) for step in result["steps"] for one in step["problems"]}


def with_json(files: Files, name: str, **changed: Any) -> Files:
    return {**files, name: canonical.format({**json.loads(files[name]), **changed})}


def test_anchors_of_smaller_equal_and_larger_heads_all_lead_to_the_checkpoint(made: Made, files: Files, signer: Signer) -> None:  # noqa: F811
    about = json.loads(files["package.json"])
    assert (about["v"], about["anchors"], about["mldsa_required"]) == ("workbench/v2/package", 2, [])
    assert [json.loads(files[f"{folder}anchor.json"])["checkpoint"] for folder in (STAMP, CHAIN)] == [7, 7]
    result = checked(files)
    step = next(one for one in result["steps"] if one["name"] == "anchors")
    assert (result["verdict"], step["ok"]) == ("OK", True) and "2 outside anchors: proof of 2" in step["en"]
    equal = stamp_of(made.notes[7], signer)
    assert checked(made.package(equal))["verdict"] == "OK"


def test_what_was_not_checked_is_said_with_what_to_do(made: Made, files: Files) -> None:
    left = " ".join(one["en"] for one in checked(files)["unchecked"])
    assert "not the authority's signature" in left and "the chain was not asked" in left
    for told in ("openssl ts -verify", f"chain {CHAIN_ID}", f"contract 0x{CONTRACT.hex()}", "block 77", json.loads(files[f"{CHAIN}transaction.json"])["transaction"]):
        assert told in left
    report = files["report.html"].decode()
    assert "openssl ts -verify" in report and "eth_getTransactionReceipt" in report and f"0x{'ab' * 32}" in report
    assert "证明不了什么" in report and "anchors/" in files["README.txt"].decode()


def test_the_command_of_the_report_verifies_the_authority_s_signature_with_openssl(files: Files, tmp_path: Path) -> None:
    """The very words a reader copies, in the unpacked folder; and not for another note."""
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    texts = [one["en"] for one in checked(files)["unchecked"] if "openssl" in one["en"]]
    (command,) = {re.search("openssl ts -verify .*", text)[0] for text in texts}  # type: ignore[index]  # found above
    assert f"<pre>{command}</pre>" in files["report.html"].decode()
    done = subprocess.run(shlex.split(command), cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and "Verification: OK" in done.stdout, done.stderr
    (tmp_path / STAMP / "checkpoint.note").write_bytes(files[f"{STAMP}checkpoint.note"] + b" ")
    done = subprocess.run(shlex.split(command), cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0


def test_an_anchor_that_is_not_confirmed_is_listed_and_proves_nothing(made: Made) -> None:
    waiting = replace(made.stamp, state="waiting", time_ms=0)
    files = made.package(waiting, replace(made.chain, state="lost", time_ms=0))
    assert {name for name in files if name.startswith("anchors/")} == {f"{STAMP}anchor.json", f"{CHAIN}anchor.json"}
    result = checked(files)
    step = next(one for one in result["steps"] if one["name"] == "anchors")
    assert result["verdict"] == "OK" and "proof of 0" in step["en"] and "2 are not confirmed and prove nothing" in step["en"]
    assert not any("openssl ts" in one["en"] for one in result["unchecked"])
    report = files["report.html"].decode()
    assert "waiting, proves nothing" in report and "is not found there any more, proves nothing" in report and "openssl ts" not in report
    assert checked(with_json(files, f"{STAMP}anchor.json", state="confirmed"))["verdict"] == "FAILED"


def test_what_does_not_cover_the_entries_or_has_no_form_here_is_left_out_or_refused(made: Made, files: Files) -> None:
    odd = replace(made.stamp, kind="newspaper")
    short = replace(made.chain, files={"checkpoint.note": b""})
    ahead = replace(made.chain, size=1000)
    plain = made.package(odd, short, ahead, replace(made.stamp, log=CARDNET), replace(made.stamp, state="perhaps"))
    assert json.loads(plain["package.json"])["v"] == "workbench/v1/package"
    assert not any(name.startswith("anchors/") for name in plain)


def test_of_each_kind_the_anchor_that_covers_most_entries_travels_and_says_how_many(made: Made, signer: Signer) -> None:  # noqa: F811
    """Entries of the last minutes are in no anchor yet: that must not leave out what covers the others."""
    later = stamp_of(made.notes[7], signer)
    asked = []

    def hook(log: str, size: int) -> list[PackageAnchor]:
        asked.append(size)
        covering = [one for one in (made.stamp, later) if one.size >= size]
        return (covering or [replace(later, size=9, state="waiting", time_ms=0)])[:1] if log == BROKER else []

    order = order_of([(BROKER, index) for index in (0, 2, 5, 8)], anchors=hook)
    files = files_of(build(made.world, order)[0])
    told = json.loads(files[f"{STAMP}anchor.json"])
    assert (told["state"], told["size"], told["checkpoint"]) == ("confirmed", 7, 9) and len(asked) <= 4
    result = checked(files)
    step = next(one for one in result["steps"] if one["name"] == "anchors")
    assert step["ok"] and " 3/4" in step["en"]
    assert "the first 7, 3 of the 4 here" in files["report.html"].decode()
    recent = files_of(build(made.world, order_of([(BROKER, 8)], anchors=hook))[0])
    assert json.loads(recent[f"{STAMP}anchor.json"])["state"] == "waiting"


def test_an_anchor_that_covers_no_entry_here_is_refused(made: Made, files: Files) -> None:
    recent = made.package(replace(made.stamp, size=9, state="waiting", time_ms=0), entries=4)
    alone = {name: data for name, data in files.items() if not re.fullmatch(r"(entries|proofs|openings)/broker/00000000000[0-3]\..*", name)}
    assert ("ANCHOR_PATH", f"{STAMP}anchor.json") in problems(checked(alone)) and f"{STAMP}anchor.json" in recent


def test_another_note_stamped_or_anchored_than_the_one_shown_is_refused(made: Made, files: Files, signer: Signer) -> None:  # noqa: F811
    other = stamp_of(made.notes[7], signer)
    for name in ("token.tsr", "request.tsq"):
        assert problems(checked({**files, STAMP + name: other.files[name]})) == {("ANCHOR_TOKEN", f"{STAMP}token.tsr")}
    assert problems(checked({**files, f"{STAMP}checkpoint.note": other.files["checkpoint.note"]})) == {("ANCHOR_NOTE", f"{STAMP}checkpoint.note")}
    again = stamp_of(made.notes[4], signer, make_nonce(b"another!"))
    assert problems(checked({**files, f"{STAMP}token.tsr": again.files["token.tsr"]})) == {("ANCHOR_TOKEN", f"{STAMP}token.tsr")}
    whole = with_json(files, f"{STAMP}anchor.json", digest=other.digest.hex(), size=7)
    whole |= {STAMP + name: data for name, data in other.files.items()}
    assert problems(checked(whole)) == {("ANCHOR_PATH", f"{STAMP}anchor.json")}


@pytest.mark.parametrize("changed", [
    {"block_time": str(BLOCK_TIME + 1)}, {"chain_id": "1"}, {"contract": "00" * 20}, {"origin": "workbench.example/evidence/bank"},
    {"origin_id": "00" * 32}, {"data": "00" * 96}, {"topics": ""}, {"raw": ""}, {"raw": "zz"}, {"raw": "c0"}, {"raw": "f801"}, {"block": "-1"},
    {"transaction": "AB" * 32}, {"v": "workbench/v2/anchor-transaction"},
], ids=lambda one: "-".join(one))  # fmt: skip
def test_a_transaction_that_says_something_else_is_refused(made: Made, files: Files, changed: dict[str, str]) -> None:
    found = checked({**files, f"{CHAIN}transaction.json": transaction(read_note(made.notes[9]), **changed)})
    assert problems(found) == {("ANCHOR_CHAIN", f"{CHAIN}transaction.json")}


def test_a_transaction_with_another_note_in_its_call_is_refused(made: Made, files: Files) -> None:
    raw = json.loads(transaction(read_note(made.notes[7])))["raw"]
    found = checked({**files, f"{CHAIN}transaction.json": transaction(read_note(made.notes[9]), raw=raw)})
    assert problems(found) == {("ANCHOR_CHAIN", f"{CHAIN}transaction.json")}


def damages(files: Files) -> list[Files]:
    """Bytes changed in every file of the anchors, members of anchor.json exchanged, files added and taken away."""
    found = []
    for name in sorted(one for one in files if one.startswith("anchors/")):
        data, step = files[name], 149 if name.endswith(("tsr", "pem")) else 89
        for at in {*range(0, len(data), step), len(data) - 1}:
            found.append({**files, name: data[:at] + bytes([data[at] ^ (0x20 if at % 2 else 1)]) + data[at + 1 :]})
        found.append({one: content for one, content in files.items() if one != name})
        found.append({**files, name: data + b"\n"})
    for change in (
        {"checkpoint": 4}, {"checkpoint": 0}, {"size": 0}, {"size": True}, {"time": ""}, {"time": "2026-11-22T00:00:00.000Z"}, {"log": "bank"},
        {"kind": "evm"}, {"state": "waiting"}, {"state": "sure"}, {"sha256": []}, {"sm3": [1]}, {"digest": "00" * 32}, {"more": 1}, {"v": "workbench/v2/package-anchor"},
    ):  # fmt: skip
        found.append(with_json(files, f"{STAMP}anchor.json", **change))
    found.append({**files, f"{STAMP}transaction.json": b"{}"})
    found.append({**files, "anchors/broker/rfc3161/more.json": b"{}"})
    found.append({**files, "anchors/bank/evm/anchor.json": files[f"{CHAIN}anchor.json"]})
    found += [with_json(files, "package.json", anchors=count) for count in (0, 1, 3)]
    return found


def test_both_verifiers_refuse_every_damage_with_the_same_words(files: Files, engine: Engine, tmp_path: Path) -> None:
    short = {name: data[:9] if name in EXPLAINED else data for name, data in files.items()}
    changed = damages(short)
    for number, one in enumerate(changed):
        (tmp_path / f"{number}.zip").write_bytes(packed(one))
    results = engine([{"path": str(tmp_path / f"{number}.zip"), "trust": trust_bytes().hex()} for number in range(len(changed))])
    ours = [checked(one) for one in changed]
    assert results == ours
    # What only the authority's signature covers is told as not checked: OpenSSL says it (the test above), and so is PEM.
    survived = {name for one, result in zip(changed, ours, strict=True) if result["verdict"] != "FAILED" for name in one if one[name] != short.get(name)}
    assert survived <= {f"{STAMP}token.tsr", f"{STAMP}tsa.pem", f"{CHAIN}transaction.json"}


def odd_ones(files: Files, chance: random.Random, count: int) -> list[Files]:
    """Odd JSON in every description of an anchor; tokens, requests and transactions with a few bytes exchanged, cut or doubled."""
    found = []
    for name in ("package.json", f"{STAMP}anchor.json", f"{CHAIN}anchor.json", f"{CHAIN}transaction.json"):
        found += [{**files, name: canonical.format(value)} for value in mutants(json.loads(files[name]), chance, count)]
    for name in ("token.tsr", "request.tsq", "tsa.pem"):
        for _ in range(count):
            data = bytearray(files[STAMP + name])
            for _ in range(chance.randrange(1, 4)):
                at = chance.randrange(min(len(data), 260))
                data[at : at + chance.randrange(2)] = chance.choice([b"", b"\0", b"\x30", b"\x80", b"\x81", b"\xff", b"\x02\1\1", b"\n"])
            found.append({**files, STAMP + name: bytes(data)})
    for _ in range(count):
        told = json.loads(files[f"{CHAIN}transaction.json"])
        raw = bytearray.fromhex(told["raw"])
        at = chance.randrange(60)
        raw[at : at + chance.randrange(2)] = chance.choice([b"", b"\x80", b"\xb8", b"\xb9", b"\xc0", b"\xf8", b"\0"])
        found.append({**files, f"{CHAIN}transaction.json": canonical.format({**told, "raw": raw.hex()})})
    return found


def test_odd_json_der_and_rlp_crash_nobody_and_both_say_the_same(files: Files, engine: Engine, tmp_path: Path) -> None:
    short = {name: data[:9] if name in EXPLAINED else data for name, data in files.items()}
    made = odd_ones(short, random.Random(3161), 20)
    for number, one in enumerate(made):
        (tmp_path / f"{number}.zip").write_bytes(packed(one))
    cases = [{"path": str(tmp_path / f"{number}.zip"), "trust": trust_bytes().hex()} for number in range(len(made))]
    assert engine(cases) == [checked(one) for one in made]


def test_nonsense_in_der_is_refused_and_never_an_accident(made: Made) -> None:
    """Whatever the bytes: a value, or ValueError. Every cut of a token, and lengths that lie."""
    token = made.stamp.files["token.tsr"]
    assert reading.read_token(token)[0] == made.stamp.digest
    odd = [token[:size] for size in range(0, len(token), 7)] + [token + b"\0", b"\x30\x80", b"\x30\x84\xff\xff\xff\xff", b"\x1f\x81\x01\0", b"\x30\x81\x05\0\0\0\0\0", b"\x30\0"]
    for data in odd:
        with pytest.raises(ValueError):
            reading.read_token(data)
        with pytest.raises(ValueError):
            reading.read_request(data)


def test_a_node_s_own_anchors_travel_in_its_package(open_house: Open, server: Server, signer: Signer, anvil: Anvil) -> None:  # noqa: F811
    """The whole way: a real authority, a real chain, the operation, the download, the verifier."""
    one = on_a_chain(open_house, anvil, tsa_url=server.url)
    node = one.house.node
    (node.folder / "tsa.pem").write_bytes(signer.pinned)
    node.settings._values["evidence.report_font"] = "no such font"
    node.store.write(lambda tx: node.evidence.append(tx, "files.taken", {"name": "a"}, job="J-1") and None)
    one.service.round(RFC3161, force=True)
    until_anchored(one, anvil)
    reply: Reply = node.gate.call("evidence.export", {"job": "J-1"}, one.house.caller(Role.COMPLIANCE))
    _, data = node.downloads.take(one.house.caller(Role.COMPLIANCE), reply.model_dump()["download"])
    files = files_of(data)
    assert json.loads(files["package.json"])["anchors"] == 2
    result = check_package(Package(sorted(files), files.__getitem__, "", []), None, [], None)
    step = next(found for found in result["steps"] if found["name"] == "anchors")
    assert step["ok"] and "proof of 2" in step["en"] and result["verdict"] == "NOT_FINAL"  # one institution alone
    told = json.loads(files[f"{CHAIN}transaction.json"])
    assert anvil.chain.receipt(bytes.fromhex(told["transaction"])) is not None
    assert (told["chain_id"], told["origin"]) == (str(CHAIN_ID), f"workbench.example/{node.project}/broker")

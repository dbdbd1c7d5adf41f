"""Heads of a node's log on a real chain: anchored, read back, lost, contradicted (docs/protocols/anchor.md section 3)."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.anchor.conftest import Anchored, Open, on_a_chain, until_anchored
from tests.anchor.evm import CHAIN_ID, Anvil, free_port
from tests.host.house import copied
from workbench.errors import PeerUnavailable, Refused, StartRefused, WorkbenchError
from workbench.settings import Settings
from workbench_anchor import contract, tables
from workbench_anchor.anchoring import WHAT
from workbench_anchor.chain import Account
from workbench_anchor.checking import compare_with_chain
from workbench_anchor.contract import ChainHead
from workbench_anchor.notes import origin_id
from workbench_anchor.schema import SETTINGS
from workbench_anchor.tables import TransactionRow


def rows(one: Anchored) -> list[TransactionRow]:
    with one.house.node.store.read() as reader:
        return tables.last_transactions(reader, 50)


def states(one: Anchored) -> list[str]:
    """Newest first."""
    return [row.state for row in rows(one)]


def findings(one: Anchored) -> list[tuple[str, str]]:
    with one.house.node.store.read() as reader:
        return [(finding.log, finding.problem) for finding in tables.findings(reader)]


def head_on(anvil: Anvil, one: Anchored) -> ChainHead | None:
    place = one.service.anchoring.place()
    return contract.read_latest(anvil.chain.call(place.contract, contract.latest_call(one.service.anchoring.origin)))


def health(one: Anchored) -> dict[str, str]:
    return {line.name: line.state for line in one.house.node.health() if line.name.startswith("anchor.")}


def fails(one: Anchored, code: str, *, force: bool = True) -> None:
    with pytest.raises(WorkbenchError) as error:
        one.service.round(WHAT, force=force)
    assert error.value.code == code


def send_as_node(anvil: Anvil, one: Anchored, head: ChainHead, *, origin: bytes = b"") -> None:
    """Anchor with the node's own account behind its back."""
    account, place = one.service.anchoring.account(), one.service.anchoring.place()
    assert account is not None
    receipt = anvil.send(account, place.contract, contract.anchor_call(origin or one.service.anchoring.origin, head))
    assert receipt.accepted


# ------------------------------------------------------------------------------------------ the good path


def test_a_head_is_anchored_confirmed_and_read_back(on_chain: Anchored, anvil: Anvil) -> None:
    one = on_chain
    one.write(3)
    one.service.round(WHAT, force=True)
    assert states(one) in (["sent"], ["mined"])
    assert "anchor.anchored" not in one.kinds()
    anvil.mine(2)
    one.service.round(WHAT)
    [row] = rows(one)
    assert row.state == "anchored"
    head = head_on(anvil, one)
    assert head is not None
    assert (head.size, head.note_digest, head.time_s * 1000) == (
        row.size,
        hashlib.sha256(row.note.encode()).digest(),
        row.time_ms,
    )
    [entry] = one.house.entries("anchor.anchored")
    assert (entry["transaction"], entry["note_sha256"]) == (row.hash.hex(), row.digest.hex())
    assert entry["contract"] == "0x" + row.contract.hex()
    assert (findings(one), health(one)["anchor.chain"]) == ([], "ok")


def test_nothing_is_final_before_the_confirmations_asked_for(open_house: Open, anvil: Anvil) -> None:
    one = on_a_chain(open_house, anvil, confirmations=5)
    one.write()
    one.service.round(WHAT, force=True)
    anvil.mine(2)
    one.service.round(WHAT)
    assert states(one) == ["mined"]
    anvil.mine(3)
    one.service.round(WHAT)
    assert states(one) == ["anchored"]


def test_anchors_follow_the_log_and_come_to_rest(on_chain: Anchored, anvil: Anvil) -> None:
    """What anchoring itself writes makes nothing due, not even for a person who asks."""
    one = on_chain
    for _ in range(3):
        one.write(2)
        until_anchored(one, anvil)
    sizes = [row.size for row in rows(one)]
    assert sizes == sorted(sizes, reverse=True)
    assert len(sizes) == 3
    until_anchored(one, anvil)
    assert len(rows(one)) == 3


def test_the_schedule_counts_entries_and_minutes(open_house: Open, anvil: Anvil) -> None:
    one = on_a_chain(open_house, anvil, every_entries=50, every_minutes=30)
    one.write()
    until_anchored(one, anvil)
    one.write()
    one.service.round(WHAT)
    assert len(rows(one)) == 1
    one.house.clock.forward(minutes=31)
    one.service.round(WHAT)
    assert len(rows(one)) == 2
    anvil.mine(2)
    one.service.round(WHAT)
    one.write(50)
    one.service.round(WHAT)
    assert len(rows(one)) == 3


# ------------------------------------------------------------------------------------- what is missing


def test_without_an_account_or_registration_nothing_is_sent(open_house: Open, anvil: Anvil) -> None:
    address = anvil.deploy()
    one = open_house(chain_url=anvil.url, chain_id=CHAIN_ID, chain_contract="0x" + address.hex(), confirmations=2)
    one.write()
    assert health(one)["anchor.chain"] == "warning"
    fails(one, "ANCHOR_NO_ACCOUNT")
    account = one.service.anchoring.make_account(actor="P-1")
    assert one.service.anchoring.make_account(actor="P-1") == account
    fails(one, "CHAIN_NOT_SENDER")
    assert rows(one) == []
    assert one.house.entries("anchor.key_made")[0]["origin_id"] == one.service.anchoring.origin.hex()
    anvil.register(address, one.house.node.project, "broker", account)
    until_anchored(one, anvil)
    assert states(one) == ["anchored"]


def test_incomplete_settings_send_nothing(open_house: Open) -> None:
    good = {"chain_url": "http://127.0.0.1:9", "chain_id": CHAIN_ID, "chain_contract": "0x" + "ab" * 20}
    one = open_house(**good)
    one.service.anchoring.make_account(actor="P-1")
    for odd in (
        {"chain_id": 0},
        {"chain_contract": ""},
        {"chain_contract": "0x" + "00" * 20},
        {"chain_url": "ws://127.0.0.1:1"},
    ):
        named = {f"anchor.{name}": value for name, value in {**good, **odd}.items()}
        one.house.node.settings = Settings([*SETTINGS], named)
        with pytest.raises(StartRefused):
            one.service.round(WHAT)
    assert one.kinds() == ["anchor.key_made", "anchor.failed"]


def test_the_account_key_lies_in_the_vault_alone(on_chain: Anchored) -> None:
    account = on_chain.service.anchoring.account()
    assert account is not None
    assert account.key.hex() not in repr(account)
    folder = on_chain.house.node.folder
    for path in folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert account.key not in data
            assert account.key.hex().encode() not in data


def test_a_new_account_takes_the_place_of_one_whose_key_may_be_known(on_chain: Anchored, anvil: Anvil) -> None:
    one = on_chain
    old = one.service.anchoring.account()
    new = one.service.anchoring.make_account(actor="P-1", anew=True)
    assert new != old
    assert one.service.anchoring.account() == new
    one.write()
    fails(one, "CHAIN_NOT_SENDER")
    anvil.register(one.service.anchoring.place().contract, one.house.node.project, "broker", new)
    until_anchored(one, anvil)
    assert states(one) == ["anchored"]


def test_a_price_above_the_limit_is_not_paid(open_house: Open, anvil: Anvil) -> None:
    one = on_a_chain(open_house, anvil, largest_gas_price=1)
    one.write()
    fails(one, "CHAIN_PRICE")
    assert rows(one) == []


def test_an_account_without_money_is_named(open_house: Open, anvil: Anvil) -> None:
    one = on_a_chain(open_house, anvil)
    account = one.service.anchoring.account()
    assert account is not None
    anvil.ask("anvil_setBalance", "0x" + account.address.hex(), "0x0")
    one.write()
    with pytest.raises(Refused):
        one.service.round(WHAT, force=True)
    assert set(states(one)) <= {"failed"}
    assert one.kinds()[-1] == "anchor.failed"


# ---------------------------------------------------------------------------- the chain is down or odd


def test_a_chain_that_is_down_is_tried_again_and_recorded_once(open_house: Open, tmp_path: Path) -> None:
    port = free_port()
    one = open_house(chain_url=f"http://127.0.0.1:{port}", chain_id=CHAIN_ID, chain_contract="0x" + "ab" * 20)
    one.service.anchoring.make_account(actor="P-1")
    one.write()
    for _ in range(3):
        with pytest.raises(PeerUnavailable):
            one.service.round(WHAT)
    assert one.kinds() == ["anchor.key_made", "anchor.failed"]
    assert health(one)["anchor.chain"] == "warning"


def test_another_chain_or_contract_gets_nothing(open_house: Open, anvil: Anvil) -> None:
    one = on_a_chain(open_house, anvil, chain_id=1)
    one.write()
    one.service.round(WHAT, force=True)
    assert findings(one) == [("broker", "WRONG_CHAIN")]
    assert (rows(one), health(one)["anchor.chain"]) == ([], "failed")


def test_other_code_at_the_address_gets_nothing(open_house: Open, anvil: Anvil) -> None:
    """One byte of the code is enough: a contract that forgets its rules is no anchor."""
    one = on_a_chain(open_house, anvil)
    address = one.service.anchoring.place().contract
    code = bytearray(contract.deployed_code())
    code[-1] ^= 1
    anvil.ask("anvil_setCode", "0x" + address.hex(), "0x" + code.hex())
    one.write()
    one.service.round(WHAT, force=True)
    assert (findings(one), rows(one)) == ([("broker", "WRONG_CONTRACT")], [])
    assert one.kinds().count("anchor.conflict") == 1
    one.service.round(WHAT, force=True)
    assert one.kinds().count("anchor.conflict") == 1
    anvil.ask("anvil_setCode", "0x" + address.hex(), "0x" + contract.deployed_code().hex())
    until_anchored(one, anvil)
    assert (findings(one), states(one)) == ([], ["anchored"])


# ------------------------------------------------------------------------------------- contradictions


def test_a_log_restored_from_an_older_copy_is_noticed(open_house: Open, anvil: Anvil, tmp_path: Path) -> None:
    """Nobody else needs to remember: the chain does."""
    one = on_a_chain(open_house, anvil)
    settings = {
        name: one.house.node.setting(f"anchor.{name}")
        for name in ("chain_url", "chain_id", "chain_contract", "confirmations")
    }
    one.write(2)
    until_anchored(one, anvil)
    live, copy = (sqlite3.connect(path) for path in (one.house.node.folder / "evidence.db", tmp_path / "older.db"))
    with closing(live), closing(copy):
        live.backup(copy)
    one.write(4)
    until_anchored(one, anvil)
    workspace = copied(one.house.workspace, tmp_path / "restored")
    for name in ("evidence.db", "evidence.db-wal", "evidence.db-shm"):
        (workspace.node_folder("broker") / name).unlink(missing_ok=True)
    (tmp_path / "older.db").chmod(0o600)
    (tmp_path / "older.db").rename(workspace.node_folder("broker") / "evidence.db")
    restored = open_house(workspace, **settings)
    restored.service.round(WHAT, force=True)
    assert findings(restored) == [("broker", "ROLLED_BACK")]
    assert health(restored)["anchor.chain"] == "failed"
    [entry] = restored.house.entries("anchor.conflict")
    assert (entry["origin"], entry["problem"]) == ("broker", "ROLLED_BACK")


def test_a_head_of_this_log_with_other_roots_is_a_split_view(on_chain: Anchored, anvil: Anvil) -> None:
    one = on_chain
    one.write(3)
    send_as_node(anvil, one, ChainHead(2, b"\1" * 32, b"\2" * 32, b"\3" * 32))
    one.service.round(WHAT, force=True)
    assert (findings(one), rows(one)) == ([("broker", "SPLIT_VIEW")], [])
    assert one.house.entries("anchor.conflict")[0]["size"] == "2"


def test_a_foreign_sender_cannot_anchor_this_log(on_chain: Anchored, anvil: Anvil) -> None:
    one = on_chain
    stranger = Account.from_key(hashlib.sha256(b"a stranger").digest())
    place = one.service.anchoring.place()
    anvil.ask("anvil_setBalance", "0x" + stranger.address.hex(), hex(10**18))
    call = contract.anchor_call(one.service.anchoring.origin, ChainHead(99, b"\1" * 32, b"\2" * 32, b"\3" * 32))
    assert not anvil.send(stranger, place.contract, call, gas=300_000).accepted
    one.write()
    until_anchored(one, anvil)
    assert (findings(one), states(one)) == ([], ["anchored"])


def test_a_registration_that_was_taken_away_stops_anchoring(on_chain: Anchored, anvil: Anvil) -> None:
    one = on_chain
    one.write()
    until_anchored(one, anvil)
    place = one.service.anchoring.place()
    anvil.send(anvil.regulator, place.contract, contract.register_call(one.service.anchoring.origin, bytes(20)))
    one.write()
    fails(one, "CHAIN_NOT_SENDER")
    assert states(one) == ["anchored"]


# ---------------------------------------------------------------------------- reorganisation and loss


def test_a_reorganisation_before_the_confirmations_only_takes_longer(open_house: Open, anvil: Anvil) -> None:
    one = on_a_chain(open_house, anvil, confirmations=4)
    one.write()
    before = anvil.ask("evm_snapshot")
    one.service.round(WHAT, force=True)
    anvil.mine(1)
    one.service.round(WHAT)
    assert states(one) == ["mined"]
    anvil.ask("evm_revert", before)
    one.service.round(WHAT)
    one.service.round(WHAT)
    anvil.mine(4)
    one.service.round(WHAT)
    assert states(one) == ["anchored"]
    assert "anchor.lost" not in one.kinds()


def test_a_transaction_whose_number_another_one_took_is_given_up_and_made_anew(on_chain: Anchored, anvil: Anvil) -> None:
    """Only when that lasts: a node may be late with a receipt."""
    one = on_chain
    account = one.service.anchoring.account()
    assert account is not None
    one.write()
    anvil.ask("evm_setAutomine", False)
    try:
        one.service.round(WHAT, force=True)
        [row] = rows(one)
        anvil.ask("anvil_dropTransaction", "0x" + row.hash.hex())
        other = account.sign(
            chain_id=CHAIN_ID, nonce=row.nonce, to=account.address, data=b"", gas=30_000, gas_price=anvil.chain.gas_price()
        )
        anvil.chain.send(other.raw)
        anvil.mine(1)
    finally:
        anvil.ask("evm_setAutomine", True)
    one.service.round(WHAT)
    assert states(one) == ["sent"]
    one.house.clock.forward(minutes=2)
    one.service.round(WHAT, force=True)
    assert states(one)[-1] == "dropped"
    assert {"what": "evm", "code": "CHAIN_DROPPED"}.items() <= one.house.entries("anchor.failed")[-1].items()
    anvil.mine(2)
    one.service.round(WHAT)
    assert states(one) == ["anchored", "dropped"]


def test_a_transaction_that_the_chain_forgot_is_sent_again_as_it_was(on_chain: Anchored, anvil: Anvil) -> None:
    one = on_chain
    one.write()
    anvil.ask("evm_setAutomine", False)
    try:
        one.service.round(WHAT, force=True)
        [row] = rows(one)
        anvil.ask("anvil_dropTransaction", "0x" + row.hash.hex())
    finally:
        anvil.ask("evm_setAutomine", True)
    one.service.round(WHAT)
    assert anvil.chain.receipt(row.hash) is None
    one.house.clock.forward(minutes=2)
    one.service.round(WHAT)
    anvil.mine(2)
    one.service.round(WHAT)
    assert [(found.hash, found.state) for found in rows(one)] == [(row.hash, "anchored")]


def test_an_anchor_that_the_chain_lost_is_noticed_and_made_anew(open_house: Open, tmp_path: Path) -> None:
    """A chain that comes back with older data: what was confirmed is gone, and the node says so."""
    port = free_port()
    chain = Anvil(tmp_path / "first", port=port)
    try:
        one = on_a_chain(open_house, chain)
        one.write(2)
        until_anchored(one, chain)
        older = tmp_path / "older.json"
        older.write_bytes(_dumped(chain))
        one.write(2)
        until_anchored(one, chain)
        newest, first = rows(one)
        note = newest.note
    finally:
        chain.stop()
    fails(one, "CHAIN_DOWN")
    chain = Anvil(tmp_path / "second", port=port, state=older)
    try:
        one.service.round(WHAT)
        assert {row.number: row.state for row in rows(one)}[newest.number] == "lost"
        assert health(one)["anchor.lost"] == "failed"
        [entry] = one.house.entries("anchor.lost")
        assert entry["transaction"] == newest.hash.hex()
        place = one.service.anchoring.place()
        asked = compare_with_chain(
            chain.chain, chain_id=CHAIN_ID, address=place.contract, note=note, transaction=newest.hash
        )
        assert asked.state == "ROLLED_BACK"
        until_anchored(one, chain)
        assert states(one)[0] == "anchored"
        assert "anchor.lost" not in health(one)
        assert rows(one)[0].size >= newest.size
        assert first.number in [row.number for row in rows(one) if row.state == "anchored"]
    finally:
        chain.stop()


def _dumped(chain: Anvil) -> bytes:
    """The chain's whole state, as --load-state reads it."""
    import gzip

    data = bytes.fromhex(str(chain.ask("anvil_dumpState"))[2:])
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


# ------------------------------------------------------------------------- comparing, as a regulator does


def test_a_regulator_compares_a_checkpoint_with_the_chain(on_chain: Anchored, anvil: Anvil) -> None:
    one = on_chain
    one.write(2)
    until_anchored(one, anvil)
    [first] = rows(one)
    address = one.service.anchoring.place().contract

    def asked(**arguments: object) -> str:
        return compare_with_chain(
            anvil.chain, **{"chain_id": CHAIN_ID, "address": address, "note": first.note, **arguments}
        ).state  # type: ignore[arg-type]

    assert asked() == "CONFIRMED"
    assert asked(chain_id=1) == "NOT_THERE"
    assert asked(address=bytes(20)) == "NOT_THERE"
    one.write()
    later = one.house.node.ledger.own_checkpoint()
    assert asked(note=later) == "NOT_THERE"
    until_anchored(one, anvil)
    assert asked() == "NOT_THERE"  # a newer head stands there now
    assert asked(transaction=first.hash) == "CONFIRMED"
    assert asked(transaction=rows(one)[0].hash) == "NOT_THERE"
    proof = one.house.node.plugins.collect_all("workbench_anchors", host=one.house.node, origin="broker", size=1)
    assert [found.kind for found in proof] == ["evm"]


def test_a_checkpoint_with_other_roots_is_a_split_view_for_the_regulator(on_chain: Anchored, anvil: Anvil) -> None:
    one = on_chain
    one.write(3)
    note = one.house.node.ledger.own_checkpoint()
    size = int(note.split("\n")[1])
    send_as_node(anvil, one, ChainHead(size, b"\1" * 32, b"\2" * 32, b"\3" * 32))
    place = one.service.anchoring.place()
    verdict = compare_with_chain(anvil.chain, chain_id=CHAIN_ID, address=place.contract, note=note)
    assert (verdict.state, verdict.size) == ("SPLIT_VIEW", size)
    assert origin_id(one.house.node.project, one.house.node.party) == one.service.anchoring.origin

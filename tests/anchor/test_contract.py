"""The anchor contract: the same bytes from its source, words as web3 reads them, and what it refuses, on a real chain."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.anchor.evm import RICH, ROOT, Anvil, node_modules
from workbench.errors import Refused
from workbench_anchor import contract, registrar
from workbench_anchor.chain import Account, library
from workbench_anchor.contract import ChainHead

ORIGIN = hashlib.sha256(b"workbench.example/evidence/broker").digest()
FOLDER = ROOT / "plugins" / "workbench_anchor" / "contract"


def head(size: int, *, sha256: bytes = b"\x11", sm3: bytes = b"\x22", note: bytes = b"\x33") -> ChainHead:
    return ChainHead(size, sha256 * 32, sm3 * 32, note * 32)


@pytest.fixture
def address(anvil: Anvil) -> bytes:
    return anvil.deploy()


@pytest.fixture
def sender(anvil: Anvil, address: bytes) -> Account:
    """An account that may anchor ORIGIN."""
    account = Account.from_key(hashlib.sha256(b"sender of the test").digest())
    anvil.ask("anvil_setBalance", "0x" + account.address.hex(), hex(10**18))
    anvil.send(anvil.regulator, address, contract.register_call(ORIGIN, account.address))
    return account


def latest(anvil: Anvil, address: bytes) -> ChainHead | None:
    return contract.read_latest(anvil.chain.call(address, contract.latest_call(ORIGIN)))


def refused(anvil: Anvil, account: Account, address: bytes, call: bytes, code: str) -> None:
    """Refused when asked beforehand and when sent all the same; the chain keeps what it had."""
    before = latest(anvil, address)
    with pytest.raises(Refused) as error:
        anvil.chain.estimate(account.address, address, call)
    assert error.value.code == code
    receipt = anvil.send(account, address, call, gas=400_000)
    assert (receipt.accepted, receipt.logs) == (False, ())
    assert latest(anvil, address) == before


def test_the_committed_code_is_what_the_named_compiler_makes_of_the_source() -> None:
    settings = {**os.environ, "NODE_PATH": str(node_modules())}
    command = ["node", str(FOLDER / "build.cjs"), "--print"]
    made = subprocess.run(command, env=settings, check=True, capture_output=True, timeout=120).stdout
    assert made == (FOLDER / "EvidenceAnchor.json").read_bytes()
    assert json.loads(made)["compiler"].startswith("solc 0.8.37+commit.")
    assert json.loads(made)["settings"]["evmVersion"] == "london"


def test_the_libraries_of_a_chain_leave_deep_nesting_refused() -> None:
    """In a process of its own: a library that is there already would change nothing."""
    program = (
        "from workbench.crypto import canonical\nfrom workbench.errors import VerificationError\n"
        "from workbench_anchor.chain import library\n"
        "library('web3'), library('eth_account')\n"
        "try:\n    canonical.parse(b'[' * 1_000_000)\nexcept VerificationError as refused:\n    print(refused.code)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "NOT_CANONICAL\n"), done.stderr


def test_call_data_and_log_are_what_web3_makes_of_the_abi() -> None:
    keccak, Web3 = library("eth_utils").keccak, library("web3").Web3  # noqa: N806 - a class of that name
    made = Web3().eth.contract(abi=contract.compiled()["abi"])
    one = head(7)
    arguments = [ORIGIN, 7, one.sha256_root, one.sm3_root, one.note_digest]
    assert made.encode_abi("anchor", args=arguments) == "0x" + contract.anchor_call(ORIGIN, one).hex()
    assert len(contract.anchor_call(ORIGIN, one)) == 164
    assert made.encode_abi("latestOf", args=[ORIGIN]) == "0x" + contract.latest_call(ORIGIN).hex()
    assert made.encode_abi("senderOf", args=[ORIGIN]) == "0x" + contract.sender_call(ORIGIN).hex()
    someone = "0x" + "ab" * 20
    registered = made.encode_abi("register", args=[ORIGIN, Web3.to_checksum_address(someone)])
    assert registered == "0x" + contract.register_call(ORIGIN, bytes.fromhex(someone[2:])).hex()
    assert keccak(text="Anchored(bytes32,uint64,bytes32,bytes32,bytes32)") == contract.ANCHORED
    told = {
        "NotRegistrar()": "NOT_REGISTRAR", "NotSender(bytes32)": "NOT_SENDER", "EmptyTree()": "EMPTY_TREE",
        "Rollback(uint64,uint64)": "ROLLBACK", "SplitView(uint64)": "SPLIT_VIEW",
    }  # fmt: skip
    assert {contract.error_name(keccak(text=text)[:4]) for text in told} == set(told.values())
    assert all(contract.error_name(keccak(text=text)[:4]) == name for text, name in told.items())
    topics, data = contract.anchored_topics(ORIGIN, 7), contract.anchored_data(one)
    log = {
        "address": Web3.to_checksum_address(someone), "topics": list(topics), "data": data, "logIndex": 0,
        "transactionIndex": 0, "transactionHash": bytes(32), "blockHash": bytes(32), "blockNumber": 1, "removed": False,
    }  # fmt: skip
    read = made.events.Anchored().process_log(log)["args"]
    assert [read[name] for name in ("origin", "size", "sha256Root", "sm3Root", "noteDigest")] == arguments


def test_answers_in_another_spelling_are_refused() -> None:
    word = bytes(31) + b"\x01"
    good = word * 2 + b"\x11" * 96
    assert contract.read_latest(good) == ChainHead(1, b"\x11" * 32, b"\x11" * 32, b"\x11" * 32, 1)
    assert contract.read_latest(bytes(160)) is None
    for odd in (
        b"",
        good[:-1],
        good + b"\0",
        bytes(32) + word * 4,
        b"\xff" * 32 + good[32:],
        word + b"\xff" * 32 + good[64:],
    ):
        with pytest.raises(ValueError, match=r"words|zeros|range"):
            contract.read_latest(odd)
    assert contract.read_sender(bytes(12) + b"\xab" * 20) == b"\xab" * 20
    for odd in (b"", bytes(31), b"\x01" + bytes(31)):
        with pytest.raises(ValueError, match="address"):
            contract.read_sender(odd)


@pytest.mark.parametrize("text", ["", "0x", "ab" * 21, "0x" + "ab" * 19, "0x" + "zz" * 20, "0X" + "ab" * 20])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"address|hexadecimal"):
        contract.parse_address(text)


def test_a_head_is_anchored_and_read_back(anvil: Anvil, address: bytes, sender: Account) -> None:
    assert anvil.chain.code(address) == contract.deployed_code()
    assert contract.read_sender(anvil.chain.call(address, contract.sender_call(ORIGIN))) == sender.address
    assert latest(anvil, address) is None
    receipt = anvil.send(sender, address, contract.anchor_call(ORIGIN, head(5)))
    assert receipt.accepted
    assert [(one.address, one.topics, one.data) for one in receipt.logs] == [
        (address, contract.anchored_topics(ORIGIN, 5), contract.anchored_data(head(5)))
    ]
    block = anvil.chain.block(receipt.block)
    found = latest(anvil, address)
    assert block is not None
    assert found == ChainHead(5, b"\x11" * 32, b"\x22" * 32, b"\x33" * 32, block.time_s)


def test_a_smaller_head_is_refused(anvil: Anvil, address: bytes, sender: Account) -> None:
    anvil.send(sender, address, contract.anchor_call(ORIGIN, head(5)))
    refused(anvil, sender, address, contract.anchor_call(ORIGIN, head(4)), "CHAIN_ROLLBACK")


@pytest.mark.parametrize("other", [head(5, sha256=b"\x12"), head(5, sm3=b"\x23")])
def test_another_root_for_the_same_size_is_refused(
    anvil: Anvil, address: bytes, sender: Account, other: ChainHead
) -> None:
    anvil.send(sender, address, contract.anchor_call(ORIGIN, head(5)))
    refused(anvil, sender, address, contract.anchor_call(ORIGIN, other), "CHAIN_SPLIT_VIEW")


def test_the_same_head_may_come_again_also_with_more_co_signatures(
    anvil: Anvil, address: bytes, sender: Account
) -> None:
    for note in (b"\x33", b"\x33", b"\x34"):
        anvil.send(sender, address, contract.anchor_call(ORIGIN, head(5, note=note)))
    found = latest(anvil, address)
    assert found is not None
    assert found.note_digest == b"\x34" * 32


def test_an_empty_tree_is_refused(anvil: Anvil, address: bytes, sender: Account) -> None:
    call = contract.anchor_call(ORIGIN, head(5))
    refused(anvil, sender, address, call[:36] + bytes(32) + call[68:], "CHAIN_EMPTY_TREE")


def test_only_the_registered_account_of_a_log_anchors_it(anvil: Anvil, address: bytes, sender: Account) -> None:
    """Not the regulator, not the account of another log, nobody after the registration was taken back."""
    refused(anvil, anvil.regulator, address, contract.anchor_call(ORIGIN, head(5)), "CHAIN_NOT_SENDER")
    other = hashlib.sha256(b"another log").digest()
    refused(anvil, sender, address, contract.anchor_call(other, head(5)), "CHAIN_NOT_SENDER")
    anvil.send(anvil.regulator, address, contract.register_call(ORIGIN, bytes(20)))
    refused(anvil, sender, address, contract.anchor_call(ORIGIN, head(5)), "CHAIN_NOT_SENDER")


def test_only_the_regulator_registers(anvil: Anvil, address: bytes, sender: Account) -> None:
    refused(anvil, sender, address, contract.register_call(ORIGIN, sender.address), "CHAIN_NOT_REGISTRAR")


def test_a_new_account_continues_the_log_and_cannot_turn_it_back(anvil: Anvil, address: bytes, sender: Account) -> None:
    anvil.send(sender, address, contract.anchor_call(ORIGIN, head(5)))
    anvil.send(anvil.regulator, address, contract.register_call(ORIGIN, anvil.regulator.address))
    refused(anvil, anvil.regulator, address, contract.anchor_call(ORIGIN, head(4)), "CHAIN_ROLLBACK")
    assert anvil.send(anvil.regulator, address, contract.anchor_call(ORIGIN, head(6))).accepted


def test_the_registrar_works_from_a_terminal(anvil: Anvil, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = tmp_path / "registrar.key"
    key.write_text(RICH.hex() + "\n")
    usual = ["--url", anvil.url, "--key", str(key)]
    key.chmod(0o644)
    assert registrar.main(["deploy", *usual]) == 2
    assert RICH.hex() not in capsys.readouterr().err
    key.chmod(0o600)
    assert registrar.main(["deploy", *usual]) == 0
    made = json.loads(capsys.readouterr().out)["contract"]
    someone = "0x" + "ab" * 20
    asked = ["register", *usual, "--contract", made, "--origin-id", ORIGIN.hex(), "--address", someone]
    assert registrar.main(asked) == 0
    address = contract.parse_address(made)
    assert contract.read_sender(anvil.chain.call(address, contract.sender_call(ORIGIN))).hex() == "ab" * 20
    key.write_text(hashlib.sha256(b"somebody else").hexdigest())
    assert registrar.main(asked) == 2
    assert "CHAIN_NOT_REGISTRAR" in capsys.readouterr().err

"""For the registrar, on a machine of its own: deploy the anchor contract, name the account of a log.

    python -m workbench_anchor.registrar deploy   --url URL --key FILE
    python -m workbench_anchor.registrar register --url URL --key FILE --contract 0x… --origin-id HEX --address 0x…

FILE holds the registrar's private key as 64 hexadecimal digits, mode 0600; it is no key of any node. Any other tool that
sends the committed bytes (contract/EvidenceAnchor.json) does the same. Document: docs/protocols/anchor.md section 3.1.
"""

from __future__ import annotations

import argparse
import json
import stat
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from workbench.errors import InvalidRequest, PeerUnavailable, Refused, WorkbenchError
from workbench_anchor import contract
from workbench_anchor.chain import Account, Chain, EvmChain, TransactionReceipt, checksummed

WAIT_S = 120.0
TIMEOUT_S = 20.0


def deploy(chain: Chain, registrar: Account) -> bytes:
    """Make a contract; its address (20 bytes), once its code was read back and is the committed one."""
    made = send(chain, registrar, b"", contract.creation_code())
    if chain.code(made.contract) != contract.deployed_code():
        raise Refused(
            "链上的合约代码与发布的不同：登记方核对链的版本", "The code on the chain is not the committed one: the registrar looks at the chain",
            code="WRONG_CONTRACT",
        )  # fmt: skip
    return made.contract


def register(chain: Chain, registrar: Account, *, address: bytes, origin: bytes, sender: bytes) -> None:
    """Name the one account of a log, or nobody with 20 zero bytes; read back."""
    send(chain, registrar, address, contract.register_call(origin, sender))
    if contract.read_sender(chain.call(address, contract.sender_call(origin))) != sender:
        raise Refused("登记没有生效", "The registration did not take effect", code="CHAIN_REFUSED")


def send(chain: Chain, account: Account, to: bytes, data: bytes, *, wait_s: float = WAIT_S) -> TransactionReceipt:
    """One transaction, until it is in a block. Raises Refused when the chain says no, PeerUnavailable after wait_s."""
    signed = account.sign(
        chain_id=chain.chain_id(),
        nonce=chain.used_nonces(account.address, pending=True),
        to=to,
        data=data,
        gas=chain.estimate(account.address, to, data) * 5 // 4,
        gas_price=chain.gas_price(),
    )
    chain.send(signed.raw)
    ends = time.monotonic() + wait_s
    while (receipt := chain.receipt(signed.hash)) is None:
        if time.monotonic() > ends:
            raise PeerUnavailable(
                f"交易 {signed.hash.hex()} 迟迟没有进入区块：稍后用它查询", f"transaction {signed.hash.hex()} is in no block yet: ask for it later",
                code="CHAIN_DOWN",
            )  # fmt: skip
        time.sleep(0.05)
    if not receipt.accepted:
        raise Refused("链执行交易失败", f"transaction {signed.hash.hex()} was reverted", code="CHAIN_REFUSED")
    return receipt


def read_key(path: Path) -> Account:
    """The registrar's account from its file. Raises Refused when others may read it, InvalidRequest when it is no key."""
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise Refused(
            "密钥文件可被他人读取：改为 0600", "Others may read the key file: make it 0600", code="KEYS_UNUSABLE"
        )
    try:
        return Account.from_key(bytes.fromhex(path.read_text("ascii").strip()))
    except (ValueError, TypeError) as error:
        raise InvalidRequest(
            "密钥文件里不是 64 位十六进制私钥", "the key file does not hold 64 hexadecimal digits"
        ) from error


def main(arguments: Sequence[str] | None = None) -> int:
    """One command; one JSON object on standard output; exit 0, or 2 with the reason on standard error."""
    parser = argparse.ArgumentParser(prog="python -m workbench_anchor.registrar", description=__doc__)
    parser.add_argument("what", choices=("deploy", "register"))
    parser.add_argument("--url", required=True)
    parser.add_argument("--key", required=True, type=Path)
    parser.add_argument("--contract", type=contract.parse_address)
    parser.add_argument("--origin-id", type=bytes.fromhex)
    parser.add_argument("--address", type=contract.parse_address)
    options = parser.parse_args(arguments)
    try:
        chain, registrar = EvmChain(options.url, timeout_s=TIMEOUT_S), read_key(options.key)
        if options.what == "deploy":
            print(json.dumps({"contract": checksummed(deploy(chain, registrar)), "chain_id": chain.chain_id()}))
            return 0
        if None in (options.contract, options.origin_id, options.address):
            parser.error("register needs --contract, --origin-id and --address")
        register(chain, registrar, address=options.contract, origin=options.origin_id, sender=options.address)
        print(json.dumps({"registered": checksummed(options.address)}))
    except WorkbenchError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

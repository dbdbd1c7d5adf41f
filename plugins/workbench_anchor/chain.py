"""A node of an EVM chain, asked through web3, and the account that signs anchors. docs/protocols/anchor.md sections 3.2, 3.3.

web3 is an optional part of the installation ("evidence-workbench[anchor]"), imported when a chain is first used. Its
transport is replaced by `workbench_anchor.http`; its look-ups outside the chain (CCIP read) are switched off.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol

from workbench.errors import PeerUnavailable, Refused
from workbench_anchor import http
from workbench_anchor.contract import ChainLog, error_name

MAX_ANSWER_BYTES = 4 << 20
KEY_SIZE = 32
# secp256k1, SEC 2 version 2 section 2.4.1: a private key is 1 to n - 1.
_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_METHODS = frozenset({
    "eth_blockNumber", "eth_call", "eth_chainId", "eth_estimateGas", "eth_gasPrice", "eth_getBlockByNumber",
    "eth_getCode", "eth_getTransactionCount", "eth_getTransactionReceipt", "eth_sendRawTransaction",
})  # fmt: skip
"""What this node ever asks of a chain."""


@dataclass(frozen=True, slots=True)
class Block:
    """A block of the chain as its node tells it. hash: 32 bytes. time_s: POSIX seconds."""

    number: int
    hash: bytes
    time_s: int


@dataclass(frozen=True, slots=True)
class TransactionReceipt:
    """What became of a transaction that is in a block. to: 20 bytes, empty for the making of a contract."""

    accepted: bool
    block: int
    block_hash: bytes
    to: bytes
    contract: bytes
    logs: tuple[ChainLog, ...]


@dataclass(frozen=True, slots=True)
class Signed:
    """A signed transaction: its bytes, its hash (32 bytes), and the account's number of it."""

    raw: bytes
    hash: bytes
    nonce: int


@dataclass(frozen=True, slots=True)
class _Told:
    """How an error of the contract is said."""

    code: str
    zh: str
    en: str


_TOLD = {
    "NOT_SENDER": _Told(
        "CHAIN_NOT_SENDER",
        "合约里没有为本日志登记这个账户：请登记方登记",
        "the contract knows another account for this log, or none: the registrar registers it",
    ),
    "NOT_REGISTRAR": _Told(
        "CHAIN_NOT_REGISTRAR", "只有登记方可以登记", "only the registrar of the contract may register"
    ),
    "EMPTY_TREE": _Told("CHAIN_EMPTY_TREE", "空日志不能锚定", "an empty log cannot be anchored"),
    "ROLLBACK": _Told(
        "CHAIN_ROLLBACK",
        "链上已有条数更多的检查点：本日志可能是旧副本，运维与合规人员核对",
        "the chain has a larger head of this log: it may be an older copy; operations and compliance compare",
    ),
    "SPLIT_VIEW": _Told(
        "CHAIN_SPLIT_VIEW",
        "链上同样条数的树根不同：存在两份历史，合规人员核对",
        "the chain has other roots for this size: there are two histories; compliance compares",
    ),
}
_OTHERWISE = _Told(
    "CHAIN_REFUSED",
    "链拒绝了交易或请求：运维人员核对账户余额、单价与合约",
    "the chain refused the transaction or question: operations look at balance, price and contract",
)


class Chain(Protocol):
    """What anchoring asks of a chain. Everything raises PeerUnavailable (CHAIN_DOWN) when its node does not answer."""

    def chain_id(self) -> int: ...

    def height(self) -> int: ...

    def block(self, number: int) -> Block | None: ...

    def code(self, address: bytes) -> bytes: ...

    def call(self, address: bytes, data: bytes) -> bytes: ...

    def receipt(self, transaction: bytes) -> TransactionReceipt | None: ...

    def used_nonces(self, account: bytes, *, pending: bool) -> int:
        """How many transactions of the account are in blocks, or with `pending` known at all."""

    def gas_price(self) -> int: ...

    def estimate(self, sender: bytes, to: bytes, data: bytes) -> int:
        """Gas of a call. Raises Refused with the name of the contract's error as code when it would be refused."""

    def send(self, raw: bytes) -> None:
        """Give a signed transaction to the chain; one that it knows already is no error."""


def is_installed() -> bool:
    """Whether the optional packages are there."""
    return find_spec("web3") is not None and find_spec("eth_account") is not None


def require_installed() -> None:
    """Raise Refused when the optional packages are missing."""
    if not is_installed():
        raise Refused(
            "没有安装链锚定所需的组件：管理员安装 evidence-workbench[anchor] 后重启节点",
            "The packages for anchoring to a chain are not installed: an administrator installs evidence-workbench[anchor] "
            "and restarts the node",
            code="ANCHOR_NOT_INSTALLED",
        )


class EvmChain:
    """See Chain. url: address of the chain's JSON-RPC interface. timeout_s: for each question."""

    def __init__(self, url: str, *, timeout_s: float) -> None:
        require_installed()
        web3 = library("web3")
        self._refused: type[Exception] = library("web3.exceptions").Web3Exception
        # Without web3's middleware nothing is filled in, looked up by name or asked in addition.
        self._manager = web3.Web3(_make_provider(url, timeout_s), middleware=[], modules={}, ens=None).manager

    def chain_id(self) -> int:
        return _number(self._ask("eth_chainId"))

    def height(self) -> int:
        return _number(self._ask("eth_blockNumber"))

    def block(self, number: int) -> Block | None:
        found = self._ask("eth_getBlockByNumber", hex(number), False)
        return None if found is None else _read(_block, found)

    def code(self, address: bytes) -> bytes:
        return _bytes(self._ask("eth_getCode", _hex(address), "latest"))

    def call(self, address: bytes, data: bytes) -> bytes:
        return _bytes(self._ask("eth_call", {"to": _hex(address), "data": _hex(data)}, "latest"))

    def receipt(self, transaction: bytes) -> TransactionReceipt | None:
        found = self._ask("eth_getTransactionReceipt", _hex(transaction))
        return None if found is None else _read(_receipt, found)

    def used_nonces(self, account: bytes, *, pending: bool) -> int:
        return _number(self._ask("eth_getTransactionCount", _hex(account), "pending" if pending else "latest"))

    def gas_price(self) -> int:
        return _number(self._ask("eth_gasPrice"))

    def estimate(self, sender: bytes, to: bytes, data: bytes) -> int:
        question = {"from": _hex(sender), "data": _hex(data)} | ({"to": _hex(to)} if to else {})
        return _number(self._ask("eth_estimateGas", question))

    def send(self, raw: bytes) -> None:
        try:
            self._ask("eth_sendRawTransaction", _hex(raw))
        except Refused as error:
            # Nodes word it differently; whether it is there is asked by its hash afterwards.
            said = error.details["said"]
            if not any(
                word in said for word in ("already known", "already imported", "known transaction", "nonce too low")
            ):
                raise

    def _ask(self, method: str, *parameters: Any) -> Any:
        try:
            return self._manager.request_blocking(method, list(parameters))
        except http.Unanswered as error:
            raise PeerUnavailable(
                f"链节点没有给出可用的回答（{error}）：运维人员检查 anchor.chain_url 与网络；会自动重试",
                f"the chain's node gave no usable answer ({error}): operations check anchor.chain_url and the network; "
                "it is tried again",
                code="CHAIN_DOWN",
            ) from error
        except self._refused as error:
            raise _refusal(method, error) from error
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise _odd_answer() from error


@dataclass(frozen=True, slots=True)
class Account:
    """The account that anchors. key: 32 secret bytes; address: 20 bytes."""

    key: bytes = field(repr=False)
    address: bytes

    @classmethod
    def from_key(cls, key: bytes) -> Account:
        """The account of a private key. Raises ValueError for a number that is no key."""
        require_installed()
        return cls(key, bytes.fromhex(library("eth_account").Account.from_key(key).address[2:]))

    def sign(self, *, chain_id: int, nonce: int, to: bytes, data: bytes, gas: int, gas_price: int) -> Signed:
        """A legacy transaction without value (EIP-155). to: empty makes a contract. The nonce k is by RFC 6979."""
        fields: dict[str, Any] = {
            "chainId": chain_id,
            "nonce": nonce,
            "data": data,
            "gas": gas,
            "gasPrice": gas_price,
            "value": 0,
        }
        if to:
            fields["to"] = library("eth_utils").to_checksum_address(to)
        made = library("eth_account").Account.sign_transaction(fields, self.key)
        return Signed(bytes(made.raw_transaction), bytes(made.hash), nonce)


def library(name: str) -> Any:  # Any: the libraries of the chain are an optional part
    """A module of web3 or of what it stands on; Python's limit of nesting stays as it was.

    One of them (py_ecc) raises that limit from 1,000 to 100,000 when it is imported. JSON of a partner that is nested deeper than
    the process's memory for calls would then end the node; below the limit it is refused.
    """
    limit = sys.getrecursionlimit()
    try:
        return import_module(name)
    finally:
        sys.setrecursionlimit(limit)


def make_key(random: Callable[[int], bytes]) -> bytes:
    """A private key of secp256k1: 32 bytes that stand for 1 to n - 1."""
    while not 1 <= int.from_bytes(key := random(KEY_SIZE), "big") < _ORDER:
        pass
    return key


def checksummed(address: bytes) -> str:
    """An address for people, with the check sum of EIP-55."""
    return str(library("eth_utils").to_checksum_address(address))


def _make_provider(url: str, timeout_s: float) -> Any:  # Any: the class exists only where web3 is installed
    base = library("web3.providers.base").JSONBaseProvider

    class Provider(base):  # type: ignore[misc,valid-type]  # see above
        """web3's encoding over this plugin's one way out."""

        global_ccip_read_enabled = False

        def make_request(self, method: str, params: Any) -> Any:
            if method not in _METHODS:
                raise ValueError("this node asks a chain no such thing")
            body = self.encode_rpc_request(method, params)
            answer = http.post(
                url, body, sends="application/json", expects="application/json", timeout_s=timeout_s,
                max_bytes=MAX_ANSWER_BYTES,
            )  # fmt: skip
            return self.decode_rpc_response(answer)

    return Provider()


def _refusal(method: str, error: Exception) -> Refused | PeerUnavailable:
    """What the chain said no to, by the contract's error if there is one; anything else is an odd answer."""
    answer = getattr(error, "rpc_response", None)
    told = answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(told, dict):
        return _odd_answer()
    data, said = told.get("data"), _plain(str(told.get("message", ""))).lower()
    if isinstance(data, dict):
        data = data.get("data")
    name = ""
    if isinstance(data, str) and data.startswith("0x") and len(data) >= 10:
        name = error_name(bytes.fromhex(data[2:10]))
    told_as = _TOLD.get(name, _OTHERWISE)
    return Refused(told_as.zh, told_as.en, code=told_as.code, details={"method": method, "said": said})


def _plain(said: str) -> str:
    """Foreign words for an error's details: short, printable ASCII only."""
    return "".join(letter for letter in said[:200] if " " <= letter <= "~")


def _odd_answer() -> PeerUnavailable:
    return PeerUnavailable(
        "链节点的回答不合规：运维人员检查 anchor.chain_url 指向的节点",
        "the chain's node gave a malformed answer: operations look at the node that anchor.chain_url names",
        code="CHAIN_DOWN",
        details={"reason": "malformed answer"},
    )


def _read(read: Callable[[Any], Any], found: Any) -> Any:
    try:
        return read(found)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _odd_answer() from error


def _block(found: Any) -> Block:
    return Block(_number(found["number"]), _bytes(found["hash"], 32), _number(found["timestamp"]))


def _receipt(found: Any) -> TransactionReceipt | None:
    if found["blockHash"] is None:
        return None
    logs = tuple(
        ChainLog(_bytes(one["address"], 20), tuple(_bytes(topic, 32) for topic in one["topics"]), _bytes(one["data"]))
        for one in found["logs"]
    )
    to, made = found["to"], found.get("contractAddress")
    return TransactionReceipt(
        accepted=_number(found["status"]) == 1,
        block=_number(found["blockNumber"]),
        block_hash=_bytes(found["blockHash"], 32),
        to=_bytes(to, 20) if to else b"",
        contract=_bytes(made, 20) if made else b"",
        logs=logs,
    )


def _number(value: Any) -> int:
    if not isinstance(value, str) or not value.startswith("0x"):
        raise _odd_answer()
    number = _read(lambda text: int(text, 16), value)
    if not 0 <= number < 1 << 63:
        raise _odd_answer()
    return int(number)


def _bytes(value: Any, size: int | None = None) -> bytes:
    if not isinstance(value, str) or not value.startswith("0x"):
        raise _odd_answer()
    found: bytes = _read(lambda text: bytes.fromhex(text[2:]), value)
    if size is not None and len(found) != size:
        raise _odd_answer()
    return found


def _hex(value: bytes) -> str:
    return "0x" + value.hex()

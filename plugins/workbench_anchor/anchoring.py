"""Heads on a chain: send, wait for confirmations, read back, watch. Document: docs/protocols/anchor.md section 3.

One transaction at a time. Its bytes are stored before they are sent; what counts is only what is read back.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from workbench.contracts import Transaction
from workbench.domain.party import PartyId
from workbench.errors import NotFound, Refused, StartRefused, VerificationError, WorkbenchError
from workbench_anchor import contract, http, tables
from workbench_anchor.chain import (
    Account,
    Chain,
    EvmChain,
    TransactionReceipt,
    checksummed,
    make_key,
    require_installed,
)
from workbench_anchor.contract import ChainHead, head_of
from workbench_anchor.house import House
from workbench_anchor.notes import Note, origin_id, read_note
from workbench_anchor.tables import Finding, TransactionRow

WHAT = "evm"
KEY_NAME = "anchor/chain-key"
SEND_AGAIN_MS = 60_000
_OWN_STOPS = frozenset({"WRONG_CHAIN", "WRONG_CONTRACT", "ROLLED_BACK", "SPLIT_VIEW"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where heads are anchored. contract: 20 bytes."""

    url: str
    chain_id: int
    contract: bytes
    confirmations: int


class Anchoring:
    """The anchors of one node on a chain. connect: makes the chain from its address; tests give their own."""

    def __init__(self, house: House, connect: Callable[[str, float], Chain] | None = None) -> None:
        self._house = house
        self._host = house.host
        self._connect = connect or (lambda url, timeout_s: EvmChain(url, timeout_s=timeout_s))
        self._chain: Chain | None = None
        self._own_size = 0

    @property
    def is_on(self) -> bool:
        """Whether this node may go out to a chain."""
        return bool(self._host.setting("anchor.chain_url"))

    # ---- the account

    def make_account(self, *, actor: str, anew: bool = False) -> Account:
        """The account of this node, made if there is none. The key lies in the vault and nowhere else.

        anew: make another one in its place; the old key is destroyed. Anchors wait until the registrar has registered it.
        """
        host = self._host
        account = None if anew else self.account()
        if account is not None:
            values = {"what": "account", "size": str(self._house.ledger.size(host.party))}
            host.store.write(lambda tx: self._house.record(tx, "anchor.ordered", values, actor=actor))
            return account
        made = Account.from_key(make_key(host.random))

        def keep(tx: Transaction) -> None:
            host.vault.put(tx, KEY_NAME, made.key)
            values = {"address": checksummed(made.address), "origin_id": self.origin.hex()}
            self._house.record(tx, "anchor.key_made", values, actor=actor)

        host.store.write(keep)
        return made

    def account(self) -> Account | None:
        """The account of this node, or None while there is none."""
        with self._host.store.read() as reader:
            try:
                return Account.from_key(self._host.vault.get(reader, KEY_NAME))
            except NotFound:
                return None

    @property
    def origin(self) -> bytes:
        """The number of the own log in the contract."""
        return origin_id(self._host.project, self._host.party)

    def place(self) -> Place:
        """Where the settings say heads go. Raises StartRefused when they are incomplete."""
        setting = self._host.setting
        url = http.check_address(setting("anchor.chain_url"), setting="anchor.chain_url")
        try:
            address = contract.parse_address(setting("anchor.chain_contract"))
            if setting("anchor.chain_id") < 1 or not any(address):
                raise ValueError("chain id")
        except ValueError as error:
            raise StartRefused(
                "链锚定的设置不全：运维人员填写 anchor.chain_id 与 anchor.chain_contract 后重启节点",
                "The settings of the chain are incomplete: operations give anchor.chain_id and anchor.chain_contract and restart",
                code="WRONG_SETTING",
            ) from error
        return Place(url, setting("anchor.chain_id"), address, max(1, setting("anchor.confirmations")))

    def chain(self, place: Place) -> Chain:
        """The chain of the settings; Refused (ANCHOR_NOT_INSTALLED) where the optional packages are missing."""
        if self._chain is None:
            self._chain = self._connect(place.url, float(self._host.setting("anchor.timeout_s")))
        return self._chain

    # ---- rounds

    def round(self, *, force: bool = False) -> None:
        """Look at the chain, bring the open transaction further, send a new one if due. Raises WorkbenchError."""
        size = 0
        try:
            place = self.place()
            require_installed()
            account = self.required_account()
            chain = self.chain(place)
            found = self._watch(chain, place)
            if not any(one.problem == "WRONG_CHAIN" for one in found):
                self._look_for_lost(chain, place)
            self._keep(found, place)
            if any(one.problem in _OWN_STOPS and one.log == self._host.party for one in found):
                return
            with self._host.store.read() as reader:
                row = tables.open_transaction(reader)
            if row is not None:
                size = row.size
                row = self._progress(chain, place, row)
            if row is None or row.state not in ("sent", "mined"):
                note = self._next_note(place, force=force)
                if note is not None:
                    size = note.size
                    sent = self._send(chain, place, account, note)
                    self._progress(chain, place, sent)
        except WorkbenchError as error:
            code = error.code
            self._host.store.write(lambda tx: self._house.record_failure(tx, WHAT, code, size))
            raise

    def wait(self, *, timeout_s: float) -> None:
        """Go on until nothing is under way, for a person who waits. Raises WorkbenchError."""
        ends = time.monotonic() + timeout_s
        while time.monotonic() < ends:
            with self._host.store.read() as reader:
                if tables.open_transaction(reader) is None:
                    return
            time.sleep(0.5)
            self.round()

    # ---- private: watching

    def _watch(self, chain: Chain, place: Place) -> list[Finding]:
        """What on the chain contradicts the logs as held here (document section 3.4)."""
        host = self._host
        if chain.chain_id() != place.chain_id:
            return [self._finding(host.party, "WRONG_CHAIN", 0, b"%d" % chain.chain_id())]
        code = chain.code(place.contract)
        if code != contract.deployed_code():
            return [self._finding(host.party, "WRONG_CONTRACT", 0, code)]
        found = []
        self._own_size = 0
        for party in host.parties():
            head = self._latest(chain, place, party)
            if head is None:
                continue
            if party == host.party:
                self._own_size = head.size
            shown = b"%d" % head.size + head.sha256_root + head.sm3_root
            if head.size > self._house.ledger.size(party):
                if party == host.party:
                    found.append(self._finding(party, "ROLLED_BACK", head.size, shown))
            elif self._house.ledger.roots_at(party, head.size) != head.roots:
                found.append(self._finding(party, "SPLIT_VIEW", head.size, shown))
        return found

    def _latest(self, chain: Chain, place: Place, party: PartyId) -> ChainHead | None:
        answer = chain.call(place.contract, contract.latest_call(origin_id(self._host.project, party)))
        try:
            return contract.read_latest(answer)
        except ValueError as error:
            raise _odd_contract() from error

    def _finding(self, log: PartyId, problem: str, size: int, shown: bytes) -> Finding:
        return Finding(log, problem, size, hashlib.sha256(shown).hexdigest(), self._host.now_ms())

    def _keep(self, found: list[Finding], place: Place) -> None:
        """Remember what lasts; what is new is evidence."""
        with self._host.store.read() as reader:
            lasting = tables.findings(reader)
            new = [one for one in found if not tables.has_finding(reader, one)]
        if not new and {_key(one) for one in lasting} == {_key(one) for one in found}:
            return

        def keep(tx: Transaction) -> None:
            for one in new:
                values = {"origin": one.log, "problem": one.problem, "size": str(one.size), "detail": one.detail}
                self._house.record(tx, "anchor.conflict", values | _chain_values(place))
            tables.keep_findings(tx, found, self._host.now_ms())

        self._host.store.write(keep)

    def _look_for_lost(self, chain: Chain, place: Place) -> None:
        """Anchored transactions that the chain does not know any more, newest first until one stands."""
        with self._host.store.read() as reader:
            rows = [one for one in tables.anchored(reader) if _is_at(one, place)]
        for row in rows:
            receipt = chain.receipt(row.hash)
            if receipt is not None and receipt.accepted and self._is_canonical(chain, receipt):
                return
            values = {
                "size": str(row.size),
                "note_sha256": row.digest.hex(),
                "transaction": row.hash.hex(),
                "block": str(row.block),
            } | _chain_values(place)

            def keep(tx: Transaction, row: TransactionRow = row, values: dict[str, str] = values) -> None:
                self._house.record(tx, "anchor.lost", values)
                tables.change(tx, "transaction", row.number, state="lost")

            self._host.store.write(keep)

    def _is_canonical(self, chain: Chain, receipt: TransactionReceipt) -> bool:
        block = chain.block(receipt.block)
        return block is not None and block.hash == receipt.block_hash

    # ---- private: one transaction

    def required_account(self) -> Account:
        """The account; Refused (ANCHOR_NO_ACCOUNT) while there is none."""
        account = self.account()
        if account is None:
            raise Refused(
                "还没有锚定账户：运维人员运行 workbench ledger anchor DIR --party P --init，并把地址交登记方登记",
                "There is no anchoring account yet: operations run workbench ledger anchor DIR --party P --init and have its "
                "address registered",
                code="ANCHOR_NO_ACCOUNT",
            )
        return account

    def _next_note(self, place: Place, *, force: bool) -> Note | None:
        with self._host.store.read() as reader:
            rows = [one for one in tables.anchored(reader) if _is_at(one, place)]
        last = max(rows, key=lambda row: row.size, default=None)
        covered, since_ms = (last.size, last.made_ms) if last else (0, 0)
        # The chain may know a head of this log that a restored database does not: it does not go below that.
        return self._house.next_note(WHAT, covered=max(covered, self._own_size), since_ms=since_ms, force=force)

    def _send(self, chain: Chain, place: Place, account: Account, note: Note) -> TransactionRow:
        """Sign, write down, send. Raises Refused when the contract or the fee says no: then nothing was sent."""
        host = self._host
        sender = contract.read_sender(chain.call(place.contract, contract.sender_call(note.origin_id)))
        if sender != account.address:
            raise Refused(
                f"合约里没有登记本账户 {checksummed(account.address)}：请登记方为日志 {note.origin_id.hex()} 登记",
                f"The contract does not know the account {checksummed(account.address)}: the registrar registers it for "
                f"log {note.origin_id.hex()}",
                code="CHAIN_NOT_SENDER",
                details={"address": checksummed(account.address), "origin_id": note.origin_id.hex()},
            )
        data = contract.anchor_call(note.origin_id, head_of(note))
        gas = chain.estimate(account.address, place.contract, data)
        price = chain.gas_price()
        limit = host.setting("anchor.largest_gas_price")
        if price > limit:
            raise Refused(
                f"链的单价 {price} 高于设置 anchor.largest_gas_price 的 {limit}：财务与运维决定后再改",
                f"The chain's gas price {price} is above anchor.largest_gas_price, {limit}: operations decide",
                code="CHAIN_PRICE",
            )
        nonce = chain.used_nonces(account.address, pending=True)
        signed = account.sign(
            chain_id=place.chain_id, nonce=nonce, to=place.contract, data=data, gas=gas + gas // 4, gas_price=price
        )
        now = host.now_ms()
        row = TransactionRow(
            0, note.size, note.text, note.digest, place.chain_id, place.contract, account.address, nonce, signed.hash,
            signed.raw, now, "sent", now + SEND_AGAIN_MS, "", 0, b"", 0, -1,
        )  # fmt: skip
        values = {name: getattr(row, name) for name in TransactionRow.__slots__ if name != "number"}
        row = replace(row, number=host.store.write(lambda tx: tables.add(tx, "transaction", **values)))
        try:
            chain.send(signed.raw)
        except Refused as error:
            self._end(row, "failed", error.code)
            raise
        return row

    def _progress(self, chain: Chain, place: Place, row: TransactionRow) -> TransactionRow:
        """The row after one look at the chain (document section 3.3)."""
        if not _is_at(row, place):
            return self._end(row, "dropped", "CHAIN_DROPPED")
        # Asked before the receipt: a transaction that runs between the two questions is not taken for a lost one.
        used = chain.used_nonces(row.sender, pending=False)
        receipt = chain.receipt(row.hash)
        if receipt is None or not self._is_canonical(chain, receipt):
            return self._not_in_a_block(chain, row, used)
        if not receipt.accepted:
            return self._end(row, "failed", "CHAIN_REVERTED")
        block = chain.block(receipt.block)
        if block is None:
            return row
        where = {"block": block.number, "block_hash": block.hash, "time_ms": block.time_s * 1000}
        if chain.height() - receipt.block + 1 < place.confirmations:
            if (row.state, row.block_hash) != ("mined", block.hash):
                self._host.store.write(lambda tx: tables.change(tx, "transaction", row.number, state="mined", **where))
            return replace(row, state="mined")
        self._read_back(chain, place, row, receipt)
        note = read_note(row.note)
        values = {
            "size": str(row.size),
            "note_sha256": row.digest.hex(),
            "cosigners": " ".join(note.cosigners),
            "transaction": row.hash.hex(),
            "block": str(block.number),
            "block_hash": block.hash.hex(),
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(block.time_s)),
            "confirmations": str(place.confirmations),
        } | _chain_values(place)

        def keep(tx: Transaction) -> None:
            entry = self._house.record(tx, "anchor.anchored", values)
            tables.change(tx, "transaction", row.number, state="anchored", entry=entry, problem="", **where)

        self._host.store.write(keep)
        self._house.succeeded(WHAT)
        return replace(row, state="anchored")

    def _not_in_a_block(self, chain: Chain, row: TransactionRow, used: int) -> TransactionRow:
        """Waiting, put out by a reorganisation, or never to come. used: transactions of the account that are in blocks."""
        now = self._host.now_ms()
        if row.state == "mined" or (used == row.nonce and now >= row.next_ms):
            change = {"state": "sent", "next_ms": now + SEND_AGAIN_MS, "block": 0, "block_hash": b"", "time_ms": 0}
            self._host.store.write(lambda tx: tables.change(tx, "transaction", row.number, **change))
            if used == row.nonce:
                chain.send(row.raw)
        elif used != row.nonce and now >= row.next_ms:
            # Larger: another transaction took its number. Smaller: the chain lost earlier ones, so it can never run. A node
            # may be late with one answer or the other, so this has to last.
            return self._end(row, "dropped", "CHAIN_DROPPED")
        return replace(row, state="sent")

    def _read_back(self, chain: Chain, place: Place, row: TransactionRow, receipt: TransactionReceipt) -> None:
        """Return if the chain shows exactly what was to be anchored. Raises VerificationError (CHAIN_READ_BACK)."""
        head = head_of(read_note(row.note))
        logs = [one for one in receipt.logs if one.address == place.contract]
        newest = self._latest(chain, place, self._host.party)
        if (
            receipt.to != place.contract
            or len(logs) != 1
            or logs[0].topics != contract.anchored_topics(self.origin, head.size)
            or logs[0].data != contract.anchored_data(head)
            or newest is None
            or newest.size < head.size
            or (newest.size == head.size and newest.roots != head.roots)
        ):
            raise VerificationError(
                "链上读回的内容与所锚定的检查点不同：合规人员与登记方核对",
                "what the chain gives back is not the checkpoint that was anchored: compliance and the registrar compare",
                code="CHAIN_READ_BACK",
                details={"transaction": row.hash.hex()},
            )

    def _end(self, row: TransactionRow, state: str, code: str) -> TransactionRow:
        def keep(tx: Transaction) -> None:
            self._house.record_failure(tx, WHAT, code, row.size)
            tables.change(tx, "transaction", row.number, state=state, problem=code)

        self._host.store.write(keep)
        return replace(row, state=state, problem=code)


def _is_at(row: TransactionRow, place: Place) -> bool:
    return (row.chain_id, row.contract) == (place.chain_id, place.contract)


def _key(finding: Finding) -> tuple[str, str, int, str]:
    return finding.log, finding.problem, finding.size, finding.detail


def _chain_values(place: Place) -> dict[str, str]:
    return {"chain_id": str(place.chain_id), "contract": "0x" + place.contract.hex()}


def _odd_contract() -> VerificationError:
    return VerificationError(
        "锚定合约的回答不合规：登记方与运维人员核对合约",
        "the anchor contract gave a malformed answer: the registrar and operations look at it",
        code="CHAIN_CONTRACT",
    )

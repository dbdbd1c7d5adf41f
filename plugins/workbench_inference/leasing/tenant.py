"""The tenant's side of leases: orders, changes, releases, what it saw and counted, receipts and statements it checks.

Document: docs/protocols/sandbox.md sections 4, 9, 10. Each arrow of a lease is one transaction with its entry and its letter.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from workbench.channel.terms import COUNTED, Policy
from workbench.clock import local_day
from workbench.contracts import Letter, LetterState, PeerCall, Transaction
from workbench.domain.party import PartyId
from workbench.errors import NotFound, Refused, VerificationError, WorkbenchError
from workbench_inference.leasing import deciding, images, keys, rows, ticking
from workbench_inference.leasing.billing import amount_fen, second_of
from workbench_inference.leasing.capacity import parsed
from workbench_inference.leasing.keys import LeasingHost, Reader
from workbench_inference.leasing.lease import (
    OVER,
    Accepted,
    Changed,
    Ended,
    NoneLeft,
    OrderRefused,
    Receipt,
    ServerLeased,
    State,
    Waited,
    due,
    next_state,
    takes_asks,
)
from workbench_inference.leasing.metering import account, differences
from workbench_inference.leasing.rows import LeaseRow
from workbench_inference.leasing.scaling import Decision
from workbench_sandbox.formats import reading, relay
from workbench_sandbox.formats.erasing import format_erased_answer, receipt_refused, verify_receipt
from workbench_sandbox.formats.metering import format_statement_answer, parse_statement, parse_tick
from workbench_sandbox.formats.order import (
    Change,
    Order,
    Release,
    Tariff,
    format_change,
    format_order_letter,
    format_release,
    parse_change_answer,
    parse_order_answer,
    parse_release_answer,
)

ORDER, CHANGE, RELEASE = "inference.order", "inference.change", "inference.release"
CALL_S: Final = 10.0
UNHEARD_MS: Final = round(2_000 * ticking.POLL_S + 1_000)
"""So long after its last word, two looks and a second, a provider counts as not reached: a call to one that is frozen fails much later."""
SKEW_MS: Final = 5_000
CAUSE_WITHIN_MS: Final = 10_000
"""So long a tenant waits for a receipt to learn why the provider ended a lease; then it writes `operator`."""


class Tenant:
    """One tenant's node. corpus: (digest, offset, most) -> bytes of a sealed corpus that the provider may pull. Safe for threads."""

    def __init__(self, host: LeasingHost, *, clock: Callable[[], int] | None = None, corpus: Callable[[str, int, int], bytes] | None = None) -> None:
        self.host = host
        self._clock = clock or ticking.running_clock(host)
        self._corpus = corpus or _no_corpus
        self._lock = threading.RLock()
        self.watches: dict[str, ticking.Watch] = {}
        self._spent = ticking.Spent()
        self._polled: dict[str, int] = {}
        self._noticed: dict[str, int] = {}  # lease -> when the provider was first heard to have ended it
        self._views: dict[str, relay.LeaseView] = {}
        self._heard: dict[str, int] = {}  # lease -> running ms of the provider's last word about it
        self._began = self._clock()

    # ------------------------------------------------------------------ acts

    def offer(self) -> relay.Offer:
        """What the provider could give now. Raises Refused NO_PROVIDER, PeerError."""
        return relay.parse_offer(relay.read_reply(self.host.call(self.provider(), relay.OFFER, relay.format_offer_request(), timeout_s=CALL_S)))

    def provider(self) -> PartyId:
        """Who rents out to this institution. Raises Refused NO_PROVIDER."""
        named = str(self.host.setting("inference.provider"))
        if named not in self.host.parties() or named == self.host.party:
            raise Refused("没有设定算力方。运维设置 inference.provider", "No provider is set. Operations set inference.provider", code="NO_PROVIDER")
        return PartyId(named)

    def order(
        self, *, image: str, cards: int, most_cards: int, from_ms: int, until_ms: int, pool: str = "shared", mode: str = "run", assurance: str = "process",
        price: int, budget_fen: int = 0, keep: bool = True, idle_s: int = 0, role: str = "", actor: str = "", reason: str = "",
    ) -> Order:  # fmt: skip
        """Order a lease: row, letter and entry in one transaction. Raises Refused: LEASE_ORDER for what the format refuses, NO_IMAGE, NO_PROVIDER."""
        host = self.host
        provider = self.provider()
        names, policy = list(host.setting("inference.controls")), str(host.setting("inference.policy"))
        lease = f"L-{local_day(from_ms):%Y%m%d}-{host.random(4).hex()}"
        try:
            order = Order(
                lease=lease, tenant=host.party, provider=provider, nonce=host.random(16).hex(), mode=mode, image=image, pool=pool, cards=cards, most_cards=most_cards,
                from_ms=from_ms, until_ms=until_ms, assurance=assurance, controls=tuple(names), policy=policy, provenances=COUNTED[Policy(policy)],
                tariff=Tariff(price, budget_fen), keep=keep, idle_s=idle_s,
            )  # fmt: skip
        except ValueError as error:
            raise Refused(
                f"订单不成立：{error}。卡数 1 至上限，租期至多 24 小时", f"The order does not hold: {error}. Cards from 1 to the most, at most 24 hours", code="LEASE_ORDER"
            ) from error

        def change(tx: Transaction) -> None:
            if tx.execute("SELECT 1 FROM inference_image WHERE id = ? AND state = 'signed'", (image,)).fetchone() is None:
                raise NotFound(f"没有已签署的镜像「{image[:8]}」，先签署", f"There is no signed image {image[:8]}; sign one first", code="NO_IMAGE")
            _, service = keys.own(tx, host)
            letter = host.letters.post(tx, to=provider, kind=ORDER, body=format_order_letter(order, service), job=lease)
            rows.insert(tx, order, side=rows.TENANT, partner=provider, letter=letter, role=role)
            values = {"initiator": host.party, "partner": provider, "image": image, "cards": str(cards), "from": str(from_ms), "until": str(until_ms), "assurance": assurance}
            values |= {"policy": order.policy, "digest": order.digest, "budget": str(budget_fen), "price": str(price), "reason": reason}
            host.evidence.append(tx, "inference.lease_ordered", values, job=lease, actor=actor)

        host.store.write(change)
        keys.send_now(host)
        return order

    def change(self, lease: str, *, cards: int, until_ms: int, cause: str, decision: Decision | None = None, queue: int = 0, actor: str = "") -> int:
        """Ask for other cards or another end; the change's number. One at a time: Refused LEASE_CHANGE while one waits.

        decision: why the scaler wants it, with the queue it saw; a person's is made of their reason. It stands in the change's transaction.
        """
        why = decision or Decision(cards, "person", cause, cause)

        def change(tx: Transaction) -> int:
            row = self._own(tx, lease)
            last = tx.execute("SELECT number, at_s FROM inference_change WHERE lease = ? ORDER BY number DESC LIMIT 1", (lease,)).fetchone()
            if last and int(last[1]) < 0:
                raise Refused("上一次变更还没有答复，请稍候", "The change before is not answered yet; wait a moment", code="LEASE_CHANGE")
            number = int(last[0]) + 1 if last else 1
            try:
                wanted = Change(lease, number, cards, until_ms)
                next_state(rows.value(tx, row, accepted=self._accepted(tx, row)), Changed(number, cards, until_ms), now_ms=self.host.now_ms())
                reading.need(until_ms - row.from_ms <= 24 * 3_600_000, "at most 24 hours")
            except ValueError as error:
                raise Refused(f"租约此时不能这样变更：{error}", f"The lease cannot be changed so now: {error}", code="LEASE_CHANGE") from error
            tx.execute("INSERT INTO inference_change (lease, number, cards, until_ms, cause) VALUES (?, ?, ?, ?, ?)", (lease, number, cards, until_ms, cause))
            self.host.letters.post(tx, to=row.partner, kind=CHANGE, body=format_change(wanted), job=lease)
            if cards != row.cards:
                deciding.keep(tx, self.host, row, row.cards, why, queue=queue, change=number, actor=actor)
            return number

        number = self.host.store.write(change)
        keys.send_now(self.host)
        return number

    def release(self, lease: str, *, cause: str = "released", reason: str = "", actor: str = "") -> LeaseRow:
        """Give a lease back: here at once, to the provider by letter and by a call beside it. Repeated, nothing changes."""

        def change(tx: Transaction) -> bool:
            row = self._own(tx, lease)
            if row.state not in rows.LIVE:
                return False
            if not self._accepted(tx, row):
                raise Refused("算力方还没有答复这份订单，请稍候", "The provider has not answered this order yet; wait a moment", code="LEASE_CHANGE")
            self._end(tx, row, cause, actor=actor)
            self.host.letters.post(tx, to=row.partner, kind=RELEASE, body=format_release(Release(lease, _sentence(reason))), job=lease)
            return True

        is_new = self.host.store.write(change)
        with self.host.store.read() as reader:
            row = rows.get(reader, lease)
        if not is_new and actor:
            raise Refused(f"租约「{lease}」已经结束（{row.state.value}）", f"Lease {lease} is over already ({row.state.value})", code="LEASE_OVER")
        if is_new:
            keys.send_now(self.host)
            try:
                relay.read_reply(self.host.call(row.partner, relay.RELEASE, format_release(Release(lease, _sentence(reason))), timeout_s=CALL_S))
            except WorkbenchError as error:
                self.host.log_fault(error)  # the letter goes on
        return row

    def live(self, reader: Reader, *, now_ms: int, mode: str = "") -> LeaseRow | None:
        """The running lease that takes asks now, the one with the latest end; None without any."""
        found = [one for one in rows.listed(reader, states=[State.RUNNING]) if one.side == rows.TENANT and (not mode or one.order.mode == mode)]
        able = [one for one in found if takes_asks(rows.value(reader, one), now_ms=now_ms)]
        return max(able, key=lambda one: (one.until_ms, one.lease), default=None)

    def second(self, lease: str) -> int:
        """Own second of a lease; 0 before it was seen to run."""
        with self._lock:
            watch = self.watches.get(lease)
            return second_of(watch.zero_ms, self._clock()) if watch else 0

    # ------------------------------------------------------------------ answers of the provider

    def order_answered(self, tx: Transaction, state: LetterState) -> None:
        """The acknowledgement of an order: accepted, or refused with a code."""
        row = self._own(tx, state.job)
        if row.state is not State.ORDERED:
            return
        lease = rows.value(tx, row, accepted=False)
        if state.refused_code:
            rows.save(tx, next_state(lease, OrderRefused(state.refused_code), now_ms=self.host.now_ms()), code=state.refused_code)
            return
        try:
            answer = parse_order_answer(state.answer)
            keys.keep(tx, self.host, row.partner, answer.service)
            reading.need(answer.tariff == row.order.tariff and answer.cards == row.order.cards, "another tariff or number of cards")
            reading.need((answer.from_ms, answer.until_ms) == (row.order.from_ms, row.order.until_ms), "another time")
            rows.save(tx, next_state(lease, Accepted(answer.cards, answer.from_ms, answer.until_ms), now_ms=self.host.now_ms()))
        except (WorkbenchError, ValueError) as error:
            code = error.code if isinstance(error, WorkbenchError) else "LEASE_LETTER"
            rows.save(tx, next_state(lease, OrderRefused(code), now_ms=self.host.now_ms()), code=code)

    def change_answered(self, tx: Transaction, state: LetterState) -> None:
        """The acknowledgement of a change. What was refused is as if it had never been asked for."""
        row = self._own(tx, state.job)
        waiting = tx.execute("SELECT number, cards, until_ms, cause FROM inference_change WHERE lease = ? AND at_s < 0 ORDER BY number LIMIT 1", (row.lease,)).fetchone()
        if waiting is None:
            return
        number = int(waiting[0])
        answer = None
        if not state.refused_code:
            try:
                answer = parse_change_answer(state.answer)
            except VerificationError as error:
                self.host.log_fault(error)
        if answer is None or (answer.cards, answer.until_ms) != (int(waiting[1]), int(waiting[2])):
            tx.execute("DELETE FROM inference_change WHERE lease = ? AND number = ?", (row.lease, number))
            deciding.refused(tx, row.lease, number, code=state.refused_code or "LEASE_LETTER")
            return
        tx.execute("UPDATE inference_change SET at_s = ? WHERE lease = ? AND number = ?", (answer.at_s, row.lease, number))
        if row.state in rows.LIVE:
            tx.execute("UPDATE inference_lease SET cards = ?, until_ms = ? WHERE lease = ?", (answer.cards, answer.until_ms, row.lease))
        values = {**rows.parties(row, self.host.party), "number": str(number), "cards": str(answer.cards), "until": str(answer.until_ms), "at": str(answer.at_s)}
        self.host.evidence.append(tx, "inference.lease_changed", values | {"cause": str(waiting[3])}, job=row.lease)

    def release_answered(self, tx: Transaction, state: LetterState) -> None:
        """The provider has ended it; the receipts follow."""
        if not state.refused_code:
            parse_release_answer(state.answer)

    def receive_erased(self, tx: Transaction, letter: Letter) -> bytes:
        """An erase receipt: checked against what this tenant knew, kept, and counted towards the lease's end."""
        host = self.host
        try:
            known = keys.known(tx, letter.sender)
            receipt, _ = verify_receipt(letter.body, provider=letter.sender, contract_key=host.pinned_keys(letter.sender).contract, known=_for_receipt(tx, letter, known))
            self._check_receipt(tx, letter, receipt)
        except VerificationError as error:
            raise Refused(error.zh, error.en, code=error.code) from error
        row = self._own(tx, receipt.lease)
        kept = tx.execute("SELECT receipt FROM inference_erasure WHERE lease = ? AND server = ? ORDER BY received_ms DESC LIMIT 1", (row.lease, receipt.server)).fetchone()
        if kept is not None and bytes(kept[0]) == letter.body:
            return format_erased_answer()
        now = host.now_ms()
        for sandbox in receipt.sandboxes:
            rows.sandbox_seen(tx, sandbox=sandbox, lease=row.lease, server=receipt.server, at_ms=now)
            rows.sandbox_ended(tx, sandbox, cause=receipt.reason, at_ms=now)
        latest = tx.execute("SELECT max(started_ms) FROM inference_sandbox WHERE lease = ? AND server = ?", (row.lease, receipt.server)).fetchone()[0]
        if latest is None:
            raise Refused("收据里没有沙箱", "a receipt of a server that never had this lease", code="ERASE_RECEIPT")
        value = rows.value(tx, row)
        if row.state is State.ORDERED:
            value = next_state(value, ServerLeased(receipt.server), now_ms=max(now, row.from_ms))
        tx.execute(
            "INSERT OR REPLACE INTO inference_erasure (lease, server, receipt, clean, received_ms) VALUES (?, ?, ?, ?, ?)",
            (row.lease, receipt.server, letter.body, int(receipt.clean), max(now, int(latest))),
        )
        values = {**rows.parties(row, host.party), "server": receipt.server, "receipt": receipt.digest, "clean": "true" if receipt.clean else "false", "reason": receipt.reason}
        host.evidence.append(tx, "inference.erased", values | {"checks": " ".join(f"{one.name}={one.found}" for one in receipt.checks)}, job=row.lease)
        if receipt.server in value.held and row.state not in OVER:
            rows.save(tx, next_state(value, Receipt(receipt.server, receipt.clean), now_ms=now))
        with self._lock:
            self._polled.pop(row.lease, None)  # is there another server? asked at once
        return format_erased_answer()

    def _check_receipt(self, tx: Transaction, letter: Letter, receipt: Any) -> None:
        """Raise VerificationError ERASE_RECEIPT unless it is about this lease and leaves out no sandbox that gave evidence."""
        row = rows.find(tx, receipt.lease)
        if row is None or row.side != rows.TENANT or row.partner != letter.sender or receipt.tenant != self.host.party or receipt.lease != letter.job:
            raise receipt_refused("of another lease or tenant")
        gave = {str(one[0]) for one in tx.execute("SELECT sandbox FROM inference_sandbox WHERE lease = ? AND server = ? AND serial > 0", (row.lease, receipt.server))}
        if not gave <= set(receipt.sandboxes):
            raise receipt_refused("it leaves out a sandbox that gave evidence")
        elsewhere = tx.execute(
            f"SELECT count(*) FROM inference_sandbox WHERE sandbox IN ({', '.join('?' * len(receipt.sandboxes))}) AND (lease <> ? OR server <> ?)",
            (*receipt.sandboxes, row.lease, receipt.server),
        ).fetchone()[0]
        if elsewhere or not receipt.sandboxes:
            raise receipt_refused("it names sandboxes of another server, or none")
        if receipt.ended_ms > self.host.now_ms() + SKEW_MS or receipt.ended_ms < row.from_ms - SKEW_MS:
            raise receipt_refused("its times are not those of the lease")

    def receive_statement(self, tx: Transaction, letter: Letter) -> bytes:
        """A statement of account against the own ticks; both are kept."""
        host = self.host
        theirs = parsed(lambda: parse_statement(letter.body))
        row = rows.find(tx, theirs.lease)
        if row is None or row.side != rows.TENANT or row.partner != letter.sender or theirs.lease != letter.job:
            raise Refused("账单不属于任何租约", "a statement of no lease of this institution", code="STATEMENT_REFUSED")
        own = account(row.lease, ticking.answered(tx, row.lease), fen_per_card_minute=row.price)
        found = differences(theirs, own)
        if tx.execute("SELECT 1 FROM inference_statement WHERE lease = ?", (row.lease,)).fetchone() is None:
            ticking.close_entries(tx, host, row.lease)
            tx.execute(
                "INSERT INTO inference_statement (lease, body, amount_fen, agreed, reason) VALUES (?, ?, ?, ?, ?)",
                (row.lease, letter.body, theirs.amount_fen, int(not found), " ".join(found)),
            )
            values = {"card_seconds": str(theirs.card_seconds), "agreed": str(own.agreed_card_seconds), "statement": reading.digest(letter.body)}
            values |= {"amount": str(theirs.amount_fen), "price": str(row.price)}
            host.evidence.append(tx, "inference.statement", {**rows.parties(row, host.party), **values}, job=row.lease)
        return format_statement_answer(found)

    def tick(self, call: PeerCall) -> bytes:
        """The signed reply to a tick. Raises for what no live or lately ended lease of this partner names."""
        tick, _ = parse_tick(call.body)
        with self.host.store.read() as reader:
            row = rows.find(reader, tick.lease)
        if row is None or row.side != rows.TENANT or row.partner != call.peer or row.state in (State.ORDERED, State.REFUSED):
            if row is not None and row.state is State.ORDERED and row.partner == call.peer:
                self.look(row)  # the provider is ahead of the last look
                with self.host.store.read() as reader:
                    row = rows.get(reader, tick.lease)
            if row is None or row.side != rows.TENANT or row.partner != call.peer or row.state in (State.ORDERED, State.REFUSED):
                raise relay.sandbox_refused()
        with self._lock:  # never over a change: what runs in one asks for this lock
            self._heard[tick.lease] = self._clock()
            watch = self.watches.get(tick.lease)
        return relay.accepted(ticking.answer_tick(self.host, row, call.body, watch, now_ms=self._clock()))

    def pull(self, call: PeerCall) -> bytes:
        """A piece of an image or corpus that a live order of this partner named."""
        return images.give(self.host, call.peer, call.body, self._corpus)

    # ------------------------------------------------------------------ rounds

    def start(self) -> None:
        """Go on watching leases that an earlier run of this node had; what it did not see counts as ordered."""
        with self.host.store.read() as reader:
            running = [one for one in rows.listed(reader, states=[State.RUNNING]) if one.side == rows.TENANT]
        now, mono = self.host.now_ms(), self._clock()
        with self._lock:
            for row in running:
                zero = mono - (now - row.started_ms)
                self.watches[row.lease] = ticking.Watch(zero, polled_s=second_of(zero, mono), blind_s=second_of(zero, mono))

    def round(self) -> None:
        """Everything that is due now."""
        with self.host.store.read() as reader:
            found = [one for one in rows.listed(reader, states=rows.OPEN) if one.side == rows.TENANT]
        for row in found:
            try:
                self._serve(row)
            except WorkbenchError as error:
                self.host.log_fault(error)

    def _serve(self, row: LeaseRow) -> None:
        now = self.host.now_ms()
        with self.host.store.read() as reader:
            accepted = self._accepted(reader, row)
            value = rows.value(reader, row, accepted=accepted)
            spent = amount_fen(self._spent.seconds(reader, row.lease), row.price) if row.budget_fen and row.state is State.RUNNING else 0
        if row.state in rows.LIVE and accepted:
            cause = due(value, now_ms=now, spent_fen=spent, budget_fen=row.budget_fen)
            if cause == "budget":
                self.release(row.lease, cause=cause, reason="budget")
                return
            if cause:
                self.host.store.write(lambda tx: self._end(tx, rows.get(tx, row.lease), cause))
                return
            if now >= row.from_ms and self._clock() - self._polled.get(row.lease, -(10**9)) >= ticking.POLL_S * 1000:
                self.look(row)
        elif row.state in (State.RELEASING, State.UNPROVEN):
            if row.state is State.RELEASING:
                self.host.store.write(lambda tx: self._wait(tx, row.lease))
            if self._clock() - self._polled.get(row.lease, -(10**9)) >= ticking.POLL_S * 1000:
                self.look(row)

    def look(self, row: LeaseRow) -> relay.LeaseView:
        """Ask the provider how a lease stands, and write down what follows from it. Raises PeerError."""
        with self._lock:
            self._polled[row.lease] = self._clock()
        view = relay.parse_state(relay.read_reply(self.host.call(row.partner, relay.STATE, relay.format_state_request(row.lease), timeout_s=CALL_S)))
        with self._lock:
            now = self._heard[row.lease] = self._clock()
            self._views[row.lease] = view
            if view.state == State.RUNNING.value and row.lease not in self.watches:
                self.watches[row.lease] = ticking.Watch(now - 1000 * view.at_s - 999)
            watch = self.watches.get(row.lease)
            if watch is not None:
                watch.look(frozenset(one.server for one in view.servers), now_ms=now)
        self.host.store.write(lambda tx: self._looked(tx, row.lease, view))
        return view

    def view(self, lease: str) -> relay.LeaseView | None:
        """What the provider said last of a lease in this run of the node."""
        with self._lock:
            return self._views.get(lease)

    def silent_s(self, row: LeaseRow) -> int:
        """Seconds since the provider said anything of a lease that it is asked about; 0 while it answers, and where it is not asked."""
        if row.state not in (State.RUNNING, State.RELEASING, State.UNPROVEN):
            return 0
        with self._lock:
            silent_ms = self._clock() - self._heard.get(row.lease, self._began)
        return silent_ms // 1000 if silent_ms > UNHEARD_MS else 0

    def _looked(self, tx: Transaction, lease: str, view: relay.LeaseView) -> None:
        row = rows.get(tx, lease)
        now = self.host.now_ms()
        value = rows.value(tx, row, accepted=self._accepted(tx, row))
        if row.state in (State.RELEASING, State.UNPROVEN) and view.state == State.ERASED.value:
            rows.save(tx, next_state(value, NoneLeft(), now_ms=now))
            return
        if row.state not in rows.LIVE or not value.accepted:
            return
        for one in view.servers:
            known = tx.execute("SELECT 1 FROM inference_sandbox WHERE sandbox = ?", (one.sandbox,)).fetchone()
            if known is None and one.sandbox and now < row.until_ms:
                rows.sandbox_seen(tx, sandbox=one.sandbox, lease=lease, server=one.server, at_ms=now)
                value = next_state(value, ServerLeased(one.server), now_ms=max(now, row.from_ms))
        if value.state is State.RUNNING and row.state is State.ORDERED:
            rows.save(tx, value)
            row = rows.get(tx, lease)
        if view.state in (State.RELEASING.value, State.ERASED.value, State.UNPROVEN.value):
            ended = tx.execute("SELECT cause FROM inference_sandbox WHERE lease = ? AND ended_ms > 0 ORDER BY ended_ms DESC LIMIT 1", (lease,)).fetchone()
            cause = "lease-ended" if now >= row.until_ms else str(ended[0]) if ended and ended[0] in relay.CAUSES else ""
            if not cause and now - self._noticed.setdefault(lease, now) < CAUSE_WITHIN_MS:
                return  # why it ended stands in the receipt, which is on its way
            self._noticed.pop(lease, None)
            self._end(tx, row, cause or "operator")

    def _end(self, tx: Transaction, row: LeaseRow, cause: str, *, actor: str = "") -> None:
        if row.state not in rows.LIVE:
            return
        rows.save(tx, next_state(rows.value(tx, row, accepted=True), Ended(cause), now_ms=self.host.now_ms()))
        values = {**rows.parties(row, self.host.party), "cause": cause, "at": str(self.second(row.lease))}
        self.host.evidence.append(tx, "inference.lease_ended", values, job=row.lease, actor=actor)

    def _wait(self, tx: Transaction, lease: str) -> None:
        """Five minutes without a clean receipt: UNPROVEN, an entry for each server that owes one."""
        row = rows.get(tx, lease)
        value = rows.value(tx, row)
        after = next_state(value, Waited(), now_ms=self.host.now_ms())
        if after.state is row.state:
            return
        rows.save(tx, after)
        for server in sorted(value.held):
            values = {**rows.parties(row, self.host.party), "server": server, "since": str(row.ended_ms)}
            self.host.evidence.append(tx, "inference.erase_missing", values, job=lease)

    # ------------------------------------------------------------------ inside

    def _own(self, reader: Reader, lease: str) -> LeaseRow:
        row = rows.get(reader, lease)
        if row.side != rows.TENANT:
            raise NotFound(f"没有租约「{lease}」", f"There is no lease {lease}", code="NO_LEASE")
        return row

    def _accepted(self, reader: Reader, row: LeaseRow) -> bool:
        """Whether the order was acknowledged without a code."""
        if row.state is not State.ORDERED:
            return row.state is not State.REFUSED
        state = self.host.letters.state(reader, row.letter)
        return state.acknowledged_ms is not None and not state.refused_code


def instant(at_ms: int) -> datetime:
    """An aware time."""
    return datetime.fromtimestamp(at_ms / 1000, UTC)


def _sentence(text: str) -> str:
    """What a release may carry: at most 200 characters of one line."""
    return "".join(one for one in text if one.isprintable())[:200]


def _for_receipt(tx: Transaction, letter: Letter, known: Any) -> Any:
    """The key that a receipt is held against: an earlier one of the provider signed it where it was kept here."""
    from workbench_sandbox.formats.erasing import parse_receipt
    from workbench_sandbox.formats.servicekey import parse_service_key

    stated = parse_service_key(parse_receipt(letter.body)[2])
    return next((one for one in keys.every(tx, letter.sender) if one == stated), known)


def _no_corpus(digest: str, offset: int, most: int) -> bytes:
    raise relay.sandbox_refused()


__all__: Sequence[str] = ["CHANGE", "ORDER", "RELEASE", "Tenant", "instant"]

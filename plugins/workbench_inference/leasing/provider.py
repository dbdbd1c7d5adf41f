"""The provider's side of leases: letters and calls of a tenant answered, servers given to its leases, ticks, ends. docs/protocols/sandbox.md sections 4, 5, 9, 10.

Each arrow of a lease is one transaction with its entry. What a server does happens before the transaction that says so: a stop in
between leaves a server that is reaped, erased and receipted at the next start. The life of servers without a lease: `upkeep`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final

from workbench.contracts import Letter, Transaction
from workbench.domain.party import PartyId
from workbench.errors import Refused, WorkbenchError
from workbench_inference.leasing import capacity, closing, images, keys, rows, ticking
from workbench_inference.leasing.billing import amount_fen, second_of
from workbench_inference.leasing.capacity import parsed
from workbench_inference.leasing.keys import LeasingHost, Reader
from workbench_inference.leasing.lease import Changed, Ended, ServerLeased, State, Waited, due, next_state
from workbench_inference.leasing.metering import Used
from workbench_inference.leasing.rows import LeaseRow
from workbench_inference.leasing.servers import Holding, Server, ServerStage, fits, free, ready_for, require_ready
from workbench_inference.leasing.upkeep import Upkeep
from workbench_sandbox.formats import reading, relay
from workbench_sandbox.formats.order import (
    Change,
    ChangeAnswer,
    Order,
    OrderAnswer,
    Release,
    ReleaseAnswer,
    format_change_answer,
    format_order_answer,
    format_release_answer,
    parse_change,
    parse_order_letter,
    parse_release,
)
from workbench_sandbox.server.contract import Counters, LeaseFacts, Servers

PREPARE_AHEAD_MS: Final = 120_000
"""So long before a lease begins its servers are made ready."""


class Provider:
    """One provider's node. clock: milliseconds that only go forward. Safe for threads."""

    def __init__(self, host: LeasingHost, servers: Servers, *, clock: Callable[[], int] | None = None, assurance: Sequence[str] = ("process",), listing: Callable[[str, str], str] | None = None) -> None:
        """assurance: levels that can be had here, the lowest first; listing: engine and program -> SM3 of the runtime listing, None where none is bound."""
        self.host = host
        self.listing = listing
        self.servers = servers
        self.assurance = tuple(assurance)
        self._clock = clock or ticking.running_clock(host)
        self._lock = threading.RLock()
        self.meters: dict[str, ticking.Meter] = {}
        self.held: dict[str, Holding] = {}  # by sandbox
        self._heard: dict[str, int] = {}  # lease -> running ms of the last sign of its tenant
        self._asked: dict[str, int] = {}  # lease -> node's ms of the last ask
        self._spent = ticking.Spent()
        self._ends: dict[str, int] = {}  # sandbox -> end of the lease that it was told
        self.upkeep = Upkeep(host, servers, self._holding_now)

    # ------------------------------------------------------------------ letters

    def prepare_order(self, letter: Letter) -> Order:
        """Judge an order and pull its image; a refusal has its entry before the letter is answered."""
        host = self.host
        order, _ = parsed(lambda: parse_order_letter(letter.body))
        if (order.tenant, order.provider, order.lease) != (letter.sender, host.party, letter.job):
            raise Refused("订单的双方或租约号与信函不符", "the order names other ends or another lease than its letter", code="LEASE_LETTER")
        with host.store.read() as reader:
            known = rows.find(reader, order.lease)
        if known is not None:
            if known.partner == letter.sender and known.order == order:
                return order  # a copy that was restored sends it again
            raise Refused("这个租约号已经用过", "this lease id was used before", code="LEASE_LETTER")
        try:
            with host.store.read() as reader:
                capacity.judge(reader, self.host, order, assurance=self.assurance)
            manifest = images.pull(host, letter.sender, order.image, lease=order.lease)
            if self.listing is not None and manifest.runtime != images.RUNTIME_IMAGE and manifest.runtime != self.listing(manifest.engine.name, manifest.engine.program):
                raise Refused("镜像指定的运行环境与本机构的不同", "the image names another runtime than the one here", code="IMAGE_REFUSED")
        except Refused as error:
            values = {"initiator": letter.sender, "partner": host.party, "code": error.code, "digest": order.digest, "reason": error.en[:200]}
            host.store.write(lambda tx: host.evidence.append(tx, "inference.lease_refused", values, job=order.lease))
            raise
        return order

    def receive_order(self, tx: Transaction, letter: Letter) -> bytes:
        """Take an order: the row, the tenant's service key, the answer."""
        host, order = self.host, letter.prepared
        _, service = parse_order_letter(letter.body)
        keys.keep(tx, host, letter.sender, service)
        if rows.find(tx, order.lease) is None:
            capacity.judge(tx, host, order, assurance=self.assurance)
            rows.insert(tx, order, side=rows.PROVIDER, partner=letter.sender, letter=letter.id)
        _, own = keys.own(tx, host)
        return format_order_answer(OrderAnswer(order.from_ms, order.until_ms, order.cards, order.tariff, own))

    def receive_change(self, tx: Transaction, letter: Letter) -> bytes:
        """Cards or end of a lease, within its order."""
        change = parsed(lambda: parse_change(letter.body))
        return format_change_answer(self._change(tx, letter.sender, change))

    def receive_release(self, tx: Transaction, letter: Letter) -> bytes:
        """A lease is given back; said again, nothing changes."""
        release = parsed(lambda: parse_release(letter.body))
        row = self._own(tx, letter.sender, release.lease)
        return format_release_answer(ReleaseAnswer(self._release(tx, row, "released")))

    def _change(self, tx: Transaction, sender: PartyId, change: Change) -> ChangeAnswer:
        row = self._own(tx, sender, change.lease)
        kept = tx.execute("SELECT cards, until_ms, at_s FROM inference_change WHERE lease = ? AND number = ?", (row.lease, change.number)).fetchone()
        if kept is not None:
            return ChangeAnswer(int(kept[0]), int(kept[1]), int(kept[2]))
        lease = rows.value(tx, row)
        more = change.cards - row.cards
        if more > 0 and capacity.cards_left(tx, row.partner, row.order.pool, self.host.now_ms(), change.until_ms) < more:
            raise Refused("没有更多的卡", "there are no more cards", code="NO_CAPACITY")
        if change.until_ms - row.from_ms > 24 * 3_600_000:
            raise Refused("一次租约至多 24 小时", "a lease lasts at most 24 hours", code="LEASE_CHANGE")
        try:
            after = next_state(lease, Changed(change.number, change.cards, change.until_ms), now_ms=self.host.now_ms())
        except ValueError as error:
            raise Refused("租约此时不能这样变更", f"the lease cannot be changed so now ({error})", code="LEASE_CHANGE") from error
        at_s = self.second(row.lease)
        tx.execute("INSERT INTO inference_change (lease, number, cards, until_ms, at_s) VALUES (?, ?, ?, ?, ?)", (row.lease, change.number, change.cards, change.until_ms, at_s))
        rows.save(tx, after)
        values = {**rows.parties(row, self.host.party), "number": str(change.number), "cards": str(change.cards), "until": str(change.until_ms), "at": str(at_s), "cause": "ordered"}
        self.host.evidence.append(tx, "inference.lease_changed", values, job=row.lease)
        return ChangeAnswer(change.cards, change.until_ms, at_s)

    def _release(self, tx: Transaction, row: LeaseRow, cause: str) -> int:
        """End a lease in the caller's change; the second at which it ended."""
        at_s = self.second(row.lease)
        if row.state not in rows.LIVE:
            return at_s
        after = next_state(rows.value(tx, row), Ended(cause), now_ms=self.host.now_ms())
        rows.save(tx, after)
        self.host.evidence.append(tx, "inference.lease_ended", {**rows.parties(row, self.host.party), "cause": cause, "at": str(at_s)}, job=row.lease)
        return at_s

    def _end(self, lease: str, cause: str) -> None:
        self.host.store.write(lambda tx: self._release(tx, rows.get(tx, lease), cause))

    def _own(self, reader: Reader, tenant: PartyId, lease: str) -> LeaseRow:
        """A lease of this tenant; Refused NO_LEASE, whosever it is."""
        row = rows.find(reader, lease)
        if row is None or row.side != rows.PROVIDER or row.partner != tenant:
            raise Refused("没有这个租约", "there is no such lease", code="NO_LEASE")
        return row

    # ------------------------------------------------------------------ calls

    def offer(self, tenant: PartyId) -> relay.Offer:
        """What this tenant could have now."""
        now = self.host.now_ms()
        with self.host.store.read() as reader:
            price = capacity.tariff(reader, self.host) or 0
            pulled = [str(one[0]) for one in reader.execute("SELECT id FROM inference_image WHERE tenant = ? AND state = 'ready' ORDER BY id LIMIT 400", (tenant,))]
            every = capacity.known_servers(reader)
            stops = [(start, stop) for start, stop in capacity.freezes(reader, now) if stop > now]
            left = {pool: capacity.cards_left(reader, tenant, pool, now, now + 60_000) for pool in reading.POOLS}
        pools = []
        for pool in reading.POOLS:
            of_it = [one for one in every if fits(one, tenant=tenant, pool=pool)]
            can = [one for one in free(every, tenant=tenant, pool=pool) if one.stage is not ServerStage.DIRTY]
            if of_it:
                pools.append(relay.Pool(pool, min(len(can), left[pool]), len(of_it)))
        frozen = any(start <= now < stop for start, stop in stops)
        wait = max([(stop - now) // 1000 for start, stop in stops if start <= now], default=0) if frozen else 0
        ready_s = 1 if any(one.stage is ServerStage.READY for one in every) else int(self.host.setting("inference.start_delay_s"))
        return relay.Offer(tuple(pools), self.assurance, tuple(pulled), price, ready_s, int(wait), tuple(stops[:400]))

    def view(self, tenant: PartyId, lease: str) -> relay.LeaseView:
        """What a tenant is told of its lease. Raises Refused."""
        with self.host.store.read() as reader:
            row = self._own(reader, tenant, lease)
        with self._lock:
            self._heard[lease] = self._clock()
        holding = self.held_by(lease)
        state = row.state.value
        return relay.LeaseView(state, self.second(lease), row.cards, tuple(relay.ServerView(one.server, "LEASED", one.sandbox) for one in holding), 0)

    def release_now(self, tenant: PartyId, release: Release) -> None:
        """The call beside the letter: the lease ends at once."""

        def change(tx: Transaction) -> None:
            self._release(tx, self._own(tx, tenant, release.lease), "released")

        self.host.store.write(change)

    def holding(self, tenant: PartyId, sandbox: str) -> Holding:
        """A sandbox of this tenant that holds a card. Raises Refused: SANDBOX_ENDED for one that has ended, else SANDBOX_REFUSED."""
        with self._lock:
            found = self.held.get(sandbox)
        if found is not None and found.tenant == tenant:
            return found
        with self.host.store.read() as reader:
            row = reader.execute(
                "SELECT s.cause FROM inference_sandbox s JOIN inference_lease l ON l.lease = s.lease WHERE s.sandbox = ? AND l.partner = ? AND l.side = 'provider' AND s.ended_ms > 0",
                (sandbox, tenant),
            ).fetchone()
        raise relay.sandbox_ended(str(row[0])) if row and row[0] in relay.CAUSES else relay.sandbox_refused()

    def held_by(self, lease: str) -> list[Holding]:
        """Sandboxes that hold a card of a lease, by server."""
        with self._lock:
            return sorted((one for one in self.held.values() if one.lease == lease), key=lambda one: one.server)

    def _holding_now(self) -> list[Holding]:
        with self._lock:
            return list(self.held.values())

    def heard(self, lease: str) -> None:
        """A sign of the tenant."""
        with self._lock:
            self._heard[lease] = self._clock()

    def gave_evidence(self, holding: Holding) -> None:
        """From its first evidence a card counts."""
        with self._lock:
            meter = self.meters.get(holding.lease)
            if meter is not None:
                meter.evidence(holding.server, now_ms=self._clock())

    def second(self, lease: str) -> int:
        """The second of a lease now; 0 before it runs or when an earlier run of this node had it."""
        with self._lock:
            meter = self.meters.get(lease)
            return second_of(meter.zero_ms, self._clock()) if meter else 0

    # ------------------------------------------------------------------ rounds

    def start(self) -> None:
        """Reap what an earlier run left, end its leases, take every server as it says it is."""
        host = self.host
        found = list(self.servers.reap())
        self.upkeep.add_servers()
        with host.store.read() as reader:
            running = [one for one in rows.listed(reader, states=[State.RUNNING, State.RELEASING, State.UNPROVEN]) if one.side == rows.PROVIDER]
        for row in running:
            if row.state is State.RUNNING:
                self._end(row.lease, "launcher-died")
        for looked in found:
            if looked.lease:
                closing.receipted(self.host, looked, reaped=True)
        self.upkeep.mirror()

    def round(self) -> None:
        """Everything that is due now. A fault with one lease is logged and keeps no other waiting."""
        self.upkeep.clean_new()
        self.upkeep.mirror()
        with self.host.store.read() as reader:
            live = [one for one in rows.listed(reader, states=rows.OPEN) if one.side == rows.PROVIDER]
        for row in live:
            try:
                self._serve(row)
            except WorkbenchError as error:
                self.host.log_fault(error)
        self.upkeep.forget_preparing()

    def close(self) -> None:
        """Stop: what is leased ends, is erased and receipted; the letters leave at the next start."""
        with self._lock:
            leases = sorted({one.lease for one in self.held.values()})
        for lease in leases:
            try:
                self._end(lease, "operator")
                for one in self.held_by(lease):
                    self._give_up(one, "operator")
            except WorkbenchError as error:
                self.host.log_fault(error)
        self.upkeep.close()

    def _serve(self, row: LeaseRow) -> None:
        now = self.host.now_ms()
        if row.state in rows.LIVE:
            cause = self._due(row, now)
            if cause:
                self._end(row.lease, cause)
                with self.host.store.read() as reader:
                    row = rows.get(reader, row.lease)
        if row.state is State.ORDERED and now >= row.from_ms - PREPARE_AHEAD_MS:
            self.upkeep.prepare(row)
        if row.state in rows.LIVE and now >= row.from_ms:
            self._fill(row)
        if row.state is State.RUNNING:
            self._count(row)
        if row.state in (State.RELEASING, State.UNPROVEN):
            self._finish(row)

    def _due(self, row: LeaseRow, now: int) -> str:
        with self.host.store.read() as reader:
            spent = amount_fen(self._spent.seconds(reader, row.lease), row.price) if row.budget_fen else 0
            nobody = ticking.nobody_answers(reader, row.lease)
            value = rows.value(reader, row)
            frozen = any(start <= now < stop for start, stop in capacity.freezes(reader, now))
        if row.state is State.RUNNING and frozen:
            return "freeze"
        with self._lock:
            silent_ms = self._clock() - self._heard.get(row.lease, self._clock())
            asked = self._asked.get(row.lease, 0)
        found = due(value, now_ms=now, spent_fen=spent, budget_fen=row.budget_fen, asked_ms=asked, idle_s=row.order.idle_s, heard_ms=now - silent_ms)
        return found or ("tenant-silent" if nobody and row.state is State.RUNNING else "")

    def _fill(self, row: LeaseRow) -> None:
        """Lease READY servers until the lease has its cards, give back what is too many."""
        with self._lock:
            mine = [one for one in self.held.values() if one.lease == row.lease]
        too_many = len(mine) - row.cards
        # Those that were asked longest ago: what is answered elsewhere goes on.
        surplus = sorted(mine, key=lambda one: (self._told(one).asked_ms, -one.ready_ms, one.server))[:too_many] if too_many > 0 else []
        if surplus:  # they count up to the second that the letter's answer named, not until this round came
            with self.host.store.read() as reader:
                agreed_s = ticking.agreed_cards(reader, row.lease, row.order.cards)[-1][0]
            for one in surplus:
                self._give_up(one, "released", until_s=agreed_s)
        lacking = row.cards - len(mine)
        if lacking <= 0:
            return
        self.upkeep.prepare(row)
        with self.host.store.read() as reader:
            every = capacity.known_servers(reader)
        for server in ready_for(every, tenant=row.partner, pool=row.order.pool, image=row.order.image)[:lacking]:
            try:
                self.lease(row, server)
            except Refused as error:
                self.host.log_fault(error)
        self.upkeep.mirror()

    def lease(self, row: LeaseRow, server: Server) -> str:
        """Give one READY server to a lease; the sandbox. Raises Refused SERVER_NOT_READY for any other."""
        host, order = self.host, row.order
        require_ready(server, tenant=row.partner, pool=order.pool, image=order.image)
        facts = LeaseFacts(
            provider=host.party, tenant=row.partner, lease=row.lease, mode=order.mode, pool=order.pool, image=order.image, until_ms=row.until_ms, policy=order.policy,
            provenances=order.provenances, tenant_key=host.pinned_keys(row.partner).message.format(),
        )  # fmt: skip
        began = self._clock()
        sandbox = self.servers.lease(server.server, facts)
        took = self._clock() - began
        assurance = max(self.assurance, key=reading.ASSURANCES.index)

        def change(tx: Transaction) -> LeaseRow:
            fresh = rows.get(tx, row.lease)
            lease = next_state(rows.value(tx, fresh), ServerLeased(server.server), now_ms=host.now_ms())
            rows.sandbox_seen(tx, sandbox=sandbox, lease=row.lease, server=server.server, at_ms=host.now_ms())
            rows.save(tx, lease)
            both = rows.parties(row, host.party)
            if fresh.state is State.ORDERED:
                values = {"image": order.image, "cards": str(order.cards), "from": str(row.from_ms), "until": str(row.until_ms), "assurance": assurance}
                values |= {"digest": order.digest, "servers": server.server, "price": str(row.price)}
                host.evidence.append(tx, "inference.leased", both | values, job=row.lease)
            values = {"sandbox": sandbox, "server": server.server, "image": order.image, "assurance": assurance, "milliseconds": str(took), "pid_record": ""}
            host.evidence.append(tx, "inference.sandbox_started", both | values, job=row.lease)
            return fresh

        host.store.write(change)
        with self._lock:
            now = self._clock()
            meter = self.meters.setdefault(row.lease, ticking.Meter(zero_ms=now))
            meter.ready(server.server, now_ms=now)
            self.held[sandbox] = Holding(sandbox, server.server, row.lease, row.partner, now)
            self._ends[sandbox] = row.until_ms
            self._heard.setdefault(row.lease, now)
        return sandbox

    def _give_up(self, holding: Holding, cause: str, *, until_s: int | None = None) -> None:
        """A card counts no longer; its server is erased and receipted. until_s: second of the lease that ends its count, None for now."""
        with self._lock:
            if self.held.pop(holding.sandbox, None) is None:
                return
            self._ends.pop(holding.sandbox, None)
            used = self.counters(holding)
            meter = self.meters.get(holding.lease)
            if meter is not None:
                meter.ended(holding.server, now_ms=self._clock(), until_s=until_s)
                meter.gone = meter.gone.plus(used)

        def change(tx: Transaction) -> None:
            if rows.sandbox_ended(tx, holding.sandbox, cause=cause, at_ms=self.host.now_ms()):
                row = rows.get(tx, holding.lease)
                values = {**rows.parties(row, self.host.party), "sandbox": holding.sandbox, "cause": cause}
                self.host.evidence.append(tx, "inference.sandbox_ended", values, job=holding.lease)

        self.host.store.write(change)
        self.upkeep.erase(holding.server, holding.lease, cause)

    def _count(self, row: LeaseRow) -> None:
        """Sandboxes that died, and the ticks that are due."""
        with self._lock:
            mine = [one for one in self.held.values() if one.lease == row.lease]
        for one in mine:
            told = self._told(one)
            if told.state == "live" and self._ends.get(one.sandbox) != row.until_ms:
                self.servers.extend(one.sandbox, row.until_ms)
                self._ends[one.sandbox] = row.until_ms
            if told.asked_ms:
                self._asked[row.lease] = max(self._asked.get(row.lease, 0), told.asked_ms)
            if told.state == "ended":
                self._give_up(one, told.cause if told.cause in relay.CAUSES else "sandbox-died")
        with self._lock:
            meter = self.meters.get(row.lease)
            if meter is None:
                return
            meter.settle(now_ms=self._clock())
        with self.host.store.read() as reader:
            before = ticking.last_tick(reader, row.lease)
        if self.second(row.lease) - (before.to_s if before else 0) >= int(self.host.setting("inference.tick_s")):
            self._tick(row)
        ticking.deliver(self.host, row.lease, row.partner)

    def _tick(self, row: LeaseRow, *, is_last: bool = False) -> None:
        """Make and keep the ticks up to now; none after the last."""
        with self._lock:
            meter = self.meters.get(row.lease)
            if meter is None or meter.is_over:
                return
            meter.is_over = is_last
            with self.host.store.read() as reader:
                before = ticking.last_tick(reader, row.lease)
            used = meter.gone
            for one in self.held.values():
                if one.lease == row.lease:
                    used = used.plus(self.counters(one))
            made = meter.ticks(before, row.lease, used, now_ms=self._clock())
        if made:
            self.host.store.write(lambda tx: ticking.keep_open(tx, self.host, made))

    def counters(self, holding: Holding) -> Used:
        told = self._told(holding)
        return Used(told.asks, told.tokens_in, told.tokens_out, told.bytes_in, told.bytes_out)

    def _told(self, holding: Holding) -> Counters:
        """What a sandbox did; a server that does not answer has lost it."""
        try:
            return self.servers.counters(holding.sandbox)
        except WorkbenchError as error:
            return Counters(state="ended", cause=error.details.get("cause", "launcher-died"))

    def _finish(self, row: LeaseRow) -> None:
        """Erase every server of an ended lease, send the last tick, then the statement; five minutes, then UNPROVEN."""
        with self._lock:
            mine = [one for one in self.held.values() if one.lease == row.lease]
        for one in mine:
            self._give_up(one, row.cause)
        self._tick(row, is_last=True)
        ticking.deliver(self.host, row.lease, row.partner)
        with self.host.store.read() as reader:
            value = rows.value(reader, rows.get(reader, row.lease))
        for server in sorted(value.held):
            self.upkeep.erase_again(server, row.lease, row.cause)

        def late(tx: Transaction) -> None:
            fresh = rows.get(tx, row.lease)
            after = next_state(rows.value(tx, fresh), Waited(), now_ms=self.host.now_ms())
            if after.state is not fresh.state:
                rows.save(tx, after)

        self.host.store.write(late)
        if closing.settle(self.host, row):
            with self._lock:
                self.meters.pop(row.lease, None)

__all__ = ["Provider"]

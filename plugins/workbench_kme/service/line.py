"""One line at one end: making blocks with the other KME, staying in step with it, reserving and delivering keys.

Document: key-delivery.md section 8. The sender's end starts blocks and syncs; the receiver's end answers and asks for a
sync when it needs one. Handlers of the other end's calls take local locks only and never call back, so that two ends
cannot wait for one another.
"""

from __future__ import annotations

import base64
import binascii
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

from workbench.crypto import random
from workbench.errors import KeyUnavailable, PeerError, Refused, WorkbenchError
from workbench_kme.keys import KeyStore, KeyValue, Provenance, Reservation, State, SyncState, format_sync, parse_sync
from workbench_kme.service.config import LineConfig
from workbench_kme.service.gatekeeper import Gate
from workbench_kme.service.journal import Journal
from workbench_kme.service.judging import SOURCE_ALARMS, Judge, counts_as_json
from workbench_kme.service.peering import BLOCK_TIMEOUT_S, HELLO_TIMEOUT_S, PeerLink, PeerRefused
from workbench_kme.service.pool import PoolKeeper
from workbench_kme.service.views import Block, SyncReport
from workbench_kme.sources import BlockMachine, BlockTask, KeySource, SourceWaiting

if TYPE_CHECKING:
    from workbench_kme.distill import BlockResult

BEAT_S = 1.0
PEER_LOST_S = 3.0
ALARM_RETRY_S = 3.0
WAITING_RETRY_S = 1.0
NONCE_BYTES = 16
RESERVE_TRIES = 3
STEP_WAIT_S = 3.0

_log = logging.getLogger(__name__)


class LinkConflict(Exception):
    """409 for the other end: a code and members."""

    def __init__(self, code: str, **members: Any) -> None:
        super().__init__(code)
        self.code, self.members = code, members


@dataclass(slots=True)
class _Running:
    """A block under way at the receiver's end."""

    task: BlockTask
    machine: BlockMachine
    began_ms: int
    began_s: float = field(default_factory=time.monotonic)


class LineEnd:
    """This end of a line. Its thread beats once a second; everything else is called by requests."""

    def __init__(
        self,
        config: LineConfig,
        *,
        store: KeyStore,
        journal: Journal,
        source: KeySource,
        pool: PoolKeeper,
        link: PeerLink,
        now_ms: Callable[[], int],
        source_of_random: random.RandomSource,
        device_enabled: Callable[[], bool],
        record: Callable[..., None],
    ) -> None:
        self.config, self.store, self.journal, self.source = config, store, journal, source
        self._pool, self._link, self._now_ms, self._random = pool, link, now_ms, source_of_random
        self._device_enabled, self._record = device_enabled, record
        self.judge = Judge(journal, config.line)
        self.boot = source_of_random(8).hex()
        self.gate = Gate()
        self._blocks = threading.RLock()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._running: _Running | None = None
        self._peer_boot = ""
        self._peer_seen_s = 0.0
        self._began_s = time.monotonic()
        self.peer_seen_ms = 0
        self._in_step = False
        self._peer_wants_sync = False
        self._try_now = False
        self._next_try_s = 0.0
        self._waiting = False
        self._delivered: list[str] = []
        self._delivered_lock = threading.Lock()

    # ------------------------------------------------------------------------------------------- life

    def start(self) -> None:
        """Begin to beat."""
        self._thread = threading.Thread(target=self._beat, name=f"kme-line-{self.config.line}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop beating; a block under way is given up."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=10.0)
        self._link.close()
        self.source.close()

    def wake(self, *, try_now: bool = False) -> None:
        """Look at once whether there is something to do."""
        self._try_now = self._try_now or try_now
        self._wake.set()

    # ------------------------------------------------------------------------------------------- facts

    @property
    def peer_reachable(self) -> bool:
        """Whether the other end was heard within three seconds."""
        return self._peer_seen_s > 0 and time.monotonic() - self._peer_seen_s < PEER_LOST_S

    @property
    def in_step(self) -> bool:
        """Whether both ends have compared their stocks since they last lost sight of one another."""
        return self._in_step

    @property
    def alarmed(self) -> bool:
        """Whether the source is disturbed: nothing is delivered."""
        return bool(self.journal.open_kinds(self.config.line) & set(SOURCE_ALARMS))

    def state(self) -> str:
        """One of the states of key-delivery.md section 7."""
        if not self._device_enabled():
            return "disabled"
        if self.alarmed:
            return "alarm"
        if not self.peer_reachable:
            return "peer-unreachable"
        if not self._in_step:
            return "out-of-step"
        if self.journal.line(self.config.line).paused:
            return "paused"
        if not self._wants_blocks():
            return "full"
        return "waiting" if self._waiting else "making"

    def check_deliverable(self) -> None:
        """Return if keys may leave. Raises KeyUnavailable."""
        if not self._device_enabled():
            raise _unavailable("DEVICE_DISABLED", "密码设备自检未通过，已停用", "the device failed its self-test and is disabled")
        if self.alarmed:
            raise _unavailable("ALARM", f"线路 {self.config.line} 有告警，暂不交付密钥", f"an alarm stands on line {self.config.line}")
        if not self.peer_reachable:
            raise _unavailable(
                "PEER_UNREACHABLE", f"线路 {self.config.line} 的对端没有回应", f"the other end of line {self.config.line} does not answer"
            )
        if not self._in_step:
            raise self._out_of_step()

    # ---------------------------------------------------------------------------------------- delivery

    def get_keys(
        self, *, number: int, size: int, origins: Sequence[Provenance], master: str, slaves: Sequence[str]
    ) -> list[KeyValue]:
        """Reserve here, have the other end accept, hand out to the master. Raises KeyUnavailable, PeerError."""
        for _ in range(RESERVE_TRIES):
            self.check_deliverable()
            with self.gate.passing():
                reservation = self.store.reserve(
                    self.config.line, master, slaves, number=number, size=size, origins=origins
                )
                if self._accepted(reservation):
                    values = self.store.hand_out(reservation.key_ids, master)
                    self.wake()
                    return values
            self._lose_step()
            self._await_step()
        raise self._out_of_step()

    def _accepted(self, reservation: Reservation) -> bool:
        """Whether the other end has set the same keys aside; those it refused are quarantined, the rest destroyed."""
        body = {
            "master": reservation.master,
            "slaves": list(reservation.slaves),
            "size": reservation.size,
            "keys": [str(one) for one in reservation.key_ids],
        }
        try:
            self._link.call("reserve", body, ())
        except PeerRefused as refused:
            named = {str(one) for one in refused.value.get("keys", [])}
            bad = [one for one in reservation.key_ids if str(one) in named]
            rest = [one for one in reservation.key_ids if str(one) not in named]
            if bad:
                self.store.quarantine(self.config.line, key_ids=bad, reason="not-in-stock")
            if rest:
                self.store.abandon(rest)
            return False
        except PeerError:
            # Whether the other end accepted is not known: these keys are never used, and the ends compare.
            self.store.abandon(reservation.key_ids)
            self._lose_step()
            raise
        return True

    def get_keys_by_id(self, key_ids: Sequence[UUID], *, master: str, slave: str) -> list[KeyValue]:
        """Deliver to a slave, all or none. Raises KeyUnavailable KEY_GONE, Denied KEY_NOT_YOURS."""
        if not self._device_enabled():
            self.check_deliverable()
        values = self.store.deliver(key_ids, slave, master=master)
        with self._delivered_lock:
            self._delivered += [str(one) for one in key_ids]
        return values

    # ------------------------------------------------------------------------------------------ beating

    def _beat(self) -> None:
        while not self._stop.is_set():
            try:
                self._beat_once()
            except WorkbenchError as error:
                _log.warning("line %s: %s", self.config.line, error.code)
            except Exception as error:  # noqa: BLE001 - the line must live on, whatever one block does
                _log.error("line %s failed: %s", self.config.line, type(error).__name__, exc_info=True)
            self._wake.wait(timeout=BEAT_S)
            self._wake.clear()

    def _beat_once(self) -> None:
        if not self._hello():
            return
        self._tell()
        if self.config.is_sender and (not self._in_step or self._peer_wants_sync):
            self.sync()
        while self.config.is_sender and self._may_make():
            if not self._make():
                break
        self._watch_stock()

    def _hello(self) -> bool:
        """Tell that this end lives; whether the other one does."""
        with self._delivered_lock:
            delivered = list(self._delivered)
        body = {"v": 1, "boot": self.boot, "state": self._said_state(), "delivered": delivered[:1000]}
        try:
            answer = self._link.call("hello", body, ("v", "boot", "state", "delivered"), timeout_s=HELLO_TIMEOUT_S)
        except PeerError:
            if not self.peer_reachable:
                self._in_step = False
            if time.monotonic() - max(self._peer_seen_s, self._began_s) > PEER_LOST_S:
                self.journal.raise_alarm(self.config.line, "peer-unreachable")
            return False
        with self._delivered_lock:
            self._delivered = self._delivered[len(body["delivered"]) :]  # type: ignore[arg-type]  # a list
        self._heard(answer)
        return True

    def _said_state(self) -> str:
        return "out-of-step" if not self._in_step else "in-step"

    def _heard(self, said: Mapping[str, Any]) -> None:
        """The other end lives; a new life of it, or its wish, brings a sync."""
        was_lost = not self.peer_reachable
        self._peer_seen_s, self.peer_seen_ms = time.monotonic(), self._now_ms()
        if was_lost:
            self.journal.clear_alarms(self.config.line, ("peer-unreachable",))
        if said["boot"] != self._peer_boot:
            self._peer_boot = str(said["boot"])
            self._in_step = False
        self._peer_wants_sync = said["state"] == "out-of-step"
        if self._peer_wants_sync and self.config.is_sender:
            self.wake()
        ids = [UUID(str(one)) for one in said["delivered"]]
        if ids:
            self.store.report_delivered(self.config.line, ids)

    def _tell(self) -> None:
        """Withdrawals that the other end has not answered yet."""
        for number, body in self.journal.untold(self.config.line):
            self._link.call("withdraw", body, ("changed",))
            self.journal.told(number)

    def _lose_step(self) -> None:
        self._in_step = False
        self.wake()

    def _await_step(self) -> None:
        """Give the ends a moment to compare: mostly that is all it takes."""
        until = time.monotonic() + STEP_WAIT_S
        while not self._in_step and time.monotonic() < until:
            time.sleep(0.01)

    def _out_of_step(self) -> KeyUnavailable:
        line = self.config.line
        return _unavailable("OUT_OF_STEP", f"线路 {line} 两端尚未对齐", f"the ends of line {line} are not in step yet")

    def _watch_stock(self) -> None:
        line = self.config.line
        if self.store.status(line).available < self.config.low_water:
            self.journal.raise_alarm(line, "low-stock", value=self.store.status(line).available, limit=self.config.low_water)
        else:
            self.journal.clear_alarms(line, ("low-stock",))
        if self._pool.is_low:
            self.journal.raise_alarm(line, "authentication-low")
        else:
            self.journal.clear_alarms(line, ("authentication-low",))

    # --------------------------------------------------------------------------------------------- sync

    def sync(self) -> SyncReport:
        """Compare stocks with the other end and remove what only one of them has. Raises PeerError."""
        if not self.config.is_sender:
            self._in_step = False
            self.wake()
            raise _unavailable(
                "OUT_OF_STEP", "对齐由发送端进行，已请求", "bringing in step is the sender's end's work and has been asked for"
            )
        line = self.config.line
        with self._blocks, self.gate.closed():
            mine = format_sync(self.store.sync_state(line))
            answer = self._link.call("sync", {"state": _text(mine)}, ("state",))
            theirs = parse_sync(_bytes(answer["state"]))
            report = self.store.apply_sync(theirs)
            removed_there = 0
            for block in report.differing:
                compared = self._link.call(
                    "bitmap", {"block": block, "bitmap": _text(self.store.bitmap(line, block))}, ("bitmap", "removed")
                )
                self.store.apply_bitmap(line, block, _bytes(compared["bitmap"]))
                removed_there += int(compared["removed"])
            self._settle(theirs)
            self._in_step, self._peer_wants_sync = True, False
        if report.older_copy:
            self.journal.raise_alarm(line, "restored-copy")
        self.journal.clear_alarms(line, ("out-of-step",))
        removed = report.differs + report.lost + report.passed + report.behind
        return SyncReport(line, True, 1, removed, removed_there)

    def _settle(self, theirs: SyncState) -> None:
        """A block GENERATED here since a crash: confirmed when the other end has the same one, given up otherwise."""
        line = self.config.line
        checks = {one.block: one.check for one in theirs.blocks}
        for mine in self.store.sync_state(line).blocks:
            if any(mine.stored):
                continue
            if mine.block in checks:
                self.store.confirm_block(line, mine.block, checks[mine.block])
            else:
                self.store.quarantine(line, block=mine.block, reason="not-confirmed")

    def on_sync(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The sender's end compares; this end answers with its own state of before, then applies."""
        line = self.config.line
        with self._blocks, self.gate.closed():
            mine = format_sync(self.store.sync_state(line))
            theirs = parse_sync(_bytes(body["state"]))
            report = self.store.apply_sync(theirs)
            self._settle(theirs)
            self._in_step = not report.differing
        if report.older_copy:
            self.journal.raise_alarm(line, "restored-copy")
        return {"state": _text(mine)}

    def on_bitmap(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """One block, key by key."""
        line, block = self.config.line, int(body["block"])
        with self._blocks, self.gate.closed():
            mine = self.store.bitmap(line, block)
            removed = self.store.apply_bitmap(line, block, _bytes(body["bitmap"]))
            self._in_step = not self.store.status(line).suspects
        return {"bitmap": _text(mine), "removed": removed}

    # ------------------------------------------------------------------------------------------- blocks

    def _wants_blocks(self) -> bool:
        """Whether a pool is below its half of the target. Both ends' pools count: neither may starve."""
        stock = self.store.status(self.config.line).stock
        stored = [stock.get((pool, State.STORED), 0) for pool in (0, 1)]
        return sum(stored) < self.config.max_keys and min(stored) < -(-self.config.target_keys // 2)

    def _may_make(self) -> bool:
        if self._stop.is_set() or not self._in_step or not self._device_enabled():
            return False
        if self.journal.line(self.config.line).paused or self.journal.untold(self.config.line):
            return False
        if self._try_now:
            self._try_now = False
            return True
        return time.monotonic() >= self._next_try_s and (self.alarmed or self._wants_blocks())

    def _make(self) -> bool:
        """One block from the sender's end; whether it became keys."""
        began_ms, began_s = self._now_ms(), time.monotonic()
        try:
            pulses = self.source.pulses()
        except SourceWaiting:
            self._waiting, self._next_try_s = True, time.monotonic() + WAITING_RETRY_S
            return False
        self._waiting = False
        with self._blocks:
            try:
                made = self._make_block(pulses, began_ms, began_s)
            except SourceWaiting:
                self._waiting, made = True, False
        self._next_try_s = 0.0 if made else time.monotonic() + ALARM_RETRY_S
        return made

    def _make_block(self, pulses: int, began_ms: int, began_s: float) -> bool:
        line = self.config.line
        kind, ppm = self.journal.line(line).eavesdropper if self.config.demonstration else ("", 0)
        nonce = self._random(NONCE_BYTES)
        block = max(self.store.next_block(line), self.journal.line(line).next_block)
        body = {
            "block": block,
            "source": self.source.name,
            "nonce": nonce.hex(),
            "pulses": pulses,
            "eavesdropper": {"kind": kind, "fraction_ppm": ppm},
        }
        self.journal.take_block_number(line, block)
        try:
            answer = self._link.call("begin", body, ("nonce", "messages"), timeout_s=BLOCK_TIMEOUT_S)
        except PeerRefused as refused:
            if refused.code == "BLOCK_NUMBER" and type(refused.value.get("next_block")) is int:
                self.journal.take_block_number(line, refused.value["next_block"] - 1)
            raise
        task = BlockTask(
            block=block,
            pulses=pulses,
            nonces=nonce + bytes.fromhex(answer["nonce"]),
            eavesdropper=(kind, ppm),
            pool=self._pool.pool(),
            random=self._random,
        )
        try:
            machine = self.source.machine(task)
            self._converse(machine, block, machine.begin(), answer["messages"])
        except WorkbenchError:
            self._note(task, None, "", began_ms, began_s)
            raise
        finally:
            self._pool.after_block()
        if machine.result is None:
            self._note(task, None, "", began_ms, began_s)
            return False
        return self._finish(task, machine.result, began_ms, began_s)

    def _converse(self, machine: BlockMachine, block: int, outgoing: list[bytes], incoming: Sequence[str]) -> None:
        """Carry messages until both ends have ended."""
        peer_ended = False
        while True:
            for text in incoming:
                outgoing += machine.receive(_bytes(text))
            if not outgoing and (peer_ended or machine.result is None):
                return
            self._pool.before_sending()
            answer = self._link.call(
                "messages",
                {"block": block, "messages": [_text(one) for one in outgoing]},
                ("messages", "ended"),
                timeout_s=BLOCK_TIMEOUT_S,
            )
            if self._stop.is_set():
                raise _unavailable("KME_CLOSING", "密钥管理实体正在关闭", "the key-management entity is closing")
            outgoing, incoming, peer_ended = [], answer["messages"], answer["ended"]
            if not incoming and machine.result is not None:
                return

    def _finish(self, task: BlockTask, result: BlockResult, began_ms: int, began_s: float) -> bool:
        """Both ends judge; keys come into stock at both, or at neither."""
        line = self.config.line
        judged = self.judge.judge(result, task.pulses)
        added = self._add(task.block, result) if not judged.alarm else b""
        good, check = bool(added), added.hex()
        try:
            answer = self._link.call("finish", {"block": task.block, "check": check}, ("check",), timeout_s=BLOCK_TIMEOUT_S)
        except PeerError:
            if good:
                self._lose_step()  # the next sync confirms the block at both ends, or destroys it
            raise
        stored = good and answer["check"] != ""
        if stored:
            self.store.confirm_block(line, task.block, bytes.fromhex(answer["check"]))
            self.source.keys_stored(task.block)
        elif good:
            self.store.quarantine(line, block=task.block, reason="not-confirmed")
        self._note(task, result, judged.alarm, began_ms, began_s, stored=stored, value=judged.value, limit=judged.limit)
        return stored

    def _add(self, block: int, result: BlockResult) -> bytes:
        """The check of the block, now GENERATED here; empty where it has no key or there is no room."""
        if not result.key:
            return b""
        try:
            return self.store.add_block(self.config.line, block, Provenance(self.source.provenance), result.key).check
        except Refused as error:
            _log.warning("line %s, block %d: %s", self.config.line, block, error.code)
            return b""

    def _note(
        self,
        task: BlockTask,
        result: BlockResult | None,
        alarm: str,
        began_ms: int,
        began_s: float,
        *,
        stored: bool = False,
        value: float = -1.0,
        limit: float = -1.0,
    ) -> None:
        """Write down what came of a block; raise or clear alarms."""
        line, clock = self.config.line, self.source.clock_hz
        length = result.length_bits if result is not None else 0
        rate = length / task.pulses if task.pulses else -1.0
        aborted = result.aborted if result is not None else "stopped"
        state = "stored" if stored else "aborted" if aborted else "quarantined"
        view = Block(
            block=task.block,
            line=line,
            time_ms=began_ms,
            duration_ms=round((time.monotonic() - began_s) * 1000),
            provenance=self.source.provenance,
            state=state,
            aborted=aborted,
            pulses=task.pulses,
            sifted=result.sifted if result is not None else -1,
            qber=float(result.qber) if result is not None else -1.0,
            leak_bits=result.leak_bits if result is not None else -1,
            efficiency=float(result.efficiency) if result is not None else -1.0,
            rounds=result.rounds if result is not None else -1,
            length_bits=length,
            rate=rate,
            rate_bps=rate * clock if clock and rate >= 0 else -1.0,
            authentication_bits=result.authentication_bits_used if result is not None else -1,
            epsilon=float(result.epsilon) if result is not None else -1.0,
            keys=len(result.key) // 32 if stored and result is not None else 0,
            alarm=alarm if alarm in SOURCE_ALARMS else "",
        )
        self.journal.add_block(view, counts_as_json(result) if result is not None else None)
        if stored:
            self.journal.clear_alarms(line, SOURCE_ALARMS)
        elif view.alarm:
            self.journal.raise_alarm(line, view.alarm, block=task.block, value=value, limit=limit)

    # ------------------------------------------------------------------ what the other end calls

    def on_hello(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The other end lives."""
        self._heard(body)
        # What was delivered here is told in this end's own call, which the other end answers.
        return {"v": 1, "boot": self.boot, "state": self._said_state(), "delivered": []}

    def on_begin(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """A block begins. Raises LinkConflict."""
        line = self.config.line
        if self.config.is_sender or body["source"] != self.source.name or not self._device_enabled():
            raise LinkConflict("NOT_NOW")
        with self._blocks:
            block = int(body["block"])
            free = max(self.store.next_block(line), self.journal.line(line).next_block)
            if block < free:
                raise LinkConflict("BLOCK_NUMBER", next_block=free)
            self.journal.take_block_number(line, block)
            eve = body["eavesdropper"]
            kind, ppm = str(eve["kind"]), int(eve["fraction_ppm"])
            if ppm and not (self.config.demonstration and self.source.simulates):
                raise LinkConflict("NOT_A_DEMONSTRATION")
            self.journal.set_eavesdropper(line, kind, ppm)
            self._give_up()
            nonce = self._random(NONCE_BYTES)
            task = BlockTask(
                block=block,
                pulses=int(body["pulses"]),
                nonces=bytes.fromhex(str(body["nonce"])) + nonce,
                eavesdropper=(kind, ppm),
                pool=self._pool.pool(),
                random=self._random,
            )
            try:
                machine = self.source.machine(task)
                messages = machine.begin()
            except (SourceWaiting, KeyUnavailable, ValueError) as error:
                raise LinkConflict("NOT_NOW") from error
            self._running = _Running(task, machine, self._now_ms())
            self._pool.before_sending()
            return {"nonce": nonce.hex(), "messages": [_text(one) for one in messages]}

    def on_messages(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Messages of the sender's end. Raises LinkConflict."""
        with self._blocks:
            running = self._of(body)
            outgoing: list[bytes] = []
            for text in body["messages"]:
                outgoing += running.machine.receive(_bytes(text))
            self._pool.before_sending()
            return {"messages": [_text(one) for one in outgoing], "ended": running.machine.result is not None}

    def on_finish(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The sender's end has judged; this end does the same. Raises LinkConflict."""
        with self._blocks:
            running = self._of(body)
            self._running = None
            self._pool.after_block()
            result, task = running.machine.result, running.task
            if result is None:
                self._note(task, None, "", running.began_ms, running.began_s)
                return {"check": ""}
            judged = self.judge.judge(result, task.pulses)
            theirs = bytes.fromhex(str(body["check"]))
            check = self._add(task.block, result) if theirs and not judged.alarm else b""
            stored = bool(check)
            if stored:
                self.store.confirm_block(self.config.line, task.block, theirs)
                self.source.keys_stored(task.block)
            self._note(
                task,
                result,
                judged.alarm,
                running.began_ms,
                running.began_s,
                stored=stored,
                value=judged.value,
                limit=judged.limit,
            )
            return {"check": check.hex()}

    def on_reserve(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Keys that the other end is about to hand out. Raises LinkConflict NOT_IN_STOCK."""
        reservation = Reservation(
            self.config.line,
            tuple(UUID(str(one)) for one in body["keys"]),
            int(body["size"]),
            str(body["master"]),
            tuple(str(one) for one in body["slaves"]),
        )
        if reservation.master not in self.config.peer.saes:
            raise LinkConflict("NOT_IN_STOCK", keys=list(body["keys"]))
        try:
            self.store.accept(reservation)
        except WorkbenchError as error:
            self._in_step = False
            listed = error.details.get("keys", "").split()
            raise LinkConflict("NOT_IN_STOCK", keys=listed) from error
        return {}

    def on_withdraw(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The other end has revoked or quarantined. A block may have been made since: the ends compare afterwards."""
        with self._blocks:
            changed = self.withdraw_here(body)
            if body["what"] == "rekey":
                self._lose_step()
        return {"changed": changed}

    # ------------------------------------------------------------------------------------ withdrawing

    def withdraw(self, what: str, *, keys: Sequence[str], block: int, reason: str) -> int:
        """Revoke, quarantine or rekey here, and have the other end do the same, now or as soon as it answers."""
        body = {"what": what, "keys": list(keys), "block": block, "reason": reason}
        # Not in the middle of a block, and the next one waits until the other end was told: "everything" means the same.
        with self._blocks:
            changed = self.withdraw_here(body)
            self.journal.tell(self.config.line, body)
        self.wake()
        return changed

    def withdraw_here(self, body: Mapping[str, Any]) -> int:
        """This end's part; how many keys changed."""
        line, what, reason = self.config.line, str(body["what"]), str(body["reason"])
        ids = [UUID(str(one)) for one in body["keys"]]
        block = int(body["block"])
        if what == "rekey":
            return self.store.revoke(line, reason=reason).count
        act = self.store.revoke if what == "revoke" else self.store.quarantine
        if block >= 0:
            return act(line, block=block, reason=reason).count
        return act(line, key_ids=ids, reason=reason).count

    # ------------------------------------------------------------------------------------------- private

    def _give_up(self) -> None:
        """A block that the sender's end never ended: it is no key at either."""
        if self._running is not None:
            self._pool.after_block()
            self._note(self._running.task, None, "", self._running.began_ms, self._running.began_s)
            self._running = None

    def _of(self, body: Mapping[str, Any]) -> _Running:
        if self._running is None or self._running.task.block != body["block"]:
            raise LinkConflict("NO_SUCH_BLOCK")
        return self._running


def _unavailable(code: str, zh: str, en: str) -> KeyUnavailable:
    return KeyUnavailable(f"{zh}：稍后再试", f"{en}: try again later", code=code, details={"retry_after_s": "5"})


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _bytes(text: Any) -> bytes:
    if not isinstance(text, str):
        raise ValueError("base64 text")  # noqa: TRY004 - it is data, not a type
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("base64 text") from error

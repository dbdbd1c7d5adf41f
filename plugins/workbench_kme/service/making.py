"""Making the blocks of one line: carrying a source's messages, judging, and keys in stock at both ends or at neither.

Document: key-delivery.md section 8. Nothing of a block is on disk but its number before both ends have judged it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from workbench.errors import KeyUnavailable, PeerError, Refused, WorkbenchError
from workbench_kme.keys import Provenance
from workbench_kme.keys.syncing import MOST_AHEAD
from workbench_kme.service.alarming import Alarms
from workbench_kme.service.judging import SOURCE_ALARMS, Judge, counts_as_json
from workbench_kme.service.parts import LineParts
from workbench_kme.service.peering import BLOCK_TIMEOUT_S, PeerRefused
from workbench_kme.service.views import Block
from workbench_kme.service.wire import ATTACKS, LinkConflict, from_text, to_text, unavailable
from workbench_kme.sources import BlockMachine, BlockTask, KeySource, SourceWaiting

if TYPE_CHECKING:
    from workbench_kme.distill import BlockResult

RETRY_S = 3.0
RETRY_DOUBLINGS = 4
"""After a block that gave no key the next is tried in 3 s, then 6, at last 48: each costs bits of the pool."""
WAITING_RETRY_S = 1.0
NONCE_BYTES = 16
MILLION = 1_000_000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Begun:
    """A block under way at this end. age: how often everything had been discarded when it began."""

    task: BlockTask
    began_ms: int
    age: int
    began_s: float = field(default_factory=time.monotonic)


class BlockMaker:
    """Blocks of one line at one end. lock: held from the first to the last step of a block.

    lose_step: called when the other end may hold a block that this one does not know of.
    """

    def __init__(
        self,
        parts: LineParts,
        *,
        alarms: Alarms,
        lose_step: Callable[[], None],
        lock: threading.RLock,
        stop: threading.Event,
    ) -> None:
        self.judge = Judge(parts.journal, parts.config.line)
        self.waiting = False
        self._config, self._store, self._journal, self._source = parts.config, parts.store, parts.journal, parts.source
        self._pool, self._link, self._now_ms, self._random = parts.pool, parts.link, parts.now_ms, parts.random
        self._device_enabled, self._check_distillation = parts.device_enabled, parts.check_distillation
        self._record, self._alarms = parts.record, alarms
        self._lose_step, self._lock, self._stop = lose_step, lock, stop
        self._running: tuple[_Begun, BlockMachine] | None = None
        self._next_try_s = 0.0
        self._failed = 0
        self._age = 0

    def discard(self) -> None:
        """The block under way, if there is one, will be no key at either end. Does not wait for it."""
        self._age += 1

    # -------------------------------------------------------------------------------- the sender's end

    @property
    def is_due(self) -> bool:
        """Whether the pause after the last block is over."""
        return time.monotonic() >= self._next_try_s

    def begin_afresh(self) -> None:
        """Forget earlier failures: the next block may be tried at once."""
        self._failed, self._next_try_s = 0, 0.0

    def make(self) -> bool:
        """One block from the sender's end; whether it became keys. Raises PeerError, KeyUnavailable."""
        with self._lock:
            made = False
            pause = RETRY_S * 2 ** min(self._failed, RETRY_DOUBLINGS)
            try:
                self.waiting = False
                made = self._make_block(self._source.pulses())
            except SourceWaiting:
                self.waiting, pause = True, WAITING_RETRY_S
            except PeerRefused as refused:
                if refused.code != "BLOCK_NUMBER":
                    raise
                pause = 0.0  # the next number is known now
            finally:
                self._failed = 0 if made else self._failed + 1
                self._next_try_s = 0.0 if made else time.monotonic() + pause
            return made

    def _make_block(self, pulses: int) -> bool:
        line = self._config.line
        record = self._journal.line(line)
        kind, ppm = record.eavesdropper if self._config.demonstration and record.eavesdropper[1] else ("", 0)
        nonce = self._random(NONCE_BYTES)
        block = max(self._store.next_block(line), record.next_block)
        body = {
            "block": block,
            "source": self._source.name,
            "nonce": nonce.hex(),
            "pulses": pulses,
            "eavesdropper": {"kind": kind, "fraction_ppm": ppm},
        }
        began_ms, began_s, age = self._now_ms(), time.monotonic(), self._age
        self._journal.take_block_number(line, block)
        try:
            answer = self._link.call("begin", body, ("nonce", "messages"), timeout_s=BLOCK_TIMEOUT_S)
        except PeerRefused as refused:
            if refused.code == "BLOCK_NUMBER":
                theirs = refused.value.get("next_block")
                if type(theirs) is not int or not block < theirs <= block + MOST_AHEAD:
                    raise self._out_of_reach() from refused
                self._journal.take_block_number(line, theirs - 1)
            raise
        task = self._task(block, pulses, nonce + _nonce(answer["nonce"]), kind, ppm)
        begun = _Begun(task, began_ms, age, began_s)
        machine: BlockMachine | None = None
        try:
            machine = self._source.machine(begun.task)
            self._converse(machine, block, machine.begin(), answer["messages"])
        finally:
            self._pool.after_block()
            if machine is None or machine.result is None:
                self._note(begun, None)
        return machine.result is not None and self._finish(begun, machine.result)

    def _converse(self, machine: BlockMachine, block: int, outgoing: list[bytes], incoming: Sequence[str]) -> None:
        """Carry messages until both ends have ended."""
        peer_ended = False
        while True:
            for text in incoming:
                outgoing += machine.receive(from_text(text))
            if not outgoing and (peer_ended or machine.result is None):
                return
            self._pool.before_sending()
            if self._stop.is_set():
                raise unavailable("KME_CLOSING", "密钥管理实体正在关闭", "the key-management entity is closing")
            answer = self._link.call(
                "messages",
                {"block": block, "messages": [to_text(one) for one in outgoing]},
                ("messages", "ended"),
                timeout_s=BLOCK_TIMEOUT_S,
            )
            outgoing, incoming, peer_ended = [], answer["messages"], answer["ended"]
            if not incoming and machine.result is not None:
                return

    def _finish(self, begun: _Begun, result: BlockResult) -> bool:
        """Both ends judge; keys come into stock at both, or at neither."""
        line, block = self._config.line, begun.task.block
        judged = self.judge.judge(result, begun.task.pulses)
        check = self._add(begun, result) if not judged.alarm else b""
        try:
            answer = self._link.call(
                "finish", {"block": block, "check": check.hex()}, ("check",), timeout_s=BLOCK_TIMEOUT_S
            )
            stored = bool(check) and answer["check"] != ""
            if stored:
                self._store.confirm_block(line, block, bytes.fromhex(answer["check"]))
                self._source.keys_stored(block)
            elif check:
                self._store.quarantine(line, block=block, reason="not-confirmed")
        except WorkbenchError:
            if check:
                self._lose_step()  # the next sync confirms the block at both ends, or takes it out
            self._note(begun, result, alarm=judged.alarm, value=judged.value, limit=judged.limit)
            raise
        self._note(begun, result, stored=stored, alarm=judged.alarm, value=judged.value, limit=judged.limit)
        return stored

    # ------------------------------------------------------------------------------ the receiver's end

    def on_begin(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """A block begins. Raises LinkConflict."""
        line = self._config.line
        if self._config.is_sender or body["source"] != self._source.name or not self._device_enabled():
            raise LinkConflict("NOT_NOW")
        with self._lock:
            # Everything is looked at before anything is written: what the other end says is a wish, not a fact.
            block, pulses, eve = int(body["block"]), int(body["pulses"]), body["eavesdropper"]
            theirs, kind, ppm = _nonce(body["nonce"]), str(eve["kind"]), int(eve["fraction_ppm"])
            if not 0 <= ppm <= MILLION or (kind not in ATTACKS if ppm else kind != ""):
                raise ValueError("no kind of eavesdropper, or no fraction")
            free = max(self._store.next_block(line), self._journal.line(line).next_block)
            if block < free:
                raise LinkConflict("BLOCK_NUMBER", next_block=free)
            if block > free + MOST_AHEAD:
                raise LinkConflict("OUT_OF_REACH")
            if ppm and not (self._config.demonstration and self._source.simulates):
                raise LinkConflict("NOT_A_DEMONSTRATION")
            # A simulation costs as much memory and time as it has pulses; elsewhere nothing is drawn from the number.
            if pulses < 0 or (self._source.simulates and pulses != self._source.pulses()):
                raise LinkConflict("OTHER_SETTING")
            self._give_up()
            self._journal.take_block_number(line, block)
            self._journal.set_eavesdropper(line, kind, ppm)
            nonce = self._random(NONCE_BYTES)
            try:
                begun = _Begun(self._task(block, pulses, theirs + nonce, kind, ppm), self._now_ms(), self._age)
                machine = self._source.machine(begun.task)
                messages = machine.begin()
            except (SourceWaiting, KeyUnavailable, ValueError) as error:
                raise LinkConflict("NOT_NOW") from error
            self._running = (begun, machine)
            self._pool.before_sending()
            return {"nonce": nonce.hex(), "messages": [to_text(one) for one in messages]}

    def on_messages(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Messages of the sender's end. Raises LinkConflict."""
        with self._lock:
            _begun, machine = self._of(body)
            outgoing: list[bytes] = []
            for text in body["messages"]:
                outgoing += machine.receive(from_text(text))
            self._pool.before_sending()
            return {"messages": [to_text(one) for one in outgoing], "ended": machine.result is not None}

    def on_finish(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The sender's end has judged; this end does the same. Raises LinkConflict."""
        with self._lock:
            begun, machine = self._of(body)
            self._running = None
            self._pool.after_block()
            result = machine.result
            if result is None:
                self._note(begun, None)
                return {"check": ""}
            judged = self.judge.judge(result, begun.task.pulses)
            theirs = bytes.fromhex(str(body["check"]))
            check = self._add(begun, result) if theirs and not judged.alarm else b""
            if check:
                self._store.confirm_block(self._config.line, begun.task.block, theirs)
                self._source.keys_stored(begun.task.block)
            self._note(begun, result, stored=bool(check), alarm=judged.alarm, value=judged.value, limit=judged.limit)
            return {"check": check.hex()}

    def _give_up(self) -> None:
        """A block that the sender's end never ended: it is no key at either."""
        if self._running is not None:
            self._pool.after_block()
            self._note(self._running[0], None)
            self._running = None

    def _of(self, body: Mapping[str, Any]) -> tuple[_Begun, BlockMachine]:
        if self._running is None or self._running[0].task.block != body["block"]:
            raise LinkConflict("NO_SUCH_BLOCK")
        return self._running

    # ------------------------------------------------------------------------------------------- both

    def _out_of_reach(self) -> PeerError:
        line = self._config.line
        return PeerError(
            f"线路 {line} 对端报出的数据块号超出本端的可信范围：请双方运维人员核对两端的密钥库",
            f"the other end of line {line} names a block number out of reach of this end: operators compare both stores",
            code="OUT_OF_REACH",
        )

    def _task(self, block: int, pulses: int, nonces: bytes, kind: str, ppm: int) -> BlockTask:
        self._check_distillation()
        return BlockTask(
            block=block,
            pulses=pulses,
            nonces=nonces,
            eavesdropper=(kind, ppm),
            pool=self._pool.pool(),
            random=self._random,
        )

    def _add(self, begun: _Begun, result: BlockResult) -> bytes:
        """The check of the block, now GENERATED here; empty where it has no key, was discarded, or there is no room."""
        block = begun.task.block
        if not result.key or begun.age != self._age:
            return b""
        try:
            added = self._store.add_block(self._config.line, block, Provenance(self._source.provenance), result.key)
        except Refused as error:
            _log.warning("line %s, block %d: %s", self._config.line, block, error.code)
            return b""
        return added.check

    def _note(
        self,
        begun: _Begun,
        result: BlockResult | None,
        *,
        stored: bool = False,
        alarm: str = "",
        value: float = -1.0,
        limit: float = -1.0,
    ) -> None:
        """Write down what came of a block; begin or end alarms. result: None for a block that was not ended."""
        line, task = self._config.line, begun.task
        view = _view(begun, result, line=line, source=self._source, stored=stored, alarm=alarm, now_s=time.monotonic())
        # Whoever put an eavesdropper on the line knows that its blocks are no past to compare with.
        healthy = result is not None and not task.eavesdropper[1]
        self._journal.add_block(view, counts_as_json(result) if healthy and result is not None else None)
        self._record(
            "block.distilled" if stored else "block.given-up",
            line,
            block=task.block,
            state=view.state,
            reason=view.aborted or view.alarm,
            sifted=view.sifted,
            qber_ppm=round(view.qber * 1e6) if view.qber >= 0 else -1,
            leak_bits=view.leak_bits,
            length_bits=view.length_bits,
            keys=view.keys,
            provenance=view.provenance,
        )
        if stored:
            self._alarms.end(*SOURCE_ALARMS)
        elif alarm:
            self._alarms.begin(alarm, block=task.block, value=value, limit=limit)


def _nonce(text: Any) -> bytes:  # Any: parsed JSON
    """The other end's part. Raises ValueError unless it has its full length."""
    found = bytes.fromhex(str(text))
    if len(found) != NONCE_BYTES:
        raise ValueError("a nonce of another length")
    return found


def _view(
    begun: _Begun,
    result: BlockResult | None,
    *,
    line: str,
    source: KeySource,
    stored: bool,
    alarm: str,
    now_s: float,
) -> Block:
    """A block as pages show it; -1 for what is not known."""
    pulses = begun.task.pulses
    length = result.length_bits if result is not None else 0
    rate = length / pulses if pulses else -1.0
    aborted = result.aborted if result is not None else "stopped"
    return Block(
        block=begun.task.block,
        line=line,
        time_ms=begun.began_ms,
        duration_ms=round((now_s - begun.began_s) * 1000),
        provenance=source.provenance,
        state="stored" if stored else "aborted" if aborted else "quarantined",
        aborted=aborted,
        pulses=pulses,
        sifted=result.sifted if result is not None else -1,
        qber=float(result.qber) if result is not None else -1.0,
        leak_bits=result.leak_bits if result is not None else -1,
        efficiency=float(result.efficiency) if result is not None else -1.0,
        rounds=result.rounds if result is not None else -1,
        length_bits=length,
        rate=rate,
        rate_bps=rate * source.clock_hz if source.clock_hz and rate >= 0 else -1.0,
        authentication_bits=result.authentication_bits_used if result is not None else -1,
        epsilon=float(result.epsilon) if result is not None else -1.0,
        keys=len(result.key) // 32 if stored and result is not None else 0,
        alarm=alarm,
    )

"""One line at one end: staying in step with the other KME, reserving and delivering keys; blocks are making.py.

Document: key-delivery.md section 8. The sender's end starts blocks and syncs; the receiver's end answers and asks for a
sync when it needs one. Handlers of the other end's calls take local locks only and never call back, so that two ends
cannot wait for one another.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from uuid import UUID

from workbench.errors import (
    KeyUnavailable,
    PeerError,
    SelfTestFailed,
    StorageFailed,
    VerificationError,
    WorkbenchError,
)
from workbench_kme.keys import KeyValue, Provenance, Reservation, State, SyncState, format_sync, parse_sync
from workbench_kme.keys import SyncReport as StoreReport
from workbench_kme.service.alarming import Alarms
from workbench_kme.service.far import FarApplications
from workbench_kme.service.gatekeeper import Gate
from workbench_kme.service.listening import WORKERS
from workbench_kme.service.making import BlockMaker
from workbench_kme.service.parts import LineParts
from workbench_kme.service.peering import HELLO_TIMEOUT_S, OTHER_TENANT, PeerRefused
from workbench_kme.service.views import SyncReport
from workbench_kme.service.wire import LinkConflict, from_text, to_text, unavailable

BEAT_S = 1.0
PEER_LOST_S = 3.0
EXPIRE_S = 60.0
RESERVE_TRIES = 3
STEP_WAIT_S = 3.0
ANSWERS_TO_A_WITHDRAWAL = frozenset({"MALFORMED", "REASON_MALFORMED", "NO_SUCH_LINE", "NO_SUCH_BLOCK"})
"""Refusals that a repetition would not change. After any other the withdrawal is said again until it is done."""

_log = logging.getLogger(__name__)


class LineEnd:
    """This end of a line. Its thread beats once a second; everything else is called by requests."""

    def __init__(self, parts: LineParts) -> None:
        self.config, self.store, self.journal, self.source = parts.config, parts.store, parts.journal, parts.source
        self._pool, self._link, self._now_ms = parts.pool, parts.link, parts.now_ms
        self._device_enabled = parts.device_enabled
        self.alarms = Alarms(parts.journal, parts.config.line, parts.record)
        self.boot = parts.random(8).hex()
        self.gate = Gate()
        self._blocks = threading.RLock()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.maker = BlockMaker(
            parts, alarms=self.alarms, lose_step=self._lose_step, lock=self._blocks, stop=self._stop
        )
        self._peer_boot = ""
        self._peer_seen_s = 0.0
        self._began_s = time.monotonic()
        self.peer_seen_ms = 0
        self._in_step = False
        self._other_tenant: bool | None = None  # None: not heard since this end started
        self._peer_wants_sync = False
        self._try_now = False
        self._expired_s = 0.0
        self._last_report: SyncReport | None = None
        self.far = FarApplications(parts.config.peer.saes, parts.is_free)
        self._own_applications = parts.own_applications
        self._told_applications: tuple[list[str], list[str]] = ([], [])
        self._refused_applications: list[str] = []
        self._delivered: list[str] = []
        self._delivered_lock = threading.Lock()
        # As many as requests are served at once: nobody waits for a thread.
        self._askers = ThreadPoolExecutor(WORKERS, thread_name_prefix=f"kme-ask-{self.config.line}")

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
        self._askers.shutdown(wait=False)
        self._link.close()
        self.source.close()

    def wake(self, *, try_now: bool = False) -> None:
        """Look at once whether there is something to do."""
        if try_now:
            self.maker.begin_afresh()
            self._try_now = True
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

    def state(self) -> str:
        """One of the states of key-delivery.md section 7."""
        if not self._device_enabled():
            return "disabled"
        if self.alarms.disturbed:
            return "alarm"
        if self._other_tenant:
            return "other-tenant"
        if not self.peer_reachable:
            return "peer-unreachable"
        if not self._in_step:
            return "out-of-step"
        if self.journal.line(self.config.line).paused:
            return "paused"
        if not self._wants_blocks():
            return "full"
        return "waiting" if self.maker.waiting else "making"

    def check_deliverable(self) -> None:
        """Return if keys may leave. Raises KeyUnavailable."""
        if not self._device_enabled():
            raise unavailable(
                "DEVICE_DISABLED", "密码设备自检未通过，已停用", "the device failed its self-test and is disabled"
            )
        if self.alarms.disturbed:
            raise unavailable(
                "ALARM", f"线路 {self.config.line} 有告警，暂不交付密钥", f"an alarm stands on line {self.config.line}"
            )
        self._check_tenant()
        if not self.peer_reachable:
            raise unavailable(
                "PEER_UNREACHABLE",
                f"线路 {self.config.line} 的对端没有回应",
                f"the other end of line {self.config.line} does not answer",
            )
        if not self._in_step:
            raise self._out_of_step()

    def is_same_tenant(self, tag: str) -> bool:
        """Whether a call of the other end names this line's tenant. One that does not leaves an alarm, and nothing is given out."""
        is_same = tag == self.config.tenant
        if not is_same:
            self._note_tenant(is_other=True)
        return is_same

    def _note_tenant(self, *, is_other: bool) -> None:
        if is_other == self._other_tenant:
            return
        self._other_tenant = is_other
        if is_other:
            self._in_step = False
        self.alarms.hold("other-tenant", is_other)

    def _check_tenant(self) -> None:
        if self._other_tenant:
            line = self.config.line
            raise unavailable(
                "OTHER_TENANT", f"线路 {line} 两端的租户标记不同，不交付密钥", f"the ends of line {line} name different tenants; no key is given out"
            )

    # ---------------------------------------------------------------------------------------- delivery

    def get_keys(
        self, *, number: int, size: int, origins: Sequence[Provenance], master: str, slaves: Sequence[str]
    ) -> list[KeyValue]:
        """Reserve here, have the other end accept, hand out to the master. Raises KeyUnavailable, PeerError."""
        for _ in range(RESERVE_TRIES):
            self.check_deliverable()
            with self.gate.passing():
                values = self._take(number=number, size=size, origins=origins, master=master, slaves=slaves)
            if values is not None:
                return values
            self._lose_step()
            self._await_step()
        raise self._out_of_step()

    def _take(
        self, *, number: int, size: int, origins: Sequence[Provenance], master: str, slaves: Sequence[str]
    ) -> list[KeyValue] | None:
        """Keys that both ends have set aside, taken out here for the master; None when others are to be tried.

        The other end is asked while this one commits. Raises KeyUnavailable, PeerError.
        """
        line = self.config.line
        asked: list[Future[None]] = []
        try:
            reservation, values = self.store.together.take(
                line, master, slaves, number=number, size=size, origins=origins,
                tell=lambda chosen: asked.append(self._askers.submit(self._ask, chosen)),
            )  # fmt: skip
        except BaseException as error:
            if asked:
                # The other end may hold what is lost here: no comparison begins before its answer is in.
                asked[0].exception()
                self._lose_step()
            if isinstance(error, VerificationError) and error.code == "SEAL_BROKEN":
                _log.warning("line %s: keys in stock were found damaged", line)
                return None
            raise
        refused: set[UUID] = set()
        try:
            asked[0].result()
            self.store.together.check(reservation)
        except BaseException as error:
            for value in values:
                value.wipe()
            if isinstance(error, PeerRefused):
                named = {str(one) for one in error.value.get("keys", [])}
                refused = {one for one in reservation.key_ids if str(one) in named}
            elif isinstance(error, PeerError):
                self._lose_step()  # whether the other end accepted is not known: the ends compare
            self.store.together.withhold(line, reservation.key_ids, refused=refused)
            if isinstance(error, PeerRefused) or (isinstance(error, KeyUnavailable) and error.code == "KEY_GONE"):
                # Refused there, or taken out of use here since: no value has left, and the other end lets go of the
                # rest when both compare.
                _log.warning("line %s: reserved keys were not handed out (%s)", line, error.code)
                return None
            raise
        return values

    def _ask(self, reservation: Reservation) -> None:
        """Have the other end set the same keys aside. Raises PeerRefused with those it has not, PeerError."""
        body = {
            "master": reservation.master,
            "slaves": list(reservation.slaves),
            "size": reservation.size,
            "keys": [str(one) for one in reservation.key_ids],
        }
        self._link.call("reserve", body, ())

    def get_keys_by_id(self, key_ids: Sequence[UUID], *, master: str, slave: str) -> list[KeyValue]:
        """Deliver to a slave, all or none. Raises KeyUnavailable KEY_GONE, Denied KEY_NOT_YOURS."""
        if not self._device_enabled():
            self.check_deliverable()
        self._check_tenant()
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
                # Not its text: it may quote what was being worked on.
                _log.error("line %s failed: %s at %s", self.config.line, type(error).__name__, _place(error))
            self._wake.wait(timeout=BEAT_S)
            self._wake.clear()

    def _beat_once(self) -> None:
        if not self._hello():
            return
        self._tell()
        self._tell_applications()
        if self.config.is_sender and (not self._in_step or self._peer_wants_sync):
            self.sync()
        while self.config.is_sender and self._may_make() and self.maker.make():
            pass
        if self.config.is_sender and self._is_tapped() and self._can_make():
            self.maker.make()  # a full stock must not hide from a demonstration what its line would show
        self._watch_stock()
        if time.monotonic() - self._expired_s > EXPIRE_S:
            self._expired_s = time.monotonic()
            self.store.expire()

    def _hello(self) -> bool:
        """Tell that this end lives; whether the other one does."""
        with self._delivered_lock:
            delivered = list(self._delivered)
        body = {"v": 1, "boot": self.boot, "state": self._said_state(), "delivered": delivered[:1000]}
        try:
            answer = self._link.call("hello", body, ("v", "boot", "state", "delivered"), timeout_s=HELLO_TIMEOUT_S)
        except PeerError as error:
            if error.code == OTHER_TENANT:
                self._note_tenant(is_other=True)
                return False
            if not self.peer_reachable:
                self._in_step = False
            if time.monotonic() - max(self._peer_seen_s, self._began_s) > PEER_LOST_S:
                self.alarms.begin("peer-unreachable")
            return False
        with self._delivered_lock:
            self._delivered = self._delivered[len(body["delivered"]) :]  # type: ignore[arg-type]  # a list
        self._heard(answer)
        return True

    def _said_state(self) -> str:
        return "out-of-step" if not self._in_step else "in-step"

    def _heard(self, said: Mapping[str, Any]) -> None:
        """The other end lives; a new life of it, or its wish, brings a sync."""
        self._note_tenant(is_other=False)
        ids = [UUID(str(one)) for one in said["delivered"]]
        was_lost = not self.peer_reachable
        self._peer_seen_s, self.peer_seen_ms = time.monotonic(), self._now_ms()
        if was_lost:
            self.alarms.end("peer-unreachable")
        if said["boot"] != self._peer_boot:
            self._peer_boot = str(said["boot"])
            self._in_step = False
            self.far.forget()
            self._told_applications = ([], [])
            self.maker.begin_afresh()
        self._peer_wants_sync = said["state"] == "out-of-step"
        if self._peer_wants_sync and self.config.is_sender:
            self.wake()
        if ids:
            self.store.report_delivered(self.config.line, ids)

    def _tell(self) -> None:
        """Withdrawals that the other end has not answered yet."""
        for number, body in self.journal.untold(self.config.line):
            try:
                self._link.call("withdraw", body, ("changed",))
            except PeerRefused as refused:
                _log.warning("line %s: a withdrawal was refused with %s", self.config.line, refused.code)
                self._in_step = False
                if refused.code not in ANSWERS_TO_A_WITHDRAWAL:
                    raise
                # It knows nothing of these keys: an answer as well, and a sync will show what differs.
            self.journal.told(number)

    def is_told(self, application: str, *, is_configured: bool = False) -> bool:
        """Whether the other end knows an application as a registered one. is_configured: it has it in its kme.json."""
        registered, withdrawn = self._told_applications
        if is_configured:
            return application not in withdrawn
        return application in registered and application not in self._refused_applications

    def _tell_applications(self) -> None:
        """Who is registered for this line and who was withdrawn, when the other end does not know it yet."""
        boot, said = self._peer_boot, self._own_applications()
        if said == self._told_applications:
            return
        body = {"registered": said[0], "withdrawn": said[1]}
        try:
            refused = [str(one) for one in self._link.call("applications", body, ("refused",))["refused"]]
        except PeerError as error:  # keys are made all the same; it is told again with the next beat
            _log.warning("line %s: the other end took no list of applications (%s)", self.config.line, error.code)
            return
        if boot == self._peer_boot:  # else it has started anew and is told again
            self._told_applications, self._refused_applications = said, refused
        if refused:
            _log.warning("line %s: %d applications are somebody else's at the other end", self.config.line, len(refused))

    def on_applications(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Which applications stand at the other end. Raises ValueError."""
        return {"refused": self.far.hear(body)}

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
        return unavailable("OUT_OF_STEP", f"线路 {line} 两端尚未对齐", f"the ends of line {line} are not in step yet")

    def _watch_stock(self) -> None:
        available = self.store.status(self.config.line).available
        self.alarms.hold("low-stock", available < self.config.low_water, value=available, limit=self.config.low_water)
        is_stopped = self._pool.is_stopped
        self.alarms.hold("authentication-low", self._pool.is_low and not is_stopped)
        self.alarms.hold("authentication-stopped", is_stopped)

    def _wants_blocks(self) -> bool:
        """Whether a pool is below its half of the target. Both ends' pools count: neither may starve."""
        stock = self.store.status(self.config.line).stock
        stored = [stock.get((pool, State.STORED), 0) for pool in (0, 1)]
        return sum(stored) < self.config.max_keys and min(stored) < -(-self.config.target_keys // 2)

    def _may_make(self) -> bool:
        if not self._can_make():
            return False
        if self._try_now:
            self._try_now = False
            return True
        lacks_past = self.source.simulates and not self.maker.judge.has_baseline
        return self.maker.is_due and (self.alarms.disturbed or self._wants_blocks() or lacks_past)

    def _can_make(self) -> bool:
        if self._stop.is_set() or not self._in_step or not self._device_enabled():
            return False
        return not (self.journal.line(self.config.line).paused or self.journal.untold(self.config.line))

    def _is_tapped(self) -> bool:
        """Whether the eavesdropper of a demonstration line is on, and the pause after a failed block over."""
        tapped = self.config.demonstration and self.journal.line(self.config.line).eavesdropper[1] > 0
        return tapped and self.maker.is_due and not self.alarms.disturbed

    # --------------------------------------------------------------------------------------------- sync

    def sync(self) -> SyncReport:
        """Compare stocks with the other end and remove what only one of them has. Raises PeerError."""
        line = self.config.line
        if not self.config.is_sender:
            return self._ask_for_sync()
        with self._blocks, self.gate.closed():
            mine = format_sync(self.store.sync_state(line))
            answer = self._link.call("sync", {"state": to_text(mine)}, ("state", "differ"))
            theirs = parse_sync(from_text(answer["state"]))
            report = self.store.apply_sync(theirs)
            removed_there = 0
            for block in sorted({*report.differing, *(int(one) for one in answer["differ"])}):
                compared = self._link.call(
                    "bitmap", {"block": block, "bitmap": to_text(self.store.bitmap(line, block))}, ("bitmap", "removed")
                )
                self.store.apply_bitmap(line, block, from_text(compared["bitmap"]))
                removed_there += int(compared["removed"])
            self._settle(theirs)
            self._in_step, self._peer_wants_sync = True, False
        return self._synced(report, removed_there)

    def _ask_for_sync(self) -> SyncReport:
        """The sender's end compares; at the receiver's end one asks for it and waits."""
        self._last_report = None
        self._lose_step()
        self._await_step()
        report = self._last_report
        if report is None or not self._in_step:
            raise self._out_of_step()
        return report

    def _synced(self, report: StoreReport, removed_there: int) -> SyncReport:
        if report.older_copy:
            self.alarms.begin("restored-copy")
        self.alarms.end("out-of-step")
        removed = report.differs + report.lost + report.passed + report.behind
        self._last_report = SyncReport(self.config.line, True, 1, removed, removed_there)
        return self._last_report

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
            theirs = parse_sync(from_text(body["state"]))
            report = self.store.apply_sync(theirs)
            self._settle(theirs)
            self._in_step = not report.differing
            self._synced(report, -1)
        return {"state": to_text(mine), "differ": list(report.differing)}

    def on_bitmap(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """One block, key by key."""
        line, block = self.config.line, int(body["block"])
        with self._blocks, self.gate.closed():
            mine = self.store.bitmap(line, block)
            removed = self.store.apply_bitmap(line, block, from_text(body["bitmap"]))
            self._in_step = not self.store.status(line).suspects
        return {"bitmap": to_text(mine), "removed": removed}

    # ------------------------------------------------------------------ what the other end calls

    def on_hello(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The other end lives."""
        self._heard(body)
        # What was delivered here is told in this end's own call, which the other end answers.
        return {"v": 1, "boot": self.boot, "state": self._said_state(), "delivered": []}

    def on_reserve(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Keys that the other end is about to hand out. Raises LinkConflict NOT_IN_STOCK."""
        reservation = Reservation(
            self.config.line,
            tuple(UUID(str(one)) for one in body["keys"]),
            int(body["size"]),
            str(body["master"]),
            tuple(str(one) for one in body["slaves"]),
        )
        if reservation.master not in self.far.saes:
            raise LinkConflict("NOT_IN_STOCK", keys=list(body["keys"]))
        try:
            self.store.accept(reservation)
        except (StorageFailed, SelfTestFailed):
            raise  # says nothing of the keys: 503
        except WorkbenchError as error:
            self._in_step = False
            listed = error.details.get("keys", "").split()
            raise LinkConflict("NOT_IN_STOCK", keys=listed) from error
        return {}

    def on_withdraw(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The other end has revoked or quarantined. A block may have been made since: the ends compare afterwards."""
        changed = self.withdraw_here(body)
        if body["what"] == "rekey":
            self._lose_step()
        return {"changed": changed}

    # ------------------------------------------------------------------------------------ withdrawing

    def withdraw(self, what: str, *, keys: Sequence[str], block: int, reason: str) -> int:
        """Revoke, quarantine or rekey here, and have the other end do the same, now or as soon as it answers."""
        body = {"what": what, "keys": list(keys), "block": block, "reason": reason}
        changed = self.withdraw_here(body)
        self.journal.tell(self.config.line, body)
        self.wake()
        return changed

    def withdraw_here(self, body: Mapping[str, Any]) -> int:
        """This end's part; how many keys changed."""
        line, what, reason = self.config.line, str(body["what"]), str(body["reason"])
        ids = [UUID(str(one)) for one in body["keys"]]
        block = int(body["block"])
        if what not in ("revoke", "quarantine", "rekey"):
            raise ValueError("revoke, quarantine or rekey")
        if what == "rekey":
            # A block under way is part of "everything"; the next one waits until the other end was told.
            self.maker.discard()
            return self.store.revoke(line, reason=reason).count
        act = self.store.revoke if what == "revoke" else self.store.quarantine
        if block >= 0:
            return act(line, block=block, reason=reason).count
        return act(line, key_ids=ids, reason=reason).count


def _place(fault: BaseException) -> str:
    """File and line in which it was raised."""
    at = fault.__traceback__
    while at and at.tb_next:
        at = at.tb_next
    return f"{at.tb_frame.f_code.co_filename}:{at.tb_lineno}" if at else "an unknown place"

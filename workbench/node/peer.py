"""The peer API: what another institution may ask of this node, after the channel has established who calls.

Paths below /peer/v1/: message (signed frames), letter (signed letters), mirror (co-signing), hello (time and sizes), bodies
(mirrored entries), and what plugins answer (peer_paths).
Every refusal is recorded, by code, without the content.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from workbench.channel.message import peek_header
from workbench.contracts import PeerCall, PeerPath
from workbench.domain.party import PartyId
from workbench.errors import NotFound, ProtocolViolation, WorkbenchError
from workbench.node.peer_paths import PeerPaths

if TYPE_CHECKING:
    from workbench.host import Workbench

BODIES_AT_ONCE = 500
BODIES_BYTES = 1 << 20
"""Of one answer; a single longer body is given alone."""
WORKERS_OF_A_PARTNER = 8
REFUSALS_A_MINUTE = 100
"""Entries about refusals of one partner with one code: a flood of requests must not become a flood of evidence."""


class PeerApi:
    """Answers partners; the work runs in its own threads so that the staff API stays responsive."""

    def __init__(self, host: Workbench) -> None:
        self._host = host
        self._workers: dict[str, ThreadPoolExecutor] = {}
        self._refused: dict[tuple[str, str], tuple[int, int]] = {}
        self._lock = threading.Lock()
        self.plugin_paths = PeerPaths((), taken=())
        self._paths: dict[str, Callable[[PeerCall], bytes]] = {
            "message": self._message,
            "letter": self._letter,
            "mirror": self._mirror,
            "hello": self._hello,
            "bodies": self._bodies,
            "held": self._held,
            "pull": self._pull,
            "conflicts": self._conflicts,
        }

    def serve(self, found: Sequence[tuple[str, PeerPath]], *, channels: Collection[str]) -> None:
        """Answer these paths of plugins too. channels: names of carried channels, whose paths begin with them."""
        self.plugin_paths = PeerPaths(found, taken=[*self._paths, *channels])

    async def handle(self, call: PeerCall) -> bytes:
        """The reply, or a WorkbenchError that the channel turns into one."""
        plugin = self.plugin_paths.of(call.path) if call.peer in self._host.parties() else None
        workers = self.plugin_paths.workers(plugin, call.peer) if plugin is not None else self._workers_of(call.peer)
        return await asyncio.get_running_loop().run_in_executor(workers, self.answer, call)

    def answer(self, call: PeerCall) -> bytes:
        """As `handle`, for callers in threads."""
        try:
            if call.peer not in self._host.parties():
                raise NotFound("不认识的机构", "Unknown institution", code="UNKNOWN_PARTY")
            work = self._paths.get(call.path)
            plugin = self.plugin_paths.of(call.path) if work is None else None
            if plugin is not None:
                return self._of_plugin(plugin, call)
            if work is None:
                raise NotFound("没有这个接口", "There is no such path", code="UNKNOWN_PATH")
            return work(call)
        except WorkbenchError as error:
            self.record_refusal(call.address, call.peer, error.code)
            raise

    def record_refusal(self, address: str, peer: str, code: str) -> None:
        """Keep that a partner's request was refused (also called by the channel for refused connections)."""
        values = {"address": address, "peer": peer, "code": code}
        host = self._host
        minute = host.now_ms() // 60_000
        with self._lock:
            last, count = self._refused.get((peer, code), (minute, 0))
            self._refused[peer, code] = (minute, count + 1 if last == minute else 1)
        if last == minute and count >= REFUSALS_A_MINUTE:
            return
        try:
            host.store.write(lambda tx: host.evidence.append(tx, "peer.refused", values))
        except WorkbenchError as failure:
            host.log_fault(failure)

    def record_refusal_soon(self, address: str, reason: str) -> None:
        """For the channel's callback on the event loop: record without holding the loop up."""
        self._workers_of("").submit(self.record_refusal, address, "", reason)

    def close(self) -> None:
        for workers in self._workers.values():
            workers.shutdown(wait=False, cancel_futures=True)
        self.plugin_paths.close()

    def _workers_of(self, peer: str) -> ThreadPoolExecutor:
        """Threads of one partner, so that one who fills its own keeps nobody else waiting."""
        name = peer if peer in self._host.parties() else ""
        with self._lock:
            if name not in self._workers:
                self._workers[name] = ThreadPoolExecutor(WORKERS_OF_A_PARTNER, thread_name_prefix=f"peer-{name}")
            return self._workers[name]

    def _of_plugin(self, plugin: PeerPath, call: PeerCall) -> bytes:
        """What a plugin says, or refuses in the words that it has for all refusals; a fault of it looks the same."""
        try:
            return plugin.answer(call)
        except WorkbenchError as error:
            told = self.plugin_paths.told(plugin, call.peer, error)
            if told is error:
                raise
            self._host.log_fault(error)
            raise told from error
        except Exception as fault:  # a plugin may fail in any way; a partner learns nothing of it
            self._host.log_fault(fault)
            failed = WorkbenchError("对方节点内部出错", "the partner's node failed internally", code="INTERNAL")
            raise self.plugin_paths.told(plugin, call.peer, failed) from fault

    def _message(self, call: PeerCall) -> bytes:
        header = peek_header(call.body, max_bytes=self._host.setting("node.max_message_bytes"))
        if header.attempt == 0:
            self._host.negotiations.receive(call)
        else:
            self._host.flow.on_attempt_frame(call.peer, header.job, header.attempt, call.body)
        return b""

    def _letter(self, call: PeerCall) -> bytes:
        return self._host.letters.receive(call)

    def _mirror(self, call: PeerCall) -> bytes:
        ledger = self._host.ledger
        reply = ledger.witness(call.peer, call.body)
        self._host.sealing.wake_jobs()
        return reply

    def _hello(self, call: PeerCall) -> bytes:
        ledger = self._host.ledger
        self._host.letters.heard(call.peer)
        return json.dumps(
            {
                "party": self._host.party,
                "time_ms": self._host.now_ms(),
                "size": ledger.size(self._host.party),
                "mirrored": ledger.size(call.peer),
            }
        ).encode()

    def _held(self, call: PeerCall) -> bytes:
        return self._host.ledger.exchange.held(call.peer)

    def _pull(self, call: PeerCall) -> bytes:
        """The caller asks for what it lacks of this node's log."""
        answer = self._host.ledger.exchange.answer_pull(call.peer, call.body)
        self._host.sealing.wake_jobs()
        return answer

    def _conflicts(self, call: PeerCall) -> bytes:
        if self._host.ledger.exchange.hear_conflicts(call.peer, call.body):
            self._host.sealing.wake()  # pass it on
        return b""

    def _bodies(self, call: PeerCall) -> bytes:
        """Entries of the caller's own log as held here, or of this node's log, which the caller mirrors anyway.

        It is how a damaged log, or a damaged mirror, finds out what was changed.
        """
        ledger = self._host.ledger
        try:
            request = json.loads(call.body)
            log = PartyId(str(request.get("log", call.peer)))
            if log not in (call.peer, self._host.party):
                raise ValueError("neither the caller's log nor this one")
            start = max(0, int(request["start"]))
            stop = min(int(request["stop"]), start + BODIES_AT_ONCE, ledger.size(log))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ProtocolViolation("请求的格式不对", "The request is malformed", code="MALFORMED") from error
        bodies = ledger.entry_bodies(log, start, stop) if stop > start else []
        room = BODIES_BYTES
        for count, body in enumerate(bodies):
            room -= len(body)
            if count and room < 0:
                bodies = bodies[:count]
                break
        return json.dumps([body.hex() for body in bodies]).encode()

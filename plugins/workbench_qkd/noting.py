"""What may be an interception of the calls between nodes 监控非法截取: frames that were altered, repeated, or never came.

Document: docs/protocols/qkd-channel.md section 6. Counted always, an entry at most once a minute of a partner.
"""

from __future__ import annotations

import threading
from typing import Final, Protocol

from workbench.domain.party import PartyId
from workbench.errors import WorkbenchError
from workbench_qkd.entries import Entries
from workbench_qkd.service import ChannelService

ENTRY_PAUSE_MS: Final = 60_000


class Watched(Protocol):
    """What is asked of a session. gaps: frames that never came and were counted."""

    name: str
    line: str
    peer: PartyId
    gaps: int


class Noting:
    """Of one node's sessions."""

    def __init__(self, service: ChannelService, entries: Entries) -> None:
        self._service, self._host, self._entries = service, service.host, entries
        self._entered: dict[tuple[str, str], int] = {}
        self._lock = threading.Lock()

    def is_due(self, peer: PartyId, code: str) -> bool:
        """Whether something of this kind is worth an entry: once a minute for a partner."""
        now = self._host.now_ms()
        with self._lock:
            last = self._entered.get((peer, code), -ENTRY_PAUSE_MS)
            is_due = abs(now - last) >= ENTRY_PAUSE_MS
            if is_due:
                self._entered[peer, code] = now
        return is_due

    def forget(self) -> None:
        """As after a minute."""
        with self._lock:
            self._entered.clear()

    def altered(self, held: Watched, code: str) -> None:
        """Something of this partner was altered, repeated or from elsewhere; the entry says how many there were."""
        count = self._service.count_refused(held.peer)
        if self.is_due(held.peer, f"altered {code}"):
            self._write("qkd.frame_refused", held, {"code": code, "count": str(count)})

    def gaps(self, held: Watched, count: int) -> None:
        """Frames of this session never came, so many by now; the entry says how many of this partner in this run."""
        if count <= held.gaps:
            return
        total, held.gaps = self._service.count_missing(held.peer, count - held.gaps), count
        if self.is_due(held.peer, "frames missing"):
            self._write("qkd.frames_missing", held, {"count": str(total)})

    def _write(self, kind: str, held: Watched, values: dict[str, str]) -> None:
        values = {"line": held.line, "session": held.name, "partner": held.peer, **values}
        try:
            self._host.store.write(lambda tx: self._entries.enter(tx, kind, values))
        except WorkbenchError as error:
            self._host.log_fault(error)


__all__ = ["ENTRY_PAUSE_MS", "Noting", "Watched"]

"""Who is there: every few seconds each node greets its partners and compares clocks (rows F4 and C14)."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

from workbench.domain.party import PartyId
from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    from workbench.host import Workbench

INTERVAL_S = 5.0
SILENT_AFTER_MS = 20_000


class Heartbeat:
    """The last sign of life of every partner."""

    def __init__(self, host: Workbench) -> None:
        self._host = host
        self._seen: dict[PartyId, tuple[int, int, str, str]] = {}
        self._behind: dict[PartyId, bool] = {}
        self._stop = threading.Event()
        self._threads: dict[PartyId, threading.Thread] = {}

    def start(self) -> None:
        """One thread for each partner, so that a silent one delays no other; new partners are met within a second."""
        threading.Thread(target=self._follow_partners, name="hello", daemon=True).start()

    def stop(self) -> None:
        self._stop.set()

    def states(self) -> list[dict[str, Any]]:
        """One row a party: party, names, state ("ok", "silent", "clock"), seen_ms, size, problem in two languages."""
        host = self._host
        now = host.now_ms()
        rows = [self._row(host.party, "ok", now, host.ledger.size(host.party), "", "")]
        for party in self._others():
            seen, size, zh, en = self._seen.get(party, (0, 0, "还没有联系上", "not reached yet"))
            state = "silent" if now - seen > SILENT_AFTER_MS else "clock" if zh else "ok"
            rows.append(self._row(party, state, seen, size, zh, en))
        return rows

    def _row(self, party: PartyId, state: str, seen_ms: int, size: int, zh: str, en: str) -> dict[str, Any]:
        name_zh, name_en = self._host.names(party)
        return {
            "party": party,
            "name_zh": name_zh,
            "name_en": name_en,
            "state": state,
            "seen_ms": seen_ms,
            "size": size,
            "problem_zh": zh,
            "problem_en": en,
        }

    def _follow_partners(self) -> None:
        while True:
            for party in self._others():
                if party not in self._threads or not self._threads[party].is_alive():
                    thread = threading.Thread(target=self._beat, args=(party,), name=f"hello-{party}", daemon=True)
                    self._threads[party] = thread
                    thread.start()
            if self._stop.wait(1.0):
                return

    def _beat(self, party: PartyId) -> None:
        while not self._stop.is_set() and party in self._others():
            self.greet(party)
            self._stop.wait(INTERVAL_S)

    def greet(self, party: PartyId) -> None:
        """Ask one partner for its time and size and keep the answer."""
        host = self._host
        asked = host.now_ms()
        seen, size, _, _ = self._seen.get(party, (0, 0, "", ""))
        try:
            answer = json.loads(host.links.call(party, "hello", b"", timeout_s=4.0))
            skew_ms = abs(int(answer["time_ms"]) - (asked + host.now_ms()) // 2)
            limit_s = host.setting("node.max_skew_s")
            zh = f"时钟相差 {skew_ms / 1000:.1f} 秒，超过 {limit_s} 秒" if skew_ms > limit_s * 1000 else ""
            en = f"clocks differ by {skew_ms / 1000:.1f} s, more than {limit_s} s" if zh else ""
            self._seen[party] = (host.now_ms(), int(answer["size"]), zh, en)
            self._look_for_backlog(party, int(answer["size"]))
        except WorkbenchError as error:
            self._seen[party] = (seen, size, error.zh, error.en)
        except (ValueError, KeyError, TypeError, RecursionError):
            self._seen[party] = (seen, size, "回答的格式不对", "its answer is malformed")

    def _look_for_backlog(self, party: PartyId, size: int) -> None:
        """Twice in a row behind a partner's log: it does not come by itself, so ask for it."""
        behind = size > self._host.ledger.size(party)
        if behind and self._behind.get(party):
            self._host.sealing.pull_soon(party)
        self._behind[party] = behind

    def _others(self) -> list[PartyId]:
        return [party for party in self._host.parties() if party != self._host.party]

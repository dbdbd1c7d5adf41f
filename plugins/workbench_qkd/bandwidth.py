"""Bandwidth quotas of the channel `qkd`: what is large waits before it is sealed, what is small passes. Document: qkd-channel.md section 10."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from workbench.contracts import Setting
from workbench.domain.party import PartyId
from workbench.errors import PeerUnavailable, StartRefused
from workbench.operations import Reply
from workbench_qkd.pacing import SMALL_BYTES, Level, Rate, full, taken, wait_ns

SETTING: Final = "qkd.bandwidth"
SETTINGS: Final = (
    Setting(
        SETTING, dict, {}, "",
        "通道 qkd 发往每家机构的带宽配额：{机构: {\"bytes_per_s\": 每秒字节数, \"burst\": 一次字节数，缺省一秒的量}}；0 或不写为不限，否则至少 262144。大消息等候而不失败，小消息不等。启动时读取",
        "bandwidth quota of the channel qkd towards each institution: {institution: {\"bytes_per_s\": n, \"burst\": n, a second's worth unless stated}}; 0 or"
        " not named for no limit, else at least 262144. Large messages wait instead of failing, small ones never wait. Read at start",
    ),
)
_MEMBERS: Final = ({"bytes_per_s"}, {"bytes_per_s", "burst"})


class LineUse(Reply):
    """What left in sessions of one line. tenant: its tag."""

    line: str
    tenant: str
    sent_bytes: int


class BandwidthInfo(Reply):
    """Of one partner. bytes_per_s: 0 for no limit. sent_bytes, waited_ms, waits: since the node started; waiting: messages that wait now.

    lines: what of it left in sessions of which line and tenant; a message that waits, or found no session, is in none.
    """

    partner: str
    bytes_per_s: int
    burst: int
    sent_bytes: int
    waited_ms: int
    waits: int
    waiting: int
    lines: list[LineUse]


def rates(setting: Any) -> dict[str, Rate]:  # Any: out of the settings file, checked here
    """Partner -> rate; partners with 0 bytes a second, and those that are not named, have none. Raises StartRefused WRONG_SETTING."""
    try:
        if not isinstance(setting, dict):
            raise ValueError("an object")  # noqa: TRY004 - it is data, not a type
        found = {}
        for party, one in setting.items():
            if not isinstance(one, dict) or set(one) not in _MEMBERS or any(type(value) is not int for value in one.values()):
                raise ValueError(party)
            if one["bytes_per_s"]:
                found[str(party)] = Rate(one["bytes_per_s"], one["burst" if "burst" in one else "bytes_per_s"])
        return found
    except ValueError as error:
        raise StartRefused(
            '设置 qkd.bandwidth 应为 {机构: {"bytes_per_s": 每秒字节数, "burst": 一次字节数}}，每秒 0（不限）或至少 262144，节点不启动。运维更正',
            'The setting qkd.bandwidth must be {institution: {"bytes_per_s": n, "burst": n}} with 0 (no limit) or at least 262144 a second;'
            " the node does not start. Operations correct it",
            code="WRONG_SETTING",
        ) from error


@dataclass(slots=True)
class _Meter:
    """What has left towards one partner. turn: large messages leave one after the other, first come first served."""

    rate: Rate | None
    level: Level
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    sent_bytes: int = 0
    waited_ns: int = 0
    waits: int = 0
    waiting: int = 0
    lines: dict[tuple[str, str], int] = field(default_factory=dict)


class Bandwidth:
    """Meters of all partners of a node. setting: of the node, read when first needed. `pace` belongs to one event loop."""

    def __init__(
        self,
        setting: Callable[[], Any],
        *,
        clock: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._setting, self._clock, self._sleep = setting, clock, sleep
        self._rates: dict[str, Rate] | None = None
        self._meters: dict[PartyId, _Meter] = {}
        self._lock = threading.Lock()

    def is_limited(self, partner: PartyId) -> bool:
        """Whether a large message to this partner may have to wait."""
        return self._meter(partner).rate is not None

    async def pace(self, partner: PartyId, size: int, *, limit_s: float) -> None:
        """Return when a message of this size may leave. Raises PeerUnavailable BANDWIDTH_USED_UP after `limit_s`: nothing was sent then."""
        meter = self._meter(partner)
        if meter.rate is None or size <= SMALL_BYTES:
            self._take(meter, size, waits=False)
            return
        began, meter.waiting = self._clock(), meter.waiting + 1
        try:
            async with asyncio.timeout(limit_s), meter.turn:
                slept = False
                while wait := wait_ns(meter.rate, meter.level, size, self._clock()):
                    slept = True
                    await self._sleep(wait / 1e9)
                self._take(meter, size, waits=True)
        except TimeoutError as error:
            raise _used_up(partner, meter.rate, limit_s) from error
        finally:
            meter.waiting -= 1
        if slept:
            with self._lock:
                meter.waits, meter.waited_ns = meter.waits + 1, meter.waited_ns + self._clock() - began

    def count(self, partner: PartyId, size: int) -> None:
        """A reply leaves: it waits for nobody, for its caller waits for it already, and counts."""
        self._take(self._meter(partner), size, waits=False)

    def travelled(self, partner: PartyId, line: str, tenant: str, size: int) -> None:
        """A message has left in a session of this line."""
        meter = self._meter(partner)
        with self._lock:
            meter.lines[line, tenant] = meter.lines.get((line, tenant), 0) + size

    def told(self, partner: PartyId) -> BandwidthInfo:
        """Limit of a partner and what became of it."""
        meter = self._meter(partner)
        rate = meter.rate
        return BandwidthInfo(
            partner=partner, bytes_per_s=rate.bytes_per_s if rate else 0, burst=rate.burst if rate else 0, sent_bytes=meter.sent_bytes,
            waited_ms=meter.waited_ns // 1_000_000, waits=meter.waits, waiting=meter.waiting,
            lines=[LineUse(line=line, tenant=tenant, sent_bytes=sent) for (line, tenant), sent in sorted(meter.lines.items())],
        )  # fmt: skip

    def _take(self, meter: _Meter, size: int, *, waits: bool) -> None:
        with self._lock:
            meter.sent_bytes += size
            if meter.rate is not None:
                meter.level = taken(meter.rate, meter.level, size, self._clock(), waits=waits)

    def _meter(self, partner: PartyId) -> _Meter:
        with self._lock:
            if partner not in self._meters:
                if self._rates is None:
                    self._rates = rates(self._setting())
                rate, now = self._rates.get(partner), self._clock()
                self._meters[partner] = _Meter(rate, full(rate, now) if rate else Level(0, now))
            return self._meters[partner]


def _used_up(partner: PartyId, rate: Rate, limit_s: float) -> PeerUnavailable:
    return PeerUnavailable(
        f"发往 {partner} 的带宽配额（每秒 {rate.bytes_per_s} 字节）{limit_s:g} 秒内都已用满，本次未发出。稍后重试，或由运维调整 qkd.bandwidth",
        f"The bandwidth quota towards {partner} ({rate.bytes_per_s} bytes a second) was used up for {limit_s:g} s; nothing was sent. Try later, or operations change qkd.bandwidth",
        code="BANDWIDTH_USED_UP",
        details={"sent": "no"},
    )


__all__ = ["SETTING", "SETTINGS", "Bandwidth", "BandwidthInfo", "LineUse", "rates"]

"""Time and chance of a node, as values that tests replace."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

SHANGHAI = ZoneInfo("Asia/Shanghai")


def system_now_ms() -> int:
    """Milliseconds since 1970 UTC by this machine's clock."""
    return time.time_ns() // 1_000_000


def system_random(size_bytes: int) -> bytes:
    """Bytes from the operating system."""
    return secrets.token_bytes(size_bytes)


def local_day(at_ms: int) -> date:
    """The calendar day in Asia/Shanghai at this instant."""
    return datetime.fromtimestamp(at_ms / 1000, SHANGHAI).date()


def utc_text(at_ms: int) -> str:
    """RFC 3339 in UTC with milliseconds, e.g. 2026-11-21T06:05:52.123Z."""
    moment = datetime.fromtimestamp(at_ms // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03d}Z"

"""Numbers, times, digests and masks as the staff read them.

The same rules stand in ``assets/formats.js`` for the browser side; a browser test compares the two on the same values.
A value that is :data:`UNKNOWN` prints as unknowable and ``None`` as a dash, so neither ever looks like a number.
Times are whole milliseconds since the epoch and print in Asia/Shanghai, which has kept UTC+8 without summer time
since 1991; that offset is used directly, so no time-zone table is needed on either side.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Final, Literal

Lang = Literal["zh", "en"]
Unknown = Literal["unknown"]
UNKNOWN: Final[Unknown] = "unknown"
ABSENT: Final = "—"
MINUS: Final = "−"

_SHANGHAI: Final = timedelta(hours=8)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_S: Final = 86_400


def count(value: int | Unknown | None, lang: Lang = "zh") -> str:
    """A number of things: ``20,000``; zero is ``0``, unknown is words, absent is a dash."""
    if value is None or value == UNKNOWN:
        return _absent(value, lang)
    return _fixed(value, 0)


def change(value: int | Unknown | None, lang: Lang = "zh") -> str:
    """A difference with its sign: ``−2,421`` with a true minus, ``+3``."""
    if value is None or value == UNKNOWN:
        return _absent(value, lang)
    return ("+" if value > 0 else "") + _fixed(value, 0)


def share(value: float | Unknown | None, digits: int = 0, lang: Lang = "zh") -> str:
    """A share of one as per cent: ``share(0.62)`` is ``62 %``."""
    if value is None or value == UNKNOWN or not math.isfinite(value):
        return _absent(value, lang)
    return f"{_fixed(value * 100, digits)} %"


def quantity(value: float | Unknown | None, unit: str, digits: int = 0, lang: Lang = "zh") -> str:
    """A number with its unit: ``88 kbit/s``."""
    if value is None or value == UNKNOWN or not math.isfinite(value):
        return _absent(value, lang)
    return f"{_fixed(value, digits)} {unit}"


def points(value: float | Unknown | None, lang: Lang = "zh") -> str:
    """A change in a share: ``points(0.047)`` is ``4.7 个百分点``."""
    if value is None or value == UNKNOWN or not math.isfinite(value):
        return _absent(value, lang)
    return f"{_fixed(value * 100, 1)} {'个百分点' if lang == 'zh' else 'percentage points'}"


def money(fen: int | Unknown | None, lang: Lang = "zh") -> str:
    """Whole fen as yuan: ``money(2240)`` is ``¥22.40``."""
    if fen is None or fen == UNKNOWN:
        return _absent(fen, lang)
    return f"{MINUS if fen < 0 else ''}¥{_fixed(abs(fen) / 100, 2)}"


def card_seconds(value: int | Unknown | None, lang: Lang = "zh") -> str:
    """Compute used: ``2,240 卡·秒``."""
    if value is None or value == UNKNOWN:
        return _absent(value, lang)
    return f"{_fixed(value, 0)} {'卡·秒' if lang == 'zh' else 'card-s'}"


def card_minutes(value: float | Unknown | None, lang: Lang = "zh") -> str:
    """Compute as invoiced: ``37.3 卡·分``."""
    if value is None or value == UNKNOWN or not math.isfinite(value):
        return _absent(value, lang)
    return f"{_fixed(value, 1)} {'卡·分' if lang == 'zh' else 'card-min'}"


def time(at_ms: int | Unknown | None, lang: Lang = "zh") -> str:
    """Date and time in Asia/Shanghai: ``2026-11-21 14:05:52``."""
    if at_ms is None or at_ms == UNKNOWN:
        return _absent(at_ms, lang)
    return f"{_moment(at_ms) + _SHANGHAI:%Y-%m-%d %H:%M:%S}"


def clock(at_ms: int | Unknown | None, lang: Lang = "zh") -> str:
    """Time of day in Asia/Shanghai, for rows of one day: ``14:05:52``."""
    if at_ms is None or at_ms == UNKNOWN:
        return _absent(at_ms, lang)
    return f"{_moment(at_ms) + _SHANGHAI:%H:%M:%S}"


def date(at_ms: int | Unknown | None, lang: Lang = "zh") -> str:
    """Date in Asia/Shanghai: ``2026-11-21``."""
    if at_ms is None or at_ms == UNKNOWN:
        return _absent(at_ms, lang)
    return f"{_moment(at_ms) + _SHANGHAI:%Y-%m-%d}"


def utc(at_ms: int | Unknown | None, lang: Lang = "zh") -> str:
    """The same moment in UTC, shown on hover: ``2026-11-21 06:05:52 UTC``."""
    if at_ms is None or at_ms == UNKNOWN:
        return _absent(at_ms, lang)
    return f"{_moment(at_ms):%Y-%m-%d %H:%M:%S} UTC"


def elapsed(seconds: float | Unknown | None, lang: Lang = "zh") -> str:
    """Time spent: ``0:04``, ``1:54``, ``1:02:03``; whole seconds, rounded down."""
    if seconds is None or seconds == UNKNOWN or not math.isfinite(seconds):
        return _absent(seconds, lang)
    whole = max(0, math.floor(seconds))
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def duration(seconds: float | Unknown | None, lang: Lang = "zh") -> str:
    """A length of time rounded up: ``1 分 10 秒``, ``1 小时 12 分``, ``9 天``.

    Steps: 1 s; from one minute 10 s; from ten minutes 1 min; from one day 1 day.
    """
    if seconds is None or seconds == UNKNOWN or not math.isfinite(seconds):
        return _absent(seconds, lang)
    whole = max(0, math.ceil(seconds))
    for start, step in ((60, 10), (600, 60), (_DAY_S - 59, _DAY_S)):
        if whole >= start:
            whole = -(-whole // step) * step
    zh = lang == "zh"
    if whole >= _DAY_S:
        days = whole // _DAY_S
        if zh:
            return f"{days} 天"
        return "1 day" if days == 1 else f"{days:,} days"
    parts = (
        (whole // 3600, "小时" if zh else "h"),
        (whole // 60 % 60, "分" if zh else "min"),
        (whole % 60, "秒" if zh else "s"),
    )
    return " ".join(f"{n} {unit}" for n, unit in parts if n > 0) or f"0 {parts[2][1]}"


def estimate(seconds: float | Unknown | None, lang: Lang = "zh") -> str:
    """Remaining time of a job: ``约 1 分 10 秒``."""
    if seconds is None or seconds == UNKNOWN or not math.isfinite(seconds):
        return _absent(seconds, lang)
    return f"{'约' if lang == 'zh' else 'about'} {duration(seconds, lang)}"


def left(seconds: float | Unknown | None, lang: Lang = "zh") -> str:
    """Time until a limit: ``剩 9 天``; stands beside the absolute time, never instead of it."""
    if seconds is None or seconds == UNKNOWN or not math.isfinite(seconds):
        return _absent(seconds, lang)
    length = duration(seconds, lang)
    return f"剩 {length}" if lang == "zh" else f"{length} left"


def size(size_bytes: int | Unknown | None, lang: Lang = "zh") -> str:
    """Bytes in binary units: ``256 KiB``."""
    if size_bytes is None or size_bytes == UNKNOWN:
        return _absent(size_bytes, lang)
    return _scaled(size_bytes, 1024, ("B", "KiB", "MiB", "GiB", "TiB"))


def bits(size_bits: float | Unknown | None, lang: Lang = "zh") -> str:
    """Bits in decimal units: ``5.3 Mbit``."""
    if size_bits is None or size_bits == UNKNOWN or not math.isfinite(size_bits):
        return _absent(size_bits, lang)
    return _scaled(size_bits, 1000, ("bit", "kbit", "Mbit", "Gbit"))


def digest(algorithm: str, hex_digest: str | None, tail: int = 2) -> str:
    """A digest cut for reading, algorithm in front: ``SM3 e19a04c7…b2``."""
    if not hex_digest:
        return ABSENT
    short = hex_digest if len(hex_digest) <= 8 + tail else f"{hex_digest[:8]}…{hex_digest[-tail:]}"
    return f"{algorithm} {short}" if algorithm else short


def short_id(full_id: str) -> str:
    """An id after its first full mention: ``J-20261121-0042`` becomes ``…0042``."""
    _, dash, last = full_id.rpartition("-")
    return f"…{last}" if dash else full_id


def mask_phone(phone: str) -> str:
    """``199****0317``; anything that is no 11-digit number is hidden whole."""
    return f"{phone[:3]}****{phone[-4:]}" if re.fullmatch(r"[0-9]{11}", phone) else "****"


def mask_id_no(id_no: str) -> str:
    """``3101**********123X``; anything that is no 18-character number is hidden whole."""
    return f"{id_no[:4]}{'*' * 10}{id_no[-4:]}" if re.fullmatch(r"[0-9]{17}[0-9X]", id_no) else "****"


def mask_name(name: str) -> str:
    """The first character and one star, so that the length of the name is hidden too."""
    return f"{name[0]}*" if name else "*"


def mask_card(number: str) -> str:
    """The last four digits of a card."""
    return f"****{number[-4:]}" if re.fullmatch(r"[0-9]{12,19}", number) else "****"


def _absent(value: float | str | None, lang: Lang) -> str:
    if value == UNKNOWN:
        return "不可知" if lang == "zh" else "unknown"
    return ABSENT


def _fixed(value: float, digits: int) -> str:
    # Half away from zero on the exact binary value: what toFixed does in the browser.
    exact = Decimal(value).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
    text = f"{abs(exact):,}"
    return MINUS + text if exact < 0 else text


def _moment(at_ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=at_ms)


def _scaled(value: float, step: int, units: tuple[str, ...]) -> str:
    power = 0
    while power < len(units) - 1 and _one_digit(value / step**power) >= step:
        power += 1
    part = value / step**power
    text = _fixed(part, 0) if part >= 100 or power == 0 else _fixed(part, 1).removesuffix(".0")
    return f"{text} {units[power]}"


def _one_digit(value: float) -> Decimal:
    return Decimal(value).quantize(Decimal("0.1"), ROUND_HALF_UP)

"""Numbers and times as the staff read them: the table of the design, row by row."""

from __future__ import annotations

import pytest
from workbench_widgets import formats

AT_MS = 1_795_241_152_000


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (formats.count(20_000), "20,000"),
        (formats.count(0), "0"),
        (formats.count("unknown"), "不可知"),
        (formats.count("unknown", "en"), "unknown"),
        (formats.count(None), "—"),
        (formats.share(0.62), "62 %"),
        (formats.share(0.08, 1), "8.0 %"),
        (formats.quantity(88, "kbit/s"), "88 kbit/s"),
        (formats.points(0.047), "4.7 个百分点"),
        (formats.points(0.047, "en"), "4.7 percentage points"),
        (formats.change(-2_421), "−2,421"),
        (formats.change(3), "+3"),
        (formats.change(0), "0"),
        (formats.money(2_240), "¥22.40"),
        (formats.money(-5), "−¥0.05"),
        (formats.card_seconds(2_240), "2,240 卡·秒"),
        (formats.card_seconds(2_240, "en"), "2,240 card-s"),
        (formats.card_minutes(37.3), "37.3 卡·分"),
        (formats.time(AT_MS), "2026-11-21 14:05:52"),
        (formats.clock(AT_MS), "14:05:52"),
        (formats.date(AT_MS), "2026-11-21"),
        (formats.utc(AT_MS), "2026-11-21 06:05:52 UTC"),
        (formats.elapsed(4), "0:04"),
        (formats.elapsed(114.9), "1:54"),
        (formats.elapsed(3_723), "1:02:03"),
        (formats.estimate(64.2), "约 1 分 10 秒"),
        (formats.estimate(64.2, "en"), "about 1 min 10 s"),
        (formats.left(8.2 * 86_400), "剩 9 天"),
        (formats.left(8.2 * 86_400, "en"), "9 days left"),
        (formats.left(86_400, "en"), "1 day left"),
        (formats.left(4_290), "剩 1 小时 12 分"),
        (formats.duration(0), "0 秒"),
        (formats.duration(0.2), "1 秒"),
        (formats.duration(3_599), "1 小时"),
        (formats.size(262_144), "256 KiB"),
        (formats.size(1_023), "1,023 B"),
        (formats.size(1_048_575), "1 MiB"),
        (formats.bits(5_300_000), "5.3 Mbit"),
        (formats.digest("SM3", "e19a04c7" + "0" * 54 + "b2"), "SM3 e19a04c7…b2"),
        (formats.digest("SHA-256", "b41d90e7" + "0" * 52 + "5c2a", tail=4), "SHA-256 b41d90e7…5c2a"),
        (formats.short_id("J-20261121-0042"), "…0042"),
        (formats.short_id("J"), "J"),
        (formats.mask_phone("1" + "9900000317"), "199****0317"),
        (formats.mask_id_no("31010119900101" + "123X"), "3101**********123X"),
        (formats.mask_name("王小明"), "王*"),
        (formats.mask_card("6222020000001234"), "****1234"),
    ],
)
def test_each_thing_prints_as_the_design_says(shown: str, expected: str) -> None:
    assert shown == expected


@pytest.mark.parametrize("odd", ["", "199", "19900000317x", "1９900000317", "199 0000 0317"])
def test_a_phone_that_is_no_phone_is_hidden_whole(odd: str) -> None:
    assert formats.mask_phone(odd) == "****"


@pytest.mark.parametrize("seconds", [0.1, 1, 59.5, 60, 61, 599, 600, 601, 3_599, 3_601, 86_340, 86_341, 90_000, 10**6])
def test_remaining_time_is_never_told_too_short(seconds: float) -> None:
    units = {"天": 86_400, "小时": 3_600, "分": 60, "秒": 1}
    parts = formats.duration(seconds).split(" ")
    told = sum(int(n) * units[unit] for n, unit in zip(parts[::2], parts[1::2], strict=True))
    assert told >= seconds

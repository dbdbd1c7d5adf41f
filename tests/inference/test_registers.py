"""The duty roster and the risk register at a provider: who is on duty in a freeze window, what is overdue, both as files."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.host.house import House, copied, opened
from workbench.domain.party import Role
from workbench.errors import Denied, InvalidRequest, NotFound, Refused
from workbench.workspace import Workspace
from workbench_inference import operations_running
from workbench_inference.running import registers
from workbench_inference.running.registers import Turn, calendar

HOUR_MS = 3_600_000


@pytest.fixture(scope="module")
def house(made_institution: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with opened(copied(made_institution, tmp_path_factory.mktemp("provider") / "workspace"), settings={"inference.role": "provider"}) as made:
        yield made


def call(house: House, name: str, who: Role = Role.OPERATOR, /, **request: Any) -> Any:
    return house.node.gate.call(f"inference.{name}", request, house.caller(who), is_confirmed=True)


def taken(house: House, what: str) -> str:
    made = call(house, "register_export", what=what)
    parts = house.node.downloads.hand_out(house.caller(Role.OPERATOR), made.download, also=lambda tx, name: None).parts
    return b"".join(parts).decode("utf-8-sig")


def freeze(house: House, start: int, stop: int) -> None:
    house.node.store.write(
        lambda tx: tx.execute("INSERT INTO inference_freeze (from_ms, until_ms, reason, by) VALUES (?, ?, '重大活动', 't')", (start, stop)) and None
    )


def test_a_freeze_window_says_where_nobody_is_on_duty(house: House) -> None:
    now = house.node.now_ms()
    freeze(house, now + HOUR_MS, now + 10 * HOUR_MS)
    assert [(one.from_ms, one.until_ms) for one in call(house, "duty").gaps] == [(now + HOUR_MS, now + 10 * HOUR_MS)]
    assert [one.name for one in operations_running.health(house.node)] == ["duty"]
    call(house, "duty_set", person="operator", from_ms=now - HOUR_MS, until_ms=now + 4 * HOUR_MS, note="白班")
    reply = call(house, "duty_set", person="admin", from_ms=now + 5 * HOUR_MS, until_ms=now + 9 * HOUR_MS, note="夜班，电话 13812345678")
    assert [(one.from_ms, one.until_ms) for one in reply.gaps] == [(now + 4 * HOUR_MS, now + 5 * HOUR_MS), (now + 9 * HOUR_MS, now + 10 * HOUR_MS)]
    assert len(reply.on_duty) == 1 and "13812345678" not in reply.model_dump_json()
    with pytest.raises(Refused) as twice:
        call(house, "duty_set", person="admin", from_ms=now + 8 * HOUR_MS, until_ms=now + 12 * HOUR_MS)
    assert twice.value.code == "DUTY_OVERLAPS"
    call(house, "duty_set", person="compliance", from_ms=now + 4 * HOUR_MS, until_ms=now + 5 * HOUR_MS)
    assert not call(house, "duty_set", person="admin", from_ms=now + 9 * HOUR_MS, until_ms=now + 12 * HOUR_MS).gaps
    assert operations_running.health(house.node) == []
    first = call(house, "duty").turns[0]
    assert call(house, "duty_remove", duty=first.duty, reason="换人值班了").gaps[0].from_ms == now + HOUR_MS
    entries = house.entries("inference.duty_changed")
    assert [one["action"] for one in entries] == ["set", "set", "set", "set", "removed"] and "138" not in str(entries)
    for request, kind in (
        ({"person": "nobody", "from_ms": now, "until_ms": now + 1}, NotFound), ({"person": "admin", "from_ms": now, "until_ms": now}, InvalidRequest),
        ({"person": "admin", "from_ms": now, "until_ms": now + 8 * registers.DAY_MS}, InvalidRequest), ({"person": "admin", "from_ms": 5, "until_ms": 9}, InvalidRequest),
    ):  # fmt: skip
        with pytest.raises(kind):
            call(house, "duty_set", **request)
    with pytest.raises(Denied):
        call(house, "duty_set", Role.AUDITOR, person="admin", from_ms=now, until_ms=now + HOUR_MS)


def test_a_risk_has_an_owner_a_day_and_an_end_and_each_change_an_entry(house: House) -> None:
    today = house.node.today()
    call(house, "risk_add", Role.COMPLIANCE, title="机房第二路电源未演练", level="high", owner="operator", due=today.isoformat())
    reply = call(house, "risk_add", title="=备用卡只有一张", level="low", owner="admin", due="2020-01-01")
    assert [(one.title, one.is_overdue) for one in reply.risks] == [("=备用卡只有一张", True), ("机房第二路电源未演练", False)]
    assert (reply.open, reply.overdue) == (2, 1) and "risks" in {one.name for one in operations_running.health(house.node)}
    late, power = reply.risks
    assert call(house, "risk_change", risk=late.risk, due=today.isoformat(), reason="经批准延期").overdue == 0
    closed = call(house, "risk_change", risk=power.risk, state="closed", reason="演练已通过")
    assert (closed.open, [one.state for one in closed.risks]) == (1, ["open", "closed"])
    with pytest.raises(Refused) as same:
        call(house, "risk_change", risk=power.risk, state="closed", reason="再关闭一次")
    assert same.value.code == "NOTHING_CHANGED"
    call(house, "risk_change", risk=power.risk, state="watched", level="middle", reason="又停过一次电")
    assert [(one["action"], one["state"], one["level"]) for one in house.entries("inference.risk_changed")] == [
        ("added", "open", "high"), ("added", "open", "low"), ("changed", "open", "low"), ("closed", "closed", "high"), ("changed", "watched", "middle"),
    ]  # fmt: skip
    rows = list(csv.reader(io.StringIO(taken(house, "risks"))))
    assert len(rows) == 3 and {one[1] for one in rows[1:]} == {"'=备用卡只有一张", "机房第二路电源未演练"}
    with pytest.raises(NotFound):
        call(house, "risk_change", risk=99, state="closed", reason="没有这一项")
    with pytest.raises(Denied):
        call(house, "risk_add", Role.MARKETING, title="不该由我登记", level="low", owner="admin", due="2030-01-01")


def test_the_roster_is_a_calendar_that_others_read(house: House) -> None:
    text = taken(house, "duty")
    assert text.startswith("BEGIN:VCALENDAR\r\nVERSION:2.0\r\n") and text.endswith("END:VCALENDAR\r\n")
    assert text.count("BEGIN:VEVENT") == text.count("END:VEVENT") == len(call(house, "duty").turns)
    assert house.entries("inference.register_exported")[-1]["what"] == "duty"


@given(st.text(max_size=200), st.text(max_size=40))
def test_whatever_a_note_says_a_line_of_the_calendar_is_one_line_of_75_bytes(note: str, name: str) -> None:
    data = calendar([(Turn(1, "P-1", 1_790_000_000_000, 1_790_003_600_000, note, "P-2"), name)], party="broker", made_ms=0)
    lines = data.split(b"\r\n")
    assert all(len(one) <= 75 for one in lines) and b"\n" not in data.replace(b"\r\n", b"") and lines[-1] == b""
    whole = data.replace(b"\r\n ", b"").decode()  # every line decodes once it is unfolded, so no character was cut
    assert [one.partition(":")[0].partition(";")[0] for one in whole.split("\r\n")[3:-3]] == ["BEGIN", "UID", "DTSTAMP", "DTSTART", "DTEND", "SUMMARY", "DESCRIPTION"]

"""The page from replies alone: what it says in each state, and that every word of it exists in both languages."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from importlib.resources import files
from typing import Any

import pytest
from workbench_qkd.pages import drawing
from workbench_qkd.model import CUT
from workbench_qkd.pages import applications, assurance
from workbench_qkd.pages.assurance import CHECK_TONES, TONES
from workbench_qkd.pages.charges import CHARGE_ACTS, CHIPS, ROW_ACTS
from workbench_qkd.pages.forms import LINE_ACTS, SITE_ACTS
from workbench_qkd.quality import AWAY, NO_APPLICATION, NO_KEYS

from tests.qkd.conftest import Site
from tests.qkd.entity import NOW_MS, application, block
from workbench.app.parts.acting import words_of
from workbench.app.texts import texts_of
from workbench.domain.party import PartyId, Role
from workbench_widgets import DataTable, KeyLife, LineChart, LineDiagram, PoolGauge
from workbench_kme.service.checking import CAUSES
from workbench_kme.service.views import ALARM_KINDS, LINE_STATES

TEXTS = texts_of("workbench_qkd")


def t(key: str, **fields: Any) -> str:
    return TEXTS["zh"][key].format(**fields)


def status(site: Site) -> dict[str, Any]:
    return dict(site.call("qkd.status").model_dump())


def blocks(site: Site) -> dict[str, Any]:
    return dict(site.call("qkd.blocks", line="a1").model_dump())


def verdict(site: Site) -> drawing.Verdict:
    told = status(site)
    return drawing.verdict(told, told["lines"][0] if told["lines"] else None, "zh")


@pytest.mark.parametrize(
    ("changes", "state", "key"),
    [
        ({}, "info", "fine_simulated"),
        ({"state": "alarm", "eavesdropper_fraction": 0.2}, "tampered", "listened"),
        ({"state": "alarm"}, "tampered", "alarm"),
        ({"eavesdropper_fraction": 1.0, "eavesdropper_kind": "detector-blinding"}, "pending", "unseen_blinding"),
        ({"eavesdropper_fraction": 0.01, "eavesdropper_kind": "intercept-resend"}, "pending", "unseen"),
        ({"state": "peer-unreachable", "peer_reachable": False}, "failed", "peer-unreachable"),
        ({"state": "out-of-step"}, "failed", "out-of-step"),
        ({"state": "other-tenant"}, "failed", "other-tenant"),
        ({"tenant": "desk-b"}, "refused", "tenant"),
        ({"policy": "qkd-required"}, "refused", "not_counting"),
        ({"policy": "pqc-only"}, "pending", "pqc_only"),
        ({"available": 0}, "pending", "exhausted"),
        ({"available": 5}, "pending", "low"),
        ({"provenance": "device-014", "policy": "qkd-required", "preset": "", "last_qber": -1.0}, "info", "fine_device-014"),
    ],
)  # fmt: skip
def test_the_answer_says_what_is_so_and_who_acts(site: Site, changes: dict[str, Any], state: str, key: str) -> None:
    site.entity.change(**changes)
    made = verdict(site)
    assert (made.state, made.key) == (state, key)
    for lang in ("zh", "en"):
        for one in (f"answer.{made.key}", f"answer.{made.key}.why", *([f"todo.{made.todo}"] if made.todo else [])):
            assert "{" not in TEXTS[lang][one].format(**made.fields)


def test_without_an_entity_and_without_an_answer_the_page_speaks_too(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.entity.away = True
    assert verdict(site).key == "away"
    monkeypatch.setattr(site.service, "_attached", None)
    assert verdict(site).key == "none"


def test_after_the_alarm_the_page_waits_for_two_people(site: Site) -> None:
    site.entity.alarm("rate-collapse")
    site.follow()
    assert (verdict(site).key, verdict(site).todo) == ("held", "held")
    site.call("qkd.propose_resume", line="a1", reason="误码率已回到基线")
    assert verdict(site).todo == "held_asked"
    assert site.call("qkd.status", Role.COMPLIANCE).proposals[0].mine is False


def test_every_picture_takes_what_the_replies_hold(site: Site) -> None:
    site.entity.made += [block(12, state="quarantined", qber=0.08, alarm="qber-drift", keys=0, length_bits=0), block(13, state="aborted", qber=-1.0, aborted="stopped", keys=0, length_bits=0)]
    site.entity.change(eavesdropper_kind="intercept-resend", eavesdropper_fraction=0.2)
    told, found = status(site), blocks(site)
    line = told["lines"][0]
    LineDiagram(**drawing.diagram(told, line, t, "zh", own="甲证券", other="乙银行"))
    made = drawing.chart(line, found, t, "zh", now_ms=NOW_MS)
    LineChart(**made)
    assert made["panels"][0]["lines"][0]["points"][-1][1] is None, "an error rate nobody knows is a gap, not a zero"
    assert made["panels"][1]["lines"][0]["points"][-1][1] == 0, "a block without key has rate 0"
    PoolGauge(**drawing.pool(line, dict(site.call("qkd.forecast", line="a1").model_dump()), t, "zh"))
    KeyLife(**drawing.life(line, t))
    rows = drawing.block_rows(found, t, "zh", lambda prefix, code: TEXTS["zh"].get(f"{prefix}.{code}", code))
    DataTable(columns=drawing.block_columns(t), rows=rows)
    assert (rows[1]["why"], rows[0]["why"]) == (t("alarm.qber-drift"), "stopped")
    LineChart(**drawing.curves(dict(site.call("qkd.curves").model_dump()), t))


def test_the_cards_of_service_and_device_say_what_is_so_in_both_languages(site: Site) -> None:
    told = dict(site.call("qkd.quality", line="a1").model_dump())
    empty = json.dumps(assurance.quality_blocks(told, t, "zh"), ensure_ascii=False)
    assert "尚不能断定" in empty and "没有观测" in empty and "100.00 %" not in empty, "a day that nobody watched is not called available"
    assert re.search(r"有 2[345]\.\d 小时 ?没有观测", empty), "hours, where days would be rounded up"
    told |= {"coverage": 1.0, "availability": 0.99999, "p50_ms": 4.0, "p95_ms": 9.5, "mean_bps": 9e6, "least_bps": 0.0, "downtimes_left_off": 2}
    told["downtimes"] = [{"from_ms": NOW_MS, "until_ms": NOW_MS + 60_000, "cause": one, "ms": 60_000, "times": 1} for one in ("held", "no-keys", "entity-away", "origin")]
    for name, verdict in zip(range(3), ("missed", "reached", "none"), strict=True):
        told["objectives"][name] |= {"verdict": verdict}
    full = json.dumps(assurance.quality_blocks(told, t, "zh"), ensure_ascii=False)
    assert "99.99 %（目标 99.5 %，未达到）" in full and "p95 ≤ 9.5 ms（目标 50 ms，达到）" in full and "另有 3 段" in full
    for hours, failing, word in ((24, False, "check.passed"), (0, False, "check.passed"), (24, True, "check.failed")):
        site.entity.hours, site.entity.failing = hours, failing
        assert TEXTS["zh"][word] in json.dumps(assurance.check_blocks(status(site), t, "zh"), ensure_ascii=False)
    site.entity.away = True
    assert assurance.check_blocks(status(site), t, "zh") == []


def test_applications_and_bandwidth_stand_with_line_and_tenant(site: Site) -> None:
    site.entity.registered["app-a"] = application("app-a", line="a1", tenant="desk-a", left=3, burst=60, reserved=2, most_reserved=8, known_there=False)
    site.entity.registered["app-z"] = application("app-z", state="withdrawn")
    site.entity.change(tenant="desk-a")
    for lang in ("zh", "en"):
        words = lambda key, lang=lang, **fields: TEXTS[lang][key].format(**fields)  # noqa: E731
        rows = applications.application_rows(dict(site.call("qkd.applications").model_dump())["applications"], words, lang)
        DataTable(columns=applications.application_columns(words), rows=rows)
        assert [one["name"] for one in rows] == ["app-a", "sae-bank", "sae-broker", "app-z"]
        assert (rows[0]["tenant"], rows[0]["quota"], rows[0]["state"]["state"]) == ("desk-a", "3 / 60", "pending")
        assert rows[1]["tenant"] == words("tenant.none") and rows[3]["quota"] == "—"
    bandwidth = site.service.bandwidth
    bandwidth.travelled(PartyId("bank"), "a1", "desk-a", 4096)
    bandwidth.travelled(PartyId("bank"), "a1", "", 1)  # before the line had its tag
    [row] = applications.bandwidth_rows(status(site), t, "zh", lambda site: site)
    DataTable(columns=applications.bandwidth_columns(t), rows=[row])
    assert (row["line"], row["tenant"], row["sent"], row["rate"]) == ("a1", "desk-a", "4 KiB", t("bandwidth.free"))


def test_a_clock_that_was_set_back_bends_no_line(site: Site) -> None:
    site.entity.made.append(block(12, time_ms=NOW_MS - 10**9))
    line = status(site)["lines"][0]
    LineChart(**drawing.chart(line, blocks(site), t, "zh", now_ms=NOW_MS))


def test_no_line_is_drawn_over_a_time_in_which_the_line_rested(site: Site) -> None:
    last = max(one.time_ms for one in site.entity.made)
    site.entity.made += [block(12, time_ms=last + 1_800_000), block(13, time_ms=last + 1_848_000)]
    panels = drawing.chart(status(site)["lines"][0], blocks(site), t, "zh", now_ms=last + 1_900_000)["panels"]
    for points in (panel["lines"][0]["points"] for panel in panels):
        assert [at for at, value in points if value is None] == [last]
        assert [at for at, value in points if value is not None][-2:] == [last + 1_800_000, last + 1_848_000]


def test_every_key_that_the_page_asks_for_exists() -> None:
    source = "".join(path.read_text("utf-8") for path in files("workbench_qkd").joinpath("pages").iterdir() if path.name.endswith(".py"))  # type: ignore[union-attr]
    asked = set(re.findall(r'(?<![a-z_])t\("([\w.-]+)"', source)) | words_of([*LINE_ACTS, *SITE_ACTS, *CHARGE_ACTS, *ROW_ACTS])
    asked |= {f"alarm.{one}" for one in ALARM_KINDS} | {f"block.{one}" for one in drawing.BLOCK_CHIPS} | {f"session.{one}" for one in drawing.SESSION_CHIPS}
    asked |= {f"quality.{one}" for one in (*TONES, "availability", "latency", "rate") if one != "none"} | {f"quality.cause.{one}" for one in (*CUT, AWAY, NO_APPLICATION, NO_KEYS, "held", "origin")}
    asked |= {f"check.{one}" for one in CHECK_TONES} | {f"check.cause.{one}" for one in CAUSES}
    asked |= {f"charge.{one}" for one in CHIPS} | {f"charge.row.{one}" for one in ("fill", "deliver", "revoke")} | {"what.charge", "what.channel", "what.rehearsal"}
    asked |= {f"application.{one}" for one in ("registered", "withdrawn", "untold", "own")} | {"bandwidth.now", "bandwidth.waited"}
    asked |= {f"life.{one}{end}" for one in (*drawing.MAIN_STATES, *drawing.SIDE_STATES) for end in ("", ".told")}
    assert asked <= TEXTS["zh"].keys()
    assert set(LINE_STATES) >= {"alarm", "disabled", "peer-unreachable", "out-of-step", "other-tenant"}, "states that the answer names"


def test_no_text_promises_what_nobody_can(site: Site) -> None:
    for lang in ("zh", "en"):
        for key, sentence in TEXTS[lang].items():
            assert not re.search("绝对|不可破解|立即察觉|unbreakable|absolutely|unconditional", sentence), key
    assert asdict(verdict(site))["key"] == "fine_simulated"
    assert "不是量子设备" in TEXTS["zh"]["answer.fine_simulated.why"]

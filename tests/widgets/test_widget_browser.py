"""Components in a real browser: offline, in both languages and themes, with hostile text, by keyboard."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from importlib import resources
from typing import Any

import pytest
from widget_pages import WatchedPage
from workbench_widgets import (
    AnswerStrip,
    Badge,
    DataTable,
    Lanes,
    ProgressCancel,
    RuleBuilder,
    Stepper,
    TwoPersonAction,
    Waterfall,
    formats,
    rule_text,
)
from workbench_widgets.component import asset
from workbench_widgets.gallery import page
from workbench_widgets.samples import AT_MS, BROKER, COLUMNS, RULE_TREE, Sample, many_lane_rows, samples

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

Open = Callable[..., WatchedPage]
HAN = re.compile("[\u3400-\u9fff]")
PAYLOAD = "\"'><img src=x onerror=window.hit=1><script>window.hit=1</script><svg onload=window.hit=1>{{7*7}}"
# Keys whose values are not shown as they are: names of states and columns, bytes, ids the code compares.
STRUCTURE = {"state", "kind", "verdict", "theme", "lang", "join", "op", "key", "party", "from", "to", "tile", "path", "root", "leaf_hash", "body_base64", "align", "viewer", "outcome", "stopped", "record", "icon", "missing"}  # fmt: skip
SHADOWS = """() => { const found = []; const walk = (root) => { for (const el of root.querySelectorAll("*")) {
  found.push(el); if (el.shadowRoot) walk(el.shadowRoot); } }; walk(document.getElementById("all")); return found; }"""


def _texts(value: Any, change: Callable[[str], str], key: str = "") -> Any:  # Any: plain data
    if key in STRUCTURE and not isinstance(value, dict):
        return value
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_texts(item, change) for item in value]
    if isinstance(value, dict):
        return {name: _texts(item, change, name) for name, item in value.items()}
    return value


def _changed(change: Callable[[str], str]) -> list[Sample]:
    return [sample._replace(traits=_texts(sample.traits, change)) for sample in samples()]


@pytest.mark.parametrize("hash", ["", "dark,en"])
def test_every_component_draws_in_every_state_without_any_request(open_page: Open, hash: str) -> None:
    opened = open_page(page(), hash=hash, width=1400)
    opened.tab.wait_for_timeout(400)
    for width in (1400, 480):
        opened.tab.set_viewport_size({"width": width, "height": 900})
        empty = opened.tab.evaluate(
            "() => [...document.querySelectorAll('#all > div')].filter((box) => { const host = box.querySelector('.workbench-widget');"
            " return !host || host.getBoundingClientRect().height < 16; }).map((box) => box.id)"
        )
        assert empty == []
        wide = opened.tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"the page scrolls sideways at {width} px"


def test_an_english_page_has_no_chinese_of_ours(open_page: Open) -> None:
    """With data in Latin letters, every Chinese character left would be a sentence missing from the table."""
    plain = _changed(lambda text: HAN.sub("q", text))
    html = page(
        [
            one._replace(traits={**one.traits, "lang": "en"})
            for one in plain
            if one.component is not RuleBuilder or not one.traits.get("free")
        ]
    )
    opened = open_page(html)
    opened.tab.wait_for_timeout(400)
    told = opened.tab.evaluate(
        f"() => ({SHADOWS})().flatMap((el) => [el.getAttribute('aria-label'), el.title, el.placeholder,"
        " ...[...el.childNodes].filter((n) => n.nodeType === 3).map((n) => n.data)]).filter(Boolean)"
    )
    assert [text for text in told if HAN.search(re.sub("[甲乙丙丁]", "", text))] == []


def test_hostile_text_is_shown_as_text_in_every_field(open_page: Open) -> None:
    opened = open_page(page(_changed(lambda text: PAYLOAD + text)))
    opened.tab.wait_for_timeout(400)
    assert opened.tab.evaluate("window.hit") is None
    assert (
        opened.tab.evaluate(
            f"() => ({SHADOWS})().filter((el) => ['IMG', 'SCRIPT', 'IFRAME', 'OBJECT'].includes(el.tagName)).length"
        )
        == 0
    )
    silent = opened.tab.evaluate(
        "() => { const words = (root) => [...root.querySelectorAll('*')].map((el) => (el.shadowRoot ? words(el.shadowRoot) : '') +"
        " [...el.childNodes].filter((n) => n.nodeType === 3).map((n) => n.data).join('')).join(' ');"
        " return [...document.querySelectorAll('#all > div')].filter((box) => JSON.stringify(box.model.state).includes('onerror')"
        " && box.model.get('state') !== 'loading' && !words(box).includes('onerror=window.hit=1')).map((box) => box.id); }"
    )
    # A chip without a label of its own shows only our words; what its badge tells stands behind a click.
    assert [name for name in silent if not name.startswith(("StateChip", "Badge"))] == []


def test_characters_that_reorder_or_hide_text_are_shown_by_number(open_page: Open) -> None:
    rows = [{"label": "甲\u202e券证\u200b", "kept": 1, "removed": 0}]
    opened = open_page(page([Sample(Waterfall, "tricks", {"rows": rows})]))
    assert "甲⟨U+202E⟩券证⟨U+200B⟩" in opened.text("Waterfall--1")


def test_formats_of_both_sides_agree_on_the_same_values(open_page: Open) -> None:
    numbers: list[Any] = [None, "unknown", 0, 1, -1, 3, 999, 1_000, 20_000, -2_421, 1_048_575, 1_048_576, 10**12, AT_MS, 951_782_400_000, 86_340, 86_341, 86_400, 90_000]  # fmt: skip
    reals: list[Any] = [None, "unknown", 0.0, 0.005, 0.08, 0.125, 0.62, 0.6196, 0.999, 1.0, -0.0004, 2.5, 59.2, 59.9999, 60.0, 64.2, 599.5, 600.1, 3_599.1, 4_290.0, 86_340.5, 700_000.0, 5_300_000.0, 999_949.0, 999_951.0]  # fmt: skip
    calls: list[tuple[str, str, list[Any]]] = []
    for lang in ("zh", "en"):
        for name, script in (("count", "count"), ("change", "change"), ("money", "money"), ("card_seconds", "cardSeconds"), ("time", "time"), ("clock", "clock"), ("date", "date"), ("utc", "utc"), ("size", "size")):  # fmt: skip
            calls += [(name, script, [value, lang]) for value in numbers]
        for name, script in (("points", "points"), ("card_minutes", "cardMinutes"), ("elapsed", "elapsed"), ("duration", "duration"), ("estimate", "estimate"), ("left", "left"), ("bits", "bits")):  # fmt: skip
            calls += [(name, script, [value, lang]) for value in reals]
        calls += [("share", "share", [value, digits, lang]) for value in reals for digits in (0, 1, 2)]
        calls += [("quantity", "quantity", [value, "kbit/s", digits, lang]) for value in reals for digits in (0, 1)]
    calls += [("digest", "digest", ["SM3", text, tail]) for text in ("", "ab", "e19a04c7" * 8) for tail in (2, 4)]
    calls += [("short_id", "shortId", [text]) for text in ("J-20261121-0042", "J", "C-7F3A-91")]
    calls += [("mask_phone", "maskPhone", [text]) for text in ("1" + "9900000317", "199", "１９９00000317")]
    calls += [("mask_id_no", "maskIdNo", [text]) for text in ("31010119900101" + "123X", "31010119900101" + "123x")]
    calls += [("mask_name", "maskName", [text]) for text in ("王小明", "", "𠮷野")]
    calls += [("mask_card", "maskCard", [text]) for text in ("6222020000001234", "12")]
    opened = open_page(page([]))
    there = opened.tab.evaluate(
        "async ([text, calls]) => { const { formats } = await import(URL.createObjectURL(new Blob([text + '\\nexport { formats };'],"
        " { type: 'text/javascript' }))); return calls.map(([name, values]) => formats[name](...values)); }",
        [asset("formats.js"), [[script, values] for _, script, values in calls]],
    )
    here = [getattr(formats, name)(*values) for name, _, values in calls]
    assert [(call, a, b) for call, a, b in zip(calls, here, there, strict=True) if a != b] == []


def test_rule_texts_of_both_sides_agree(open_page: Open) -> None:
    texts = [
        "A",
        "C3",
        "c6",
        "007",
        "50万",
        "1,000",
        "or",
        "并且",
        "上海",
        "New York",
        'a"b',
        "2026-11-21",
        "²",
        "x.y",
        "ß",
        "-5",
        "é",
    ]
    trees = [{"join": "and", "items": [{"column": column, "op": op, "values": [text, "B"]}]} for text in texts for op in ("in", "=") for column in ("资产档", "risk_level", "城市", "持仓市值", "or", "a`b")]  # fmt: skip
    trees += [
        RULE_TREE,
        {"join": "or", "items": [RULE_TREE, {"column": "城市", "op": "=", "values": [""]}]},
        {"join": "and", "items": []},
    ]
    module = RuleBuilder.module_text("const COMPONENT = ") + "\nexport { ruleText };"
    opened = open_page(page([]))
    there = opened.tab.evaluate(
        "async ([text, trees, columns]) => { const { ruleText } = await import(URL.createObjectURL(new Blob([text],"
        " { type: 'text/javascript' }))); return trees.map((tree) => ruleText(tree, columns)); }",
        [module, trees, COLUMNS],
    )
    assert there == [rule_text(tree, COLUMNS) for tree in trees]


def test_a_skeleton_comes_after_300_ms_and_not_before(open_page: Open) -> None:
    opened = open_page(page([sample for sample in samples() if sample.component is Waterfall][:1]), frozen_clock=True)
    opened.tab.clock.pause_at(3_600_000)
    opened.assign("Waterfall--1", state="loading")
    bones = opened.box("Waterfall--1").locator(".bone:visible")
    opened.tab.clock.run_for(290)
    assert bones.count() == 0
    opened.tab.clock.run_for(20)
    assert bones.count() == 7


def test_nothing_moves_where_motion_is_not_wanted(open_page: Open) -> None:
    html = page([Sample(ProgressCancel, "running", {"phase": "比对密文", "done": 1, "total": 2})])
    durations = "() => document.querySelector('.workbench-widget').shadowRoot.querySelector('.bar > i')"
    reading = f"() => getComputedStyle(({durations})()).transitionDuration"
    assert open_page(html, reduced_motion="reduce").tab.evaluate(reading) == "0s"
    assert open_page(html, reduced_motion="no-preference").tab.evaluate(reading) == "0.15s"


def test_styles_reach_the_component_under_a_policy_without_inline_style(open_page: Open) -> None:
    policy = "default-src 'none'; script-src 'unsafe-inline' blob:; style-src 'none'"
    html = page([sample for sample in samples() if sample.component is Waterfall][:1])
    html = html.replace("<head>", f'<head><meta http-equiv="Content-Security-Policy" content="{policy}">').replace("<style>", "<!--").replace("</style>", "-->")  # fmt: skip
    opened = open_page(html)
    look = opened.tab.evaluate(
        "() => { const root = document.querySelector('.workbench-widget').shadowRoot; const bar = root.querySelectorAll('.kept')[1];"
        " return [getComputedStyle(root.querySelector('.card')).borderRadius, bar.style.width, getComputedStyle(bar).backgroundColor]; }"
    )
    assert look == ["6px", "37.06%", "rgb(23, 80, 143)"]


@pytest.mark.parametrize("hash", ["", "dark,en"])
def test_no_accessibility_rule_of_axe_is_broken(open_page: Open, hash: str) -> None:
    pytest.importorskip("axe_playwright_python", reason="axe-core comes with axe-playwright-python")
    axe = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    # The bands of the states that are not done are the same everywhere: two components stand for all.
    alike = ("loading", "empty", "refused", "failed", "tampered")
    shown = [one for one in samples() if one.title not in alike or one.component in (AnswerStrip, Waterfall)]
    opened = open_page(page(shown), hash=hash)
    opened.tab.wait_for_timeout(400)
    opened.tab.evaluate(axe)
    found = opened.tab.evaluate(
        "async () => (await axe.run('#all', { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'] })).violations"
        ".map((v) => [v.id, v.nodes.length, JSON.stringify(v.nodes[0].target), v.nodes[0].failureSummary])"
    )
    assert found == [], json.dumps(found, ensure_ascii=False, indent=1)


def test_the_waterfall_opens_its_reasons_by_keyboard(open_page: Open) -> None:
    opened = open_page(page([sample for sample in samples() if sample.component is Waterfall][:1]))
    box = opened.box("Waterfall--1")
    button = box.get_by_role("button", name="放行前复核")
    assert box.get_by_text("选择之后撤回").count() == 0
    button.focus()
    opened.tab.keyboard.press("Enter")
    box.get_by_text("选择之后撤回").wait_for()
    assert button.get_attribute("aria-expanded") == "true"
    assert opened.focused("Waterfall--1") == "放行前复核"
    assert opened.events("Waterfall--1")[-1]["payload"] == {"row": 6, "label": "放行前复核", "open": True}
    rows = box.get_by_role("row").all_inner_texts()
    assert any("−2,537" in row and "1,131" in row for row in rows)


def test_data_that_stopped_adding_up_is_not_drawn(open_page: Open) -> None:
    opened = open_page(page([sample for sample in samples() if sample.component is Waterfall][:1]))
    rows = opened.state("Waterfall--1", "rows")
    rows[1]["kept"] += 1
    opened.assign("Waterfall--1", rows=rows)
    box = opened.box("Waterfall--1")
    box.get_by_text("BAD_DATA").wait_for()
    assert box.locator("table").count() == 0


def test_a_thousand_entries_are_walked_by_keyboard_with_few_elements(open_page: Open) -> None:
    opened = open_page(page([Sample(Lanes, "long", {"lanes": [BROKER, {"party": "bank", "tile": "乙", "name": "乙银行"}, {"party": "cardnet", "tile": "丙", "name": "丙卡组织"}], "rows": many_lane_rows(1000), "height": 320})]))  # fmt: skip
    box = opened.box("Lanes--1")
    listbox = box.get_by_role("listbox")
    options = box.get_by_role("option")
    assert options.count() < 40
    listbox.focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowUp", "Enter"):
        opened.tab.keyboard.press(key)
    assert opened.events("Lanes--1")[-1] == {"name": "select", "payload": {"index": 1, "id": None}, "counter": 1}
    opened.tab.keyboard.press("End")
    last = box.get_by_role("option", name="999")
    last.wait_for()
    assert last.get_attribute("aria-posinset") == "1000"
    assert listbox.get_attribute("aria-activedescendant") == last.get_attribute("id")
    opened.tab.keyboard.press("Enter")
    assert opened.state("Lanes--1", "selected") == 999
    assert options.count() < 40


def test_the_list_says_the_same_as_the_lanes(open_page: Open) -> None:
    opened = open_page(page([sample for sample in samples() if sample.component is Lanes][:1]))
    box = opened.box("Lanes--1")
    told = [
        label.split("，")
        for label in (option.get_attribute("aria-label") for option in box.get_by_role("option").all())
    ]
    box.get_by_role("button", name="列表").click()
    box.locator("table").wait_for()
    rows = box.locator("tbody tr").all_inner_texts()
    assert len(rows) == len(told) == 15
    for parts, row in zip(told, rows, strict=True):
        assert all(part in row for part in parts), (parts, row)


def test_entries_that_are_not_here_are_asked_for_once(open_page: Open) -> None:
    rows = many_lane_rows(100)
    opened = open_page(page([Sample(Lanes, "paged", {"lanes": [BROKER], "rows": rows, "total": 5_000, "height": 320})]))
    box = opened.box("Lanes--1")
    box.get_by_role("listbox").focus()
    opened.tab.keyboard.press("End")
    opened.tab.wait_for_function("document.getElementById('Lanes--1').model.events.length > 0")
    opened.tab.keyboard.press("ArrowUp")
    opened.tab.wait_for_timeout(100)
    asked = [event["payload"] for event in opened.events("Lanes--1") if event["name"] == "page"]
    assert asked == [{"offset": 4_900, "limit": 200}]
    opened.assign("Lanes--1", rows=[{**row, "index": row["index"] + 4_900} for row in rows], offset=4_900)
    box.get_by_role("option", name="4,999").wait_for()


def test_a_page_of_a_table_that_is_not_here_is_asked_for_once(open_page: Open) -> None:
    columns = [{"key": "a", "label": "列"}]
    opened = open_page(page([Sample(DataTable, "paged", {"columns": columns, "rows": [{"a": f"行 {n}"} for n in range(5)], "page_size": 5, "total": 12})]))  # fmt: skip
    box = opened.box("DataTable--1")
    box.get_by_role("button", name="下一页").click()
    opened.tab.wait_for_function("document.getElementById('DataTable--1').model.events.length > 0")
    assert [event["payload"] for event in opened.events("DataTable--1")] == [{"page": 1, "offset": 5, "limit": 5}]
    opened.assign("DataTable--1", offset=5, rows=[{"a": f"行 {n}"} for n in range(5, 10)])
    box.get_by_text("行 7").wait_for()
    assert opened.state("DataTable--1", "page") == 1


def test_a_button_that_has_the_focus_never_becomes_that_of_another_row(open_page: Open) -> None:
    """New rows come on top while a person is about to press."""
    rows = [{"id": f"c{n}", "a": f"行 {n}", "can": ["tell"]} for n in range(3)]
    shown = {"columns": [{"key": "a", "label": "列"}], "rows": rows, "row_actions": [{"name": "tell", "label": "通知"}, {"name": "stop", "label": "停止"}]}
    opened = open_page(page([Sample(DataTable, "acts", shown), Sample(AnswerStrip, "acts", {"sentence": "一句", "actions": [{"name": "go", "label": "去"}]})]))
    row = opened.box("DataTable--1").get_by_role("row", name="行 1")
    row.get_by_role("button").focus()
    opened.assign("DataTable--1", rows=[{"id": "new", "a": "新来", "can": ["tell"]}, *rows])
    opened.box("DataTable--1").get_by_role("row", name="新来").wait_for()
    opened.tab.keyboard.press("Enter")
    assert opened.events("DataTable--1")[-1]["payload"] == {"row": 2, "id": "c1", "name": "tell"}
    opened.assign("DataTable--1", rows=[{**one, "can": ["stop"]} for one in rows])
    opened.box("DataTable--1").get_by_role("button", name="停止").first.wait_for()
    opened.tab.keyboard.press("Enter")
    opened.box("AnswerStrip--1").get_by_role("button", name="去").focus()
    opened.assign("AnswerStrip--1", actions=[{"name": "other", "label": "别的"}])
    opened.box("AnswerStrip--1").get_by_role("button", name="别的").wait_for()
    opened.tab.keyboard.press("Enter")
    assert len(opened.events("DataTable--1")) == 1 and opened.events("AnswerStrip--1") == []


def test_cancelling_says_what_stays_and_asks_once_more(open_page: Open) -> None:
    run = {
        "phase": "比对密文",
        "done": 1,
        "total": 2,
        "goes": "结果不会产生",
        "stays": "已有 17 条记录保留",
        "cancel_label": "取消求交",
    }
    opened = open_page(page([Sample(ProgressCancel, "running", run)]))
    box = opened.box("ProgressCancel--1")
    box.get_by_role("button", name="取消求交").click()
    asked = box.get_by_role("alertdialog")
    assert "取消求交？" in asked.inner_text()
    assert "结果不会产生；已有 17 条记录保留。" in asked.inner_text()
    assert opened.focused("ProgressCancel--1") == "继续运行"
    opened.tab.keyboard.press("Escape")
    asked.wait_for(state="detached")
    assert opened.events("ProgressCancel--1") == []
    assert opened.focused("ProgressCancel--1") == "取消求交"
    opened.tab.keyboard.press("Enter")
    asked.get_by_role("button", name="取消求交").click()
    assert [event["name"] for event in opened.events("ProgressCancel--1")] == ["cancel"]


def test_an_estimate_that_is_too_uncertain_is_not_shown(open_page: Open) -> None:
    run = {"phase": "比对密文", "done": 1, "total": 2, "remaining_s": 64.2}
    opened = open_page(page([Sample(ProgressCancel, "sure", {**run, "remaining_error": 0.29}), Sample(ProgressCancel, "unsure", {**run, "remaining_error": 0.3})]))  # fmt: skip
    assert "约 1 分 10 秒" in opened.text("ProgressCancel--1")
    assert "约" not in opened.text("ProgressCancel--2")


def test_the_asker_of_a_two_person_action_has_no_button_and_is_told_why(open_page: Open) -> None:
    shown = {sample.title: sample for sample in samples() if sample.component is TwoPersonAction}
    opened = open_page(page([shown["asker"], shown["confirmer"], shown["expired"]]))
    assert opened.box("TwoPersonAction--1").get_by_role("button").count() == 0
    assert "SELF_APPROVAL" in opened.text("TwoPersonAction--1")
    assert opened.box("TwoPersonAction--2").get_by_role("button").count() == 2
    assert opened.box("TwoPersonAction--3").get_by_role("button").count() == 0


def test_declining_needs_a_reason(open_page: Open) -> None:
    shown = {sample.title: sample for sample in samples() if sample.component is TwoPersonAction}
    opened = open_page(page([shown["confirmer"]]))
    box = opened.box("TwoPersonAction--1")
    box.get_by_role("button", name="拒绝恢复").click()
    decline = box.get_by_role("button", name="拒绝恢复")
    assert decline.is_disabled()
    opened.tab.keyboard.type("  镜像也不对 ")
    decline.click()
    assert opened.events("TwoPersonAction--1")[-1]["payload"] == {"reason": "镜像也不对"}


def test_switching_the_language_keeps_what_was_typed_and_where(open_page: Open) -> None:
    shown = {sample.title: sample for sample in samples() if sample.component is TwoPersonAction}
    opened = open_page(page([shown["confirmer"]]))
    box = opened.box("TwoPersonAction--1")
    box.get_by_role("button", name="拒绝恢复").click()
    opened.tab.keyboard.type("理由")
    opened.assign("TwoPersonAction--1", lang="en", theme="dark")
    box.get_by_text("Needs two people").wait_for()
    opened.tab.keyboard.type("二")
    assert box.locator("textarea").input_value() == "理由二"


def test_a_verdict_of_the_node_does_not_disturb_typing(open_page: Open) -> None:
    columns = [{"name": "城市", "kind": "text"}]
    tree = {"join": "and", "items": [{"column": "城市", "op": "=", "values": ["上海"]}]}
    opened = open_page(page([Sample(RuleBuilder, "typing", {"columns": columns, "tree": tree})]))
    field = opened.box("RuleBuilder--1").get_by_label("值", exact=True)
    field.focus()
    field.fill("北")
    opened.assign("RuleBuilder--1", verdict={"state": "done", "sentence": "7 位符合"})
    opened.box("RuleBuilder--1").get_by_text("7 位符合").wait_for()
    assert field.input_value() == "北"
    opened.tab.keyboard.press("Tab")
    opened.tab.wait_for_function("document.getElementById('RuleBuilder--1').model.get('rule') === '城市 = 北'")


def test_a_rule_is_built_with_the_keyboard_alone(open_page: Open) -> None:
    opened = open_page(page([Sample(RuleBuilder, "new", {"columns": COLUMNS})]))
    box = opened.box("RuleBuilder--1")
    box.get_by_role("button", name="加条件").focus()
    opened.tab.keyboard.press("Enter")
    box.get_by_role("checkbox", name="B").focus()
    opened.tab.keyboard.press("Space")
    box.get_by_role("checkbox", name="A", exact=True).focus()
    opened.tab.keyboard.press("Space")
    opened.tab.wait_for_function("document.getElementById('RuleBuilder--1').model.get('rule') === '资产档 in (A,B)'")
    assert opened.events("RuleBuilder--1")[-1]["payload"] == {"rule": "资产档 in (A,B)", "complete": True}


def test_done_steps_open_and_the_present_one_is_marked(open_page: Open) -> None:
    opened = open_page(
        page([Sample(Stepper, "run", {"steps": ["名单", "质量", "运行"], "current": 2, "locked_before": 2})])
    )
    box = opened.box("Stepper--1")
    assert "运行" in box.locator("[aria-current=step]").inner_text()
    box.get_by_role("button", name="质量").click()
    assert opened.events("Stepper--1")[-1]["payload"] == {"step": 1}
    assert box.get_by_role("button").count() == 2


def test_a_badge_explains_itself_and_cannot_be_closed(open_page: Open) -> None:
    opened = open_page(page([Sample(Badge, "synthetic", {"kind": "synthetic", "since_ms": AT_MS, "decided_by": "甲证券 管理员 01"})]))  # fmt: skip
    box = opened.box("Badge--1")
    assert box.get_by_role("button").count() == 1
    box.get_by_role("button", name="合成数据").click()
    assert all(
        part in opened.text("Badge--1") for part in ("不对应任何真实的人", "2026-11-21 14:05:52", "甲证券 管理员 01")
    )
    opened.tab.keyboard.press("Escape")
    box.locator(".popover").wait_for(state="detached")
    box.get_by_role("button", name="合成数据").wait_for()


def test_a_page_in_the_dark_of_jupyterlab_turns_the_components_dark(open_page: Open) -> None:
    opened = open_page(page([sample for sample in samples() if sample.component is Waterfall][:1]))
    opened.tab.evaluate("document.body.dataset.jpThemeLight = 'false'")
    opened.tab.wait_for_function("document.querySelector('.workbench-widget').dataset.theme === 'dark'")
    opened.assign("Waterfall--1", theme="light")
    opened.tab.wait_for_function("document.querySelector('.workbench-widget').dataset.theme === 'light'")


def test_a_closed_view_leaves_nothing_behind(open_page: Open) -> None:
    opened = open_page(page([sample for sample in samples() if sample.component is Waterfall][:1]))
    left = opened.tab.evaluate(
        "() => { const { model } = document.getElementById('Waterfall--1'); model.stop();"
        " return [document.querySelectorAll('.workbench-widget').length, [...model.calls.values()].reduce((n, s) => n + s.size, 0)]; }"
    )
    assert left == [0, 0]


def test_typing_in_a_component_is_not_taken_for_commands_of_jupyterlab(open_page: Open) -> None:
    """Lumino skips keys under its mark; it listens on the document in the capture phase, so the mark must be there by then."""
    opened = open_page(page([Sample(RuleBuilder, "text", {"columns": COLUMNS, "free": True})]))
    opened.tab.evaluate(
        "() => { window.seen = []; document.addEventListener('keydown', (e) =>"
        " window.seen.push([e.key, Boolean(e.target.closest('[data-lm-suppress-shortcuts]'))]), true); }"
    )
    opened.box("RuleBuilder--1").locator("textarea").focus()
    for key in ("d", "Enter", "Control+s"):
        opened.tab.keyboard.press(key)
    assert [seen for seen in opened.tab.evaluate("window.seen") if seen[0] != "Control"] == [
        ["d", True],
        ["Enter", True],
        ["s", False],
    ]

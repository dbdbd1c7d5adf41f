"""An intersection as people do it: marketing proposes in six steps, the partner's approver decides, the list is taken."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from lab_fixtures import Institutions, wait_for
from workbench.domain.party import Role

Window = Callable[..., Any]
RUN_MS = 120_000
WAIT_S = 30


def strip(frame: Any) -> Any:
    """The sentence of the answer strip, the first heading of the page's content."""
    return frame.locator("h2[data-focus=strip]").first


def test_a_list_is_compared_from_the_wizard_to_the_saved_file(
    window: Window, institutions: Institutions, nothing_waits: None
) -> None:
    lab = window()
    lab.sign_in(Role.MARKETING)
    frame = lab.open("intersection")
    frame.get_by_role("button", name="新建求交").click()
    frame.get_by_label("名单", exact=True).select_option(index=1)
    frame.locator("h2:has-text('位客户')").first.wait_for()
    lab.shot("wizard-1-list")
    for number, awaited in enumerate(("行全部可用", "位此刻可用于", "可以向"), start=2):
        frame.get_by_role("button", name="下一步").click()
        frame.locator(f"h2:has-text('{awaited}')").first.wait_for()
        # After an action the keyboard is at the changed answer.
        wait_for(lambda: frame.locator("body").evaluate(FOCUSED) == "strip", WAIT_S)
        lab.shot(f"wizard-{number}")
    frame.get_by_text(re.compile(r"已存草稿 \d\d:\d\d")).wait_for()
    for said in ("它保证不了什么", "合成数据"):
        frame.get_by_text(said).first.wait_for(state="attached")
    frame.get_by_role("button", name="提议求交").click()
    frame.locator("h2:has-text('批准，可以离开')").first.wait_for()
    lab.shot("wizard-5-waiting")

    theirs = window("bank")
    theirs.sign_in(Role.APPROVER)
    inbox = theirs.open("inbox")
    inbox.get_by_role("button", name="批准，去输密码").wait_for()
    theirs.shot("inbox")
    with theirs.context.expect_page() as opened:
        inbox.get_by_role("button", name="批准，去输密码").click()
    asked = opened.value.locator("form")
    asked.get_by_text("甲证券").first.wait_for()
    assert "{" not in asked.inner_text() and "最少人数" in asked.inner_text(), "people confirm words, not a request"
    theirs.confirm(opened.value, Role.APPROVER)

    frame.locator("h2:has-text('位客户可用')").first.wait_for(timeout=RUN_MS)
    frame.get_by_text("凭证已核").first.wait_for()
    lab.shot("result")
    lab.page.locator(".lm-TabBar-tabLabel:has-text('已放行')").first.wait_for()
    body = frame.locator("body").evaluate(TEXT)
    assert not re.search(r"(?<!\d)1\d{10}(?!\d)", body), "no phone number stands on the page in full"

    with lab.context.expect_page() as opened:
        frame.get_by_role("button", name="导出目标名单").click()
    with lab.page.expect_download(timeout=RUN_MS) as saved:
        lab.confirm(opened.value, Role.MARKETING)
    assert saved.value.suggested_filename.startswith("J-") and saved.value.suggested_filename.endswith(".csv")
    assert saved.value.path().read_bytes().startswith(b"\xef\xbb\xbfcustomer_id,phone")
    with lab.page.expect_download() as receipt:
        frame.get_by_role("button", name="取回收据").click()
    assert receipt.value.suggested_filename.startswith("R-")
    frame.get_by_role("button", name="全部求交").click()
    a_copy_waits_as_a_draft_and_its_side_column_is_a_drawer_on_a_narrow_tab(lab, frame)
    lab.nothing_left_the_machine()
    theirs.nothing_left_the_machine()


def a_copy_waits_as_a_draft_and_its_side_column_is_a_drawer_on_a_narrow_tab(lab: Any, frame: Any) -> None:
    """From a row of the history: a copy, warned of; left and taken up again; read by keyboard in 640 px."""
    frame.get_by_role("button", name="复制为新").first.click()
    frame.locator("h2:has-text('几乎和以前用过的一样')").first.wait_for()
    frame.get_by_role("button", name="上一步").click()
    frame.get_by_role("button", name="上一步").click()
    frame.get_by_role("button", name="全部求交").click()
    frame.locator("h2:has-text('没有提议的草稿')").wait_for(timeout=RUN_MS)
    lab.shot("history-with-draft")
    lab.page.set_viewport_size({"width": 960, "height": 900})
    frame.get_by_role("button", name="继续", exact=True).first.click()
    for awaited in ("行全部可用", "位此刻可用于"):
        frame.get_by_role("button", name="下一步").click()
        frame.locator(f"h2:has-text('{awaited}')").first.wait_for()
    opener = frame.get_by_role("button", name="授权覆盖与原因", exact=False).first
    opener.focus()
    lab.page.keyboard.press("Enter")
    frame.get_by_role("dialog").get_by_text("不能用的原因").wait_for()
    lab.shot("drawer")
    lab.page.keyboard.press("Escape")
    frame.get_by_role("dialog").wait_for(state="detached")
    # The keyboard is back at the button, and nothing is cut off.
    wait_for(lambda: frame.locator("body").evaluate(FOCUSED_TEXT).startswith("授权覆盖"), WAIT_S)
    wait_for(lambda: frame.locator("body").evaluate("() => document.documentElement.scrollWidth <= window.innerWidth"), WAIT_S)
    frame.get_by_role("button", name="丢弃草稿").click()
    frame.get_by_role("button", name="确定丢弃，不能找回").click()
    frame.locator("h2:has-text('没有提议的草稿')").wait_for(state="hidden")


def test_a_bad_file_is_named_and_the_page_stays_usable_on_a_narrow_tab(window: Window, tmp_path: Any) -> None:
    bad = tmp_path / "七月名单.csv"
    bad.write_bytes("\n".join(["客户号,手机号", *(f"C{n},1.38E+10" for n in range(40))]).encode("gb18030"))
    lab = window()
    lab.sign_in(Role.MARKETING)
    lab.page.set_viewport_size({"width": 900, "height": 900})
    frame = lab.open("intersection")
    frame.get_by_role("button", name="新建求交").click()
    frame.locator("input[type=file]").set_input_files(bad)
    frame.locator("h2:has-text('七月名单.csv')").first.wait_for()
    frame.get_by_role("button", name="下一步").click()
    frame.get_by_role("button", name="导入名单").click()
    frame.locator(".band.refused:has-text('七月名单.csv')").wait_for(timeout=RUN_MS)
    frame.get_by_text("本次未导入任何一行").first.wait_for()
    lab.shot("refused-file-narrow")
    wait_for(lambda: frame.locator("body").evaluate("() => document.documentElement.scrollWidth <= window.innerWidth"), WAIT_S)  # nothing is cut off
    lab.page.click(".wb-status:has-text('English')")
    frame.get_by_role("button", name="Import list").wait_for(state="hidden")
    frame.get_by_role("button", name="Back").click()
    frame.get_by_text("Bring a new list").wait_for()
    lab.page.click(".wb-status:has-text('中文')")
    lab.nothing_left_the_machine()


DEEP = """(visit) => { const walk = (root) => { for (const node of root.querySelectorAll('*')) { visit(node); if (node.shadowRoot) walk(node.shadowRoot); } }; walk(document); }"""
FOCUSED = """() => { let at = document.activeElement; while (at?.shadowRoot?.activeElement) at = at.shadowRoot.activeElement; return at?.dataset?.focus || ''; }"""
TEXT = f"""() => {{ let text = ''; ({DEEP})((node) => {{ for (const child of node.childNodes) if (child.nodeType === 3) text += child.data + '\\n'; }}); return text; }}"""
FOCUSED_TEXT = """() => { let at = document.activeElement; while (at?.shadowRoot?.activeElement) at = at.shadowRoot.activeElement; return at?.textContent || ''; }"""

"""axe-core over every page in both themes, run from this machine's copy; and the way through a page by keyboard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from lab_fixtures import Institutions, wait_for
from workbench.domain.party import Role

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")

Window = Callable[..., Any]
RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}}
PAGES = (
    ("intersection", Role.MARKETING, ""), ("inbox", Role.APPROVER, ""), ("evidence", Role.COMPLIANCE, ""), ("consent", Role.COMPLIANCE, ""),
    ("consent", Role.COMPLIANCE, "capture"), ("rights", Role.COMPLIANCE, ""), ("assessment", Role.COMPLIANCE, ""),
)  # fmt: skip

FORMS = {
    "consentcapture": {"zh": ["征求同意"], "en": ["Capture a signed form"]}, "rights": {"zh": ["受理权利请求"], "en": ["Receive a rights request"]},
    "assessment": {"zh": ["起草影响评估"], "en": ["Draft an assessment"]},
}  # fmt: skip
"""Forms that are opened before axe looks, by page and language."""

ONE_LOOK = {"consentcapture": "dark", "assessment": "light"}
"""Pages made of the parts of another one, looked at in one theme."""
LOOKS = [
    (name, role, section, theme, lang) for name, role, section in PAGES for theme, lang in (("light", "zh"), ("dark", "en"))
    if ONE_LOOK.get(name + section, theme) == theme
]  # fmt: skip


def found_by_axe(page: Any) -> list[str]:
    """Rules broken, each with the first element, in all frames and shadow trees of the page."""
    results = axe.Axe().run(page, options=RULES)
    return [
        f"{one['id']} ({one['impact']}): {one['nodes'][0]['target']} {one['nodes'][0]['html'][:160]}"
        for one in results.response["violations"]
    ]


@pytest.mark.parametrize(("name", "role", "section", "theme", "lang"), LOOKS)
def test_axe_finds_nothing_on_a_page(window: Window, institutions: Institutions, name: str, role: Role, section: str, theme: str, lang: str) -> None:
    job = institutions.released_job()
    lab = window()
    lab.sign_in(role)
    page = lab.context.new_page()
    page.goto(f"{institutions.lab().base_url}workbench/app/page?name={name}&theme={theme}&lang={lang}&job={job}&section={section}")
    page.wait_for_selector("body[data-ready]", timeout=30_000)
    page.wait_for_timeout(2500)
    for act in FORMS.get(name + section, {}).get(lang, ()):
        page.get_by_role("button", name=act, exact=True).first.click()
        page.wait_for_timeout(700)
    page.screenshot(path=lab.shots / f"{name}{section}-{lang}-{theme}-page.png", full_page=True)
    assert found_by_axe(page) == []


def test_axe_finds_nothing_in_the_sidebar(window: Window) -> None:
    lab = window()
    lab.sign_in(Role.MARKETING)
    lab.page.wait_for_selector(".wb-node")
    results = axe.Axe().run(lab.page, context=".wb-side", options=RULES)
    assert [one["id"] for one in results.response["violations"]] == []


def test_a_page_is_opened_by_keyboard_alone(window: Window) -> None:
    lab = window()
    lab.sign_in(Role.MARKETING)
    lab.page.focus("[data-key=page-intersection]")
    lab.page.keyboard.press("Enter")
    frame = lab.frame()
    first = frame.locator("button:visible, input:visible, select:visible").first
    first.focus()
    lab.page.keyboard.press("Tab")
    focused = "() => { let e = document.activeElement; while (e?.shadowRoot?.activeElement) e = e.shadowRoot.activeElement; return e?.tagName }"
    assert wait_for(lambda: frame.locator("body").evaluate(focused) in ("BUTTON", "INPUT", "SELECT", "A", "TABLE", "DIV"), 5)

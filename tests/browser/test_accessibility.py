"""axe-core over every page in both themes, run from this machine's copy; and the way through a page by keyboard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from lab_fixtures import Institutions, wait_for
from workbench.app.texts import texts_of
from workbench.domain.party import Role

from tests.browser.conftest import settled

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")

Window = Callable[..., Any]
RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}}
PAGES = (("intersection", Role.MARKETING), ("inbox", Role.APPROVER), ("evidence", Role.COMPLIANCE), ("consent", Role.COMPLIANCE))
LOOKS = [(name, role, theme, lang) for name, role in PAGES for theme, lang in (("light", "zh"), ("dark", "en"))]
SECTIONS: dict[tuple[str, str, str], dict[str, str]] = {
    ("consent", "dark", "en"): {
        "customer": "", "capture": "act.consent.forms_import", "receipts": "act.consent.receipts_issue", "withdrawals": "", "stops": "",
        "erasures": "act.customers.erase", "notices": "notice.sample",
    },
    ("rights", "light", "zh"): {"requests": "act.rights.receive", "complaints": "act.complaints.note", "tasks": ""},
    ("assessment", "dark", "en"): {"assessments": "act.assessment.draft", "records": "act.assessment.export_records", "breaches": "act.breach.open"},
}  # fmt: skip
"""Page, theme and language -> sections, each with the button that opens its form before axe looks. They are made of the same parts."""


def found_by_axe(page: Any) -> list[str]:
    """Rules broken, each with the first element, in all frames and shadow trees of the page."""
    results = axe.Axe().run(page, options=RULES)
    return [
        f"{one['id']} ({one['impact']}): {one['nodes'][0]['target']} {one['nodes'][0]['html'][:160]}"
        for one in results.response["violations"]
    ]


@pytest.mark.parametrize(("name", "role", "theme", "lang"), LOOKS)
def test_axe_finds_nothing_on_a_page(window: Window, institutions: Institutions, name: str, role: Role, theme: str, lang: str) -> None:
    job = institutions.released_job()
    lab = window()
    lab.sign_in(role)
    page = lab.context.new_page()
    page.goto(f"{institutions.lab().base_url}workbench/app/page?name={name}&theme={theme}&lang={lang}&job={job}")
    lab.see(page, "body[data-ready]")
    settled(page)
    page.screenshot(path=lab.shots / f"{name}-{lang}-{theme}-page.png", full_page=True)
    assert found_by_axe(page) == []


def test_axe_finds_nothing_in_any_section_with_its_form_open(window: Window, institutions: Institutions) -> None:
    lab = window()
    lab.sign_in(Role.COMPLIANCE)
    page = lab.context.new_page()
    for (name, theme, lang), sections in SECTIONS.items():
        words = texts_of(f"workbench_{name}")[lang]
        page.goto(f"{institutions.lab().base_url}workbench/app/page?name={name}&theme={theme}&lang={lang}&section={next(iter(sections))}")
        lab.see(page, "body[data-ready]")
        for section, form in sections.items():
            page.get_by_role("button", name=words[f"section.{section}"], exact=True).first.click()
            if form:
                page.get_by_role("button", name=words[form], exact=True).first.click()
            settled(page)
            page.screenshot(path=lab.shots / f"{name}-{section}-{lang}-{theme}.png", full_page=True)
            assert found_by_axe(page) == [], f"{name}, {section}"
            wait_for(lambda: page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), 30)
    page.locator("body").press("?")
    page.wait_for_selector("details[open] dt:has-text('g r')")
    assert page.locator("details[open] dt:has-text('g s')").count() == 0, "pages of other roles are not named"


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
    focused = "() => { let e = document.activeElement; while (e?.shadowRoot?.activeElement) e = e.shadowRoot.activeElement; return e?.tagName }"

    def tabbed() -> bool:
        """Once more where the page drew itself anew between the two keys."""
        first.focus()
        lab.page.keyboard.press("Tab")
        return frame.locator("body").evaluate(focused) in ("BUTTON", "INPUT", "SELECT", "A", "TABLE", "DIV")

    wait_for(tabbed, 30)

"""Signing in from JupyterLab: the node's own page, a code that only this Lab can use, tickets that stay in memory."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from lab_fixtures import ANSWER_S, Browser, Institutions
from workbench.client.connect import connect
from workbench.domain.party import Role
from workbench.errors import Denied, SignInRequired


@pytest.fixture
def browser(institutions: Institutions) -> Browser:
    made = Browser(institutions).let_in()
    made.sign_out()
    return made


def session_files(browser: Browser) -> list[Path]:
    return list((browser.lab.folder / "state").glob("session-*.json"))


def test_a_person_signs_in_on_the_nodes_page_and_the_lab_shows_who_it_is(browser: Browser) -> None:
    assert browser.status() == {"signed_in": False, "node": "ok"}
    status = browser.sign_in(Role.MARKETING)
    assert status["signed_in"] and status["me"]["me"]["person"] == "marketing"
    assert {"intersection", "evidence"} <= {page["name"] for page in status["pages"]["pages"]}
    assert {node["party"] for node in status["status"]["nodes"]} == {"broker", "bank", "cardnet"}


def test_status_and_everything_else_the_browser_gets_holds_no_ticket(browser: Browser) -> None:
    browser.sign_in(Role.MARKETING)
    ticket = json.loads(session_files(browser)[0].read_text("utf-8"))["ticket"]
    seen = json.dumps(browser.status()) + browser.page("intersection").text + str(dict(browser.http.cookies))
    assert ticket not in seen
    assert "ticket" not in json.dumps(browser.status())


def test_kernels_get_a_weak_token_in_a_file_that_only_its_owner_reads(browser: Browser) -> None:
    browser.sign_in(Role.APPROVER)
    [path] = session_files(browser)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    wb = connect(path)
    assert wb.me.kernel and wb.me.me.person == "approver"
    with pytest.raises(Denied) as refused:
        wb.client.call("intersection.approve", job="J-none")
    assert refused.value.code == "KERNEL_TOKEN"
    with pytest.raises(Denied):
        wb.client.prepare_action("intersection.approve", job="J-none")


def test_a_session_file_that_others_can_read_is_not_used(browser: Browser, tmp_path: Path) -> None:
    browser.sign_in(Role.MARKETING)
    copy = tmp_path / "session.json"
    copy.write_bytes(session_files(browser)[0].read_bytes())
    os.chmod(copy, 0o644)
    with pytest.raises(Denied) as refused:
        connect(copy)
    assert refused.value.code == "SESSION_FILE_OPEN"


def test_signing_out_removes_the_file_and_ends_the_tickets_at_the_node(browser: Browser) -> None:
    browser.sign_in(Role.MARKETING)
    [path] = session_files(browser)
    wb = connect(path)
    ticket = json.loads(path.read_text("utf-8"))["ticket"]
    assert browser.sign_out().status_code == 200
    assert session_files(browser) == []
    with pytest.raises(SignInRequired):
        wb.jobs()
    answer = httpx.post(
        browser.institutions.node_url() + "/api/v1/operations/people.me", json={}, trust_env=False, timeout=ANSWER_S,
        headers={"Authorization": f"Bearer {ticket}"},
    )  # fmt: skip
    assert answer.status_code == 401


def test_another_person_may_sign_in_after_the_first_and_sees_their_own_pages(browser: Browser) -> None:
    browser.sign_in(Role.MARKETING)
    browser.sign_out()
    status = browser.sign_in(Role.OPERATOR)
    assert status["me"]["me"]["person"] == "operator"
    names = {page["name"] for page in status["pages"]["pages"]}
    assert "evidence" in names and "intersection" not in names


def test_signing_in_again_ends_the_tickets_of_the_person_before(browser: Browser) -> None:
    browser.sign_in(Role.MARKETING)
    before = json.loads(session_files(browser)[0].read_text("utf-8"))["ticket"]
    browser.sign_in(Role.COMPLIANCE)
    [path] = session_files(browser)
    assert json.loads(path.read_text("utf-8"))["ticket"] != before
    assert connect(path).me.me.person == "compliance"


def test_signing_out_needs_the_xsrf_token(browser: Browser) -> None:
    browser.sign_in(Role.MARKETING)
    assert browser.http.post("workbench/signout", json={}).status_code == 403
    assert browser.status()["signed_in"]


def test_a_callback_that_this_lab_did_not_begin_signs_nobody_in(browser: Browser) -> None:
    """Against login by a forged request: the code of somebody else's sign-in must not be taken."""
    back = browser.fill(browser.node_form(), Role.MARKETING)
    code = parse_qs(urlsplit(back.headers["Location"]).query)["code"][0]
    assert browser.http.get("workbench/callback", params={"code": code, "state": "made-up"}).status_code == 401
    assert not browser.status()["signed_in"]


def test_a_code_is_used_once(browser: Browser) -> None:
    back = browser.fill(browser.node_form(), Role.MARKETING)
    assert browser.http.get(back.headers["Location"]).status_code == 200
    assert browser.http.get(back.headers["Location"]).status_code == 401


def test_a_stolen_code_is_worth_nothing_without_the_verifier(browser: Browser) -> None:
    back = browser.fill(browser.node_form(), Role.MARKETING)
    code = parse_qs(urlsplit(back.headers["Location"]).query)["code"][0]
    answer = httpx.post(
        browser.institutions.node_url() + "/api/v1/session/exchange", trust_env=False, timeout=ANSWER_S,
        json={"code": code, "code_verifier": "guessed"},
    )  # fmt: skip
    assert answer.status_code == 401
    assert browser.http.get(back.headers["Location"]).status_code == 401, "a wrong verifier spends the code"


@pytest.mark.parametrize("change", ["/more", "?next=/", ".example.org"])
def test_the_node_sends_codes_to_exactly_the_registered_lab(browser: Browser, change: str) -> None:
    form = browser.node_form()
    redirect = parse_qs(urlsplit(str(form.url)).query)["redirect_uri"][0]
    answer = httpx.get(
        browser.institutions.node_url() + "/signin", params={"redirect_uri": redirect + change}, trust_env=False, timeout=ANSWER_S
    )
    assert answer.status_code == 422
    assert answer.json()["code"] == "WRONG_REDIRECT"


def test_a_wrong_password_stays_on_the_nodes_page_and_shows_no_more_than_that(browser: Browser) -> None:
    form = browser.node_form()
    answer = httpx.post(
        browser.institutions.node_url() + "/signin", trust_env=False, timeout=ANSWER_S, headers={"Origin": browser.institutions.node_url()},
        data={"person": "nobody", "password": "wrong", "redirect_uri": "", "state": ""},
    )  # fmt: skip
    assert form.status_code == 200
    assert answer.status_code == 401 and "SIGN_IN_FAILED" in answer.text
    assert not browser.status()["signed_in"]


def test_polling_the_status_leaves_no_evidence(browser: Browser) -> None:
    browser.sign_in(Role.MARKETING)
    with browser.institutions.client("broker", Role.OPERATOR) as client:
        before = client.evidence.timeline(limit=1000).entries[-1].index
        for _ in range(5):
            browser.status()
        assert client.evidence.timeline(limit=1000).entries[-1].index == before

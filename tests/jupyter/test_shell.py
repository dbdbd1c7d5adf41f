"""What stands in a page's place: each state of the shell against real nodes, without a browser."""

from __future__ import annotations

import asyncio
import json
import types
from collections.abc import Callable
from typing import Any

import panel as pn
import pytest
from lab_fixtures import Institutions
from workbench.app.page import PageContext
from workbench.app.shell import App, Shell
from workbench.app.signins import SignIns
from workbench.contracts import Dashboard
from workbench.domain.party import Role
from workbench.errors import Refused
from workbench.hookspecs import hookimpl
from workbench.loading import PluginSet, load_plugins

REFERENCE = "r"


def plugin_with(view: Callable[[PageContext], Any], *, name: str = "intersection") -> PluginSet:
    """A plugin whose page has the name of one that the node knows, with a view of this test."""
    module = types.ModuleType("workbench.app")
    page = Dashboard(name, "求交", "Intersection", "page", frozenset({"marketing"}), 1, view)
    module.WORKBENCH_API = 1  # type: ignore[attr-defined]
    module.workbench_dashboards = hookimpl(lambda: [page])  # type: ignore[attr-defined]
    module.__version__ = "1"  # type: ignore[attr-defined]
    loaded = load_plugins([("mine", lambda: module)])
    assert loaded.plugins[0].state == "ok", loaded.plugins
    return loaded


def opened(
    institutions: Institutions,
    view: Callable[[PageContext], Any],
    *,
    role: Role = Role.MARKETING,
    name: str = "intersection",
    node_url: str = "",
    lang: str = "zh",
    signed_in: bool = True,
) -> Shell:
    sign_ins = SignIns()
    if signed_in:
        sign_ins.seen(REFERENCE, institutions.client("broker", role, audience="page").ticket())
    app = App(
        node_url=node_url or institutions.node_url(), prefix="/workbench/app", sign_ins=sign_ins, plugins=plugin_with(view)
    )
    shell = Shell(app, reference=REFERENCE, name=name, lang=lang, theme="light", params={"job": "J-1"})
    asyncio.run(shell.open())
    assert shell.bridge.ready
    return shell


def notices(shell: Shell) -> list[dict[str, Any]]:
    return list(json.loads(shell.bridge.notices))


def hello(page: PageContext) -> pn.viewable.Viewable:
    return pn.pane.Str(page.me["me"]["display_name"] + page.params["job"])


async def hello_later(page: PageContext) -> pn.viewable.Viewable:
    jobs = await page.run(page.client.intersection.jobs)
    return pn.pane.Str(str(len(jobs.jobs)))


@pytest.mark.parametrize("view", [hello, hello_later])
def test_a_page_is_shown_to_the_person_of_the_ticket(institutions: Institutions, view: Callable[..., Any]) -> None:
    shell = opened(institutions, view)
    assert notices(shell) == [] and shell.bridge.is_live
    [content] = shell.body
    assert view is hello_later or content.object == "营销 01J-1"
    assert json.loads(shell.bridge.tab)["title"] == "求交"


def test_the_tab_follows_the_language_until_the_page_names_it(institutions: Institutions) -> None:
    shell = opened(institutions, hello)
    shell.bridge.lang = "en"
    assert json.loads(shell.bridge.tab) == {"title": "Intersection", "running": False}
    assert shell.page is not None and shell.page.lang == "en"
    shell.page.notify_lab(title="…0043　62 %", running=True)
    shell.bridge.lang = "zh"
    assert json.loads(shell.bridge.tab) == {"title": "…0043　62 %", "running": True}
    shell.page.notify_lab()
    assert json.loads(shell.bridge.tab) == {"title": "求交", "running": False}


def test_without_a_sign_in_the_page_says_where_to_sign_in(institutions: Institutions) -> None:
    shell = opened(institutions, hello, signed_in=False)
    [notice] = notices(shell)
    assert notice["kind"] == "signin" and "登录" in notice["title"]
    assert list(shell.body) == [] and not shell.bridge.is_live
    shell.bridge.lang = "en"
    assert "Sign in" in notices(shell)[0]["title"]


def test_a_page_of_another_role_is_refused_with_the_nodes_words_and_code(institutions: Institutions) -> None:
    shell = opened(institutions, hello, role=Role.OPERATOR)
    [notice] = notices(shell)
    assert (notice["kind"], notice["state"], notice["code"]) == ("denied", "refused", "DENIED")
    assert notice["lines"] == ["运维岗不能打开「求交」页。这次访问已记录。需要时找管理员"]
    assert list(shell.body) == []


def test_a_page_that_does_not_exist_is_said_so(institutions: Institutions) -> None:
    [notice] = notices(opened(institutions, hello, name="no-such-page"))
    assert notice["code"] == "UNKNOWN_PAGE"


def test_a_node_that_is_away_is_said_so(institutions: Institutions) -> None:
    [notice] = notices(opened(institutions, hello, node_url="http://127.0.0.1:9"))
    assert (notice["kind"], notice["state"]) == ("offline", "failed")


def test_a_faulty_page_shows_its_type_and_plugin_and_no_value(institutions: Institutions) -> None:
    def faulty(page: PageContext) -> pn.viewable.Viewable:
        raise KeyError("19900000317")

    shell = opened(institutions, faulty)
    [notice] = notices(shell)
    assert notice["code"] == "INTERNAL" and "KeyError" in notice["lines"][0] and "psi" in notice["lines"][0]
    assert "19900000317" not in shell.bridge.notices


def test_what_a_view_is_refused_is_shown_as_a_refusal(institutions: Institutions) -> None:
    def refused(page: PageContext) -> pn.viewable.Viewable:
        raise Refused("不行，找运维", "no, ask operations", code="NO_LISTS")

    [notice] = notices(opened(institutions, refused))
    assert (notice["state"], notice["code"], notice["lines"]) == ("refused", "NO_LISTS", ["不行，找运维"])


def test_an_error_of_an_open_page_is_a_notice_beside_what_is_shown(institutions: Institutions) -> None:
    """Form content must survive a refusal, a fault, a node that goes away, and the end of the session."""
    shell = opened(institutions, hello)
    page = shell.page
    assert page is not None
    page.report(Refused("不行", "no", code="NO"))
    page.report(ZeroDivisionError())
    assert [one["kind"] for one in notices(shell)] == ["error", "faulty"]
    asyncio.run(page.action(lambda: None)())
    assert notices(shell) == []
    shell._app.sign_ins.end(REFERENCE)
    asyncio.run(page.action(lambda: page.run(page.client.intersection.jobs))())
    assert [one["kind"] for one in notices(shell)] == ["signin"]
    assert len(shell.body) == 1 and not shell.bridge.is_live


def test_a_button_of_a_notice_does_what_it_says_and_nothing_else_is_taken(institutions: Institutions) -> None:
    shell = opened(institutions, hello)
    assert shell.page is not None
    shell.page.report(Refused("不行", "no", code="NO"))
    for pressed in ("", "{", "[]", '{"kind": "error", "name": "no-such"}', '{"kind": 1}', "null"):
        shell.bridge.pressed = pressed
    assert len(notices(shell)) == 1
    shell.bridge.pressed = json.dumps({"kind": "error", "name": "close", "counter": 1})
    assert notices(shell) == []


def test_the_end_of_one_confirmation_leaves_another_waiting(institutions: Institutions) -> None:
    shell = opened(institutions, hello)
    forgotten: list[str] = []
    ends = [shell.wait_for_confirmation(name, f"http://127.0.0.1/{name}", lambda name=name: forgotten.append(name)) for name in ("a", "b", "c")]
    ends[0]("done")
    shell.bridge.pressed = json.dumps({"kind": notices(shell)[1]["kind"], "name": "forget", "counter": 1})
    assert forgotten == ["c"]
    [waiting, confirmed] = [one for one in notices(shell) if one["actions"]]
    assert waiting["actions"][0]["url"].endswith("/b") and confirmed["kind"] == "confirmed" and confirmed["lines"] == ["a"]


def test_text_of_partners_reaches_the_browser_as_text(institutions: Institutions) -> None:
    """The bridge carries JSON and sets textContent; nothing of it may look like markup to anybody on the way."""
    shell = opened(institutions, hello)
    assert shell.page is not None
    shell.page.report(Refused("<img src=x onerror=alert(1)>", "x", code="NO"))
    assert notices(shell)[0]["title"] == "<img src=x onerror=alert(1)>"

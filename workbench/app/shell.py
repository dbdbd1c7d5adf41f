"""What surrounds every page: who may open it, and the states in which there is no page to show.

A page is opened in this order: signed in? node there? allowed (the node decides and records a refusal)? Then the
plugin's view is asked for its content; a view that fails shows its fault in its own card and harms nothing else.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from typing import Any
from urllib.parse import urlencode

import panel as pn

from workbench.app.bridge import Bridge
from workbench.app.page import PageContext, is_offline, is_signed_out
from workbench.app.signins import SignIns
from workbench.app.texts import texts_of, translate
from workbench.client.handed import HandedClient, signed_out
from workbench.clock import SHANGHAI
from workbench.contracts import Dashboard
from workbench.errors import NotFound, WorkbenchError
from workbench.loading import PluginSet

log = logging.getLogger("workbench.app")
RETRY_S = 3.0


@dataclass(frozen=True, slots=True)
class App:
    """One pages' process. prefix: path under which the browser sees it, "/workbench/app"."""

    node_url: str
    prefix: str
    sign_ins: SignIns
    plugins: PluginSet

    def dashboards(self) -> dict[str, tuple[str, Dashboard]]:
        """Pages by name, with the package of their plugin; a plugin that fails here has none."""
        found: dict[str, tuple[str, Dashboard]] = {}
        for plugin, pages in self.plugins.collect("workbench_dashboards", failed=log_plugin):
            module = self.plugins.manager.get_plugin(plugin)
            found |= {page.name: (getattr(module, "__name__", plugin), page) for page in pages}
        return found

    def warm(self) -> None:
        """Import every plugin's `dashboard` module now, so that the first person to open a page does not wait for it."""
        for package in sorted({package for package, _ in self.dashboards().values()}):
            try:
                import_module(f"{package}.dashboard")
            except Exception as fault:  # shown in the page's own card when somebody opens it
                log_plugin(package, fault)


def log_plugin(plugin: str, fault: Exception) -> None:
    """A fault of a plugin, by type and place; values may hold what a log must not."""
    place = fault.__traceback__
    while place and place.tb_next:
        place = place.tb_next
    where = f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place else "unknown place"
    log.error("plugin %s: %s at %s", plugin, type(fault).__name__, where)


class Shell:
    """One browser tab: the tie to its window, and the page or the state that stands for it."""

    def __init__(self, app: App, *, reference: str, name: str, lang: str, theme: str, params: Mapping[str, str]) -> None:
        self._app = app
        self._reference = reference
        self._name = name
        self._params = params
        self._texts = texts_of("workbench.app")
        self._titles = {"zh": name, "en": name}
        self._answered_at = datetime.now(SHANGHAI)
        self._tab_title = ""
        self._retrying = False
        self._asked = 0
        self.page: PageContext | None = None
        self.bridge = Bridge(page=name, lang=lang, theme=theme)
        self.body = pn.Column(sizing_mode="stretch_width", margin=0)
        self.root = pn.Column(self.bridge, self.body, sizing_mode="stretch_width", margin=0)
        self._redraw: dict[str, Callable[[], None]] = {}
        self.bridge.param.watch(self._look_changed, ["lang", "theme", "visible"])

    @property
    def _title(self) -> str:
        return self._titles[self.bridge.lang]

    def t(self, key: str, **fields: object) -> str:
        return translate(self._texts, self.bridge.lang, key, fields)

    # ------------------------------------------------------------------ opening

    async def open(self) -> None:
        """Show the page, or the state that stands in its place."""
        try:
            await self._open()
        except Exception as error:  # a page that cannot be shown is a state, never a blank tab
            self._show_instead(error)
        self.bridge.ready = True

    async def _open(self) -> None:
        sign_in = self._app.sign_ins.named(self._reference)
        if sign_in is None:
            raise signed_out()
        client = HandedClient(self._app.node_url, sign_in)
        me, info = await asyncio.gather(
            asyncio.to_thread(client.call, "people.me"), asyncio.to_thread(client.call, "pages.open", page=self._name)
        )
        package, dashboard = self._app.dashboards().get(self._name, ("", None))
        if dashboard is None:
            raise NotFound("没有这一页。请从侧栏打开", "There is no such page. Open one from the sidebar", code="UNKNOWN_PAGE")
        self._titles = {"zh": info.title_zh, "en": info.title_en}
        self.page = PageContext(
            client=client, me=me, package=package, params=self._params, lang=self.bridge.lang, theme=self.bridge.theme,
            surroundings=self,
        )  # fmt: skip
        self.tab("", running=False)
        try:
            view = dashboard.view(self.page)
            self.body[:] = [await view if inspect.isawaitable(view) else view]
        except WorkbenchError:
            raise
        except Exception as fault:  # foreign code may fail in any way
            self._show_faulty_page(info.plugin, fault)
        self.bridge.is_live = True

    def _show_instead(self, error: Exception) -> None:
        if is_signed_out(error):
            self._state("signin", "pending", "signin.title", [], lambda: [self.t("signin.reason"), self.t("signin.todo")])
        elif is_offline(error):
            self._state("offline", "failed", "offline.title", [], lambda: [self.t("offline.reason"), self.t("offline.todo")])
            self._retry_later()
        elif isinstance(error, NotFound):
            self._state("unknown", "refused", "unknown.title", [], lambda: [self._sentence(error)], code=error.code)
        elif isinstance(error, WorkbenchError):
            title = "denied.title" if error.code == "DENIED" else "failed.title"
            self._state("denied", "refused", title, [], lambda: [self._sentence(error)], code=error.code)
        else:
            self._show_faulty_page("workbench", error)

    def _state(
        self, kind: str, state: str, title: str, actions: list[str], lines: Callable[[], list[str]], *, code: str = ""
    ) -> None:
        def draw() -> None:
            buttons = [{"name": name, "label": self.t(name)} for name in [*actions, "reload"]]
            self.bridge.put(kind, state=state, title=self.t(title), lines=lines(), code=code, actions=buttons)

        self._keep(kind, draw)

    def _retry_later(self) -> None:
        if self._retrying or pn.state.curdoc is None or pn.state.curdoc.session_context is None:
            return
        self._retrying = True

        async def again() -> None:
            try:
                await self._open()
            except Exception as error:  # still away, or a state of its own
                if is_offline(error):
                    return
                self.bridge.take_away("offline")
                self._show_instead(error)
            running.stop()
            self._retrying = False
            self._forget("offline")

        running: Any = pn.state.add_periodic_callback(again, period=int(RETRY_S * 1000))  # type: ignore[arg-type]  # async is taken too

    def _show_faulty_page(self, plugin: str, fault: Exception) -> None:
        log_plugin(plugin, fault)
        kind, moment = type(fault).__name__, f"{datetime.now(SHANGHAI):%H:%M:%S}"

        def draw() -> None:
            self.bridge.put(
                "faulty", state="failed", title=self.t("faulty.title", page=self._title),
                lines=[self.t("faulty.reason", plugin=plugin, kind=kind), self.t("faulty.todo", time=moment)],
                code="INTERNAL", actions=[{"name": "reload", "label": self.t("reload")}],
            )  # fmt: skip

        self._keep("faulty", draw)

    # ------------------------------------------------------------------ Surroundings

    def show_error(self, error: WorkbenchError) -> None:
        if is_signed_out(error):
            self._state("signin", "pending", "signin.again", [], lambda: [self.t("signin.todo")], code=error.code)
            self.bridge.is_live = False
        elif is_offline(error):
            moment = f"{self._answered_at:%H:%M:%S}"
            self._keep("offline", lambda: self.bridge.put(
                "offline", state="failed", title=self.t("offline.as_of", time=moment),
                lines=[self.t("offline.reason"), self.t("offline.todo")], code=error.code,
            ))  # fmt: skip
        else:
            state = "refused" if error.exit_status == 2 else "failed"
            self._keep("error", lambda: self.bridge.put(
                "error", state=state, title=self._sentence(error), code=error.code,
                actions=[{"name": "close", "label": self.t("close")}], handlers={"close": lambda: self._forget("error")},
            ))  # fmt: skip

    def show_fault(self, fault: Exception) -> None:
        self._show_faulty_page(self._name, fault)

    def clear_error(self) -> None:
        self._forget("error")
        self._forget("faulty")

    def answered(self) -> None:
        self._answered_at = datetime.now(SHANGHAI)
        self._forget("offline")

    def wait_for_confirmation(self, title: str, url: str, forget: Callable[[], None]) -> Callable[[str], None]:
        self._asked += 1
        kind = f"confirm-{self._asked}"  # each has its own: what ends one leaves the others waiting

        def stop_waiting() -> None:
            forget()
            self._forget(kind)

        self._keep(kind, lambda: self.bridge.put(
            kind, state="pending", title=self.t("confirm.title", operation=title), lines=[self.t("confirm.hint")],
            actions=[
                {"name": "open", "label": self.t("confirm.open"), "url": url, "primary": True},
                {"name": "forget", "label": self.t("confirm.forget")},
            ],
            handlers={"open": lambda: None, "forget": stop_waiting},
        ))  # fmt: skip
        self.bridge.order(kind="window", url=url)

        def ended(state: str) -> None:
            self._forget(kind)
            if state in ("done", "declined"):
                shown = "sealed" if state == "done" else "info"
                self._keep("confirmed", lambda: self.bridge.put(
                    "confirmed", state=shown, title=self.t(f"confirm.{state}"), lines=[title],
                    actions=[{"name": "close", "label": self.t("close")}],
                    handlers={"close": lambda: self._forget("confirmed")},
                ))  # fmt: skip

        return ended

    def tab(self, title: str, *, running: bool) -> None:
        self._tab_title = title
        self.bridge.tab = json.dumps({"title": title or self._title, "running": running}, ensure_ascii=False)

    def navigate(self, page: str, params: Mapping[str, str]) -> None:
        url = f"{self._app.prefix}/page?{urlencode({**params, 'name': page})}"
        self.bridge.order(kind="open", page=page, params=dict(params), url=url)

    def download(self, download: str) -> None:
        self.bridge.order(kind="save", url=f"{self._app.prefix}/files/{download}")

    # ------------------------------------------------------------------ helpers

    def _sentence(self, error: WorkbenchError) -> str:
        return error.zh if self.bridge.lang == "zh" else error.en

    def _keep(self, kind: str, draw: Callable[[], None]) -> None:
        """Draw a notice now and again whenever the language changes."""
        self._redraw[kind] = draw
        draw()

    def _forget(self, kind: str) -> None:
        self._redraw.pop(kind, None)
        self.bridge.take_away(kind)

    def _look_changed(self, *_: Any) -> None:
        if self.page is not None:
            self.page.param.update(lang=self.bridge.lang, theme=self.bridge.theme, visible=self.bridge.visible)
        self._draw_again()

    def _draw_again(self) -> None:
        self.bridge.tab = json.dumps({**json.loads(self.bridge.tab), "title": self._tab_title or self._title}, ensure_ascii=False)
        for draw in list(self._redraw.values()):
            draw()

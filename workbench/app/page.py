"""PageContext: everything a page of a plugin gets. The contract is docs/pages.md.

A page reads and acts through `client` alone; it has no database, no key and no rule. Long calls go through `run`, so
that neither this page nor anybody else's waits.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

import panel as pn
import param

from workbench.app.texts import texts_of, translate
from workbench.client.session import Client, Record
from workbench.errors import SignInRequired, WorkbenchError

T = TypeVar("T")
log = logging.getLogger("workbench.app")

WORKERS = 16
CONFIRM_POLL_MS = 1000
CONFIRM_WAIT_S = 15 * 60
OFFLINE_CODE = "NODE_UNAVAILABLE"
_workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="page")

OnDone = Callable[[str, Any], Any]
"""Called with "done", "declined" or "refused" and the operation's reply (or the error as a dictionary)."""


class Surroundings(Protocol):
    """What the shell does for a page; `SilentSurroundings` is for tests of a page without a browser."""

    def show_error(self, error: WorkbenchError) -> None: ...

    def show_fault(self, fault: Exception) -> None: ...

    def clear_error(self) -> None: ...

    def answered(self) -> None: ...

    def wait_for_confirmation(self, title: str, url: str, forget: Callable[[], None]) -> Callable[[str], None]: ...

    def tab(self, title: str, *, running: bool) -> None: ...

    def navigate(self, page: str, params: Mapping[str, str]) -> None: ...

    def download(self, download: str) -> None: ...


class SilentSurroundings:
    """Keeps what it was asked to do, in `asked`, and shows nothing."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []

    def show_error(self, error: WorkbenchError) -> None:
        self.asked.append(("error", error))

    def show_fault(self, fault: Exception) -> None:
        self.asked.append(("fault", fault))

    def clear_error(self) -> None:
        self.asked.append(("clear", None))

    def answered(self) -> None: ...

    def wait_for_confirmation(self, title: str, url: str, forget: Callable[[], None]) -> Callable[[str], None]:
        self.asked.append(("confirm", (title, url)))
        return lambda state: self.asked.append(("confirmed", state))

    def tab(self, title: str, *, running: bool) -> None:
        self.asked.append(("tab", (title, running)))

    def navigate(self, page: str, params: Mapping[str, str]) -> None:
        self.asked.append(("navigate", (page, dict(params))))

    def download(self, download: str) -> None:
        self.asked.append(("download", download))


class PageContext(param.Parameterized):
    """One open page of one signed-in person.

    client: bound to that person; its ticket is renewed elsewhere and never visible here.
    me: the reply of people.me. params: what stood in the page's address, text by name.
    lang ("zh", "en") and theme ("light", "dark") change while the page is open, without a reload; visible is False
    while the tab is hidden.
    """

    lang: Any = param.Selector(default="zh", objects=["zh", "en"])
    theme: Any = param.Selector(default="light", objects=["light", "dark"])
    visible = param.Boolean(default=True)

    def __init__(
        self,
        *,
        client: Client,
        me: Record,
        package: str,
        params: Mapping[str, str] | None = None,
        lang: str = "zh",
        theme: str = "light",
        surroundings: Surroundings | None = None,
    ) -> None:
        super().__init__(lang=lang, theme=theme)  # type: ignore[no-untyped-call]  # param has no types
        self.client = client
        self.me = me
        self.params = dict(params or {})
        self._texts = texts_of(package)
        self._around: Surroundings = surroundings or SilentSurroundings()

    # ------------------------------------------------------------------ words

    def t(self, key: str, /, **fields: object) -> str:
        """The sentence of a key of the plugin's locale files, in the language of this moment. KeyError if unknown."""
        return translate(self._texts, self.lang, key, fields)

    def label(self, key: str, /, **fields: object) -> Any:
        """The same as a bound function: Panel shows the other language when the person switches."""
        return pn.bind(lambda lang: translate(self._texts, lang, key, fields), self.param.lang)

    def follow(self, widget: T) -> T:
        """Keep a widget's `lang` equal to the page's; returns the widget. The theme is followed by the browser."""
        setattr(widget, "lang", self.lang)  # noqa: B010 - the class of the widget is not known here
        self.param.watch(lambda event: setattr(widget, "lang", event.new), "lang")
        return widget

    def on_look(self, changed: Callable[[], Any]) -> None:
        """Call a function whenever language or theme change; for texts that `label` and `follow` do not reach."""
        self.param.watch(lambda event: changed(), ["lang", "theme"])

    def may(self, operation: str) -> bool:
        """Whether one of this person's roles may call the operation; the node decides again when it is called."""
        return operation in self.me["operations"]

    # ------------------------------------------------------------------ work

    async def run(self, blocking: Callable[..., T], /, *arguments: Any, **options: Any) -> T:
        """Run a blocking function, such as a client's call, in a thread and return its value."""
        call = functools.partial(blocking, *arguments, **options)
        value = await asyncio.get_running_loop().run_in_executor(_workers, call)
        self._around.answered()
        return value

    def action(self, handler: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, None]]:
        """Wrap a handler (plain or async): an error of the node is shown on the page instead of being lost."""

        async def guarded(*arguments: Any) -> None:
            try:
                self._around.clear_error()
                value = handler(*arguments)
                if inspect.isawaitable(value):
                    await value
            except Exception as error:  # whatever a page does wrong is shown in its own card
                self.report(error)

        return guarded

    def report(self, error: Exception) -> None:
        """Show an error: a WorkbenchError with its sentence and code, anything else as a fault of this page."""
        if isinstance(error, WorkbenchError):
            self._around.show_error(error)
        else:
            self._around.show_fault(error)

    def start(self, handler: Callable[..., Any], /, *arguments: Any) -> None:
        """Begin a handler (plain or async) in the background of this page; its errors are shown."""
        guarded = self.action(handler)
        pn.state.execute(functools.partial(guarded, *arguments))

    def refresh_every(self, seconds: float, callback: Callable[[], Any]) -> Callable[[], None]:
        """Call a function (plain or async) again and again while the page is open; returns how to stop.

        A call that has not ended is not started twice, a hidden page waits, and after an error of the node the calls
        go on, three seconds apart: the page keeps its last values and says from when they are.
        """
        state = {"busy": False, "not_before": 0.0}

        async def tick() -> None:
            if state["busy"] or not self.visible or time.monotonic() < state["not_before"]:
                return
            state["busy"] = True
            try:
                value = callback()
                if inspect.isawaitable(value):
                    await value
            except Exception as error:  # shown, and the next call may do better
                state["not_before"] = time.monotonic() + 3
                self.report(error)
            finally:
                state["busy"] = False

        if pn.state.curdoc is None or pn.state.curdoc.session_context is None:
            return lambda: None
        period_ms = max(200, int(seconds * 1000))
        running: Any = pn.state.add_periodic_callback(tick, period=period_ms)  # type: ignore[arg-type]  # async is taken too
        stop: Callable[[], None] = running.stop
        return stop

    # ------------------------------------------------------------------ around the page

    async def confirm(self, operation: str, request: Mapping[str, Any], on_done: OnDone | None = None) -> None:
        """Ask for an action that needs a fresh password; the person confirms it on the node's own page.

        Returns when the node keeps the request; `on_done` is called later, with the end ("done", "declined",
        "refused") and the reply. Raises what the node refuses at once, e.g. a wrong role.
        """
        prepared = await self.run(self.client.prepare_action, operation, **request)
        title = await self.run(_operation_title, self.client, operation, self.lang)
        limit = time.monotonic() + CONFIRM_WAIT_S
        stop: list[Callable[[], None]] = []
        ended = self._around.wait_for_confirmation(title, str(prepared.url), lambda: stop[0]())

        async def poll() -> None:
            state = await self.run(self.client.action_state, prepared.action)
            if state.state == "waiting" and time.monotonic() < limit:
                return
            stop[0]()
            ended(state.state)
            if on_done is not None:
                value = on_done(state.state, state.reply)
                if inspect.isawaitable(value):
                    await value

        stop.append(self.refresh_every(CONFIRM_POLL_MS / 1000, poll))

    def navigate(self, page: str, /, **params: str) -> None:
        """Open another page in a tab of its own."""
        self._around.navigate(page, params)

    def notify_lab(self, *, title: str = "", running: bool = False) -> None:
        """Let the tab's title carry the state, e.g. "求交 …0043　62 %"; "" gives the page's own title back."""
        self._around.tab(title, running=running)

    def download(self, download: str) -> None:
        """Let the browser save a file that the node made for this person; it can be taken once."""
        self._around.download(download)


def is_offline(error: Exception) -> bool:
    """Whether the node itself did not answer."""
    return isinstance(error, WorkbenchError) and error.code == OFFLINE_CODE


def is_signed_out(error: Exception) -> bool:
    """Whether the sign-in has ended."""
    return isinstance(error, SignInRequired)


def _operation_title(client: Client, operation: str, lang: str) -> str:
    """What the node calls this operation, from its OpenAPI document: "Chinese / English"."""
    for path, methods in client.openapi()["paths"].items():
        if path.endswith(f"/operations/{operation}"):
            zh, _, en = str(methods["post"]["summary"]).partition(" / ")
            return zh if lang == "zh" else en
    return operation


__all__ = ["OnDone", "PageContext", "SilentSurroundings", "Surroundings", "is_offline", "is_signed_out"]

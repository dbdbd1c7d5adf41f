"""Pages for browser tests: opened from a file, with every request and every error noted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

LAUNCH_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
TIMEOUT_MS = 30_000
LOCAL = ("file:", "blob:", "data:", "http://127.0.0.1:", "ws://127.0.0.1:")


class WatchedPage:
    """A Playwright page; ``finish`` fails when anything left the machine or any script failed."""

    def __init__(
        self,
        browser: Any,  # Any: Playwright's objects, which this file only passes on
        path: Path,
        html: str,
        *,
        hash: str = "",
        width: int = 1200,
        frozen_clock: bool = False,
        reduced_motion: str | None = None,
    ) -> None:
        path.write_text(html, encoding="utf-8")
        self._context = browser.new_context(
            locale="zh-CN", viewport={"width": width, "height": 900}, offline=True, reduced_motion=reduced_motion
        )
        self.tab = self._context.new_page()
        self.tab.set_default_timeout(TIMEOUT_MS)
        self.problems: list[str] = []
        watch(self.tab, self.problems)
        if frozen_clock:
            self.tab.clock.install(time=0)
        self.tab.goto(f"{path.as_uri()}#{hash}")
        self.tab.wait_for_selector("html[data-ready]", state="attached")

    def box(self, name: str) -> Any:  # Any: Playwright's locator
        """The gallery's box with this id, such as ``Waterfall--1``."""
        return self.tab.locator(f"#{name}")

    def text(self, name: str) -> str:
        """What a reader sees of a component."""
        return str(self.tab.locator(f"#{name} .workbench-widget .wb").inner_text())

    def focused(self, name: str) -> str:
        """The words of the element that has the focus."""
        return str(self.tab.locator(f"#{name} .wb :focus").inner_text())

    def state(self, name: str, key: str) -> Any:  # Any: a trait's value
        """A trait as the page holds it."""
        return self.tab.evaluate("([id, key]) => document.getElementById(id).model.get(key)", [name, key])

    def assign(self, name: str, **traits: object) -> None:
        """Set traits as the notebook would, all at once."""
        self.tab.evaluate(
            "([id, traits]) => { const m = document.getElementById(id).model;"
            " for (const [k, v] of Object.entries(traits)) m.set(k, v); m.save_changes(); }",
            [name, traits],
        )

    def events(self, name: str) -> list[dict[str, Any]]:  # Any: payloads
        """Events raised so far by a component, in order."""
        found: list[dict[str, Any]] = self.tab.evaluate("(id) => document.getElementById(id).model.events", name)
        return found

    def finish(self) -> None:
        """Close, and fail if anything was noted."""
        self._context.close()
        assert self.problems == []


def watch(tab: Any, problems: list[str]) -> None:  # Any: Playwright's page
    """Note every request that is not local and every script error of a tab in ``problems``."""
    tab.on(
        "request", lambda request: None if request.url.startswith(LOCAL) else problems.append(f"asked {request.url}")
    )
    tab.on("pageerror", lambda error: problems.append(f"error {error}"))
    tab.on("console", lambda message: problems.append(f"console {message.text}") if message.type == "error" else None)

"""Part of the page Quantum channel: the key devices 密码设备 of this site, one added, one taken away."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from workbench.app.page import PageContext
from workbench.app.parts import layout, notes
from workbench.app.parts.acting import Act, Acting, Field
from workbench.app.parts.notes import Notes
from workbench_widgets import DataTable, formats
from workbench_widgets.panel_pane import pane

Reply = Mapping[str, Any]
CHIPS = {"serving": "sealed", "draining": "pending", "out": "refused", "missing": "refused"}
FIRST = "home"
_REASON = Field("reason")
_NAME = Field("name", label="device_name")


def _soft(values: dict[str, Any]) -> dict[str, Any]:
    """A device of its own process; tokens are added by the command, beside the token that must be there."""
    return {**values, "backend": "soft"}


ADD = Act("qkd.add_device", (_NAME, _REASON), password=True, shape=_soft)
DRAIN = Act("qkd.drain_device", (_REASON,), password=True)


class Devices:
    """Devices as the last status told them. done: called after an act."""

    def __init__(self, page: PageContext, done: Callable[[], Any]) -> None:
        self.page, self._done = page, done
        self.table = DataTable(page_size=8, state="loading")
        self.table.on_action(lambda _name, told: page.start(self._act, str(told.get("id", "")), str(told.get("name", ""))), "act")
        self.acting = Acting(page, (ADD,), self._acted)
        self.of_row = Acting(page, (DRAIN,), self._acted, from_row=True)
        self.of_row.offer([])
        self.told = Notes(framed=False)
        self.root = layout.stack(pane(self.table), self.told, self.of_row.root, self.acting.root)

    async def _act(self, row: str, operation: str) -> None:
        if operation not in self.of_row.acts or not row or row == FIRST:
            return
        self.told.tell(notes.text(self.page.t("device.going", name=row), meta=True))
        self.of_row.offer([operation], name=row)
        await self.of_row.open(operation)

    async def _acted(self, operation: str, reply: Reply) -> None:
        t = self.page.t
        if operation == DRAIN.operation:
            count = formats.count(reply["moved"], "zh" if self.page.lang == "zh" else "en")
            self.told.tell(notes.text(t("device.drained", name=reply["name"], count=count), tone="sealed"))
        else:
            self.told.tell(notes.text(t("device.added", name=reply["name"]), tone="sealed"))
        await self._done()

    def draw(self, states: Mapping[str, str]) -> None:
        """states: name -> state, the first device first."""
        page, t, table = self.page, self.page.t, self.table
        table.lang = page.lang
        table.heading = t("device.title")
        self.acting.offer([ADD.operation])
        with table.at_once():
            table.notice = {"sentence": t("device.none")}
            table.hint = t("device.hint")
            table.columns = columns(t)
            table.row_actions = [{"name": DRAIN.operation, "label": t("device.drain")}] if page.may(DRAIN.operation) else []
            table.rows = rows(states, t, may=page.may)
            table.total = len(states)
            table.state = "done" if states else "empty"


def columns(t: Callable[..., str]) -> list[dict[str, Any]]:
    """Of the table."""
    return [{"key": "name", "label": t("column.key_device"), "kind": "mono"}, {"key": "state", "label": t("column.pool_state"), "kind": "state"}]


def rows(states: Mapping[str, str], t: Callable[..., str], *, may: Callable[[str], bool]) -> list[dict[str, Any]]:
    """One row a device; the first one stays, and so does the last that serves."""
    serving = sum(state == "serving" for state in states.values())
    return [
        {
            "id": name, "name": name, "state": {"state": CHIPS.get(state, "neutral"), "label": t(f"device.{state}")},
            "can": [DRAIN.operation] if name != FIRST and state == "serving" and serving > 1 and may(DRAIN.operation) else [],
        }
        for name, state in states.items()
    ]  # fmt: skip


__all__ = ["ADD", "CHIPS", "DRAIN", "Devices", "columns", "rows"]

"""Part of the page Quantum channel: media of charge keys 充注密钥, whose they are, how long they last, and what is done with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from workbench.app.page import PageContext
from workbench.app.parts import layout, notes
from workbench.app.parts.acting import Act, Acting, Field
from workbench.app.parts.notes import Notes
from workbench.domain.party import ROLE_NAMES, Role
from workbench.errors import WorkbenchError
from workbench_widgets import DataTable, formats
from workbench_widgets.panel_pane import pane

Reply = Mapping[str, Any]
CHIPS = {"OPEN": "sealed", "LOW": "pending", "EMPTY": "refused", "REVOKING": "pending", "REVOKED": "neutral"}
_KEYS = (Field("count", "number", default=256), Field("low_water", "number", default=16), Field("passphrase", "secret"))
_MEDIUM = (Field("person"), Field("device"))


def _without_line(values: dict[str, Any]) -> dict[str, Any]:
    """A person and a medium are revoked on every line."""
    return {name: value for name, value in values.items() if name != "line"}


FILL = Act("qkd.charge_fill", (*_MEDIUM, *_KEYS), password=True, about=True)
REVOKE_HOLDER = Act("qkd.charge_revoke", (*_MEDIUM, Field("reason")), password=True, about=True, shape=_without_line)
FILL_AGAIN = Act("qkd.charge_fill", _KEYS, password=True, about=True)
DELIVER = Act("qkd.charge_deliver")
REVOKE_MEDIUM = Act("qkd.charge_revoke", (Field("reason"),), password=True, shape=_without_line)
CHARGE_ACTS = (FILL, REVOKE_HOLDER)
ROW_ACTS = (DELIVER, FILL_AGAIN, REVOKE_MEDIUM)
_WORDS = {one.operation: f"charge.row.{one.operation.rpartition('_')[2]}" for one in ROW_ACTS}


class Charges:
    """Pools of the line that is shown. done: called after an act."""

    def __init__(self, page: PageContext, done: Callable[[], Any]) -> None:
        self.page, self._done = page, done
        self.found: Reply | None = None
        self.line = ""
        self.table = DataTable(page_size=8, state="loading")
        self.table.on_action(lambda _name, told: page.start(self._act, str(told.get("id", "")), str(told.get("name", ""))), "act")
        self.acting = Acting(page, CHARGE_ACTS, self._acted)
        self.of_row = Acting(page, ROW_ACTS, self._acted, from_row=True)
        self.of_row.offer([])
        self.told = Notes()
        self.root = layout.stack(pane(self.table), self.of_row.root, self.told, self.acting.root)
        self.root.visible = page.may("qkd.charge_status")

    async def read(self, line: str) -> None:
        """Ask for the pools of a line; what cannot be asked is said in their place."""
        page = self.page
        if not page.may("qkd.charge_status"):
            return
        if line != self.line:
            self.told.tell()
        self.line = line
        try:
            self.found = await page.run(page.client.call, "qkd.charge_status")
        except WorkbenchError as error:
            self.table.notice = {"sentence": error.zh if page.lang == "zh" else error.en, "code": error.code}
            self.table.state = "failed"

    async def _act(self, row: str, operation: str) -> None:
        one = self._pool(row)
        if one is None or operation not in self.of_row.acts:
            return
        self.of_row.offer([operation], person=one["account"], device=one["device"], line=one["line"])
        self.of_row.defaults = {"low_water": one["low_water"]}
        await self.of_row.open(operation)

    async def _acted(self, operation: str, reply: Reply) -> None:
        t, lang = self.page.t, self._lang
        if operation == "qkd.charge_revoke":
            self.told.tell(*revoked(reply, t, lang, english=self.page.lang != "zh"))
        elif operation == "qkd.charge_deliver":
            self.told.tell(
                notes.text(t("charge.delivered", counter=reply["counter"], key=reply["key_id"][:8], slave=reply["slave"], left=formats.count(reply["left"], lang)))
            )
        else:
            self.told.tell(notes.text(t("charge.filled", count=formats.count(reply["pool"]["left"], lang), replaced=formats.count(reply["replaced"], lang))))
        await self._done()

    def _pool(self, row: str) -> Reply | None:
        return next((one for one in (self.found or {}).get("pools", []) if row_id(one) == row), None)

    @property
    def _lang(self) -> formats.Lang:
        return "zh" if self.page.lang == "zh" else "en"

    def draw(self) -> None:
        """Texts and rows of what was read last."""
        page, t, table = self.page, self.page.t, self.table
        table.lang = page.lang
        table.heading = t("charge.title")
        self.acting.offer([one.operation for one in CHARGE_ACTS], line=self.line)
        if self.found is None:
            return
        pools = [one for one in self.found["pools"] if one["line"] == self.line]
        with table.at_once():
            table.notice = {"sentence": t("charge.none")}
            table.hint = t("charge.waiting", count=self.found["waiting"]) if self.found["waiting"] else t("charge.hint")
            table.columns = columns(t)
            table.row_actions = [{"name": name, "label": t(word)} for name, word in _WORDS.items() if page.may(name)]
            table.rows = rows(pools, t, self._lang, may=page.may)
            table.total = len(pools)
            table.state = "done" if pools else "empty"


def columns(t: Callable[..., str]) -> list[dict[str, Any]]:
    """Of the table."""
    return [
        {"key": "who", "label": t("column.person")}, {"key": "device", "label": t("column.device"), "kind": "mono"},
        {"key": "left", "label": t("column.left"), "align": "right"}, {"key": "mark", "label": t("column.mark"), "kind": "count"},
        {"key": "lasts", "label": t("column.lasts"), "align": "right"}, {"key": "state", "label": t("column.pool_state"), "kind": "state"},
    ]  # fmt: skip


def rows(pools: list[Reply], t: Callable[..., str], lang: formats.Lang, *, may: Callable[[str], bool]) -> list[dict[str, Any]]:
    """One row a pool; its buttons are those that fit its state and the person's roles."""
    return [
        {
            "id": row_id(one), "who": who(one, t, lang), "device": one["device"], "left": formats.count(one["left"], lang), "mark": one["low_water"],
            "lasts": t("charge.days", days=f"{one['days_left']:.1f}") if one["days_left"] >= 0 else "—",
            "state": {"state": CHIPS[one["state"]], "label": t(f"charge.{one['state']}")},
            "can": [name for name in _WORDS if may(name) and fits(name, one)],
        }
        for one in pools
    ]  # fmt: skip


def fits(operation: str, one: Reply) -> bool:
    """Whether an act fits a pool now."""
    if one["state"] in ("REVOKED", "REVOKING") or not one["account"]:
        return False
    if operation == "qkd.charge_revoke":
        return True
    return not one["is_disabled"] and (operation == "qkd.charge_fill" or one["state"] != "EMPTY")


def who(one: Reply, t: Callable[..., str], lang: formats.Lang) -> str:
    """Name and roles; the token of somebody whom this node does not know."""
    if not one["name"]:
        return str(one["person"])
    place, between = (0, "、") if lang == "zh" else (1, ", ")
    roles = between.join(ROLE_NAMES[Role(role)][place] for role in one["roles"])
    return t("charge.who", name=one["name"], roles=roles or t("charge.disabled"))


def revoked(reply: Reply, t: Callable[..., str], lang: formats.Lang, *, english: bool) -> list[Any]:
    """What one revocation ended, how long it took, and what is still to be done by whom."""
    counted = {name: formats.count(reply[name], lang) for name in ("keys", "pools", "sessions", "tickets", "renewing")}
    made = [notes.text(t("charge.revoked", took=formats.count(reply["took_ms"], lang), **counted), tone="sealed" if reply["is_done"] else "refused")]
    if not reply["is_done"]:
        made.append(notes.text(t("charge.not_done", why=reply["problem_en" if english else "problem_zh"]), tone="refused"))
    if reply["account"] == "open":
        made.append(notes.text(t("charge.account_open"), meta=True))
    return made


def row_id(one: Reply) -> str:
    """Of a pool's row."""
    return f"{one['person']}/{one['device']}/{one['line']}"


__all__ = ["CHARGE_ACTS", "CHIPS", "ROW_ACTS", "Charges", "columns", "fits", "revoked", "row_id", "rows", "who"]

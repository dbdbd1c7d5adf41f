"""What one person asked for and another must decide, one card each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from workbench.app.page import PageContext
from workbench.app.parts import layout
from workbench.errors import Refused
from workbench_widgets import TwoPersonAction
from workbench_widgets.panel_pane import pane

Reply = Mapping[str, Any]
MOST = 3


class Proposals:
    """Cards of what is open; done: called after a decision."""

    def __init__(self, page: PageContext, done: Callable[[], Any]) -> None:
        self.page, self._done = page, done
        self._cards: dict[str, TwoPersonAction] = {}
        self.root = layout.stack()

    def draw(self, found: Sequence[Reply]) -> None:
        """Show the open ones; a card that is typed into stays the same object."""
        waiting = [one for one in found if one["state"] == "OPEN"][:MOST]
        names = [one["proposal"] for one in waiting]
        if names != list(self._cards):
            self._cards = {name: self._cards.get(name) or self._card(name) for name in names}
            self.root[:] = [pane(card) for card in self._cards.values()]
        self.root.visible = bool(names)
        for one in waiting:
            self._draw(self._cards[one["proposal"]], one)

    def _card(self, name: str) -> TwoPersonAction:
        card = TwoPersonAction()
        card.on_action(lambda _event, _told: self.page.start(self._confirm, name), "confirm")
        card.on_action(lambda _event, told: self.page.start(self._decline, name, str(told.get("reason", ""))), "decline")
        return card

    def _draw(self, card: TwoPersonAction, one: Reply) -> None:
        page, t = self.page, self.page.t
        may = page.may("qkd.confirm")
        me = page.me["me"]
        party = {name: zh if page.lang == "zh" else en for name, zh, en in page.me["parties"]}.get(me["party"], me["party"])
        card.lang = page.lang
        card.heading = t(f"proposal.{one['act']}", line=one["line"])
        card.asked_by = {
            "name": one["asked_by"], "role": t("proposal.asked"), "tile": party[:1] or "?", "party_name": party, "mine": one["mine"], "at_ms": one["asked_ms"],
        }  # fmt: skip
        card.confirm_role = t("proposal.role")
        change = (
            t("proposal.policy_change", before=t(f"policy.{one['before']}"), target=t(f"policy.{one['target']}")) if one["act"] == "policy" else t("proposal.resume_change")
        )
        card.changes = [change, t("proposal.reason", reason=one["reason"])]
        card.expires_ms = one["until_ms"]
        card.viewer = "asker" if one["mine"] else "confirmer" if may else "reader"
        card.confirm_label, card.decline_label = t(f"proposal.confirm.{one['act']}"), t("proposal.decline")

    async def _confirm(self, name: str) -> None:
        await self.page.confirm("qkd.confirm", {"proposal": name}, self._confirmed)

    async def _confirmed(self, state: str, reply: Any) -> None:  # Any: the reply, or the error as a dictionary
        if state == "refused" and isinstance(reply, Mapping):
            self.page.report(_refusal(reply))
        await self._done()

    async def _decline(self, name: str, reason: str) -> None:
        await self.page.run(self.page.client.call, "qkd.decline", proposal=name, reason=reason)
        await self._done()


def _refusal(told: Mapping[str, Any]) -> Refused:
    return Refused(str(told.get("zh", "")), str(told.get("en", "")), code=str(told.get("code", "")))


__all__ = ["Proposals"]

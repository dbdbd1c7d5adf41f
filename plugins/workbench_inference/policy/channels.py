"""Two ways in, as two policies: the internal office system and the customers' app. Pure. Requirement J17.

Neither is a connection to such a system: a channel says which rules hold for a question that came through it. No adapter to a
trading or payment system exists (rows H7, J19; tests/inference/policy/test_no_trading.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from workbench.errors import Refused
from workbench_inference.policy.scenarios import Scenario


@dataclass(frozen=True, slots=True)
class Channel:
    """needs_invitation: only customers of the cohort; needs_class: never without the client's risk class; shows_drafts: whether an
    answer that is a draft for people may be shown; restores: kinds of identifiers whose labels become text again."""

    name: str
    zh: str
    en: str
    needs_invitation: bool
    needs_class: bool
    shows_drafts: bool
    restores: frozenset[str]


INTERNAL: Final = Channel(
    "internal", "内部办公", "internal office", needs_invitation=False, needs_class=False, shows_drafts=True,
    restores=frozenset({"phone", "id", "card", "name", "account", "email", "address"}),
)  # fmt: skip
CLIENT: Final = Channel("client", "客户端", "customers' app", needs_invitation=True, needs_class=True, shows_drafts=False, restores=frozenset({"name"}))
CHANNELS: Final = {one.name: one for one in (INTERNAL, CLIENT)}


def require_open(channel: Channel, scenario: Scenario, *, client_class: str, is_invited: bool) -> None:
    """Raises Refused SCENARIO_NOT_FOR_CLIENTS, NOT_INVITED or CLIENT_CLASS_MISSING."""
    if channel.needs_invitation and (not scenario.clients or (scenario.is_draft and not channel.shows_drafts)):
        raise Refused(
            f"「{scenario.zh}」场景不对客户开放", f"scenario {scenario.en} is not open to customers", code="SCENARIO_NOT_FOR_CLIENTS", details={"scenario": scenario.name}
        )
    if channel.needs_invitation and not is_invited:
        raise Refused("这位客户不在受邀名单上：合规岗可以邀请", "this customer is not among those invited: compliance can invite", code="NOT_INVITED")
    if not client_class and (channel.needs_class or scenario.asks_client_class == "always"):
        raise Refused(
            f"「{scenario.zh}」场景须先说明客户的风险承受能力（C1 至 C5；人群取最低）", f"scenario {scenario.en} needs the client's risk class first (C1 to C5; of a crowd the lowest)",
            code="CLIENT_CLASS_MISSING", details={"scenario": scenario.name},
        )  # fmt: skip


__all__ = ["CHANNELS", "CLIENT", "INTERNAL", "Channel", "require_open"]

"""Two ways in, as two policies: the internal office system and the customers' app. Pure. Requirement J17.

A channel says which rules hold for a question that came through it; what connects such a system is
`workbench_inference.channels`. No adapter to a trading or payment system exists (rows H7, J19;
tests/inference/policy/test_no_trading.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from workbench.errors import Refused
from workbench_inference.policy.scenarios import Scenario


@dataclass(frozen=True, slots=True)
class Channel:
    """for_customers: a customer stands behind a question, so stage, invitation and class are looked at and drafts are not shown;
    withheld: kinds of documents that are never read for it, and public_only: nor any that is not public; restores: kinds of
    identifiers whose labels become text again."""

    name: str
    zh: str
    en: str
    for_customers: bool
    withheld: frozenset[str]
    public_only: bool
    restores: frozenset[str]


INTERNAL: Final = Channel(
    "internal", "内部办公", "internal office", for_customers=False, withheld=frozenset(), public_only=False,
    restores=frozenset({"phone", "id", "card", "name", "account", "email", "address"}),
)  # fmt: skip
CLIENT: Final = Channel(
    "client", "客户端", "customers' app", for_customers=True, withheld=frozenset({"prompt", "question"}), public_only=True, restores=frozenset({"name"})
)
CHANNELS: Final = {one.name: one for one in (INTERNAL, CLIENT)}


@dataclass(frozen=True, slots=True)
class Standing:
    """What this institution's own records say of the customer behind a question. stage: of the trial; people, cap: of the cohort;
    is_known: stands in a list of customers; is_restricted: restricts processing; is_invited: takes part; klass: C1 to C5, "" for none."""

    stage: str
    people: int
    cap: int
    is_known: bool
    is_restricted: bool
    is_invited: bool
    klass: str


def require_open(channel: Channel, scenario: Scenario, *, client_class: str, standing: Standing | None = None) -> None:
    """standing: of the customer, for a channel that is for customers.

    Raises Refused STAGE_NOT_OPEN, CUSTOMER_SUSPENDED, NOT_INVITED, COHORT_FULL (not invited, and no room is left), NOT_A_CUSTOMER,
    SCENARIO_NOT_FOR_CLIENTS or CLIENT_CLASS_MISSING.
    """
    if channel.for_customers:
        require_standing(standing)
        if not scenario.clients or scenario.is_draft:
            raise Refused(
                f"「{scenario.zh}」场景不对客户开放", f"scenario {scenario.en} is not open to customers", code="SCENARIO_NOT_FOR_CLIENTS", details={"scenario": scenario.name}
            )
    if not client_class and (channel.for_customers or scenario.asks_client_class == "always"):
        raise Refused(
            f"「{scenario.zh}」场景须先说明客户的风险承受能力（C1 至 C5；人群取最低）", f"scenario {scenario.en} needs the client's risk class first (C1 to C5; of a crowd the lowest)",
            code="CLIENT_CLASS_MISSING", details={"scenario": scenario.name},
        )  # fmt: skip


def require_standing(standing: Standing | None) -> None:
    """Whether a customer may come in at all, whatever is asked. Nobody who is not named may."""
    if standing is None or standing.stage == "internal":
        raise Refused("试点还没有向客户开放：合规岗与审批岗两人决定", "the trial is not open to customers yet: two people of compliance or approvers decide", code="STAGE_NOT_OPEN")
    if standing.is_restricted:
        raise Refused("这位客户已限制处理，恢复之前不提供", "this customer restricts processing and is not served until that ends", code="CUSTOMER_SUSPENDED")
    if standing.stage == "open":
        if not standing.is_known:
            raise Refused("本机构的客户名单里没有这位客户", "no list of customers has this customer", code="NOT_A_CUSTOMER")
    elif not standing.is_invited:
        if standing.people >= standing.cap:
            raise Refused(
                f"这位客户没有受邀，{standing.cap:,} 个名额也已用完", f"this customer is not among those invited, and all {standing.cap:,} places are taken", code="COHORT_FULL",
                details={"people": str(standing.people), "cap": str(standing.cap)},
            )  # fmt: skip
        raise Refused("这位客户不在受邀名单上：合规岗可以邀请", "this customer is not among those invited: compliance can invite", code="NOT_INVITED")


__all__ = ["CHANNELS", "CLIENT", "INTERNAL", "Channel", "Standing", "require_open", "require_standing"]

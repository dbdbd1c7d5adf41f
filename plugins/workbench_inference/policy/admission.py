"""Step 1 of a question: who asks what, of which model, through which channel, with which template, within which limits.

`admit` reads and refuses; nothing is counted before the question leaves (`tables.spend`, in the transaction of `inference.asked`).
Order: access, channel, kinds of documents, quota. Document: docs/sandbox-design.md section 2, docs/sandbox-policy.md section 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from workbench.contracts import Host
from workbench.domain.party import ROLE_NAMES, Caller, Role
from workbench.errors import Denied, Refused
from workbench_inference.policy import channels, tables
from workbench_inference.policy.access import role_for
from workbench_inference.policy.channels import Channel, Standing
from workbench_inference.policy.content import Rules
from workbench_inference.policy.quota import CUSTOMER, Quota, require_left
from workbench_inference.policy.scenarios import Scenario, Template
from workbench_inference.policy.tables import Reader


@dataclass(frozen=True, slots=True)
class Admission:
    """What a question may do. role: under which it is asked, the group of quota and lease. kinds: of documents it may read.

    client_class: C1 to C5, "" where no client was named; of a customer who asks, the one of this institution's own records. person,
    group: quotas as they stand before this question, the first of the customer where one asks.
    """

    role: Role
    scenario: Scenario
    model: str
    template: Template
    rules: Rules = field(repr=False)
    channel: Channel
    kinds: tuple[str, ...]
    client_class: str
    person: Quota
    group: Quota

    @property
    def klass(self) -> str:
        """Data class of the template."""
        return self.scenario.klass


def admit(
    reader: Reader, host: Host, caller: Caller, *, scenario: str, model: str, documents: Sequence[str] = (), channel: str = "internal",
    client_class: str = "", customer: Sequence[str] = (), standing: Standing | None = None, mode: str = "run",
) -> Admission:  # fmt: skip
    """documents: kinds that are wanted, none for all of the scenario's. customer: tokens of the customer behind channel `client`, and
    standing: what the records say of them (`customers.CustomerNames.standing`); client_class is not looked at then. mode: of the lease.

    Raises Denied ASK_DENIED (role × scenario × model), NotFound NO_SCENARIO; Refused as `channels.require_open`, KIND_NOT_ALLOWED,
    QUOTA_SPENT.
    """
    found = tables.require_scenario(scenario)
    role = role_for(tables.access_rules(reader, host), roles=caller.person.roles, scenario=scenario, model=model)
    if role is None:
        raise Denied(
            f"你的岗位不能在「{found.zh}」场景向这个模型提问：合规岗或审批岗可以许可", f"your role may not ask this model in scenario {found.en}: compliance or an approver can allow it",
            code="ASK_DENIED", details={"scenario": scenario, "model": model},
        )  # fmt: skip
    way = channels.CHANNELS[channel]
    if way.for_customers:
        client_class = standing.klass if standing is not None else ""
    channels.require_open(way, found, client_class=client_class, standing=standing if customer else None)
    readable = [one for one in found.kinds if one not in way.withheld]
    strange = sorted(set(documents) - set(readable))
    if strange:
        raise Refused(
            f"「{found.zh}」场景不能用这类资料：{'、'.join(strange)}", f"scenario {found.en} may not read documents of kind {', '.join(strange)}", code="KIND_NOT_ALLOWED",
            details={"scenario": scenario, "kinds": " ".join(strange)},
        )  # fmt: skip
    person = tables.quota_of(reader, host, f"{CUSTOMER}{customer[0]}" if way.for_customers else caller.person.token, is_group=False)
    group = tables.quota_of(reader, host, role.value, is_group=True)
    require_left(person, group, ROLE_NAMES[role])
    kinds = tuple(one for one in readable if not documents or one in documents)
    return Admission(
        role, found, model, tables.template_in_force(reader, host, scenario, mode), tables.rules_in_force(reader, host), way, kinds, client_class, person, group
    )


__all__ = ["Admission", "admit"]

"""How many questions a person and a role may ask in a month. Pure. `workbench_inference.policy.tables` keeps the counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from workbench.errors import Refused

CUSTOMER: Final = "customer:"
"""Before the token of a customer who asks through their channel."""


@dataclass(frozen=True, slots=True)
class Quota:
    """whose: token of a person, CUSTOMER and the token of a customer, or a role. used, most: questions of the month 'yyyy-mm'."""

    whose: str
    month: str
    used: int
    most: int

    @property
    def left(self) -> int:
        return max(0, self.most - self.used)


def require_left(person: Quota, group: Quota, group_names: tuple[str, str]) -> None:
    """Raises Refused QUOTA_SPENT, which says whose is spent and who can change it; details["of"] is person or group."""
    if not person.left:
        raise Refused(
            f"你本月的 {person.most:,} 问已用完（{person.month}）：管理员或运维岗可以调整额度，下月一日重新计数",
            f"your {person.most:,} questions of {person.month} are used up: an administrator or operators can change the quota; it counts anew on the first of next month",
            code="QUOTA_SPENT", details={"of": "person", "used": str(person.used), "most": str(person.most)},
        )  # fmt: skip
    if not group.left:
        zh, en = group_names
        raise Refused(
            f"{zh}本月的 {group.most:,} 问已用完（{group.month}）：管理员或运维岗可以调整额度，下月一日重新计数",
            f"the {group.most:,} questions of {en} in {group.month} are used up: an administrator or operators can change the quota; it counts anew on the first of next month",
            code="QUOTA_SPENT", details={"of": "group", "used": str(group.used), "most": str(group.most)},
        )  # fmt: skip


__all__ = ["CUSTOMER", "Quota", "require_left"]

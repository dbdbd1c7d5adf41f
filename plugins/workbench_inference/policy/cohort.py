"""Invited customers: at most ten thousand, whatever a setting says. Pure. Requirement J16, filing 2 section 2.5."""

from __future__ import annotations

from typing import Final

from workbench.errors import Refused

HARD_CAP: Final = 10_000
"""不超过 10000 人 (filing 2 section 2.5). A larger setting is refused, not obeyed."""


def cap_of(setting: int) -> int:
    """The cap in force. Raises Refused COHORT_CAP for a setting above HARD_CAP or below 0: a mistake must not widen the trial."""
    if not 0 <= setting <= HARD_CAP:
        raise Refused(
            f"设置 inference.cohort_cap 应在 0 与 {HARD_CAP:,} 之间，因此不能邀请客户：运维岗改正设置文件",
            f"setting inference.cohort_cap must be between 0 and {HARD_CAP:,}, so nobody can be invited: operators correct the settings file", code="COHORT_CAP",
        )  # fmt: skip
    return setting


def require_room(now: int, more: int, cap: int) -> None:
    """Raises Refused COHORT_FULL where `more` people beyond the `now` invited ones would exceed the cap; nobody of them is taken."""
    if now + more > cap:
        raise Refused(
            f"受邀客户已有 {now:,} 人，再加 {more:,} 人超过上限 {cap:,} 人，因此一个也没有加：先移出不再参加的客户",
            f"{now:,} customers are invited; {more:,} more exceed the cap of {cap:,}, so none was added: take out those who no longer take part", code="COHORT_FULL",
            details={"people": str(now), "more": str(more), "cap": str(cap)},
        )  # fmt: skip


__all__ = ["HARD_CAP", "cap_of", "require_room"]

"""What a restored node forgot of these rules: it stays closed where a denial may have been forgotten, and people say again what holds.

The entries after the copy come back from the mirrors without their committed values, so nobody knows whether access was opened or
closed, a customer invited or taken out, a usage granted or revoked. What was allowed in the copy is therefore taken back. Document:
docs/sandbox-policy.md section 7.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from workbench.contracts import Host, Transaction
from workbench.domain.evidence import ReplayNeed, RestoredEntry
from workbench_inference.policy import stages
from workbench_inference.policy.scenarios import scenarios

_NEEDS: Final[dict[str, tuple[str, str]]] = {
    "inference.access_changed": (
        "备份之后有 {count} 次许可变更，内容已无法恢复：全部岗位暂不能提问，合规岗或审批岗在「许可」里重新设定",
        "access was changed {count} times after the copy and nobody knows how: no role may ask until compliance or an approver sets access again",
    ),
    "inference.cohort_changed": (
        "备份之后有 {count} 次名额变更，内容已无法恢复：受邀名单已清空，合规岗按原件重新邀请",
        "the cohort was changed {count} times after the copy and nobody knows how: nobody is invited until compliance invites again from the originals",
    ),
    "inference.stage_changed": (
        "备份之后有 {count} 次试点阶段变更，内容已无法恢复：已退回仅内部员工，合规岗与审批岗按原件重新决定", "the trial's stage was changed {count} times after the copy and nobody knows how: it is internal again until people decide anew",
    ),
    "inference.stage_closed": (
        "备份之后试点退回过 {count} 次：已退回仅内部员工", "the trial was taken back {count} times after the copy: it is internal again",
    ),
    "inference.channel_revoked": (
        "备份之后撤销过 {count} 个渠道凭据，不知道是哪些：全部渠道凭据已撤销，管理员重新新增", "{count} credentials of channels were revoked after the copy and nobody knows which: all are revoked, an administrator adds new ones",
    ),
    "inference.duty_changed": ("备份之后值班表变更过 {count} 次：运维岗核对", "the duty roster was changed {count} times after the copy: operators check it"),
    "inference.risk_changed": ("备份之后风险登记变更过 {count} 次：运维岗核对", "the risk register was changed {count} times after the copy: operators check it"),
    "inference.usage_changed": (
        "备份之后有 {count} 次资料使用许可变更，内容已无法恢复：全部许可已撤销，合规岗重新授予",
        "usages of documents were changed {count} times after the copy and nobody knows how: all are revoked until compliance grants them again",
    ),
    "inference.rules_published": (
        "备份之后发布过 {count} 版内容规则，文本已丢失：合规岗在提问恢复之前重新提出并由另一人发布",
        "{count} versions of content rules were published after the copy and their text is lost: compliance proposes them again before questions go on, another person publishes",
    ),
    "inference.template_published": (
        "备份之后发布过 {count} 个模板，文本已丢失：合规岗重新提出，另一人发布",
        "{count} templates were published after the copy and their text is lost: compliance proposes them again, another person publishes",
    ),
    "inference.quota_changed": (
        "备份之后有 {count} 次额度变更：管理员或运维岗核对额度", "quotas were changed {count} times after the copy: an administrator or operators check them",
    ),
}  # fmt: skip


def replay(host: Host, entries: Sequence[RestoredEntry]) -> list[ReplayNeed]:
    """Close what may have been closed; say what people must do. Safe to repeat."""
    lost = Counter(one.kind for one in entries)
    if not any(lost[kind] for kind in _NEEDS):
        return []

    def change(tx: Transaction) -> None:
        now = host.now_ms()
        if lost["inference.access_changed"]:
            tx.execute("DELETE FROM inference_access")
            cells = [(role.value, one.name) for one in scenarios().values() for role in one.roles]
            tx.executemany(
                "INSERT INTO inference_access (role, scenario, model, allowed, since_ms, by) VALUES (?, ?, '*', 0, ?, '')", [(*cell, now) for cell in cells]
            )
        if lost["inference.cohort_changed"]:
            tx.execute("DELETE FROM inference_cohort")
        if lost["inference.stage_changed"] or lost["inference.stage_closed"]:
            stages.forget(tx, now_ms=now)
        if lost["inference.channel_revoked"]:
            tx.execute("UPDATE inference_channel SET state = 'revoked', revoked_ms = ? WHERE state <> 'revoked'", (now,))
        if lost["inference.usage_changed"]:
            tx.execute("UPDATE inference_usage SET revoked_ms = ? WHERE revoked_ms = 0", (now,))

    host.store.write(change)
    return [ReplayNeed(kind, lost[kind], zh.format(count=lost[kind]), en.format(count=lost[kind])) for kind, (zh, en) in _NEEDS.items() if lost[kind]]


__all__ = ["replay"]

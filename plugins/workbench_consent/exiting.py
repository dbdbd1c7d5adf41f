"""Leaving the business (row I4): no new consents and no new jobs; what runs ends by its dates. docs/consent.md section 16.

Two people begin it. Two people end it, because from then on consents and jobs are taken again; both are evidence.
"""

from __future__ import annotations

from collections.abc import Mapping

from workbench.contracts import Host, Store
from workbench.errors import Refused
from workbench_consent import changes
from workbench_consent.tables import Reader

KIND, NAME = "exit", "institution"
STAGES_OF_NEW_WORK = frozenset({"proposal", "approval"})
BACK_MS = 5_000
"""How far the clock may lie behind the newest consent event; more is refused (skew allowed between nodes, decision 15)."""


def is_exiting(reader: Reader) -> bool:
    """Whether this institution takes no new consents and jobs."""
    return bool(changes.all_changes(reader, KIND, state=changes.IN_FORCE))


def require_open(store: Store) -> None:
    """Refused EXITING while the institution is leaving."""
    with store.read() as reader:
        exiting = is_exiting(reader)
    if exiting:
        raise Refused(
            "本机构正在退出业务：不再接受新的授权和新的任务，已有的按期结束",
            "this institution is leaving the business: no new consents and no new jobs; what exists ends by its dates",
            code="EXITING",
        )


def require_clock(host: Host) -> None:
    """Refused CLOCK_MOVED_BACK when the node's clock lies before the newest consent event: ended grants would live again."""
    with host.store.read() as reader:
        newest = int(reader.execute("SELECT coalesce(max(at_ms), 0) FROM consent_event").fetchone()[0])
    if host.now_ms() + BACK_MS < newest:
        raise Refused(
            "本机时钟早于最近一次授权事件，已过期的授权会被当作有效：运维校准时钟，此前不筛选、不导出",
            "this machine's clock lies before the newest consent event, so ended grants would count as live: operations set the "
            "clock right; until then nobody is used",
            code="CLOCK_MOVED_BACK",
        )


def guard(host: Host, stage: str, facts: Mapping[str, str]) -> None:
    """Stop new work while leaving, and every stage while the clock is behind."""
    require_clock(host)
    if stage in STAGES_OF_NEW_WORK:
        require_open(host.store)

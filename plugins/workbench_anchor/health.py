"""Anchoring's lines on the health page."""

from __future__ import annotations

from workbench.contracts import HealthReport
from workbench.errors import WorkbenchError
from workbench_anchor import anchoring, stamping, tables
from workbench_anchor.chain import require_installed
from workbench_anchor.describing import describe_anchors
from workbench_anchor.service import AnchorService

_LATE_FACTOR = 3


def reports(service: AnchorService) -> list[HealthReport]:
    """One line a kind: off, how far, what is in the way and who acts; one line for each contradiction."""
    host = service.host
    lines = []
    for status in describe_anchors(service):
        name = "anchor.stamps" if status.kind == stamping.WHAT else "anchor.chain"
        problem = service.problems.get(status.kind) or _not_ready(service, status.kind)
        if status.state == "conflict":
            lines.append(HealthReport(name, "failed", status.zh, status.en, "compliance"))
        elif problem is not None:
            lines.append(HealthReport(name, "warning", problem.zh, problem.en))
        elif status.state in ("none", "waiting") and _is_late(service, status.kind):
            zh, en = (
                f"{status.zh}；已超过约定间隔的 {_LATE_FACTOR} 倍",
                f"{status.en}; later than {_LATE_FACTOR} times the interval",
            )
            lines.append(HealthReport(name, "warning", zh, en))
        else:
            lines.append(HealthReport(name, "ok", status.zh, status.en))
    with host.store.read() as reader:
        lost = [one for one in tables.last_transactions(reader, 50) if one.state == "lost"]
        newest = tables.newest_anchored(reader)
    if lost and (newest is None or newest.number < lost[0].number):
        zh = f"锚定过的检查点（{lost[0].size} 条）在链上不见了，正在重新锚定：运维人员与登记方核对链的数据"
        en = (
            f"an anchored head ({lost[0].size} entries) is gone from the chain and is anchored anew: "
            "operations and the registrar look at the chain"
        )
        lines.append(HealthReport("anchor.lost", "failed", zh, en))
    return lines


def _not_ready(service: AnchorService, kind: str) -> WorkbenchError | None:
    """What is missing although the kind is on, before its first round says so."""
    try:
        if kind == stamping.WHAT and service.stamping.is_on:
            service.stamping.authority()
        if kind == anchoring.WHAT and service.anchoring.is_on:
            service.anchoring.place()
            require_installed()
            service.anchoring.required_account()
    except WorkbenchError as error:
        return error
    return None


def _is_late(service: AnchorService, kind: str) -> bool:
    host = service.host
    with host.store.read() as reader:
        stamp, chained = tables.newest_stamp(reader), tables.newest_anchored(reader)
        waiting = tables.waiting_stamps(reader, "http") if kind == stamping.WHAT else [tables.open_transaction(reader)]
    last = stamp if kind == stamping.WHAT else chained
    made = last.made_ms if last else min((one.made_ms for one in waiting if one), default=host.now_ms())
    return host.now_ms() - made > _LATE_FACTOR * 60_000 * max(1, host.setting("anchor.every_minutes")) and any(waiting)

"""The registry's lines on the health page."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.contracts import HealthReport, Host
from workbench.errors import Refused
from workbench_consent import changes, exiting, processors, tables

STRICT = ("consent.notice_required", "consent.backdating_required", "consent.representative_required")
"""Settings that are on in production unless its settings file says otherwise."""


def reports(host: Host) -> list[HealthReport]:
    """How many grants and withdrawals there are, and what waits: a run-off, contracts about to end, a clock that is behind."""
    return [*_records(host), *_waiting(host)]


def _waiting(host: Host) -> Iterator[HealthReport]:
    now = host.now_ms()
    with host.store.read() as reader:
        if exiting.is_exiting(reader):
            yield HealthReport(
                "consent.exit", "warning", "正在退出业务：不接受新的授权和任务", "leaving the business: no new consents and no new jobs",
                owner="compliance",
            )  # fmt: skip
        contracts = changes.all_changes(reader, processors.KIND, state=changes.IN_FORCE)
    due = [one.name for one in contracts if int(one.body["until_ms"]) <= now + processors.DUE_MS]
    if due:
        names = "、".join(due)
        yield HealthReport(
            "consent.processors", "warning", f"受托处理合同 30 天内到期：{names}。续签，或收回并删除数据后终止",
            f"contracts with entrusted processors end within 30 days: {names}. Renew, or end them once the data is returned or deleted",
            owner="compliance",
        )  # fmt: skip
    loose = [name for name in STRICT if host.kind == "production" and not host.setting(name)]
    if loose:
        yield HealthReport(
            "consent.strictness", "warning", f"生产工作区放宽了设置：{'、'.join(loose)}。不再需要时从 settings.json 删去",
            f"this production workspace loosens settings: {', '.join(loose)}. Take them out of settings.json when that is no longer needed",
            owner="compliance",
        )  # fmt: skip
    try:
        exiting.require_clock(host)
    except Refused as behind:
        yield HealthReport("consent.clock", "failed", behind.zh, behind.en, owner="operator")


def _records(host: Host) -> list[HealthReport]:
    with host.store.read() as reader:
        records = tables.record_count(reader)
        events = tables.newest_event(reader)
    if not records:
        return [
            HealthReport(
                "consent",
                "warning",
                "还没有导入客户授权：任何求交都不会有可用客户。合规岗导入授权文件",
                "no consents yet: no intersection has a customer to use. Compliance imports a consent file",
                owner="compliance",
            )
        ]
    return [
        HealthReport(
            "consent",
            "ok",
            f"授权记录 {records} 条，授权事件 {events} 个",
            f"{records} consent records, {events} consent events",
            owner="compliance",
        )
    ]

"""The registry's lines on the health page."""

from __future__ import annotations

from workbench.contracts import HealthReport, Host
from workbench_consent import tables


def reports(host: Host) -> list[HealthReport]:
    """How many grants and withdrawals there are; a warning while there is no grant at all."""
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

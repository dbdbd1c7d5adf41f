"""Checks of the key device as this node tells of them: state of the newest one, and a report to keep.

Document: docs/quantum-channel.md section 15.
"""

from __future__ import annotations

from typing import Any, Final, cast

from workbench.contracts import OperationContext, Transaction
from workbench.crypto import canonical, sm3
from workbench.domain.party import Role
from workbench.errors import Refused
from workbench.operations import NoInput, Operation, Reply
from workbench_kme.service import views
from workbench_kme.service.checking import is_overdue
from workbench_qkd import following
from workbench_qkd.messages import SelfTestReply, TestInfo
from workbench_qkd.service import service_of

MAKERS: Final = frozenset({Role.OPERATOR, Role.COMPLIANCE, Role.AUDITOR})
"""A report is an entry, and a regulator's seat writes none: it sees the check in qkd.status."""
KIND: Final = "device-check-report"
HISTORY: Final = 50


class EarlierCheck(Reply):
    """failed: names of the answers that were wrong. took_ms: how long the check took."""

    number: int
    time_ms: int
    took_ms: int
    cause: str
    passed: bool
    tests: int
    failed: list[str]
    vectors: str
    version: str


class CheckReportReply(Reply):
    """check: the newest one. state: as in qkd.status. digest: SM3 of the file, which the entry names. download, name: the same as a file of JSON."""

    site: str
    kme: str
    device: str
    device_enabled: bool
    made_ms: int
    state: str
    check: SelfTestReply
    earlier: list[EarlierCheck]
    digest: str
    download: str
    name: str


def state_of(test: views.SelfTest, *, enabled: bool, now_ms: int, is_production: bool) -> str:
    """passed, failed, overdue, or unscheduled where production has no schedule. now_ms: by the entity's clock, as the check."""
    if not enabled or not test.passed:
        return "failed"
    if is_production and not test.hours:
        return "unscheduled"
    return "overdue" if is_overdue(test.hours, last_ms=test.time_ms, now_ms=now_ms) else "passed"


def told(test: views.SelfTest) -> SelfTestReply:
    """A check as a reply."""
    tests = [TestInfo(name=one.name, passed=one.passed, algorithm=one.algorithm, source=one.source) for one in test.tests]
    names = ("time_ms", "passed", "number", "cause", "took_ms", "vectors", "version", "hours", "next_ms")
    return SelfTestReply(tests=tests, **{name: getattr(test, name) for name in names})


def _report(ctx: OperationContext, request: NoInput) -> CheckReportReply:
    """The newest check and the ones before it, as a file whose digest is in the log."""
    host: Any = ctx.host  # the node; contracts.Host has no downloads
    client = service_of(ctx.host).client()
    overview, test, listed = client.overview(), client.last_self_test(), client.self_tests(limit=HISTORY + 1)
    if not test.number:
        raise Refused("还没有做过自检，先自检一次", "No check was made yet; test the device first", code="NO_CHECK")
    made_ms = host.now_ms()
    check = told(test)
    earlier = [EarlierCheck(**{name: getattr(one, name) for name in EarlierCheck.model_fields}) for one in listed if one.number != test.number]
    state = state_of(test, enabled=overview.device_enabled, now_ms=overview.now_ms, is_production=host.kind == "production")
    about = {"site": overview.site, "kme": overview.kme, "device": overview.device, "device_enabled": overview.device_enabled, "made_ms": made_ms, "state": state}
    content = about | {
        "v": 1, "kind": KIND, "institution": str(host.party), "check": check.model_dump(), "earlier": [one.model_dump() for one in earlier[:HISTORY]],
    }  # fmt: skip
    data = canonical.format(cast("dict[str, canonical.Json]", content)) + b"\n"
    digest, name = sm3.digest(data).hex(), f"device-check-{overview.kme}-{test.number}.json"
    values = following.entry_of(test) | {"passed": str(int(test.passed)), "digest": digest}
    del values["cause"]

    def change(tx: Transaction) -> str:
        host.evidence.append(tx, "qkd.check_reported", values, actor=ctx.caller.person.token)
        return str(host.downloads.offer(tx, ctx.caller, name, data))

    download = host.store.write(change)
    return CheckReportReply(**about, check=check, earlier=earlier[:HISTORY], digest=digest, download=download, name=name)


OPERATIONS: Final = (
    Operation(
        name="qkd.check_report", zh="出具密码设备检查报告", en="make a check report of the key device", request=NoInput, reply=CheckReportReply,
        roles=MAKERS, run=_report, evidence=("qkd.check_reported",),
    ),
)  # fmt: skip

__all__ = ["KIND", "OPERATIONS", "CheckReportReply", "EarlierCheck", "state_of", "told"]

"""Quality of service of a line over a period, beside the objectives. Document: docs/quantum-channel.md section 16."""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field

from workbench.contracts import OperationContext
from workbench.domain.party import Role
from workbench.errors import InvalidRequest
from workbench.operations import Operation, Reply
from workbench_qkd import quality
from workbench_qkd.messages import LineName
from workbench_qkd.quality import HOUR_MS, Objectives, Quality
from workbench_qkd.service import service_of

READERS: Final = frozenset({Role.OPERATOR, Role.COMPLIANCE, Role.AUDITOR, Role.REGULATOR})
USUAL_MS: Final = 24 * HOUR_MS
LONGEST_MS: Final = 400 * 24 * HOUR_MS
LISTED: Final = 200


class QualityRequest(LineName):
    """A period in ms since 1970 UTC, widened to whole hours. until_ms: 0 for now; from_ms: 0 for a day before the end."""

    from_ms: int = Field(default=0, ge=0)
    until_ms: int = Field(default=0, ge=0)


class DowntimeInfo(Reply):
    """A time in which no key could be had. ms: how much of it was seen; times: how often it began. cause: section 16."""

    from_ms: int
    until_ms: int
    cause: str
    ms: int
    times: int


class ObjectiveInfo(Reply):
    """wanted: 0 for none; found: -1 for not measured. Availability in %, latency in ms, rate in bit/s. verdict: reached, missed, unknown, none."""

    name: str
    wanted: float
    found: float
    verdict: str


class QualityReply(Reply):
    """A line over whole hours. Shares run from 0 to 1; -1 is not measured.

    covered_ms: how much of the period this node watched; gap_ms: the rest, which counts neither for nor against the line.
    availability: of the time that was watched; least, most: of the whole period with the gaps against and for the line.
    downtimes: newest first, at most 200; downtimes_left_off: older ones. mean_bps, least_bps: of blocks, one without key at 0.
    requests: of this node for keys; p50_ms, p95_ms: of those that brought keys, not below what was measured, 19 % above at most.
    """

    line: str
    now_ms: int
    from_ms: int
    until_ms: int
    covered_ms: int
    gap_ms: int
    coverage: float
    available_ms: int
    availability: float
    least: float
    most: float
    down_ms: dict[str, int]
    downtimes: list[DowntimeInfo]
    downtimes_left_off: int
    blocks: int
    failed_blocks: int
    keys: int
    mean_bps: float
    least_bps: float
    requests: int
    failed_requests: int
    p50_ms: float
    p95_ms: float
    objectives: list[ObjectiveInfo]


def objectives(host: Any) -> Objectives:  # Any: the node
    """As the settings have them; an availability beyond 100 % is 100 %."""
    percent = min(100.0, max(0.0, float(host.setting("qkd.objective_availability"))))
    return Objectives(percent / 100, max(0.0, float(host.setting("qkd.objective_latency_ms"))), max(0.0, float(host.setting("qkd.objective_rate_bps"))))


def _quality(ctx: OperationContext, request: QualityRequest) -> QualityReply:
    host, service = ctx.host, service_of(ctx.host)
    now_ms = host.now_ms()
    until_ms = request.until_ms or now_ms
    from_ms = request.from_ms or max(0, until_ms - USUAL_MS)
    if from_ms >= until_ms or until_ms - from_ms > LONGEST_MS:
        raise InvalidRequest("起始须早于结束，时段最长 400 天", "the period begins before it ends and is 400 days at most")
    if request.line not in service.measures.known():
        service.client().line(request.line)  # says that there is none, or why nothing is known
    from_ms, until_ms = quality.period(from_ms, until_ms, now_ms=now_ms)
    found = quality.quality(service.measures.hours(request.line, from_ms, until_ms), from_ms, until_ms)
    return reply_of(request.line, found, objectives(host), now_ms=now_ms)


def reply_of(line: str, found: Quality, wanted: Objectives, *, now_ms: int) -> QualityReply:
    """Pure."""
    verdict, length = quality.verdicts(found, wanted), found.until_ms - found.from_ms
    down: dict[str, int] = {}
    for one in found.downtimes:
        down[one.cause] = down.get(one.cause, 0) + one.ms
    newest = sorted(found.downtimes, key=lambda one: (-one.until_ms, one.cause))
    told = (
        ("availability", wanted.availability * 100, found.availability * 100 if found.availability >= 0 else -1.0),
        ("latency", wanted.latency_ms, found.p95_ms),
        ("rate", wanted.rate_bps, found.mean_bps),
    )
    return QualityReply(
        line=line, now_ms=now_ms, from_ms=found.from_ms, until_ms=found.until_ms, covered_ms=found.covered_ms, gap_ms=found.gap_ms,
        coverage=found.covered_ms / length if length else 0.0, available_ms=found.available_ms, availability=found.availability,
        least=found.least, most=found.most, down_ms=down,
        downtimes=[DowntimeInfo(from_ms=one.from_ms, until_ms=one.until_ms, cause=one.cause, ms=one.ms, times=one.times) for one in newest[:LISTED]],
        downtimes_left_off=max(0, len(newest) - LISTED), blocks=found.blocks, failed_blocks=found.failed_blocks, keys=found.keys,
        mean_bps=found.mean_bps, least_bps=found.least_bps, requests=found.requests, failed_requests=found.failed_requests,
        p50_ms=found.p50_ms, p95_ms=found.p95_ms,
        objectives=[ObjectiveInfo(name=name, wanted=want, found=got, verdict=verdict[name]) for name, want, got in told],
    )  # fmt: skip


OPERATIONS: Final = (
    Operation(
        name="qkd.quality", zh="查看线路的服务质量", en="look at the quality of service of a line", request=QualityRequest, reply=QualityReply,
        roles=READERS, run=_quality, reads_only=True, weak_token=True,
    ),
)  # fmt: skip

__all__ = ["LISTED", "OPERATIONS", "DowntimeInfo", "ObjectiveInfo", "QualityReply", "QualityRequest", "objectives", "reply_of"]

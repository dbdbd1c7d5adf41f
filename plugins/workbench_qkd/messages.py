"""Requests and replies of the operations of the quantum channel. Document: docs/quantum-channel.md section 3."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from workbench.operations import Reply, Request
from workbench_qkd.bandwidth import BandwidthInfo

LINE = r"^[a-z][a-z0-9-]{1,30}$"
KEY_ID = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
Policy = Literal["qkd-required", "hybrid-required", "pqc-only"]
Attack = Literal["intercept-resend", "photon-number-splitting", "detector-blinding"]


def _lower(value: Any) -> Any:  # Any: whatever was sent; the pattern refuses what is no text
    return value.lower() if isinstance(value, str) else value


KeyId = Annotated[str, Field(pattern=KEY_ID), BeforeValidator(_lower)]
"""Of a key, in the one spelling that sessions are written down with; capital letters are taken too."""


class LineName(Request):
    line: str = Field(pattern=LINE)


class BlocksRequest(LineName):
    """before: only blocks with a lower number, 0 for the newest."""

    limit: int = Field(default=100, ge=1, le=500)
    before: int = Field(default=0, ge=0)


class PolicyRequest(LineName):
    policy: Policy
    reason: str = Field(min_length=5, max_length=1000)


class ReasonRequest(LineName):
    reason: str = Field(min_length=5, max_length=1000)


class ProposalName(Request):
    proposal: str = Field(max_length=40)


class DeclineRequest(ProposalName):
    reason: str = Field(min_length=5, max_length=1000)


class RevokeRequest(LineName):
    """key_ids, or a block: exactly one of the two. block: -1 for none."""

    key_ids: list[KeyId] = Field(default=[], max_length=128)
    block: int = Field(default=-1, ge=-1)
    reason: str = Field(min_length=5, max_length=1000)


class KeyName(Request):
    key_id: KeyId


class EavesdropRequest(LineName):
    """fraction: share of pulses attacked, 0 to 1; 0 switches it off."""

    kind: Attack = "intercept-resend"
    fraction: float = Field(ge=0, le=1)


class ProposalInfo(Reply):
    """act: policy or resume. state: OPEN, CONFIRMED, DECLINED, EXPIRED. asked_by, decided_by: names of people. mine: the caller asked."""

    proposal: str
    line: str
    act: str
    target: str
    before: str
    reason: str
    asked_ms: int
    asked_by: str
    until_ms: int
    state: str
    decided_ms: int
    decided_by: str
    mine: bool


class LineInfo(Reply):
    """A line as its entity tells of it, and what this node makes of it.

    policy: in force; told_policy: kept by the entity. held_ms: since when no session starts here, 0 for not; held_cause: kind of the
    alarm. counts: whether keys of this origin are enough for the policy. length_km, clock_hz: of the preset, -1 for none. qber, rates: -1 where not known. opened, refused: sessions of the last day. link_*: of the newest open session's link, "" without one. state: as the entity says, docs/protocols/key-delivery.md section 7.
    tenant: tag of the line; partner_tenant: that of this node's sessions with the far institution: where they differ no session takes a key here.
    """

    line: str
    role: str
    peer_site: str
    peer_kme: str
    source: str
    provenance: str
    preset: str
    length_km: float
    clock_hz: float
    demonstration: bool
    state: str
    policy: str
    counts: bool
    told_policy: str
    policy_since_ms: int
    policy_by: list[str]
    held_ms: int
    held_cause: str
    available: int
    target_keys: int
    max_keys: int
    low_water: int
    stock: dict[str, int]
    last_block: int
    qber: float
    baseline_qber: float
    rate: float
    baseline_rate: float
    rate_bps: float
    peer_reachable: bool
    in_step: bool
    eavesdropper_kind: str
    eavesdropper_fraction: float
    open_alarms: int
    opened: int
    refused: int
    link_version: str
    link_group: str
    link_suite: str
    link_fingerprint: str
    tenant: str
    partner_tenant: str


class StatusReply(Reply):
    """is_configured: this node has an entity. link_group: the one that this node takes for its links. problem_*: why it cannot be asked, "" when it can. devices: name -> serving, draining, out, missing. followed: events that are evidence.

    self_test_state: passed, failed, overdue (the scheduled check has not come), unscheduled (production without a schedule), "" where it is not known.
    self_test_hours: pause of the schedule, 0 for none; self_test_next_ms: when the next one is due. Times of checks are of the entity's clock.
    """

    is_configured: bool
    problem_zh: str
    problem_en: str
    problem_code: str
    kme: str
    site: str
    now_ms: int
    device: str
    device_enabled: bool
    devices: dict[str, str]
    self_tested_ms: int
    self_test_passed: bool
    self_test_state: str
    self_test_cause: str
    self_test_hours: int
    self_test_next_ms: int
    followed: int
    link_group: str
    lines: list[LineInfo]
    bandwidth: list[BandwidthInfo]
    proposals: list[ProposalInfo]


class BlockInfo(Reply):
    """Numbers that a source does not know are -1. state: stored, aborted, quarantined."""

    block: int
    time_ms: int
    provenance: str
    state: str
    aborted: str
    alarm: str
    pulses: int
    sifted: int
    qber: float
    leak_bits: int
    efficiency: float
    length_bits: int
    keys: int
    rate: float
    rate_bps: float
    epsilon: float


class AlarmInfo(Reply):
    """cleared_ms: 0 while it stands."""

    number: int
    kind: str
    block: int
    raised_ms: int
    cleared_ms: int
    value: float
    limit: float
    zh: str
    en: str


class BlocksReply(Reply):
    """Newest first. alarms: of this line, newest first."""

    line: str
    blocks: list[BlockInfo]
    alarms: list[AlarmInfo]


class ForecastReply(Reply):
    """hours_left: until the pool is empty, hours_to_low: until its mark; -1 when it does not fall."""

    line: str
    available: int
    low_water: int
    burn_per_hour: float
    made_per_hour: float
    hours_left: float
    hours_to_low: float
    window_s: int


class SessionInfo(Reply):
    """state: OPEN, ENDED or REFUSED; code: why it was refused. link_*: the encrypted link as both ends found it, "" where the session had none of its own."""

    session: str
    what: str
    policy: str
    state: str
    key_id: str
    provenance: str
    suite: str
    opened_ms: int
    ended_ms: int
    code: str
    link_version: str
    link_group: str
    link_suite: str
    link_fingerprint: str


class SessionsReply(Reply):
    """bandwidth: of what leaves towards the line's far site, which all its lines share; None where no entity says whose line it is."""

    line: str
    bandwidth: BandwidthInfo | None
    sessions: list[SessionInfo]


class PolicyReply(Reply):
    """proposal: None when the stricter policy is in force already."""

    line: str
    policy: str
    proposal: ProposalInfo | None


class ChangedReply(Reply):
    """keys: how many changed their state at the entity.

    is_done: the entity has done it; otherwise the sessions are over all the same, the node goes on asking it, and problem_* says why.
    """

    line: str
    keys: int
    sessions: int
    is_done: bool
    problem_zh: str
    problem_en: str
    problem_code: str


class UseInfo(Reply):
    time_ms: int
    purpose: str
    reference: str


class LeakReply(Reply):
    """What was protected with this key: exactly what was written down, never content. siblings: other keys of its block."""

    key_id: str
    state: str
    provenance: str
    block: int
    uses: list[UseInfo]
    siblings: int


class TestInfo(Reply):
    """source: where the answer is published. algorithm: "device" for the device's own keys."""

    name: str
    passed: bool
    algorithm: str
    source: str


class SelfTestReply(Reply):
    """One check. cause: start, first-block, schedule or asked. vectors: which known answers. hours: pause of the schedule, 0 for none; next_ms: when it is due again."""

    time_ms: int
    passed: bool
    number: int
    cause: str
    took_ms: int
    vectors: str
    version: str
    hours: int
    next_ms: int
    tests: list[TestInfo]


class CurvePoint(Reply):
    """rate: secret bits per pulse."""

    km: float
    rate: float


class CurveInfo(Reply):
    """One plot. published: points of a paper, `trust` says how they were come by; model: formulas; simulated: blocks drawn and counted; bound: PLOB."""

    name: str
    source: str
    trust: str
    published: list[CurvePoint]
    model: list[CurvePoint]
    simulated: list[CurvePoint]
    bound: list[CurvePoint]


class CurvesReply(Reply):
    curves: list[CurveInfo]

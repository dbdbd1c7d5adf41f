"""What the management interface tells, as values. Document: key-delivery.md section 7. Used by server and client alike.

Times are ms since 1970 UTC; a number that a source does not know is -1. None of these values holds a key.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

V = TypeVar("V")

LINE_STATES = ("making", "full", "paused", "alarm", "other-tenant", "peer-unreachable", "out-of-step", "waiting", "disabled")
ALARM_KINDS = (
    "qber-drift",
    "rate-collapse",
    "gain-shift",
    "qber-limit",
    "verification",
    "peer-unreachable",
    "other-tenant",
    "out-of-step",
    "restored-copy",
    "low-stock",
    "authentication-low",
    "authentication-stopped",
    "self-test",
)


@dataclass(frozen=True, slots=True)
class Overview:
    """The KME as a whole. device: kind of the first one; devices: name -> serving, draining, out or missing."""

    kme: str
    site: str
    version: str
    started_ms: int
    now_ms: int
    saes: list[str]
    lines: list[str]
    device: str
    device_enabled: bool
    devices: dict[str, str]
    open_alarms: int
    self_test_passed: bool


@dataclass(frozen=True, slots=True)
class Line:
    """One line as this end sees it. stock: state of a key -> how many; available: what an SAE of this site can get; tenant: its tag."""

    line: str
    role: str
    source: str
    provenance: str
    demonstration: bool
    preset: str
    policy: str
    state: str
    stock: dict[str, int]
    available: int
    target_keys: int
    max_keys: int
    low_water: int
    last_block: int
    last_qber: float
    baseline_qber: float
    last_rate: float
    baseline_rate: float
    rate_bps: float
    peer_site: str
    peer_kme: str
    peer_saes: list[str]
    peer_reachable: bool
    peer_seen_ms: int
    in_step: bool
    eavesdropper_kind: str
    eavesdropper_fraction: float
    open_alarms: int
    tenant: str = ""


@dataclass(frozen=True, slots=True)
class Block:
    """One block. state: stored, aborted, quarantined or rehearsal; rate: secret bits per pulse."""

    block: int
    line: str
    time_ms: int
    duration_ms: int
    provenance: str
    state: str
    aborted: str
    pulses: int
    sifted: int
    qber: float
    leak_bits: int
    efficiency: float
    rounds: int
    length_bits: int
    rate: float
    rate_bps: float
    authentication_bits: int
    epsilon: float
    keys: int
    alarm: str


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that staff must know. cleared_ms: 0 while it stands."""

    number: int
    line: str
    kind: str
    block: int
    raised_ms: int
    cleared_ms: int
    value: float
    limit: float
    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class Event:
    """One record for the node's evidence. facts: numbers and texts, never a key value."""

    number: int
    time_ms: int
    kind: str
    line: str
    block: int
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Forecast:
    """How long the stock lasts. hours_left: -1 when it does not run out."""

    line: str
    available: int
    burn_per_hour: float
    made_per_hour: float
    hours_left: float
    low_water: int
    window_s: int


@dataclass(frozen=True, slots=True)
class Key:
    """One key without its value. times: state -> ms."""

    key_id: str
    line: str
    block: int
    index: int
    state: str
    provenance: str
    size: int
    master: str
    slaves: list[str]
    times: dict[str, int]


@dataclass(frozen=True, slots=True)
class Use:
    """One thing that a key protected."""

    time_ms: int
    purpose: str
    reference: str


@dataclass(frozen=True, slots=True)
class LeakReport:
    """What a key protected, and how many keys came from the same block."""

    key_id: str
    state: str
    provenance: str
    block: int
    uses: list[Use]
    siblings: int


@dataclass(frozen=True, slots=True)
class Application:
    """An SAE of the site. left: keys it may take at once now; reserved: keys it has that its far applications have not all
    fetched; known_there: whether the far end of its line serves it."""

    application: str
    fingerprint: str
    line: str
    per_hour: int
    burst: int
    most_reserved: int
    priority: int
    state: str
    since_ms: int
    left: int
    reserved: int
    known_there: bool
    tenant: str = ""


@dataclass(frozen=True, slots=True)
class Applications:
    """problem: "" or `damaged`, `older`, `missing`: the list is in doubt and nobody is admitted until it is made anew."""

    problem: str
    applications: list[Application]


@dataclass(frozen=True, slots=True)
class ApplicationWithdrawn:
    """withdrawn: False when it was before. revoked: keys it had that its far applications had not all fetched."""

    withdrawn: bool
    revoked: int


@dataclass(frozen=True, slots=True)
class ChargePool:
    """Charge keys of one person's medium. live: session keys delivered and not ended; days_left: -1 where none is used."""

    person: str
    device: str
    line: str
    count: int
    low_water: int
    low: bool
    revoked: bool
    last_counter: int
    live: int
    per_day: float
    days_left: float


@dataclass(frozen=True, slots=True)
class ChargeFilling:
    """One filling. replaced: keys of earlier ones destroyed unused; first: counter of the first key. medium: the file, once."""

    pool: ChargePool
    replaced: int
    first: int
    medium: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ChargeDelivery:
    """A key of the line as a medium's session key. sealed: hexadecimal; ended: session keys that this one replaces."""

    charge_key_id: str
    counter: int
    session_key_id: str
    provenance: str
    sealed: str
    ended: list[str]
    left: int
    low: bool
    low_water: int


@dataclass(frozen=True, slots=True)
class ChargesRevoked:
    """Charge keys destroyed, pools closed, and the session keys whose sessions must end now."""

    revoked: int
    pools: int
    sessions: list[str]


@dataclass(frozen=True, slots=True)
class Device:
    """What wraps values. state: serving, draining, out, or missing (name "": no file of it is here).

    values: that lie under its key-encryption key now; sealed: ever. failed: wrong known answers, or why it does not open.
    """

    name: str
    kind: str
    kek: str
    state: str
    own_process: bool
    values: int
    sealed: int
    failed: list[str]


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What comparing the stocks of both ends brought."""

    line: str
    in_step: bool
    compared: int
    removed_here: int
    removed_there: int


@dataclass(frozen=True, slots=True)
class Test:
    """One known answer. source: where the answer is published; algorithm: "device" for a device's own keys."""

    __test__ = False  # not a test of pytest

    name: str
    passed: bool
    algorithm: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class SelfTest:
    """All known answers, once: the newest check as it was written down.

    number: 0 while none is. cause: start, schedule, asked or first-block. vectors: which answers; version: of the program
    that gave them. hours: pause of the schedule, 0 for none; next_ms: when the next one is due, 0 without a schedule.
    """

    time_ms: int
    passed: bool
    tests: list[Test]
    number: int = 0
    cause: str = ""
    took_ms: int = 0
    vectors: str = ""
    version: str = ""
    hours: int = 0
    next_ms: int = 0


@dataclass(frozen=True, slots=True)
class Check:
    """One earlier self-test. failed: names of the answers that were wrong."""

    number: int
    time_ms: int
    took_ms: int
    cause: str
    passed: bool
    tests: int
    failed: list[str]
    vectors: str
    version: str


_NESTED: dict[tuple[type, str], type] = {(LeakReport, "uses"): Use, (SelfTest, "tests"): Test, (Applications, "applications"): Application}
_INNER: dict[tuple[type, str], type] = {(ChargeFilling, "pool"): ChargePool}


def as_json(value: Any) -> dict[str, Any]:  # Any: one of the dataclasses above
    """The members of a view, ready for JSON."""
    return dataclasses.asdict(value)


def from_json(kind: type[V], value: Mapping[str, Any]) -> V:
    """A view from the members that `as_json` made; members of a later version are passed over. Raises ValueError."""
    members: dict[str, Any] = {}
    for one in dataclasses.fields(kind):  # type: ignore[arg-type]  # kind is one of the dataclasses above
        if one.name not in value:
            raise ValueError(f"{kind.__name__} lacks {one.name}")
        nested = _NESTED.get((kind, one.name))
        found = value[one.name]
        inner = _INNER.get((kind, one.name))
        if inner is not None:
            found = from_json(inner, found)
        members[one.name] = [from_json(nested, item) for item in found] if nested is not None else found
    return kind(**members)

"""A key-management entity within this process: the values of the real interface, a state that a test sets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from workbench.errors import NotFound, PeerUnavailable
from workbench_kme.service import views

NOW_MS = 1_795_241_152_000
KEY_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"


def line(name: str = "a1", **changes: Any) -> views.Line:
    """A sound simulated line."""
    made = views.Line(
        line=name, role="sender", source="simulated", provenance="simulated", demonstration=True, preset="metro-10", policy="hybrid-required",
        state="full", stock={"STORED": 1200, "RESERVED": 2, "DELIVERED": 1, "QUARANTINED": 0}, available=600, target_keys=2048, max_keys=20_000,
        low_water=128, last_block=11, last_qber=0.0052, baseline_qber=0.005, last_rate=1e-2, baseline_rate=1e-2, rate_bps=9e6, peer_site="bank",
        peer_kme="kme-bank", peer_saes=["sae-bank"], peer_reachable=True, peer_seen_ms=NOW_MS, in_step=True, eavesdropper_kind="",
        eavesdropper_fraction=0.0, open_alarms=0,
    )  # fmt: skip
    return replace(made, **changes)


def block(number: int, **changes: Any) -> views.Block:
    """A good block."""
    made = views.Block(
        block=number, line="a1", time_ms=NOW_MS - (100 - number) * 10_000, duration_ms=900, provenance="simulated", state="stored", aborted="",
        pulses=20_000_000, sifted=700_000, qber=0.005, leak_bits=33_000, efficiency=1.16, rounds=40, length_bits=180_000, rate=9e-3, rate_bps=9e6,
        authentication_bits=9000, epsilon=1e-10, keys=700, alarm="",
    )  # fmt: skip
    return replace(made, **changes)


def application(name: str, **changes: Any) -> views.Application:
    """A registered application, as an entity tells of those of its kme.json."""
    made = views.Application(
        application=name, fingerprint="0a" * 32, line="", per_hour=360_000, burst=1024, most_reserved=0, priority=0, state="registered", since_ms=NOW_MS,
        left=1024, reserved=0, known_there=True,
    )  # fmt: skip
    return replace(made, **changes)


@dataclass
class Entity:
    """Fulfils workbench_qkd.service.Management. asked: what was ordered. away: nothing answers.

    usual_state: of keys; states, block_of: of single ones that differ. keeps_quiet: nothing answers about a key.
    """

    known: dict[str, views.Line] = field(default_factory=lambda: {"a1": line()})
    told: list[views.Event] = field(default_factory=list)
    made: list[views.Block] = field(default_factory=lambda: [block(n) for n in range(12)])
    alarmed: list[views.Alarm] = field(default_factory=list)
    asked: list[tuple[Any, ...]] = field(default_factory=list)
    away: bool = False
    failing: bool = False
    usual_state: str = "CONSUMED"
    states: dict[str, str] = field(default_factory=dict)
    block_of: dict[str, int] = field(default_factory=dict)
    keeps_quiet: bool = False
    registered: dict[str, views.Application] = field(default_factory=lambda: {one: application(one) for one in ("sae-bank", "sae-broker")})
    list_problem: str = ""
    tested_ms: int = NOW_MS
    hours: int = 24
    device_states: dict[str, str] = field(default_factory=lambda: {"home": "serving"})
    before: Callable[[], None] = lambda: None

    def _answer(self) -> None:
        if self.away:
            raise PeerUnavailable("没有回应", "no answer", code="KME_AWAY")
        self.before()

    def tell(self, kind: str, *, block: int = -1, line: str = "a1", **facts: Any) -> None:
        """Another event."""
        self.told.append(views.Event(len(self.told) + 1, NOW_MS + len(self.told), kind, line, block, facts))

    def alarm(self, kind: str, *, line: str = "a1", block: int = 12, cleared: bool = False) -> None:
        """An alarm is raised, or the newest of this kind ends."""
        if cleared:
            at = next(n for n, one in enumerate(self.alarmed) if one.kind == kind)
            self.alarmed[at] = replace(self.alarmed[at], cleared_ms=NOW_MS + 1000)
            return
        self.alarmed.insert(0, views.Alarm(len(self.alarmed) + 1, line, kind, block, NOW_MS, 0, 0.08, 0.008, "升高", "risen"))

    def change(self, name: str = "a1", **changes: Any) -> None:
        """Another state of a line."""
        self.known[name] = replace(self.known[name], **changes)

    def overview(self) -> views.Overview:
        self._answer()
        return views.Overview("kme-broker", "broker", "1", NOW_MS, NOW_MS, ["sae-broker"], list(self.known), "soft", not self.failing, dict(self.device_states), 0, not self.failing)

    def lines(self) -> list[views.Line]:
        self._answer()
        return list(self.known.values())

    def line(self, line: str) -> views.Line:
        self._answer()
        if line not in self.known:
            raise NotFound("没有这条线路", "no such line", code="NO_LINE")
        return self.known[line]

    def blocks(self, line: str, *, limit: int = 100, before: int = -1) -> list[views.Block]:
        self.line(line)
        return [one for one in reversed(self.made) if before < 0 or one.block < before][:limit]

    def alarms(self, *, open_only: bool = False, limit: int = 100) -> list[views.Alarm]:
        self._answer()
        return self.alarmed[:limit]

    def events(self, *, after: int = 0, limit: int = 500) -> list[views.Event]:
        self._answer()
        return [one for one in self.told if one.number > after][:limit]

    def eavesdrop(self, line: str, kind: str, fraction: float) -> views.Line:
        self.asked.append(("eavesdrop", line, kind, fraction))
        self.change(line, eavesdropper_kind=kind if fraction else "", eavesdropper_fraction=fraction)
        return self.line(line)

    def recover(self, line: str) -> views.Line:
        self.asked.append(("recover", line))
        return self.line(line)

    def set_policy(self, line: str, policy: str, *, act: str) -> views.Line:
        self._answer()
        self.asked.append(("set_policy", line, policy))
        self.change(line, policy=policy)
        return self.known[line]

    def rekey(self, line: str, *, reason: str) -> int:
        self._answer()
        self.asked.append(("rekey", line))
        return self.line(line).available

    def forecast(self, line: str) -> views.Forecast:
        return views.Forecast(line, self.line(line).available, 120.0, 20.0, 6.0, 128, 3600)

    def revoke(self, line: str, *, key_ids: Sequence[str] = (), block: int = -1, reason: str) -> int:
        self.line(line)
        self.asked.append(("revoke", line, tuple(key_ids), block))
        return len(key_ids) or 700

    def key(self, key_id: str) -> views.Key:
        self._answer()
        if self.keeps_quiet:
            raise PeerUnavailable("没有回应", "no answer", code="KME_AWAY")
        if self.states.get(key_id) == "unknown":
            raise NotFound("没有这把密钥", "no such key", code="KEY_UNKNOWN")
        state = self.states.get(key_id, self.usual_state)
        return views.Key(key_id, "a1", self.block_of.get(key_id, 7), 3, state, "simulated", 256, "sae-broker", ["sae-bank"], {})

    def leak_report(self, key_id: str) -> views.LeakReport:
        self._answer()
        return views.LeakReport(key_id, "CONSUMED", "simulated", 7, [views.Use(NOW_MS, "session", "S-0001")], 699)

    def consume(self, key_ids: Sequence[str], *, sae: str, purpose: str, reference: str) -> int:
        self._answer()
        self.asked.append(("consume", tuple(key_ids), reference))
        return len(key_ids)

    def applications(self) -> views.Applications:
        self._answer()
        return views.Applications(self.list_problem, list(self.registered.values()))

    def register_application(self, wanted: Mapping[str, Any], *, act: str) -> views.Application:
        return self._registered("register", wanted, act)

    def set_application(self, wanted: Mapping[str, Any], *, act: str) -> views.Application:
        return self._registered("set", wanted, act)

    def withdraw_application(self, application: str, *, act: str) -> views.ApplicationWithdrawn:
        self._answer()
        if application not in self.registered:
            raise NotFound("没有登记", "not registered", code="NO_APPLICATION")
        before = self.registered[application]
        self.registered[application] = replace(before, state="withdrawn", reserved=0)
        self.asked.append(("withdraw", application, act))
        return views.ApplicationWithdrawn(before.state == "registered", before.reserved)

    def _registered(self, verb: str, wanted: Mapping[str, Any], act: str) -> views.Application:
        self._answer()
        self.asked.append((verb, dict(wanted), act))
        limits = {name: value for name, value in wanted.items() if name != "certificate"}
        made = application(**{"name": limits.pop("application"), **limits}, left=wanted["burst"], known_there=False)
        self.registered[made.application] = made
        return made

    def devices(self) -> list[views.Device]:
        self._answer()
        return [
            views.Device(name, "soft", f"{n:016x}", state, n > 0, 100, 120, ["SM3"] if state == "out" else [])
            for n, (name, state) in enumerate(self.device_states.items())
        ]

    def add_device(self, name: str, *, backend: str = "soft") -> views.Device:
        self._answer()
        self.asked.append(("add_device", name, backend))
        self.device_states[name] = "serving"
        return self.devices()[-1]

    def drain_device(self, name: str) -> int:
        self._answer()
        self.asked.append(("drain_device", name))
        if name not in self.device_states:
            raise NotFound("没有这台设备", "no such device", code="NO_SUCH_DEVICE")
        del self.device_states[name]
        return 100

    def charges(self) -> list[views.ChargePool]:
        self._answer()
        return []

    def self_test(self) -> views.SelfTest:
        self._answer()
        tests = [views.Test("sm3", True, "sm3", "GB/T 32905"), views.Test("sm4-gcm", not self.failing, "sm4-gcm", "own")]
        next_ms = self.tested_ms + self.hours * 3_600_000 if self.hours else 0
        return views.SelfTest(self.tested_ms, not self.failing, tests, 3, "asked", 150, "1/0011", "1", self.hours, next_ms)

    def last_self_test(self) -> views.SelfTest:
        return self.self_test()

    def self_tests(self, *, limit: int = 100) -> list[views.Check]:
        self._answer()
        failed = ["sm4-gcm"] if self.failing else []
        made = [(3, "asked", not failed), (2, "schedule", True), (1, "start", True)]
        return [views.Check(n, self.tested_ms - 1000 * (3 - n), 150, cause, ok, 2, [] if ok else failed, "1/0011", "1") for n, cause, ok in made][:limit]

    def close(self) -> None: ...

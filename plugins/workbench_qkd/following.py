"""What a key-management entity told, turned into evidence: each thing once, in the transaction that moves the cursor on.

Blocks and alarms are read from their own lists, which have all their figures; what became of keys, and the rest, from events.

Document: docs/quantum-channel.md section 5; events: docs/protocols/key-delivery.md section 7. Ids and counts, never a value.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from workbench.contracts import Host, Transaction
from workbench_kme.service import views
from workbench_qkd import measuring, policies

PARTS_PER_MILLION: Final = 1_000_000
HOLDING_ALARMS: Final = frozenset({"qber-drift", "rate-collapse", "gain-shift", "qber-limit", "verification", "restored-copy"})
"""Alarms that stop sessions until two people resume. The others end by themselves: nothing about the keys in stock is in doubt."""
COUNTED: Final = ("reserved", "delivered", "consumed", "destroyed", "expired", "revoked", "quarantined")
SELF_TEST: Final = "device.self-test"
BY_ITSELF: Final = ("start", "first-block", "schedule")
"""Causes of a self-test that no operation of this node asked for."""
MINUTE_MS: Final = 60_000
MOST_FACTS: Final = 500
_COUNTS: Final = {"key.accepted": "reserved"} | {f"key.{one}": one for one in COUNTED}
_SAID_ELSEWHERE: Final = ("block.", "alarm.", "key.handed-out")
"""Starts of kinds that say again what a block, an alarm or a reservation has said."""


def last_number(reader: Any, cursor: str) -> int:  # Any: a connection or a transaction
    """Number of the last thing behind this cursor that is evidence; -1 for none."""
    row = reader.execute("SELECT last FROM qkd_followed WHERE source = ?", (cursor,)).fetchone()
    return int(row[0]) if row else -1


def begin_anew(tx: Transaction, host: Host, source: str, lines: Sequence[str]) -> None:
    """Forget every cursor of an entity whose blocks count from a lower number than before, and write that down."""
    tx.execute("DELETE FROM qkd_followed WHERE source = ? OR source LIKE ? || ' %'", (source, source))
    tx.execute("DELETE FROM qkd_alarm WHERE source = ?", (source,))
    for line in lines:
        host.evidence.append(tx, "qkd.told", {"line": line, "event": "entity.replaced", "facts": f"source={source}"})


def take_events(tx: Transaction, host: Host, source: str, told: Iterable[views.Event]) -> int:
    """Write the events after the cursor down and move it on; how many were new."""
    return _take(tx, host, f"{source} events", [(one.number, one) for one in told], _event)


def take_blocks(tx: Transaction, host: Host, source: str, line: str, blocks: Sequence[views.Block]) -> int:
    """Write the blocks after the cursor down, oldest first; how many were new."""
    return _take(tx, host, f"{source} {line} blocks", sorted((one.block, one) for one in blocks), _block)


def take_alarms(tx: Transaction, host: Host, source: str, alarms: Sequence[views.Alarm]) -> int:
    """Write new alarms down, and the end of those that stood; how many entries."""
    ended = {row[0] for row in tx.execute("SELECT number FROM qkd_alarm WHERE source = ?", (source,))}
    over = [one for one in alarms if one.number in ended and one.cleared_ms]
    new = _take(tx, host, f"{source} alarms", sorted((one.number, one) for one in alarms), _alarm)
    for one in over:
        _cleared(tx, host, source, one)
    for one in alarms:
        if one.number > 0 and one.number not in ended and not one.cleared_ms:
            tx.execute("INSERT OR IGNORE INTO qkd_alarm (source, number) VALUES (?, ?)", (source, one.number))
    return new + len(over)


def _take(tx: Transaction, host: Host, cursor: str, found: Sequence[tuple[int, Any]], write: Any) -> int:  # Any: one of the values above
    last = last_number(tx, cursor)
    new = [(number, one) for number, one in found if number > last]
    for _, one in new:
        write(tx, host, one)
    if new:
        tx.execute(
            "INSERT INTO qkd_followed (source, last, at_ms) VALUES (?, ?, ?)"
            " ON CONFLICT (source) DO UPDATE SET last = excluded.last, at_ms = excluded.at_ms",
            (cursor, new[-1][0], host.now_ms()),
        )
    return len(new)


def tested(tx: Transaction, host: Any, told: views.SelfTest, *, actor: str) -> None:  # Any: the node
    """Entries of a self-test. actor: token of who asked for it."""
    failed = [one.name for one in told.tests if not one.passed]
    host.evidence.append(tx, "qkd.self_tested", entry_of(told), actor=actor)
    if failed:
        host.evidence.append(tx, "qkd.self_test_failed", {"tests": " ".join(failed)}, actor=actor)


def entry_of(told: views.SelfTest) -> dict[str, str]:
    """What an entry of the kind qkd.self_tested says of a check."""
    failed = sum(1 for one in told.tests if not one.passed)
    return {"tests": str(len(told.tests)), "failed": str(failed), "cause": told.cause, "vectors": told.vectors, "at": str(told.time_ms)}


def flush(tx: Transaction, host: Host, *, older_than_ms: int) -> int:
    """One entry a line that has counts since before `older_than_ms`; how many entries."""
    lines = [row[0] for row in tx.execute("SELECT line FROM qkd_tally GROUP BY line HAVING min(from_ms) <= ?", (older_than_ms,))]
    for line in lines:
        rows = {what: (number, from_ms) for what, number, from_ms in tx.execute("SELECT what, number, from_ms FROM qkd_tally WHERE line = ?", (line,))}
        values = {"line": line, "from_ms": str(min(at for _, at in rows.values())), "until_ms": str(host.now_ms())}
        host.evidence.append(tx, "qkd.keys_counted", values | {what: str(rows.get(what, (0, 0))[0]) for what in COUNTED})
        tx.execute("DELETE FROM qkd_tally WHERE line = ?", (line,))
    return len(lines)


def tally(tx: Transaction, line: str, what: str, number: int, *, at_ms: int) -> None:
    """Count what became of keys, for the next entry."""
    if number > 0:
        tx.execute(
            "INSERT INTO qkd_tally (line, what, number, from_ms) VALUES (?, ?, ?, ?) ON CONFLICT (line, what) DO UPDATE SET number = number + excluded.number",
            (line, what, number, at_ms),
        )


def _event(tx: Transaction, host: Host, one: views.Event) -> None:
    """Counted, or an entry of its own: an event that this version does not know is evidence too."""
    if one.kind == "alarm.raised" and one.facts.get("alarm") in HOLDING_ALARMS:
        # The list of alarms says it with all figures, but ends with the newest: after a long absence this one may have left it.
        policies.hold(tx, one.line, at_ms=one.time_ms, cause=str(one.facts["alarm"]), block=one.block)
    if one.kind.startswith(_SAID_ELSEWHERE):
        return
    counted = _COUNTS.get(one.kind)
    if counted is not None:
        keys = one.facts.get("keys", 0)
        tally(tx, one.line, counted, int(keys) if isinstance(keys, int) else 0, at_ms=host.now_ms())
        return
    if one.kind == SELF_TEST and one.facts.get("cause") in BY_ITSELF:
        _self_tested(tx, host, one)
        return
    facts = " ".join(f"{name}={value}" for name, value in sorted(one.facts.items()))[:MOST_FACTS]
    host.evidence.append(tx, "qkd.told", {"line": one.line, "event": one.kind, "facts": facts})


def _self_tested(tx: Transaction, host: Host, one: views.Event) -> None:
    """A check that nobody asked for; the operation writes down one that somebody did."""
    told = {"tests": "run", "failed": "wrong", "cause": "cause", "vectors": "vectors", "at": "at_ms"}
    host.evidence.append(tx, "qkd.self_tested", {name: str(one.facts.get(fact, "")) for name, fact in told.items()})
    if one.facts.get("passed") != 1:
        host.evidence.append(tx, "qkd.self_test_failed", {"tests": str(one.facts.get("failed", ""))})


def _block(tx: Transaction, host: Host, one: views.Block) -> None:
    measuring.add_block(tx, one)
    values = {"line": one.line, "block": str(one.block), "provenance": one.provenance, "qber": millionths(one.qber)}
    if one.state == "stored":
        figures = {"sifted": str(one.sifted), "leak_bits": str(one.leak_bits), "key_bits": str(one.length_bits), "keys": str(one.keys)}
        host.evidence.append(tx, "qkd.block_distilled", values | figures)
    elif one.state != "rehearsal":
        host.evidence.append(tx, "qkd.block_aborted", values | {"cause": one.alarm or one.aborted or one.state})


def _alarm(tx: Transaction, host: Host, one: views.Alarm) -> None:
    """An alarm about the keys themselves stops sessions here until two people resume, whatever the entity does meanwhile."""
    if one.kind in HOLDING_ALARMS:
        policies.hold(tx, one.line, at_ms=one.raised_ms, cause=one.kind, block=one.block)
    values = {"line": one.line, "cause": one.kind, "value": millionths(one.value), "limit": millionths(one.limit), "block": str(one.block)}
    host.evidence.append(tx, "qkd.alarm_raised", values)


def _cleared(tx: Transaction, host: Host, source: str, one: views.Alarm) -> None:
    tx.execute("DELETE FROM qkd_alarm WHERE source = ? AND number = ?", (source, one.number))
    host.evidence.append(tx, "qkd.alarm_cleared", {"line": one.line, "cause": one.kind})


def millionths(value: float) -> str:
    """A figure in millionths as a whole number; "" where it is not known."""
    return str(round(value * PARTS_PER_MILLION)) if value >= 0 else ""

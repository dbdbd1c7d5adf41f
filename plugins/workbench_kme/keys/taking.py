"""Reserving, handing out, delivering and consuming keys, inside the caller's change.

Document: docs/protocols/key-delivery.md sections 1 and 2. Every function changes all the keys it is given or raises and changes none.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from uuid import UUID

from workbench.contracts import Transaction
from workbench.errors import Denied, InvalidRequest, KeyUnavailable
from workbench_kme.devices.wrapping import kek_of
from workbench_kme.keys import limiting, quota
from workbench_kme.keys.core import Core
from workbench_kme.keys.forecast import WINDOW_S, Forecast, forecast, retry_after_s
from workbench_kme.keys.model import (
    KEY_BITS,
    MIN_KEY_BITS,
    KeyValue,
    Provenance,
    Reservation,
    State,
    check_entity,
    check_use,
)
from workbench_kme.keys.rows import (
    COLUMNS,
    KeyRow,
    LineRow,
    Reader,
    add_event,
    add_minute,
    count,
    key_row,
    move,
    move_where,
    parse_key,
    raise_pointer,
    set_aside,
    wipe,
)

EXPIRED_AT_ONCE = 1000
"""How many keys one call brings to EXPIRED at most, so that a delivery never waits for a great sweep."""

MOST_KEYS = 1024


def reserve(
    core: Core,
    tx: Transaction,
    now: int,
    line: LineRow,
    master: str,
    slaves: Sequence[str],
    *,
    number: int,
    size: int,
    origins: Collection[Provenance],
    default_quota: quota.Quota | None,
) -> tuple[Reservation, list[KeyRow]]:
    """STORED → RESERVED for the lowest free keys of this end's own pool; these as they are then."""
    _check_request(master, slaves, number, size)
    core.check_usable(tx, line)
    pool = line.line.pool
    expire(tx, now, limit=EXPIRED_AT_ONCE, line=line)
    priority = _take_quota(tx, now, master, number, default_quota)
    stored = count(tx, line.number, pool, State.STORED)
    available = max(0, stored - quota.kept_from(line.line.kept_back, priority))
    marks = ", ".join(str(one.code) for one in sorted(origins))
    closed = core.closed_keks(tx)
    rows = tx.execute(
        f"SELECT {COLUMNS} FROM kme_key k INDEXED BY kme_key_free"
        " JOIN kme_block b ON b.line = k.line AND b.block = k.block"
        " WHERE k.line = ? AND k.pool = ? AND k.state = 2 AND k.expires_ms > ?"
        + (f" AND b.provenance IN ({marks})" if origins else "")
        + (f" AND {openable(closed)}" if closed else "")
        + " ORDER BY k.block, k.idx LIMIT ?",
        (line.number, pool, now, min(number, available)),
    ).fetchall()
    keys = [parse_key(row) for row in rows]
    if len(keys) < number:
        raise _exhausted(tx, now, line, number - len(keys), available)
    keys = _set_aside(tx, now, line, keys, size=size, master=master, slaves=slaves)
    add_event(
        tx, now, "key.reserved", line.line.name, key_ids=[key.key_id for key in keys], master=master, slaves=" ".join(slaves)
    )
    reservation = Reservation(
        line.line.name,
        tuple(key.key_id for key in keys),
        size,
        master,
        tuple(slaves),
        tuple(key.provenance for key in keys),
        stored - number < line.line.low_water,
    )
    return reservation, keys


def accept(core: Core, tx: Transaction, now: int, line: LineRow, reservation: Reservation) -> None:
    """STORED → RESERVED for the keys the other end chose from its pool; all, or KeyUnavailable NOT_IN_STOCK.

    A notice that comes again, or after a sync that brought the reservation already, changes nothing.
    """
    _check_request(reservation.master, reservation.slaves, len(reservation.key_ids), reservation.size)
    core.check_usable(tx, line)
    keys, refused = [], []
    closed = core.closed_keks(tx)
    for key_id in reservation.key_ids:
        key = key_row(tx, key_id)
        if key is not None and _is_reserved_so(key, line, reservation):
            continue
        if key is None or not _is_acceptable(key, line, now) or (key.wrapped is not None and kek_of(key.wrapped) in closed):
            refused.append(key_id)
        else:
            keys.append(key)
    if refused or len(set(reservation.key_ids)) != len(reservation.key_ids):
        raise KeyUnavailable(
            f"对端预留的密钥中有 {len(refused)} 个不在本端库存中，全部拒绝",
            f"{len(refused)} of the keys the other end reserved are not in stock here; all are refused",
            code="NOT_IN_STOCK",
            details={"keys": " ".join(str(one) for one in refused)},
        )
    if not keys:
        return
    _set_aside(tx, now, line, keys, size=reservation.size, master=reservation.master, slaves=reservation.slaves)
    add_event(
        tx, now, "key.accepted", line.line.name, key_ids=reservation.key_ids, master=reservation.master,
        slaves=" ".join(reservation.slaves),
    )  # fmt: skip


def hand_out(core: Core, tx: Transaction, now: int, key_ids: Sequence[UUID], master: str) -> list[KeyValue]:
    """`give_out` of keys found by their ids."""
    return give_out(core, tx, now, _found(tx, key_ids), master)


def give_out(core: Core, tx: Transaction, now: int, keys: Sequence[KeyRow], master: str) -> list[KeyValue]:
    """The values for the master, once. The value at this end is overwritten in the same change."""
    for key in keys:
        if key.master != master:
            raise _not_yours(key.key_id)
        if key.state is not State.RESERVED or key.wrapped is None or key.expires_ms <= now:
            raise gone([key.key_id])
    values = _give(core, tx, now, keys, "master")
    for key in keys:
        wipe(tx, key.number)
    add_event(tx, now, "key.handed-out", values[0].line, key_ids=[key.key_id for key in keys], master=master)
    return values


def check_reserved(reader: Reader, key_ids: Sequence[UUID]) -> None:
    """Return if all of them are RESERVED. Raises KeyUnavailable KEY_GONE with the others."""
    marks = ", ".join("?" * len(key_ids))
    rows = reader.execute(
        f"SELECT id FROM kme_key WHERE state = 3 AND id IN ({marks})", [key_id.bytes for key_id in key_ids]
    )
    found = {bytes(row[0]) for row in rows}
    if len(found) != len(key_ids):
        raise gone([key_id for key_id in key_ids if key_id.bytes not in found])


def deliver(
    core: Core, tx: Transaction, now: int, key_ids: Sequence[UUID], slave: str, *, master: str
) -> list[KeyValue]:
    """The values for one slave, once each; RESERVED → DELIVERED when all slaves were served.

    master: when given, keys of another master do not exist.
    """
    keys = _found(tx, key_ids)
    for key in keys:
        if key.state is not State.RESERVED or key.wrapped is None or key.expires_ms <= now or master not in ("", key.master):
            raise gone([key.key_id])
        if slave not in key.slaves:
            raise _not_yours(key.key_id)
    values, served = _give(core, tx, now, keys, f"slave/{slave}"), []
    for key in keys:
        got = tx.execute("SELECT COUNT(*) FROM kme_use WHERE key = ? AND role LIKE 'slave/%'", (key.number,)).fetchone()[0]
        if got == len(key.slaves):
            wipe(tx, key.number)
            served.append(key)
    move(tx, [key.number for key in served], State.DELIVERED, now)
    add_event(tx, now, "key.delivered", values[0].line, key_ids=key_ids, slave=slave, complete=len(served))
    return values


def report_delivered(tx: Transaction, now: int, key_ids: Sequence[UUID], line: LineRow) -> int:
    """RESERVED → DELIVERED at the master's end, for keys whose value left it; how many."""
    rows = [key_row(tx, key_id) for key_id in key_ids]
    ours = [key for key in rows if key and key.line == line.number and key.position.pool == line.line.pool]
    return move(tx, [key.number for key in ours if key.wrapped is None], State.DELIVERED, now)


def consume(tx: Transaction, now: int, key_ids: Sequence[UUID], purpose: str, reference: str, *, sae: str) -> int:
    """Keep what keys were used for, and bring those all of whose values are out to CONSUMED; how many moved.

    sae: who used them; "" when the site's node speaks for it. A key that never left this end is KEY_GONE.
    """
    check_use(purpose, reference)
    keys = _found(tx, key_ids)
    for key in keys:
        roles = {row[0] for row in tx.execute("SELECT role FROM kme_use WHERE key = ?", (key.number,))}
        if not roles:
            raise gone([key.key_id])
        if sae and not (f"slave/{sae}" in roles or ("master" in roles and key.master == sae)):
            raise _not_yours(key.key_id)
    tx.executemany(
        "INSERT INTO kme_reference (key, time_ms, sae, purpose, reference) VALUES (?, ?, ?, ?, ?)",
        [(key.number, now, sae, purpose, reference) for key in keys],
    )
    out = [key.number for key in keys if key.wrapped is None]
    move(tx, [key.number for key in keys if key.wrapped is None and key.state is State.RESERVED], State.DELIVERED, now)
    moved = move(tx, out, State.CONSUMED, now)
    add_event(tx, now, "key.consumed", "", key_ids=key_ids, purpose=purpose, reference=reference)
    return moved


def expire(tx: Transaction, now: int, *, limit: int, line: LineRow | None = None) -> int:
    """What is due, at most `limit` keys: GENERATED, STORED, RESERVED → EXPIRED; how many."""
    due = tx.execute(
        "SELECT number FROM kme_key WHERE state IN (1, 2, 3) AND expires_ms <= ? LIMIT ?", (now, limit)
    ).fetchall()
    if not due:
        return 0
    numbers = ", ".join(str(int(row[0])) for row in due)
    moved = move_where(tx, State.EXPIRED, now, f"number IN ({numbers})", ())
    if moved:
        add_event(tx, now, "key.expired", line.line.name if line else "", keys=moved)
    return moved


def pool_forecast(reader: Reader, now: int, line: LineRow, pool: int) -> Forecast:
    """Burn, fill and what is left of a pool, from the last hour or since the line began."""
    begun = int(reader.execute("SELECT begun_ms FROM kme_line WHERE number = ?", (line.number,)).fetchone()[0])
    window_s = max(60, min(WINDOW_S, (now - begun) // 1000))
    taken, made = reader.execute(
        "SELECT COALESCE(SUM(taken), 0), COALESCE(SUM(made), 0) FROM kme_minute"
        " WHERE line = ? AND pool = ? AND minute > ?",
        (line.number, pool, (now - window_s * 1000) // 60_000),
    ).fetchone()
    stored = count(reader, line.number, pool, State.STORED)
    return forecast(line.line.name, stored, line.line.low_water, taken=taken, made=made, window_s=window_s)


def gone(key_ids: Sequence[UUID]) -> KeyUnavailable:
    """Unknown here, given out already, expired, revoked: one answer, so that nobody learns which."""
    names = " ".join(str(one) for one in key_ids)
    return KeyUnavailable(
        f"密钥 {names} 不在本端或已不可用：应用重新申请密钥",
        f"the keys {names} are not here or no longer to be had: the application asks for others",
        code="KEY_GONE",
        details={"keys": names},
    )


def _set_aside(
    tx: Transaction, now: int, line: LineRow, keys: Sequence[KeyRow], *, size: int, master: str, slaves: Sequence[str]
) -> list[KeyRow]:
    until = now + line.line.reservation_ms
    moved = set_aside(tx, keys, now, size=size, master=master, slaves=slaves, until_ms=until)
    if len(moved) != len(keys):
        raise gone([key.key_id for key in keys])  # not reached with one writer; the constraint, not the reader, decides
    pool = keys[0].position.pool
    raise_pointer(tx, line.number, max(key.position for key in keys), pool=pool)
    add_minute(tx, line.number, pool, now, taken=len(keys))
    return moved


def _is_acceptable(key: KeyRow, line: LineRow, now: int) -> bool:
    """A key of the pool whose masters are at the other end, free here."""
    return (
        key.line == line.number
        and key.position.pool != line.line.pool
        and key.state is State.STORED
        and key.expires_ms > now
    )


def _is_reserved_so(key: KeyRow, line: LineRow, reservation: Reservation) -> bool:
    """Set aside already, in exactly this way, and still here."""
    return (
        key.line == line.number
        and key.position.pool != line.line.pool
        and key.state is State.RESERVED
        and key.wrapped is not None
        and (key.master, key.slaves, key.size) == (reservation.master, reservation.slaves, reservation.size)
    )


def openable(closed: Collection[bytes]) -> str:
    """Condition over `k`: the value was wrapped by none of these KEKs."""
    named = ", ".join(f"x'{one.hex()}'" for one in sorted(closed))
    return f"substr(k.wrapped, 3, 8) NOT IN ({named})"


def _give(core: Core, tx: Transaction, now: int, keys: Sequence[KeyRow], role: str) -> list[KeyValue]:
    """Values on their way out; the primary key of kme_use refuses a second time for the role."""
    pairs, lines = [], []
    for key in keys:
        try:
            tx.execute("INSERT INTO kme_use (key, role, time_ms) VALUES (?, ?, ?)", (key.number, role, now))
        except sqlite3.IntegrityError as error:
            raise gone([key.key_id]) from error
        row = tx.execute("SELECT name, namespace FROM kme_line WHERE number = ?", (key.line,)).fetchone()
        assert key.wrapped is not None
        pairs.append((key.wrapped, key_context(key, bytes(row[1]))))
        lines.append(str(row[0]))
    values = core.session.unwrap_many("key", pairs)
    made = []
    for key, value, line in zip(keys, values, lines, strict=True):
        size = key.size // 8
        value[size:] = bytes(len(value) - size)  # overwritten before it is cut off
        value[size:] = b""
        made.append(KeyValue(key.key_id, value, key.provenance, line, key.position.block, key.position.index))
    return made


def key_context(key: KeyRow, namespace: bytes) -> bytes:
    """What a wrapped key value is bound to: docs/protocols/key-delivery.md section 3.1."""
    return value_context(key.key_id, namespace, key.position.block, key.position.index, key.provenance)


def value_context(key_id: UUID, namespace: bytes, block: int, index: int, provenance: Provenance) -> bytes:
    """As `key_context`, from its parts."""
    place = block.to_bytes(8, "big") + index.to_bytes(4, "big")
    return key_id.bytes + namespace + place + bytes([provenance.code])


def _found(tx: Transaction, key_ids: Sequence[UUID]) -> list[KeyRow]:
    if not 1 <= len(key_ids) <= MOST_KEYS or len(set(key_ids)) != len(key_ids):
        raise InvalidRequest(
            f"一次须给出 1 至 {MOST_KEYS} 个不同的密钥编号", f"name 1 to {MOST_KEYS} different keys at a time", code="KEY_IDS"
        )
    keys = [key_row(tx, key_id) for key_id in key_ids]
    missing = [key_id for key_id, key in zip(key_ids, keys, strict=True) if key is None]
    if missing:
        raise gone(missing)
    return [key for key in keys if key is not None]


def _check_request(master: str, slaves: Sequence[str], number: int, size: int) -> None:
    check_entity(master, what="应用 SAE")
    for slave in slaves:
        check_entity(slave, what="应用 SAE")
    if not slaves or len(set(slaves)) != len(slaves) or not 1 <= number <= MOST_KEYS:
        raise InvalidRequest(
            f"须给出至少一个、互不相同的接收方，数量 1 至 {MOST_KEYS}",
            f"name at least one receiver, each once, and 1 to {MOST_KEYS} keys",
            code="RESERVATION_MALFORMED",
        )
    if size % 8 or not MIN_KEY_BITS <= size <= KEY_BITS:
        raise InvalidRequest(
            f"密钥长度须为 8 的倍数，{MIN_KEY_BITS} 至 {KEY_BITS} 位",
            f"the size of a key is a multiple of 8, {MIN_KEY_BITS} to {KEY_BITS} bits",
            code="KEY_SIZE",
        )


def _take_quota(tx: Transaction, now: int, sae: str, number: int, default: quota.Quota | None) -> int:
    """Take `number` tokens of an SAE; its priority. Raises KeyUnavailable QUOTA_EXCEEDED, Denied SAE_UNKNOWN."""
    limits, bucket = limiting.quota_of(tx, now, sae, default)
    left = quota.take(limits, bucket, number, now)
    if isinstance(left, int):
        raise limiting.exceeded(sae, left)
    limiting.require_room(tx, now, sae, number, limits.most_reserved)
    tx.execute(
        "INSERT INTO kme_sae (sae, registered, burst, per_minute, priority, tokens, at_ms) VALUES (?, 0, ?, ?, ?, ?, ?)"
        " ON CONFLICT (sae) DO UPDATE SET tokens = excluded.tokens, at_ms = excluded.at_ms",
        (sae, limits.burst, limits.per_minute, limits.priority, left.tokens, left.at_ms),
    )
    return limits.priority


def _exhausted(tx: Transaction, now: int, line: LineRow, missing: int, available: int) -> KeyUnavailable:
    wait = retry_after_s(missing, pool_forecast(tx, now, line, line.line.pool).made_per_hour)
    return KeyUnavailable(
        f"线路 {line.line.name} 的密钥不足，本次未取走任何密钥，也不改用其他密钥：约 {wait} 秒后再试",
        f"line {line.line.name} has too few keys; none was taken and no other key is used instead: try in about {wait} s",
        code="EXHAUSTED",
        details={"stored_key_count": str(available), "retry_after_s": str(wait)},
    )


def _not_yours(key_id: UUID) -> Denied:
    return Denied(
        f"密钥 {key_id} 不是为该应用预留的", f"the key {key_id} was not reserved for this application", code="KEY_NOT_YOURS"
    )

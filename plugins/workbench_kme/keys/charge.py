"""Charge keys 充注密钥 and session keys delivered under them: the last mile, which is a pre-shared symmetric key.

Document: docs/protocols/key-delivery.md section 4. `ChargePools` is the mirror at the KME; `ChargeMedium` is what a person's
device does with the keys it was filled with. A charge key protects one delivery and is then gone at both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid5

from workbench.contracts import Transaction
from workbench.crypto import aead, kdf
from workbench.errors import KeyUnavailable, NotFound, Refused, VerificationError
from workbench_kme.devices import DeviceAccess
from workbench_kme.devices.wrapping import kek_of, out_of_service
from workbench_kme.keys.core import Core
from workbench_kme.keys.model import KEY_BYTES, Provenance, check_entity, check_reason
from workbench_kme.keys.rows import Reader, add_event, mark_erased

VERSION = 1
MOST_FILLED = 4096
MOST_KEY_BYTES = 64
MIN_KEY_BYTES = 16
DAY_MS = 86_400_000
FORECAST_DAYS = 7
"""A pool's use is counted over this many days, over fewer where it was filled for the first time since."""
_HEADER_BYTES = 1 + 8 + 16 + 1
_CODES = {one.code: one for one in Provenance}


@dataclass(slots=True)
class ChargeKey:
    """A charge key on its way into a medium. value: overwrite it once it is there."""

    key_id: UUID
    counter: int
    value: bytearray = field(repr=False)


@dataclass(frozen=True, slots=True)
class ChargePool:
    """A mirror: how many charge keys are left. low: fewer than `low_water`. revoked: closed for good.

    last_counter: of the newest charge key ever made for it. live: session keys delivered and not ended. per_day: used a
    day, over the last FORECAST_DAYS; days_left: until none is left at that pace, -1 where none was used.
    """

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
class Filling:
    """Keys for a medium, in the order of their counters. replaced: how many of earlier fillings were destroyed unused.

    namespace: of the line.
    """

    keys: list[ChargeKey]
    replaced: int
    namespace: UUID


@dataclass(frozen=True, slots=True)
class ChargeDelivery:
    """A session key sealed under a charge key; `sealed` may be shown to anyone. ended: sessions that this one replaces.

    left: charge keys that the pool has after it; low: fewer than its low-water mark.
    """

    charge_key_id: UUID
    session_key_id: UUID
    counter: int
    provenance: Provenance
    sealed: bytes
    ended: tuple[UUID, ...]
    left: int
    low: bool
    low_water: int


@dataclass(frozen=True, slots=True)
class ChargesRevoked:
    """What a revocation did: charge keys destroyed, the session keys whose sessions must be ended now, pools closed by it."""

    revoked: int
    sessions: tuple[UUID, ...]
    pools: int


class ChargePools:
    """The mirrors of one KME, in the key store's database. Thread-safe.

    core: of the open KeyStore; `KeyStore.charges` has one made already. session: what wraps, the store's own by default.
    """

    def __init__(self, core: Core, session: DeviceAccess | None = None) -> None:
        self._core, self._own_session = core, session

    @property
    def _session(self) -> DeviceAccess:
        return self._own_session or self._core.session

    def fill(self, person: str, device: str, line: str, count: int, *, low_water: int = 16) -> list[ChargeKey]:
        """Draw `count` fresh charge keys, mirror them wrapped, and give them out once, for the medium.

        Those of earlier fillings stay. Raises Refused CHARGE_REVOKED (a revoked medium is never filled again), CHARGE_FILL;
        NotFound NO_SUCH_LINE.
        """
        return self._fill(person, device, line, count, low_water, after=-1).keys

    def fill_anew(self, person: str, device: str, line: str, count: int, *, low_water: int, after: int) -> Filling:
        """As `fill`, and what earlier fillings left is destroyed: a file that was lost makes no gap in the counters.

        after: the last counter of the pool as the caller knows it, 0 for a new one. Another one is Refused CHARGE_MOVED:
        this request was made before, or somebody else filled meanwhile.
        """
        return self._fill(person, device, line, count, low_water, after=after)

    def _fill(self, person: str, device: str, line: str, count: int, low_water: int, *, after: int) -> Filling:
        check_entity(person, what="人员")
        check_entity(device, what="设备")
        if not 1 <= count <= MOST_FILLED:
            raise Refused(
                f"一次充注 1 至 {MOST_FILLED} 个密钥", f"1 to {MOST_FILLED} keys are filled at a time", code="CHARGE_FILL"
            )
        values = [bytearray(self._session.generate_random(KEY_BYTES)) for _ in range(count)]

        def work(tx: Transaction, now: int) -> Filling:
            found = self._core.line(tx, line)
            namespace = found.line.namespace
            pool_id = charge_pool_id(namespace, person, device)
            is_known = pool_id in self._core.keeper.mark.charges
            number, last = _pool_for(tx, found.number, person, device, low_water, is_known=is_known)
            if after not in (-1, last):
                raise _moved(device, last)
            replaced = _destroy(tx, now, "pool = ?", (number,)) if after >= 0 else 0
            pools.append(pool_id)
            keys = [
                ChargeKey(charge_key_id(namespace, person, device, last + place), last + place, value)
                for place, value in enumerate(values, start=1)
            ]
            sealed = self._session.wrap_many("charge", [(key.value, charge_context(key.key_id, key.counter)) for key in keys])
            self._core.count_wrappings(tx, sealed)
            tx.executemany(
                "INSERT INTO kme_charge_key (pool, counter, wrapped) VALUES (?, ?, ?)",
                [(number, key.counter, wrapped) for key, wrapped in zip(keys, sealed, strict=True)],
            )
            tx.execute("UPDATE kme_charge_pool SET last_counter = ? WHERE number = ?", (last + count, number))
            add_event(tx, now, "charge.filled", line, person=person, device=device, keys=count, replaced=replaced)
            return Filling(keys, replaced, namespace)

        pools: list[str] = []
        try:
            made = self._core.strict_change(work)
            self._core.keeper.add_charge(pools[-1])
            return made
        except BaseException:
            for value in values:
                value[:] = bytes(len(value))
            raise

    def check_deliverable(self, person: str, device: str, line: str) -> None:
        """Return if `deliver` would find a charge key now. Raises as `deliver` does."""
        with self._core.database.read() as reader:
            pool = _live_pool(reader, self._core.line(reader, line).number, person, device)
            row = reader.execute(
                "SELECT wrapped FROM kme_charge_key WHERE pool = ? AND wrapped IS NOT NULL ORDER BY counter LIMIT 1", (pool,)
            ).fetchone()
            if row is None:
                raise _exhausted(device)
            if (kek := kek_of(row[0])) in self._core.closed_keks(reader):
                raise out_of_service(kek)

    def deliver(
        self,
        person: str,
        device: str,
        line: str,
        session_key_id: UUID,
        value: bytes | bytearray,
        provenance: Provenance,
        *,
        renew: bool = False,
    ) -> ChargeDelivery:
        """Seal a session key under the next charge key; the mirror of that one is destroyed in the same change.

        value: 16 to 64 bytes. renew: sessions of this medium that are live end with it. The session counts as live until
        `end_session`, a revocation or the next renewal. Raises KeyUnavailable CHARGE_EXHAUSTED, CHARGE_REVOKED; NotFound
        NO_CHARGE_POOL; Refused CHARGE_SESSION_KNOWN.
        """
        if not MIN_KEY_BYTES <= len(value) <= MOST_KEY_BYTES:
            raise ValueError("a session key has 16 to 64 bytes")

        def work(tx: Transaction, now: int) -> ChargeDelivery:
            found = self._core.line(tx, line)
            pool = _live_pool(tx, found.number, person, device)
            row = tx.execute(
                "SELECT counter, wrapped FROM kme_charge_key WHERE pool = ? AND wrapped IS NOT NULL"
                " ORDER BY counter LIMIT 1",
                (pool,),
            ).fetchone()
            if row is None:
                raise _exhausted(device)
            counter = int(row[0])
            key_id = charge_key_id(found.line.namespace, person, device, counter)
            charge = self._session.unwrap("charge", bytes(row[1]), charge_context(key_id, counter))
            try:
                sealed = seal_delivery(charge, key_id, counter, session_key_id, provenance, value)
            finally:
                charge[:] = bytes(len(charge))
            _destroy(tx, now, "pool = ? AND counter = ?", (pool, counter))
            known = tx.execute(
                "SELECT 1 FROM kme_charge_session WHERE session = ?", (str(session_key_id),)
            ).fetchone()
            if known is not None:
                raise Refused(
                    f"会话密钥 {session_key_id} 已交付过", f"the session key {session_key_id} was delivered before",
                    code="CHARGE_SESSION_KNOWN",
                )  # fmt: skip
            ended = _end_sessions(tx, now, pool) if renew else []
            tx.execute(
                "INSERT INTO kme_charge_session (session, pool, counter, opened_ms) VALUES (?, ?, ?, ?)",
                (str(session_key_id), pool, counter, now),
            )
            add_event(
                tx, now, "charge.used", line, person=person, device=device, counter=counter, session=str(session_key_id)
            )
            left, low_water = tx.execute(
                "SELECT (SELECT COUNT(*) FROM kme_charge_key k WHERE k.pool = p.number AND k.wrapped IS NOT NULL), p.low_water"
                " FROM kme_charge_pool p WHERE p.number = ?",
                (pool,),
            ).fetchone()
            if left == low_water - 1 or not left:
                add_event(tx, now, "charge.low", line, person=person, device=device, left=left, low_water=low_water)
            return ChargeDelivery(key_id, session_key_id, counter, provenance, sealed, tuple(sorted(ended)), left, left < low_water, low_water)

        return self._core.strict_change(work)

    def end_session(self, session_key_id: UUID) -> bool:
        """A session is over; False when it was not live."""

        def work(tx: Transaction, now: int) -> bool:
            done = tx.execute(
                "UPDATE kme_charge_session SET ended_ms = ? WHERE session = ? AND ended_ms IS NULL",
                (now, str(session_key_id)),
            ).rowcount
            return bool(done)

        return self._core.change(work)

    def revoke(self, person: str, device: str = "", *, reason: str) -> ChargesRevoked:
        """Destroy the mirrors of a person (device "": of all the person's) and close them for good.

        person "": of that device, whoever has it. Returns the sessions that were live: who calls ends them at once.
        """
        if not person and not device:
            raise ValueError("a revocation names a person or a device")

        def work(tx: Transaction, now: int) -> ChargesRevoked:
            rows = tx.execute(
                "SELECT number FROM kme_charge_pool WHERE (? = '' OR person = ?) AND (? = '' OR device = ?)",
                (person, person, device, device),
            ).fetchall()
            pools = [int(row[0]) for row in rows]
            destroyed, closed = 0, 0
            sessions: list[UUID] = []
            for pool in pools:
                destroyed += _destroy(tx, now, "pool = ?", (pool,))
                closed += tx.execute(
                    "UPDATE kme_charge_pool SET revoked_ms = ? WHERE number = ? AND revoked_ms IS NULL", (now, pool)
                ).rowcount
                sessions += _end_sessions(tx, now, pool)
            if closed or destroyed or sessions:  # done before: nothing happened that an event could tell
                add_event(
                    tx, now, "charge.revoked", "", person=person, device=device, keys=destroyed, pools=closed,
                    sessions=len(sessions), reason=reason,
                )  # fmt: skip
            return ChargesRevoked(destroyed, tuple(sorted(sessions)), closed)

        check_reason(reason)
        return self._core.strict_change(work)

    def pools(self) -> list[ChargePool]:
        """Every mirror, by person, device and line. Cost: the session keys delivered so far, read once."""
        now = self._core.now()
        with self._core.database.read() as reader:
            rows = reader.execute(
                "SELECT p.person, p.device, l.name, p.low_water, p.revoked_ms IS NOT NULL, p.last_counter,"
                " (SELECT COUNT(*) FROM kme_charge_key k WHERE k.pool = p.number AND k.wrapped IS NOT NULL),"
                " coalesce(s.live, 0), coalesce(s.used, 0), coalesce(s.first_ms, 0)"
                " FROM kme_charge_pool p JOIN kme_line l ON l.number = p.line LEFT JOIN"
                " (SELECT pool, SUM(ended_ms IS NULL) AS live, SUM(opened_ms > ?1) AS used,"
                " MIN(CASE WHEN opened_ms > ?1 THEN opened_ms END) AS first_ms FROM kme_charge_session GROUP BY pool) s"
                " ON s.pool = p.number ORDER BY p.person, p.device, l.name",
                (now - FORECAST_DAYS * DAY_MS,),
            ).fetchall()
        return [_shown(row, now) for row in rows]


class ChargeMedium:
    """What a person's device holds: charge keys by counter, each used once and then wiped.

    namespace: of the line; person, device: whose it is. In memory; a real medium keeps it in its own secure element.
    """

    def __init__(self, namespace: UUID, person: str, device: str) -> None:
        self.namespace, self.person, self.device = namespace, person, device
        self._keys: dict[int, bytearray] = {}
        self._last = 0

    def take_in(self, keys: Iterable[ChargeKey]) -> int:
        """Fill: take charge keys over and wipe the caller's; how many are in the medium now."""
        for key in keys:
            if key.counter <= self._last or key.counter in self._keys:
                raise _used(key.counter)
            self._keys[key.counter] = bytearray(key.value)
            key.value[:] = bytes(len(key.value))
        return len(self._keys)

    def open_delivery(self, sealed: bytes) -> tuple[UUID, Provenance, bytearray]:
        """(session key id, provenance, session key) of a delivery; its charge key and all before it are wiped.

        Raises KeyUnavailable CHARGE_USED, VerificationError SEAL_BROKEN; a delivery that does not open costs no key.
        """
        counter, session_key_id, provenance = parse_header(sealed)
        charge = self._keys.get(counter)
        if counter <= self._last or charge is None:
            raise _used(counter)
        key_id = charge_key_id(self.namespace, self.person, self.device, counter)
        value = open_delivery(charge, key_id, sealed)
        for passed in [one for one in self._keys if one <= counter]:
            gone = self._keys.pop(passed)
            gone[:] = bytes(len(gone))
        self._last = counter
        return session_key_id, provenance, value

    def remaining(self) -> list[ChargeKey]:
        """Copies of what is left, in the order of the counters; overwrite them."""
        return [
            ChargeKey(charge_key_id(self.namespace, self.person, self.device, counter), counter, bytearray(self._keys[counter]))
            for counter in sorted(self._keys)
        ]

    @property
    def left(self) -> int:
        """Charge keys that are left."""
        return len(self._keys)


def charge_key_id(namespace: UUID, person: str, device: str, counter: int) -> UUID:
    """Id of a charge key. Person and device contain no slash, so no two meet."""
    return uuid5(namespace, f"charge/{person}/{device}/{counter}")


def charge_pool_id(namespace: UUID, person: str, device: str) -> str:
    """Id of a charge pool as the mark keeps it, 32 hexadecimal digits."""
    return uuid5(namespace, f"charge/{person}/{device}").hex


def seal_delivery(
    charge: bytes | bytearray,
    charge_id: UUID,
    counter: int,
    session_key_id: UUID,
    provenance: Provenance,
    value: bytes | bytearray,
) -> bytes:
    """The bytes of a delivery, 42 longer than the session key. charge: 32 bytes, never used before."""
    header = bytes([VERSION]) + counter.to_bytes(8, "big") + session_key_id.bytes + bytes([provenance.code])
    key, nonce, associated = _derive(charge, charge_id, header)
    return header + aead.seal(key, nonce, bytes(value), associated=associated)


def open_delivery(charge: bytes | bytearray, charge_id: UUID, sealed: bytes) -> bytearray:
    """The session key behind `seal_delivery`. Raises VerificationError SEAL_BROKEN."""
    key, nonce, associated = _derive(charge, charge_id, sealed[:_HEADER_BYTES])
    return bytearray(aead.open_sealed(key, nonce, sealed[_HEADER_BYTES:], associated=associated))


def parse_header(sealed: bytes) -> tuple[int, UUID, Provenance]:
    """(counter, session key id, provenance) of a delivery, not verified yet. Raises VerificationError SEAL_BROKEN."""
    size = len(sealed) - _HEADER_BYTES - aead.TAG_SIZE
    if not MIN_KEY_BYTES <= size <= MOST_KEY_BYTES or sealed[0] != VERSION or sealed[_HEADER_BYTES - 1] not in _CODES:
        raise VerificationError("会话密钥的投递格式不符", "this is no delivery of a session key", code="SEAL_BROKEN")
    return int.from_bytes(sealed[1:9], "big"), UUID(bytes=sealed[9:25]), _CODES[sealed[25]]


def _derive(charge: bytes | bytearray, charge_id: UUID, header: bytes) -> tuple[bytes, bytes, bytes]:
    associated = b"workbench/v1/kme/charge\x00" + charge_id.bytes + header
    size = aead.KEY_SIZE + aead.NONCE_SIZE
    stream = kdf.derive(bytes(charge), "kme/charge", context=associated, length=size)
    return stream[: aead.KEY_SIZE], stream[aead.KEY_SIZE :], associated


def charge_context(key_id: UUID, counter: int) -> bytes:
    """What a wrapped charge key is bound to: docs/protocols/key-delivery.md section 3.1."""
    return key_id.bytes + counter.to_bytes(8, "big")


def _pool_for(
    tx: Transaction, line: int, person: str, device: str, low_water: int, *, is_known: bool
) -> tuple[int, int]:
    """(number, last counter) of a mirror, made if need be. is_known: the mark says that there was one.

    Raises Refused CHARGE_REVOKED, also for one that is missing here though there was one: this database is, or was
    made from, an older copy, and neither its counter nor whether it was revoked is known.
    """
    row = tx.execute(
        "SELECT number, last_counter, revoked_ms FROM kme_charge_pool WHERE person = ? AND device = ? AND line = ?",
        (person, device, line),
    ).fetchone()
    if row is None and not is_known:
        made = tx.execute(
            "INSERT INTO kme_charge_pool (line, person, device, low_water) VALUES (?, ?, ?, ?)",
            (line, person, device, low_water),
        ).lastrowid
        assert made is not None
        return made, 0
    if row is None or row[2] is not None:
        raise Refused(
            f"设备 {device} 已吊销，或密钥库曾换成旧副本，不再充注：换用新设备编号",
            f"device {device} was revoked, or the store was an older copy: it is not filled again; use a new device",
            code="CHARGE_REVOKED",
        )
    tx.execute("UPDATE kme_charge_pool SET low_water = ? WHERE number = ?", (low_water, row[0]))
    return int(row[0]), int(row[1])


def _live_pool(reader: Reader, line: int, person: str, device: str) -> int:
    row = reader.execute(
        "SELECT number, revoked_ms FROM kme_charge_pool WHERE person = ? AND device = ? AND line = ?",
        (person, device, line),
    ).fetchone()
    if row is None:
        raise NotFound(
            f"设备 {device} 没有为此人在这条线路充注过：先充注",
            f"device {device} was never filled for this person and line: fill it first",
            code="NO_CHARGE_POOL",
        )
    if row[1] is not None:
        raise KeyUnavailable(
            f"设备 {device} 已吊销，不再投递会话密钥",
            f"device {device} was revoked: no session key is delivered to it",
            code="CHARGE_REVOKED",
        )
    return int(row[0])


def _destroy(tx: Transaction, now: int, where: str, parameters: Sequence[int]) -> int:
    tx.execute(f"UPDATE kme_charge_key SET wrapped = zeroblob(length(wrapped)) WHERE wrapped IS NOT NULL AND {where}", parameters)
    done = tx.execute(
        f"UPDATE kme_charge_key SET wrapped = NULL, used_ms = ? WHERE wrapped IS NOT NULL AND {where}", (now, *parameters)
    ).rowcount
    mark_erased(tx)
    return done


def _end_sessions(tx: Transaction, now: int, pool: int) -> list[UUID]:
    """Sessions of a pool that were live, ended now."""
    live = tx.execute(
        "UPDATE kme_charge_session SET ended_ms = ? WHERE pool = ? AND ended_ms IS NULL RETURNING session", (now, pool)
    ).fetchall()
    return [UUID(one[0]) for one in live]


def _shown(row: Sequence[Any], now: int) -> ChargePool:  # Any: a row of SQLite
    person, device, line, low_water, is_revoked, last_counter, count, live, used, first_ms = row
    per_day, days_left = pace(used, count, (now - first_ms) / DAY_MS)
    return ChargePool(
        person, device, line, count, low_water, count < low_water, bool(is_revoked), last_counter, live, per_day,
        -1.0 if is_revoked else days_left,
    )  # fmt: skip


def pace(used: int, left: int, days: float) -> tuple[float, float]:
    """(used a day, days until none is left or -1). days: since the first of those uses; less than a day counts as one."""
    if not used:
        return 0.0, -1.0
    per_day = used / min(FORECAST_DAYS, max(1.0, days))
    return per_day, left / per_day


def _moved(device: str, last: int) -> Refused:
    return Refused(
        f"设备 {device} 的密钥池已变（现到第 {last} 号）：可能已充注过。查看后再办",
        f"the pool of device {device} has changed (its last counter is {last}): it may have been filled already; look, then fill again",
        code="CHARGE_MOVED",
    )


def _exhausted(device: str) -> KeyUnavailable:
    return KeyUnavailable(
        f"设备 {device} 的充注密钥已用完，不改用其他密钥：重新充注",
        f"the charge keys of device {device} are used up and no other key is used instead: fill it again",
        code="CHARGE_EXHAUSTED",
    )


def _used(counter: int) -> KeyUnavailable:
    return KeyUnavailable(
        f"第 {counter} 号充注密钥已用过或不在设备中，拒绝",
        f"charge key {counter} was used before or is not in this device: refused",
        code="CHARGE_USED",
    )

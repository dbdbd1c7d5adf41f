"""Deliveries of keys from a small stock and from one of a million, and what it takes to add a block."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from workbench.crypto import random
from workbench.store import Database
from workbench_kme.devices import DeviceAccess
from workbench_kme.devices.device import Device, fresh_keys
from workbench_kme.devices.soft import SoftKek
from workbench_kme.devices.wrapping import Suite
from workbench_kme.keys import KEY_MIGRATIONS, KeyStore, Line, Provenance, Quota

LINE = "bench"
BLOCK = 4000
FILLED_BLOCKS = 10


def measure(stock: int = 1_000_000, deliveries: int = 300, *, folder: Path | None = None) -> dict[str, Any]:
    """Medians of one key's way through both ends, five commits: first from 4,000 keys, then from `stock` at each end.

    Rows beyond the first blocks hold random bytes instead of wrapped values: they are there to be in the way.
    """
    with tempfile.TemporaryDirectory(prefix="workbench-bench-keys-", dir=folder) as name:
        ends = [_end(Path(name), own) for own in ("KME-A", "KME-B")]
        cpu = time.process_time()
        for block in range(2):
            value = random.SYSTEM(32 * BLOCK)
            checks = [store.add_block(LINE, block, Provenance.SIMULATED, value).check for store, _ in ends]
            for (store, _), check in zip(ends, reversed(checks), strict=True):
                store.confirm_block(LINE, block, check)
        add_us = (time.process_time() - cpu) / (4 * BLOCK) * 1e6
        small = _deliver(ends[0][0], ends[1][0], deliveries)
        for _, database in ends:
            for block in range(FILLED_BLOCKS):
                _fill(database, 10 + block, stock // FILLED_BLOCKS)
        large = _deliver(ends[0][0], ends[1][0], deliveries)
        started = time.perf_counter()
        ends[1][0].apply_sync(ends[0][0].sync_state(LINE))
        sync_ms = (time.perf_counter() - started) * 1e3
        for store, database in ends:
            store.close()
            database.close()
    return {
        "stock": stock,
        "add_us": round(add_us, 1),
        "small_ms": round(small[0], 3),
        "small_cpu_ms": round(small[1], 3),
        "large_ms": round(large[0], 3),
        "large_cpu_ms": round(large[1], 3),
        "sync_ms": round(sync_ms, 2),
    }


def _end(folder: Path, own: str) -> tuple[KeyStore, Database]:
    backend = SoftKek(random.SYSTEM(16), random.SYSTEM(8), Suite.SM4_GCM)
    return end_with(folder, own, Device(backend, fresh_keys(backend, random.SYSTEM)).open_session())


def end_with(folder: Path, own: str, devices: DeviceAccess) -> tuple[KeyStore, Database]:
    """One end of the line in a folder of its own, with what wraps its values."""
    place = folder / own
    place.mkdir(mode=0o700)
    database = Database(place / "keys.sqlite", KEY_MIGRATIONS)
    store = KeyStore(database, devices, default_quota=Quota(10**9, 10**9))
    store.register_line(Line(LINE, "KME-A", "KME-B", own, max_keys=3_000_000))
    return store, database


def _deliver(here: KeyStore, there: KeyStore, count: int) -> tuple[float, float]:
    """(median wall, mean processor time) in ms of one key from reservation to report."""
    times = []
    cpu = time.process_time()
    for _ in range(count):
        started = time.perf_counter()
        reservation = here.reserve(LINE, "app-a", ["app-b"])
        there.accept(reservation)
        here.hand_out(reservation.key_ids, "app-a")
        there.deliver(reservation.key_ids, "app-b")
        here.report_delivered(LINE, reservation.key_ids)
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1e3, (time.process_time() - cpu) / count * 1e3


def _fill(database: Database, block: int, count: int) -> None:
    def work(tx: Any) -> None:  # Any: a transaction of the store
        tx.execute(
            "INSERT INTO kme_block (line, block, count, provenance, chk, made_ms, stored_ms)"
            " VALUES (1, ?, ?, 1, zeroblob(16), 0, 0)",
            (block, count),
        )
        tx.execute(
            "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?)"
            " INSERT INTO kme_key (id, line, block, idx, pool, mix, state, expires_ms, wrapped)"
            " SELECT randomblob(16), 1, ?, i, i & 1, i, 2, 9000000000000, randomblob(70) FROM n",
            (count, block),
        )

    database.write(work)

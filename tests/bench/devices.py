"""What several key devices side by side bring: values opened in batches and one by one, and keys through a store."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.bench.keys import end_with
from workbench.crypto import random
from workbench_kme.devices.device import Device, fresh_keys
from workbench_kme.devices.group import DeviceGroup, Worker
from workbench_kme.devices.soft import SoftKek
from workbench_kme.devices.wrapping import Suite
from workbench_kme.keys import KeyStore, Provenance

VALUES = 16_384
LINE = "bench"
SINGLES = 400
OF_A_REQUEST = 128
ROUNDS = 5


def measure(*, folder: Path | None = None) -> dict[str, Any]:
    """A group of one device beside a group of two, the second a process; in turn, best of ROUNDS each."""
    with tempfile.TemporaryDirectory(prefix="workbench-bench-devices-", dir=folder) as name:
        place = Path(name)
        groups = (DeviceGroup(_home()), DeviceGroup(_home()))
        began = time.perf_counter()
        groups[1].add("second", Worker(place / "second.json", "bench", is_new=True))
        joined_s = time.perf_counter() - began
        ends = [end_with(place, f"KME-{letter}", group) for letter, group in zip("AB", groups, strict=True)]
        try:
            wrap, unwrap, single = _values(groups)
            keys = _keys([store for store, _ in ends])
        finally:
            for (store, database), group in zip(ends, groups, strict=True):
                store.close()
                database.close()
                group.close()
    figures = [
        {
            "wrapped_per_s": round(VALUES / wrap[n]),
            "opened_per_s": round(VALUES / unwrap[n]),
            "single_us": round(single[n] * 1e6, 1),
            "keys_per_s": round(OF_A_REQUEST / keys[n]),
        }
        for n in (0, 1)
    ]
    return {"values": VALUES, "of_a_request": OF_A_REQUEST, "joined_s": round(joined_s, 2), "one": figures[0], "two": figures[1]}


def _home() -> Device:
    backend = SoftKek(random.SYSTEM(16), random.SYSTEM(8), Suite.SM4_GCM)
    return Device(backend, fresh_keys(backend, random.SYSTEM))


def _values(groups: Sequence[DeviceGroup]) -> tuple[list[float], list[float], list[float]]:
    """Seconds for all values wrapped, and opened, at once (best); for one value opened alone, the devices taking turns (median)."""
    pairs = [(random.SYSTEM(32), random.SYSTEM(45)) for _ in range(VALUES)]
    sealed = [
        [(one, context) for one, (_, context) in zip(group.wrap_many("key", pairs), pairs, strict=True)] for group in groups
    ]
    wrap: list[list[float]] = [[], []]
    unwrap: list[list[float]] = [[], []]
    for _ in range(ROUNDS):
        for n, group in enumerate(groups):
            wrap[n].append(_taken(lambda group=group: group.wrap_many("key", pairs)))  # type: ignore[misc]
            unwrap[n].append(_taken(lambda group=group, n=n: group.unwrap_many("key", sealed[n])))  # type: ignore[misc]
    single = [
        statistics.median(_taken(lambda group=group, one=one: group.unwrap("key", *one)) for one in sealed[n][:SINGLES])  # type: ignore[misc]
        for n, group in enumerate(groups)
    ]
    return [min(one) for one in wrap], [min(one) for one in unwrap], single


def _keys(stores: Sequence[KeyStore]) -> list[float]:
    """Seconds (median) for a request of many keys at one end, from reservation to values: two commits."""
    requests: list[list[float]] = [[], []]
    for store in stores:
        store.add_block(LINE, 0, Provenance.SIMULATED, random.SYSTEM(32 * 2 * OF_A_REQUEST * (4 * ROUNDS + 1)))
        store.confirm_block(LINE, 0, store.block_check(LINE, 0))
    for _ in range(4 * ROUNDS):
        for n, store in enumerate(stores):
            requests[n].append(_taken(lambda store=store: _take(store)))  # type: ignore[misc]
    return [statistics.median(one) for one in requests]


def _take(store: KeyStore) -> None:
    reservation = store.reserve(LINE, "app-a", ["app-b"], number=OF_A_REQUEST)
    store.hand_out(reservation.key_ids, "app-a")


def _taken(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began

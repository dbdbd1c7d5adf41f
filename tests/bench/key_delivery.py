"""Requests to a pair of running KMEs over kept connections: status, a key for the master, the same key for the slave."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from workbench_kme.service import supervise
from workbench_kme.service.client import Credentials, Ets014Client, ManagementClient
from workbench_kme.service.sites import LinePlan, Site, make_sites
from workbench_kme.sources.imported import make_key_file

LINE, MASTER, SLAVE = "bench", "sae-west", "sae-east"
KEYS = 4000
READY_S = 60.0


def measure(requests: int = 300) -> dict[str, Any]:
    """Medians in ms. One connection at a time, both KMEs and the client on this machine, TLS 1.3 both ways."""
    plan = LinePlan(
        line=LINE, sender="west", receiver="east", source="imported", options={}, demonstration=False,
        target_keys=100_000, max_keys=100_000, low_water=4,
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="workbench-bench-kme-") as name:
        folder = Path(name) / "sites"
        sites = make_sites(folder, [plan], now=datetime.now(UTC))
        began = time.perf_counter()
        supervise.start_kmes(folder)
        started_s = time.perf_counter() - began
        try:
            _bring(sites)
            master, slave = _client(sites["west"], MASTER), _client(sites["east"], SLAVE)
            ids: list[str] = []
            status = _median(lambda: master.status(SLAVE), requests)
            master_ms = _median(lambda: ids.append(master.get_keys(SLAVE)[0].key_id), requests)
            waiting = iter(ids)
            slave_ms = _median(lambda: slave.get_keys_by_id(MASTER, [next(waiting)]), requests)
            master.close()
            slave.close()
        finally:
            supervise.stop_kmes(folder)
    return {
        "requests": requests,
        "start_s": round(started_s, 2),
        "status_ms": round(status, 2),
        "master_ms": round(master_ms, 2),
        "slave_ms": round(slave_ms, 2),
    }


def _median(act: Callable[[], object], number: int) -> float:
    taken = []
    for _ in range(number):
        began = time.perf_counter()
        act()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1e3


def _client(site: Site, sae: str) -> Ets014Client:
    return Ets014Client(site.address, Credentials.from_site(site.folder, sae, kme=site.kme))


def _bring(sites: dict[str, Site]) -> None:
    """A file of keys to both ends, and until they are in stock."""
    data = make_key_file(LINE, KEYS)
    for site in sites.values():
        path = site.folder / "inbox" / "bench.wbki"
        path.write_bytes(data)
        path.chmod(0o600)
    west = sites["west"]
    node = ManagementClient(west.address, Credentials.from_site(west.folder, "node", kme=west.kme))
    end = time.monotonic() + READY_S
    while node.line(LINE).available < KEYS // 2:
        if time.monotonic() > end:
            raise TimeoutError("the keys did not come into stock")
        time.sleep(0.1)
    node.close()

"""Opens a key store, adds a block if it must, and gives out keys one by one until it is killed: told only once out."""

from __future__ import annotations

import sys
from pathlib import Path

from workbench.errors import KeyUnavailable
from workbench.store import Database

from workbench_kme.devices.device import Device, fresh_keys
from workbench_kme.devices.selftest import SelfTestReport, TestResult
from workbench_kme.devices.soft import SoftKek
from workbench_kme.devices.wrapping import Suite
from workbench_kme.keys import KEY_MIGRATIONS, KeyStore, Line, Provenance, Quota
from workbench.crypto import random


def main() -> None:
    folder = Path(sys.argv[1])
    folder.chmod(0o700)
    source = random.SeededSource(b"child")
    backend = SoftKek(source(16), source(8), Suite.SM4_GCM)
    keys = fresh_keys(backend, source)
    passed = SelfTestReport((TestResult("tested elsewhere", "", True),))
    device = Device(backend, keys, self_test=lambda: passed)
    database = Database(folder / "keys.sqlite", KEY_MIGRATIONS, reserve_bytes=0)
    store = KeyStore(database, device.open_session(), default_quota=Quota(10**6, 10**6))
    store.register_line(Line("line-1", "KME-A", "KME-B", "KME-A"))
    while True:
        try:
            reservation = store.reserve("line-1", "app-a", ["app-b"])
        except KeyUnavailable:
            added = store.add_block("line-1", store.next_block("line-1"), Provenance.SIMULATED, random.SYSTEM(32 * 300))
            store.confirm_block("line-1", added.block, added.check)
            continue
        for value in store.hand_out(reservation.key_ids, "app-a"):
            print(value.key_id, flush=True)


if __name__ == "__main__":
    main()

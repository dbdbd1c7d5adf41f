"""Measures one time stamp and one anchor on this machine: `python -m tests.anchor.measure`; medians of 20.

Authority and chain run on this machine, so this is the cost of the node and of `openssl ts` and Anvil, without any network.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from pathlib import Path

from tests.anchor.authority import CertificateAuthority, Server, stamps
from tests.anchor.conftest import Anchored
from tests.anchor.evm import CHAIN_ID, Anvil
from tests.host.house import opened, template
from workbench_anchor.anchoring import WHAT as EVM
from workbench_anchor.stamping import WHAT as RFC3161

ROUNDS = 20


def main() -> None:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        signer = CertificateAuthority(folder).signer("tsa")
        server, anvil = Server(stamps(signer)), Anvil(folder / "anvil")
        try:
            workspace = template(folder)
            (workspace.node_folder("broker") / "tsa.pem").write_bytes(signer.pinned)
            place = {"chain_url": anvil.url, "chain_id": CHAIN_ID, "chain_contract": "0x" + anvil.deploy().hex()}
            settings = {f"anchor.{name}": value for name, value in place.items()}
            settings |= {"anchor.tsa_url": server.url, "anchor.confirmations": 1}
            with opened(workspace, settings=settings) as house:
                house.clock.now_ms = int(time.time() * 1000)
                print(json.dumps(measured(Anchored(house), anvil), indent=1))
        finally:
            anvil.stop()
            server.close()


def measured(one: Anchored, anvil: Anvil) -> dict[str, float]:
    """Milliseconds and anchors a second, one after the other."""
    project = one.house.node.project
    anvil.register(
        one.service.anchoring.place().contract, project, "broker", one.service.anchoring.make_account(actor="P-1")
    )
    stamp_ms, anchor_ms = [], []
    for _ in range(ROUNDS):
        one.write()
        started = time.perf_counter()
        one.service.round(RFC3161, force=True)
        stamp_ms.append(1000 * (time.perf_counter() - started))
        one.write()
        started = time.perf_counter()
        while one.house.node.ledger.size(one.house.node.party) and "anchored" not in newest_state(one):
            one.service.round(EVM, force=True)
        anchor_ms.append(1000 * (time.perf_counter() - started))
    return {
        "stamp_ms_median": round(statistics.median(stamp_ms), 1),
        "stamp_ms_max": round(max(stamp_ms), 1),
        "anchor_ms_median": round(statistics.median(anchor_ms), 1),
        "anchor_ms_max": round(max(anchor_ms), 1),
        "anchors_per_s": round(1000 / statistics.median(anchor_ms), 1),
    }


def newest_state(one: Anchored) -> str:
    """State of the transaction that covers the newest entry, "" while there is none."""
    from workbench_anchor import tables

    with one.house.node.store.read() as reader:
        row = next(iter(tables.last_transactions(reader, 1)), None)
    return row.state if row is not None and not one.service.house.entries_after(row.size) else ""


if __name__ == "__main__":
    main()

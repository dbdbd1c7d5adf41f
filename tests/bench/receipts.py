"""A hundred thousand consent receipts through a node's API: issued, co-signed, packed, taken; and one of them checked."""

from __future__ import annotations

import io
import time
import zipfile
from pathlib import Path
from typing import Any

from tests.bench import nodes, stores
from workbench.commands.common import client_for
from workbench.domain.party import Role
from workbench.verify_consent import verify_consent_receipt

RECEIPTS = 100_000


def measure(folder: Path, receipts: int = RECEIPTS) -> dict[str, Any]:
    """Wall, processor time and peak memory of `consent.receipts_issue` by a fresh node process, and what it made."""
    _, grants = stores.write_population(folder, receipts)
    with nodes.workspace_of() as workspace:
        imported = stores._import(workspace, grants, Role.COMPLIANCE, "consent.import")
        node = nodes.start(workspace)["broker"]
        before = nodes.processor(node.pid)
        began = time.perf_counter()
        with client_for(workspace, "broker", Role.COMPLIANCE) as client:
            reply = client.call("consent.receipts_issue", live_only=False)
            issued_s = time.perf_counter() - began
            used = nodes.processor(node.pid)
            data = client.download(reply.download)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [name for name in archive.namelist() if name.startswith("receipts/")]
            one = archive.read(names[len(names) // 2])
        began = time.perf_counter()
        checked = verify_consent_receipt(one, trust=None, contracts=None, now_ms=None)
        return {
            "receipts": reply.receipts,
            "imported": imported["accepted"],
            "wall_s": round(issued_s, 2),
            "cpu_s": round(used.total_s - before.total_s, 2),
            "peak_mb": round(nodes.resident_mb(node.pid, "VmHWM")),
            "sealed": reply.sealed,
            "zip_mb": round(len(data) / 1e6, 1),
            "receipt_bytes": len(one),
            "verify_ms": round((time.perf_counter() - began) * 1000, 2),
            "holds": not [step for step in checked.steps if step.state == "failed"],
        }

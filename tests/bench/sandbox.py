"""A provider's server on one machine: from a lease to evidence with a spare, from a release to a signed receipt, and what cycles leave.

Times are wall clock at the caller's, the node's side: socket, server process, launcher and worker included. A start is shown beside them
because a spare hides it.
"""

from __future__ import annotations

import os
import secrets
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.sandbox.world import PROVIDER, SERVER, TENANT, World, lacking, lacking_gvisor
from workbench.crypto import sm2
from workbench.domain.party import PartyId
from workbench_sandbox.formats import erasing, servicekey
from workbench_sandbox.formats.evidence import sign_evidence


class Unavailable(Exception):
    """No sandbox can be started here; the text says why."""


def measure(cycles: int = 30, *, isolation: str = "bubblewrap") -> dict[str, Any]:
    """Medians and 95th percentiles in milliseconds, and what all cycles together left: descriptors, mounts, groups.

    isolation: of `starting.ISOLATIONS`."""
    if why := lacking() if isolation == "bubblewrap" else lacking_gvisor():
        raise Unavailable(why)
    service, contract = sm2.generate(), sm2.generate()
    now = time.time_ns() // 1_000_000
    written = servicekey.sign_service_key(servicekey.ServiceKey(PartyId(PROVIDER), service.public, now, now + 86_400_000, ""), key=contract)
    with tempfile.TemporaryDirectory(prefix="workbench-bench-sandbox-") as name:
        world = World(Path(name), isolation=isolation)
        try:
            world.make_image()
            world.ready()
            rows = [_cycle(world, service, written)]  # the first one makes the compiled forms
            before = left(world)
            rows = [_cycle(world, service, written) for _ in range(cycles)]
            after = left(world)
        finally:
            world.close()
    found: dict[str, Any] = {"cycles": cycles, "left": {one: after[one] - before[one] for one in before}}
    for place, key in enumerate(("ready_ms", "evidence_ms", "receipt_ms")):
        values = sorted(row[place] * 1000 for row in rows)
        found[key] = [round(statistics.median(values), 1), round(values[int(0.95 * (len(values) - 1))], 1)]
    return found


def left(world: World) -> dict[str, int]:
    """Descriptors of server and node, mounts of this machine's namespace, folders of groups, entries of the run folder."""
    process = world.servers._servers[SERVER]
    folders = [one for root in ("/sys/fs/cgroup",) for one in Path(root).glob("**/workbench-sb-*")]
    return {
        "descriptors": len(os.listdir(f"/proc/{process.pid}/fd")) + len(os.listdir("/proc/self/fd")),
        "mounts": len(Path("/proc/self/mountinfo").read_text().splitlines()),
        "groups": len(folders),
        "runs": len(list((process.folder / "run").iterdir())) + len(list((process.folder / "records").iterdir())),
        "threads": len(os.listdir(f"/proc/{process.pid}/task")),
    }


def _cycle(world: World, service: sm2.PrivateKey, written: bytes) -> tuple[float, float, float]:
    """(spare made ready, lease to countersigned evidence, release to signed receipt), seconds; ends with a spare."""
    began = time.perf_counter()
    nonce = secrets.token_hex(32)
    sandbox = world.servers.lease(SERVER, world.facts())
    given = world.servers.evidence(sandbox, nonce)
    sign_evidence(given.document, facts=given.facts, nonce=nonce, key=service, service=written)
    evidence = time.perf_counter()
    looked = world.servers.erase(SERVER, reason="released")
    receipt = erasing.Receipt(
        PartyId(PROVIDER), PartyId(TENANT), looked.lease, looked.server, looked.sandboxes, looked.reason, looked.began_ms, looked.ended_ms,
        looked.assurance, looked.checks, (),
    )  # fmt: skip
    erasing.sign_receipt(receipt, key=service, service=written)
    erased = time.perf_counter()
    if not looked.clean:
        raise RuntimeError(f"something was left: {looked.checks}")
    world.ready()
    return time.perf_counter() - erased, evidence - began, erased - evidence

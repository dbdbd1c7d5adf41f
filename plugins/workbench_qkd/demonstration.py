"""The lines of a demo workspace: sites made once, their entities started and stopped with the nodes.

Document: docs/quantum-channel.md section 4. Called by commands of the host, which do not know this plugin.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from workbench_kme.service.supervise import running_kmes, start_kmes, stop_kmes

FOLDER: Final = "kme"
LINES: Final = tuple(f"{letter}1" for letter in "abcdefgh")
PRESET: Final = "metro-50"
PULSES: Final = 300_000_000
"""Of a block: a third of a second of arithmetic for both ends together, about a hundred keys. On 50 km all three attacks show what they are."""
TARGET_KEYS: Final = 2_048
MOST_KEYS: Final = 20_000
LOW_WATER: Final = 128


def make(workspace: Path, *pairs: Sequence[str]) -> bool:
    """Make the sites of a line for each pair of ends below the workspace and tell the nodes where theirs is; False when that was done before.

    Call only while the nodes are stopped: a node reads its settings when it starts.
    """
    from workbench_kme.service.sites import LinePlan, make_sites

    place = workspace / FOLDER
    if place.exists():
        return False
    plans = [
        LinePlan(
            name, sender, receiver, options={"preset": PRESET, "pulses": PULSES}, target_keys=TARGET_KEYS, max_keys=MOST_KEYS, low_water=LOW_WATER
        )
        for name, (sender, receiver) in zip(LINES[: len(pairs)], pairs, strict=True)
    ]
    make_sites(place, plans, now=datetime.now(UTC))
    for party in sorted({one for pair in pairs for one in pair}):
        path = workspace / party / "settings.json"
        settings = json.loads(path.read_text("utf-8"))
        settings.setdefault("qkd.kme", {"folder": f"../{FOLDER}/{party}"})
        path.write_text(json.dumps(settings, ensure_ascii=False, indent=1), "utf-8")
    return True


def carry(workspace: Path, ends: Sequence[str]) -> None:
    """Have the nodes of a line call one another over the channel `qkd`; call while they are stopped.

    Raises KeyUnavailable where the library lacks the group of its links: such a node would not start.
    """
    from workbench.channel import tls_groups
    from workbench_qkd.schema import LINK_GROUP

    tls_groups.require_available(LINK_GROUP, tls_groups.SUITE_OF[LINK_GROUP])
    for party, other in (tuple(ends), tuple(reversed(ends))):
        path = workspace / party / "settings.json"
        settings = json.loads(path.read_text("utf-8"))
        settings["node.channels"] = {**settings.get("node.channels", {}), other: "qkd"}
        path.write_text(json.dumps(settings, ensure_ascii=False, indent=1), "utf-8")


def await_keys(workspace: Path, ends: Sequence[str], *, limit_s: float) -> bool:
    """Whether both ends have keys within this time, and the refusal of before is no longer repeated; a first start compiles before."""
    from workbench_kme.service.client import Credentials, ManagementClient
    from workbench_qkd.channel import PAUSE_S

    place, until = workspace / FOLDER, time.monotonic() + limit_s
    running = running_kmes(place)
    if not set(ends) <= set(running):
        return False
    clients = [ManagementClient(running[site].address, Credentials.from_site(place / site, "node", kme=running[site].kme)) for site in ends]
    try:
        while time.monotonic() < until:
            if all(any(line.available and line.in_step for line in client.lines() if line.peer_site in ends) for client in clients):
                time.sleep(PAUSE_S + 0.5)
                return True
            time.sleep(0.2)
        return False
    finally:
        for client in clients:
            client.close()


def start(workspace: Path) -> list[str]:
    """Start the entities that do not run; their sites. None where the workspace has no line."""
    place = workspace / FOLDER
    if not place.exists():
        return []
    before = set(running_kmes(place))
    # All processes of a demonstration are one user's: they compile their arithmetic once, where its nodes do.
    compiled = workspace / ".compiled"
    compiled.mkdir(mode=0o700, exist_ok=True)
    environment = {"NUMBA_CACHE_DIR": os.environ.get("NUMBA_CACHE_DIR", str(compiled.resolve()))}
    return sorted(set(start_kmes(place, environment=environment)) - before)


def stop(workspace: Path) -> list[str]:
    """Stop the entities of this workspace that run; their sites."""
    place = workspace / FOLDER
    return stop_kmes(place) if place.exists() else []


__all__ = ["await_keys", "carry", "make", "start", "stop"]

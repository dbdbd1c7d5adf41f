"""Links of the channel qkd: what a set-up and a message cost, both ends and a carrier in memory. Document: docs/benchmarks.md.

Medians. CPU: processor time of the process, both ends together; wall time says what a busy machine makes of it.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from workbench_qkd import linking
from workbench_qkd.linking import AnsweredLinks, EncryptedLink

from workbench.channel.tls_groups import SUITE_OF, NegotiatedLink
from workbench.contracts import ChannelIdentity, PeerAddress, PeerCall
from workbench.crypto import certificates
from workbench.domain.party import PartyId

SETUPS = 40
MESSAGES = {256: 400, 64 << 10: 60, 1 << 20: 9}
"""Size of a request -> how many."""


class _Memory:
    """A carrier that hands each body to the other end at once."""

    def __init__(self, answered: AnsweredLinks) -> None:
        self._answered = answered

    async def call(self, path: str, body: bytes, *, timeout_s: float) -> bytes:
        return await self._answered.receive(PeerCall(PartyId("broker"), path, body, "127.0.0.1"))

    async def close(self) -> None: ...


def measure() -> list[dict[str, Any]]:
    """One row a group. Takes about 5 s."""
    broker, bank = _issue("broker"), _issue("bank")
    with ThreadPoolExecutor(2) as workers:
        return [asyncio.run(_group(group, broker, bank, workers)) for group in SUITE_OF]


async def _group(
    group: str, broker: tuple[ChannelIdentity, PeerAddress], bank: tuple[ChannelIdentity, PeerAddress], workers: ThreadPoolExecutor
) -> dict[str, Any]:
    async def silent(call: PeerCall, linked: NegotiatedLink) -> bytes:
        return b""

    answered = AnsweredLinks(identity=bank[0], group=group, peers=lambda: [broker[1]], workers=workers, handle=silent)
    settings = linking.settings_of(broker[0], bank[1], group)
    link = EncryptedLink(_Memory(answered), bank[1].party, settings, random=os.urandom, workers=workers)
    wall, processor = [], []
    for _ in range(SETUPS):
        began, used = time.perf_counter(), time.process_time()
        await link._make(10)
        wall.append((time.perf_counter() - began) * 1e3)
        processor.append((time.process_time() - used) * 1e3)
        answered.end()
    row: dict[str, Any] = {
        "group": group, "suite": SUITE_OF[group], "p50_ms": round(statistics.median(wall), 2), "p95_ms": round(sorted(wall)[SETUPS * 95 // 100], 2),
        "cpu_ms": round(statistics.median(processor), 2),
    }  # fmt: skip
    for size, count in MESSAGES.items():
        message = bytes(size)
        await link.call("qkd/call", message, timeout_s=10)
        wall, processor = [], []
        for _ in range(count):
            began, used = time.perf_counter(), time.process_time()
            await link.call("qkd/call", message, timeout_s=10)
            wall.append((time.perf_counter() - began) * 1e6)
            processor.append((time.process_time() - used) * 1e6)
        row[f"us_{size}"], row[f"cpu_us_{size}"] = round(statistics.median(wall), 1), round(statistics.median(processor), 1)
    return row


def _issue(party: str) -> tuple[ChannelIdentity, PeerAddress]:
    now = datetime.now(UTC)
    authority = certificates.make_authority(PartyId(party), now=now)
    node = certificates.issue_node_certificate(authority, party=PartyId(party), hosts=["127.0.0.1"], now=now)
    identity = ChannelIdentity(PartyId(party), node.certificate_pem, node.private_key_pem)
    told = certificates.describe(node.certificate_pem).fingerprint
    return identity, PeerAddress(PartyId(party), "127.0.0.1", 1, ("127.0.0.1",), told, authority.certificate_pem)

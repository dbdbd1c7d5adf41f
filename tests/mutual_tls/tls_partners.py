"""Partners with real certificates and sockets on loopback addresses, and a listening channel."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache

from workbench_mutual_tls.client import MutualTlsLink
from workbench_mutual_tls.contexts import client_context
from workbench_mutual_tls.server import PeerServer

from workbench.contracts import ChannelIdentity, PeerAddress, PeerCall, PeerHandler
from workbench.crypto import certificates
from workbench.domain.party import PartyId


HOSTS = {"bank": "127.0.0.13", "broker": "127.0.0.11", "cardnet": "127.0.0.12"}
BANK, BROKER, CARDNET = (PartyId(name) for name in HOSTS)
LIMIT = 100_000


@dataclass(frozen=True)
class Institution:
    """One side's certificate and the address its partners know."""

    identity: ChannelIdentity
    address: PeerAddress
    authority: certificates.KeyAndCertificate = field(repr=False)


def institution(party: PartyId, serial: int = 0) -> Institution:
    """The institution `party`; another serial gives another authority and certificate under the same name."""
    return _made(party, serial)


@cache
def _made(party: PartyId, serial: int) -> Institution:
    now = datetime.now(UTC) + timedelta(seconds=serial)
    authority = certificates.make_authority(party, now=now)
    node = certificates.issue_node_certificate(authority, party=party, hosts=[HOSTS[party]], now=now)
    return Institution(
        ChannelIdentity(party, node.certificate_pem, node.private_key_pem),
        PeerAddress(
            party=party,
            host=HOSTS[party],
            port=1,
            source_addresses=(HOSTS[party],),
            certificate_fingerprint=certificates.describe(node.certificate_pem).fingerprint,
            ca_pem=authority.certificate_pem,
        ),
        authority,
    )


@dataclass(frozen=True)
class Remembering:
    """A node behind the channel that answers nothing and keeps every call that reached it."""

    calls: list[PeerCall] = field(default_factory=list)

    async def __call__(self, call: PeerCall) -> bytes:
        self.calls.append(call)
        return b""


async def echo(call: PeerCall) -> bytes:
    return f"{call.peer} {call.path} {call.address} ".encode() + call.body


@dataclass
class Listening:
    """The bank's listener and what it refused."""

    server: PeerServer
    refusals: list[tuple[str, str]]

    def link(
        self, party: PartyId = BROKER, *, serial: int = 0, source: str = "", peer: PeerAddress | None = None
    ) -> MutualTlsLink:
        address = replace(peer or institution(BANK).address, port=self.server.port)
        return MutualTlsLink(
            identity=institution(party, serial).identity, peer=address, source_address=source or HOSTS[party]
        )

    async def reasons(self) -> set[str]:
        """The reasons recorded so far; waits for the first one."""
        for _ in range(1500):
            if self.refusals:
                break
            await asyncio.sleep(0.02)
        return {reason for _, reason in self.refusals}


@asynccontextmanager
async def listening(
    handler: PeerHandler = echo,
    *,
    peers: Callable[[], Sequence[PeerAddress]] | None = None,
    idle_timeout_s: float = 30.0,
) -> AsyncIterator[Listening]:
    refusals: list[tuple[str, str]] = []
    known = [institution(BROKER).address, institution(CARDNET).address]
    server = PeerServer(
        identity=institution(BANK).identity,
        peers=peers or (lambda: known),
        handler=handler,
        refused=lambda address, reason: refusals.append((address, reason)),
        max_body_bytes=LIMIT,
        idle_timeout_s=idle_timeout_s,
    )
    await server.start(HOSTS[BANK], 0)
    try:
        yield Listening(server, refusals)
    finally:
        await server.close()


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    """Run one scenario; a minute is for machines under load, none takes long."""

    async def limited() -> None:
        async with asyncio.timeout(60):
            await scenario()

    asyncio.run(limited())


async def tls_stream(here: Listening, *, party: PartyId = BROKER) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A bare TLS connection of a partner, for requests no client library would send."""
    context = client_context(institution(party).identity, institution(BANK).address)
    return await asyncio.open_connection(
        HOSTS[BANK], here.server.port, ssl=context, server_hostname=HOSTS[BANK], local_addr=(HOSTS[party], 0)
    )

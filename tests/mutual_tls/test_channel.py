"""The mutual TLS channel with real sockets, real certificates and different loopback addresses."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from workbench_mutual_tls import server as server_module
from workbench_mutual_tls import workbench_channels
from workbench_mutual_tls.channel import MutualTlsChannel
from workbench_mutual_tls.client import MutualTlsLink
from workbench_mutual_tls.contexts import client_context
from workbench_mutual_tls.identity import identify, is_allowed
from workbench_mutual_tls.server import PeerServer

from workbench.contracts import Channel, ChannelIdentity, PeerAddress, PeerCall, PeerHandler
from workbench.crypto import certificates
from workbench.domain.party import PartyId
from workbench.errors import Denied, Disputed, PeerError, PeerUnavailable, Refused

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
        """The reasons recorded so far; waits a moment for the first one."""
        for _ in range(100):
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


def test_partners_are_told_apart_by_their_certificates() -> None:
    async def scenario() -> None:
        async with listening() as here:
            for party in (BROKER, CARDNET):
                link = here.link(party)
                reply = await link.call("message", b"\x00frame\xff", timeout_s=20)
                assert reply == f"{party} message {HOSTS[party]} ".encode() + b"\x00frame\xff"
                assert await link.call("hello", b"", timeout_s=20) == f"{party} hello {HOSTS[party]} ".encode()
                await link.close()
            assert here.refusals == []

    run(scenario)


def test_the_plugin_offers_the_channel_of_the_contract() -> None:
    (channel,) = workbench_channels()
    assert isinstance(channel, Channel)
    assert channel.name == "mutual-tls"

    async def scenario() -> None:
        refusals: list[str] = []
        server = await channel.serve(
            identity=institution(BANK).identity, host=HOSTS[BANK], port=0, peers=lambda: [institution(BROKER).address],
            handler=echo, refused=lambda address, reason: refusals.append(reason), max_body_bytes=LIMIT,
        )  # fmt: skip
        peer = replace(institution(BANK).address, port=server.port)
        link = channel.connect(identity=institution(BROKER).identity, peer=peer, source_address=HOSTS[BROKER])
        assert await link.call("hello", b"x", timeout_s=20) == b"broker hello 127.0.0.11 x"
        await link.close()
        await server.close()
        with pytest.raises(PeerUnavailable):
            await (
                MutualTlsChannel()
                .connect(identity=institution(BROKER).identity, peer=peer)
                .call("hello", b"", timeout_s=1)
            )

    run(scenario)


def test_headers_never_say_who_calls() -> None:
    """A partner that writes another partner's name or address into a header stays who its certificate says."""

    async def scenario() -> None:
        async with listening() as here:
            reader, writer = await tls_stream(here)
            writer.write(
                b"POST /peer/v1/hello HTTP/1.1\r\nhost: bank\r\ncontent-length: 0\r\nconnection: close\r\n"
                b"x-forwarded-for: 127.0.0.12\r\nforwarded: for=127.0.0.12\r\nx-client-cert: cardnet\r\n"
                b"x-workbench-peer: cardnet\r\nx-forwarded-proto: http\r\n\r\n"
            )
            reply = await reader.read()
            assert reply.endswith(b"broker hello 127.0.0.11 ")
            writer.close()

    run(scenario)


def test_a_proxy_header_from_this_very_machine_changes_nothing() -> None:
    """Web servers like to believe such a header when it comes from 127.0.0.1, as a local proxy's would."""
    local = replace(institution(BROKER).address, source_addresses=("127.0.0.1",))

    async def scenario() -> None:
        async with listening(peers=lambda: [local, institution(CARDNET).address]) as here:
            context = client_context(institution(BROKER).identity, institution(BANK).address)
            reader, writer = await asyncio.open_connection(
                HOSTS[BANK], here.server.port, ssl=context, server_hostname=HOSTS[BANK], local_addr=("127.0.0.1", 0)
            )
            writer.write(
                b"POST /peer/v1/hello HTTP/1.1\r\nhost: bank\r\ncontent-length: 0\r\nconnection: close\r\n"
                b"x-forwarded-for: 127.0.0.12\r\n\r\n"
            )
            assert (await reader.read()).endswith(b"broker hello 127.0.0.1 ")
            writer.close()

    run(scenario)


def test_the_pinned_certificate_must_also_name_the_partner_it_is_pinned_for() -> None:
    der = ssl.PEM_cert_to_DER_cert(institution(BROKER).identity.certificate_pem.decode())
    assert identify(der, HOSTS[BROKER], [institution(BROKER).address]).party == BROKER
    renamed = replace(institution(BROKER).address, party=CARDNET)
    with pytest.raises(Denied) as refusal:
        identify(der, HOSTS[BROKER], [renamed])
    assert refusal.value.code == "WRONG_CERTIFICATE"
    for nonsense in (b"", b"\x30\x00", der[:-1]):
        with pytest.raises(Denied):
            identify(nonsense, HOSTS[BROKER], [institution(BROKER).address])


def test_without_a_certificate_there_is_no_request() -> None:
    async def scenario() -> None:
        async with listening() as here:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(cadata=institution(BANK).address.ca_pem.decode())
            reader, writer = await asyncio.open_connection(
                HOSTS[BANK], here.server.port, ssl=context, local_addr=(HOSTS[BROKER], 0)
            )
            writer.write(b"POST /peer/v1/hello HTTP/1.1\r\nhost: bank\r\ncontent-length: 0\r\n\r\n")
            try:
                reply = await asyncio.wait_for(reader.read(), 20)
            except (ssl.SSLError, ConnectionError):
                reply = b""
            assert reply == b""
            assert await here.reasons() == {"HANDSHAKE_FAILED"}
            writer.close()

    run(scenario)


def test_a_certificate_of_an_unknown_authority_fails_the_handshake() -> None:
    async def scenario() -> None:
        async with listening() as here:
            link = here.link(BROKER, serial=1)
            with pytest.raises(PeerError) as refusal:
                await link.call("hello", b"", timeout_s=20)
            assert refusal.value.code in {"TLS_REFUSED", "CONNECTION_LOST"}
            assert await here.reasons() == {"HANDSHAKE_FAILED"}
            await link.close()

    run(scenario)


def test_a_second_certificate_of_a_known_authority_is_not_the_pinned_one() -> None:
    """Also when it names another partner: an authority cannot vouch for anybody but the one certificate both pinned."""
    authority = institution(CARDNET).authority
    for named in (CARDNET, BROKER):
        other = certificates.issue_node_certificate(authority, party=named, hosts=["127.0.0.12"], now=datetime.now(UTC))
        identity = ChannelIdentity(named, other.certificate_pem, other.private_key_pem)

        async def scenario(identity: ChannelIdentity = identity) -> None:
            async with listening() as here:
                peer = replace(institution(BANK).address, port=here.server.port)
                link = MutualTlsLink(identity=identity, peer=peer, source_address=HOSTS[CARDNET])
                with pytest.raises(PeerError) as refusal:
                    await link.call("hello", b"", timeout_s=20)
                assert refusal.value.code == "WRONG_CERTIFICATE"
                assert await here.reasons() == {"WRONG_CERTIFICATE"}
                await link.close()

        run(scenario)


def test_an_address_on_no_list_is_cut_off_before_the_handshake() -> None:
    async def scenario() -> None:
        async with listening() as here:
            link = here.link(BROKER, source="127.0.0.99")
            with pytest.raises(PeerError):
                await link.call("hello", b"", timeout_s=5)
            assert here.refusals[0] == ("127.0.0.99", "ADDRESS_NOT_ALLOWED")
            assert await here.reasons() == {"ADDRESS_NOT_ALLOWED"}
            await link.close()

    run(scenario)


def test_a_partner_calling_from_another_partners_address_is_refused() -> None:
    async def scenario() -> None:
        async with listening() as here:
            link = here.link(BROKER, source=HOSTS[CARDNET])
            with pytest.raises(PeerError) as refusal:
                await link.call("hello", b"", timeout_s=20)
            assert refusal.value.code == "ADDRESS_NOT_ALLOWED"
            assert await here.reasons() == {"ADDRESS_NOT_ALLOWED"}
            await link.close()

    run(scenario)


def test_plain_tcp_gets_no_answer() -> None:
    async def scenario() -> None:
        async with listening() as here:
            reader, writer = await asyncio.open_connection(HOSTS[BANK], here.server.port, local_addr=(HOSTS[BROKER], 0))
            writer.write(b"POST /peer/v1/hello HTTP/1.1\r\nhost: bank\r\ncontent-length: 0\r\n\r\n")
            reply = await asyncio.wait_for(reader.read(), 20)
            assert b"HTTP" not in reply
            assert await here.reasons() == {"HANDSHAKE_FAILED"}
            writer.close()

    run(scenario)


def test_older_tls_is_refused() -> None:
    async def scenario() -> None:
        async with listening() as here:
            context = client_context(institution(BROKER).identity, institution(BANK).address)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await asyncio.open_connection(
                    HOSTS[BANK],
                    here.server.port,
                    ssl=context,
                    server_hostname=HOSTS[BANK],
                    local_addr=(HOSTS[BROKER], 0),
                )
            assert await here.reasons() == {"HANDSHAKE_FAILED"}

    run(scenario)


def test_the_caller_sends_nothing_to_a_server_with_another_certificate() -> None:
    """Neither to one of another authority, nor to one of the right authority that is not the pinned one."""
    received: list[bytes] = []

    async def remember(call: PeerCall) -> bytes:
        received.append(call.body)
        return b""

    renewed = certificates.issue_node_certificate(
        institution(BANK).authority, party=BANK, hosts=[HOSTS[BANK]], now=datetime.now(UTC)
    )
    unpinned = replace(
        institution(BANK).address, certificate_fingerprint=certificates.describe(renewed.certificate_pem).fingerprint
    )

    async def scenario() -> None:
        for peer in (institution(BANK, 1).address, unpinned, replace(institution(BANK).address, party=CARDNET)):
            async with listening(remember) as here:
                link = here.link(BROKER, peer=peer)
                with pytest.raises(PeerError) as refusal:
                    await link.call("message", b"secret frame", timeout_s=20)
                assert refusal.value.code == "TLS_REFUSED"
                await link.close()
        assert received == []

    run(scenario)


def test_a_partner_taken_off_the_list_loses_its_open_connection_too() -> None:
    async def scenario() -> None:
        known = [institution(BROKER).address, institution(CARDNET).address]
        async with listening(peers=lambda: known) as here:
            link = here.link(BROKER)
            await link.call("hello", b"", timeout_s=20)
            del known[0]
            with pytest.raises(PeerError) as refusal:
                await link.call("hello", b"", timeout_s=20)
            assert refusal.value.code == "WRONG_CERTIFICATE"
            await link.close()

    run(scenario)


def test_a_body_at_the_limit_passes_and_one_byte_more_does_not() -> None:
    async def scenario() -> None:
        async with listening() as here:
            link = here.link()
            assert len(await link.call("message", bytes(LIMIT), timeout_s=20)) > LIMIT
            with pytest.raises(PeerError) as refusal:
                await link.call("message", bytes(LIMIT + 1), timeout_s=20)
            assert refusal.value.code == "BODY_TOO_LARGE"
            assert await here.reasons() == {"BODY_TOO_LARGE"}
            await link.close()

    run(scenario)


def test_a_body_without_stated_length_is_counted_while_it_arrives() -> None:
    async def scenario() -> None:
        received: list[PeerCall] = []

        async def remember(call: PeerCall) -> bytes:
            received.append(call)
            return b""

        async with listening(remember) as here:
            reader, writer = await tls_stream(here)
            writer.write(b"POST /peer/v1/message HTTP/1.1\r\nhost: bank\r\ntransfer-encoding: chunked\r\n\r\n")
            for _ in range(LIMIT // 10_000 + 1):
                writer.write(b"2710\r\n" + bytes(10_000) + b"\r\n")
            head = await asyncio.wait_for(reader.readline(), 20)
            assert b" 413 " in head
            assert received == []
            writer.close()

    run(scenario)


def test_a_request_that_is_cut_off_reaches_nobody() -> None:
    async def scenario() -> None:
        received: list[PeerCall] = []

        async def remember(call: PeerCall) -> bytes:
            received.append(call)
            return b""

        async with listening(remember) as here:
            _, writer = await tls_stream(here)
            writer.write(b"POST /peer/v1/message HTTP/1.1\r\nhost: bank\r\ncontent-length: 100\r\n\r\nhalf")
            await writer.drain()
            writer.close()
            await asyncio.sleep(0.2)
            link = here.link()
            await link.call("message", b"whole", timeout_s=20)
            assert [call.body for call in received] == [b"whole"]
            await link.close()

    run(scenario)


@pytest.mark.parametrize(
    "sent", [b"", b"POST /peer", b"POST /peer/v1/message HTTP/1.1\r\nhost: b\r\ncontent-length: 9\r\n\r\nhalf"]
)
def test_a_connection_that_stands_still_is_cut(sent: bytes) -> None:
    async def scenario() -> None:
        async with listening(idle_timeout_s=0.4) as here:
            reader, writer = await tls_stream(here)
            writer.write(sent)
            try:
                assert await asyncio.wait_for(reader.read(), 20) == b""
            except ConnectionError:
                pass
            if sent:
                assert await here.reasons() == {"REQUEST_TIMEOUT"}
            writer.close()

    run(scenario)


def test_a_slow_answer_is_waited_for_and_not_cut() -> None:
    async def slow(call: PeerCall) -> bytes:
        await asyncio.sleep(1.2)
        return b"at last"

    async def scenario() -> None:
        async with listening(slow, idle_timeout_s=0.4) as here:
            link = here.link()
            assert await link.call("message", b"x", timeout_s=20) == b"at last"
            await link.close()

    run(scenario)


def test_a_frozen_partner_times_out() -> None:
    """As with SIGSTOP: the kernel still completes TCP, and nobody answers."""

    async def scenario() -> None:
        with socket.create_server((HOSTS[BANK], 0), backlog=1) as silent:
            peer = replace(institution(BANK).address, port=silent.getsockname()[1])
            link = MutualTlsLink(identity=institution(BROKER).identity, peer=peer, source_address=HOSTS[BROKER])
            started = time.monotonic()
            with pytest.raises(PeerUnavailable):
                await link.call("hello", b"", timeout_s=0.5)
            assert time.monotonic() - started < 30
            await link.close()

    run(scenario)


def test_a_partner_that_freezes_after_the_request_times_out() -> None:
    async def frozen(call: PeerCall) -> bytes:
        await asyncio.sleep(2)
        return b""

    async def scenario() -> None:
        async with listening(frozen) as here:
            link = here.link()
            with pytest.raises(PeerUnavailable):
                await link.call("message", b"x", timeout_s=0.5)
            await link.close()

    run(scenario)


def test_a_partner_that_is_down_is_unavailable_and_one_that_comes_up_meanwhile_is_reached() -> None:
    async def scenario() -> None:
        with socket.create_server((HOSTS[BANK], 0)) as reserved:
            port = reserved.getsockname()[1]
        link = MutualTlsLink(
            identity=institution(BROKER).identity,
            peer=replace(institution(BANK).address, port=port),
            source_address=HOSTS[BROKER],
        )
        with pytest.raises(PeerUnavailable):
            await link.call("hello", b"", timeout_s=0.1)
        late = asyncio.create_task(link.call("hello", b"", timeout_s=20))
        await asyncio.sleep(0.1)
        server = PeerServer(
            identity=institution(BANK).identity, peers=lambda: [institution(BROKER).address], handler=echo,
            refused=lambda address, reason: None, max_body_bytes=LIMIT,
        )  # fmt: skip
        await server.start(HOSTS[BANK], port)
        assert await late == b"broker hello 127.0.0.11 "
        await link.close()
        await server.close()

    run(scenario)


def test_a_lost_connection_is_not_repeated() -> None:
    """A frame that may have arrived must not be sent twice by the channel."""
    calls: list[bytes] = []

    async def drop(call: PeerCall) -> bytes:
        calls.append(call.body)
        for connection in list(here_server[0]._state.connections):
            connection.transport.abort()
        return b""

    here_server: list[PeerServer] = []

    async def scenario() -> None:
        async with listening(drop) as here:
            here_server.append(here.server)
            link = here.link()
            with pytest.raises(PeerUnavailable) as refusal:
                await link.call("message", b"once", timeout_s=20)
            assert refusal.value.code == "CONNECTION_LOST"
            assert calls == [b"once"]
            await link.close()

    run(scenario)


def test_errors_of_the_partner_arrive_with_their_code_and_harmless_text() -> None:
    async def refuse(call: PeerCall) -> bytes:
        match call.path:
            case "rule":
                raise Refused("人数不足", "too few", code="SMALL", details={"count": "17"})
            case "hostile":
                raise Disputed("\u202e恶意" + "长" * 5000, "<script>\x1b[2J", code="not a code")
            case _:
                raise RuntimeError("13800000000 in a traceback")

    async def scenario() -> None:
        async with listening(refuse) as here:
            link = here.link()
            with pytest.raises(PeerError) as rule:
                await link.call("rule", b"", timeout_s=20)
            assert rule.value.code == "SMALL"
            assert "too few" in rule.value.en
            assert "17" not in json.dumps(rule.value.as_dict())
            with pytest.raises(PeerError) as hostile:
                await link.call("hostile", b"", timeout_s=20)
            assert hostile.value.code == "PEER_FAILED"
            assert len(hostile.value.zh) < 400
            assert "\u202e" not in hostile.value.zh
            assert "\x1b" not in hostile.value.en
            with pytest.raises(PeerError) as fault:
                await link.call("fault", b"", timeout_s=20)
            assert "138" not in str(fault.value)
            assert here.refusals == []
            await link.close()

    run(scenario)


@pytest.mark.parametrize(
    "request_line", [b"GET /peer/v1/hello", b"POST /api/staff", b"POST /peer/v1", b"PUT /peer/v1/hello"]
)
def test_only_posts_below_the_peer_path_are_served(request_line: bytes) -> None:
    async def scenario() -> None:
        received: list[PeerCall] = []

        async def remember(call: PeerCall) -> bytes:
            received.append(call)
            return b""

        async with listening(remember) as here:
            reader, writer = await tls_stream(here)
            writer.write(request_line + b" HTTP/1.1\r\nhost: bank\r\ncontent-length: 0\r\n\r\n")
            head = await asyncio.wait_for(reader.readline(), 20)
            assert int(head.split()[1]) in {404, 422}
            assert received == []
            writer.close()

    run(scenario)


def test_a_flood_of_one_refusal_is_recorded_once_a_second() -> None:
    async def scenario() -> None:
        async with listening() as here:
            for _ in range(20):
                _, writer = await asyncio.open_connection(HOSTS[BANK], here.server.port, local_addr=("127.0.0.99", 0))
                writer.close()
            await here.reasons()
            assert len(here.refusals) <= 3

    run(scenario)


def test_an_unreadable_allow_list_lets_nobody_in_and_listening_goes_on() -> None:
    async def scenario() -> None:
        broken = True

        def peers() -> Sequence[PeerAddress]:
            if broken:
                raise OSError("disk")
            return [institution(BROKER).address]

        async with listening(peers=peers) as here:
            link = here.link()
            with pytest.raises(PeerError):
                await link.call("hello", b"", timeout_s=1)
            assert await here.reasons() == {"ALLOW_LIST_UNREADABLE"}
            broken = False
            assert await link.call("hello", b"", timeout_s=20) == b"broker hello 127.0.0.11 "
            await link.close()

    run(scenario)


def test_connections_beyond_the_limit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "MAX_CONNECTIONS", 2)

    async def scenario() -> None:
        async with listening() as here:
            streams = [await tls_stream(here) for _ in range(2)]
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await tls_stream(here)
            assert await here.reasons() == {"TOO_MANY_CONNECTIONS"}
            for _, writer in streams:
                writer.close()

    run(scenario)


def test_closing_lets_a_running_request_end() -> None:
    started = asyncio.Event()

    async def slow(call: PeerCall) -> bytes:
        started.set()
        await asyncio.sleep(0.3)
        return b"done"

    async def scenario() -> None:
        async with listening(slow) as here:
            link = here.link()
            answer = asyncio.create_task(link.call("message", b"x", timeout_s=20))
            await started.wait()
            await here.server.close()
            assert await answer == b"done"
            with pytest.raises(PeerUnavailable):
                await link.call("message", b"x", timeout_s=1)
            await link.close()

    run(scenario)


def test_the_environment_names_no_proxy_or_authority(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "ALL_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent")

    async def scenario() -> None:
        async with listening() as here:
            link = here.link()
            assert await link.call("hello", b"", timeout_s=20)
            await link.close()

    run(scenario)


def test_addresses_and_networks_are_matched_as_numbers() -> None:
    assert is_allowed("10.1.2.3", ["10.1.0.0/16"])
    assert is_allowed("::ffff:10.1.2.3", ["10.1.2.3"])
    assert is_allowed("2001:db8::1", ["2001:db8:0::/48"])
    assert not is_allowed("10.2.2.3", ["10.1.0.0/16", "10.1.2.3"])
    for text in ("", "10.1.2.3.4", "localhost", "10.1.2.3, 10.1.2.4"):
        assert not is_allowed(text, ["0.0.0.0/0", "::/0"])
    assert not is_allowed("10.1.2.3", ["everywhere"])
    assert not is_allowed("10.1.2.3", [])

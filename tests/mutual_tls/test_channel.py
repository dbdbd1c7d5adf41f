"""The mutual TLS channel and who is let in: real sockets, real certificates and different loopback addresses."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from tls_partners import BANK, BROKER, CARDNET, HOSTS, LIMIT, Remembering, echo, institution, listening, run, tls_stream
from workbench_mutual_tls import workbench_channels
from workbench_mutual_tls.channel import MutualTlsChannel
from workbench_mutual_tls.client import MutualTlsLink
from workbench_mutual_tls.contexts import client_context
from workbench_mutual_tls.identity import identify, is_allowed

from workbench.contracts import Channel, ChannelIdentity
from workbench.crypto import certificates
from workbench.errors import Denied, PeerError, PeerUnavailable


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
            assert await here.reasons() == {"ADDRESS_NOT_ALLOWED"}
            assert here.refusals[0] == ("127.0.0.99", "ADDRESS_NOT_ALLOWED")
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
    remember = Remembering()
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
        assert remember.calls == []

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


def test_addresses_and_networks_are_matched_as_numbers() -> None:
    assert is_allowed("10.1.2.3", ["10.1.0.0/16"])
    assert is_allowed("::ffff:10.1.2.3", ["10.1.2.3"])
    assert is_allowed("2001:db8::1", ["2001:db8:0::/48"])
    assert not is_allowed("10.2.2.3", ["10.1.0.0/16", "10.1.2.3"])
    for text in ("", "10.1.2.3.4", "localhost", "10.1.2.3, 10.1.2.4"):
        assert not is_allowed(text, ["0.0.0.0/0", "::/0"])
    assert not is_allowed("10.1.2.3", ["everywhere"])
    assert not is_allowed("10.1.2.3", [])

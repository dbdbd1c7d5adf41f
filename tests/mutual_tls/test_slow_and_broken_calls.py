"""The mutual TLS channel when a call is too large, slow, cut off, refused or flooded: real sockets, real certificates."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import replace

import pytest
from tls_partners import BANK, BROKER, HOSTS, LIMIT, Remembering, echo, institution, listening, run, tls_stream
from workbench_mutual_tls import server as server_module
from workbench_mutual_tls.client import MutualTlsLink
from workbench_mutual_tls.server import PeerServer

from workbench.contracts import PeerAddress, PeerCall
from workbench.errors import Disputed, PeerError, PeerUnavailable, Refused


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
        remember = Remembering()
        async with listening(remember) as here:
            reader, writer = await tls_stream(here)
            writer.write(b"POST /peer/v1/message HTTP/1.1\r\nhost: bank\r\ntransfer-encoding: chunked\r\n\r\n")
            for _ in range(LIMIT // 10_000 + 1):
                writer.write(b"2710\r\n" + bytes(10_000) + b"\r\n")
            head = await asyncio.wait_for(reader.readline(), 20)
            assert b" 413 " in head
            assert remember.calls == []
            writer.close()

    run(scenario)


def test_a_request_that_is_cut_off_reaches_nobody() -> None:
    async def scenario() -> None:
        remember = Remembering()
        async with listening(remember) as here:
            _, writer = await tls_stream(here)
            writer.write(b"POST /peer/v1/message HTTP/1.1\r\nhost: bank\r\ncontent-length: 100\r\n\r\nhalf")
            await writer.drain()
            writer.close()
            await asyncio.sleep(0.2)
            link = here.link()
            await link.call("message", b"whole", timeout_s=20)
            assert [call.body for call in remember.calls] == [b"whole"]
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
        remember = Remembering()
        async with listening(remember) as here:
            reader, writer = await tls_stream(here)
            writer.write(request_line + b" HTTP/1.1\r\nhost: bank\r\ncontent-length: 0\r\n\r\n")
            head = await asyncio.wait_for(reader.readline(), 20)
            assert int(head.split()[1]) in {404, 422}
            assert remember.calls == []
            writer.close()

    run(scenario)


def test_a_flood_of_one_refusal_is_recorded_once_a_second() -> None:
    async def scenario() -> None:
        async with listening() as here:
            began = time.monotonic()
            for _ in range(20):
                _, writer = await asyncio.open_connection(HOSTS[BANK], here.server.port, local_addr=("127.0.0.99", 0))
                writer.close()
            await here.reasons()
            assert len(here.refusals) <= 2 + (time.monotonic() - began)

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

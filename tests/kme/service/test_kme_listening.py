"""One listener of a KME under callers it does not want: too many, too slow, too much; and what its log says of them."""

from __future__ import annotations

import asyncio
import http.client
import logging
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from kme_pair import SENDER, imported_plan
from workbench_kme.service import listening
from workbench_kme.service.admission import LOG_EVERY_S, CountingSocket, Seldom
from workbench_kme.service.client import Credentials
from workbench_kme.service.config import parse_secrets
from workbench_kme.service.listening import Answer, Call, Limits, Listener
from workbench_kme.service.sites import Site, make_sites
from workbench_kme.service.tls import client_context, server_context

LIMITS = Limits(connections=4, connections_of_one_address=3, bytes_in_flight=1000)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return make_sites(tmp_path_factory.mktemp("listening") / "sites", [imported_plan()], now=datetime.now(UTC))[SENDER]


@contextmanager
def listener(site: Site) -> Iterator[int]:
    """The port of a running one that answers with the length of the body."""
    secrets = parse_secrets((site.folder / "secrets.json").read_bytes(), "")
    context = server_context(
        (site.folder / "kme.pem").read_bytes(), secrets.tls_key, [(site.folder / "authority.pem").read_bytes()]
    )
    loop, ready = asyncio.new_event_loop(), threading.Event()
    made: list[Listener] = []

    async def start() -> None:
        def handle(call: Call) -> Answer:
            return Answer(200, b"%d" % len(call.body))

        said = {name: Answer(status, b"{}") for name, status in (("too_large", 400), ("busy", 503), ("failed", 500))}
        made.append(
            Listener(
                handle,
                admits=lambda _caller, _pin, path: Answer(401, b"{}") if path == "/no" else 5000,
                limits=LIMITS,
                **said,
            )
        )
        await made[0].start("127.0.0.1", 0, context)
        ready.set()

    def run() -> None:
        loop.run_until_complete(start())
        loop.run_forever()
        loop.run_until_complete(made[0].close())
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(120)
    try:
        yield made[0].port
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def asking(site: Site, port: int) -> http.client.HTTPSConnection:
    """A client of the site."""
    name = next(path.stem for path in (site.folder / "clients").glob("sae-*.pem"))
    known = Credentials.from_site(site.folder, name, kme=site.kme)
    context: ssl.SSLContext = client_context(known.certificate, known.private_key, known.authority, kme=known.kme)
    return http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=60)


def ask(connection: http.client.HTTPSConnection, size: int, path: str = "/") -> tuple[int, bytes]:
    connection.request("POST", path, body=bytes(size))
    reply = connection.getresponse()
    return reply.status, reply.read()


def knock(port: int, address: str) -> socket.socket:
    """A connection that never begins its handshake."""
    return socket.create_connection(("127.0.0.1", port), timeout=60, source_address=(address, 0))


def is_closed(connection: socket.socket) -> bool:
    """Whether the other side has ended this connection; waits for it."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


def test_connections_that_never_shake_hands_are_limited_and_those_that_stand_go_on(site: Site) -> None:
    with listener(site) as port:
        mine = asking(site, port)
        assert ask(mine, 1) == (200, b"1")
        held = [knock(port, "127.0.0.1") for _ in range(2)]
        assert is_closed(knock(port, "127.0.0.1"))  # the fourth of one address
        held.append(knock(port, "127.0.0.2"))
        assert is_closed(knock(port, "127.0.0.3"))  # the fifth of all
        assert ask(mine, 2) == (200, b"2")
        held.pop().close()
        second = asking(site, port)
        second.source_address = ("127.0.0.4", 0)
        for _ in range(100):  # until the listener has seen that there is room
            try:
                assert ask(second, 3) == (200, b"3")
                break
            except (OSError, http.client.HTTPException):
                second.close()
                time.sleep(0.05)
        else:
            raise AssertionError("a connection that ended still counts")
        for one in (*held, mine, second):
            one.close()


def test_a_handshake_that_does_not_come_ends_the_connection(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    assert listening.HANDSHAKE_TIMEOUT_S == 5
    monkeypatch.setattr(listening, "HANDSHAKE_TIMEOUT_S", 0.2)
    with listener(site) as port:
        assert is_closed(knock(port, "127.0.0.1"))


def test_bodies_beyond_what_is_held_at_once_are_refused_and_give_their_room_back(site: Site) -> None:
    with listener(site) as port:
        for _ in range(3):
            connection = asking(site, port)
            assert ask(connection, 1001)[0] == 503
            connection.close()
        connection = asking(site, port)
        assert ask(connection, 1000) == (200, b"1000")
        assert ask(connection, 6000)[0] == 400
        connection.close()
        assert ask(connection, 10, "/no")[0] == 401
        connection.close()


# In a process of its own: nothing else there opens or closes a descriptor meanwhile, or lacks the one that was taken away.
STARVED = """
import errno, logging, os, resource, socket, sys
from workbench_kme.service.admission import CountingSocket, Seldom

logging.basicConfig(stream=sys.stdout, format="%(message)s")
counting = CountingSocket(socket.create_server(("127.0.0.1", 0)), most=9, of_one_address=9, seldom=Seldom())
counting.setblocking(False)
waiting = [socket.create_connection(counting.getsockname(), timeout=60) for _ in range(3)]
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 4, hard))
filling = []


def fill():
    try:
        while True:
            filling.append(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        assert error.errno == errno.EMFILE


def accept():
    try:
        counting.accept()
        print("accepted")
    except BlockingIOError:
        print("nobody waits")
    except OSError as error:
        print(errno.errorcode[error.errno])


fill()
accept()
os.close(counting._spare)  # and somebody else takes the one that was kept for this
counting._spare = -1
fill()
os.close(filling.pop())
waiting.append(socket.create_connection(counting.getsockname(), timeout=60))
accept()
os.close(filling.pop())
accept()
for one in filling:
    os.close(one)
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
for one in waiting:
    try:
        assert one.recv(1) == b""
    except ConnectionResetError:
        pass
late = socket.create_connection(counting.getsockname(), timeout=60)
counting.setblocking(True)
accepted, _ = counting.accept()
print(counting.held)
accepted.close()
print(counting.held)
"""


def test_without_a_descriptor_left_who_waits_is_closed_and_the_log_says_so_once() -> None:
    done = subprocess.run([sys.executable, "-c", STARVED], capture_output=True, text=True, timeout=240, check=False)
    assert done.stdout.splitlines() == [
        "no descriptor is left for a connection (0 more since the last time)", "nobody waits", "EMFILE", "accepted", "1", "0",
    ], done.stderr  # fmt: skip


def test_the_log_says_the_same_thing_once_in_a_while_with_how_often(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    seldom = Seldom(lambda: now[0])
    loop = asyncio.new_event_loop()
    with caplog.at_level(logging.WARNING):
        for _ in range(1000):
            seldom.handle(loop, {"message": "accept", "exception": OSError(24, "secret")})
        now[0] = LOG_EVERY_S
        seldom.handle(loop, {"message": "accept", "exception": OSError(24, "secret")})
    loop.close()
    assert [one.getMessage() for one in caplog.records] == [
        "accept: OSError (0 more since the last time)",
        "accept: OSError (999 more since the last time)",
    ]


def test_a_connection_that_nobody_closed_counts_no_more_when_it_is_gone(tmp_path: Path) -> None:
    counting = CountingSocket(socket.create_server(("127.0.0.1", 0)), most=9, of_one_address=9, seldom=Seldom())
    client = socket.create_connection(counting.getsockname(), timeout=60)
    accepted, _address = counting.accept()
    os.close(accepted.detach())
    del accepted
    assert counting.held == 0
    client.close()
    counting.close()

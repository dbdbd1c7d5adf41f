"""Who may talk to a node: addresses, certificates, sizes and tickets, against running processes. Every refusal is recorded."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import sqlite3
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from workbench.channel.message import OutboundSequence, seal_message
from workbench.clock import system_now_ms
from workbench.domain.party import PartyId, Role
from workbench.node import keys as institution_keys
from workbench.node.keys import InstitutionKeys
from workbench.supervisor import running_nodes

from tests.processes.live import Live, wait_until


def own_keys(live: Live, party: str) -> InstitutionKeys:
    folder = live.workspace.node_folder(party)
    return institution_keys.load(folder / "keys", (folder / "passphrase").read_text("utf-8").strip())


def peer_of(live: Live, party: str) -> tuple[str, int]:
    host, _, port = running_nodes(live.workspace)[PartyId(party)].peer.rpartition(":")
    return host, int(port)


@contextlib.contextmanager
def tls(
    live: Live, keys: InstitutionKeys, folder: Path, *, source: str, minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> Iterator[http.client.HTTPSConnection]:
    """A connection to the bank's peer API with these keys from this address; the server's own identity is not looked at."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = minimum
    identity = keys.channel_identity()
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(identity.certificate_pem)
    key.write_bytes(identity.private_key_pem)
    context.load_cert_chain(certificate, key)
    connection = http.client.HTTPSConnection(*peer_of(live, "bank"), context=context, timeout=60, source_address=(source, 0))
    try:
        yield connection
    finally:
        connection.close()


def recorded(live: Live, code: str, before: int) -> None:
    wait_until(lambda: live.refusals("bank", code) > before, limit_s=60, what=f"the entry about {code}")


def test_plain_tcp_gets_nothing(live: Live) -> None:
    before = live.refusals("bank", "HANDSHAKE_FAILED")
    source = live.workspace.address("broker").peer_host
    with socket.create_connection(peer_of(live, "bank"), timeout=60, source_address=(source, 0)) as line:
        line.sendall(b"POST /peer/v1/hello HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        received = b""
        with contextlib.suppress(OSError):
            while part := line.recv(4096):
                received += part
    assert b"HTTP" not in received and b"size" not in received
    recorded(live, "HANDSHAKE_FAILED", before)


def test_an_address_on_no_list_is_cut_off_before_the_handshake(live: Live, tmp_path: Path) -> None:
    before = live.refusals("bank", "ADDRESS_NOT_ALLOWED")
    with tls(live, own_keys(live, "broker"), tmp_path, source="127.0.0.9") as connection, pytest.raises(OSError):
        connection.request("POST", "/peer/v1/hello", b"")
        connection.getresponse()
    recorded(live, "ADDRESS_NOT_ALLOWED", before)


def test_a_certificate_that_nobody_pinned_opens_nothing(live: Live, tmp_path: Path) -> None:
    """Another authority under the broker's name, from the broker's address."""
    time.sleep(1.1)  # the same refusal from the same address is written down once a second
    before = live.refusals("bank", "HANDSHAKE_FAILED")
    address = live.workspace.address("broker")
    false = InstitutionKeys.create(
        PartyId("broker"), name_zh="甲证券", name_en="Jia", host=address.peer_host, port=address.peer_port, now=datetime.now(UTC)
    )
    with tls(live, false, tmp_path, source=address.peer_host) as connection, pytest.raises((OSError, http.client.HTTPException)):
        connection.request("POST", "/peer/v1/hello", b"")
        connection.getresponse().read()
    recorded(live, "HANDSHAKE_FAILED", before)


def test_an_older_tls_is_refused(live: Live, tmp_path: Path) -> None:
    source = live.workspace.address("broker").peer_host
    keys = own_keys(live, "broker")
    with (
        tls(live, keys, tmp_path, source=source, minimum=ssl.TLSVersion.TLSv1_2) as connection,
        pytest.raises((OSError, http.client.HTTPException)),
    ):
        connection.request("POST", "/peer/v1/hello", b"")


def test_a_partners_certificate_is_worth_nothing_at_another_partners_address(live: Live, tmp_path: Path) -> None:
    before = live.refusals("bank", "ADDRESS_NOT_ALLOWED")
    source = live.workspace.address("broker").peer_host
    with tls(live, own_keys(live, "cardnet"), tmp_path, source=source) as connection:
        connection.request("POST", "/peer/v1/hello", b"")
        answer = connection.getresponse()
        assert answer.status == 403 and json.loads(answer.read())["code"] == "ADDRESS_NOT_ALLOWED"
    recorded(live, "ADDRESS_NOT_ALLOWED", before)


def test_who_speaks_is_known_from_tls_and_not_from_what_is_said(live: Live, tmp_path: Path) -> None:
    """The card network passes on a frame that the broker signed, and headers that name the broker."""
    broker = own_keys(live, "broker")
    frame = seal_message(
        OutboundSequence(job="J-20261121-0a1b2c3d", attempt=0, sender=PartyId("broker"), recipient=PartyId("bank")),
        kind="stopped", payload=b'{"attempt": "0", "code": "X"}', contract="", key=broker.message, now_ms=system_now_ms(),
    )  # fmt: skip
    before = live.refusals("bank", "WRONG_SENDER")
    source = live.workspace.address("cardnet").peer_host
    with tls(live, own_keys(live, "cardnet"), tmp_path, source=source) as connection:
        headers = {"X-Party": "broker", "X-Forwarded-For": live.workspace.address("broker").peer_host}
        connection.request("POST", "/peer/v1/message", frame, headers)
        answer = connection.getresponse()
        assert answer.status == 502 and json.loads(answer.read())["code"] == "WRONG_SENDER"
    recorded(live, "WRONG_SENDER", before)


@pytest.mark.parametrize("path", ["/peer/v1/mirror", "/peer/v1/bodies", "/peer/v1/message", "/peer/v1/gossip", "/api/v1/session"])
@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"\x00" * 4096])
def test_nonsense_from_a_partner_is_refused_and_the_node_lives(live: Live, tmp_path: Path, path: str, body: bytes) -> None:
    source = live.workspace.address("broker").peer_host
    with tls(live, own_keys(live, "broker"), tmp_path, source=source) as connection:
        connection.request("POST", path, body)
        answer = connection.getresponse()
        value = json.loads(answer.read())
        assert answer.status >= 400 and value["code"] and set(value) == {"code", "zh", "en"}
        assert answer.status != 500, value
        connection.request("POST", "/peer/v1/hello", b"")
        assert connection.getresponse().status == 200


def test_a_body_over_the_limit_is_cut_off(live: Live, tmp_path: Path) -> None:
    before = live.refusals("bank", "BODY_TOO_LARGE")
    source = live.workspace.address("broker").peer_host
    with tls(live, own_keys(live, "broker"), tmp_path, source=source) as connection:
        connection.putrequest("POST", "/peer/v1/message")
        connection.putheader("Content-Length", str(64 << 20))
        connection.endheaders()
        assert connection.getresponse().status == 413
    recorded(live, "BODY_TOO_LARGE", before)


# --------------------------------------------------------------------------------------------------------- staff API


def staff_url(live: Live, party: str = "broker") -> str:
    return running_nodes(live.workspace)[PartyId(party)].staff_url


def test_a_request_of_staff_over_the_limit_is_refused(live: Live) -> None:
    with live.client("broker", Role.MARKETING) as client:
        ticket = client.ticket()
    headers = {"Authorization": f"Bearer {ticket}", "Content-Type": "application/json"}
    with httpx.Client(base_url=staff_url(live), trust_env=False) as http_client:
        reply = http_client.post("/api/v1/operations/intersection.jobs", content=b"[" * 300_000, headers=headers)
        assert reply.status_code == 413 and reply.json()["code"] == "TOO_LARGE"
        reply = http_client.post("/api/v1/operations/intersection.jobs", content=iter([b"{}"]), headers=headers)
        assert reply.json()["code"] == "LENGTH_REQUIRED"


def test_an_expired_ticket_opens_nothing(live: Live) -> None:
    with live.client("broker", Role.MARKETING) as client:
        ticket = client.ticket()
        assert client.call("intersection.jobs")
    with contextlib.closing(sqlite3.connect(live.workspace.node_folder("broker") / "evidence.db", timeout=20)) as rows, rows:
        rows.execute("UPDATE host_ticket SET expires_ms = 1")
    headers = {"Authorization": f"Bearer {ticket}"}
    with httpx.Client(base_url=staff_url(live), trust_env=False) as http_client:
        for path in ("operations/intersection.jobs", "session/renew", "session/derive", "session/confirm", "files"):
            reply = http_client.post(f"/api/v1/{path}", json={}, headers=headers)
            assert reply.status_code == 401, path


def test_another_host_name_reaches_nothing(live: Live) -> None:
    """A page of another name that resolves to this address (DNS rebinding)."""
    with httpx.Client(base_url=staff_url(live), trust_env=False) as http_client:
        for host in ("evil.example", "localhost", "127.0.0.1:1"):
            assert http_client.get("/signin", headers={"Host": host}).json()["code"] == "WRONG_HOST"
        assert http_client.get("/signin").status_code == 200

"""A device of another make behind ETSI GS QKD 014: no id of ours in its certificate, TLS 1.2, nothing said of its keys."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from kme_callers import trunk_task
from workbench_kme.service.tls import foreign_context
from workbench_kme.sources import SourceContext, SourceWaiting
from workbench_kme.sources.device_014 import Device014

from workbench.crypto import certificates

ID = "6960b6a7-35ce-4301-9ac5-b073aa8cb49"


@dataclass
class Device:
    """Both devices of a line, for what we see of them. requests: that came through the handshake."""

    folder: Path
    port: int = 0
    fingerprint: str = ""
    authority: str = ""
    requests: list[tuple[str, str]] = field(default_factory=list)

    def end(self, *, is_sender: bool, **changes: Any) -> Device014:
        options: dict[str, Any] = {
            "address": f"127.0.0.1:{self.port}", "kme": "vendor-7", "authority": self.authority, "certificate": "sae.pem", "key": "sae.key",
            "sae": "desk", "peer_sae": "backup", "batch": 3, "fingerprint": self.fingerprint,
        }  # fmt: skip
        options = {name: value for name, value in {**options, **changes}.items() if value is not None}
        return Device014(SourceContext("trunk", is_sender, options, self.folder, b"", lambda _: False, lambda _: True))


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    made, now = Device(tmp_path_factory.mktemp("vendor")), datetime.now(UTC)
    authority = certificates.make_authority("vendor", now=now)
    server = certificates.issue_certificate(authority, name="kme 7", uri="urn:vendor:kme-7", hosts=["kme.vendor.example"], now=now)
    client = certificates.issue_certificate(authority, name="desk", uri="urn:vendor:desk", now=now)
    for name, data in (("sae.pem", client.certificate_pem), ("sae.key", client.private_key_pem), ("kme.pem", server.certificate_pem + server.private_key_pem)):
        (made.folder / name).write_bytes(data)
    made.authority, made.fingerprint = authority.certificate_pem.decode(), certificates.describe(server.certificate_pem).fingerprint
    keys = {f"{ID}{n}": base64.b64encode(bytes([n + 1]) * 32).decode() for n in range(3)}

    class Answering(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._say({"stored_key_count": 3})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            wanted = [one["key_ID"] for one in body.get("key_IDs", [])]
            name = "Keys" if wanted else "keys"  # the standard prints both
            self._say({name: [{"key_ID": one, "key": keys[one]} for one in wanted or keys]})

        def _say(self, value: dict[str, Any]) -> None:
            made.requests.append((self.path, str(self.connection.version())))
            data = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None: ...

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.folder / "kme.pem")
    context.load_verify_locations(cadata=made.authority)
    context.verify_mode, context.maximum_version = ssl.CERT_REQUIRED, ssl.TLSVersion.TLSv1_2
    listening = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    listening.handle_error = lambda request, client_address: None  # type: ignore[method-assign]  # refused handshakes are the point
    listening.socket = context.wrap_socket(listening.socket, server_side=True)
    made.port = listening.server_address[1]
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield made
    listening.shutdown()
    listening.server_close()
    thread.join(5)


def test_its_pinned_certificate_stands_for_its_id_and_both_ends_get_its_keys(device: Device) -> None:
    sender, receiver = device.end(is_sender=True), device.end(is_sender=False)
    assert sender.pulses() == 0
    taking, fetching = sender.machine(trunk_task(1)), receiver.machine(trunk_task(1))
    (named,) = taking.begin()
    (checked,) = fetching.receive(named)
    (agreed,) = taking.receive(checked)
    fetching.receive(agreed)
    assert taking.result is not None and fetching.result is not None
    assert taking.result.key == fetching.result.key == b"".join(bytes([n + 1]) * 32 for n in range(3))
    assert {version for _, version in device.requests} == {"TLSv1.2"}
    sender.close()
    receiver.close()


@pytest.mark.parametrize("changes", [{"fingerprint": "0" * 64}, {"fingerprint": None}], ids=["another certificate", "no pin"])
def test_a_device_that_is_not_the_pinned_one_is_asked_nothing(device: Device, changes: dict[str, Any]) -> None:
    before = len(device.requests)
    end = device.end(is_sender=True, **changes)
    with pytest.raises(SourceWaiting):
        end.pulses()
    assert len(device.requests) == before
    end.close()


@pytest.mark.parametrize("bad", ["", "00", "G" * 64, "A" * 64, 5])
def test_a_fingerprint_of_another_form_is_refused(device: Device, bad: Any) -> None:
    with pytest.raises(ValueError, match="fingerprint"):
        device.end(is_sender=True, fingerprint=bad)
    with pytest.raises(ValueError, match="fingerprint"):
        foreign_context(b"", b"", b"", fingerprint=str(bad))

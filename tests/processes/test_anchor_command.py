"""`workbench ledger anchor` against a running node: off by default, and a stamp carried by hand."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.anchor.authority import HAS_OPENSSL, CertificateAuthority
from tests.processes.live import Live, Outcome, workbench


@pytest.mark.skipif(not HAS_OPENSSL, reason="the OpenSSL command is not installed")
def test_an_isolated_node_gets_a_stamp_by_hand(live: Live, tmp_path: Path) -> None:
    start = ("ledger", "anchor", live.folder, "--party", "bank", "--json")
    assert states(workbench(*start)) == {"rfc3161": "off", "evm": "off"}
    refused = workbench(*start, "--now")
    assert (refused.status, refused.value["error"]["code"]) == (2, "ANCHOR_OFF")
    signer = CertificateAuthority(tmp_path).signer("tsa")
    (live.workspace.node_folder("bank") / "tsa.pem").write_bytes(signer.pinned)
    request, response = tmp_path / "r.tsq", tmp_path / "r.tsr"
    asked = workbench(*start, "--request", request).value
    assert hashlib.sha256(asked["note"].encode()).hexdigest() == asked["note_sha256"]
    reply = signer.reply(request.read_bytes())
    response.write_bytes(reply[:-1] + bytes([reply[-1] ^ 1]))
    assert workbench(*start, "--response", response).status == 2
    response.write_bytes(reply)
    accepted = workbench(*start, "--response", response)
    assert (accepted.status, accepted.value["note_sha256"]) == (0, asked["note_sha256"])
    assert states(workbench(*start))["rfc3161"] == "confirmed"
    assert workbench(*start, "--now", "--init").status == 64


def states(done: Outcome) -> dict[str, str]:
    """State of each kind of anchor as the command prints it."""
    assert done.status == 0, done.err
    return {one["kind"]: one["state"] for one in done.value["anchors"]}

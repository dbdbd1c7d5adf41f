"""A lease of a real sandbox over two nodes: bubblewrap, evidence, meters both signed, erased and receipted. docs/sandbox-leases.md."""

from __future__ import annotations

import secrets
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.flows.institutions import Institutions
from workbench.contracts.inference import EngineRecipe
from workbench.workspace import create_workspace
from workbench_inference.leasing import images, launching, rows, service, upkeep
from workbench_sandbox.formats import relay
from workbench_sandbox.formats.evidence import parse_evidence


@pytest.mark.soak
@pytest.mark.skipif(sys.platform != "linux", reason="bubblewrap needs Linux")
def test_a_real_sandbox_is_leased_gives_evidence_is_metered_and_erased(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "FIRST_SERVERS", 1)
    workspace = create_workspace(tmp_path / "workspace", kind="test", parties=("broker",), providers=("telecom",))
    world = Institutions(workspace)
    try:
        for party in ("broker", "telecom"):
            world.start(party)
        assert service.leasing_of(world.nodes["telecom"]).started.wait(60)
        tenant = service.tenant_of(world.nodes["broker"])
        found = next(one for one in world.nodes["broker"].answer_engines() if one.name == "extractive")
        plain = EngineRecipe(found.name, found.kind, found.version, found.place, "", "", tuple, found.limits)
        manifest = images.register(tenant.host, plain, name="extractive", version="1", runtime=launching.own_listing("extractive"))
        now = tenant.host.now_ms()
        lease = tenant.order(image=manifest.id, cards=1, most_cards=1, from_ms=now, until_ms=now + 3_600_000, price=30).lease

        def row(party: str) -> Any:
            with world.nodes[party].store.read() as reader:
                return rows.find(reader, lease)

        world.wait_until(lambda: row("broker").state == "RUNNING", timeout_s=120)
        asked = relay.EvidenceRequest(lease, "", secrets.token_hex(32), tenant.host.now_ms())
        document = parse_evidence(relay.read_reply(tenant.host.call("telecom", relay.EVIDENCE, relay.format_evidence_request(asked), timeout_s=30)))
        assert (document.statement.lease, document.statement.nonce, document.statement.image.id) == (lease, asked.nonce, manifest.id)
        assert document.statement.control("no-network").state == "on" and not document.statement.probe.failed
        time.sleep(2.5)  # card-seconds are whole seconds
        tenant.release(lease)
        world.wait_until(lambda: row("broker").state == row("telecom").state == "ERASED", timeout_s=60)
        reader: Any = world.nodes["broker"].store.read
        world.wait_until(lambda: _one(reader, "SELECT agreed FROM inference_statement WHERE lease = ?", lease) == 1)
        assert _one(reader, "SELECT clean FROM inference_erasure WHERE lease = ?", lease) == 1
        assert _one(reader, "SELECT amount_fen FROM inference_statement WHERE lease = ?", lease) >= 1
    finally:
        for party in list(world.nodes):
            world.stop(party)


def _one(read: Any, sql: str, lease: str) -> Any:
    with read() as reader:
        row = reader.execute(sql, (lease,)).fetchone()
    return row[0] if row else None

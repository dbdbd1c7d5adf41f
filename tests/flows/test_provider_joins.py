"""A fourth institution that only rents sandboxes out: no list, its own people, and no say in what the others exchange."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.institutions import Institutions, running
from workbench.domain.party import PartyId, Role
from workbench.errors import Refused
from workbench.workspace import create_workspace, load_workspace

ENDED = {"cause": "released", "at": "60"}


@pytest.fixture(scope="module")
def project() -> Iterator[Institutions]:
    """Tenant, partner and provider; the provider's node is stopped by the last test."""
    folder = Path(tempfile.mkdtemp(prefix="provider-"))
    workspace = create_workspace(folder / "ws", kind="test", parties=("broker", "bank"), providers=("telecom",))
    with running(workspace) as made:
        yield made
    shutil.rmtree(folder)


def test_each_institution_has_the_people_and_the_role_that_it_needs(project: Institutions) -> None:
    workspace = load_workspace(project.workspace.folder)
    assert (workspace.exchanging, workspace.providers, workspace.tenant) == (("broker", "bank"), ("telecom",), "broker")
    people = {party: {role for one in project.nodes[party].people.everyone() for role in one.roles} for party in workspace.parties}
    assert people["telecom"] == {Role.PROVIDER_OPERATOR, Role.OPERATOR, Role.AUDITOR, Role.ADMIN}, "nobody who sees a customer"
    assert people["broker"] - people["bank"] == {Role.ADVISER}
    roles = {party: project.nodes[party].setting("inference.role") for party in workspace.parties}
    assert roles == {"broker": "tenant", "bank": "", "telecom": "provider"}
    assert project.nodes["broker"].setting("inference.provider") == "telecom"
    account, password = workspace.sign_in("telecom", Role.PROVIDER_OPERATOR)
    assert project.nodes["telecom"].people.sign_in(person=account, password=password, audience="page", address="127.0.0.1").secret


def test_what_belongs_to_a_role_is_unknown_elsewhere(project: Institutions) -> None:
    """Nothing of the sandbox exists at an institution that is neither."""
    names = {party: {one.name for one in node.gate.registry if one.name.startswith("inference.")} for party, node in project.nodes.items()}
    assert names["bank"] == set()
    tenants, providers = {"inference.offer", "inference.lease_order"}, {"inference.server_add", "inference.tariff_set"}
    assert tenants <= names["broker"] and not tenants & names["telecom"]
    assert providers <= names["telecom"] and not providers & names["broker"]
    pages = {party: [one.name for one in project.call(party, role, "pages.list").pages if one.plugin == "inference"] for party, role in (
        ("bank", Role.OPERATOR), ("broker", Role.OPERATOR), ("telecom", Role.PROVIDER_OPERATOR),
    )}  # fmt: skip
    assert pages["bank"] == [] and "leases" in pages["broker"] and pages["telecom"] == ["provider"]


def test_a_workspace_without_a_provider_is_what_it_was(tmp_path: Path) -> None:
    made = create_workspace(tmp_path / "ws", kind="test", parties=("broker",))
    assert (made.providers, made.tenant) == ((), None)
    assert set(json.loads((tmp_path / "ws" / "workspace.json").read_text("utf-8"))) == {"v", "kind", "project", "parties"}
    assert json.loads((tmp_path / "ws" / "broker" / "settings.json").read_text("utf-8")) == {}
    with pytest.raises(Refused, match="BAD_PARTY"):
        create_workspace(tmp_path / "other", kind="test", parties=("broker",), providers=("broker",))


def test_only_what_names_the_provider_needs_its_signature(project: Institutions) -> None:
    """With its node gone, what the others do together is sealed; what it takes part in waits for it."""
    project.wait_until(lambda: project.nodes["broker"].ledger.size(PartyId("telecom")) > 0, timeout_s=30)
    project.stop("telecom")
    broker = project.nodes["broker"]
    refs = {}
    for partner, job in (("bank", "L-20261122-00000001"), ("telecom", "L-20261122-00000002")):
        values = {"initiator": "broker", "partner": partner, **ENDED}
        refs[partner] = broker.store.write(lambda tx, values=values, job=job: broker.evidence.append(tx, "inference.lease_ended", values, job=job))
    project.wait_until(lambda: broker.ledger.seal(PartyId("broker"), refs["bank"].index).state == "SEALED", timeout_s=30)
    waiting = broker.ledger.seal(PartyId("broker"), refs["telecom"].index)
    assert (waiting.state, waiting.missing) == ("PENDING", ("telecom",))

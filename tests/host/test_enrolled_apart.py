"""Two production institutions that were made apart, enrol each other by exchanging bundles, and intersect (decision 19)."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.flows import population
from tests.flows.institutions import CATALOGUE, SETTINGS
from workbench.client.session import Client, sign_in
from workbench.errors import Denied, Refused, StartRefused
from workbench.node import first_passwords
from workbench.supervisor import start_nodes, stop_nodes
from workbench.workspace import Workspace, create_workspace, open_node

PASSPHRASE = "a passphrase for two tests 8162"
PASSWORD = "long enough for staff 5937"
STAFF = {"marketing": "marketing", "approver": "approver", "compliance": "compliance"}


LOOSENED = {"assessment.stage": "trial", "consent.notice_required": False, "consent.backdating_required": False}
"""A register of the past, before notices and assessments: production says so in its settings file (decision 0046)."""


@dataclass
class Institution:
    """One production workspace, as one bank would run it on its own machine."""

    workspace: Workspace
    party: str
    url: str
    clients: dict[str, Client] = field(default_factory=dict)

    def client(self, account: str) -> Client:
        """Signed in once: hashing a password takes a fifth of a second."""
        if account not in self.clients:
            self.clients[account] = sign_in(self.url, account, PASSWORD)
        return self.clients[account]

    def confirmed(self, account: str, operation: str, **request: Any) -> Any:
        confirmation = self.client(account).confirmation(operation, request, password=PASSWORD)
        return self.client(account).call(operation, confirmation=confirmation, **request)

    def take_over(self, account: str, first: str) -> None:
        """The person replaces their one-time password, which opens nothing else."""
        with sign_in(self.url, account, first) as client:
            with pytest.raises(Denied, match="CHANGE_PASSWORD_FIRST"):
                client.call("people.me")
            confirmation = client.confirmation("people.change_password", {"password": PASSWORD}, password=first)
            client.call("people.change_password", confirmation=confirmation, password=PASSWORD)

    def add(self, account: str, role: str) -> None:
        """One administrator adds, the other confirms, the person takes over."""
        self.confirmed("admin1", "people.add", person=account, display_name=account, roles=[role])
        self.confirmed("admin2", "people.confirm", person=account)
        self.take_over(account, first_passwords.read(self.workspace.node_folder(self.party), account))

    def call(self, account: str, operation: str, **request: Any) -> Any:
        return self.client(account).call(operation, **request)


def free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def make(folder: Path, party: str) -> Workspace:
    """As `workbench init --kind production --host …`; the staff port moves aside, since both run on one machine here."""
    host = f"127.{secrets.randbelow(100) + 100}.{secrets.randbelow(250)}.{secrets.randbelow(250) + 1}"
    workspace = create_workspace(
        folder, kind="production", parties=(party,), project="apart", passphrase=PASSPHRASE, peer_host=host
    )
    path = workspace.node_folder(party) / "node.json"
    address = json.loads(path.read_text("utf-8"))
    assert address["peer_host"] == host
    path.write_text(json.dumps(address | {"staff_port": free_port(address["staff_host"])}), "utf-8")
    (workspace.node_folder(party) / "settings.json").write_text(json.dumps(SETTINGS | LOOSENED, ensure_ascii=False), "utf-8")
    return workspace


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Institution, Institution]]:
    with ExitStack() as stack:
        found = []
        for party in ("broker", "bank"):
            workspace = make(tmp_path_factory.mktemp(party) / "workspace", party)
            # Production compiles into its own folder; what other tests have compiled saves it ten seconds of processor time.
            shutil.copytree(
                os.environ["NUMBA_CACHE_DIR"], workspace.folder / ".compiled", ignore=shutil.ignore_patterns("*.tmp.*", "*.lock")
            )
            nodes = start_nodes(workspace, passphrase=PASSPHRASE)
            stack.callback(stop_nodes, workspace)
            made = Institution(workspace, party, next(iter(nodes.values())).staff_url)
            for account in ("admin1", "admin2"):
                made.take_over(account, first_passwords.read(workspace.node_folder(party), account))
            found.append(made)
        yield found[0], found[1]
        for made in found:
            for client in made.clients.values():
                client.close()


def enrol(own: Institution, other: Institution) -> None:
    bundle = other.call("admin1", "partners.all").own_bundle
    proposed = own.confirmed("admin1", "partners.enrol", bundle=bundle)
    with pytest.raises(Denied) as refused:
        own.confirmed("admin1", "partners.confirm", digest=proposed.digest)
    assert refused.value.code == "SELF_APPROVAL"
    assert own.call("admin1", "partners.all").partners == []
    own.confirmed("admin2", "partners.confirm", digest=proposed.digest)
    assert [one.party for one in own.call("admin1", "partners.all").partners] == [other.party]


@pytest.mark.timeout(280)
def test_two_institutions_made_apart_enrol_each_other_and_intersect(
    two: tuple[Institution, Institution], tmp_path: Path
) -> None:
    broker, bank = two
    for own, other in ((broker, bank), (bank, broker)):
        enrol(own, other)
        for account, role in STAFF.items():
            own.add(account, role)
        customers, grants = population.write(tmp_path / own.party, own.party, (population.RICH,))
        lines = grants.read_text("utf-8").splitlines(keepends=True)
        grants.write_text("".join(line for line in lines if "cardnet" not in line), "utf-8")  # no partner here
        own.call("marketing", "lists.import", file=own.client("marketing").upload(customers), catalogue=CATALOGUE)
        own.call("compliance", "consent.import", file=own.client("compliance").upload(grants))
    job = reached(lambda: broker.call("marketing", "intersection.propose", partner="bank", purpose=population.RICH).job)
    with pytest.raises(Refused) as refused:
        bank.confirmed("approver", "intersection.approve", job=job, automatic=True)
    assert refused.value.code == "NOT_IN_PRODUCTION"
    bank.confirmed("approver", "intersection.approve", job=job)
    done = finished(broker, job)
    assert (done.state, done.error) == ("RELEASED", {})
    both = [person for person in population.KNOWN["broker"] if person in population.KNOWN["bank"]]
    expected = [
        person
        for person in both
        if not population.may_use("broker", "bank", population.RICH, person)
        and not population.may_use("bank", "broker", population.RICH, person)
    ]
    assert done.result["released"] == len(expected)
    assert finished(bank, job).result["result_digest"] == done.result["partner_digest"]


def reached(action: Any, *, limit_s: float = 60) -> Any:
    """The answer once the partner can be reached: both nodes look at the changed list within seconds."""
    limit = time.monotonic() + limit_s
    while True:
        try:
            return action()
        except Exception as error:
            if time.monotonic() > limit:
                raise AssertionError("the partner was not reached") from error
            time.sleep(0.5)


def finished(own: Institution, job: str) -> Any:
    limit = time.monotonic() + 120
    while not (state := own.call("marketing", "intersection.job", job=job)).is_final:
        assert time.monotonic() < limit, state.state
        time.sleep(0.3)
    return state


@pytest.mark.timeout(120)
def test_a_production_node_does_not_start_when_others_may_enter_its_folder(tmp_path: Path) -> None:
    workspace = make(tmp_path / "workspace", "cardnet")
    folder = workspace.node_folder("cardnet")
    for mode in (0o750, 0o701, 0o777):
        folder.chmod(mode)
        with pytest.raises(StartRefused) as refused:
            open_node(workspace, "cardnet", passphrase=PASSPHRASE)
        assert refused.value.code == "FOLDER_OPEN"
    folder.chmod(0o700)
    open_node(workspace, "cardnet", passphrase=PASSPHRASE).close()


@pytest.mark.timeout(120)
def test_a_production_workspace_keeps_no_passphrase_and_no_demo_sign_in(tmp_path: Path) -> None:
    from workbench.domain.party import Role

    workspace = make(tmp_path / "workspace", "cardnet")
    for path in workspace.folder.rglob("*"):
        if path.is_file():
            assert PASSPHRASE.encode() not in path.read_bytes(), path.name
            assert os.stat(path).st_mode & 0o077 == 0, path.name
    with pytest.raises(Refused) as refused:
        workspace.sign_in("cardnet", Role.MARKETING)
    assert refused.value.code == "NO_DEMO_SIGN_IN"
    with pytest.raises(StartRefused):
        open_node(workspace, "cardnet")


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"project": "Has Spaces"}, "BAD_PROJECT"),
        ({"peer_host": "bank.example"}, "BAD_ADDRESS"),
        ({"passphrase": "short"}, "NO_PASSPHRASE"),
        ({"parties": ("Broker",)}, "BAD_PARTY"),
        ({"parties": ("broker", "broker")}, "BAD_PARTY"),
        ({"kind": "play"}, "UNKNOWN_KIND"),
    ],
)
def test_a_wrong_beginning_is_refused_and_leaves_no_folder(tmp_path: Path, options: dict[str, Any], code: str) -> None:
    wanted = {"kind": "production", "parties": ("broker",), "passphrase": PASSPHRASE} | options
    with pytest.raises(Refused) as refused:
        create_workspace(tmp_path / "workspace", **wanted)
    assert refused.value.code == code
    assert not (tmp_path / "workspace").exists()

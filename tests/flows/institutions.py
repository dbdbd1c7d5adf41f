"""Three institutions in one process: real stores, keys and ledgers, links in memory that a test may disturb."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench.contracts import PeerCall
from workbench.domain.party import Caller, PartyId, Role
from workbench.gate import action_digest
from workbench.host import Workbench
from workbench.node.links import MemoryLinks
from workbench.workspace import Workspace, create_workspace, open_node

Tap = Callable[[PeerCall, PartyId], bytes | None]


@dataclass
class Institutions:
    """The nodes of one test workspace by party."""

    workspace: Workspace
    nodes: dict[str, Workbench] = field(default_factory=dict)
    links: dict[str, MemoryLinks] = field(default_factory=dict)

    def start(self, party: str, *, tap: Tap | None = None, **options: Any) -> Workbench:
        """Open one node and connect it with all that run."""
        node = open_node(self.workspace, party)
        for name, value in options.items():
            setattr(node, name, value)
        links = MemoryLinks(node.party, tap=tap)
        self.nodes[party], self.links[party] = node, links
        for other, theirs in self.links.items():
            if other != party:
                theirs.join(node.party, node.peer_api.answer)
                links.join(PartyId(other), self.nodes[other].peer_api.answer)
        node.start(links)
        return node

    def stop(self, party: str) -> None:
        node = self.nodes.pop(party)
        self.links.pop(party)
        for theirs in self.links.values():
            theirs.leave(node.party)
        node.close()

    def caller(self, party: str, role: Role, *, kernel: bool = False) -> Caller:
        """The test person of a role, as if signed in."""
        people = {one.person: one for one in self.nodes[party].people.everyone()}
        return Caller(person=people[role.value], kernel=kernel)

    def call(self, party: str, role: Role, operation: str, /, **request: Any) -> Any:
        """Run an operation through the gate, with a fresh password where it needs one."""
        node = self.nodes[party]
        caller = self.caller(party, role)
        confirmation = ""
        wanted = node.gate.registry.named(operation)
        if wanted.fresh_password:
            digest = action_digest(operation, node.gate.validate(wanted, request))
            _, password = self.workspace.sign_in(party, role)
            confirmation = node.people.confirm(caller, password=password, action_digest=digest)
        return node.gate.call(operation, request, caller, confirmation=confirmation)

    def upload(self, party: str, path: Path) -> str:
        """Put a file where an upload would put it."""
        file_id = secrets.token_hex(12)
        folder = self.nodes[party].folder / "uploads" / file_id
        folder.mkdir()
        (folder / path.name).write_bytes(path.read_bytes())
        return file_id

    def wait(self, party: str, job: str, *states: str, timeout_s: float = 60) -> Any:
        """The job once it is in one of these states; AssertionError with its error otherwise."""
        limit = time.monotonic() + timeout_s
        while time.monotonic() < limit:
            found = self.nodes[party].jobs.get(job)
            if found.state in states:
                return found
            if found.is_final:
                break
            time.sleep(0.02)
        raise AssertionError(f"{party}: {job} is {found.state}, wanted {states}: {found.error}")

    def kinds(self, party: str, job: str = "") -> list[str]:
        """Kinds of the entries of a job in a party's own log, oldest first."""
        node = self.nodes[party]
        with node.store.read() as reader:
            rows = node.evidence.search(reader, job=job or None, limit=1000)
        return [row.kind for row in reversed(rows)]


@contextmanager
def institutions(folder: Path, *, parties: tuple[str, ...] = ("broker", "cardnet", "bank")) -> Iterator[Institutions]:
    """A running test workspace; everything is stopped at the end."""
    made = Institutions(create_workspace(folder / "workspace", kind="test", parties=parties))
    try:
        for party in parties:
            made.start(party)
        yield made
    finally:
        for party in list(made.nodes):
            made.stop(party)


CATALOGUE = {
    "name": "测试名单",
    "owner": "测试部",
    "source": "测试生成",
    "subjects": "合成客户",
    "method": "生成",
    "data_class": "C2",
    "lawful_basis": "consent",
}


def write_customers(path: Path, rows: list[tuple[str, str, str]]) -> Path:
    """CSV of (customer_id, phone, tag)."""
    lines = ["客户号,手机号,资产档"] + [",".join(row) for row in rows]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def write_consents(path: Path, rows: list[tuple[str, str]], *, purpose: str = "wealth-marketing", until: str = "2099-12-31") -> Path:
    """CSV of grants for (phone, recipient)."""
    lines = ["phone,purpose,recipient,valid_from,valid_until"]
    lines += [f"{phone},{purpose},{recipient},2020-01-01,{until}" for phone, recipient in rows]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path

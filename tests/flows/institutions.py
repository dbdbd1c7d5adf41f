"""Three institutions in one process: real stores, keys and ledgers, links in memory that a test may disturb."""

from __future__ import annotations

import atexit
import functools
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench.channel.message import MessageHeader, peek_header
from workbench.contracts import PeerCall
from workbench.domain.party import Caller, PartyId, Role
from workbench.gate import action_digest
from workbench.host import Workbench
from workbench.node.links import MemoryLinks
from workbench.workspace import (
    Workspace,
    create_workspace,
    load_workspace,
    open_node,
    read_json,
)

from tests.flows import population

Tap = Callable[[PeerCall, PartyId], bytes | None]
# A frame's time on the way counts as a difference of clocks (messages.md section 6): what a test does on the way to it, or a
# busy machine, takes longer than the five seconds of a sound institution.
SETTINGS = {
    "node.step_timeout_s": 20, "node.total_timeout_s": 120, "node.max_skew_s": 30, "consent.purposes": population.PURPOSES,
}  # fmt: skip


def header_of(body: bytes) -> MessageHeader:
    """What a frame says about itself."""
    return peek_header(body, max_bytes=1 << 30)


@dataclass
class Wire:
    """What happens between the institutions: by default every call is delivered; rules see, change or drop them.

    A rule gets the call, the recipient and the header of a signed frame (None for other calls) and returns the body to
    deliver, or None to lose the call. calls: all calls seen while `keeps` is set.
    """

    rules: list[Callable[[PeerCall, PartyId, MessageHeader | None], bytes | None]] = field(default_factory=list)
    keeps: bool = False
    calls: list[tuple[str, str, str, bytes]] = field(default_factory=list)

    def __call__(self, call: PeerCall, to: PartyId) -> bytes | None:
        if self.keeps:
            self.calls.append((call.peer, to, call.path, call.body))
        header = header_of(call.body) if call.path == "message" else None
        body: bytes | None = call.body
        for rule in list(self.rules):
            body = rule(PeerCall(call.peer, call.path, body, call.address), to, header)
            if body is None:
                return None
        return body

    def on(self, sender: str, kind: str, act: Callable[[bytes], bytes | None], *, job: str = "", nth: int = 1) -> None:
        """At the nth frame of a kind from a sender, once: deliver what `act` returns for it, None loses it."""
        seen = 0

        def rule(call: PeerCall, to: PartyId, header: MessageHeader | None) -> bytes | None:
            nonlocal seen
            if header is None or (call.peer, header.kind) != (sender, kind) or (job and header.job != job):
                return call.body
            seen += 1
            return act(call.body) if seen == nth else call.body

        self.rules.append(rule)

    def before(self, sender: str, kind: str, act: Callable[[], Any], *, job: str = "", nth: int = 1) -> None:
        """Do something once, right before the nth frame of a kind arrives."""

        def step(body: bytes) -> bytes:
            act()
            return body

        self.on(sender, kind, step, job=job, nth=nth)

    def cut(self, *parties: str) -> None:
        """Lose every call from and to these institutions."""
        self.rules.append(lambda call, to, header: None if {call.peer, to} & set(parties) else call.body)

    def mend(self) -> None:
        """Deliver everything again."""
        self.rules.clear()


@dataclass
class Institutions:
    """The nodes of one test workspace by party."""

    workspace: Workspace
    nodes: dict[str, Workbench] = field(default_factory=dict)
    links: dict[str, MemoryLinks] = field(default_factory=dict)
    wire: Wire = field(default_factory=Wire)

    def start(self, party: str, **options: Any) -> Workbench:
        """Open one node and connect it with all that run."""
        node = open_node(self.workspace, party)
        for name, value in options.items():
            setattr(node, name, value)
        node.flow.releases._began_ms = node.now_ms()  # by the clock of this test, before anything looks at it
        links = MemoryLinks(node.party, tap=self.wire)
        self.nodes[party], self.links[party] = node, links
        for other, theirs in self.links.items():
            if other != party:
                theirs.join(node.party, self._listened(node))
                links.join(PartyId(other), self._listened(self.nodes[other]))
        node.start(links)
        return node

    def _listened(self, node: Workbench) -> Callable[[PeerCall], bytes]:
        """The node's answers, kept beside the calls while the wire keeps what it sees."""

        def answer(call: PeerCall) -> bytes:
            reply = node.peer_api.answer(call)
            if self.wire.keeps:
                self.wire.calls.append((node.party, call.peer, f"{call.path} reply", reply))
            return reply

        return answer

    def stop(self, party: str) -> None:
        node = self.nodes.pop(party)
        for other, theirs in self.links.items():
            if other != party:
                theirs.leave(node.party)
        node.close()
        self.links.pop(party)

    def caller(self, party: str, role: Role, *, kernel: bool = False) -> Caller:
        """The test person of a role, as if signed in."""
        people = {one.person: one for one in self.nodes[party].people.everyone()}
        return Caller(person=people[role.value], kernel=kernel)

    def call(self, party: str, role: Role, operation: str, /, *, kernel: bool = False, **request: Any) -> Any:
        """Run an operation through the gate, with a fresh password where it needs one."""
        node = self.nodes[party]
        caller = self.caller(party, role, kernel=kernel)
        confirmation = ""
        wanted = node.gate.registry.named(operation)
        if wanted.fresh_password and not kernel:
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

    def propose(self, party: str, partner: str, purpose: str, **request: Any) -> str:
        """A proposal by marketing; the id of the job."""
        job = self.call(party, Role.MARKETING, "intersection.propose", partner=partner, purpose=purpose, **request)
        return str(job.job)

    def approve(self, party: str, job: str, **request: Any) -> None:
        self.call(party, Role.APPROVER, "intersection.approve", job=job, **request)

    def run(self, first: str, second: str, purpose: str, *states: str, **request: Any) -> tuple[Any, Any]:
        """Propose, approve and wait until both sides are in one of the states (RELEASED when none is named)."""
        job = self.propose(first, second, purpose, **request)
        self.approve(second, job)
        return self.both(first, second, job, *(states or ("RELEASED",)))

    def both(self, first: str, second: str, job: str, *states: str) -> tuple[Any, Any]:
        return self.wait(first, job, *states), self.wait(second, job, *states)

    def wait(self, party: str, job: str, *states: str, timeout_s: float = 90) -> Any:
        """The job once it is in one of these states; AssertionError with its error otherwise."""
        limit = time.monotonic() + timeout_s
        settled = 0
        while time.monotonic() < limit:
            found = self.nodes[party].jobs.get(job)
            if found.state in states:
                return found
            settled = settled + 1 if found.is_final else 0
            if settled > 250:  # five seconds in another final state
                break
            time.sleep(0.02)
        raise AssertionError(f"{party}: {job} is {found.state}, wanted {states}: {found.error}")

    def wait_until(self, claim: Callable[[], bool], *, timeout_s: float = 60) -> None:
        """Return once the claim holds; AssertionError when it does not in time."""
        limit = time.monotonic() + timeout_s
        while not claim():
            assert time.monotonic() < limit, "it did not happen in time"
            time.sleep(0.02)

    def entries(self, party: str, job: str = "", kind: str = "", *, skipped: int = 0) -> list[Any]:
        """Own entries of a party, oldest first, with the values this party can open; without the oldest `skipped` of them."""
        node = self.nodes[party]
        with node.store.read() as reader:
            found = self._rows(reader, party, job, kind)
            return [node.evidence.entry(reader, row.index, required=[]) for row in found[skipped:]]

    def count(self, party: str, kind: str) -> int:
        """How many own entries of a kind a party has; opens none of them."""
        with self.nodes[party].store.read() as reader:
            return len(self._rows(reader, party, "", kind))

    def _rows(self, reader: Any, party: str, job: str, kind: str) -> list[Any]:
        found: list[Any] = []
        while rows := self.nodes[party].evidence.search(
            reader, job=job or None, kind=kind or None, before=found[-1].index if found else None, limit=1000
        ):
            found += rows
        return found[::-1]

    def kinds(self, party: str, job: str = "") -> list[str]:
        """Kinds of the entries of a job in a party's own log, oldest first."""
        return [entry.kind for entry in self.entries(party, job)]

    def released_phones(self, party: str, job: str) -> list[str]:
        """The target list as it lies in the vault."""
        from workbench.store.frames import get_frame

        node = self.nodes[party]
        with node.store.read() as reader:
            return [str(one) for one in get_frame(reader, node.vault, f"result/{job}")["phone"].to_list()]

    def exported(self, party: str, job: str, **request: Any) -> tuple[Any, bytes]:
        """The reply of an export, and the file."""
        reply = self.call(party, Role.MARKETING, "intersection.export", job=job, **request)
        node = self.nodes[party]
        _, data = node.downloads.take(self.caller(party, Role.MARKETING), reply.download)
        return reply, data


@contextmanager
def running(workspace: Workspace, parties: tuple[str, ...] = ()) -> Iterator[Institutions]:
    """All institutions of a workspace; everything is stopped at the end."""
    made = Institutions(workspace)
    try:
        for party in parties or workspace.parties:
            made.start(party)
        yield made
    finally:
        made.wire.mend()
        for party in list(made.nodes):
            made.stop(party)


@contextmanager
def institutions(folder: Path, *, parties: tuple[str, ...] = ("broker", "cardnet", "bank")) -> Iterator[Institutions]:
    """A running test workspace without data."""
    with running(create_workspace(folder / "workspace", kind="test", parties=parties)) as made:
        yield made


@functools.cache
def _template() -> Path:
    """A workspace with the lists and grants of population.py, made once for a run of the tests; nothing runs in it."""
    shared = Path("/dev/shm")
    base = shared if shared.is_dir() and os.access(shared, os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="workbench-tests-", dir=base))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    workspace = create_workspace(folder / "template", kind="test")
    for party in workspace.parties:
        write_settings(workspace, party)
    made = Institutions(workspace)
    for party in workspace.parties:
        made.nodes[party] = node = open_node(workspace, party)
        try:
            customers, grants = population.write(folder / "files", party)
            made.call(party, Role.MARKETING, "lists.import", file=made.upload(party, customers), catalogue=CATALOGUE)
            made.call(party, Role.COMPLIANCE, "consent.import", file=made.upload(party, grants))
        finally:
            node.close()
    return folder / "template"


def write_settings(workspace: Workspace, party: str, **more: Any) -> None:
    """Settings of the tests, and more of them with dots written as double underscores."""
    import json

    path = workspace.node_folder(party) / "settings.json"
    values = {**SETTINGS, **read_json(path), **{name.replace("__", "."): value for name, value in more.items()}}
    path.write_text(json.dumps(values, ensure_ascii=False), "utf-8")


def fresh_workspace(name: str = "") -> Workspace:
    """A copy of the template, in memory where the machine has a file system for that; removed at the end of the run."""
    template = _template()
    folder = template.parent / (name or secrets.token_hex(4))
    shutil.copytree(template, folder)
    return load_workspace(folder)


@contextmanager
def fresh_institutions(*parties: str) -> Iterator[Institutions]:
    """Institutions with customers and grants that nobody else uses, all three or those named; their folder goes at the end."""
    workspace = fresh_workspace()
    with running(workspace, parties) as made:
        yield made
    shutil.rmtree(workspace.folder)


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

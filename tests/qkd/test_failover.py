"""Two lines of one tenant over two paths, their entities processes: path A is cut, sessions go on over B, A comes back."""

from __future__ import annotations

import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from workbench_qkd import channel, sessions, tenants
from workbench_qkd.service import service_of

from tests.kme.service.kme_pair import imported_plan, until
from tests.qkd.asking import own
from tests.qkd.linked import Linked
from workbench.crypto import canonical
from workbench.domain.party import Role
from workbench.errors import PeerError
from workbench_kme.service import supervise
from workbench_kme.service.client import Credentials, ManagementClient
from workbench_kme.service.sites import Site, make_sites
from workbench_kme.sources.imported import make_key_file

ENDS = ("broker", "bank")
LINES = ("a1", "b1")
TAG = "desk-a"
SAES = {party: tuple(f"sae-{party}-{line}" for line in LINES) for party in ENDS}


@dataclass
class Way:
    """A way between two entities: passes bytes on to one address until it is cut; the same port when it comes back."""

    to: tuple[str, int]
    port: int = 0
    _listening: socket.socket | None = None
    _open: list[socket.socket] = field(default_factory=list)

    def open(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listening,), daemon=True).start()

    def cut(self) -> None:
        if self._listening is not None:
            with suppress(OSError):
                self._listening.shutdown(socket.SHUT_RDWR)
            self._listening.close()
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._open.clear()

    def _accept(self, listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                here, _ = listening.accept()
                try:
                    there = socket.create_connection(self.to, timeout=5)
                except OSError:  # nobody at the other end
                    here.close()
                    continue
                there.settimeout(None)
                self._open += [here, there]
                for one, other in ((here, there), (there, here)):
                    threading.Thread(target=self._pass, args=(one, other), daemon=True).start()

    @staticmethod
    def _pass(one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(65_536):
                other.sendall(data)
        with suppress(OSError):
            other.shutdown(socket.SHUT_WR)


@dataclass
class Lines:
    """Both sites' entities as processes. paths: by line, one towards each site."""

    folder: Path
    sites: dict[str, Site]
    paths: dict[str, list[Way]]
    nodes: dict[str, ManagementClient]

    def is_cut(self, line: str) -> bool:
        return all(one.line(line).state == "peer-unreachable" for one in self.nodes.values())

    def is_whole(self, line: str) -> bool:
        return all(told.in_step and told.peer_reachable and told.available for told in (one.line(line) for one in self.nodes.values()))


@pytest.fixture
def lines() -> Iterator[Lines]:
    folder = Path(tempfile.mkdtemp(prefix="two-paths-"))
    plans = [imported_plan(line=line, sender="broker", receiver="bank", tenant=TAG, saes={one: (SAES[one][n],) for one in ENDS}) for n, line in enumerate(LINES)]
    sites = make_sites(folder, plans, now=datetime.now(UTC), saes=SAES)
    paths: dict[str, list[Way]] = {line: [] for line in LINES}
    for party, other in (ENDS, ENDS[::-1]):
        place = folder / party / "kme.json"
        value: Any = canonical.parse_object(place.read_bytes())
        for line in value["lines"]:
            host, port = sites[other].link_address.split(":")
            way = Way((host, int(port)))
            way.open()
            paths[line["line"]].append(way)
            line["peer"]["link_address"] = f"127.0.0.1:{way.port}"
        place.write_bytes(canonical.format(value))
    nodes = {}
    try:
        supervise.start_kmes(folder, sites=())
        nodes = {one: ManagementClient(sites[one].address, Credentials.from_site(sites[one].folder, "node", kme=sites[one].kme)) for one in ENDS}
        yield Lines(folder, sites, paths, nodes)
    finally:
        for client in nodes.values():
            client.close()
        supervise.stop_kmes(folder, sites=())
        for ways in paths.values():
            for way in ways:
                way.cut()
        shutil.rmtree(folder)


def test_when_path_a_is_cut_the_next_session_takes_a_key_of_b_and_a_is_taken_again_when_it_is_back(
    lines: Lines, channel_nodes: Linked, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = channel_nodes
    monkeypatch.setattr(channel, "PAUSE_S", 0.0)
    for party, other in (ENDS, ENDS[::-1]):
        node = two.nodes[party]
        kme = {"folder": str(lines.folder / party), "line_saes": {line: SAES[party][n] for n, line in enumerate(LINES)}}
        monkeypatch.setitem(node.settings._values, "qkd.kme", kme)
        monkeypatch.setitem(node.settings._values, tenants.SETTING, {other: TAG})
        monkeypatch.setattr(service_of(node), "_attached", None)
        monkeypatch.setattr(service_of(node), "_attached_keys", (None, ""))
    for line in LINES:
        data = make_key_file(line, 32)
        for party in ENDS:
            inbox = lines.folder / party / "inbox" / f"{line}.wbki"
            inbox.write_bytes(data)
            inbox.chmod(0o600)
    for line in LINES:
        until(lambda line=line: lines.nodes["broker"].line(line).peer_reachable, what="the far end")  # type: ignore[misc]
        lines.nodes["broker"].recover(line)
    until(lambda: all(lines.is_whole(line) for line in LINES), what="keys of both lines at both ends")

    first = session_on(two, lines, "a1")
    for way in lines.paths["a1"]:
        way.cut()
    until(lambda: lines.is_cut("a1"), what="path A cut")
    two.ask()
    assert own(two).name == first, "what runs is not lost"

    second = session_on(two, lines, "b1")
    [passed] = [one.values for one in two.entries("broker", kind="qkd.line_passed_over") if one.values["session"] == second]
    assert (passed["line"], passed["taken"], passed["cause"]) == ("a1", "b1", "peer-unreachable")
    assert lines.is_whole("b1") and lines.is_cut("a1")

    for way in lines.paths["a1"]:
        way.open()
    until(lambda: lines.is_whole("a1"), what="path A again")
    session_on(two, lines, "a1")
    for party in ENDS:  # the nodes are others' too: nothing of these keys goes on
        node = two.nodes[party]
        node.store.write(lambda tx, node=node: [sessions.end_all(tx, node, one, cause="test") for one in LINES])  # type: ignore[misc]


def session_on(two: Linked, lines: Lines, line: str) -> str:
    """End what runs and call again: the new session's name, after its line, key id and tag were found in both logs and both entities."""
    node = two.nodes["broker"]
    node.store.write(lambda tx: [sessions.end_all(tx, node, one, cause="test") for one in LINES])
    with suppress(PeerError):  # the call that finds the session ended
        two.ask()
    two.ask()
    held = own(two)
    assert held.line == line
    opened = {
        party: next(one.values for one in two.entries(party, kind="qkd.session_opened") if one.values["session"] == held.name) for party in ENDS
    }
    assert {one["key_id"] for one in opened.values()} == {opened["bank"]["key_id"]} and opened["bank"]["key_id"]
    for party, entity in lines.nodes.items():
        assert (opened[party]["line"], opened[party]["tenant"]) == (line, TAG)
        key = entity.key(opened[party]["key_id"])
        assert key.line == line and held.name in {one.reference for one in entity.leak_report(key.key_id).uses}
    shown = {one.line: one.tenant for one in two.call("broker", Role.OPERATOR, "qkd.status").lines}
    assert shown == dict.fromkeys(LINES, TAG)
    return str(held.name)

"""Two nodes that call each other over real channels: TLS on loopback, sessions, entities and keys within this process."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench_qkd import channel as qkd_channel
from workbench_qkd.linking import EncryptedLink
from workbench_qkd.service import service_of

from tests.flows.institutions import Institutions, fresh_workspace, write_settings
from tests.qkd.entity import Entity, line
from workbench.errors import KeyUnavailable, PeerUnavailable, Refused
from workbench.host import Workbench
from workbench.node.channels import chosen
from workbench.node.links import ChannelLinks
from workbench.workspace import free_ports, open_node
from workbench_kme.service.client import ReceivedKey

EXTENSION = {"workbench_provenance": {"origin": "simulated"}}


@dataclass
class Stock:
    """Keys of one line at both ends; each is given out once at each end. values: all that there ever were."""

    left: int = 200
    away: bool = False
    held: dict[str, bytes] = field(default_factory=dict)
    values: list[bytes] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def get_keys(self, slave: str, *, number: int = 1, size: int = 256, additional_slaves: Any = (), origins: Any = ()) -> list[ReceivedKey]:
        with self.lock:
            self.asked.append("new")
            if self.away:
                raise PeerUnavailable("没有回应", "no answer", code="KME_AWAY")
            if not self.left:
                raise KeyUnavailable("不足", "short", code="EXHAUSTED", details={"retry_after_s": "40"})
            self.left -= 1
            name = f"00000000-0000-4000-8000-{len(self.values):012d}"
            self.held[name] = bytes([len(self.values) % 251 + 1]) * 32
            self.values.append(self.held[name])
            return [ReceivedKey(name, self.held[name], EXTENSION)]

    def get_keys_by_id(self, master: str, key_ids: Any) -> list[ReceivedKey]:
        with self.lock:
            self.asked.append("by id")
            if key_ids[0] not in self.held:
                raise Refused("没有", "none", code="KME_REFUSED")
            return [ReceivedKey(key_ids[0], self.held.pop(key_ids[0]), EXTENSION)]

    def close(self) -> None: ...


class Tapped:
    """A carrier whose bodies a test sees and may change; fulfils Channel as the one it wraps."""

    name = "mutual-tls"

    def __init__(self, inner: Any, two: Linked) -> None:
        self._inner, self._two = inner, two

    async def serve(self, **values: Any) -> Any:
        return await self._inner.serve(**values)

    def connect(self, **values: Any) -> Any:
        if values["peer"].party == "cardnet":  # which does not run
            return self._inner.connect(**values)
        return TappedCarrier(self._inner.connect(**values), values["identity"].party, self._two)


class TappedCarrier:
    """Calls of the carrier: what somebody sees who has broken it."""

    def __init__(self, inner: Any, party: str, two: Linked) -> None:
        self.inner, self.party, self.two = inner, party, two

    async def call(self, path: str, body: bytes, *, timeout_s: float) -> bytes:
        self.two.wire.append((self.party, path, body))
        reply = await self.inner.call(path, self.two.change_wire(self.party, path, body), timeout_s=timeout_s)
        self.two.wire.append((self.party, f"{path} reply", reply))
        return bytes(self.two.change_wire(self.party, f"{path} reply", reply))

    async def close(self) -> None:
        await self.inner.close()


class TappedLink(EncryptedLink):
    """A link whose messages a test sees and may change: what somebody sees who has broken it too."""

    async def call(self, path: str, body: bytes, *, timeout_s: float) -> bytes:
        if not isinstance(self._carrier, TappedCarrier):
            return await super().call(path, body, timeout_s=timeout_s)
        party, two = self._carrier.party, self._carrier.two
        two.seen.append((party, path, body))
        reply = await super().call(path, two.change(party, path, body), timeout_s=timeout_s)
        two.seen.append((party, f"{path} reply", reply))
        return two.change(party, f"{path} reply", reply)


@dataclass
class Linked(Institutions):
    """Institutions whose links are channels.

    seen: (caller, path, body) of everything the link took, both ways; wire: the same of the carrier. change, change_wire: what a
    test makes of it on the way.
    """

    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    stock: Stock = field(default_factory=Stock)
    entities: dict[str, Entity] = field(default_factory=dict)
    seen: list[tuple[str, str, bytes]] = field(default_factory=list)
    wire: list[tuple[str, str, bytes]] = field(default_factory=list)
    change: Callable[[str, str, bytes], bytes] = lambda party, path, body: body
    change_wire: Callable[[str, str, bytes], bytes] = lambda party, path, body: body
    servers: list[Any] = field(default_factory=list)
    real: bool = False  # entities are processes that the settings name

    def start(self, party: str, **options: Any) -> Workbench:
        node = open_node(self.workspace, party)
        other = "bank" if party == "broker" else "broker"
        made = Entity(
            {"a1": line(peer_site=other, peer_kme=f"kme-{other}", peer_saes=[f"sae-{other}"], role="sender" if party == "broker" else "receiver")}
        )
        if not self.real:
            self.entities[party] = made
            service_of(node).attach(made, self.stock, sae=f"sae-{party}")
        tapped = [Tapped(one, self) for one in node.plugins.collect_all("workbench_channels")]
        carried = node.plugins.collect_all("workbench_carried_channels", host=node)
        channel = chosen(tapped, carried, node.setting("node.channels"), known=node.parties())
        address = self.workspace.address(party)
        serving = channel.serve(
            identity=node.keys.channel_identity(), host=address.peer_host, port=address.peer_port, peers=node.partners.addresses,
            handler=node.peer_api.handle, refused=node.peer_api.record_refusal_soon, max_body_bytes=node.setting("node.max_message_bytes") + 65_536,
        )  # fmt: skip
        self.servers.append(asyncio.run_coroutine_threadsafe(serving, self.loop).result(60))
        self.nodes[party] = node
        links = ChannelLinks(
            channel=channel, identity=node.keys.channel_identity(), source_address=node.keys.bundle.source_addresses[0],
            peer=node.partners.address, loop=self.loop,
        )  # fmt: skip
        self.links[party] = links  # type: ignore[assignment]
        node.flow.releases._began_ms = node.now_ms()
        node.start(links)
        return node

    def stop(self, party: str) -> None:
        if party in self.links:
            self.links.pop(party).close()
        self.nodes.pop(party).close()

    def ask(self, party: str = "broker", to: str = "bank", path: str = "hello", body: bytes = b"") -> bytes:
        """One call between the nodes."""
        return self.nodes[party].links.call(to, path, body, timeout_s=60)  # type: ignore[arg-type]

    def link(self, party: str = "broker", to: str = "bank") -> TappedLink:
        """The link below the sessions of one node's calls."""
        sealed: Any = self.links[party]._links[to][1]  # type: ignore[attr-defined]
        found: TappedLink = sealed._link
        return found

    def run_soon(self, act: Any) -> Any:
        """What a coroutine on the loop of the channels returns or raises."""
        return asyncio.run_coroutine_threadsafe(act, self.loop).result(60)


@contextmanager
def linked(sites: Path | None = None) -> Iterator[Linked]:
    """Broker and bank over the channel qkd. sites: folder of two entities that run, one folder a party."""
    workspace = fresh_workspace()
    for party, other in (("broker", "bank"), ("bank", "broker")):
        kme = {"qkd__kme": {"folder": str(sites / party)}} if sites else {}
        write_settings(workspace, party, node__channels={other: "qkd"}, **kme)
    free_ports(workspace)
    made = Linked(workspace, real=sites is not None)
    usual, qkd_channel.EncryptedLink = qkd_channel.EncryptedLink, TappedLink  # type: ignore[misc]
    thread = threading.Thread(target=made.loop.run_forever, daemon=True)
    thread.start()
    try:
        for party in ("broker", "bank"):
            made.start(party)
        yield made
    finally:
        for party in list(made.links):  # while the other end still takes the end of a session
            made.links.pop(party).close()
        for server in made.servers:
            asyncio.run_coroutine_threadsafe(server.close(), made.loop).result(60)
        for party in list(made.nodes):
            made.stop(party)
        asyncio.run_coroutine_threadsafe(_settled(), made.loop).result(60)
        made.loop.call_soon_threadsafe(made.loop.stop)
        thread.join(10)
        made.loop.close()
        shutil.rmtree(workspace.folder)
        qkd_channel.EncryptedLink = usual  # type: ignore[misc]


async def _settled() -> None:
    """Return when what closing has begun is done."""
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    if rest:
        await asyncio.wait(rest, timeout=5)

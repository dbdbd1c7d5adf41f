"""Joining a provider's node with its servers, and a tenant's with its corpora: docs/sandbox-design.md sections 1 and 6.1.

Which servers there are is decided by setting `inference.isolation`; makers are looked up by its value, so that tests lease servers of
their own making by naming them there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from workbench.crypto import sm3
from workbench.errors import StartRefused
from workbench_inference.leasing import images
from workbench_inference.leasing.keys import LeasingHost
from workbench_sandbox.server.contract import Servers


@dataclass(frozen=True, slots=True)
class Launched:
    """The servers of this node, the levels of assurance that can be had, and SM3 of the runtime listing of an engine and the server beside
    it ("" for none), None where none is bound."""

    servers: Servers
    assurance: tuple[str, ...] = ("process",)
    listing: Callable[[str, str], str] | None = None


@runtime_checkable
class Growing(Protocol):
    """Servers that can become more or fewer while the node runs."""

    def add(self, server: str) -> None:
        """One more card, DIRTY."""

    def remove(self, server: str) -> None:
        """A server that holds no lease is ended."""


def bubblewrapped(host: LeasingHost) -> Launched:
    """Processes of this machine, each sandbox through bubblewrap."""
    return _processes(host, "bubblewrap", ("process",))


def under_gvisor(host: LeasingHost) -> Launched:
    """The same, each sandbox with a kernel of its own within bubblewrap's walls. Raises StartRefused (ISOLATION_MISSING). Cost: 0.4 s."""
    from workbench_sandbox.server.gvisor import Gvisor

    why = next((one for one in Gvisor().available() if one.control != "host-user"), None)
    if why is not None:
        raise StartRefused(
            f"本机不能用 gVisor 隔离（{why.zh}），算力方不出租。运维安装后重启，或把设置 inference.isolation 改回 bubblewrap",
            f"This machine cannot isolate by gVisor ({why.en}): nothing is leased. Operations install it and start again, or set inference.isolation back to bubblewrap",
            code="ISOLATION_MISSING",
        )  # fmt: skip
    return _processes(host, "gvisor", ("process", "gvisor"))


def _processes(host: LeasingHost, isolation: str, assurance: tuple[str, ...]) -> Launched:
    from workbench_sandbox.server.processes import ServerProcesses

    servers = ServerProcesses(
        host.folder / "servers", images.volumes(host), first_uid=int(host.setting("inference.first_uid")), upstream=host.setting("inference.upstream"),
        inside=host.setting("inference.programs"), isolation=isolation,
    )  # fmt: skip
    digests: dict[tuple[str, str], str] = {}

    def listing(engine: str, program: str) -> str:
        if (engine, program) not in digests:
            digests[engine, program] = sm3.digest(servers.listing(engine, program)).hex()
        return digests[engine, program]

    return Launched(servers, assurance, listing)


def own_listing(engine: str, program: str = "", setting: Mapping[str, Any] | None = None) -> str:
    """SM3 of the runtime listing that this installation would bind for an engine, and the program of this name of setting
    `inference.programs`: what a provider of the same release has. Cost: seconds."""
    from workbench_sandbox.server import programs, runtime
    from workbench_sandbox.server.starting import Settings, engine_code

    beside = programs.named(setting or {}, program) if program else None
    return sm3.digest(runtime.survey(engine_code(engine, Settings("v-00000000", -1, "", "")), program=beside).listing).hex()


Maker = Callable[[LeasingHost], Launched]
MAKERS: dict[str, Maker] = {"bubblewrap": bubblewrapped, "gvisor": under_gvisor}
"""Value of `inference.isolation` -> who makes the servers. A maker's name stands in evidence as the isolation's."""


def launched(host: LeasingHost) -> Launched:
    """The servers of a provider's node. Raises StartRefused for an isolation nobody knows."""
    named = str(host.setting("inference.isolation"))
    maker = MAKERS.get(named)
    if maker is None:
        raise StartRefused(
            f"不认识的隔离方式「{named}」，算力方不出租。运维更正设置 inference.isolation", f"Unknown isolation {named}: nothing is leased. Operations correct inference.isolation",
            code="UNKNOWN_ISOLATION",
        )  # fmt: skip
    return maker(host)


def corpus_source(host: LeasingHost) -> Callable[[str, int, int], bytes]:
    """Bytes of a sealed corpus of this institution, for a provider that pulls it."""
    from workbench_inference.documents import corpus_store

    def read(digest: str, offset: int, most: int) -> bytes:
        found: Any = corpus_store.piece(host, digest, offset, most)
        return bytes(found)

    return read


__all__ = ["MAKERS", "Growing", "Launched", "Maker", "bubblewrapped", "corpus_source", "launched", "own_listing", "under_gvisor"]

"""Servers 服务器 and when one may be leased: DIRTY → SANITISED → READY → LEASED → DIRTY.

Document: docs/protocols/sandbox.md section 9. Pure. A server that has not been looked at, or not been made ready for this
image, is never given to anybody.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from workbench.domain.party import PartyId
from workbench.errors import Refused


class ServerStage(StrEnum):
    """States of section 9."""

    DIRTY = "DIRTY"
    SANITISED = "SANITISED"
    READY = "READY"
    LEASED = "LEASED"


@dataclass(frozen=True, slots=True)
class Server:
    """One card. tenant: whose alone it is (pool `dedicated`), "" in the shared pool. image: what it is READY for, hex.

    lease: whose it is while LEASED. sandbox: the run on it. is_draining: takes no further lease. is_starting: being made ready.
    """

    server: str
    stage: ServerStage = ServerStage.DIRTY
    tenant: str = ""
    image: str = ""
    lease: str = ""
    sandbox: str = ""
    is_draining: bool = False
    is_starting: bool = False

    @property
    def pool(self) -> str:
        """`dedicated` or `shared`."""
        return "dedicated" if self.tenant else "shared"


@dataclass(frozen=True, slots=True)
class Holding:
    """A sandbox that holds a card of a lease in this run of the node. ready_ms: on the running clock."""

    sandbox: str
    server: str
    lease: str
    tenant: PartyId
    ready_ms: int


def fits(server: Server, *, tenant: str, pool: str) -> bool:
    """Whether it may ever serve this tenant in this pool."""
    return not server.is_draining and server.pool == pool and server.tenant in ("", tenant)


def free(servers: Iterable[Server], *, tenant: str, pool: str) -> list[Server]:
    """Servers of this pool that hold no lease and may serve this tenant."""
    return [one for one in servers if fits(one, tenant=tenant, pool=pool) and one.stage is not ServerStage.LEASED]


def ready_for(servers: Iterable[Server], *, tenant: str, pool: str, image: str) -> list[Server]:
    """Those that may be leased now for exactly this image, by name."""
    found = [one for one in free(servers, tenant=tenant, pool=pool) if one.stage is ServerStage.READY and one.image == image]
    return sorted(found, key=lambda one: one.server)


def require_ready(server: Server, *, tenant: str, pool: str, image: str) -> None:
    """Raise Refused SERVER_NOT_READY unless it may be leased now for exactly this image."""
    if not ready_for([server], tenant=tenant, pool=pool, image=image):
        raise _not_ready(server.server)


def _not_ready(what: str) -> Refused:
    """What is said where no server may be leased."""
    return Refused(
        f"「{what}」没有就绪的服务器：只有检查干净、镜像核对完毕的服务器才能出租。请算力方运维清理或等待",
        f"No server of {what} is ready: only one that was found clean and whose image was checked is leased. The provider's operators clean one, or wait",
        code="SERVER_NOT_READY",
    )


__all__ = ["Holding", "Server", "ServerStage", "fits", "free", "ready_for", "require_ready"]

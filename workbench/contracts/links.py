"""Ways to reach partners: calls, addresses and channels."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from workbench.domain.party import PartyId


@dataclass(frozen=True, slots=True)
class PeerCall:
    """One request of another institution, after the channel has established who calls.

    peer: from the channel's own authentication, never from a header. path: below /peer/v1/. address: remote address.
    """

    peer: PartyId
    path: str
    body: bytes = field(repr=False)
    address: str = ""


PeerHandler = Callable[[PeerCall], Awaitable[bytes]]
"""The node's answer to a peer: returns the reply body or raises a WorkbenchError, which the channel turns into a reply."""


@dataclass(frozen=True, slots=True)
class ChannelIdentity:
    """What a channel needs to speak for this institution: files of its TLS key and certificate (0600)."""

    party: PartyId
    certificate_pem: bytes
    private_key_pem: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class PeerAddress:
    """A partner as the signed allow-list knows it.

    host, port: where its peer API listens. source_addresses: from where it may call. certificate_fingerprint: SHA-256
    of its certificate, lower-case hex. ca_pem: its own certificate authority.
    """

    party: PartyId
    host: str
    port: int
    source_addresses: tuple[str, ...]
    certificate_fingerprint: str
    ca_pem: bytes = field(repr=False)


class PeerLink(Protocol):
    """Calls to one partner."""

    async def call(self, path: str, body: bytes, *, timeout_s: float) -> bytes:
        """Send and wait for the reply; PeerUnavailable on time-out or refusal to connect, PeerError otherwise."""

    async def close(self) -> None: ...


@runtime_checkable
class PacedLink(PeerLink, Protocol):
    """A link that may keep a large message back, for as long as the caller's own time-out, before it sends and that begins."""

    @property
    def is_paced(self) -> bool:
        """Whether calls may have to wait now."""


@runtime_checkable
class Channel(Protocol):
    """A way to reach partners (hook workbench_channels, collected; a setting picks one per link)."""

    name: str

    async def serve(
        self,
        *,
        identity: ChannelIdentity,
        host: str,
        port: int,
        peers: Callable[[], Sequence[PeerAddress]],
        handler: PeerHandler,
        refused: Callable[[str, str], None],
        max_body_bytes: int,
    ) -> ChannelServer:
        """Listen; `peers` is asked anew for each connection; `refused(address, reason)` records refusals."""

    def connect(self, *, identity: ChannelIdentity, peer: PeerAddress, source_address: str = "") -> PeerLink: ...


@runtime_checkable
class CarriedChannel(Protocol):
    """A channel without a port of its own: it seals calls, and another channel carries them (hook workbench_carried_channels)."""

    name: str

    def over(self, carrier: Channel, wanted: Callable[[PartyId], bool]) -> Channel:
        """The channel that serves and connects through `carrier`.

        wanted(partner): whether calls of this partner must come through this channel. Its `serve` refuses others of such
        a partner and hands those of the rest on as they are; its `connect` never sends anything unsealed.
        """


class ChannelServer(Protocol):
    """A listening channel."""

    port: int

    async def close(self) -> None: ...

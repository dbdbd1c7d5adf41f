"""The channel as the host knows it (contract: workbench.contracts.Channel)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from workbench.contracts import ChannelIdentity, ChannelServer, PeerAddress, PeerHandler, PeerLink
from workbench_mutual_tls.client import MutualTlsLink
from workbench_mutual_tls.server import PeerServer


class MutualTlsChannel:
    """HTTPS, TLS 1.3, certificates on both ends, identities from the connection."""

    name = "mutual-tls"

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
        """Listen on host and port (0: a free one).

        peers: asked for every connection and request; quick, from any thread of the loop. refused: called in a thread
        of the loop's executor, at most once a second for one address and reason. Raises OSError.
        """
        server = PeerServer(
            identity=identity, peers=peers, handler=handler, refused=refused, max_body_bytes=max_body_bytes
        )
        await server.start(host, port)
        return server

    def connect(self, *, identity: ChannelIdentity, peer: PeerAddress, source_address: str = "") -> PeerLink:
        """Calls to one partner; nothing is sent before the first one. source_address: local address to call from."""
        return MutualTlsLink(identity=identity, peer=peer, source_address=source_address)

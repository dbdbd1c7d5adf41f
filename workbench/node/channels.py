"""Which link takes which channel: one that listens, and those it carries for the partners that a setting names. Pure.

Document: docs/protocols/qkd-channel.md section 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from workbench.contracts import (
    CarriedChannel,
    Channel,
    ChannelIdentity,
    ChannelServer,
    PeerAddress,
    PeerHandler,
    PeerLink,
)
from workbench.errors import StartRefused

USUAL = "mutual-tls"


class ChosenChannels:
    """One listener and one channel a partner, as a channel of its own."""

    def __init__(self, usual: Channel, carried: Mapping[str, CarriedChannel], picks: Mapping[str, str]) -> None:
        self._usual, self._picks = usual, dict(picks)
        self._carried: dict[str, Channel] = {}
        self._listener = usual
        for name in sorted(set(picks.values()) - {usual.name}):
            wanted = self._wants(name)
            self._carried[name] = carried[name].over(usual, wanted)
            self._listener = carried[name].over(self._listener, wanted)
        self.name = "+".join([usual.name, *self._carried])

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
        """Listen once, for all of them."""
        return await self._listener.serve(
            identity=identity, host=host, port=port, peers=peers, handler=handler, refused=refused, max_body_bytes=max_body_bytes
        )

    def connect(self, *, identity: ChannelIdentity, peer: PeerAddress, source_address: str = "") -> PeerLink:
        """Calls to one partner over the channel picked for it, and no other."""
        channel = self._carried.get(self._picks.get(peer.party, ""), self._usual)
        return channel.connect(identity=identity, peer=peer, source_address=source_address)

    def _wants(self, name: str) -> Callable[[str], bool]:
        return lambda party: self._picks.get(party) == name


def chosen(
    listening: Sequence[Channel], carrying: Sequence[CarriedChannel], picks: Mapping[str, str], *, known: Sequence[str]
) -> Channel:
    """The channel of every link.

    listening, carrying: what the plugins have. picks: partner -> name of a channel, from the setting. known: institutions that are or
    were on the allow-list. Raises StartRefused NO_CHANNEL, UNKNOWN_CHANNEL, UNKNOWN_PARTNER: a misspelt name must not mean
    less protection.
    """
    carried = {one.name: one for one in carrying}
    if not listening:
        raise StartRefused("没有任何通道", "There is no channel", code="NO_CHANNEL")
    usual = next((one for one in listening if one.name == USUAL), listening[0])
    for party, name in picks.items():
        if party not in known:
            raise StartRefused(
                f"设置 node.channels 写了「{party}」，名单中没有这家机构，节点不启动。运维更正",
                f"The setting node.channels names {party}, which the allow-list does not know; the node does not start. Operations correct it",
                code="UNKNOWN_PARTNER",
            )
        if name != usual.name and name not in carried:
            raise StartRefused(
                f"设置 node.channels 为 {party} 写了通道「{name}」，没有插件提供它，节点不启动。运维更正或安装插件",
                f"The setting node.channels picks channel {name} for {party} and no plugin offers it; the node does not start."
                " Operations correct it or install the plugin",
                code="UNKNOWN_CHANNEL",
            )
    return ChosenChannels(usual, carried, picks) if set(picks.values()) - {usual.name} else usual

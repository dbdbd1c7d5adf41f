"""Links of the channel `qkd`: TLS 1.3 with one chosen group below the sessions, its records in bodies of the carrier.

Document: docs/protocols/qkd-channel.md section 8. Nothing but a link carries a message of a session; a link that is not
exactly as set is refused in one way, and no other group is taken.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

from workbench.channel import tls_groups
from workbench.channel.tls_groups import LinkEnds, LinkSettings, NegotiatedLink
from workbench.contracts import ChannelIdentity, PeerAddress, PeerCall, PeerLink
from workbench.domain.party import PartyId
from workbench.errors import KeyUnavailable, NotFound, PeerError, PeerUnavailable, StartRefused, WorkbenchError
from workbench_qkd import replies

PATH: Final = "qkd/link"
VERSION: Final = 1
OPEN, AGREE, MESSAGE, CLOSE = 1, 2, 3, 4
AGREED: Final = b"\x01"
"""What the answering end says first in a link, once it has compared everything."""
NAME_BYTES: Final = 16
HEAD_BYTES: Final = 2 + NAME_BYTES
MOST_LINKS: Final = 16
MOST_ANSWERED: Final = 32
AGREE_S: Final = 20.0
CALLER_S: Final = 1_800.0
CALLER_BYTES: Final = 16 << 30
CALLER_IDLE_S: Final = 90.0
ANSWERED_S: Final = 3_600.0
ANSWERED_IDLE_S: Final = 180.0
CLOSE_S: Final = 1.0
SMALL_BYTES: Final = 64 << 10
"""What is encrypted or opened at once; more goes to a thread, because it would hold up everybody else's calls."""

_log = logging.getLogger(__name__)
T = TypeVar("T")
Inner = Callable[[PeerCall, NegotiatedLink], Awaitable[bytes]]


class End(Protocol):
    """What a link needs of its TLS: workbench.channel.tls_groups.LinkEnd."""

    negotiated: NegotiatedLink | None
    ended: bool

    def start(self) -> bytes: ...
    def receive(self, data: bytes) -> bytes: ...
    def send(self, plaintext: bytes) -> bytes: ...
    def read(self) -> bytes: ...
    def close(self) -> bytes: ...


def required_group(setting: Any) -> str:  # Any: out of the settings file, checked here
    """The group that the setting `qkd.link_group` names, if this library has it.

    Raises StartRefused WRONG_SETTING, LINK_UNAVAILABLE: a node that cannot encrypt its links as set does not start.
    """
    if not isinstance(setting, str) or setting not in tls_groups.SUITE_OF:
        raise StartRefused(
            f"设置 qkd.link_group 应为 {'、'.join(tls_groups.GROUPS)} 之一，节点不启动。运维更正",
            f"The setting qkd.link_group must be one of {', '.join(tls_groups.GROUPS)}; the node does not start. Operations correct it",
            code="WRONG_SETTING",
        )
    try:
        tls_groups.require_available(setting, tls_groups.SUITE_OF[setting])
    except KeyUnavailable as error:
        raise StartRefused(error.zh, error.en, code=error.code, details=error.details) from error
    return str(setting)


def settings_of(identity: ChannelIdentity, peer: PeerAddress, group: str) -> LinkSettings:
    """This institution's certificate, that partner's authority and pinned certificate, and the one group."""
    return LinkSettings(
        identity.certificate_pem, identity.private_key_pem, (peer.ca_pem,), peer.certificate_fingerprint, group, tls_groups.SUITE_OF[group]
    )


# ------------------------------------------------------------------------------------------- bytes


def pack_request(path: str, body: bytes) -> bytes:
    """Plaintext of a request."""
    named = path.encode("ascii")
    return (1 + len(named) + len(body)).to_bytes(4, "big") + bytes([len(named)]) + named + body


def pack_reply(reply: bytes) -> bytes:
    """Plaintext of a reply: status byte and rest."""
    return len(reply).to_bytes(4, "big") + reply


def unpack_request(plaintext: bytes) -> tuple[str, bytes]:
    """(path, body). Raises PeerError LINK_REFUSED."""
    told = _whole(plaintext)
    size = told[0] if told else 0
    named = told[1 : 1 + size]
    if not size or len(named) != size or not named.isascii():
        raise refused("message")
    return named.decode("ascii"), told[1 + size :]


def unpack_reply(plaintext: bytes) -> bytes:
    """Status byte and rest. Raises PeerError LINK_REFUSED."""
    told = _whole(plaintext)
    if told[:1] not in (replies.BODY, replies.ERROR):
        raise refused("message")
    return told


def _whole(plaintext: bytes) -> bytes:
    if len(plaintext) < 4 or int.from_bytes(plaintext[:4], "big") != len(plaintext) - 4:
        raise refused("message")
    return plaintext[4:]


def refused(step: str) -> PeerError:
    """Whatever is wrong with a link. step: for the own staff."""
    return tls_groups.refused(step)


def _unknown() -> NotFound:
    return NotFound("没有这条加密链路，请重新建立", "there is no such link; make another", code="LINK_UNKNOWN")


# ------------------------------------------------------------------------------------------- the caller


@dataclass(slots=True, eq=False)
class _Own:
    """A link that this end has made. used: when it was last."""

    name: bytes
    end: End = field(repr=False)
    since: float
    used: float
    sent: int = 0

    def is_good(self, now: float) -> bool:
        return now - self.since < CALLER_S and now - self.used < CALLER_IDLE_S and self.sent < CALLER_BYTES


class EncryptedLink:
    """Messages to one partner inside links (contract: workbench.contracts.PeerLink). Belongs to the event loop of its first call."""

    def __init__(self, carrier: PeerLink, peer: PartyId, settings: LinkSettings, *, random: Callable[[int], bytes], workers: Executor) -> None:
        self._carrier, self._peer, self._ends, self._random, self._workers = carrier, peer, LinkEnds(settings), random, workers
        self._idle: list[_Own] = []
        self._room = asyncio.Semaphore(MOST_LINKS)
        self.negotiated: NegotiatedLink | None = None
        """What the newest link was found to be; None before the first. All links of this object have the same settings, so all are alike."""

    async def call(self, path: str, body: bytes, *, timeout_s: float) -> bytes:
        """The partner's reply to a message.

        Raises PeerError LINK_REFUSED where there is no link as set, and as the carrier; with the partner's code where it refused.
        """
        message = pack_request(path, body)
        try:
            async with asyncio.timeout(timeout_s), self._room:
                reply = await self._deliver(message, timeout_s)
        except TimeoutError as error:
            raise PeerUnavailable(
                f"{self._peer} {timeout_s:g} 秒内没有回应，请联系对方运维", f"{self._peer} gave no answer for {timeout_s:g} s; operations call theirs"
            ) from error
        return replies.read(self._peer, reply)

    async def close(self) -> None:
        """Tell the partner that no link is used any more, as far as it answers at once, and close the connections."""
        idle, self._idle = self._idle, []
        if idle:
            last = [(one.name, one.end.close()) for one in idle]
            with contextlib.suppress(TimeoutError):  # its own limits end them there
                async with asyncio.timeout(CLOSE_S):
                    await asyncio.gather(*(self._carry(CLOSE, name, said, CLOSE_S) for name, said in last), return_exceptions=True)
        await self._carrier.close()

    async def _deliver(self, message: bytes, timeout_s: float) -> bytes:
        try:
            return await self._send(await self._take(timeout_s), message, timeout_s)
        except PeerError as error:
            if error.code != "LINK_UNKNOWN":
                raise
        self._idle.clear()  # whatever made it forget this one, it has forgotten the others too
        return await self._send(await self._make(timeout_s), message, timeout_s)

    async def _send(self, one: _Own, message: bytes, timeout_s: float) -> bytes:
        """A link that fails in here, or whose caller goes away, is not used again: it is in no list meanwhile."""
        records = await self._work(len(message), one.end.send, message)
        answer = await self._carry(MESSAGE, one.name, records, timeout_s)
        reply = unpack_reply(await self._work(len(answer), _opened, one.end, answer))
        if one.end.ended:
            raise refused("message")
        one.used, one.sent = time.monotonic(), one.sent + len(message)
        self._idle.append(one)
        return reply

    async def _take(self, timeout_s: float) -> _Own:
        now = time.monotonic()
        self._idle = [one for one in self._idle if one.is_good(now)]
        return self._idle.pop() if self._idle else await self._make(timeout_s)

    async def _make(self, timeout_s: float) -> _Own:
        """A link that both ends have compared: nothing of ours has been sent by then."""
        name, since = self._random(NAME_BYTES), time.monotonic()
        limit = min(timeout_s, AGREE_S)
        end, flight = await self._work(None, self._begin)
        answer = await self._carry(OPEN, name, flight, limit)
        finished = await self._work(None, end.receive, answer)
        if end.negotiated is None or end.read():
            raise refused("handshake")
        if await self._work(0, _opened, end, await self._carry(AGREE, name, finished, limit)) != AGREED:
            raise refused("handshake")
        self.negotiated = end.negotiated
        return _Own(name, end, since, time.monotonic())

    def _begin(self) -> tuple[End, bytes]:
        end = self._ends.make(server=False)
        return end, end.start()

    async def _carry(self, step: int, name: bytes, data: bytes, timeout_s: float) -> bytes:
        return await self._carrier.call(PATH, bytes([VERSION, step]) + name + data, timeout_s=timeout_s)

    async def _work(self, size: int | None, act: Callable[..., T], *values: Any) -> T:
        return await _work(self._workers, size, act, *values)


# ------------------------------------------------------------------------------------------- the answering end


@dataclass(slots=True, eq=False)
class _Answered:
    """A link that a partner has made. used: when it was last; None while a step is under way."""

    peer: PartyId
    settings: LinkSettings = field(repr=False)
    end: End = field(repr=False)
    since: float
    used: float | None = None

    def is_over(self, now: float) -> bool:
        if self.used is None:
            return False
        limit = ANSWERED_IDLE_S if self.end.negotiated is not None else AGREE_S
        return now - self.since >= ANSWERED_S or now - self.used >= limit


class AnsweredLinks:
    """The answering end of all partners' links: opens messages, hands them on, encrypts what is said."""

    def __init__(
        self, *, identity: ChannelIdentity, group: str, peers: Callable[[], Sequence[PeerAddress]], workers: Executor, handle: Inner
    ) -> None:
        self._identity, self._group, self._peers, self._workers, self._handle = identity, group, peers, workers, handle
        self._links: dict[tuple[PartyId, bytes], _Answered] = {}
        self._ends: dict[PartyId, LinkEnds] = {}

    async def receive(self, call: PeerCall) -> bytes:
        """Answer one body of the path `qkd/link`. Raises PeerError LINK_REFUSED, NotFound LINK_UNKNOWN."""
        if len(call.body) < HEAD_BYTES or call.body[0] != VERSION:
            raise refused("message")
        step, key, data = call.body[1], (call.peer, call.body[2:HEAD_BYTES]), call.body[HEAD_BYTES:]
        now, settings = time.monotonic(), self._settings(call.peer)
        self._links = {name: one for name, one in self._links.items() if not one.is_over(now)}
        one = self._links.get(key)
        if step == OPEN and one is None:
            self._make_room(call.peer)
            one = _Answered(call.peer, settings, self._ends_for(call.peer, settings).make(server=True), now)
            self._links[key] = one
        elif one is None or one.settings != settings:  # such as a certificate that was replaced meanwhile
            self._links.pop(key, None)
            raise _unknown()
        elif step == OPEN or one.used is None:
            self._links.pop(key, None)
            raise refused("out of turn")
        one.used = None
        try:
            answer = await self._step(one, step, data, call)
        except BaseException:  # the caller's going away too: nobody knows how far its records came
            self._links.pop(key, None)
            raise
        one.used = time.monotonic()
        if step == CLOSE or self._links.get(key) is not one:
            self._links.pop(key, None)
        return answer

    def end(self) -> None:
        """No link goes on."""
        self._links.clear()

    async def _step(self, one: _Answered, step: int, data: bytes, call: PeerCall) -> bytes:
        end = one.end
        if step in (OPEN, AGREE):
            if end.negotiated is not None:
                raise refused("out of turn")
            answer = await _work(self._workers, None, end.receive, data)
            if (end.negotiated is not None) != (step == AGREE) or end.read() or (step == OPEN and not answer):
                raise refused("handshake")
            return answer if step == OPEN else answer + end.send(AGREED)
        found = end.negotiated
        if found is None or step not in (MESSAGE, CLOSE):
            raise refused("out of turn")
        told = await _work(self._workers, len(data), _opened, end, data)
        if end.ended != (step == CLOSE) or (step == CLOSE and told):
            raise refused("message")
        if step == CLOSE:
            return b""
        path, body = unpack_request(told)
        try:
            reply = replies.body(await self._handle(PeerCall(call.peer, path, body, call.address), found))
        except WorkbenchError as error:
            reply = replies.refusal(error)
        except Exception as error:  # noqa: BLE001 - whatever failed here, a partner learns nothing of it
            _log.error("the handler of a message in a link failed: %s", type(error).__name__)
            reply = replies.refusal(replies.failed())
        return await _work(self._workers, len(reply), end.send, pack_reply(reply))

    def _settings(self, party: PartyId) -> LinkSettings:
        """Of links with a partner as the list has it at this moment."""
        peer = next((one for one in self._peers() if one.party == party), None)
        if peer is None:
            raise refused("partner")
        return settings_of(self._identity, peer, self._group)

    def _ends_for(self, party: PartyId, settings: LinkSettings) -> LinkEnds:
        known = self._ends.get(party)
        if known is None or known.settings != settings:
            known = self._ends[party] = LinkEnds(settings)
        return known

    def _make_room(self, peer: PartyId) -> None:
        mine: Mapping[tuple[PartyId, bytes], _Answered] = {name: one for name, one in self._links.items() if one.peer == peer}
        if len(mine) < MOST_ANSWERED:
            return
        unused = {name: one.used for name, one in mine.items() if one.used is not None}
        if not unused:
            raise refused("too many")
        del self._links[min(unused, key=lambda name: unused[name])]


def _opened(end: End, records: bytes) -> bytes:
    """Plaintext of these records. Raises PeerError LINK_REFUSED for records that ask for an answer of TLS itself."""
    if end.receive(records):
        raise refused("record")
    return end.read()


async def _work(workers: Executor, size: int | None, act: Callable[..., T], *values: Any) -> T:
    """In a thread, except what is small. size: bytes; None for a handshake."""
    if size is not None and size <= SMALL_BYTES:
        return act(*values)
    return await asyncio.get_running_loop().run_in_executor(workers, act, *values)


__all__ = ["PATH", "AnsweredLinks", "EncryptedLink", "required_group", "settings_of"]

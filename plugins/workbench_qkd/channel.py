"""The channel `qkd`: calls to partners as sealed frames inside encrypted links, carried by the channel that listens.

Document: docs/protocols/qkd-channel.md. There is no other way to a partner that is set to this channel: what is missing
refuses the call, and nothing leaves unsealed or outside a link.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from workbench.channel.tls_groups import NegotiatedLink
from workbench.contracts import (
    Channel,
    ChannelIdentity,
    ChannelServer,
    Host,
    PeerAddress,
    PeerCall,
    PeerHandler,
    PeerLink,
)
from workbench.domain.party import PartyId
from workbench.errors import (
    Denied,
    KeyUnavailable,
    NotFound,
    PeerError,
    PeerUnavailable,
    ProtocolViolation,
    TooLarge,
    WorkbenchError,
)
from workbench_qkd import bandwidth, linking, replies, taking, tenants
from workbench_qkd.carried import Carried, Held
from workbench_qkd.linking import AnsweredLinks, EncryptedLink
from workbench_qkd.service import service_of

PREFIX: Final = "qkd/"
ROOM_BYTES: Final = 2048
"""What frame, call and status add to a body at most; the records of a link add 22 bytes to every 16 KiB besides."""
MOST_BYTES: Final = (16 << 20) - ROOM_BYTES
PAUSE_S: Final = 2.0
EXCHANGE_S: Final = 20.0
END_S: Final = 2.0
NOT_READY: Final = frozenset({"LINK_REFUSED", "LINK_REQUIRED", "LINK_UNAVAILABLE", "LINE_STOPPED", "NO_LINE", "KME_AWAY", "KME_UNREACHABLE", tenants.CODE})
"""Why no exchange begins though the partner is there: written down like the refusal of one."""
THREADS: Final = 8

_log = logging.getLogger(__name__)
T = TypeVar("T")


class QkdChannel:
    """Fulfils workbench.contracts.CarriedChannel; sessions of all its links and of its listener are those of one node."""

    name = "qkd"

    def __init__(self, host: Host) -> None:
        self._host = host
        self._made: Carried | None = None
        self._making = threading.Lock()
        self.workers = ThreadPoolExecutor(THREADS, thread_name_prefix="qkd-channel")

    def carried(self) -> Carried:
        """The sessions; made when first needed, because the node has its background work only after its channels."""
        with self._making:
            if self._made is None:
                self._made = Carried(service_of(self._host))
                self._made.forget_former()
            return self._made

    def over(self, carrier: Channel, wanted: Callable[[PartyId], bool]) -> Channel:
        """See workbench.contracts.CarriedChannel. Raises StartRefused LINK_UNAVAILABLE, WRONG_SETTING: no link could be as set."""
        bandwidth.rates(self._host.setting(bandwidth.SETTING))
        tenants.tags(self._host.setting(tenants.SETTING))
        taking.suites(self._host.setting("qkd.suites"))
        return CarriedOver(self, carrier, wanted, linking.required_group(self._host.setting("qkd.link_group")))

    def random(self, size: int) -> bytes:
        """Of the node."""
        return self._host.random(size)


class CarriedOver:
    """The channel with its carrier."""

    name = "qkd"

    def __init__(self, channel: QkdChannel, carrier: Channel, wanted: Callable[[PartyId], bool], group: str) -> None:
        self._channel, self._carrier, self._wanted, self._group = channel, carrier, wanted, group

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
        """Listen through the carrier. Arguments as workbench.contracts.Channel."""
        answering = Answering(self._channel, self._wanted, handler, refused, max_body_bytes)
        answering.links = AnsweredLinks(identity=identity, group=self._group, peers=peers, workers=self._channel.workers, handle=answering.take)
        await answering.work(self._channel.carried)
        server = await self._carrier.serve(
            identity=identity, host=host, port=port, peers=peers, handler=answering.handle, refused=refused,
            max_body_bytes=max_body_bytes + ROOM_BYTES + (max_body_bytes >> 9),
        )  # fmt: skip
        return Listening(server, answering)

    def connect(self, *, identity: ChannelIdentity, peer: PeerAddress, source_address: str = "") -> PeerLink:
        """Calls to one partner in sessions only; nothing is sent and no key taken before the first one."""
        carrier = self._carrier.connect(identity=identity, peer=peer, source_address=source_address)
        settings = linking.settings_of(identity, peer, self._group)
        link = EncryptedLink(carrier, peer.party, settings, random=self._channel.random, workers=self._channel.workers)
        return SealedLink(self._channel, link, peer.party)


class Listening:
    """The carrier's server, and the end of the sessions with it."""

    def __init__(self, server: ChannelServer, answering: Answering) -> None:
        self._server, self._answering, self.port = server, answering, server.port

    async def close(self) -> None:
        """Stop listening, overwrite the keys of all sessions answered here."""
        await self._server.close()
        await self._answering.end()


class _Working:
    """Blocking work in threads of the channel, so that neither the loop nor the handlers of others wait for an entity."""

    def __init__(self, channel: QkdChannel) -> None:
        self._channel = channel

    async def work(self, act: Callable[..., T], *values: Any, **named: Any) -> T:
        """What `act` returns or raises."""
        return await asyncio.get_running_loop().run_in_executor(self._channel.workers, lambda: act(*values, **named))


class Answering(_Working):
    """The answering end: opens calls, hands them to the node, seals what it says."""

    links: AnsweredLinks

    def __init__(
        self, channel: QkdChannel, wanted: Callable[[PartyId], bool], handler: PeerHandler, refused: Callable[[str, str], None], max_body_bytes: int
    ) -> None:
        super().__init__(channel)
        self._wanted, self._handler, self._refused, self._max_body_bytes = wanted, handler, refused, max_body_bytes

    async def handle(self, call: PeerCall) -> bytes:
        """The node's handler as the carrier sees it."""
        if not call.path.startswith(PREFIX):
            if self._wanted(call.peer):
                self._refused(call.address, "CHANNEL_REQUIRED")
                raise Denied(
                    "本机构与贵机构之间只走通道 qkd，未加密封的请求一律不收。请贵方运维核对 node.channels",
                    "this institution takes calls of yours over the channel qkd only; your operations check node.channels",
                    code="CHANNEL_REQUIRED",
                )
            return await self._handler(call)
        try:
            if call.path != linking.PATH:
                raise Denied(
                    "通道 qkd 的消息只在约定的加密链路内收。请贵方运维核对 qkd.link_group 与安装版本",
                    "messages of the channel qkd are taken inside its encrypted link only; your operations check qkd.link_group and versions",
                    code="LINK_REQUIRED",
                )
            return await self.links.receive(call)
        except WorkbenchError as error:
            if error.code != "LINK_UNKNOWN":  # after a restart nothing is wrong: the partner makes another
                self._refused(call.address, error.code)
            raise

    async def take(self, call: PeerCall, linked: NegotiatedLink) -> bytes:
        """A message that came inside a link."""
        try:
            carried = await self.work(self._channel.carried)
            match call.path.removeprefix(PREFIX):
                case "ready":
                    await self.work(carried.check_ready, call.peer, call.body)
                    return b""
                case "hello":
                    return await self.work(carried.answer_hello, call.peer, call.body)
                case "confirm":
                    return await self.work(carried.answer_confirm, call.peer, call.body, linked)
                case "end":
                    return await self.work(carried.answer_end, call.peer, call.body)
                case "call":
                    return await self._call(carried, call, linked)
            raise NotFound("没有这个接口", "There is no such path", code="UNKNOWN_PATH")
        except WorkbenchError as error:
            self._refused(call.address, error.code)
            raise

    async def _call(self, carried: Carried, outer: PeerCall, linked: NegotiatedLink) -> bytes:
        held, call, epoch = await self.work(carried.open_call, outer.peer, outer.body, linked)
        is_accepted = False
        try:
            if len(call.body) > self._max_body_bytes:
                raise TooLarge(f"请求超过 {self._max_body_bytes} 字节", f"the request exceeds {self._max_body_bytes} bytes", code="BODY_TOO_LARGE")
            reply = replies.body(await self._handler(PeerCall(outer.peer, call.path, call.body, outer.address)))
            is_accepted = True
        except WorkbenchError as error:
            reply = replies.refusal(error)
        except Exception as error:  # noqa: BLE001 - whatever failed here, a partner learns nothing of it
            _log.error("the handler of a sealed call failed: %s", type(error).__name__)
            reply = replies.refusal(replies.failed())
        carried.bandwidth.count(outer.peer, len(reply))
        carried.bandwidth.travelled(outer.peer, held.line, held.tenant, len(reply))
        return await self.work(carried.seal_reply, held, call, epoch, reply, is_accepted=is_accepted)

    async def end(self) -> None:
        """All sessions answered here are over."""
        self.links.end()
        carried = await self.work(self._channel.carried)
        await self.work(carried.end_all, "closed")


class SealedLink(_Working):
    """Calls to one partner (contract: workbench.contracts.PeerLink). Belongs to the event loop of its first call."""

    def __init__(self, channel: QkdChannel, link: EncryptedLink, peer: PartyId) -> None:
        super().__init__(channel)
        self._link, self._peer = link, peer
        self._held: Held | None = None
        self._lock = asyncio.Lock()
        self._refusal: tuple[float, WorkbenchError] | None = None

    @property
    def is_paced(self) -> bool:
        """See workbench.contracts.PacedLink."""
        return self._channel.carried().bandwidth.is_limited(self._peer)

    async def call(self, path: str, body: bytes, *, timeout_s: float) -> bytes:
        """The partner's reply to `body` at `path`, both sealed; a large one waits for its bandwidth quota before.

        Raises PeerUnavailable where a session lacks what the policy asks for (code and details say what, and when to try
        again), on time-out or loss of the connection; PeerError otherwise.
        """
        if len(body) > MOST_BYTES:
            raise PeerError(f"请求超过 {MOST_BYTES} 字节，未发出", f"the request exceeds {MOST_BYTES} bytes and was not sent", code="BODY_TOO_LARGE")
        carried = await self.work(self._channel.carried)
        # Before the time for the partner's answer begins, and before anything is sealed: a quota is not its silence.
        await carried.bandwidth.pace(self._peer, len(body), limit_s=timeout_s)
        until = time.monotonic() + timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                try:
                    return await self._once(carried, path, body, until)
                except _Again:
                    return await self._once(carried, path, body, until)
        except TimeoutError as error:
            raise PeerUnavailable(
                f"{self._peer} {timeout_s:g} 秒内没有回应，请联系对方运维", f"{self._peer} gave no answer for {timeout_s:g} s; operations call theirs"
            ) from error
        except _Again:
            raise PeerUnavailable(
                f"与 {self._peer} 的会话两次都未能保持，没有改走其他通道。运维查看双方健康页",
                f"No session with {self._peer} lasted, twice, and no other channel was used. Operations look at both health pages",
                code="SESSION_UNKNOWN",
            ) from None
        except PeerError:
            raise
        except WorkbenchError as error:
            raise _unavailable(error) from error

    async def close(self) -> None:
        """End the session at both ends, as far as the partner can be reached, and close the connections."""
        held, self._held = self._held, None
        if held is not None:
            carried = self._channel.carried()
            try:
                frame = held.session.close(now_ms=carried.host.now_ms())
                await self._link.call(f"{PREFIX}end", frame, timeout_s=END_S)
            except WorkbenchError:
                pass  # its own limits end it there
            try:
                await self.work(carried.end, held, "closed")
            except Exception as error:  # noqa: BLE001 - a node that stops may have closed its store; its next start writes the end
                _log.warning("the end of a session could not be written: %s", type(error).__name__)
        await self._link.close()

    async def _once(self, carried: Carried, path: str, body: bytes, until: float) -> bytes:
        held = await self._session(carried)
        try:
            request = await self.work(carried.seal, held, path, body)
        except WorkbenchError as error:
            if error.code == "REKEY_REQUIRED":  # spent, and there was no key for a renewal: say which key is missing
                raise self._refusal[1] if self._refusal is not None else error from error
            if error.code not in ("SESSION_BROKEN", "SESSION_CLOSED"):  # such as an entry about the job that could not be written
                raise
            await self._drop(carried, held, "broken")
            raise _Again from error
        try:
            carried.bandwidth.travelled(self._peer, held.line, held.tenant, len(body))
            frame = await self._link.call(f"{PREFIX}call", request.frame, timeout_s=max(0.1, until - time.monotonic()))
        except PeerError as error:
            if error.code == "LINK_REFUSED":
                await self.work(carried.altered, held, error.code)
            if error.code != "SESSION_UNKNOWN":
                raise
            await self._drop(carried, held, "far end")
            raise _Again from error
        try:
            reply = await self.work(carried.open_reply, held, request, frame)
        except ProtocolViolation:
            raise
        except WorkbenchError as error:  # ended meanwhile: the call was delivered, so it is not repeated
            await self._drop(carried, held, "broken")
            raise PeerUnavailable(error.zh, error.en, code=error.code) from error
        return replies.read(self._peer, reply)

    async def _session(self, carried: Carried) -> Held:
        """The live session, renewed when it is due, or a new one."""
        async with self._lock:
            held = self._held
            if held is not None and held.session.live:
                must = carried.must_renew(held)
                if must or held.session.rekey_due(carried.host.now_ms()):
                    await self._renew(carried, held, must=must)
                if self._held is held and held.session.live:
                    return held
            self._held = None
            self._raise_recent()
            self._held = await self._exchange(carried, None)
            return self._held

    async def _renew(self, carried: Carried, held: Held, *, must: bool) -> None:
        """The next epoch; without a key the running one goes on to its limit, any other failure ends the session.

        must: somebody was revoked, and nothing more travels under the key that runs: without a fresh one the session ends.
        """
        if self._refusal is not None and time.monotonic() < self._refusal[0]:
            if must:
                await self._drop(carried, held, "person revoked")
            return
        try:
            await self._exchange(carried, held)
        except asyncio.CancelledError:  # whether the partner has the new epoch is not known: this session is over
            self._held = None
            self._channel.workers.submit(carried.end, held, "renewal failed")
            raise
        except KeyUnavailable:
            if must:
                await self._drop(carried, held, "person revoked")
        except WorkbenchError:
            await self._drop(carried, held, "renewal failed")

    async def _exchange(self, carried: Carried, renews: Held | None) -> Held:
        opened, renewals = None, carried.renewals
        try:
            async with asyncio.timeout(EXCHANGE_S):
                if renews is None:  # a partner that is away, or whose lines are stopped, must not cost a key at every try
                    await self._link.call(f"{PREFIX}ready", carried.ready(self._peer), timeout_s=EXCHANGE_S)
                initiator, opened, hello, body = await self.work(carried.begin, self._peer, renews)
                answer = await self._link.call(f"{PREFIX}hello", body, timeout_s=EXCHANGE_S)
                established, confirm = await self.work(carried.agree, initiator, hello, answer)
                await self._link.call(f"{PREFIX}confirm", confirm, timeout_s=EXCHANGE_S)
                held = await self.work(carried.take_up, self._peer, opened, established, renews, self._link.negotiated, renewals=renewals)
        except asyncio.CancelledError:  # the caller's time is over
            if opened is not None and renews is None:
                self._channel.workers.submit(carried.refused, self._peer, opened, _too_late())
            raise
        except (WorkbenchError, TimeoutError) as fault:
            error = fault if isinstance(fault, WorkbenchError) else _too_late()
            self._refusal = (time.monotonic() + PAUSE_S, error)
            if opened is None and error.code in NOT_READY:
                opened = carried.nothing_yet(renews)
            if opened is not None:
                await self.work(carried.refused, self._peer, opened, error)
            raise error from fault
        self._refusal = None
        return held

    async def _drop(self, carried: Carried, held: Held, cause: str) -> None:
        if self._held is held:
            self._held = None
        await self.work(carried.end, held, cause)

    def _raise_recent(self) -> None:
        """The refusal of a moment ago counts for this call too: neither the entity nor the partner is asked again at once."""
        if self._refusal is not None and time.monotonic() < self._refusal[0]:
            raise self._refusal[1]


class _Again(Exception):
    """The session was over before the call was looked at."""


def _too_late() -> PeerUnavailable:
    return PeerUnavailable(
        "会话未在限定时间内建立，没有改走其他通道。运维查看双方健康页",
        "No session came about in time, and no other channel was used. Operations look at both health pages",
        code="SESSION_TIMEOUT",
    )


def _unavailable(error: WorkbenchError) -> PeerError:
    """What this end lacks, as a link says it: out of reach for now where keys are missing, an error of the pair otherwise."""
    kind = PeerUnavailable if isinstance(error, KeyUnavailable) else PeerError
    return kind(error.zh, error.en, code=error.code, details=error.details)


__all__ = ["PREFIX", "CarriedOver", "QkdChannel", "SealedLink"]

"""Links of the channel qkd without nodes: exactly as set, or nothing is sent; what breaks off is made anew and never half believed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL
from workbench_qkd import linking
from workbench_qkd.linking import AGREE, CLOSE, MESSAGE, OPEN, PATH, AnsweredLinks, EncryptedLink

from workbench.channel import tls_groups
from workbench.channel.tls_groups import AES_256_GCM_SHA384, SM2_MLKEM768, SM4_GCM_SM3, X25519_MLKEM768, LinkEnds, NegotiatedLink
from workbench.contracts import ChannelIdentity, PeerAddress, PeerCall
from workbench.crypto import certificates
from workbench.domain.party import PartyId
from workbench.errors import NotFound, PeerError, PeerUnavailable, StartRefused, WorkbenchError

SECRET = "客户的问题：这只基金风险多大？".encode() * 4
ISSUED = datetime.now(UTC)
BROKER, BANK = PartyId("broker"), PartyId("bank")


def issue(party: PartyId) -> tuple[ChannelIdentity, PeerAddress]:
    authority = certificates.make_authority(party, now=ISSUED)
    node = certificates.issue_node_certificate(authority, party=party, hosts=["127.0.0.1"], now=ISSUED)
    told = certificates.describe(node.certificate_pem).fingerprint
    identity = ChannelIdentity(party, node.certificate_pem, node.private_key_pem)
    return identity, PeerAddress(party, "127.0.0.1", 1, ("127.0.0.1",), told, authority.certificate_pem)


OWN, OTHER, STRANGER = issue(BROKER), issue(BANK), issue(PartyId("stranger"))


@pytest.fixture(scope="module")
def workers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as made:
        yield made


@dataclass
class Pair:
    """Both ends and a carrier in memory. wire: (step, body or reply) that the carrier took; steps: of the bodies; told: what the handler got."""

    workers: ThreadPoolExecutor
    group: str = SM2_MLKEM768
    answered_group: str = ""
    identity: ChannelIdentity = OWN[0]
    callee: PeerAddress = OTHER[1]
    callee_identity: ChannelIdentity = OTHER[0]
    listed: list[PeerAddress] = field(default_factory=lambda: [OWN[1]])
    wire: list[tuple[int, bytes]] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    told: list[tuple[str, bytes]] = field(default_factory=list)
    change: Callable[[int, bytes], bytes] = lambda step, body: body
    change_reply: Callable[[int, bytes], bytes] = lambda step, reply: reply
    handle: Callable[[PeerCall], Awaitable[bytes]] | None = None
    closed: bool = False

    def __post_init__(self) -> None:
        self.answered = AnsweredLinks(
            identity=self.callee_identity, group=self.answered_group or self.group, peers=lambda: self.listed, workers=self.workers, handle=self._handle
        )
        settings = linking.settings_of(self.identity, self.callee, self.group)
        self.link = EncryptedLink(self, self.callee.party, settings, random=os.urandom, workers=self.workers)

    async def call(self, path: str, body: bytes, *, timeout_s: float) -> bytes:
        """The carrier."""
        step = body[1]
        body = self.change(step, body)
        self.steps.append(step)
        self.wire.append((step, body))
        try:
            reply = await self.answered.receive(PeerCall(BROKER, path, body, "127.0.0.1"))
        except WorkbenchError as error:  # as a carrier tells of it
            raise PeerError(error.zh, error.en, code=error.code) from error
        self.wire.append((step, reply))
        return self.change_reply(step, reply)

    async def close(self) -> None:
        self.closed = True

    async def _handle(self, call: PeerCall, linked: NegotiatedLink) -> bytes:
        self.told.append((call.path, call.body))
        return await self.handle(call) if self.handle else b"re:" + call.body

    async def ask(self, body: bytes = SECRET, path: str = "qkd/call") -> bytes:
        return await self.link.call(path, body, timeout_s=20)


def refused(pair: Pair) -> str:
    """Code with which one call is refused."""
    with pytest.raises(PeerError) as caught:
        asyncio.run(pair.ask())
    return caught.value.code


def damaged(step: int, how: Callable[[bytes], bytes]) -> Callable[[int, bytes], bytes]:
    """One body of this step is damaged, once."""
    left = [1]

    def change(at: int, body: bytes) -> bytes:
        if at != step or not left:
            return body
        left.clear()
        return how(body)

    return change


@pytest.mark.parametrize(("group", "suite"), [(SM2_MLKEM768, SM4_GCM_SM3), (X25519_MLKEM768, AES_256_GCM_SHA384)])
def test_messages_travel_encrypted_in_one_link_that_is_what_was_set(workers: ThreadPoolExecutor, group: str, suite: str) -> None:
    pair, large = Pair(workers, group=group), os.urandom(3 << 20)

    async def calls() -> None:
        assert await pair.ask() == b"re:" + SECRET
        assert await pair.ask(large) == b"re:" + large
        assert await pair.ask(b"", "qkd/ready") == b"re:"

    asyncio.run(calls())
    assert pair.steps == [OPEN, AGREE, MESSAGE, MESSAGE, MESSAGE], "one link serves many calls"
    assert pair.told == [("qkd/call", SECRET), ("qkd/call", large), ("qkd/ready", b"")]
    assert pair.link.negotiated == NegotiatedLink("TLSv1.3", group, suite, OTHER[1].certificate_fingerprint)
    seen = b"".join(body for _, body in pair.wire)
    assert SECRET[:12] not in seen and large[:32] not in seen and b"qkd/" not in seen


def test_calls_side_by_side_have_links_of_their_own_and_get_their_own_replies(workers: ThreadPoolExecutor) -> None:
    pair = Pair(workers)

    async def slowly(call: PeerCall) -> bytes:
        await asyncio.sleep(0.002 * (8 - call.body[0] % 8))
        return b"re:" + call.body

    async def calls() -> list[bytes]:
        return await asyncio.gather(*(pair.ask(bytes([n])) for n in range(24)))

    pair.handle = slowly
    assert asyncio.run(calls()) == [b"re:" + bytes([n]) for n in range(24)]
    assert 1 < pair.steps.count(OPEN) <= linking.MOST_LINKS


@pytest.mark.parametrize(
    "changes",
    [
        {"answered_group": X25519_MLKEM768},
        {"group": X25519_MLKEM768, "answered_group": SM2_MLKEM768},
        {"callee": replace(OTHER[1], certificate_fingerprint="ab" * 32)},
        {"listed": [replace(OWN[1], certificate_fingerprint="ab" * 32)]},
        {"callee": replace(OTHER[1], ca_pem=STRANGER[1].ca_pem)},
        {"listed": [replace(OWN[1], ca_pem=STRANGER[1].ca_pem)]},
        {"identity": STRANGER[0]},
        {"callee_identity": STRANGER[0]},
        {"listed": []},
    ],
)  # fmt: skip
def test_ends_that_differ_have_no_link_and_send_nothing(workers: ThreadPoolExecutor, changes: dict[str, Any]) -> None:
    pair = Pair(workers, **changes)
    assert refused(pair) == "LINK_REFUSED"
    assert MESSAGE not in pair.steps and pair.told == []


@pytest.mark.parametrize("server", [False, True])
def test_an_older_tls_is_refused(workers: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch, server: bool) -> None:
    make = LinkEnds.make

    def older(ends: LinkEnds, *, server: bool, at: bool = server) -> Any:
        end: Any = make(ends, server=server)
        if server == at:
            context = tls_groups.make_context(ends.settings)
            context.set_min_proto_version(SSL.TLS1_2_VERSION)
            context.set_max_proto_version(SSL.TLS1_2_VERSION)
            end._connection = SSL.Connection(context, None)
            end._connection.set_accept_state() if server else end._connection.set_connect_state()
        return end

    monkeypatch.setattr(LinkEnds, "make", older)
    pair = Pair(workers)
    assert refused(pair) == "LINK_REFUSED"
    assert MESSAGE not in pair.steps and pair.told == []


@pytest.mark.parametrize("step", [OPEN, AGREE, MESSAGE])
@pytest.mark.parametrize("answers", [False, True])
@pytest.mark.parametrize("how", ["altered", "cut", "longer"])
def test_a_damaged_step_ends_the_link_in_one_way_and_the_next_call_makes_another(
    workers: ThreadPoolExecutor, step: int, answers: bool, how: str
) -> None:
    ways: dict[str, Callable[[bytes], bytes]] = {
        "altered": lambda body: body[:-1] + bytes([body[-1] ^ 1]),
        "cut": lambda body: body[:-1],
        "longer": lambda body: body + b"\x17\x03\x03\x00\x01\x00",
    }
    pair = Pair(workers)
    setattr(pair, "change_reply" if answers else "change", damaged(step, ways[how]))
    assert refused(pair) == "LINK_REFUSED"
    assert len(pair.told) == (1 if step == MESSAGE and answers else 0)
    assert asyncio.run(pair.ask()) == b"re:" + SECRET
    assert pair.steps.count(OPEN) == 2


def test_a_step_that_comes_again_or_out_of_turn_is_refused_and_not_handled(workers: ThreadPoolExecutor) -> None:
    for again in (OPEN, AGREE, MESSAGE):
        pair = Pair(workers)
        asyncio.run(pair.ask())
        body = next(body for step, body in pair.wire if step == again)
        with pytest.raises(PeerError) as caught:
            asyncio.run(pair.answered.receive(PeerCall(BROKER, PATH, body, "127.0.0.1")))
        assert caught.value.code == "LINK_REFUSED"
        assert len(pair.told) == 1
    other = next(body for step, body in pair.wire if step == MESSAGE)
    with pytest.raises(NotFound) as unknown:  # another partner's name for it is another link
        asyncio.run(Pair(workers).answered.receive(PeerCall(BROKER, PATH, other, "127.0.0.1")))
    assert unknown.value.code == "LINK_UNKNOWN"
    for body in (b"", b"\x02" + other[1:], bytes([1, 9]) + other[2:], other[:17]):
        with pytest.raises((PeerError, NotFound)):
            asyncio.run(pair.answered.receive(PeerCall(BROKER, PATH, body, "127.0.0.1")))


def test_a_link_that_the_other_end_forgot_is_made_anew_and_the_message_handled_once(workers: ThreadPoolExecutor) -> None:
    pair = Pair(workers)
    asyncio.run(pair.ask())
    pair.answered.end()
    asyncio.run(pair.ask(b"second"))
    assert [body for _, body in pair.told] == [SECRET, b"second"]
    assert pair.steps.count(OPEN) == 2


def test_a_cut_in_the_middle_is_not_repeated_and_the_link_not_used_again(workers: ThreadPoolExecutor) -> None:
    pair = Pair(workers)

    def cut(body: bytes) -> bytes:
        raise PeerUnavailable("断", "cut", code="CONNECTION_LOST")

    pair.change_reply = damaged(MESSAGE, cut)
    assert refused(pair) == "CONNECTION_LOST"
    assert len(pair.told) == 1
    assert asyncio.run(pair.ask(b"next")) == b"re:next"
    assert pair.steps.count(OPEN) == 2


def test_a_caller_that_gives_up_leaves_no_link_behind_that_is_used_again(workers: ThreadPoolExecutor) -> None:
    pair = Pair(workers)

    async def never(call: PeerCall) -> bytes:
        await asyncio.Event().wait()
        return b""

    async def calls() -> None:
        await pair.ask(b"first")
        pair.handle = never
        with pytest.raises(PeerUnavailable):
            await pair.link.call("qkd/call", b"waits", timeout_s=0.05)
        pair.handle = None
        assert await pair.ask(b"last") == b"re:last"

    asyncio.run(calls())
    assert pair.steps.count(OPEN) == 2


def test_a_certificate_that_was_replaced_on_the_list_ends_its_links(workers: ThreadPoolExecutor) -> None:
    pair = Pair(workers)
    asyncio.run(pair.ask())
    pair.listed[:] = [replace(OWN[1], certificate_fingerprint="ab" * 32)]
    assert refused(pair) == "LINK_REFUSED"
    assert len(pair.told) == 1


def test_links_lapse_at_both_ends_and_the_oldest_makes_room(workers: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair(workers)
    for name, at, limit in (("own", "since", linking.CALLER_S), ("own", "used", linking.CALLER_IDLE_S), ("theirs", "since", linking.ANSWERED_S), ("theirs", "used", linking.ANSWERED_IDLE_S)):
        asyncio.run(pair.ask())
        opened = pair.steps.count(OPEN)
        asyncio.run(pair.ask())
        assert pair.steps.count(OPEN) == opened
        kept: Any = pair.link._idle[-1] if name == "own" else list(pair.answered._links.values())[-1]
        setattr(kept, at, getattr(kept, at) - limit)
        asyncio.run(pair.ask())
        assert pair.steps.count(OPEN) == opened + 1, (name, at)
    monkeypatch.setattr(linking, "MOST_ANSWERED", 3)
    others = Pair(workers)

    async def unfinished(name: int) -> None:
        _, flight = others.link._begin()
        await others.call(PATH, bytes([1, OPEN]) + bytes([name]) * 16 + flight, timeout_s=1)

    for name in range(9):
        asyncio.run(unfinished(name))
    assert {key[1][0] for key in others.answered._links} == {6, 7, 8}


def test_closing_tells_the_other_end_and_nothing_more_comes(workers: ThreadPoolExecutor) -> None:
    pair = Pair(workers)

    async def calls() -> None:
        await pair.ask()
        await pair.link.close()

    asyncio.run(calls())
    assert pair.steps[-1] == CLOSE and pair.closed and pair.answered._links == {}


def test_a_refusal_comes_with_its_code_and_a_fault_with_nothing(workers: ThreadPoolExecutor) -> None:
    pair = Pair(workers)

    async def refuses(call: PeerCall) -> bytes:
        raise NotFound("没有\u202e", "none", code="SESSION_UNKNOWN")

    async def fails(call: PeerCall) -> bytes:
        raise RuntimeError("13800138000")

    pair.handle = refuses
    with pytest.raises(PeerError) as caught:
        asyncio.run(pair.ask())
    assert (caught.value.code, "\u202e" in caught.value.zh) == ("SESSION_UNKNOWN", False)
    pair.handle = fails
    with pytest.raises(PeerError) as caught:
        asyncio.run(pair.ask())
    assert "13800138000" not in str(caught.value)
    pair.handle = None
    assert asyncio.run(pair.ask()) == b"re:" + SECRET
    assert pair.steps.count(OPEN) == 1, "the link goes on"


@given(path=st.from_regex(r"[a-z/]{1,40}", fullmatch=True), body=st.binary(max_size=60), data=st.data())
def test_a_message_has_one_spelling(path: str, body: bytes, data: st.DataObject) -> None:
    packed = linking.pack_request(path, body)
    assert linking.unpack_request(packed) == (path, body)
    for wrong in (packed[: data.draw(st.integers(0, len(packed) - 1))], packed + b"\x00"):
        with pytest.raises(PeerError):
            linking.unpack_request(wrong)


def test_a_node_whose_library_lacks_the_group_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    assert linking.required_group(SM2_MLKEM768) == SM2_MLKEM768
    for setting in ("", "P-256", None, ["curveSM2MLKEM768"]):
        with pytest.raises(StartRefused) as caught:
            linking.required_group(setting)
        assert caught.value.code == "WRONG_SETTING"
    monkeypatch.setattr(tls_groups, "is_available", lambda group, suite: False)
    with pytest.raises(StartRefused) as caught:
        linking.required_group(SM2_MLKEM768)
    assert caught.value.code == "LINK_UNAVAILABLE" and SM2_MLKEM768 in caught.value.zh and SM2_MLKEM768 in caught.value.en

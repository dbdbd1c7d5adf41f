"""The link below the sessions of the channel qkd: strip either layer and the other still hides the calls; nothing travels outside it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from workbench_qkd import linking

from tests.qkd.asking import causes, end, own, refusal, sent
from tests.qkd.linked import Linked
from workbench.channel import calls
from workbench.channel.frame import DirectionKey
from workbench.channel.tls_groups import LinkEnds, NegotiatedLink
from workbench.domain.party import Role
from workbench.errors import NotFound, PeerError


@pytest.fixture
def two(linked_two: Linked) -> Linked:
    return linked_two


SECRET = "这位客户是否持有这只基金".encode() * 3


class PlainEnd:
    """The end of a link without a link, as a test strips it: what is sent lies open. Falls back to the real one where the caller has one."""

    def __init__(self, real: Any, told: NegotiatedLink) -> None:
        self._real, self._told, self._plain, self._came, self.negotiated, self.ended = real, told, False, b"", None, False

    def start(self) -> bytes:
        self._plain = True
        return b"plain"

    def receive(self, data: bytes) -> bytes:
        if not self._plain and data != b"plain":
            made = bytes(self._real.receive(data))
            self.negotiated, self.ended = self._real.negotiated, self._real.ended
            return made
        self._plain = True
        if data in (b"plain", b"answer", b"done"):
            self.negotiated = None if data == b"plain" else self._told
            return {b"plain": b"answer", b"answer": b"done", b"done": b""}[data]
        self._came, self.ended = data, not data
        return b""

    def send(self, plaintext: bytes) -> bytes:
        return plaintext if self._plain else bytes(self._real.send(plaintext))

    def read(self) -> bytes:
        made, self._came = self._came, b""
        return made if self._plain else bytes(self._real.read())

    def close(self) -> bytes:
        return b""


def one_link_a_call(patch: pytest.MonkeyPatch) -> None:
    """From here on every call makes a link of its own, which no later call uses."""

    async def only_new(link: linking.EncryptedLink, timeout_s: float) -> Any:
        made = await link._make(timeout_s)
        made.since = float("-inf")
        return made

    patch.setattr(linking.EncryptedLink, "_take", only_new)


def strip_link(two: Linked, patch: pytest.MonkeyPatch) -> None:
    """Links of the broker's calls from here on are none; those of the bank's are real."""
    make = LinkEnds.make

    def plain(ends: LinkEnds, *, server: bool) -> Any:
        told = NegotiatedLink("TLSv1.3", ends.settings.group, ends.settings.suite, ends.settings.peer_fingerprint)
        return PlainEnd(make(ends, server=server), told) if server or ends is two.link()._ends else make(ends, server=server)

    patch.setattr(LinkEnds, "make", plain)
    one_link_a_call(patch)


def strip_frames(patch: pytest.MonkeyPatch) -> None:
    """Frames with the secret in them are not encrypted."""
    seal, open_sealed = DirectionKey.seal, DirectionKey.open_sealed

    def plain_seal(key: DirectionKey, header: bytes, sequence: int, *parts: bytes) -> bytes:
        whole = b"".join(parts)
        return header + whole + bytes(16) if SECRET in whole else seal(key, header, sequence, *parts)

    def plain_open(key: DirectionKey, parts: Any) -> bytes | None:
        return bytes(parts.sealed[:-16]) if SECRET in bytes(parts.sealed) else open_sealed(key, parts)

    patch.setattr(DirectionKey, "seal", plain_seal)
    patch.setattr(DirectionKey, "open_sealed", plain_open)


@pytest.mark.parametrize(("without_link", "without_frames"), [(False, False), (True, False), (False, True), (True, True)])
def test_strip_either_layer_of_a_running_session_and_the_other_still_hides_the_call(
    two: Linked, monkeypatch: pytest.MonkeyPatch, without_link: bool, without_frames: bool
) -> None:
    two.ask()
    if without_link:
        strip_link(two, monkeypatch)
    if without_frames:
        strip_frames(monkeypatch)

    async def look_from_here() -> None:
        two.seen.clear()
        two.wire.clear()

    two.run_soon(look_from_here())
    assert json.loads(two.ask(body=SECRET))["party"] == "bank"
    carried = b"".join(body for _, _, body in list(two.wire))
    delivered = [path for path, _ in sent(two)].count("qkd/call reply")
    frames = [body for path, body in sent(two) if path == "qkd/call"][:delivered]
    assert frames and [one in carried for one in frames] == [without_link] * len(frames), "the link hides even the frames"
    assert any(SECRET in one for one in frames) == without_frames
    assert (SECRET in carried) == (without_link and without_frames), "only without both layers does the carrier see the question"


def test_both_ends_write_down_what_the_link_of_a_session_was_found_to_be(two: Linked) -> None:
    end(two)
    two.ask()
    name = own(two).name
    told = {party: two.nodes[party].keys.bundle.certificate_fingerprint for party in ("broker", "bank")}
    for party, other in (("broker", "bank"), ("bank", "broker")):
        facts = {"version": "TLSv1.3", "group": "curveSM2MLKEM768", "suite": "TLS_SM4_GCM_SM3", "fingerprint": told[other]}
        [entry] = [one.values for one in two.entries(party, kind="qkd.session_linked") if one.values["session"] == name]
        assert {**entry} == {**facts, "line": "a1", "session": name}
        listed = two.call(party, Role.OPERATOR, "qkd.sessions", line="a1").sessions
        [row] = [one for one in listed if one.session == name]
        assert {one: getattr(row, f"link_{one}") for one in facts} == facts
        status = two.call(party, Role.OPERATOR, "qkd.status")
        assert (status.link_group, status.lines[0].link_group, status.lines[0].link_fingerprint) == (facts["group"], facts["group"], told[other])


def test_a_message_of_the_channel_outside_a_link_is_not_looked_at(two: Linked) -> None:
    two.ask()
    hello = next(body for path, body in sent(two) if path == "qkd/hello")
    for path, body in (("qkd/hello", hello), ("qkd/ready", b""), ("qkd/call", b"x" * 60)):
        with pytest.raises(PeerError) as refused:
            two.run_soon(two.link()._carrier.inner.call(path, body, timeout_s=10))
        assert refused.value.code == "LINK_REQUIRED"


def test_a_session_outlives_its_links_and_a_record_that_was_altered(two: Linked) -> None:
    two.ask()
    name = own(two).name
    two.servers[1]._answering.links.end()
    assert json.loads(two.ask())["party"] == "bank", "as after a cut: another link, the same session"
    two.change_wire = lambda party, path, body: body[:-1] + bytes([body[-1] ^ 1]) if (party, path, body[1:2]) == ("broker", linking.PATH, b"\x03") else body
    with pytest.raises(PeerError) as refused:
        two.ask()
    assert refused.value.code == "LINK_REFUSED"
    two.wait_until(lambda: any(one.values["code"] == "LINK_REFUSED" for one in two.entries("bank", kind="peer.refused")))
    two.change_wire = lambda party, path, body: body
    assert json.loads(two.ask())["party"] == "bank"
    assert own(two).name == name


def test_without_a_link_as_set_no_session_begins_and_both_logs_say_so(two: Linked, monkeypatch: pytest.MonkeyPatch) -> None:
    async def spoil() -> None:
        one_link_a_call(monkeypatch)
        two.change_wire = lambda party, path, body: body[:-1] if (party, path, body[1:2]) == ("broker", linking.PATH, b"\x01") else body
        two.wire.clear()

    two.run_soon(spoil())
    assert refusal(two).code == "LINK_REFUSED"
    steps = {body[1] for party, path, body in list(two.wire) if (party, path) == ("broker", linking.PATH)}
    assert steps == {linking.OPEN}, "nothing was sent"
    for party, kind in (("broker", "qkd.session_refused"), ("bank", "peer.refused")):
        two.wait_until(lambda party=party, kind=kind: any(one.values["code"] == "LINK_REFUSED" for one in two.entries(party, kind=kind)))


def test_a_frame_in_another_kind_of_link_ends_its_session(two: Linked) -> None:
    two.ask()
    held, theirs = own(two), two.servers[1]._answering._channel.carried()
    frame = calls.seal_request(held.session, "hello", b"", now_ms=two.nodes["broker"].now_ms()).frame
    [linked] = {one.linked for one in theirs._answering.values() if one.name == held.name}
    with pytest.raises(NotFound) as refused:
        theirs.open_call("broker", frame, replace(linked, suite="TLS_AES_256_GCM_SHA384"))
    assert refused.value.code == "SESSION_UNKNOWN"
    assert causes(two, "bank", held.name) == ["link"]
    assert json.loads(two.ask())["party"] == "bank"
    assert own(two).name != held.name

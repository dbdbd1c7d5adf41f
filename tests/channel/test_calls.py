"""Requests and replies: whose reply is whose."""

from __future__ import annotations

from dataclasses import replace

import pytest

from session_world import BANK_KEY, BROKER_KEY, HYBRID, NOW, sessions, share
from workbench.channel.calls import CALL, REPLY, open_reply, open_request, seal_reply, seal_request
from workbench.errors import VerificationError


def refused(caught: pytest.ExceptionInfo[VerificationError]) -> bool:
    return caught.value.code == "FRAME_REFUSED" and not caught.value.details


def test_a_call_arrives_with_its_path_and_its_reply_comes_back() -> None:
    one, other = sessions()
    request = seal_request(one, "/peer/v1/ask", "问".encode(), now_ms=NOW)
    call = open_request(other, request.frame, now_ms=NOW)
    assert (call.path, call.body, call.item) == ("/peer/v1/ask", "问".encode(), None)
    assert (call.key_ids, call.provenance) == ((share().key_id,), "simulated")
    frame, item = seal_reply(other, call, b"answer", now_ms=NOW)
    reply = open_reply(one, request, frame, now_ms=NOW)
    assert reply.body == b"answer" and item is None and reply.key_ids == (share().key_id,)


def test_replies_of_two_calls_cannot_be_exchanged() -> None:
    one, other = sessions()
    requests = [seal_request(one, "ask", b"%d" % number, now_ms=NOW) for number in range(2)]
    calls = [open_request(other, request.frame, now_ms=NOW) for request in reversed(requests)][::-1]
    replies = [seal_reply(other, call, b"to " + call.body, now_ms=NOW)[0] for call in calls]
    with pytest.raises(VerificationError) as caught:
        open_reply(one, requests[0], replies[1], now_ms=NOW)
    assert refused(caught)
    assert open_reply(one, requests[0], replies[0], now_ms=NOW).body == b"to 0"


def test_signed_calls_and_replies_point_at_each_other() -> None:
    one, other = sessions(replace(HYBRID, signed=True))
    with pytest.raises(ValueError, match="seal_signed"):
        seal_request(one, "ask", b"x", now_ms=NOW)
    request = seal_request(one, "ask", b"x", now_ms=NOW, key=BROKER_KEY)
    call = open_request(other, request.frame, now_ms=NOW)
    assert call.item is not None and request.item is not None and call.item.digest == request.item.digest
    frame, item = seal_reply(other, call, b"y", now_ms=NOW, key=BANK_KEY)
    reply = open_reply(one, request, frame, now_ms=NOW)
    assert item is not None and reply.item is not None and reply.item.fields["reply_to"] == request.item.digest
    stranger, _ = seal_reply(other, replace(call, item=item), b"y", now_ms=NOW, key=BANK_KEY)
    with pytest.raises(VerificationError) as caught:
        open_reply(one, request, stranger, now_ms=NOW)
    assert refused(caught)


def test_what_is_no_call_is_refused() -> None:
    one, other = sessions()
    for path in ("", "a b", "é", "x" * 256):
        with pytest.raises(ValueError):
            seal_request(one, path, b"", now_ms=NOW)
    wrong = [
        one.seal(payload, purpose=CALL, now_ms=NOW) for payload in (b"", b"\x00", b"\x05ask", b"\x03a k", b"\x01\xff")
    ]
    wrong += [one.seal(b"\x03ask", purpose=REPLY, now_ms=NOW)]
    wrong += [one.seal_chunk(b"\x03ask", stream=bytes(8), index=0, final=True, purpose=CALL, now_ms=NOW)]
    for frame in wrong:
        with pytest.raises(VerificationError) as caught:
            open_request(other, frame, now_ms=NOW)
        assert refused(caught)
    request = seal_request(one, "ask", b"", now_ms=NOW)
    for frame in (
        other.seal(b"short", purpose=REPLY, now_ms=NOW),
        other.seal(bytes(8), purpose=REPLY, now_ms=NOW),
        other.seal(bytes(8), purpose=CALL, now_ms=NOW),
    ):
        with pytest.raises(VerificationError) as caught:
            open_reply(one, request, frame, now_ms=NOW)
        assert refused(caught)

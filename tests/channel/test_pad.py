"""One-time pads: bounded by the keys, gone once used, nothing else instead."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from session_world import HYBRID, NOW, flips, sessions, share
from workbench.channel.frame import Direction, Kind
from workbench.channel.pad import PadPool
from workbench.channel.session import MAX_REFUSED, SealedSession
from workbench.crypto import poly1305
from workbench.errors import KeyUnavailable, VerificationError


def pools(count: int, *, first: int = 100, provenance: str = "simulated") -> tuple[PadPool, PadPool]:
    """The initiator's pool for what it sends, and the responder's copy of it."""
    made = PadPool(Direction.FROM_INITIATOR, provenance), PadPool(Direction.FROM_INITIATOR, provenance)
    for pool in made:
        pool.load(share(first + number, provenance) for number in range(count))
    return made


def refuse(session: SealedSession, frame: bytes, pads: PadPool | None) -> None:
    with pytest.raises(VerificationError) as caught:
        session.open(frame, now_ms=NOW, pads=pads)
    assert caught.value.code == "FRAME_REFUSED" and caught.value.details == {}


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=1024))
def test_an_item_opens_to_the_same_and_uses_its_keys_up_at_both_ends(payload: bytes) -> None:
    one, other = PAIR
    mine, theirs = pools(33)
    frame = one.seal_padded(payload, purpose="pin", pads=mine, now_ms=NOW)
    opened = other.open(frame, now_ms=NOW, pads=theirs, purpose="pin")
    used = -(-(len(payload) + 32) // 32)
    assert opened.payload == payload and opened.kind is Kind.PADDED and len(opened.key_ids) == used
    assert mine.available == theirs.available == 33 - used and opened.provenance == "simulated"


PAIR = sessions()


def test_the_bytes_are_those_of_the_document() -> None:
    one, _ = sessions()
    mine, _ = pools(2)
    frame = one.seal_padded(b"pin 1234", purpose="pin", pads=mine, now_ms=NOW)
    ids = [share(100).key_id.encode(), share(101).key_id.encode()]
    pad = share(100).value + share(101).value
    header = b"WF\x01\x10\x05\x00" + bytes.fromhex(one.session_id) + bytes(4) + (1).to_bytes(8, "big") + b"\x03pin"
    body = header + b"\x02" + b"".join(bytes([len(one_id)]) + one_id for one_id in ids)
    body += bytes(a ^ b for a, b in zip(b"pin 1234", pad[32:40], strict=True))
    assert frame == body + poly1305.tag(pad[:32], body + b"\x09simulated")


def test_too_few_keys_are_a_refusal_that_uses_nothing() -> None:
    one, _ = sessions()
    mine, _ = pools(2)
    with pytest.raises(KeyUnavailable) as caught:
        one.seal_padded(bytes(33), purpose="pin", pads=mine, now_ms=NOW, retry_after_s=12)
    assert caught.value.code == "PAD_EXHAUSTED"
    assert caught.value.details == {"needed": "3", "available": "2", "retry_after_s": "12"}
    assert all(text in caught.value.zh for text in ("3", "2", "12")) and "no other cipher" in caught.value.en
    assert mine.available == 2 and one.status().sent == 0
    one.seal_padded(bytes(32), purpose="pin", pads=mine, now_ms=NOW)
    with pytest.raises(KeyUnavailable) as empty:
        one.seal_padded(b"", purpose="pin", pads=mine, now_ms=NOW)
    assert "补充" in empty.value.zh


def test_every_changed_byte_is_refused_and_uses_no_key() -> None:
    one, other = sessions()
    mine, theirs = pools(4)
    frame = one.seal_padded(b"pin 1234", purpose="pin", pads=mine, now_ms=NOW)
    for mask in (1, 0x80):
        for wrong in flips(frame, mask=mask):
            other._refused = 0
            refuse(other, wrong, theirs)
    for wrong in [*(frame[:size] for size in range(len(frame))), frame + b"\x00"]:
        other._refused = 0
        refuse(other, wrong, theirs)
    assert theirs.available == 4
    assert other.open(frame, now_ms=NOW, pads=theirs).payload == b"pin 1234"
    refuse(other, frame, theirs)
    assert theirs.available == mine.available == 2


def test_an_item_without_its_pool_is_refused_as_any_other_frame() -> None:
    one, other = sessions()
    mine, theirs = pools(4)
    frame = one.seal_padded(b"pin", purpose="pin", pads=mine, now_ms=NOW)
    refuse(other, frame, None)
    refuse(other, frame, pools(4, first=500)[0])
    refuse(other, frame, pools(4, provenance="imported")[0])
    wrong_way = PadPool(Direction.FROM_RESPONDER, "simulated")
    wrong_way.load(share(100 + number) for number in range(4))
    refuse(other, frame, wrong_way)
    with pytest.raises(ValueError, match="direction"):
        other.seal_padded(b"pin", purpose="pin", pads=theirs, now_ms=NOW)


def test_where_signatures_are_agreed_there_are_no_items_and_no_key_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = sessions(replace(HYBRID, signed=True))
    mine, theirs = pools(4)
    with pytest.raises(ValueError, match="seal_signed"):
        one.seal_padded(b"pin", purpose="pin", pads=mine, now_ms=NOW)
    assert (one.status().sent, mine.available) == (0, 4)
    monkeypatch.setattr(one, "_check_unsigned", lambda: None)  # an end that does not keep to it
    refuse(other, one.seal_padded(b"pin", purpose="pin", pads=mine, now_ms=NOW), theirs)
    assert theirs.available == 4


def test_an_item_does_not_pass_in_another_session_or_after_a_repeat() -> None:
    (one, other), (_, stranger) = sessions(), sessions()
    mine, theirs = pools(6)
    frame = one.seal_padded(b"pin", purpose="pin", pads=mine, now_ms=NOW)
    refuse(stranger, frame, theirs)
    other.open(frame, now_ms=NOW, pads=theirs)
    _, fresh = pools(6)
    refuse(other, frame, fresh)
    assert fresh.available == 6, "a repeat uses no key, even where the keys are still there"


def test_keys_are_overwritten_and_never_loaded_twice() -> None:
    mine, _ = pools(3)
    secrets = list(mine._keys.values())
    one, _ = sessions()
    one.seal_padded(b"x", purpose="pin", pads=mine, now_ms=NOW)
    assert [secret.wiped for secret in secrets] == [True, True, False]
    for wrong in ([share(100)], [share(102)], [share(900, "imported")]):
        with pytest.raises(ValueError):
            mine.load(wrong)
    mine.wipe()
    assert all(secret.wiped for secret in secrets) and mine.available == 0
    assert "qkd-secret" not in repr(mine) and repr(mine) == "PadPool(from_initiator, simulated, 0 keys)"
    with pytest.raises(ValueError):
        PadPool(Direction.FROM_INITIATOR, "quantum")
    with pytest.raises(ValueError):
        one.seal_padded(bytes(1025), purpose="pin", pads=pools(40)[0], now_ms=NOW)
    assert MAX_REFUSED == 256, "the document's bound on forgeries counts with it"

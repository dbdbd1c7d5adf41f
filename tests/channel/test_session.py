"""Sealed frames: one refusal for everything wrong, nothing accepted twice, limits, renewals, the end."""

from __future__ import annotations

import copy
import json
import pickle
import struct
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gmssl_pyx  # type: ignore[import-untyped]  # its stubs lack the py.typed mark
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from session_world import (
    BANK_KEY,
    BROKER_KEY,
    CARDNET_KEY,
    HYBRID,
    NOW,
    PQC,
    FaultyLink,
    exchange,
    flips,
    renew,
    sessions,
    share,
)
from workbench.channel import frame as frames
from workbench.channel.frame import Kind, verify_signed_item
from workbench.channel.session import MAX_REFUSED, SealedSession
from workbench.channel.session_state import Limits, Window
from workbench.channel.terms import SUITES, Order, Policy, SessionTerms
from workbench.crypto import sm3
from workbench.errors import KeyUnavailable, Refused, VerificationError, WorkbenchError

STRICT = replace(HYBRID, order=Order.STRICT)
SIGNED = replace(HYBRID, signed=True)


def seal(session: SealedSession, payload: bytes = b"question", *, now_ms: int = NOW) -> bytes:
    return session.seal(payload, purpose="question", now_ms=now_ms)


def take(session: SealedSession, frame: bytes, *, now_ms: int = NOW) -> bytes:
    return session.open(frame, now_ms=now_ms).payload


def refuse(session: SealedSession, frame: bytes, **arguments: Any) -> None:
    """The one refusal: type, code, both sentences, no detail, no cause; nothing but the count has changed."""
    before = session.status()
    with pytest.raises(VerificationError) as caught:
        session.open(frame, **{"now_ms": NOW, **arguments})
    error = caught.value
    assert (error.code, error.zh, error.en, error.details) == (
        "FRAME_REFUSED",
        "密文帧被拒收",
        "a sealed frame was refused",
        {},
    )
    assert error.__cause__ is None and error.__context__ is None
    after = session.status()
    assert after.refused == before.refused + 1
    assert replace(after, refused=before.refused, live=True) == replace(before, live=True)


# ------------------------------------------------------------------------------------------------ the bytes


@pytest.mark.parametrize("suite", [name for name in SUITES if name.startswith("x25519")])
def test_a_frame_is_what_the_document_says_computed_by_another_library(suite: str) -> None:
    mine, theirs = exchange(replace(HYBRID, suites=(suite,)))
    key, salt = bytes(mine.send._key._key), mine.send._salt
    session = SealedSession(mine, now_ms=NOW)
    seal(session, b"first")
    frame = seal(session, "第二帧".encode())
    header = (
        b"WF"
        + struct.pack(">BBBB", 1, SUITES[suite].number, 1, 0)
        + mine.session
        + struct.pack(">IQB", 0, 2, 8)
        + b"question"
    )
    key_id, provenance = share().key_id.encode(), b"simulated"
    associated = header + bytes([len(key_id)]) + key_id + bytes([len(provenance)]) + provenance
    nonce = salt + (2).to_bytes(8, "big")
    if len(key) == 16:
        sealed = b"".join(gmssl_pyx.sm4_gcm_encrypt(key, nonce, associated, "第二帧".encode()))
    else:
        sealed = AESGCM(key).encrypt(nonce, "第二帧".encode(), associated)
    assert frame == header + sealed
    opened = SealedSession(theirs, now_ms=NOW).open(frame, now_ms=NOW, purpose="question")
    assert (opened.payload, opened.sequence, opened.kind, opened.key_ids, opened.provenance) == (
        "第二帧".encode(), 2, Kind.DATA, (share().key_id,), "simulated",
    )  # fmt: skip


def test_directions_have_keys_of_their_own() -> None:
    mine, theirs = exchange()
    assert bytes(mine.send._key._key) != bytes(mine.receive._key._key) and mine.send._salt != mine.receive._salt
    one, other = SealedSession(mine, now_ms=NOW), SealedSession(theirs, now_ms=NOW)
    assert take(other, seal(one, b"there")) == b"there" and take(one, seal(other, b"back")) == b"back"
    assert seal(one, b"same")[43:] != seal(other, b"same")[43:]


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=3000), st.from_regex(r"\A[a-z][a-z0-9.-]{0,63}\Z"))
def test_what_is_sealed_opens_to_the_same(payload: bytes, purpose: str) -> None:
    frame = PAIR[0].seal(payload, purpose=purpose, now_ms=NOW)
    opened = PAIR[1].open(frame, now_ms=NOW, purpose=purpose)
    assert (opened.payload, opened.purpose) == (payload, purpose)
    assert len(payload) < 4 or payload not in frame


PAIR = sessions()


# ------------------------------------------------------------------------------------- everything that is wrong


def frames_of_every_kind(one: SealedSession) -> dict[str, bytes]:
    return {
        "data": seal(one),
        "signed": one.seal_signed(b"question", purpose="question", key=BROKER_KEY, now_ms=NOW)[0],
        "chunk": one.seal_chunk(b"part", stream=b"8 bytes.", index=0, final=True, purpose="list", now_ms=NOW),
        "end": one.close(now_ms=NOW),
    }


@pytest.mark.parametrize("kind", ["data", "signed", "chunk", "end"])
def test_every_changed_byte_of_a_frame_is_refused(kind: str) -> None:
    one, other = sessions()
    frame = frames_of_every_kind(one)[kind]
    for mask in (1, 0x80):
        for changed in flips(frame, mask=mask):
            other._refused = 0  # a session breaks after 256 refusals, and some frames are longer
            refuse(other, changed)
    assert other.open(frame, now_ms=NOW).kind.name.lower() == kind, "the frame itself is still welcome"


def test_a_frame_cut_or_continued_is_refused() -> None:
    one, other = sessions()
    frame = seal(one)
    for wrong in [*(frame[:size] for size in range(len(frame))), frame + b"\x00", frame + frame]:
        refuse(other, wrong)
    assert take(other, frame) == b"question"


def test_a_frame_counts_once() -> None:
    one, other = sessions()
    numbered = [seal(one, b"%d" % number) for number in range(70)]
    for frame in numbered:
        take(other, frame)
    for frame in numbered:
        refuse(other, frame)


def test_parts_of_two_frames_make_no_third() -> None:
    one, other = sessions()
    first, second = seal(one, b"aaaaaaaa"), seal(one, b"bbbbbbbb")
    cut = frames.FIXED_SIZE + len("question")
    for wrong in (
        first[:cut] + second[cut:],
        second[:cut] + first[cut:],
        first[:-16] + second[-16:],
        first[:26] + second[26:34] + first[34:],
    ):
        refuse(other, wrong)


def test_frames_of_another_session_are_refused_whoever_made_them() -> None:
    (one, other), (third, fourth) = sessions(), sessions()
    refuse(other, seal(third))
    refuse(fourth, seal(one))
    moved = bytearray(seal(third))
    moved[6:22] = bytes.fromhex(other.session_id)
    refuse(other, bytes(moved))


def test_an_end_does_not_open_what_it_sealed() -> None:
    one, _ = sessions()
    refuse(one, seal(one))


def test_a_frame_for_another_purpose_is_refused() -> None:
    one, other = sessions()
    frame = seal(one)
    refuse(other, frame, purpose="answer")
    assert other.open(frame, now_ms=NOW, purpose="question").payload == b"question"


def test_the_work_is_the_same_for_every_wrong_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tag is computed once for each frame, also where the header already tells that it cannot be accepted."""
    one, other = sessions()
    frame = seal(one)
    take(other, frame)
    calls: list[int] = []
    inner = frames.DirectionKey.open_sealed

    def counted(self: frames.DirectionKey, parts: frames.Parts) -> bytes | None:
        calls.append(len(parts.sealed))
        return inner(self, parts)

    monkeypatch.setattr(frames.DirectionKey, "open_sealed", counted)
    for wrong in (
        frame,
        frame[:20],
        b"",
        bytes([frame[0] ^ 1]) + frame[1:],
        frame[:3] + b"\x10" + frame[4:],
        frame[:25] + b"\x09" + frame[26:],
    ):
        calls.clear()
        refuse(other, wrong)
        assert len(calls) == 1


def test_a_session_breaks_after_too_many_refusals_and_stays_broken() -> None:
    one, other = sessions()
    good = seal(one)
    for _ in range(MAX_REFUSED):
        refuse(other, b"noise")
    for call in (
        lambda: take(other, good),
        lambda: seal(other),
        lambda: other.close(now_ms=NOW),
        lambda: other.export("file"),
    ):
        with pytest.raises(Refused) as caught:
            call()
        assert caught.value.code == "SESSION_BROKEN"
    assert not other.live and not other.status().live


def test_refusals_are_counted_anew_under_new_keys() -> None:
    """A link that repeats a frame now and then must not end a session that lasts for days."""
    one, other = sessions()
    for number in (2, 3):
        for _ in range(MAX_REFUSED - 1):
            refuse(other, b"noise")
        renew(one, other, share(number))
    assert take(other, seal(one)) == b"question" and other.status().refused == 2 * MAX_REFUSED - 2


# ------------------------------------------------------------------------------------------- order and window


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(1, 200), max_size=120))
def test_the_window_is_that_of_a_naive_model(sequences: list[int]) -> None:
    window, seen = Window(Order.WINDOW), set[int]()
    for sequence in sequences:
        highest = max(seen, default=0)
        expected = sequence not in seen and sequence > highest - 64
        assert window.admits(sequence) == expected
        if expected:
            window.accept(sequence)
            seen.add(sequence)
            assert (window.highest, window.accepted) == (max(seen), len(seen))


def test_frames_may_overtake_one_another_by_63_and_no_more() -> None:
    one, other = sessions()
    numbered = [seal(one, b"%d" % number) for number in range(65)]
    take(other, numbered[64])
    refuse(other, numbered[0])
    for frame in reversed(numbered[1:64]):
        take(other, frame)
    assert (other.status().accepted, other.status().missing) == (64, 1)


def test_in_strict_order_only_the_next_frame_is_accepted() -> None:
    one, other = sessions(STRICT)
    numbered = [seal(one, b"%d" % number) for number in range(4)]
    refuse(other, numbered[1])
    take(other, numbered[0])
    refuse(other, numbered[0])
    refuse(other, numbered[2])
    assert [take(other, frame) for frame in numbered[1:]] == [b"1", b"2", b"3"]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([HYBRID, STRICT]))
def test_over_a_faulty_link_every_payload_arrives_once_unaltered_or_not_at_all(seed: int, terms: SessionTerms) -> None:
    one, other = FAULTY[terms.order]
    other._refused = 0
    link, arrived, sent = FaultyLink(seed), [], []
    first = one.status().sent

    def deliver(frame: bytes) -> None:
        try:
            opened = other.open(frame, now_ms=NOW)
        except VerificationError as error:
            assert error.code == "FRAME_REFUSED"
            return
        arrived.append((opened.sequence, opened.payload))

    if terms.order is Order.STRICT and other.status().accepted != first:
        FAULTY[terms.order] = one, other = sessions(
            terms
        )  # the run before lost a frame: nothing follows in strict order
        first = 0
    for number in range(40):
        payload = b"payload %d of %d" % (number, seed)
        sent.append((first + number + 1, payload))
        link.carry(seal(one, payload), deliver)
    link.drain(deliver)
    assert len(arrived) == len(set(arrived)) and set(arrived) <= set(sent)
    if terms.order is Order.STRICT:
        assert arrived == sent[: len(arrived)]


FAULTY = {terms.order: sessions(terms) for terms in (HYBRID, STRICT)}


def test_threads_never_share_a_sequence() -> None:
    one, _ = sessions()
    made: list[bytes] = []

    def work() -> None:
        made.extend(seal(one, b"x") for _ in range(50))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sequences = sorted(frames.split(frame).header.sequence for frame in made)
    assert sequences == list(range(1, 201))


# ---------------------------------------------------------------------------------------- limits and renewals


def needs_rekey(call: Callable[[], object], limit: str) -> None:
    with pytest.raises(KeyUnavailable) as caught:
        call()
    assert caught.value.code == "REKEY_REQUIRED" and caught.value.details["limit"] == limit
    assert "换钥" in caught.value.zh and "renews" in caught.value.en


def test_a_key_seals_no_more_than_its_records() -> None:
    one, other = sessions(limits=Limits(records=8))
    for number in range(8):
        assert one.rekey_due(NOW) == (number >= 7)
        take(other, seal(one))
    needs_rekey(lambda: seal(one), "records")
    needs_rekey(lambda: one.seal_signed(b"", purpose="question", key=BROKER_KEY, now_ms=NOW), "records")
    assert other.open(one.close(now_ms=NOW), now_ms=NOW).kind is Kind.END
    other.finish()


def test_a_key_seals_no_more_than_its_bytes() -> None:
    one, other = sessions(limits=Limits(size_bytes=1000))
    take(other, seal(one, bytes(600)))
    needs_rekey(lambda: seal(one, bytes(401)), "bytes")
    assert not one.rekey_due(NOW)
    take(other, seal(one, bytes(400)))
    assert one.rekey_due(NOW) and other.rekey_due(NOW)
    needs_rekey(lambda: seal(one, b"x"), "bytes")


def test_a_key_lasts_an_hour_and_a_clock_set_back_adds_nothing() -> None:
    one, other = sessions()
    hour = 3_600_000
    late = seal(one, now_ms=NOW + hour - 1)
    assert one.rekey_due(NOW + hour * 7 // 8) and take(other, late, now_ms=NOW + hour + 59_999) == b"question"
    needs_rekey(lambda: seal(one, now_ms=NOW + hour), "time")
    needs_rekey(lambda: seal(one, now_ms=NOW), "time")
    needs_rekey(lambda: seal(other, now_ms=NOW), "time")


def test_an_opener_keeps_the_limits_whatever_the_sealer_does() -> None:
    one, other = sessions(limits=Limits(records=3))
    one._limits = Limits()
    for _ in range(3):
        take(other, seal(one))
    refuse(other, seal(one))
    one, other = sessions()
    one._current.began_ms += 10**9
    refuse(other, seal(one, now_ms=NOW), now_ms=NOW + 3_660_000)


def test_limits_are_set_lower_and_never_higher() -> None:
    for wrong in ({"records": 0}, {"records": (1 << 20) + 1}, {"size_bytes": (64 << 30) + 1}, {"age_s": 3601}):
        with pytest.raises(ValueError):
            Limits(**wrong)


def test_a_renewal_in_the_middle_of_traffic_loses_nothing_in_either_direction() -> None:
    one, other = sessions(limits=Limits(records=8))
    under_way = [seal(one, b"before 1"), seal(other, b"before 2")]
    renew(one, other, share(2))
    after = [seal(one, b"after 1"), seal(other, b"after 2")]
    assert take(other, after[0]) == b"after 1" and take(other, under_way[0]) == b"before 1"
    assert take(one, under_way[1]) == b"before 2" and take(one, after[1]) == b"after 2"
    assert one.epoch == other.epoch == 1 and one.session_id == other.session_id
    for _ in range(7):
        take(other, seal(one))
    needs_rekey(lambda: seal(one), "records")
    renew(one, other, share(3))
    opened = other.open(seal(one), now_ms=NOW)
    assert (opened.epoch, opened.key_ids, opened.sequence) == (2, (share(3).key_id,), 10)
    uses = other.status().epochs
    assert [(use.epoch, use.key_id, use.accepted) for use in uses] == [
        (0, share(1).key_id, 1),
        (1, share(2).key_id, 8),
        (2, share(3).key_id, 1),
    ]
    assert sum(use.sent for use in one.status().epochs) == one.status().sent


def test_the_epoch_before_closes_behind_the_new_one() -> None:
    one, other = sessions()
    first, second = seal(one, b"1"), seal(one, b"2")
    old, sealing = other._current.agreed.receive, other._current.agreed.send
    renew(one, other, share(2))
    assert not any(sealing._key._key), "nobody seals under the old key any more, so it is gone at once"
    take(other, seal(one, b"3"))
    take(other, first)
    for _ in range(63):
        take(other, seal(one))
    with pytest.raises(ValueError, match="wiped"):
        old.open_sealed(frames.split(second))
    refuse(other, second)
    one, other = sessions()
    late = seal(one)
    renew(one, other, share(2), now_ms=NOW)
    refuse(other, late, now_ms=NOW + 60_000)


def test_nothing_new_comes_under_the_epoch_before() -> None:
    """A sequence above one that was accepted under the new epoch cannot have been sealed by an honest end."""
    mine, theirs = exchange()
    stolen = frames.DirectionKey(
        mine.suite.cipher, bytes(mine.send._key._key), mine.send._salt, key_id=mine.key_id, provenance=mine.provenance
    )
    one, other = SealedSession(mine, now_ms=NOW), SealedSession(theirs, now_ms=NOW)
    renew(one, other, share(2))
    take(other, seal(one))
    header = frames.Header(1, Kind.DATA, 0, mine.session, 0, 5, "question").format()
    refuse(other, stolen.seal(header, 5, b"forged with the old key"))


def test_only_who_holds_the_session_can_renew_it() -> None:
    """Whoever has both SM2 keys and the new QKD key, but not the renewal secret, ends in another secret."""
    one, other = sessions()
    first, second = one.renewal(key=BROKER_KEY, qkd=share(2)), other.renewal_responder(key=BANK_KEY)
    assert second._renews is not None
    second._renews = replace(second._renews, secret=type(second._renews.secret)(b"x" * 32))
    second.receive_hello(first.hello())
    with pytest.raises(WorkbenchError) as caught:
        first.receive_answer(second.answer(share(2)))
    assert caught.value.code == "HANDSHAKE_REFUSED"
    assert take(other, seal(one)) == b"question", "a renewal that failed leaves the session as it was"


def test_without_the_key_its_policy_asks_for_a_session_is_not_renewed() -> None:
    one, other = sessions(limits=Limits(records=2))
    with pytest.raises(KeyUnavailable) as caught:
        one.renewal(key=BROKER_KEY, qkd=None, retry_after_s=30)
    assert caught.value.code == "QKD_KEY_REQUIRED" and caught.value.details["retry_after_s"] == "30"
    take(other, seal(one))
    take(other, seal(one))
    needs_rekey(lambda: seal(one), "records")
    assert one.epoch == 0


def test_a_first_exchange_is_no_renewal_and_a_renewal_no_first_exchange() -> None:
    one, other = sessions()
    for wrong in (exchange()[0], exchange(PQC)[0]):
        with pytest.raises(ValueError, match="next epoch"):
            one.adopt(wrong, now_ms=NOW)
        assert wrong.export.wiped
    with pytest.raises(ValueError):
        other.renewal(key=BANK_KEY, qkd=share(2))
    with pytest.raises(ValueError):
        one.renewal_responder(key=BROKER_KEY)
    first = one.renewal(key=BROKER_KEY, qkd=share(2))
    from session_world import responder

    with pytest.raises(Refused) as caught:
        responder().receive_hello(first.hello())
    assert caught.value.details == {"field": "session"}


# ---------------------------------------------------------------------------------------------- the end


def test_an_end_is_told_from_a_cut() -> None:
    one, other = sessions()
    numbered = [seal(one, b"1"), seal(one, b"2"), one.close(now_ms=NOW)]
    for frames_there in ([0], [0, 1], [0, 2]):
        mine, theirs = sessions()
        made = [seal(mine, b"1"), seal(mine, b"2"), mine.close(now_ms=NOW)]
        for place in frames_there:
            theirs.open(made[place], now_ms=NOW)
        with pytest.raises(VerificationError) as caught:
            theirs.finish()
        assert caught.value.code == "SESSION_CUT"
    for frame in (numbered[2], numbered[0], numbered[1]):
        other.open(frame, now_ms=NOW)
    other.finish()
    with pytest.raises(Refused) as closed:
        seal(one)
    assert closed.value.code == "SESSION_CLOSED" and take(one, seal(other)) == b"question"


def test_nothing_follows_an_end() -> None:
    one, other = sessions()
    end = one.close(now_ms=NOW)
    other.open(end, now_ms=NOW)
    one._end_sent = False
    refuse(other, seal(one))
    refuse(other, end)
    one, other = sessions()
    end = one.close(now_ms=NOW)
    one._end_sent = False
    take(other, seal(one))
    refuse(other, end)


def test_a_killed_session_has_no_keys_left() -> None:
    one, other = sessions()
    frame = seal(one)
    keys = [other._current.agreed.receive._key._key, other._current.agreed.send._key._key]
    other.kill()
    assert all(not any(key) for key in keys) and not other.live
    with pytest.raises(Refused) as caught:
        take(other, frame)
    assert caught.value.code == "SESSION_BROKEN"
    assert other.status().session == one.session_id, "what it was stays known"


def test_an_exported_secret_is_the_same_at_both_ends_and_another_for_each_label() -> None:
    one, other = sessions()
    assert one.export("file") == other.export("file") != one.export("group")
    before = one.export("file")
    renew(one, other, share(2))
    assert one.export("file") == other.export("file") != before


# ---------------------------------------------------------------------------------------------- signed items


def test_a_signed_request_and_its_answer_can_be_shown_later() -> None:
    one, other = sessions(SIGNED)
    frame, asked = one.seal_signed("风险多大？".encode(), purpose="question", key=BROKER_KEY, now_ms=NOW)
    opened = other.open(frame, now_ms=NOW, purpose="question")
    assert (
        opened.item is not None and opened.item.statement == asked.statement and opened.payload == "风险多大？".encode()
    )
    reply, _ = other.seal_signed(b"low", purpose="answer", key=BANK_KEY, now_ms=NOW, reply_to=opened.item.digest)
    answer = one.open(reply, now_ms=NOW, purpose="answer")
    assert answer.item is not None
    shown = verify_signed_item(answer.item.statement, answer.item.signature, b"low", key=BANK_KEY.public)
    assert shown.fields["reply_to"] == asked.digest and shown.fields["session"] == one.session_id
    assert shown.fields["key_id"] == share().key_id and shown.fields["provenance"] == "simulated"
    assert json.loads(asked.statement)["digest"] == sm3.digest("风险多大？".encode()).hex()


def test_a_signed_item_verifies_for_its_bytes_alone() -> None:
    one, _ = sessions()
    _, item = one.seal_signed(b"payload", purpose="question", key=BROKER_KEY, now_ms=NOW)
    verify_signed_item(item.statement, item.signature, b"payload", key=BROKER_KEY.public)
    wrong = [(item.statement, item.signature, changed) for changed in (b"payloae", b"payload ", b"")]
    wrong += [
        (changed, item.signature, b"payload") for changed in flips(item.statement, range(0, len(item.statement), 5))
    ]
    wrong += [(item.statement, changed, b"payload") for changed in flips(item.signature, range(0, 64, 7))]
    wrong += [(item.statement, item.signature[:63], b"payload"), (b"{}", item.signature, b"payload"), (b"", b"", b"")]
    for statement, signature, payload in wrong:
        with pytest.raises(VerificationError) as caught:
            verify_signed_item(statement, signature, payload, key=BROKER_KEY.public)
        assert caught.value.code == "SIGNED_ITEM"
    with pytest.raises(VerificationError):
        verify_signed_item(item.statement, item.signature, b"payload", key=BANK_KEY.public)


def test_where_signatures_are_agreed_nothing_unsigned_is_sealed_or_opened() -> None:
    one, other = sessions(SIGNED)
    with pytest.raises(ValueError, match="seal_signed"):
        seal(one)
    refuse(other, one._seal(Kind.DATA, "question", NOW, b"", b"unsigned"))
    refuse(other, one.seal_signed(b"x", purpose="question", key=CARDNET_KEY, now_ms=NOW)[0])
    frame, _ = one.seal_signed(b"x", purpose="question", key=CARDNET_KEY, now_ms=NOW)
    assert other.open(frame, now_ms=NOW, signer=CARDNET_KEY.public).payload == b"x"
    assert other.open(one.close(now_ms=NOW), now_ms=NOW).kind is Kind.END, "it has no payload that could be signed"


def test_where_signatures_are_agreed_there_are_no_chunks() -> None:
    """They carry no statement; an end that seals them all the same is not believed."""
    one, other = sessions(SIGNED)
    with pytest.raises(ValueError, match="seal_signed"):
        one.seal_chunk(b"part", stream=bytes(8), index=0, final=True, purpose="list", now_ms=NOW)
    assert one.status().sent == 0
    refuse(other, one._seal(Kind.CHUNK, "list", NOW, bytes(16) + b"\x01", b"unsigned"))


def test_a_statement_made_for_another_frame_does_not_fit() -> None:
    """Sealed again by who holds the session's keys: the signature names session, sequence and purpose."""
    one, other = sessions()
    _, item = one.seal_signed(b"yes", purpose="question", key=BROKER_KEY, now_ms=NOW)
    again = one._seal(Kind.SIGNED, "question", NOW, frames.join_signed(item.statement, item.signature), b"yes")
    refuse(other, again)
    refuse(other, one._seal(Kind.SIGNED, "question", NOW, b"", b"\xff\xff"))


# ------------------------------------------------------------------------------------------------- secrets


def test_a_session_shows_ids_and_counts_only_and_is_not_copied() -> None:
    one, _ = sessions()
    secrets = [bytes(one._current.agreed.send._key._key), one._current.agreed.export.reveal(), share().value]
    text = repr(one) + str(one.facts()) + repr(one.status()) + repr(one._current.agreed)
    assert one.session_id in text and all(
        secret.hex() not in text and repr(secret)[2:-1] not in text for secret in secrets
    )
    for copier in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            copier(one)
    opened = sessions()[1]
    assert "question" not in repr(opened)


def test_payloads_are_not_shown() -> None:
    one, other = sessions()
    opened = other.open(seal(one, b"secret words"), now_ms=NOW)
    assert "secret words" not in repr(opened)


def test_under_pqc_only_frames_say_that_no_qkd_key_was_used() -> None:
    one, other = sessions(SessionTerms(Policy.PQC_ONLY))
    opened = other.open(seal(one), now_ms=NOW)
    assert (opened.key_ids, opened.provenance) == ((), "") and one.facts()["key_id"] == ""
    renew(one, other, None)
    assert take(other, seal(one)) == b"question"


def test_purposes_and_sizes_a_frame_cannot_carry_are_mistakes() -> None:
    one, _ = sessions()
    for purpose in ("", "Question", "x" * 65, "a b", "1"):
        with pytest.raises(ValueError):
            one.seal(b"", purpose=purpose, now_ms=NOW)
    with pytest.raises(ValueError):
        one.seal(bytes((16 << 20) + 1), purpose="question", now_ms=NOW)
    assert one.status().sent == 0

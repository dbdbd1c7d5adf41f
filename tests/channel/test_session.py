"""Sealed frames: one refusal for everything wrong, nothing accepted twice, the end, what was signed."""

from __future__ import annotations

import copy
import json
import pickle
import struct
import threading
from dataclasses import replace

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
    FaultyLink,
    exchange,
    flips,
    refuse_frame,
    renew,
    seal,
    sessions,
    share,
    take,
)
from workbench.channel import frame as frames
from workbench.channel.frame import Kind, verify_signed_item
from workbench.channel.session import MAX_REFUSED, SealedSession
from workbench.channel.session_state import Window
from workbench.channel.terms import SUITES, Order, Policy, SessionTerms
from workbench.crypto import sm3
from workbench.errors import Refused, VerificationError

STRICT = replace(HYBRID, order=Order.STRICT)
SIGNED = replace(HYBRID, signed=True)


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
            refuse_frame(other, changed)
    assert other.open(frame, now_ms=NOW).kind.name.lower() == kind, "the frame itself is still welcome"


def test_a_frame_cut_or_continued_is_refused() -> None:
    one, other = sessions()
    frame = seal(one)
    for wrong in [*(frame[:size] for size in range(len(frame))), frame + b"\x00", frame + frame]:
        refuse_frame(other, wrong)
    assert take(other, frame) == b"question"


def test_a_frame_counts_once() -> None:
    one, other = sessions()
    numbered = [seal(one, b"%d" % number) for number in range(70)]
    for frame in numbered:
        take(other, frame)
    for frame in numbered:
        refuse_frame(other, frame)


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
        refuse_frame(other, wrong)


def test_frames_of_another_session_are_refused_whoever_made_them() -> None:
    (one, other), (third, fourth) = sessions(), sessions()
    refuse_frame(other, seal(third))
    refuse_frame(fourth, seal(one))
    moved = bytearray(seal(third))
    moved[6:22] = bytes.fromhex(other.session_id)
    refuse_frame(other, bytes(moved))


def test_an_end_does_not_open_what_it_sealed() -> None:
    one, _ = sessions()
    refuse_frame(one, seal(one))


def test_a_frame_for_another_purpose_is_refused() -> None:
    one, other = sessions()
    frame = seal(one)
    refuse_frame(other, frame, purpose="answer")
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
        refuse_frame(other, wrong)
        assert len(calls) == 1


def test_a_session_breaks_after_too_many_refusals_and_stays_broken() -> None:
    one, other = sessions()
    good = seal(one)
    for _ in range(MAX_REFUSED):
        refuse_frame(other, b"noise")
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
            refuse_frame(other, b"noise")
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
            assert window.missing == sum(one not in seen for one in range(1, max(seen) + 1))
            assert window.lost == sum(one not in seen for one in range(1, max(seen) - 64 + 1))


def test_frames_may_overtake_one_another_by_63_and_no_more() -> None:
    one, other = sessions()
    numbered = [seal(one, b"%d" % number) for number in range(65)]
    take(other, numbered[64])
    refuse_frame(other, numbered[0])
    for frame in reversed(numbered[1:64]):
        take(other, frame)
    assert (other.status().accepted, other.status().missing) == (64, 1)


def test_in_strict_order_only_the_next_frame_is_accepted() -> None:
    one, other = sessions(STRICT)
    numbered = [seal(one, b"%d" % number) for number in range(4)]
    refuse_frame(other, numbered[1])
    take(other, numbered[0])
    refuse_frame(other, numbered[0])
    refuse_frame(other, numbered[2])
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
    refuse_frame(other, seal(one))
    refuse_frame(other, end)
    one, other = sessions()
    end = one.close(now_ms=NOW)
    one._end_sent = False
    take(other, seal(one))
    refuse_frame(other, end)


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
    refuse_frame(other, one._seal(Kind.DATA, "question", NOW, b"", b"unsigned"))
    refuse_frame(other, one.seal_signed(b"x", purpose="question", key=CARDNET_KEY, now_ms=NOW)[0])
    frame, _ = one.seal_signed(b"x", purpose="question", key=CARDNET_KEY, now_ms=NOW)
    assert other.open(frame, now_ms=NOW, signer=CARDNET_KEY.public).payload == b"x"
    assert other.open(one.close(now_ms=NOW), now_ms=NOW).kind is Kind.END, "it has no payload that could be signed"


def test_where_signatures_are_agreed_there_are_no_chunks() -> None:
    """They carry no statement; an end that seals them all the same is not believed."""
    one, other = sessions(SIGNED)
    with pytest.raises(ValueError, match="seal_signed"):
        one.seal_chunk(b"part", stream=bytes(8), index=0, final=True, purpose="list", now_ms=NOW)
    assert one.status().sent == 0
    refuse_frame(other, one._seal(Kind.CHUNK, "list", NOW, bytes(16) + b"\x01", b"unsigned"))


def test_a_statement_made_for_another_frame_does_not_fit() -> None:
    """Sealed again by who holds the session's keys: the signature names session, sequence and purpose."""
    one, other = sessions()
    _, item = one.seal_signed(b"yes", purpose="question", key=BROKER_KEY, now_ms=NOW)
    again = one._seal(Kind.SIGNED, "question", NOW, frames.join_signed(item.statement, item.signature), b"yes")
    refuse_frame(other, again)
    refuse_frame(other, one._seal(Kind.SIGNED, "question", NOW, b"", b"\xff\xff"))


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

"""Streams over a session and sealed files: order, and an end that cannot be cut off unseen."""

from __future__ import annotations

import random as plain_random
from dataclasses import replace

import gmssl_pyx  # type: ignore[import-untyped]  # its stubs lack the py.typed mark
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given, settings
from hypothesis import strategies as st

from session_world import BANK_KEY, HYBRID, NOW, flips, renew, sessions, share
from workbench.channel.files import FileHeader, FileOpener, FileSealer, parse_header
from workbench.channel.session import SealedSession
from workbench.channel.session_state import Limits
from workbench.channel.stream import StreamOpener, StreamSealer, seal_stream
from workbench.crypto import gcm, random
from workbench.errors import KeyUnavailable, VerificationError

DATA = random.SeededSource(b"stream")(5000)


def refuse(opener: StreamOpener, chunk: object) -> None:
    with pytest.raises(VerificationError) as caught:
        opener.accept(chunk)  # type: ignore[arg-type]  # what comes is the test's
    assert caught.value.code == "FRAME_REFUSED"


def opened_chunks(one: SealedSession, other: SealedSession, parts: int) -> list[object]:
    sealer = StreamSealer(one, purpose="list")
    return [
        other.open(sealer.seal(b"%d" % number, now_ms=NOW, final=number == parts - 1), now_ms=NOW)
        for number in range(parts)
    ]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.binary(max_size=900), max_size=8), st.integers(1, 700), st.integers(0, 2**32))
def test_a_stream_arrives_whole_in_whatever_order_its_frames_come(parts: list[bytes], size: int, seed: int) -> None:
    one, other = sessions() if PAIR[0].status().sent > 3000 else PAIR
    frames = list(seal_stream(one, parts, purpose="list", clock=lambda: NOW, chunk_bytes=size))
    if len(frames) > 60:
        frames = list(seal_stream(one, parts, purpose="list", clock=lambda: NOW, chunk_bytes=700))
    for block in range(0, len(frames), 40):  # within the window
        part = frames[block : block + 40]
        plain_random.Random(seed).shuffle(part)
        frames[block : block + 40] = part
    opener, arrived = StreamOpener(purpose="list"), []
    for frame in frames:
        arrived += opener.accept(other.open(frame, now_ms=NOW))
    opener.finish()
    assert b"".join(arrived) == b"".join(parts)


PAIR = sessions()


def test_a_stream_cut_before_its_end_is_noticed() -> None:
    chunks = opened_chunks(*sessions(), 5)
    for kept in ([], chunks[:1], chunks[:4], [*chunks[:2], *chunks[3:]], chunks[4:]):
        opener = StreamOpener(purpose="list")
        for chunk in kept:
            opener.accept(chunk)  # type: ignore[arg-type]
        assert not opener.complete
        with pytest.raises(VerificationError) as caught:
            opener.finish()
        assert caught.value.code == "STREAM_CUT" and "不完整" in caught.value.zh


def test_chunks_that_do_not_belong_here_are_refused() -> None:
    one, other = sessions()
    chunks, strange = opened_chunks(one, other, 4), opened_chunks(one, other, 4)
    opener = StreamOpener(purpose="list")
    assert opener.accept(chunks[0]) == [b"0"]  # type: ignore[arg-type]
    refuse(opener, strange[1])
    refuse(opener, chunks[0])
    refuse(opener, replace(chunks[1], purpose="other"))  # type: ignore[type-var]
    refuse(opener, replace(chunks[1], index=65))  # type: ignore[type-var]
    refuse(opener, other.open(one.seal(b"1", purpose="list", now_ms=NOW), now_ms=NOW))
    assert opener.accept(chunks[2]) == []  # type: ignore[arg-type]
    refuse(opener, chunks[2])
    refuse(opener, replace(chunks[1], final=True))  # type: ignore[type-var]
    assert opener.accept(chunks[3]) == []  # type: ignore[arg-type]
    refuse(opener, replace(chunks[3], index=4, final=False))  # type: ignore[type-var]
    assert opener.accept(chunks[1]) == [b"1", b"2", b"3"]  # type: ignore[arg-type]
    opener.finish()


def test_a_stream_goes_on_across_a_renewal_in_both_directions() -> None:
    one, other = sessions(limits=Limits(records=8))
    there, back = StreamSealer(one, purpose="list"), StreamSealer(other, purpose="list")
    opened: dict[str, list[bytes]] = {"there": [], "back": []}
    openers = {"there": StreamOpener(purpose="list"), "back": StreamOpener(purpose="list")}
    key, renewals = 2, 0
    for number in range(21):
        if one.rekey_due(NOW) or other.rekey_due(NOW):
            with_frames_under_way = there.seal(b"under way", now_ms=NOW)
            renew(one, other, share(key))
            key, renewals = key + 1, renewals + 1
            opened["there"] += openers["there"].accept(other.open(with_frames_under_way, now_ms=NOW))
        opened["there"] += openers["there"].accept(
            other.open(there.seal(b"t%d" % number, now_ms=NOW, final=number == 20), now_ms=NOW)
        )
        opened["back"] += openers["back"].accept(
            one.open(back.seal(b"b%d" % number, now_ms=NOW, final=number == 20), now_ms=NOW)
        )
    assert renewals >= 2 and openers["there"].complete and openers["back"].complete
    assert [part for part in opened["there"] if part != b"under way"] == [b"t%d" % number for number in range(21)]
    assert opened["back"] == [b"b%d" % number for number in range(21)]


def test_a_stream_waits_where_it_is_while_there_is_no_key() -> None:
    one, other = sessions(limits=Limits(records=1))
    sealer, opener = StreamSealer(one, purpose="list"), StreamOpener(purpose="list")
    opener.accept(other.open(sealer.seal(b"a", now_ms=NOW), now_ms=NOW))
    with pytest.raises(KeyUnavailable):
        sealer.seal(b"b", now_ms=NOW, final=True)
    renew(one, other, share(2))
    assert opener.accept(other.open(sealer.seal(b"b", now_ms=NOW, final=True), now_ms=NOW)) == [b"b"]
    opener.finish()
    with pytest.raises(ValueError, match="ended"):
        sealer.seal(b"c", now_ms=NOW)


# ------------------------------------------------------------------------------------------------------ files


def sealed_file(data: bytes = DATA, *, piece: int = 777, secret: bytes = share().value, **changes: object) -> bytes:
    arguments = {"key_id": "k-1", "provenance": "simulated", "purpose": "audience-file", "chunk_bytes": 1024, **changes}
    sealer = FileSealer(secret, **arguments)  # type: ignore[arg-type]  # test shorthand
    return (
        b"".join(sealer.update(data[place : place + piece]) for place in range(0, len(data), piece)) + sealer.finish()
    )


def open_file(
    sealed: bytes, *, piece: int = 500, secret: bytes = share().value, purpose: str = "audience-file"
) -> bytes:
    opener = FileOpener(lambda header: secret, purpose=purpose)
    plain = b"".join(opener.update(sealed[place : place + piece]) for place in range(0, len(sealed), piece))
    return plain + opener.finish()


def refuse_file(sealed: bytes, **arguments: object) -> None:
    with pytest.raises(VerificationError) as caught:
        open_file(sealed, **arguments)  # type: ignore[arg-type]
    assert caught.value.code == "FILE_REFUSED"


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 5000), st.integers(1, 3000), st.integers(1, 3000), st.sampled_from(list(gcm.CipherName)))
def test_a_file_opens_to_the_same_however_it_is_read(
    size: int, written: int, read: int, cipher: gcm.CipherName
) -> None:
    sealed = sealed_file(DATA[:size], piece=written, cipher=cipher)
    assert open_file(sealed, piece=read) == DATA[:size]
    chunks = max(1, -(-size // 1024))
    assert len(sealed) == 42 + 4 + 10 + 14 + size + 16 * chunks
    assert size < 16 or DATA[:16] not in sealed


def test_the_first_chunk_is_what_the_document_says_computed_by_another_library() -> None:
    sealed = sealed_file(DATA, source=random.SeededSource(b"file"))
    salt = random.SeededSource(b"file")(32)
    header = b"WBFS\x01\x01" + (1024).to_bytes(4, "big") + salt + b"\x03k-1\x09simulated\x0daudience-file"
    context = hashes.Hash(hashes.SM3())
    context.update(header)
    info = b"workbench/v1/file/sm4-gcm\x00" + context.finalize()
    made = HKDF(hashes.SM3(), 20, salt=salt, info=info).derive(share().value)
    nonce = made[16:] + b"\x00" + bytes(7)
    # That library takes no empty associated data; its CTR mode gives the ciphertext, the tag is checked by opening.
    counter = nonce + (2).to_bytes(4, "big")
    assert sealed.startswith(header)
    assert sealed[len(header) : len(header) + 1024] == gmssl_pyx.sm4_ctr_encrypt(made[:16], counter, DATA[:1024])


def test_every_changed_byte_of_a_small_file_is_refused() -> None:
    sealed = sealed_file(DATA[:40])
    for wrong in flips(sealed):
        refuse_file(wrong)
    for size in range(len(sealed)):
        refuse_file(sealed[:size])
    refuse_file(sealed + b"\x00")
    assert open_file(sealed) == DATA[:40]


def test_a_file_cut_at_a_chunk_or_with_chunks_moved_is_refused() -> None:
    sealed = sealed_file(DATA[:4096])
    start, size = len(sealed) - 4 * 1040, 1040
    chunks = [sealed[start + number * size : start + (number + 1) * size] for number in range(4)]
    other = sealed_file(DATA[:4096])
    for wrong in (
        chunks[:3], [chunks[1], chunks[0], *chunks[2:]], [chunks[0], *chunks[2:]], [*chunks, chunks[3]],
        [*chunks[:3], other[start + 3 * size :]],
    ):  # fmt: skip
        refuse_file(sealed[:start] + b"".join(wrong))
    refuse_file(other[:start] + sealed[start:])


def test_a_file_that_could_have_ended_a_chunk_earlier_is_refused() -> None:
    """One spelling only: the last chunk of a file with content is not empty."""
    sealer = FileSealer(share().value, key_id="k-1", provenance="simulated", purpose="audience-file", chunk_bytes=1024)
    sealed = sealer.update(b"") + sealer._chunks.seal(DATA[:1024], final=False) + sealer.finish()
    refuse_file(sealed)


def test_a_file_needs_its_secret_and_its_purpose() -> None:
    sealed = sealed_file()
    refuse_file(sealed, secret=share(2).value)
    refuse_file(sealed, purpose="another")
    for wrong in (
        {"chunk_bytes": 1023},
        {"chunk_bytes": (16 << 20) + 1},
        {"key_id": ""},
        {"provenance": "quantum"},
        {"purpose": "A"},
    ):
        with pytest.raises(ValueError):
            sealed_file(**wrong)
    with pytest.raises(ValueError):
        sealed_file(secret=b"short")


def test_a_file_s_header_has_one_spelling() -> None:
    header = FileHeader(gcm.CipherName.AES_256_GCM, 4096, bytes(range(32)), "k-1", "", "list")
    encoded = header.format()
    assert parse_header(encoded + b"more") == (header, len(encoded))
    assert all(parse_header(encoded[:size]) is None for size in range(len(encoded)))


def test_a_session_s_export_seals_a_file_for_both_ends() -> None:
    one, other = sessions(HYBRID)
    sealed = sealed_file(secret=one.export("file"), key_id=one.session_id)
    assert open_file(sealed, secret=other.export("file")) == DATA
    assert BANK_KEY.secret_bytes() not in sealed

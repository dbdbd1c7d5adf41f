"""Signed notes, the pair rule, one spelling; docs/protocols/evidence.md sections 5 and 6."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ledger.world import BANK, BROKER, CARDNET, KEYS, PINNED
from workbench.crypto import ed25519
from workbench.domain import checkpoint as notes
from workbench.domain.checkpoint import Checkpoint, Cosignature, SignatureLine
from workbench.domain.party import PartyId
from workbench.errors import VerificationError

HEAD = Checkpoint("evidence", BROKER, 42, bytes(range(32)), bytes(range(32, 64)))
TEXT = notes.format_checkpoint(HEAD)
TIME_S = 1_795_000_000


def pair(party: PartyId, *, head: Checkpoint = HEAD, time_s: int = TIME_S) -> Cosignature:
    keys = KEYS[party]
    return notes.cosign(head, party=party, ed25519_key=keys.ed25519, sm2_key=keys.sm2, time_s=time_s)


LOG_LINE = notes.sign_log(HEAD, KEYS[BROKER].ed25519)
PAIRS = {party: pair(party) for party in (BROKER, BANK, CARDNET)}
NOTE = notes.format_note(TEXT, [LOG_LINE, *notes.cosignature_lines(PAIRS.values())])


def verify(note: str) -> notes.VerifiedNote:
    return notes.verify_note(note, PINNED, project="evidence")


def note_with(*lines: SignatureLine) -> str:
    return notes.format_note(TEXT, lines)


def test_the_text_is_the_document_s_four_lines() -> None:
    assert TEXT == (
        "workbench.example/evidence/broker\n42\n"
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"
        "sm3 ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=\n"
    )
    assert notes.parse_checkpoint(TEXT) == HEAD


def test_signature_lines_are_made_byte_for_byte_as_the_document_says() -> None:
    name = b"workbench.example/evidence/bank"
    plain, national = PAIRS[BANK].ed25519_line, PAIRS[BANK].sm2_line
    keys = PINNED[BANK]
    assert plain.key_id == hashlib.sha256(name + b"\n\x04" + keys.ed25519.raw).digest()[:4]
    assert national.key_id == hashlib.sha256(name + b"\n\xffworkbench/v1/sm2-cosign\n" + keys.sm2.raw).digest()[:4]
    message = b"cosignature/v1\ntime 1795000000\n" + TEXT.encode()
    assert plain.payload[:8] == national.payload[:8] == TIME_S.to_bytes(8, "big")
    keys.ed25519.verify(message, plain.payload[8:])
    keys.sm2.verify(b"workbench/v1/cosign\nbank\n\n" + message, national.payload[8:])
    assert len(plain.payload) == len(national.payload) == 72


def test_the_published_note_verifies_with_the_same_rules() -> None:
    """C2SP signed-note's own example: key id, line form and signature agree with what we compute."""
    vector = json.loads((Path(__file__).parents[1] / "vectors" / "signed_note.json").read_text())
    text, lines = notes.split_note(vector["note"])
    name, key_id, encoded = vector["vkey"].split("+", 2)
    public = ed25519.PublicKey(base64.b64decode(encoded)[1:])
    assert lines[0].name == name
    assert lines[0].key_id.hex() == key_id == notes.log_key_id(name, public).hex()
    public.verify(text.encode(), lines[0].payload)


def test_a_full_note_names_every_cosigner_and_its_time() -> None:
    verified = verify(NOTE)
    assert verified.checkpoint == HEAD
    assert {party: one.time_s for party, one in verified.cosignatures.items()} == dict.fromkeys(PAIRS, TIME_S)
    assert verified.unknown_lines == 0
    assert verified.format() == NOTE


def test_a_note_without_cosignatures_has_none() -> None:
    assert verify(note_with(LOG_LINE)).cosignatures == {}


def test_lines_of_unknown_keys_count_for_nothing() -> None:
    """Room for further signature types: C2SP tells verifiers to ignore them."""
    stranger = SignatureLine("witness.example/w1", b"\x01\x02\x03\x04", b"\x06" * 2428)
    verified = verify(note_with(LOG_LINE, stranger, *notes.cosignature_lines([PAIRS[BANK]])))
    assert set(verified.cosignatures) == {BANK}
    assert verified.unknown_lines == 1


@pytest.mark.parametrize("half", ["ed25519_line", "sm2_line"])
def test_half_a_pair_refuses_the_whole_note(half: str) -> None:
    with pytest.raises(VerificationError) as refused:
        verify(note_with(LOG_LINE, getattr(PAIRS[BANK], half)))
    assert refused.value.code == "CHECKPOINT_SIGNATURE"
    assert refused.value.details["party"] == "bank"


def test_two_lines_with_different_times_are_refused() -> None:
    later = pair(BANK, time_s=TIME_S + 1)
    for first, second in [(PAIRS[BANK].ed25519_line, later.sm2_line), (later.ed25519_line, PAIRS[BANK].sm2_line)]:
        with pytest.raises(VerificationError) as refused:
            verify(note_with(LOG_LINE, first, second))
        assert refused.value.code == "CHECKPOINT_SIGNATURE"


def test_a_pair_over_another_text_is_refused() -> None:
    """Neither another size, nor another root of either tree, nor another log can borrow a signature."""
    others = [
        Checkpoint("evidence", BROKER, 43, HEAD.sha256_root, HEAD.sm3_root),
        Checkpoint("evidence", BROKER, 42, HEAD.sm3_root, HEAD.sm3_root),
        Checkpoint("evidence", BROKER, 42, HEAD.sha256_root, HEAD.sha256_root),
        Checkpoint("evidence", CARDNET, 42, HEAD.sha256_root, HEAD.sm3_root),
        Checkpoint("rehearsal", BROKER, 42, HEAD.sha256_root, HEAD.sm3_root),
    ]
    for other in others:
        stolen = pair(BANK, head=other)
        renamed = Cosignature(
            BANK,
            TIME_S,
            SignatureLine(PAIRS[BANK].ed25519_line.name, PAIRS[BANK].ed25519_line.key_id, stolen.ed25519_line.payload),
            SignatureLine(PAIRS[BANK].sm2_line.name, PAIRS[BANK].sm2_line.key_id, stolen.sm2_line.payload),
        )
        with pytest.raises(VerificationError):
            verify(note_with(LOG_LINE, *notes.cosignature_lines([renamed])))


def test_one_party_s_pair_does_not_pass_for_another_s() -> None:
    def under(name_of: PartyId, keys_of: PartyId) -> list[SignatureLine]:
        mine, theirs = PAIRS[name_of], PAIRS[keys_of]
        return [
            SignatureLine(mine.ed25519_line.name, mine.ed25519_line.key_id, theirs.ed25519_line.payload),
            SignatureLine(mine.sm2_line.name, mine.sm2_line.key_id, theirs.sm2_line.payload),
        ]

    with pytest.raises(VerificationError) as refused:
        verify(note_with(LOG_LINE, *under(BANK, CARDNET)))
    assert refused.value.details["party"] == "bank"


def test_doubled_and_missing_lines_are_refused() -> None:
    lines = notes.cosignature_lines([PAIRS[BANK]])
    for bad in ([LOG_LINE, LOG_LINE], [LOG_LINE, *lines, lines[0]], lines, [LOG_LINE, *lines, *lines]):
        with pytest.raises(VerificationError) as refused:
            verify(note_with(*bad))
        assert refused.value.code == "CHECKPOINT_SIGNATURE"


def test_a_log_signature_by_another_key_is_refused() -> None:
    forged = SignatureLine(LOG_LINE.name, LOG_LINE.key_id, KEYS[BANK].ed25519.sign(TEXT.encode()))
    own_name = notes.sign_log(HEAD, KEYS[BANK].ed25519)
    for line in (forged, own_name):
        with pytest.raises(VerificationError):
            verify(note_with(line))


def test_the_log_signature_cannot_serve_as_a_cosignature() -> None:
    """One key signs both; the signed texts must never be the same bytes."""
    assert not notes.cosigned_message(TEXT, TIME_S).startswith(notes.ORIGIN_HOST.encode())
    payload = TIME_S.to_bytes(8, "big") + LOG_LINE.payload
    own = PAIRS[BROKER]
    fake = SignatureLine(own.ed25519_line.name, own.ed25519_line.key_id, payload)
    with pytest.raises(VerificationError):
        verify(note_with(LOG_LINE, fake, own.sm2_line))


@settings(max_examples=400, deadline=None)
@given(st.integers(0, len(NOTE.encode()) - 1), st.integers(1, 255))
def test_every_one_byte_change_of_a_note_is_refused(place: int, change: int) -> None:
    data = bytearray(NOTE.encode())
    data[place] ^= change
    try:
        note = data.decode()
    except UnicodeDecodeError:
        return  # no reader gets that far: notes are text
    with pytest.raises(VerificationError):
        verify(note)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n42\n", "\n042\n"),
        lambda text: text.replace("\n42\n", "\n+42\n"),
        lambda text: text.replace("\n42\n", "\n0\n"),
        lambda text: text.replace("\n42\n", "\n\n"),
        lambda text: text.replace("\n42\n", "\n9007199254740992\n"),
        lambda text: text.replace("sm3 ", "sm3  "),
        lambda text: text.replace("sm3 ", ""),
        lambda text: text + "more\n",
        lambda text: text[:-1],
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("Hh8=", "Hh9="),
        lambda text: text.replace("Hh8=", "Hh8"),
        lambda text: text.replace("AAEC", "AA==AAEC"),
        lambda text: text.replace("workbench.example", "Workbench.example"),
        lambda text: text.replace("/evidence/", "/evidence/x/"),
        lambda text: text.replace("/broker", "/Broker"),
        lambda text: "\n".join(text.split("\n")[:3]) + "\n",
        lambda text: "",
    ],
)
def test_other_spellings_of_a_checkpoint_are_refused(change: Callable[[str], str]) -> None:
    with pytest.raises(VerificationError) as refused:
        notes.parse_checkpoint(change(TEXT))
    assert refused.value.code == "CHECKPOINT"


def test_size_zero_has_no_checkpoint() -> None:
    with pytest.raises(ValueError, match="at least one entry"):
        notes.format_checkpoint(Checkpoint("evidence", BROKER, 0, bytes(32), bytes(32)))


def test_hashes_of_another_length_have_no_checkpoint() -> None:
    for sha256, sm3 in [(bytes(31), bytes(32)), (bytes(32), bytes(33)), (b"", bytes(32))]:
        with pytest.raises(ValueError, match="32 bytes"):
            notes.format_checkpoint(Checkpoint("evidence", BROKER, 1, sha256, sm3))
        lines = TEXT.split("\n")
        lines[2], lines[3] = base64.b64encode(sha256).decode(), "sm3 " + base64.b64encode(sm3).decode()
        with pytest.raises(VerificationError):
            notes.parse_checkpoint("\n".join(lines))


@pytest.mark.parametrize(
    "block",
    [
        "",
        "\n",
        "— a\n",
        "- a AAAAAAA=\n",
        "— a b c\n",
        "— a AAAA\n",
        "— a+b AAAAAAA=\n",
        "— a AAAAAAA=",
        "— a AAAAAAA= \n",
    ],
)
def test_odd_signature_lines_are_refused(block: str) -> None:
    with pytest.raises(VerificationError):
        notes.parse_lines(block)


def test_a_flood_of_lines_is_refused() -> None:
    stranger = notes.format_line(SignatureLine("w.example/1", b"abcd", b"x"))
    assert len(notes.parse_lines(stranger * 64)) == 64
    with pytest.raises(VerificationError):
        notes.parse_lines(stranger * 65)


def test_verifier_keys_have_the_c2sp_form() -> None:
    for text, kind in [
        (notes.log_vkey("evidence", PINNED[BANK]), b"\x01"),
        (notes.cosigner_vkey("evidence", PINNED[BANK]), b"\x04"),
    ]:
        name, key_id, encoded = text.split("+", 2)
        material = base64.b64decode(encoded)
        assert material == kind + PINNED[BANK].ed25519.raw
        assert hashlib.sha256(name.encode() + b"\n" + material).hexdigest()[:8] == key_id


def test_projects_and_times_keep_to_the_document() -> None:
    for project in ("", "Evidence", "a/b", "a b", "1a"):
        with pytest.raises(ValueError, match="project"):
            notes.origin_of(project, BROKER)
    with pytest.raises(ValueError, match="1970"):
        pair(BANK, time_s=0)

"""ML-DSA-44 co-signatures: docs/protocols/ledger.md section 1, in checkpoints, between nodes, and in what counts as sealed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.ledger import world as worlds
from tests.ledger.world import BANK, BROKER, CARDNET, KEYS, PARTIES, PINNED, World
from workbench.crypto import mldsa
from workbench.crypto.random import SeededSource
from workbench.domain import checkpoint as notes
from workbench.domain.checkpoint import Checkpoint, SignatureLine, format_note, split_note, verify_note
from workbench.domain.policy import Requirement
from workbench.errors import VerificationError
from workbench_ledger.policy import seal_of

THIRD = {party: mldsa.generate(SeededSource(b"third key of " + party.encode())) for party in PARTIES}
WITH_THIRD = {party: replace(one, mldsa44=THIRD[party].public) for party, one in PINNED.items()}
HEAD = Checkpoint("evidence", BROKER, 7, bytes(range(32)), bytes(range(32, 64)))


@pytest.fixture
def signing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Three nodes that write and know the third line."""
    monkeypatch.setattr(worlds, "PINNED", WITH_THIRD)
    made = World(tmp_path / "world")
    for party, node in made.nodes.items():
        node.close()
        node.keys = replace(KEYS[party], mldsa44=THIRD[party])
        node.open()
    yield made
    made.close()


def cosigned(*parties: object, time_s: int = 1_700_000_000) -> str:
    """A note of the broker's head with log line, and all three lines of each of these."""
    lines = [notes.sign_log(HEAD, KEYS[BROKER].ed25519)]
    for party in parties:
        keys = KEYS[party]  # type: ignore[index]  # a party id
        lines += notes.cosign(
            HEAD, party=party, ed25519_key=keys.ed25519, sm2_key=keys.sm2, time_s=time_s, mldsa_key=THIRD[party]  # type: ignore[arg-type,index]
        ).lines
    return format_note(notes.format_checkpoint(HEAD), lines)


def test_the_signed_bytes_and_the_key_id_are_those_of_c2sp() -> None:
    """Written out from tlog-cosignature once more, without the code under test."""
    name, origin = b"workbench.example/evidence/bank", b"workbench.example/evidence/broker"
    expected = (
        b"subtree/v1\n\x00" + bytes([len(name)]) + name + (1_700_000_000).to_bytes(8, "big")
        + bytes([len(origin)]) + origin + bytes(8) + (7).to_bytes(8, "big") + bytes(range(32))
    )  # fmt: skip
    assert notes.mldsa_message(name.decode(), HEAD, 1_700_000_000) == expected
    key_id = hashlib.sha256(name + b"\n\x06" + THIRD[BANK].public.raw).digest()[:4]
    assert notes.mldsa_key_id(name.decode(), THIRD[BANK].public) == key_id
    assert notes.mldsa_vkey("evidence", WITH_THIRD[BANK]).startswith(f"{name.decode()}+{key_id.hex()}+B")
    line = next(one for one in split_note(cosigned(BANK))[1] if one.key_id == key_id)
    assert len(line.payload) == 8 + 2420
    THIRD[BANK].public.verify(expected, line.payload[8:])


def test_a_note_with_three_lines_of_everybody_verifies_and_has_one_spelling() -> None:
    note = cosigned(*PARTIES)
    found = verify_note(note, WITH_THIRD, project="evidence")
    assert all(found.cosignatures[party].mldsa_line is not None for party in PARTIES)
    assert found.unknown_lines == 0
    assert found.format() == note
    assert len(note.encode()) < 12_000


def test_who_does_not_know_the_key_ignores_and_counts_its_lines() -> None:
    found = verify_note(cosigned(*PARTIES), PINNED, project="evidence")
    assert set(found.cosignatures) == set(PARTIES)
    assert found.unknown_lines == 3
    assert all(one.mldsa_line is None for one in found.cosignatures.values())


def test_a_pair_without_the_line_stays_a_whole_co_signature() -> None:
    keys = KEYS[BANK]
    pair = notes.cosign(HEAD, party=BANK, ed25519_key=keys.ed25519, sm2_key=keys.sm2, time_s=1_700_000_000)
    lines = [notes.sign_log(HEAD, KEYS[BROKER].ed25519), *pair.lines]
    found = verify_note(format_note(notes.format_checkpoint(HEAD), lines), WITH_THIRD, project="evidence")
    assert set(found.cosignatures) == {BANK}


def bad_notes() -> list[tuple[str, str]]:
    """Notes that each break one rule of the third line."""
    text, lines = split_note(cosigned(BANK))
    log, plain, national, third = lines
    flipped = [replace(third, payload=third.payload[:at] + bytes([third.payload[at] ^ 1]) + third.payload[at + 1 :])
               for at in (0, 7, 8, 2000, 2427)]  # fmt: skip
    other = next(one for one in split_note(cosigned(CARDNET))[1] if len(one.payload) > 2000)
    later = next(one for one in split_note(cosigned(BANK, time_s=1_700_000_001))[1] if len(one.payload) > 2000)
    cases = [(f"byte {number}", [log, plain, national, one]) for number, one in enumerate(flipped)]
    cases += [
        ("alone", [log, third]),
        ("without the SM2 line", [log, plain, third]),
        ("twice", [log, plain, national, third, third]),
        ("cut", [log, plain, national, replace(third, payload=third.payload[:-1])]),
        ("another time", [log, plain, national, later]),
        ("another signer's", [log, plain, national, SignatureLine(third.name, third.key_id, other.payload)]),
    ]
    return [(name, format_note(text, chosen)) for name, chosen in cases]


@pytest.mark.parametrize(("name", "note"), bad_notes(), ids=[name for name, _ in bad_notes()])
def test_a_third_line_that_breaks_a_rule_refuses_the_whole_note(name: str, note: str) -> None:
    with pytest.raises(VerificationError) as refused:
        verify_note(note, WITH_THIRD, project="evidence")
    assert (refused.value.code, refused.value.details["party"]) == ("CHECKPOINT_SIGNATURE", "bank")


def test_a_third_line_over_another_root_or_size_does_not_hold() -> None:
    third = split_note(cosigned(BANK))[1][3]
    signed = third.payload[8:]
    name = "workbench.example/evidence/bank"
    for head in (replace(HEAD, size=8), replace(HEAD, sha256_root=bytes(32)), replace(HEAD, log=CARDNET)):
        with pytest.raises(VerificationError):
            THIRD[BANK].public.verify(notes.mldsa_message(name, head, 1_700_000_000), signed)
    # C2SP leaves extension lines out: the SM3 root is the pair's to cover.
    THIRD[BANK].public.verify(notes.mldsa_message(name, replace(HEAD, sm3_root=bytes(32)), 1_700_000_000), signed)


def test_nodes_sign_keep_and_show_the_third_line(signing: World) -> None:
    signing.broker.write(3)
    signing.settle()
    for party in PARTIES:
        note = verify_note(signing.nodes[party].ledger.receipt(BROKER, 1)["checkpoint"], WITH_THIRD, project="evidence")
        assert all(note.cosignatures[one].mldsa_line is not None for one in PARTIES)
        assert signing.nodes[party].ledger.audit().holds


def test_a_node_that_does_not_know_the_keys_goes_on_as_before(signing: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The third line of others is a line of an unknown key there: ignored, never an obstacle."""
    signing.cardnet.close()
    signing.cardnet.keys = KEYS[CARDNET]
    monkeypatch.setattr(worlds, "PINNED", PINNED)
    signing.cardnet.open()
    signing.broker.write(2)
    signing.cardnet.write(2)
    signing.settle()
    assert signing.cardnet.ledger.seal_state(CARDNET, 1, required=[BROKER]).state == "FULL"


def test_where_the_policy_asks_for_it_only_co_signatures_with_the_line_count(signing: World) -> None:
    signing.broker.write(1)
    signing.bank.close()
    signing.bank.keys = KEYS[BANK]  # the bank has switched its third key off
    signing.bank.open()
    signing.settle()
    ledger = signing.broker.ledger
    plain, strict = (Requirement(frozenset({BROKER, BANK}), mldsa=mldsa) for mldsa in (False, True))

    def state(needed: Requirement) -> str:
        with signing.broker.store.read() as reader:
            return seal_of(ledger._context, reader, BROKER, 0, needed).state

    assert (state(plain), state(strict)) == ("FULL", "PENDING")
    with_cardnet = Requirement(frozenset({BROKER, CARDNET}), mldsa=True)
    assert state(with_cardnet) == "FULL"

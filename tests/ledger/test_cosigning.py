"""Mirroring and co-signing between three nodes: the table of docs/protocols/evidence.md section 7, and sections 8 and 5."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from workbench_ledger import messages
from workbench_ledger.mirror import Mirror

from tests.ledger.world import BANK, BROKER, CARDNET, KEYS, PARTIES, PINNED, World
from workbench.domain import checkpoint as notes
from workbench.domain.checkpoint import verify_note
from workbench.domain.envelope import parse_envelope
from workbench.domain.merkle import SHA256, SM3, root_of_leaves
from workbench.errors import NotFound, VerificationError


def request_of(world: World, *, to: str = "bank") -> messages.MirrorRequest:
    sent = world.broker.ledger.next_request(BANK if to == "bank" else CARDNET)
    assert sent is not None
    return messages.parse_request(sent)


def refuse(world: World, request: messages.MirrorRequest | bytes, code: str) -> VerificationError:
    """The bank must refuse this request of the broker, keep nothing of it and sign nothing."""
    before = world.bank.ledger.size(BROKER)
    data = request if isinstance(request, bytes) else messages.format_request(request)
    with pytest.raises(VerificationError) as refused:
        world.bank.ledger.witness(BROKER, data)
    assert refused.value.code == code
    assert world.bank.ledger.size(BROKER) == before
    return refused.value


def test_entries_of_every_log_reach_every_mirror_and_are_signed_by_all(world: World) -> None:
    world.broker.write(5)
    world.bank.write(3)
    world.settle()
    for log, size in ((BROKER, 5), (BANK, 3), (CARDNET, 0)):
        copies = [world.nodes[party].ledger.entry_bodies(log, 0, 100) for party in PARTIES]
        assert copies[0] == copies[1] == copies[2]
        assert [world.nodes[party].ledger.size(log) for party in PARTIES] == [size] * 3
    for party in PARTIES:
        state = world.nodes[party].ledger.seal_state(BROKER, 4, required=[BROKER, BANK])
        assert (state.state, state.cosigners, state.missing) == ("FULL", (BANK, BROKER, CARDNET), ())


def test_both_trees_follow_from_the_bodies(world: World) -> None:
    world.broker.write(37)
    bodies = world.broker.ledger.entry_bodies(BROKER, 0, 37)
    size, sha256, sm3 = world.broker.ledger.roots(BROKER)
    assert size == 37
    assert sha256 == root_of_leaves(SHA256, [SHA256.leaf(body) for body in bodies])
    assert sm3 == root_of_leaves(SM3, [SM3.leaf(body) for body in bodies])


def test_the_checkpoint_covers_both_roots_with_both_signatures_of_everybody(world: World) -> None:
    world.broker.write(4)
    world.settle()
    note = verify_note(world.broker.ledger.own_checkpoint(), PINNED, project="evidence")
    assert set(note.cosignatures) == set(PARTIES)
    assert (note.checkpoint.size, *note.checkpoint.roots) == world.broker.ledger.roots(BROKER)


def test_pending_sealed_and_full_are_told_apart(world: World) -> None:
    world.broker.write(1)

    def state() -> tuple[str, tuple[str, ...]]:
        seal = world.broker.ledger.seal_state(BROKER, 0, required=[BANK])
        return seal.state, seal.missing

    assert state() == ("PENDING", (BANK, BROKER, CARDNET))
    world.exchange(BROKER, CARDNET)
    assert state() == ("PENDING", (BANK,))
    world.exchange(BROKER, BANK)
    assert state() == ("FULL", ())
    world.broker.write(1)
    assert world.broker.ledger.seal_state(BROKER, 1, required=[BANK]).state == "PENDING"
    assert world.broker.ledger.seal_state(BROKER, 0, required=[BANK]).state == "FULL"
    world.exchange(BROKER, BANK)
    seal = world.broker.ledger.seal_state(BROKER, 1, required=[BANK])
    assert (seal.state, seal.missing) == ("SEALED", (CARDNET,))


def test_co_signing_leaves_no_entries_and_comes_to_rest(world: World) -> None:
    """An entry for every co-signature would call for the next co-signature, for ever."""
    for party in PARTIES:
        world.nodes[party].write(2)
    world.settle()
    for party in PARTIES:
        assert world.nodes[party].ledger.size(party) == 2
        assert world.nodes[party].recorded == []
        assert all(world.nodes[party].ledger.next_request(other) is None for other in PARTIES if other != party)


def test_mirrors_learn_each_other_s_co_signatures(world: World) -> None:
    """So that each participant can hand out a receipt with all three without asking anybody."""
    world.broker.write(3)
    world.settle()
    for party in PARTIES:
        note = verify_note(world.nodes[party].ledger.receipt(BROKER, 1)["checkpoint"], PINNED, project="evidence")
        assert set(note.cosignatures) == set(PARTIES)


def test_the_time_of_a_co_signature_is_the_signer_s_own_clock(world: World) -> None:
    world.bank.now_ms += 7_000
    world.broker.write(1)
    world.exchange(BROKER, BANK)
    note = verify_note(world.broker.ledger.own_checkpoint(), PINNED, project="evidence")
    assert note.cosignatures[BANK].time_s - note.cosignatures[BROKER].time_s == 7


def test_an_append_that_is_rolled_back_leaves_both_trees_as_they_were(world: World) -> None:
    world.broker.write(3)
    before = world.broker.ledger.roots(BROKER)

    def fail(tx: object) -> None:
        world.broker.ledger.append(tx, [world.broker.body(3)[0]])  # type: ignore[arg-type]  # the store's transaction
        raise RuntimeError("the change it describes failed")

    with pytest.raises(RuntimeError):
        world.broker.store.write(fail)
    assert world.broker.ledger.roots(BROKER) == before
    world.broker.write(1)
    assert world.broker.ledger.audit().holds


def test_references_name_index_and_leaf(world: World) -> None:
    refs = world.broker.write(3)
    bodies = world.broker.ledger.entry_bodies(BROKER, 0, 3)
    assert [(ref.log, ref.index) for ref in refs] == [(BROKER, 0), (BROKER, 1), (BROKER, 2)]
    assert [ref.leaf for ref in refs] == [SHA256.leaf(body) for body in bodies]


def test_only_envelopes_of_this_log_are_appended(world: World) -> None:
    """Mirrors would refuse anything else for ever, and the log could never be sealed again."""
    foreign = world.bank.body(0)[0]
    with pytest.raises(ValueError, match="not an envelope"):
        world.broker.store.write(lambda tx: world.broker.ledger.append(tx, [foreign]))
    with pytest.raises(VerificationError):
        world.broker.store.write(lambda tx: world.broker.ledger.append(tx, [b"{}"]))
    assert world.broker.ledger.size(BROKER) == 0


def test_an_empty_log_has_no_checkpoint_and_asks_for_nothing(world: World) -> None:
    assert world.broker.ledger.next_request(BANK) is None
    with pytest.raises(NotFound):
        world.broker.ledger.own_checkpoint()
    with pytest.raises(NotFound):
        world.broker.ledger.receipt(BROKER, 0)


# ---- catching up


def test_a_mirror_that_was_away_is_sent_what_it_lacks_in_bounded_steps(world: World) -> None:
    world.broker.write(messages.MAX_BODIES + 700)
    world.exchange(BROKER, CARDNET)
    first = request_of(world)
    assert first.start == 0
    assert len(first.bodies) <= messages.MAX_BODIES
    assert sum(map(len, first.bodies)) <= messages.MAX_BODIES_BYTES
    assert world.exchange(BROKER, BANK) >= 2
    assert world.bank.ledger.roots(BROKER) == world.broker.ledger.roots(BROKER)
    assert world.bank.ledger.audit().holds


def test_a_mirror_that_lost_its_copy_says_from_where_to_send(world: World, tmp_path: Path) -> None:
    world.broker.write(6)
    world.settle()
    world.bank.close()
    for file in world.bank.path.parent.glob("bank.db*"):
        file.unlink()
    world.bank.open()
    world.broker.write(2)
    assert world.exchange(BROKER, BANK) >= 2
    assert world.bank.ledger.size(BROKER) == 8
    assert world.broker.ledger.seal_state(BROKER, 7, required=[BANK]).state == "SEALED"


def test_a_lost_reply_is_made_good_by_the_same_request(world: World) -> None:
    world.broker.write(3)
    request = world.broker.ledger.next_request(BANK)
    assert request is not None
    lost = world.bank.ledger.witness(BROKER, request)
    again = world.bank.ledger.witness(BROKER, request)
    assert messages.parse_reply(again).lines == messages.parse_reply(lost).lines
    world.broker.ledger.accept_reply(BANK, again)
    assert world.broker.ledger.seal_state(BROKER, 2, required=[BANK]).state == "SEALED"


def test_an_old_request_arriving_late_is_answered_without_a_signature(world: World) -> None:
    world.broker.write(3)
    old = world.broker.ledger.next_request(BANK)
    assert old is not None
    world.exchange(BROKER, BANK)
    world.broker.write(2)
    world.exchange(BROKER, BANK)
    reply = messages.parse_reply(world.bank.ledger.witness(BROKER, old))
    assert (reply.signed, reply.held, reply.lines) == (False, 5, "")
    assert world.bank.ledger.conflicts() == []


def test_a_crash_between_holding_and_signing_signs_nothing_that_is_not_held(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.broker.write(4)
    request = world.broker.ledger.next_request(BANK)
    assert request is not None

    def crash(self: Mirror, origin: object, note: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Mirror, "_sign", crash)
        with pytest.raises(KeyboardInterrupt):
            world.bank.ledger.witness(BROKER, request)
    world.bank.close()
    world.bank.open()
    assert world.bank.ledger.size(BROKER) == 4
    with world.bank.store.read() as reader:
        assert reader.execute("SELECT count(*) FROM ledger_cosignature WHERE signer = 'bank'").fetchone()[0] == 0
    world.broker.ledger.accept_reply(BANK, world.bank.ledger.witness(BROKER, request))
    assert world.broker.ledger.seal_state(BROKER, 3, required=[BANK]).state == "SEALED"
    assert world.bank.ledger.audit().holds


def test_nothing_is_signed_before_it_is_on_disk(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second, independent connection must see entries and state at the moment the key is used."""
    world.broker.write(4)
    request = world.broker.ledger.next_request(BANK)
    assert request is not None
    seen: list[tuple[int, int]] = []
    sign = Mirror._sign

    def look(self: Mirror, origin: str, note: notes.VerifiedNote) -> messages.MirrorReply:
        with sqlite3.connect(world.bank.path) as other:
            entries = other.execute("SELECT count(*) FROM ledger_mirror_entry WHERE origin = 'broker'").fetchone()[0]
            state = other.execute("SELECT size FROM ledger_witness_state WHERE origin = 'broker'").fetchone()[0]
        seen.append((entries, state))
        return sign(self, origin, note)  # type: ignore[arg-type]  # a party id

    monkeypatch.setattr(Mirror, "_sign", look)
    world.bank.ledger.witness(BROKER, request)
    assert seen == [(4, 4)]


# ---- row 1: what is refused at the door


def test_malformed_requests_are_refused(world: World) -> None:
    world.broker.write(2)
    sent = world.broker.ledger.next_request(BANK)
    assert sent is not None
    for data in (
        b"",
        b"{}",
        sent[:-1],
        sent + b"\x00",
        sent.replace(b"mirror-request", b"mirror-reQuest", 1),
        sent[:40],
    ):
        refuse(world, data, "MIRROR_REQUEST")


@pytest.mark.parametrize("party", [BANK, CARDNET])
def test_a_log_is_only_taken_from_its_own_institution(world: World, party: str) -> None:
    """The caller comes from the channel; nobody sequences for others."""
    world.broker.write(2)
    sent = world.broker.ledger.next_request(BANK)
    assert sent is not None
    with pytest.raises(VerificationError) as refused:
        world.bank.ledger.witness(party, sent)  # type: ignore[arg-type]  # a party id
    assert refused.value.code == "MIRROR_REQUEST"
    assert world.bank.ledger.size(BROKER) == 0


def test_bodies_that_do_not_lead_to_the_checkpoint_are_refused(world: World) -> None:
    world.broker.write(3)
    request = request_of(world)
    refuse(world, replace(request, bodies=request.bodies[:-1]), "MIRROR_REQUEST")
    refuse(world, replace(request, start=1), "MIRROR_REQUEST")
    refuse(world, replace(request, bodies=[*request.bodies, request.bodies[0]]), "MIRROR_REQUEST")


def test_an_envelope_of_another_log_or_spelling_is_refused(world: World) -> None:
    world.broker.write(3)
    request = request_of(world)
    foreign = world.cardnet.body(0)[0]
    refuse(world, replace(request, bodies=[*request.bodies[:2], foreign]), "MIRROR_REQUEST")
    refuse(world, replace(request, bodies=[*request.bodies[:2], request.bodies[2] + b" "]), "ENVELOPE")


def test_a_swapped_body_is_refused_and_kept_as_a_contradiction(world: World) -> None:
    world.broker.write(3)
    request = request_of(world)
    other = world.broker.body(9)[0]
    refuse(world, replace(request, bodies=[request.bodies[0], other, request.bodies[2]]), "FORK")


def test_a_checkpoint_without_the_log_s_own_signatures_is_refused(world: World) -> None:
    world.broker.write(2)
    request = request_of(world)
    text, lines = notes.split_note(request.checkpoint)
    without_pair = notes.format_note(text, lines[:1])
    refuse(world, replace(request, checkpoint=without_pair), "MIRROR_REQUEST")
    for kept in (lines[1:], lines[:2], (lines[0], lines[2])):
        refuse(world, replace(request, checkpoint=notes.format_note(text, kept)), "CHECKPOINT_SIGNATURE")


def test_a_checkpoint_signed_by_another_institution_is_refused(world: World) -> None:
    world.broker.write(2)
    request = request_of(world)
    head = notes.parse_checkpoint(notes.split_note(request.checkpoint)[0])
    keys = KEYS[CARDNET]
    pair = notes.cosign(head, party=BROKER, ed25519_key=keys.ed25519, sm2_key=keys.sm2, time_s=1)
    forged = notes.format_note(
        notes.format_checkpoint(head), [notes.sign_log(head, keys.ed25519), pair.ed25519_line, pair.sm2_line]
    )
    refuse(world, replace(request, checkpoint=forged), "CHECKPOINT_SIGNATURE")


def test_roots_that_do_not_follow_from_the_bodies_are_refused(world: World) -> None:
    """Each tree counts: a wrong SM3 root is refused though the SHA-256 root is right."""
    world.broker.write(2)
    request = request_of(world)
    head = notes.parse_checkpoint(notes.split_note(request.checkpoint)[0])
    keys = KEYS[BROKER]
    for bad in (replace(head, sm3_root=bytes(32)), replace(head, sha256_root=bytes(32))):
        pair = notes.cosign(bad, party=BROKER, ed25519_key=keys.ed25519, sm2_key=keys.sm2, time_s=1)
        lines = [notes.sign_log(bad, keys.ed25519), pair.ed25519_line, pair.sm2_line]
        refuse(world, replace(request, checkpoint=notes.format_note(notes.format_checkpoint(bad), lines)), "FORK")


def test_refusals_are_recorded_once_for_each_reason_and_size(world: World) -> None:
    world.broker.write(2)
    request = request_of(world)
    bad = replace(request, start=1)
    for _ in range(3):
        refuse(world, bad, "MIRROR_REQUEST")
    refuse(world, b"x", "MIRROR_REQUEST")
    kinds = [kind for kind, _ in world.bank.recorded]
    assert kinds == ["ledger.witness_refused", "ledger.witness_refused"]
    assert world.bank.recorded[0][1] == {"origin": "broker", "code": "MIRROR_REQUEST", "size": "2"}


# ---- as log: what a witness may answer


def test_a_forged_or_half_reply_is_refused_and_seals_nothing(world: World) -> None:
    world.broker.write(2)
    request = world.broker.ledger.next_request(BANK)
    assert request is not None
    reply = messages.parse_reply(world.bank.ledger.witness(BROKER, request))
    first, second = reply.lines.splitlines(keepends=True)
    by_cardnet = messages.parse_reply(world.cardnet.ledger.witness(BROKER, request))
    bad = [
        replace(reply, lines=first),
        replace(reply, lines=second),
        replace(reply, lines=first + second + second),
        replace(reply, lines=by_cardnet.lines),
        replace(reply, witness=CARDNET),
        replace(reply, log=CARDNET),
        replace(reply, size=1, held=1),
        replace(reply, held=99),
        replace(reply, signed=False, lines="", held=99),
    ]
    for one in bad:
        with pytest.raises(VerificationError):
            world.broker.ledger.accept_reply(BANK, messages.format_reply(one))
        assert world.broker.ledger.seal_state(BROKER, 1, required=[BANK]).state == "PENDING"
    for data in (b"", b"{}", messages.format_reply(reply)[:-1]):
        with pytest.raises(VerificationError):
            world.broker.ledger.accept_reply(BANK, data)
    world.broker.ledger.accept_reply(BANK, messages.format_reply(reply))
    assert world.broker.ledger.seal_state(BROKER, 1, required=[BANK]).state == "SEALED"


def test_a_mere_claim_to_hold_more_stops_nothing(world: World) -> None:
    """Otherwise one institution could block another's log."""
    world.broker.write(2)
    world.settle()
    claim = messages.MirrorReply(BANK, BROKER, False, 1_000, 2, "", (), "")
    with pytest.raises(VerificationError):
        world.broker.ledger.accept_reply(BANK, messages.format_reply(claim))
    world.broker.write(1)
    assert world.exchange(BROKER, BANK) == 1


def test_a_witness_that_asks_for_the_same_place_again_does_not_cause_a_loop(world: World) -> None:
    world.broker.write(2)
    request = world.broker.ledger.next_request(BANK)
    assert request is not None
    again = messages.format_reply(messages.MirrorReply(BANK, BROKER, False, 0, 2, "", (), ""))
    with pytest.raises(VerificationError):
        world.broker.ledger.accept_reply(BANK, again, request)


def test_a_mirror_that_asked_by_itself_meanwhile_is_not_blamed_for_the_answer_to_what_was_sent(world: World) -> None:
    """Sending and asking go on side by side after a start: the log knew already what the reply says, and called it odd."""
    log, mirror = world.broker.ledger, world.bank.ledger

    def asks(reply: bytes = b"") -> None:
        """The mirror fetches all there is."""
        while answer := log.exchange.answer_pull(BANK, mirror.exchange.pull_question(BROKER, reply)):
            reply = mirror.witness(BROKER, answer)

    world.broker.write(2)
    old = log.next_request(BANK)  # on its way while the mirror asks
    world.broker.write(2)
    asks()
    assert old is not None
    late = mirror.witness(BROKER, old)
    assert (messages.parse_reply(late).signed, messages.parse_reply(late).held) == (False, 4)
    log.accept_reply(BANK, late, old)
    world.broker.write(1)
    first = log.exchange.answer_pull(BANK, mirror.exchange.pull_question(BROKER))
    world.broker.write(1)
    world.exchange(BROKER, BANK)
    overtaken = mirror.witness(BROKER, first)
    assert (messages.parse_reply(overtaken).signed, messages.parse_reply(overtaken).held) == (False, 6)
    asks(overtaken)
    assert log.seal_state(BROKER, 5, required=[BANK]).state == "SEALED"


def test_messages_have_one_spelling(world: World) -> None:
    world.broker.write(2)
    sent = world.broker.ledger.next_request(BANK)
    assert sent is not None
    assert messages.format_request(messages.parse_request(sent)) == sent
    reply = world.bank.ledger.witness(BROKER, sent)
    assert messages.format_reply(messages.parse_reply(reply)) == reply
    swapped = replace(messages.parse_reply(reply), known=(CARDNET, BANK))
    with pytest.raises(VerificationError):
        messages.parse_reply(messages.format_reply(swapped))


def test_mirrored_envelopes_show_shared_fields_and_hide_committed_ones(world: World) -> None:
    world.broker.write(1)
    world.settle()
    body = world.bank.ledger.entry_bodies(BROKER, 0, 1)[0]
    assert parse_envelope(body).shared["partner"] == "bank"
    with sqlite3.connect(world.bank.path) as copy:
        dump = "\n".join(copy.iterdump()).encode()
    assert bytes.fromhex("11" * 32) not in dump
    assert b"11" * 32 not in dump.lower()


def test_the_start_is_recorded_with_both_roots(world: World) -> None:
    world.broker.write(2)
    world.broker.ledger.start()
    kind, values = world.broker.recorded[-1]
    size, sha256, sm3 = world.broker.ledger.roots(BROKER)
    assert kind == "ledger.started"
    assert values == {"size": str(size), "sha256_root": sha256.hex(), "sm3_root": sm3.hex()}


def test_a_sealed_entry_is_proven_by_the_head_that_seals_it(world: World) -> None:
    """A newer head has as many co-signatures, but not that of the other participant."""
    world.broker.write(1, partner="cardnet")
    world.exchange(BROKER, CARDNET)
    world.broker.write(1, partner="bank")
    world.broker.ledger.own_checkpoint()
    world.exchange(BROKER, BANK)
    ledger = world.broker.ledger
    assert [ledger.seal(BROKER, index).state for index in (0, 1)] == ["SEALED", "SEALED"]
    assert [ledger.proof(BROKER, index).size for index in (0, 1)] == [1, 2]

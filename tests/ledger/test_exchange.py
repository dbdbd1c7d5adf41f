"""Catching up, restoring and passing contradictions on: docs/protocols/ledger.md sections 4 to 6, ledger to ledger."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.ledger.test_attacks import Liar, rolled_back
from tests.ledger.world import BANK, BROKER, CARDNET, KEYS, PARTIES, World
from workbench.crypto import canonical
from workbench.domain import checkpoint as notes
from workbench.domain.party import PartyId
from workbench.errors import PeerError, VerificationError
from workbench.node.restore import Restoring
from workbench_ledger import exchange, mirror


def pull(world: World, mirror: PartyId, log: PartyId, *, limit: int = 50) -> int:
    """The mirror asks until it has everything; how many questions."""
    asking, asked = world.nodes[mirror].ledger, world.nodes[log].ledger
    reply = b""
    for count in range(limit):
        answer = asked.exchange.answer_pull(mirror, asking.exchange.pull_question(log, reply))
        if not answer:
            return count
        reply = asking.witness(log, answer)
    raise AssertionError("pulling does not come to rest")


def tell(world: World, sender: PartyId, receiver: PartyId) -> int:
    """Pass on what the receiver has not been told; how many proofs."""
    untold = world.nodes[sender].ledger.exchange.untold(receiver)
    if untold is None:
        return 0
    world.nodes[receiver].ledger.exchange.hear_conflicts(sender, untold[1])
    world.nodes[sender].ledger.exchange.told(receiver, untold[0])
    return len(untold[0])


def give_back(world: World, mirror: PartyId) -> None:
    """What workbench.node.restore does with one mirror, without a network."""
    desk = world.broker.ledger.exchange
    while (span := desk.wanted()) is not None:
        start, stop = span
        bodies = world.nodes[mirror].ledger.entry_bodies(BROKER, start, min(stop, start + 2))
        desk.stage(start, bodies, mirror)


# ---- asking


def test_a_mirror_that_was_away_asks_for_what_it_lacks_and_signs_it(world: World) -> None:
    """Nothing is sent by the log: the mirror alone does all the asking, after 2,700 entries."""
    world.broker.write(2_700)
    world.exchange(BROKER, CARDNET)
    assert pull(world, BANK, BROKER) >= 2
    assert world.bank.ledger.roots(BROKER) == world.broker.ledger.roots(BROKER)
    assert world.broker.ledger.seal_state(BROKER, 2_699, required=[BANK]).state == "FULL"
    assert pull(world, BANK, BROKER) == 0


def test_a_lost_answer_and_a_repeated_question_change_nothing(world: World) -> None:
    world.broker.write(5)
    question = world.bank.ledger.exchange.pull_question(BROKER)
    first = world.broker.ledger.exchange.answer_pull(BANK, question)
    assert world.broker.ledger.exchange.answer_pull(BANK, question) == first
    assert pull(world, BANK, BROKER) == 1
    world.broker.ledger.exchange.answer_pull(BANK, question)  # arrives late: it only says "from 0 on"
    assert pull(world, BANK, BROKER) <= 1
    assert world.bank.ledger.size(BROKER) == 5


def test_a_mirror_restored_from_an_older_copy_asks_from_where_it_stands(world: World, tmp_path: Path) -> None:
    """The log believes that this mirror has signed everything; the mirror knows better."""
    world.broker.write(4)
    world.settle()
    world.bank.close()
    shutil.copy(world.bank.path, tmp_path / "copy.db")
    world.bank.open()
    world.broker.write(6)
    world.settle()
    restore_file(world, BANK, tmp_path / "copy.db")
    assert world.bank.ledger.size(BROKER) == 4
    assert pull(world, BANK, BROKER) == 1
    assert world.bank.ledger.size(BROKER) == 10


def restore_file(world: World, party: PartyId, copy: Path) -> None:
    node = world.nodes[party]
    node.close()
    for file in node.path.parent.glob(f"{party}.db*"):
        file.unlink()
    shutil.copy(copy, node.path)
    node.path.chmod(0o600)
    node.open()


def test_a_restored_mirror_signs_no_history_that_contradicts_what_it_signed_before(world: World, tmp_path: Path) -> None:
    """Its own co-signatures of before the copy come back with the heads that others show; they bind it again."""
    liar = Liar(world, tmp_path)
    try:
        world.bank.close()
        shutil.copy(world.bank.path, tmp_path / "copy.db")
        world.bank.open()
        liar.show(world.broker.ledger, BANK)
        world.bank.write(1)
        world.exchange(BANK, CARDNET)  # the card network learns the bank's signature of the first history
        restore_file(world, BANK, tmp_path / "copy.db")
        world.cardnet.write(1)
        world.exchange(CARDNET, BANK)
        with pytest.raises(VerificationError) as refused:
            liar.show(liar.other, BANK)
        assert refused.value.code == "FORK"
        assert world.bank.ledger.size(BROKER) == 4
    finally:
        liar.other_store.close()


# ---- held, and restoring


def test_a_mirror_tells_how_much_it_holds_and_proves_it(world: World) -> None:
    world.broker.write(3)
    assert world.broker.ledger.exchange.learn_held(BANK, world.bank.ledger.exchange.held(BROKER)) == 0
    world.settle()
    assert world.broker.ledger.exchange.learn_held(BANK, world.bank.ledger.exchange.held(BROKER)) == 3


def test_a_claim_to_hold_more_without_the_own_signature_is_refused_and_stops_nothing(world: World) -> None:
    world.broker.write(2)
    world.settle()
    honest = exchange.parse_held(world.bank.ledger.exchange.held(BROKER))
    keys = KEYS[BANK]
    head = notes.Checkpoint("evidence", BROKER, 9, bytes(32), bytes(32))
    pair = notes.cosign(head, party=BANK, ed25519_key=keys.ed25519, sm2_key=keys.sm2, time_s=1_700_000_000)
    by_bank = notes.format_note(notes.format_checkpoint(head), [notes.sign_log(head, keys.ed25519), *pair.lines])
    for claim in (
        exchange.Held(BROKER, 9, honest.note),
        exchange.Held(BROKER, 9, by_bank),
        exchange.Held(BROKER, 9, ""),
        exchange.Held(BROKER, 0, honest.note),
        exchange.Held(CARDNET, 2, honest.note),
    ):
        with pytest.raises(VerificationError):
            world.broker.ledger.exchange.learn_held(BANK, exchange.format_held(claim))
    assert world.broker.ledger.exchange.lost() is None
    world.broker.write(1)


def test_a_log_restored_from_an_older_copy_is_told_what_it_lost_and_gets_it_back_before_it_writes(
    world: World, tmp_path: Path
) -> None:
    rolled_back(world, tmp_path)
    ledger = world.broker.ledger
    lost_bodies = world.bank.ledger.entry_bodies(BROKER, 40, 45)
    with pytest.raises(VerificationError) as told:
        ledger.exchange.learn_held(BANK, world.bank.ledger.exchange.held(BROKER))
    assert told.value.code == "ROLLED_BACK"
    assert "lacks 5" in told.value.en
    lost = ledger.exchange.lost()
    assert lost is not None
    assert (lost.size, lost.signed) == (40, 45)
    with pytest.raises(VerificationError) as stopped:
        world.broker.write(1)
    assert stopped.value.code == "ROLLED_BACK"
    give_back(world, CARDNET)
    restored = ledger.exchange.take_staged()
    assert restored is not None
    assert (restored.start, restored.stop, restored.mirrors) == (40, 45, (CARDNET,))
    assert ledger.entry_bodies(BROKER, 40, 45) == lost_bodies
    assert ledger.exchange.lost() is None
    assert ledger.exchange.unfinished() == restored
    written: list[int] = []
    ledger.exchange.finish(restored, lambda tx: written.append(1))
    assert ledger.exchange.unfinished() is None
    world.broker.write(1)
    world.settle()
    assert ledger.seal_state(BROKER, 45, required=[BANK]).state == "FULL"
    assert ledger.audit().holds


def test_entries_that_do_not_give_the_own_signed_roots_are_dropped_and_change_nothing(world: World, tmp_path: Path) -> None:
    rolled_back(world, tmp_path)
    ledger = world.broker.ledger
    with pytest.raises(VerificationError):
        ledger.exchange.learn_held(BANK, world.bank.ledger.exchange.held(BROKER))
    good = world.bank.ledger.entry_bodies(BROKER, 40, 45)
    forged = world.broker.body(42, note="forged")[0]
    before = ledger.roots(BROKER)
    for wrong in ([*good[:2], forged, *good[3:]], [good[1], good[0], *good[2:]], [*good[:4], good[3]]):
        ledger.exchange.stage(40, wrong, BANK)
        with pytest.raises(VerificationError) as refused:
            ledger.exchange.take_staged()
        assert refused.value.code == "FORK"
        assert ledger.roots(BROKER) == before
        assert ledger.exchange.lost() is not None
        ledger.exchange.drop_staged()
    with pytest.raises(VerificationError):
        ledger.exchange.stage(40, [world.bank.body(0)[0]], BANK)  # an envelope of another log
    ledger.exchange.stage(40, good[:3], BANK)
    with pytest.raises(VerificationError):
        ledger.exchange.take_staged()  # not complete
    give_back(world, BANK)
    assert ledger.exchange.take_staged() is not None


def test_entries_written_after_the_copy_stand_in_the_way_and_are_not_dropped(world: World, tmp_path: Path) -> None:
    """Allowed to start alone, the node wrote where the lost entries belong: people decide, the log stays closed."""
    rolled_back(world, tmp_path)
    world.broker.write(2, note="written alone")
    ledger = world.broker.ledger
    with pytest.raises(VerificationError):
        ledger.exchange.learn_held(BANK, world.bank.ledger.exchange.held(BROKER))
    give_back(world, BANK)
    with pytest.raises(VerificationError) as refused:
        ledger.exchange.take_staged()
    assert refused.value.code == "FORK"
    assert ledger.size(BROKER) == 42
    with pytest.raises(VerificationError):
        world.broker.write(1)


def test_a_shut_log_takes_and_sends_nothing_and_still_serves_as_mirror(world: World) -> None:
    world.broker.write(1)
    world.settle()
    world.broker.ledger.shut()
    with pytest.raises(VerificationError) as closed:
        world.broker.write(1)
    assert closed.value.code == "LEDGER_CLOSED"
    assert world.broker.ledger.next_request(BANK) is None
    world.bank.write(2)
    assert world.exchange(BANK, BROKER) == 1
    assert world.broker.ledger.size(BANK) == 2
    world.broker.ledger.open()
    world.broker.write(1)


# ---- contradictions


def test_a_split_view_reaches_everybody_and_everybody_keeps_both_heads(world: World, tmp_path: Path) -> None:
    """The bank saw one history and the card network another; the broker itself is told too."""
    liar = Liar(world, tmp_path)
    try:
        liar.show(world.broker.ledger, BANK)
        liar.show(liar.other, CARDNET)
        world.bank.write(1)
        world.exchange(BANK, CARDNET)
        assert [len(world.nodes[party].ledger.conflicts()) for party in (BANK, BROKER, CARDNET)] == [0, 0, 1]
        assert tell(world, CARDNET, BANK) == 1
        assert tell(world, CARDNET, BROKER) == 1
        heads = set()
        for party in PARTIES:
            kept = world.nodes[party].ledger.conflicts()
            assert [(one.log, one.size, one.problem) for one in kept] == [(BROKER, 5, "SPLIT_VIEW")]
            heads.add(frozenset(notes.split_note(one)[0] for one in (kept[0].held_note, kept[0].offered_note)))
        assert len(heads) == 1
        assert [kind for kind, _ in world.bank.recorded] == ["ledger.conflict"]
        for _ in range(3):  # and it comes to rest: nobody keeps it twice
            for sender in PARTIES:
                for receiver in PARTIES:
                    if sender != receiver:
                        tell(world, sender, receiver)
        assert [len(world.nodes[party].ledger.conflicts()) for party in PARTIES] == [1, 1, 1]
        assert all(world.nodes[party].ledger.exchange.untold(other) is None
                   for party in PARTIES for other in PARTIES if party != other)  # fmt: skip
    finally:
        liar.other_store.close()


def test_two_heads_prove_a_split_view_to_who_holds_neither_history(world: World, tmp_path: Path) -> None:
    liar = Liar(world, tmp_path)
    try:
        liar.show(world.broker.ledger, BANK)
        liar.show(liar.other, CARDNET)
        first = world.bank.ledger.receipt(BROKER, 4)["checkpoint"]
        second = world.cardnet.ledger.receipt(BROKER, 4)["checkpoint"]
        fresh = World(tmp_path / "fresh")
        try:
            proof = exchange.format_conflicts([exchange.ConflictProof(BROKER, first, second)])
            assert fresh.bank.ledger.exchange.hear_conflicts(CARDNET, proof) == 1
            assert fresh.bank.ledger.exchange.hear_conflicts(BROKER, proof) == 0
        finally:
            fresh.close()
    finally:
        liar.other_store.close()


def split_at_different_sizes(world: World, folder: Path) -> Liar:
    """The bank has mirrored eight entries of one history, the card network five of another; the bank has seen both heads."""
    liar = Liar(world, folder)
    world.broker.write(3)
    liar.show(world.broker.ledger, BANK)
    liar.show(liar.other, CARDNET)
    with pytest.raises(VerificationError, match="FORK|differs"):
        world.bank.ledger.observe(world.cardnet.ledger.receipt(BROKER, 4)["checkpoint"])
    return liar


def test_heads_of_different_sizes_prove_a_split_view_to_who_holds_neither_history(world: World, tmp_path: Path) -> None:
    """The card network holds too little to compare the larger head, a newcomer nothing at all."""
    liar = split_at_different_sizes(world, tmp_path)
    try:
        assert tell(world, BANK, CARDNET) == 1
        (kept,) = world.cardnet.ledger.conflicts()
        sizes = [notes.parse_checkpoint(notes.split_note(one)[0]).size for one in (kept.held_note, kept.offered_note)]
        assert (kept.problem, kept.log, sizes) == ("SPLIT_VIEW", BROKER, [8, 5])
        passed_on = world.cardnet.ledger.exchange.untold(BANK)
        assert passed_on is not None
        fresh = World(tmp_path / "fresh")
        try:
            assert fresh.bank.ledger.exchange.hear_conflicts(CARDNET, passed_on[1]) == 1
            assert fresh.bank.ledger.exchange.hear_conflicts(CARDNET, passed_on[1]) == 0
        finally:
            fresh.close()
        for _ in range(2):
            for sender in PARTIES:
                for receiver in PARTIES:
                    if sender != receiver:
                        tell(world, sender, receiver)
        assert [len(world.nodes[party].ledger.conflicts()) for party in PARTIES] == [1, 1, 1]
    finally:
        liar.other_store.close()


def test_a_longer_history_refused_for_a_head_seen_before_is_proven_to_everybody(world: World, tmp_path: Path) -> None:
    """The card network has only seen the bank's head when it is sent other entries that go beyond it, some in the same subtree."""
    liar = Liar(world, tmp_path)
    try:
        liar.show(world.broker.ledger, BANK)
        world.cardnet.ledger.observe(world.bank.ledger.receipt(BROKER, 4)["checkpoint"])
        bodies = [world.broker.body(number, note="for the card network")[0] for number in range(30)]
        liar.other_store.write(lambda tx: liar.other.append(tx, bodies))
        with pytest.raises(VerificationError, match="FORK|differs"):
            liar.show(liar.other, CARDNET)
        assert world.cardnet.ledger.size(BROKER) == 4
        untold = world.cardnet.ledger.exchange.untold(BANK)
        assert untold is not None
        fresh = World(tmp_path / "fresh")
        try:
            assert fresh.bank.ledger.exchange.hear_conflicts(CARDNET, untold[1]) == 1
        finally:
            fresh.close()
        assert tell(world, CARDNET, BANK) == 1
        (kept,) = world.bank.ledger.conflicts()
        sizes = [notes.parse_checkpoint(notes.split_note(one)[0]).size for one in (kept.held_note, kept.offered_note)]
        assert (kept.problem, sizes) == ("SPLIT_VIEW", [5, 35])
    finally:
        liar.other_store.close()


def test_a_prefix_that_proves_nothing_is_refused(world: World, tmp_path: Path) -> None:
    """Neither a changed hash, nor the prefix that both heads agree on, nor the larger head as its own prefix."""
    liar = split_at_different_sizes(world, tmp_path)
    try:
        untold = world.bank.ledger.exchange.untold(CARDNET)
        assert untold is not None
        (proof,) = exchange.parse_conflicts(untold[1])
        assert proof.prefix is not None
        larger, smaller = (notes.parse_checkpoint(notes.split_note(one)[0]) for one in (proof.held, proof.offered))
        paths = (proof.prefix.sha256, proof.prefix.sm3)
        wrong = [exchange.Prefix(larger.roots[:1], larger.roots[1:]), exchange.Prefix(smaller.roots[:1], smaller.roots[1:])]
        for side in (0, 1):
            for place in range(len(paths[side])):
                changed = [list(one) for one in paths]
                changed[side][place] = bytes(32)
                wrong.append(exchange.Prefix(tuple(changed[0]), tuple(changed[1])))
        for prefix in wrong:
            message = exchange.format_conflicts([exchange.ConflictProof(BROKER, proof.held, proof.offered, prefix)])
            with pytest.raises(VerificationError) as refused:
                world.cardnet.ledger.exchange.hear_conflicts(BANK, message)
            assert refused.value.code == "CONFLICT_PROOF"
        honest = exchange.ConflictProof(
            BROKER, proof.held, exchange_note(world, 4),
            exchange.Prefix(*((root, *path) for root, path in zip(
                world.bank.ledger.roots_at(BROKER, 4), world.bank.ledger.consistency(BROKER, 4, 8), strict=True
            ))),
        )  # fmt: skip
        with pytest.raises(VerificationError) as refused:
            world.cardnet.ledger.exchange.hear_conflicts(BANK, exchange.format_conflicts([honest]))
        assert refused.value.code == "CONFLICT_PROOF"
        assert world.cardnet.ledger.conflicts() == []
    finally:
        liar.other_store.close()


def test_a_false_accusation_leaves_nothing(world: World) -> None:
    world.broker.write(3)
    world.settle()
    world.broker.write(2)
    world.settle()
    good = world.bank.ledger.receipt(BROKER, 4)["checkpoint"]
    keys = KEYS[CARDNET]
    head = notes.Checkpoint("evidence", BROKER, 5, bytes(32), bytes(32))
    pair = notes.cosign(head, party=CARDNET, ed25519_key=keys.ed25519, sm2_key=keys.sm2, time_s=1_700_000_000)
    forged = notes.format_note(notes.format_checkpoint(head), [notes.sign_log(head, keys.ed25519), *pair.lines])
    desk = world.bank.ledger.exchange
    for proof in (
        exchange.ConflictProof(BROKER, good, forged),
        exchange.ConflictProof(BROKER, good.replace("\n5\n", "\n6\n"), good),
        exchange.ConflictProof(CARDNET, good, good),
    ):
        with pytest.raises(VerificationError) as refused:
            desk.hear_conflicts(CARDNET, exchange.format_conflicts([proof]))
        assert refused.value.code == "CONFLICT_PROOF"
    with world.bank.store.read() as reader:
        sizes = [row[0] for row in reader.execute("SELECT size FROM ledger_checkpoint WHERE log = 'broker' ORDER BY size")]
    older = exchange_note(world, sizes[0])
    assert desk.hear_conflicts(CARDNET, exchange.format_conflicts([exchange.ConflictProof(BROKER, older, good)])) == 0
    assert desk.hear_conflicts(CARDNET, exchange.format_conflicts([exchange.ConflictProof(BROKER, good, good)])) == 0
    assert world.bank.ledger.conflicts() == []


def exchange_note(world: World, size: int) -> str:
    from workbench_ledger import tables

    with world.bank.store.read() as reader:
        note = tables.read_note(reader, BROKER, size)
    assert note is not None
    return note.format()


# ---- one spelling


def test_messages_have_one_spelling_and_refuse_every_other(world: World) -> None:
    world.broker.write(1)
    world.settle()
    note = world.bank.ledger.receipt(BROKER, 0)["checkpoint"]
    prefix = exchange.Prefix((bytes(32), b"\1" * 32), (bytes(32),))
    cases = [
        (exchange.format_pull(exchange.Pull(BROKER, 1, note, b"")), exchange.parse_pull, "PULL"),
        (exchange.format_held(exchange.Held(BROKER, 1, note)), exchange.parse_held, "HELD"),
        (exchange.format_conflicts([exchange.ConflictProof(BROKER, note, note)]), exchange.parse_conflicts, "CONFLICT_PROOF"),
        (exchange.format_conflicts([exchange.ConflictProof(BROKER, note, note, prefix)]), exchange.parse_conflicts, "CONFLICT_PROOF"),
    ]
    formats = {"PULL": exchange.format_pull, "HELD": exchange.format_held, "CONFLICT_PROOF": exchange.format_conflicts}
    for data, parse, code in cases:
        assert formats[code](parse(data)) == data  # type: ignore[operator]  # each goes with its own parser
        for bad in (
            data[:-1], data + b"\n", b" " + data, data.replace(b"/v1/", b"/v3/").replace(b"/v2/", b"/v1/"), b"{}", b"[]", b"",
            data.replace(b'"broker"', b'"Broker"'), data.replace(b'"1"', b'"01"') if b'"1"' in data else b"\xff",
        ):  # fmt: skip
            with pytest.raises(VerificationError) as refused:
                parse(bad)  # type: ignore[operator]
            assert refused.value.code == code


def test_many_small_heads_shown_first_do_not_hide_how_much_is_missing(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mirror that shows old heads until no more is kept must not let the log write on from the last of them."""
    monkeypatch.setattr(mirror, "MAX_KEPT", 3)
    shutil.copy(world.broker.path, tmp_path / "copy.db")
    heads = []
    for _ in range(5):
        world.broker.write(1)
        world.exchange(BROKER, BANK)
        heads.append(world.bank.ledger.exchange.held(BROKER))
    restore_file(world, BROKER, tmp_path / "copy.db")
    ledger = world.broker.ledger
    for head in heads:
        with pytest.raises(VerificationError, match="ROLLED_BACK|lacks"):
            ledger.exchange.learn_held(BANK, head)
    lost = ledger.exchange.lost()
    assert lost is not None
    assert lost.signed == world.bank.ledger.size(BROKER)


def test_a_partner_that_gives_one_false_entry_and_then_nothing_does_not_keep_the_log_from_becoming_whole(
    world: World, tmp_path: Path
) -> None:
    rolled_back(world, tmp_path)
    ledger = world.broker.ledger
    with pytest.raises(VerificationError):
        ledger.exchange.learn_held(CARDNET, world.cardnet.ledger.exchange.held(BROKER))

    def call(party: PartyId, path: str, question: bytes, *, timeout_s: float) -> bytes:
        asked = json.loads(question)
        if party == BANK:  # the first to be asked
            bodies = [world.broker.body(99)[0]] if asked["start"] == 40 else []
        else:
            bodies = world.cardnet.ledger.entry_bodies(BROKER, asked["start"], asked["stop"])
        return json.dumps([one.hex() for one in bodies]).encode()

    node = SimpleNamespace(ledger=ledger, party=BROKER, parties=lambda: (BROKER, BANK, CARDNET), links=SimpleNamespace(call=call))
    Restoring(node)._fetch()  # type: ignore[arg-type]  # as much of a node as fetching needs
    assert ledger.exchange.lost() is None
    assert ledger.entry_bodies(BROKER, 40, 45) == world.cardnet.ledger.entry_bodies(BROKER, 40, 45)


@pytest.mark.parametrize(
    ("kind", "start_alone", "opens"), [("production", False, False), ("production", True, True), ("test", False, True)]
)
def test_a_production_node_does_not_write_on_the_word_of_one_mirror_while_another_is_silent(
    world: World, tmp_path: Path, kind: str, start_alone: bool, opens: bool
) -> None:
    """The silent one holds more than this older copy has; the one that answers says it holds nothing."""
    rolled_back(world, tmp_path)
    ledger = world.broker.ledger
    ledger.shut()
    hides = canonical.format({"log": "broker", "note": "", "size": "0", "v": "workbench/v1/held"})

    def call(party: PartyId, path: str, question: bytes, *, timeout_s: float) -> bytes:
        if party == BANK:
            return hides
        raise PeerError("没有应答", "no answer", code="PEER_UNAVAILABLE")

    node = SimpleNamespace(
        ledger=ledger, party=BROKER, parties=lambda: (BROKER, BANK, CARDNET), links=SimpleNamespace(call=call),
        kind=kind, setting={"ledger.start_alone": start_alone}.__getitem__, folder=tmp_path, log_fault=lambda fault: None,
    )  # fmt: skip
    restoring = Restoring(node)  # type: ignore[arg-type]  # as much of a node as confirming needs
    assert restoring.attempt(automatic=True) is opens
    assert ledger.is_open() is opens

"""Attacks on evidence, each found and located. Whoever attacks here has the database file and the sqlite3 tool."""

from __future__ import annotations

import base64
import hashlib
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from workbench_ledger import messages, mirror, tables
from workbench_ledger.ledger import Ledger
from workbench_ledger.schema import MIGRATIONS

from tests.ledger.world import BANK, BROKER, CARDNET, KEYS, PINNED, Node, World
from workbench.domain import checkpoint as notes
from workbench.domain.evidence import AuditFinding, AuditReport
from workbench.domain.party import PartyId
from workbench.errors import PeerUnavailable, VerificationError
from workbench.store.database import Database


def tamper(node: Node, *statements: str) -> None:
    """Close the node, drop every trigger, run statements on the file, and start the node again."""
    node.close()
    connection = sqlite3.connect(node.path)
    triggers = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")]
    for name in triggers:
        connection.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()
    node.open()


def prepared(world: World, count: int = 40) -> World:
    world.broker.write(count)
    world.bank.write(3)
    world.settle()
    return world


def problems(report: AuditReport) -> set[tuple[str, str, int | None]]:
    return {(one.problem, one.log, one.index) for one in report.findings}


def found(report: AuditReport, problem: str, index: int | None) -> AuditFinding:
    matching = [one for one in report.findings if (one.problem, one.index) == (problem, index)]
    assert matching, report.findings
    return matching[0]


def peers_of(world: World) -> Callable[[PartyId, PartyId, int, int], Sequence[bytes]]:
    return lambda peer, log, start, stop: world.nodes[peer].ledger.entry_bodies(log, start, stop)


EDIT = "UPDATE entry SET body = replace(body, 'step 17', 'step 71') WHERE idx = 17"
EDIT_BLOB = "UPDATE entry SET body = CAST(replace(CAST(body AS TEXT), 'step 17', 'step 71') AS BLOB) WHERE idx = 17"


@pytest.mark.parametrize("edit", [EDIT, EDIT_BLOB], ids=["as text", "as blob"])
def test_an_edited_row_is_named_with_field_party_and_who_acts(world: World, edit: str) -> None:
    tamper(prepared(world).broker, edit)
    report = world.broker.ledger.audit()
    finding = found(report, "EDITED", 17)
    assert not report.holds
    assert finding.log == BROKER
    assert "17" in finding.zh
    assert "运维" in finding.zh
    assert "operators of broker" in finding.en
    assert {one.index for one in report.findings if one.problem == "EDITED"} == {17}


def test_with_a_mirror_s_copy_the_edited_field_is_named(world: World) -> None:
    tamper(prepared(world).broker, EDIT_BLOB)
    finding = found(world.broker.ledger.audit(fetch=peers_of(world)), "EDITED", 17)
    assert finding.field == "note"
    assert "note" in finding.en
    assert "note" in finding.zh


def test_a_mirror_that_does_not_answer_does_not_end_the_audit(world: World) -> None:
    def absent(*_: object) -> Sequence[bytes]:
        raise PeerUnavailable("无应答", "no answer")

    tamper(prepared(world).broker, EDIT_BLOB)
    found(world.broker.ledger.audit(fetch=absent), "EDITED", 17)


def test_an_editor_who_also_rewrites_the_whole_tree_is_found_by_the_co_signatures(world: World) -> None:
    """Whoever has the file but not the keys can make all stored hashes fit; the signed roots then do not."""
    prepared(world)
    world.broker.write(10)
    world.settle()
    rewrite_tree(world.broker, {17: lambda body: body.replace(b"step 17", b"step 71")})
    report = world.broker.ledger.audit(fetch=peers_of(world))
    finding = found(report, "CHECKPOINT", 0)
    assert "40" in finding.en
    assert found(report, "EDITED", 17).field == "note"
    with pytest.raises(VerificationError) as stopped:
        world.broker.write(1)
        world.broker.ledger.next_request(BANK)
    assert stopped.value.code == "TREE"


def rewrite_tree(node: Node, changes: dict[int, Callable[[bytes], bytes]]) -> None:
    """Change bodies and make every stored leaf, node and head agree with them; checkpoints stay as they are."""
    bodies = node.ledger.entry_bodies(node.party, 0, 1 << 30)
    bodies = [changes.get(index, bytes)(body) for index, body in enumerate(bodies)]
    tamper(node, *(f"DELETE FROM {table}" for table in ("entry", "ledger_node", "ledger_head")))
    node.store.write(lambda tx: tables.write_growth(tx, node.party, tables.grow(tables.Head(), bodies), own=True))


def test_a_rewrite_is_bracketed_between_the_checkpoints_around_it(world: World) -> None:
    for _ in range(4):
        world.broker.write(10)
        world.settle()
    rewrite_tree(world.broker, {17: lambda body: body.replace(b"step 17", b"step 71")})
    finding = found(world.broker.ledger.audit(), "CHECKPOINT", 10)
    assert "between entries 10 and 19" in finding.en


def test_a_forged_checkpoint_does_not_help_the_rewriter(world: World) -> None:
    """Replacing the checkpoint's text too leaves signatures that do not verify."""
    prepared(world)
    rewrite_tree(world.broker, {17: lambda body: body.replace(b"step 17", b"step 71")})
    size, *roots = world.broker.ledger.roots(BROKER)
    text = notes.format_checkpoint(notes.Checkpoint("evidence", BROKER, size, *roots))
    tamper(world.broker, f"UPDATE ledger_checkpoint SET text = '{text}' WHERE log = 'broker' AND size = {size}")
    report = world.broker.ledger.audit()
    assert ("SIGNATURE", "broker", None) in problems(report)


def test_a_deleted_row_is_named(world: World) -> None:
    tamper(prepared(world).broker, "DELETE FROM entry WHERE idx = 23")
    report = world.broker.ledger.audit()
    assert found(report, "DELETED", 23).log == BROKER
    assert {one.index for one in report.findings if one.problem == "DELETED"} == {23}


def test_a_truncated_log_is_named_from_its_first_missing_entry(world: World) -> None:
    tamper(prepared(world).broker, "DELETE FROM entry WHERE idx >= 33")
    finding = found(world.broker.ledger.audit(), "TRUNCATED", 33)
    assert "33 to 39" in finding.en


def test_a_log_truncated_together_with_its_tree_is_found_by_what_was_signed(world: World) -> None:
    prepared(world)
    bodies = world.broker.ledger.entry_bodies(BROKER, 0, 33)
    tamper(world.broker, *(f"DELETE FROM {table}" for table in ("entry", "ledger_node", "ledger_head")))
    world.broker.store.write(lambda tx: tables.write_growth(tx, BROKER, tables.grow(tables.Head(), bodies), own=True))
    assert found(world.broker.ledger.audit(), "TRUNCATED", 33)
    for act in (
        lambda: world.broker.ledger.next_request(BANK),
        world.broker.ledger.own_checkpoint,
        world.broker.ledger.start,
    ):
        with pytest.raises(VerificationError) as stopped:
            act()
        assert stopped.value.code == "ROLLED_BACK"


def test_reordered_rows_are_named_with_their_former_places(world: World) -> None:
    tamper(
        prepared(world).broker,
        "UPDATE entry SET idx = -1 WHERE idx = 5",
        "UPDATE entry SET idx = 5 WHERE idx = 30",
        "UPDATE entry SET idx = 30 WHERE idx = -1",
    )
    report = world.broker.ledger.audit()
    assert "entry 5 is what used to be entry 30" in found(report, "REORDERED", 5).en
    assert "entry 30 is what used to be entry 5" in found(report, "REORDERED", 30).en
    assert not any(one.problem == "EDITED" for one in report.findings)


def test_a_row_written_past_the_ledger_is_named(world: World) -> None:
    tamper(prepared(world).broker, "INSERT INTO entry (idx, body) VALUES (40, x'7b7d')")
    assert found(world.broker.ledger.audit(), "EXTRA", 40)


def test_a_changed_tree_is_found_though_bodies_are_whole(world: World) -> None:
    for number, statement in enumerate(
        (
            "UPDATE ledger_node SET sm3 = zeroblob(32) WHERE log = 'broker' AND level = 4 AND idx = 1",
            "DELETE FROM ledger_node WHERE log = 'broker' AND level = 5",
            "UPDATE ledger_head SET sha256 = zeroblob(64) WHERE log = 'broker'",
            "UPDATE ledger_head SET size = 39 WHERE log = 'broker'",
        )
    ):
        fresh = World(world.broker.path.parent / str(number))
        try:
            tamper(prepared(fresh).broker, statement)
            report = fresh.broker.ledger.audit()
            assert not report.holds, statement
            assert {one.problem for one in report.findings} & {"TREE", "TRUNCATED"}, statement
        finally:
            fresh.close()


def test_an_edited_mirror_is_found_and_stops_co_signing(world: World) -> None:
    """The mirror's own operators act; the origin is not blamed."""
    prepared(world)
    where = "WHERE origin = 'broker' AND idx = 8"
    tamper(
        world.bank,
        f"UPDATE ledger_mirror_entry SET body = CAST(replace(CAST(body AS TEXT), 'step 8', 'step 9') AS BLOB) {where}",
    )
    finding = found(world.bank.ledger.audit(), "EDITED", 8)
    assert finding.log == BROKER
    assert "held by bank" in finding.en
    assert "operators of bank" in finding.en
    tamper(world.bank, "UPDATE ledger_node SET sha256 = zeroblob(32) WHERE log = 'broker' AND level = 0 AND idx = 32")
    tamper(world.bank, "UPDATE ledger_head SET sha256 = zeroblob(64) WHERE log = 'broker'")
    world.broker.write(1)
    request = world.broker.ledger.next_request(BANK)
    assert request is not None
    with pytest.raises(VerificationError) as refused:
        world.bank.ledger.witness(BROKER, request)
    assert refused.value.code == "OWN_MIRROR_CHANGED"
    assert "operators of bank" in refused.value.en


def test_a_forged_co_signature_in_the_database_is_found(world: World) -> None:
    prepared(world)
    forged = notes.cosign(
        notes.parse_checkpoint(notes.split_note(world.broker.ledger.own_checkpoint())[0]),
        party=BANK,
        ed25519_key=KEYS[CARDNET].ed25519,
        sm2_key=KEYS[CARDNET].sm2,
        time_s=1_795_000_000,
    )
    lines = notes.format_line(forged.ed25519_line) + notes.format_line(forged.sm2_line)
    tamper(
        world.broker,
        f"UPDATE ledger_cosignature SET lines = '{lines}' WHERE log = 'broker' AND signer = 'bank'",
    )
    finding = next(one for one in world.broker.ledger.audit().findings if one.problem == "SIGNATURE")
    assert finding.field == "bank"
    assert finding.log == BROKER


def test_no_file_holds_a_guessable_trace_of_a_committed_identifier(world: World) -> None:
    """Whoever copies a mirror and tries every phone number of the prefix must learn nothing (a dictionary attack)."""
    phones = [f"199000{number:05d}" for number in range(500)]
    for phone in phones[:20]:
        values = {"partner": "bank", "key_kind": "phone", "note": "x", "count": phone}
        world.broker.append(*world.broker.envelope({**values, "list_digest": phone, "list_key": phone}))
    world.settle()
    for node in world.nodes.values():
        node.close()
        data = b"".join(file.read_bytes() for file in node.path.parent.glob(f"{node.party}.db*"))
        node.open()
        low = data.lower()
        for phone in phones:
            plain = phone.encode()
            for form in (plain, hashlib.sha256(plain).digest(), hashlib.new("sm3", plain).digest()):
                assert form not in data
                assert form.hex().encode() not in low
                assert base64.b64encode(form) not in data


def test_triggers_stop_mistakes(world: World) -> None:
    prepared(world)
    for statement in (
        "INSERT INTO entry (idx, body) VALUES (77, x'00')",
        "DELETE FROM ledger_node",
        "UPDATE ledger_mirror_entry SET body = x'00'",
        "DELETE FROM ledger_checkpoint",
        "DELETE FROM ledger_cosignature",
        "UPDATE ledger_head SET size = size - 1",
        "DELETE FROM ledger_witness_state",
    ):
        with pytest.raises(sqlite3.IntegrityError):
            world.broker.store.write(lambda tx, sql=statement: tx.execute(sql))  # type: ignore[misc]  # bound early


# ---- a database restored from an older copy


def rolled_back(world: World, tmp_path: Path) -> None:
    """The broker's file is what it was at 40 entries, while the mirrors hold and signed 45."""
    prepared(world)
    world.broker.close()
    copy = tmp_path / "backup.db"
    shutil.copy(world.broker.path, copy)
    world.broker.open()
    world.broker.write(5)
    world.settle()
    world.broker.close()
    for file in world.broker.path.parent.glob("broker.db*"):
        file.unlink()
    shutil.copy(copy, world.broker.path)
    world.broker.path.chmod(0o600)
    world.broker.open()


def test_a_rollback_with_a_shorter_rewrite_is_refused_by_every_mirror(world: World, tmp_path: Path) -> None:
    rolled_back(world, tmp_path)
    world.broker.write(3, note="evil")
    for witness in (BANK, CARDNET):
        request = world.broker.ledger.next_request(witness)
        assert request is not None
        with pytest.raises(VerificationError) as refused:
            world.nodes[witness].ledger.witness(BROKER, request)
        assert refused.value.code == "FORK"
        assert refused.value.details["index"] == "40"
        assert "note" in refused.value.details["field"]
        assert world.nodes[witness].ledger.size(BROKER) == 45
    assert world.broker.ledger.seal_state(BROKER, 42, required=[BANK]).state == "PENDING"


def test_a_rollback_with_a_longer_rewrite_is_refused_by_every_mirror(world: World, tmp_path: Path) -> None:
    rolled_back(world, tmp_path)
    world.broker.write(20, note="evil")
    request = world.broker.ledger.next_request(BANK)
    assert request is not None
    with pytest.raises(VerificationError) as refused:
        world.bank.ledger.witness(BROKER, request)
    assert refused.value.code == "FORK"
    conflict = world.bank.ledger.conflicts()[0]
    assert (conflict.log, conflict.index, conflict.size) == (BROKER, 40, 60)


def test_a_longer_rewrite_that_skips_the_held_entries_is_refused(world: World, tmp_path: Path) -> None:
    """Even when the origin sends only what the mirror lacks, its roots cannot continue what was signed."""
    rolled_back(world, tmp_path)
    world.broker.write(20, note="evil")
    request = world.broker.ledger.next_request(BANK)
    assert request is not None
    parsed = messages.parse_request(request)
    skipping = messages.MirrorRequest(BROKER, 45, parsed.bodies[45 - parsed.start :], parsed.checkpoint, [])
    with pytest.raises(VerificationError) as refused:
        world.bank.ledger.witness(BROKER, messages.format_request(skipping))
    assert refused.value.code == "FORK"
    assert world.bank.ledger.size(BROKER) == 45


def test_a_rolled_back_log_learns_what_it_lost_and_gets_it_back(world: World, tmp_path: Path) -> None:
    rolled_back(world, tmp_path)
    world.bank.write(1)
    request = world.bank.ledger.next_request(BROKER)
    assert request is not None
    world.broker.ledger.witness(BANK, request)  # carries the broker's own checkpoint of 45 entries
    assert [one.problem for one in world.broker.ledger.conflicts()] == ["ROLLED_BACK"]
    assert world.broker.recorded == []  # its own log takes no entry, not even about this
    with pytest.raises(VerificationError) as stopped:
        world.broker.write(1)
    assert stopped.value.code == "ROLLED_BACK"
    assert "45" in stopped.value.en
    assert any(one.problem == "ROLLED_BACK" for one in world.broker.ledger.audit().findings)
    lost = world.bank.ledger.entry_bodies(BROKER, 40, 45)
    desk = world.broker.ledger.exchange
    desk.stage(40, [*lost[:-1], lost[0]], BANK)
    with pytest.raises(VerificationError):
        desk.take_staged()
    desk.drop_staged()
    desk.stage(40, lost, BANK)
    assert desk.take_staged() is not None
    assert world.broker.ledger.size(BROKER) == 45
    world.broker.write(1)
    world.settle()
    assert world.broker.ledger.seal_state(BROKER, 45, required=[BANK]).state == "FULL"


def test_a_rolled_back_log_that_asks_for_a_signature_is_told(world: World, tmp_path: Path) -> None:
    rolled_back(world, tmp_path)
    world.broker.store.write(lambda tx: tx.execute("DELETE FROM ledger_peer"))
    old = world.broker.ledger.next_request(BANK)
    assert old is not None
    reply = world.bank.ledger.witness(BROKER, old)
    with pytest.raises(VerificationError) as told:
        world.broker.ledger.accept_reply(BANK, reply)
    assert told.value.code == "ROLLED_BACK"


def test_a_mirror_restored_from_an_older_copy_catches_up(world: World, tmp_path: Path) -> None:
    prepared(world)
    world.bank.close()
    shutil.copy(world.bank.path, tmp_path / "backup.db")
    world.bank.open()
    world.broker.write(5)
    world.settle()
    world.bank.close()
    for file in world.bank.path.parent.glob("bank.db*"):
        file.unlink()
    shutil.copy(tmp_path / "backup.db", world.bank.path)
    world.bank.path.chmod(0o600)
    world.bank.open()
    assert world.bank.ledger.size(BROKER) == 40
    world.broker.write(2)
    world.settle()
    assert world.bank.ledger.size(BROKER) == 47
    assert world.bank.ledger.audit().holds


# ---- split view


class Liar:
    """A broker with two databases under one key: it shows the bank one history and the card network another."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        world.broker.write(4)
        world.settle()
        world.broker.close()
        self.other_path = folder / "second.db"
        shutil.copy(world.broker.path, self.other_path)
        self.other_path.chmod(0o600)
        world.broker.open()
        self.other_store = Database(self.other_path, MIGRATIONS, reserve_bytes=0)
        self.other = Ledger(self.other_store, BROKER, KEYS[BROKER], lambda: PINNED, lambda: world.broker.now_ms)
        bodies = [world.broker.body(9, note="for the card network")[0]]
        self.other_store.write(lambda tx: self.other.append(tx, bodies))
        world.broker.write(1, note="for the bank")

    def show(self, ledger: Ledger, witness: PartyId) -> None:
        request = ledger.next_request(witness)
        assert request is not None
        ledger.accept_reply(witness, self.world.nodes[witness].ledger.witness(BROKER, request))


def test_a_split_view_is_found_when_mirrors_talk_and_both_heads_are_kept(world: World, tmp_path: Path) -> None:
    liar = Liar(world, tmp_path)
    try:
        liar.show(world.broker.ledger, BANK)
        liar.show(liar.other, CARDNET)
        assert world.bank.ledger.size(BROKER) == world.cardnet.ledger.size(BROKER) == 5
        world.bank.write(1)
        world.exchange(BANK, CARDNET)  # an ordinary request shows the heads the sender holds
        conflict = world.cardnet.ledger.conflicts()[0]
        assert (conflict.log, conflict.size, conflict.problem) == (BROKER, 5, "SPLIT_VIEW")
        heads = [
            notes.verify_note(note, PINNED, project="evidence") for note in (conflict.held_note, conflict.offered_note)
        ]
        assert {head.checkpoint.size for head in heads} == {5}
        assert heads[0].checkpoint.roots != heads[1].checkpoint.roots
        kind, values = world.cardnet.recorded[-1]
        assert kind == "ledger.conflict"
        assert (values["origin"], values["problem"], values["size"]) == ("broker", "SPLIT_VIEW", "5")
        finding = next(one for one in world.cardnet.ledger.audit().findings if one.problem == "CONFLICT")
        assert finding.log == BROKER
    finally:
        liar.other_store.close()


def test_neither_history_of_a_split_view_is_ever_signed_by_all(world: World, tmp_path: Path) -> None:
    liar = Liar(world, tmp_path)
    try:
        liar.show(world.broker.ledger, BANK)
        liar.show(liar.other, CARDNET)
        for ledger, witness in ((world.broker.ledger, CARDNET), (liar.other, BANK)):
            with pytest.raises(VerificationError) as refused:
                liar.show(ledger, witness)
            assert refused.value.code == "FORK"
            state = ledger.seal_state(BROKER, 4, required=[BANK, CARDNET])
            assert state.state == "PENDING"
            assert len(state.cosigners) == 2
    finally:
        liar.other_store.close()


def test_a_head_seen_before_its_entries_keeps_another_history_from_being_held(world: World, tmp_path: Path) -> None:
    """What others have shown is compared before anything is held or signed: this mirror may once have signed it itself."""
    liar = Liar(world, tmp_path)
    try:
        liar.show(world.broker.ledger, BANK)
        note = world.bank.ledger.receipt(BROKER, 4)["checkpoint"]
        world.cardnet.ledger.observe(note)
        assert world.cardnet.ledger.conflicts() == []
        with pytest.raises(VerificationError) as refused:
            liar.show(liar.other, CARDNET)
        assert refused.value.code == "FORK"
        assert [one.problem for one in world.cardnet.ledger.conflicts()] == ["SPLIT_VIEW"]
        assert world.cardnet.ledger.size(BROKER) == 4
    finally:
        liar.other_store.close()


def head_of_broker(size: int, root: int, *, time_s: int = 1) -> str:
    """A head of the broker's log with this root, signed by the broker."""
    keys = KEYS[BROKER]
    head = notes.Checkpoint("evidence", BROKER, size, bytes([root]) * 32, bytes(32))
    pair = notes.cosign(head, party=BROKER, ed25519_key=keys.ed25519, sm2_key=keys.sm2, time_s=time_s)
    lines = [notes.sign_log(head, keys.ed25519), pair.ed25519_line, pair.sm2_line]
    return notes.format_note(notes.format_checkpoint(head), lines)


def contradict(world: World, size: int, root: int, *, time_s: int = 1) -> None:
    with pytest.raises(VerificationError):
        world.bank.ledger.observe(head_of_broker(size, root, time_s=time_s))


def test_heads_far_ahead_do_not_keep_a_near_one_from_being_compared(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "MAX_KEPT", 3)
    world.broker.write(2)
    world.settle()
    for size in range(100, 105):
        world.bank.ledger.observe(head_of_broker(size, 0))
    world.bank.ledger.observe(head_of_broker(3, 0))
    world.broker.write(1)
    with pytest.raises(VerificationError) as refused:
        world.exchange(BROKER, BANK)
    assert refused.value.code == "FORK"
    assert [(one.problem, one.size) for one in world.bank.ledger.conflicts()] == [("SPLIT_VIEW", 3)]
    with world.bank.store.read() as reader:
        assert reader.execute("SELECT count(*) FROM ledger_seen").fetchone()[0] == 3


def test_contradictions_are_kept_once_and_not_without_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer must not be able to fill the disk with proofs of its own dishonesty, nor hide one behind many others."""
    monkeypatch.setattr(mirror, "MAX_KEPT", 6)
    monkeypatch.setattr(mirror, "KEPT_FOR_NEW_SIZES", 3)
    world.broker.write(9)
    world.settle()
    kept = world.bank.ledger.conflicts
    for time_s in range(1, 6):
        contradict(world, 9, 0, time_s=time_s)
    assert len(kept()) == 1, "the same head signed again is the same contradiction"
    for root in range(1, 6):
        contradict(world, 9, root)
    assert [one.size for one in kept()] == [9, 9, 9]
    for size in range(1, 6):
        contradict(world, size, 0)
        contradict(world, size, 1)
    assert [one.size for one in kept()] == [9, 9, 9, 1, 2, 3]

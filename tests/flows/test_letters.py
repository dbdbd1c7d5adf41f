"""Letters between institutions: taken once, answered under signature, kept through loss, refusal, absence and restarts."""

from __future__ import annotations

from typing import Any

import pytest

from workbench.channel.letter import letter_header, open_answer, seal_letter
from workbench.contracts import Letter, LetterKind, LetterState, PeerCall, Transaction
from workbench.domain.party import PartyId, Role
from workbench.errors import ProtocolViolation, Refused, StorageFailed, WorkbenchError

from tests.flows.institutions import Institutions

BANK, BROKER = PartyId("bank"), PartyId("broker")
KIND = "test.notice"


class Desk:
    """Receives letters of one kind at one node and counts what it did."""

    def __init__(self, node: Any) -> None:
        self.node = node
        self.taken: list[bytes] = []
        self.acknowledged: list[LetterState] = []
        self.failure: BaseException | None = None
        self.use(node)

    def use(self, node: Any) -> None:
        self.node = node
        node.letters._kinds = {
            **node.letters._kinds, KIND: LetterKind(KIND, self.receive, lambda letter: letter.body.upper(), self.told)
        }  # fmt: skip

    def receive(self, tx: Transaction, letter: Letter) -> bytes:
        if self.failure is not None:
            raise self.failure
        self.taken.append(letter.body)
        return b"read " + letter.prepared

    def told(self, tx: Transaction, state: LetterState) -> None:
        self.acknowledged.append(state)


@pytest.fixture
def desks(three: Institutions) -> tuple[Desk, Desk]:
    return Desk(three.nodes["broker"]), Desk(three.nodes["bank"])


def post(node: Any, body: bytes = b"hello", to: PartyId = BANK, kind: str = KIND, job: str = "") -> str:
    letter = node.store.write(lambda tx: node.letters.post(tx, to=to, kind=kind, body=body, job=job))
    node.letters.wake()
    return str(letter)


def state(node: Any, letter: str) -> LetterState:
    with node.store.read() as reader:
        found: LetterState = node.letters.state(reader, letter)
    return found


def settled(three: Institutions, node: Any, letter: str) -> LetterState:
    three.wait_until(lambda: state(node, letter).state != "WAITING")
    return state(node, letter)


def test_a_letter_is_answered_under_signature_and_both_logs_name_the_same_digests(
    three: Institutions, desks: tuple[Desk, Desk]
) -> None:
    broker, bank = desks
    letter = post(broker.node, job="J-test")
    found = settled(three, broker.node, letter)
    assert (found.state, found.answer, found.to, found.job) == ("ACKNOWLEDGED", b"read HELLO", "bank", "J-test")
    assert bank.taken == [b"hello"] and [one.answer for one in broker.acknowledged] == [b"read HELLO"]
    [posted] = [one for one in three.entries("broker", kind="letter.posted") if one.values["letter"] == letter]
    [received] = [one for one in three.entries("bank", kind="letter.received") if one.values["letter"] == letter]
    [acknowledged] = [one for one in three.entries("broker", kind="letter.acknowledged") if one.values["letter"] == letter]
    assert posted.values["digest"] == received.values["digest"] == acknowledged.values["digest"]
    assert received.values["answer"] == acknowledged.values["answer"] != "" and acknowledged.values["code"] == ""
    assert posted.job == received.job == acknowledged.job == "J-test"
    with broker.node.store.read() as reader:
        row = reader.execute("SELECT header, acknowledgement FROM host_letter WHERE letter = ?", (letter,)).fetchone()
        assert broker.node.vault.names(reader, "letter/") == [], "the body is gone"
    kept = open_answer(bytes(row[1]), letter=bytes(row[0]), key=broker.node.pinned_keys(BANK).message)
    assert kept.answer == b"read HELLO", "the signed acknowledgement is kept"


def test_a_reply_that_is_lost_makes_the_letter_come_again_and_take_effect_once(
    three: Institutions, desks: tuple[Desk, Desk]
) -> None:
    broker, bank = desks
    answered = bank.node.letters.receive
    lost: list[bytes] = []

    def lose(call: PeerCall) -> bytes:
        reply = answered(call)
        if not lost:
            lost.append(reply)
            raise WorkbenchError("丢失", "lost on the way", code="CONNECTION_LOST")
        return bytes(reply)

    bank.node.letters.receive = lose
    try:
        letter = post(broker.node)
        found = settled(three, broker.node, letter)
    finally:
        bank.node.letters.receive = answered
    assert found.state == "ACKNOWLEDGED" and found.tries == 1 and len(lost) == 1
    assert bank.taken == [b"hello"] and len(broker.acknowledged) == 1
    assert len([one for one in three.entries("bank", kind="letter.received") if one.values["letter"] == letter]) == 1


def test_kinds_nobody_receives_and_refusals_are_final_and_shown(three: Institutions, desks: tuple[Desk, Desk]) -> None:
    broker, bank = desks
    before = sum(one.refused for one in broker.node.letters.counts() if one.partner == "bank")
    unknown = settled(three, broker.node, post(broker.node, kind="test.unheard-of"))
    assert (unknown.state, unknown.refused_code, unknown.answer) == ("REFUSED", "UNKNOWN_LETTER_KIND", b"")
    bank.failure = Refused("不收", "not taken", code="NOT_MINE")
    refused = settled(three, broker.node, post(broker.node))
    assert (refused.state, refused.refused_code) == ("REFUSED", "NOT_MINE") and bank.taken == []
    [entry] = [one for one in three.entries("broker", kind="letter.acknowledged") if one.values["letter"] == refused.id]
    assert entry.values["code"] == "NOT_MINE"
    status = three.call("broker", Role.OPERATOR, "node.status")
    [line] = [one for one in status.letters if one.partner == "bank"]
    assert (line.waiting, line.refused) == (0, before + 2)
    assert any(one.name == "letters" and one.state == "warning" and one.owner == "compliance" for one in status.health)


def test_a_failure_that_is_no_refusal_brings_the_letter_back(three: Institutions, desks: tuple[Desk, Desk]) -> None:
    broker, bank = desks
    bank.failure = StorageFailed("磁盘满", "the disk is full")
    letter = post(broker.node)
    three.wait_until(lambda: state(broker.node, letter).tries >= 1)
    assert state(broker.node, letter).last_error == "STORAGE_FAILED"
    bank.failure = None
    assert settled(three, broker.node, letter).state == "ACKNOWLEDGED" and bank.taken == [b"hello"]


def test_a_partner_that_is_away_gets_it_later_and_delays_nobody_else(three: Institutions, desks: tuple[Desk, Desk]) -> None:
    broker, bank = desks
    three.stop("bank")
    letter = post(broker.node, b"while away")
    other = settled(three, broker.node, post(broker.node, to=PartyId("cardnet")))
    assert other.refused_code == "UNKNOWN_LETTER_KIND"
    three.wait_until(lambda: state(broker.node, letter).tries >= 1)
    status = three.call("broker", Role.OPERATOR, "node.status")
    [line] = [one for one in status.letters if one.partner == "bank"]
    assert line.waiting == 1 and line.last_error == "PEER_UNAVAILABLE"
    three.stop("broker")  # the sender restarts meanwhile
    broker.use(three.start("broker"))
    assert state(broker.node, letter).state == "WAITING"
    three.wire.cut("bank")
    bank.use(three.start("bank"))
    three.wire.mend()
    assert settled(three, broker.node, letter).answer == b"read WHILE AWAY"
    assert bank.taken == [b"while away"]
    # The recipient restarts: what it took stays taken.
    three.stop("bank")
    bank.use(three.start("bank"))
    with broker.node.store.read() as reader:
        header = bytes(reader.execute("SELECT header FROM host_letter WHERE letter = ?", (letter,)).fetchone()[0])
    call = PeerCall(BROKER, "letter", seal_letter(header, b"while away", key=broker.node.keys.message))
    assert open_answer(
        bank.node.peer_api.answer(call), letter=header, key=broker.node.pinned_keys(BANK).message
    ).answer == b"read WHILE AWAY"
    assert bank.taken == [b"while away"]


def sealed(node: Any, **changes: Any) -> bytes:
    fields = {
        "letter_id": node.random(16).hex(), "kind": KIND, "sender": BROKER, "recipient": BANK, "job": "", "body": b"x",
        "time_ms": node.now_ms(),
    } | changes  # fmt: skip
    return seal_letter(letter_header(**fields), fields["body"], key=node.keys.message)


def test_what_is_not_a_letter_of_this_partner_changes_nothing_and_is_recorded(
    three: Institutions, desks: tuple[Desk, Desk]
) -> None:
    broker, bank = desks
    data = sealed(broker.node, letter_id="12" * 16)
    bank.node.peer_api.answer(PeerCall(BROKER, "letter", data))
    before = len(three.entries("bank", kind="letter.received"))
    late = broker.node.now_ms() + 60_000
    for peer, body, code in (
        ("cardnet", data, "WRONG_SENDER"),
        ("broker", sealed(broker.node, recipient=PartyId("cardnet")), "WRONG_RECIPIENT"),
        ("broker", sealed(broker.node, letter_id="12" * 16, body=b"other"), "LETTER_ID_REUSED"),
        ("broker", sealed(broker.node, time_ms=late), "CLOCK_SKEW"),
        ("broker", data[:-1] + b"y", "LETTER_ALTERED"),
        ("broker", data[:80], "LETTER_MALFORMED"),
    ):
        with pytest.raises(WorkbenchError) as refused:
            bank.node.peer_api.answer(PeerCall(PartyId(peer), "letter", body))
        assert refused.value.code == code
        refused_of = [one.values["code"] for one in three.entries("bank", kind="peer.refused") if one.values["peer"] == peer]
        assert refused_of[-1] == code
    assert bank.taken == [b"x"] and len(three.entries("bank", kind="letter.received")) == before


def test_an_old_letter_is_taken_and_a_flood_is_not(three: Institutions, desks: tuple[Desk, Desk]) -> None:
    broker, bank = desks
    bank.node.peer_api.answer(PeerCall(BROKER, "letter", sealed(broker.node, time_ms=broker.node.now_ms() - 40 * 86_400_000)))
    assert bank.taken == [b"x"]
    setting = bank.node.setting
    bank.node.setting = lambda name: 1 if name == "letters.most_an_hour" else setting(name)
    try:
        with pytest.raises(Refused, match="TOO_MANY_LETTERS"):
            bank.node.peer_api.answer(PeerCall(BROKER, "letter", sealed(broker.node)))
    finally:
        del bank.node.setting


def test_a_letter_exists_exactly_when_its_change_does(three: Institutions, desks: tuple[Desk, Desk]) -> None:
    broker, bank = desks

    def change(tx: Transaction) -> None:
        broker.node.letters.post(tx, to=BANK, kind=KIND, body=b"never")
        raise Refused("不", "no", code="CHANGED_MY_MIND")

    entries = len(three.entries("broker", kind="letter.posted"))
    with pytest.raises(Refused, match="CHANGED_MY_MIND"):
        broker.node.store.write(change)
    for to, code in ((BROKER, "UNKNOWN_PARTNER"), (PartyId("nobody"), "UNKNOWN_PARTNER")):
        with pytest.raises(Refused, match=code):
            post(broker.node, to=to)
    with pytest.raises(Refused, match="IDENTIFIER_IN_MESSAGE"):
        post(broker.node, b"13800138000")
    three.wait_until(lambda: all(one.waiting == 0 for one in broker.node.letters.counts()))
    assert bank.taken == [] and len(three.entries("broker", kind="letter.posted")) == entries


def test_a_faked_answer_is_no_acknowledgement(three: Institutions, desks: tuple[Desk, Desk]) -> None:
    broker, bank = desks
    answered = bank.node.letters.receive
    bank.node.letters.receive = lambda call: answered(call)[:-1] + b"?"
    try:
        letter = post(broker.node)
        three.wait_until(lambda: state(broker.node, letter).tries >= 1)
        assert state(broker.node, letter).last_error == "ANSWER_ALTERED" and broker.acknowledged == []
    finally:
        bank.node.letters.receive = answered
    assert settled(three, broker.node, letter).state == "ACKNOWLEDGED" and bank.taken == [b"hello"]


def test_two_deliveries_at_the_same_time_take_effect_once(three: Institutions, desks: tuple[Desk, Desk]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    broker, bank = desks
    data = sealed(broker.node)
    with ThreadPoolExecutor(6) as pool:
        replies = list(pool.map(lambda _: bank.node.peer_api.answer(PeerCall(BROKER, "letter", data)), range(12)))
    sizes = {len(one) for one in replies}
    assert len(sizes) == 1 and bank.taken == [b"x"]


def test_kinds_of_letter_are_registered_once_and_in_their_form(three: Institutions) -> None:
    from workbench.node.letters import LetterService
    from workbench.store.outbox import Outbox

    node = three.nodes["broker"]
    one = LetterKind("a.b", lambda tx, letter: b"")
    for kinds in ([one, one], [LetterKind("A", lambda tx, letter: b"")]):
        with pytest.raises(ValueError, match="registered twice"):
            LetterService(node, Outbox(node.store, now_ms=node.now_ms), kinds)
    assert issubclass(ProtocolViolation, WorkbenchError)


def test_letters_to_an_institution_that_left_are_given_up_and_shown(three: Institutions, desks: tuple[Desk, Desk]) -> None:
    broker, bank = desks
    three.wire.cut("bank")
    letter = post(broker.node)
    three.wait_until(lambda: state(broker.node, letter).tries >= 1)
    parties = broker.node.parties
    broker.node.parties = lambda: [one for one in parties() if one != "bank"]
    try:
        broker.node.store.write(lambda tx: tx.execute("UPDATE outbox SET next_ms = 0 WHERE path = 'letter'").rowcount)
        found = settled(three, broker.node, letter)
    finally:
        del broker.node.parties
    assert (found.state, found.refused_code) == ("REFUSED", "PARTNER_LEFT") and bank.taken == []
    [entry] = [one for one in three.entries("broker", kind="letter.acknowledged") if one.values["letter"] == letter]
    assert (entry.values["code"], entry.values["answer"]) == ("PARTNER_LEFT", "")

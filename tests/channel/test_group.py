"""Group keys of three institutions: a token says who belongs, every message says who sent it."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from session_world import (
    BANK,
    BANK_KEY,
    BROKER,
    BROKER_KEY,
    CARDNET_KEY,
    NOW,
    PQC,
    exchange,
    flips,
    initiator,
    responder,
    sessions,
)
from workbench.channel import group as groups
from workbench.channel.group import TOKEN_PURPOSE, GroupMember, make_token, parse_token
from workbench.channel.session import SealedSession
from workbench.channel.terms import End
from workbench.crypto import random, sm2
from workbench.errors import KeyUnavailable, VerificationError

CARDNET = End("cardnet", CARDNET_KEY.public)
ALL = (BROKER, BANK, CARDNET)
KEYS = {"broker": BROKER_KEY, "bank": BANK_KEY, "cardnet": CARDNET_KEY}


def token(epoch: int = 1, members: Sequence[End] = ALL, **changes: Any) -> bytes:
    arguments = {
        "group": "g-1",
        "leader": "broker",
        "key": BROKER_KEY,
        "provenances": ("simulated",),
        "now_ms": NOW,
        "valid_ms": 3_600_000,
    }
    return make_token(epoch=epoch, members=members, **{**arguments, **changes})


def member(name: str) -> GroupMember:
    return GroupMember(group="g-1", identity=name, key=KEYS[name], leader=BROKER)


def three(payload: bytes | None = None) -> tuple[GroupMember, GroupMember, GroupMember]:
    given = payload if payload is not None else token()
    made = member("broker"), member("bank"), member("cardnet")
    for one in made:
        one.accept_token(given, now_ms=NOW)
    return made


def refuse(one: GroupMember, frame: bytes, *, now_ms: int = NOW) -> None:
    with pytest.raises(VerificationError) as caught:
        one.open(frame, now_ms=now_ms)
    assert (caught.value.code, caught.value.details) == ("FRAME_REFUSED", {})


def refuse_token(one: GroupMember, payload: bytes, *, now_ms: int = NOW) -> None:
    before = one.token
    with pytest.raises(VerificationError) as caught:
        one.accept_token(payload, now_ms=now_ms)
    assert caught.value.code == "GROUP_TOKEN_REFUSED" and caught.value.__cause__ is None
    assert one.token is before


def test_three_institutions_read_one_another_through_their_pairwise_sessions() -> None:
    """The token travels sealed; each of the three sends one frame that both others open."""
    to_bank = sessions()
    terms = replace(PQC)
    arguments = exchange(
        terms, one=initiator(terms, peer=CARDNET), other=responder(terms, identity="cardnet", key=CARDNET_KEY)
    )
    to_cardnet = tuple(SealedSession(one, now_ms=NOW) for one in arguments)
    made = token(provenances=("simulated", ""))
    leader, bank, cardnet = member("broker"), member("bank"), member("cardnet")
    leader.accept_token(made, now_ms=NOW)
    for (mine, theirs), other in ((to_bank, bank), (to_cardnet, cardnet)):
        frame = mine.seal(made, purpose=TOKEN_PURPOSE, now_ms=NOW)
        assert made[-32:] not in frame
        opened = theirs.open(frame, now_ms=NOW, purpose=TOKEN_PURPOSE)
        assert other.accept_token(opened.payload, now_ms=NOW).provenances == ("", "simulated")
    everybody = {"broker": leader, "bank": bank, "cardnet": cardnet}
    for name, sender in everybody.items():
        frame = sender.seal(b"for all of us", purpose="notice", now_ms=NOW)
        assert b"for all of us" not in frame
        for other_name, other in everybody.items():
            if other_name != name:
                message = other.open(frame, now_ms=NOW)
                assert (message.sender, message.payload, message.purpose, message.sequence) == (
                    name,
                    b"for all of us",
                    "notice",
                    1,
                )
        refuse(sender, frame)


def test_every_changed_byte_of_a_group_frame_is_refused() -> None:
    _, bank, cardnet = three()
    frame = bank.seal(b"notice", purpose="notice", now_ms=NOW)
    for wrong in [*flips(frame), *(frame[:size] for size in range(len(frame))), frame + b"\x00"]:
        refuse(cardnet, wrong)
    assert cardnet.open(frame, now_ms=NOW).payload == b"notice"
    refuse(cardnet, frame)


def test_every_changed_byte_of_a_token_is_refused() -> None:
    made, bank = token(), member("bank")
    for wrong in [*flips(made), *(made[:size] for size in range(0, len(made), 13)), made + b"\x00"]:
        refuse_token(bank, wrong)
    bank.accept_token(made, now_ms=NOW)


def test_a_member_cannot_speak_in_another_s_name() -> None:
    """The bank knows the card network's frame key, as all do; it does not have its signing key."""
    broker, bank, _ = three()
    bank._identity = "cardnet"
    refuse(broker, bank.seal(b"forged", purpose="notice", now_ms=NOW))


def test_who_left_reads_nothing_new_and_old_tokens_do_not_return() -> None:
    broker, bank, cardnet = three(first := token(1))
    before = broker.seal(b"old", purpose="notice", now_ms=NOW)
    second = token(2, (BROKER, BANK))
    for one in (broker, bank):
        one.accept_token(second, now_ms=NOW)
    refuse_token(cardnet, second)
    frame = broker.seal(b"without the third", purpose="notice", now_ms=NOW)
    refuse(cardnet, frame)
    refuse(bank, before)
    refuse_token(bank, first)
    refuse_token(bank, token(2))
    assert bank.open(frame, now_ms=NOW).payload == b"without the third"
    bank.leave()
    refuse_token(bank, second)


@pytest.mark.parametrize(
    "changes",
    [
        {"key": BANK_KEY}, {"leader": "bank", "key": BANK_KEY}, {"group": "g-2"}, {"now_ms": NOW + 60_001}, {"now_ms": NOW - 3_600_000},
        {"members": (BROKER, CARDNET)}, {"members": (BROKER, End("bank", sm2.generate(random.SeededSource(b"x")).public), CARDNET)},
        {"members": (End("broker", sm2.generate(random.SeededSource(b"y")).public), BANK)},
    ],
)  # fmt: skip
def test_a_token_that_is_not_the_leader_s_for_this_member_now_is_refused(changes: dict[str, Any]) -> None:
    refuse_token(member("bank"), token(**changes))


def test_members_with_different_keys_notice() -> None:
    """A leader that gives each member another key under one token: the check in the token fits one of them only."""
    made = token()
    refuse_token(member("bank"), made[:-32] + b"k" * 32)


def test_a_group_key_has_its_time_and_its_number_of_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    broker, bank, _ = three()
    frame = broker.seal(b"x", purpose="notice", now_ms=NOW)
    refuse(bank, frame, now_ms=NOW + 3_600_000)
    for one in (broker, member("bank")):
        with pytest.raises(KeyUnavailable) as caught:
            one.seal(b"x", purpose="notice", now_ms=NOW + 3_600_000)
        assert caught.value.code == "REKEY_REQUIRED" and "令牌" in caught.value.zh
    monkeypatch.setattr(groups, "MAX_FRAMES", 1)
    with pytest.raises(KeyUnavailable) as spent:
        broker.seal(b"x", purpose="notice", now_ms=NOW)
    assert spent.value.details["limit"] == "records"


def test_tokens_of_another_form_are_not_made_or_read() -> None:
    for changes in (
        {"valid_ms": 0}, {"valid_ms": 24 * 3_600_000 + 1}, {"group": ""}, {"members": (BROKER,)}, {"members": (BANK, CARDNET)},
        {"epoch": 0}, {"provenances": ("quantum",)}, {"members": (BROKER, End("bank", BROKER_KEY.public))},
    ):  # fmt: skip
        with pytest.raises(ValueError):
            token(**changes)
    made = token()
    encoded = made[4 : 4 + int.from_bytes(made[:4], "big")]
    assert parse_token(encoded).format() == encoded
    for wrong in (
        encoded.replace(b'"v":1', b'"v":2'),
        encoded.replace(b'"epoch":1', b'"epoch":"1"'),
        encoded.replace(b'"leader":"broker",', b""),
    ):
        with pytest.raises((ValueError, VerificationError)):
            parse_token(wrong)


def test_a_member_shows_no_key_and_overwrites_what_it_leaves() -> None:
    made = token()
    _, bank, _ = three(made)
    keys = [key for key, _ in bank._keys.values()]
    assert made[-32:].hex() not in repr(bank) and repr(bank) == "GroupMember(bank in g-1, epoch 1)"
    with pytest.raises(TypeError):
        pickle.dumps(bank)
    bank.leave()
    assert all(not any(key._key) for key in keys)
    with pytest.raises(KeyUnavailable):
        bank.seal(b"x", purpose="notice", now_ms=NOW)

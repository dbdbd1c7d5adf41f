"""The exchange of a session: keys from every share, nothing accepted that was touched, no secret shown."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.hmac import HMAC
from hypothesis import given, settings
from hypothesis import strategies as st

import session_world as world
from session_world import (
    ALL_SUITES,
    BANK,
    BANK_KEY,
    BROKER,
    BROKER_KEY,
    CARDNET_KEY,
    HYBRID,
    PQC,
    FaultyLink,
    exchange,
    flips,
    initiator,
    refuse_message,
    responder,
    same_keys,
    share,
)
from workbench.channel.exchange_messages import parse_message
from workbench.channel.session_keys import derive_keys
from workbench.channel.terms import DEFAULT_SUITES, SUITES, End, Order, Policy, QkdShare, SessionTerms
from workbench.crypto import random, sm2, sm3
from workbench.errors import ProtocolViolation, Refused


@pytest.mark.parametrize("suite", ALL_SUITES)
def test_both_ends_have_the_same_keys_and_say_the_same_of_them(suite: str) -> None:
    terms = replace(
        HYBRID, suites=(suite,), group="g-1", lease="lease-7", own_evidence="ab" * 32, peer_evidence="cd" * 32
    )
    mine, theirs = exchange(terms)
    assert same_keys(mine, theirs) and mine.export == theirs.export and mine.renewal == theirs.renewal
    facts, other = mine.facts(), theirs.facts()
    assert {
        k: facts[k] for k in ("session", "suite", "policy", "key_id", "provenance", "transcript", "group", "lease")
    } == {k: other[k] for k in ("session", "suite", "policy", "key_id", "provenance", "transcript", "group", "lease")}
    assert facts["suite"] == suite and facts["key_id"] == share().key_id and facts["provenance"] == "simulated"
    assert (facts["own_evidence"], facts["peer_evidence"]) == (other["peer_evidence"], other["own_evidence"])


def lv(*values: bytes) -> bytes:
    return b"".join(len(value).to_bytes(4, "big") + value for value in values)


def hash_sm3(data: bytes) -> bytes:
    context = hashes.Hash(hashes.SM3())
    context.update(data)
    return context.finalize()


def test_the_keys_are_those_of_the_document_computed_by_another_library() -> None:
    """Section 5 once more with `cryptography` alone, from the initiator's random bytes and the two messages."""
    one, other = initiator(source=random.SeededSource(b"kat")), responder()
    hello = one.hello()
    other.receive_hello(hello)
    answer = other.answer(share())
    confirm, mine = one.receive_answer(answer)

    stream = random.SeededSource(b"kat")
    seed, scalar = stream(64), stream(32)
    size = int.from_bytes(answer[6:10], "big")
    body = json.loads(answer[10 : 10 + size])
    mlkem_secret = MLKEM768PrivateKey.from_seed_bytes(seed).decapsulate(bytes.fromhex(body["mlkem768"]))
    curve_secret = X25519PrivateKey.from_private_bytes(scalar).exchange(
        X25519PublicKey.from_public_bytes(bytes.fromhex(body["share"]))
    )
    transcript = hash_sm3(lv(b"workbench/v1/session/transcript", hello, answer[10 : 10 + size]))
    inputs = lv(b"workbench/v1/session/secret", share().value, mlkem_secret, curve_secret, b"")

    def make(name: str, length: int) -> bytes:
        info = f"workbench/v1/session/{name}".encode() + b"\x00" + transcript
        return HKDF(hashes.SM3(), length, salt=transcript, info=info).derive(inputs)

    assert mine.transcript == transcript.hex()
    assert mine.session == hash_sm3(lv(b"workbench/v1/session/id", transcript))[:16]
    assert bytes(mine.send._key._key) == make("key/initiator", 16) and mine.send._salt == make("salt/initiator", 4)
    assert bytes(mine.receive._key._key) == make("key/responder", 16) and mine.receive._salt == make(
        "salt/responder", 4
    )
    assert mine.renewal.reveal() == make("renewal", 32) and mine.export.reveal() == make("export", 32)
    mac = HMAC(make("confirm/responder", 32), hashes.SM3())
    mac.update(transcript + answer[10 + size : 10 + size + 64])
    assert answer[-32:] == mac.finalize()
    length = int.from_bytes(confirm[6:10], "big")
    confirmed = hash_sm3(lv(b"workbench/v1/session/confirm", hello, answer, confirm[10 : 10 + length]))
    mac = HMAC(make("confirm/initiator", 32), hashes.SM3())
    mac.update(confirmed + confirm[10 + length : 10 + length + 64])
    assert confirm[-32:] == mac.finalize()


def test_the_hello_says_what_the_transcript_must_hold() -> None:
    terms = replace(
        HYBRID, suites=ALL_SUITES, lease="L-1", group="G-1", own_evidence="ab" * 32, order=Order.STRICT, signed=True
    )
    hello = initiator(terms).hello()
    assert hello[:6] == b"WBHS\x01\x01"
    body = json.loads(hello[10 : 10 + int.from_bytes(hello[6:10], "big")])
    assert len(hello) == 10 + int.from_bytes(hello[6:10], "big") + 64
    assert set(body) == {
        "v", "kind", "role", "from", "to", "from_key", "to_key", "session", "epoch", "nonce", "policy", "provenances", "suites",
        "order", "signed", "group", "lease", "evidence", "key_id", "provenance", "mlkem768", "shares",
    }  # fmt: skip
    assert (body["from"], body["to"], body["role"]) == ("broker", "bank", "initiator")
    assert body["suites"] == list(ALL_SUITES) and set(body["shares"]) == {"x25519", "sm2"}
    assert len(bytes.fromhex(body["mlkem768"])) == 1184 and body["lease"] == "L-1" and body["evidence"] == "ab" * 32


# ------------------------------------------------------------------------------------------- each share counts

SECRETS = {"qkd": b"q" * 32, "mlkem_secret": b"m" * 32, "curve_secret": b"c" * 32, "renewal": b""}


def frame_of(**changes: bytes) -> bytes:
    made = derive_keys(
        SUITES[DEFAULT_SUITES[0]], bytes(32), **{**SECRETS, **changes}, key_id="k", provenance="simulated"
    )
    return next(iter(made.send_keys.values())).seal(b"header", 1, b"payload")


def test_who_lacks_any_one_share_has_other_keys() -> None:
    right = frame_of()
    assert frame_of() == right
    for name in SECRETS:
        assert frame_of(**{name: b"x" * 32}) != right, name


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=6), st.binary(max_size=6), st.binary(max_size=6))
def test_inputs_cannot_be_moved_from_one_share_into_the_next(left: bytes, middle: bytes, right: bytes) -> None:
    one = frame_of(qkd=left + middle, mlkem_secret=right)
    other = frame_of(qkd=left, mlkem_secret=middle + right)
    assert (one == other) == (middle == b"")


def test_another_value_under_the_same_key_id_is_found_before_any_payload() -> None:
    one, other = initiator(), responder()
    other.receive_hello(one.hello())
    wrong = QkdShare(share().key_id, "simulated", b"w" * 32)
    refuse_message(lambda: one.receive_answer(other.answer(wrong)))


# ------------------------------------------------------------------------------------------ what was touched


def places(message: bytes, *, every: int) -> list[int]:
    """All places but those inside the long ML-KEM value, of which each `every`th."""
    start = message.index(b'"mlkem768":"') + 12 if b'"mlkem768":"' in message else len(message)
    end = message.index(b'"', start) if start < len(message) else start
    return [place for place in range(len(message)) if not start <= place < end or (place - start) % every == 0]


def _flip_all(every: int) -> None:
    one, other = initiator(), responder()
    hello = one.hello()
    for changed in flips(hello, iter(places(hello, every=every))):
        refuse_message(lambda changed=changed: other.receive_hello(changed))
    assert other.state == "new"
    other.receive_hello(hello)
    answer = other.answer(share())
    for changed in flips(answer, iter(places(answer, every=every))):
        refuse_message(lambda changed=changed: one.receive_answer(changed))
    assert one.state == "waiting"
    confirm, mine = one.receive_answer(answer)
    for changed in flips(confirm):
        refuse_message(lambda changed=changed: other.receive_confirm(changed))
    assert same_keys(mine, other.receive_confirm(confirm)), "what was refused changed nothing"


def test_every_changed_byte_of_every_message_is_refused_and_changes_nothing() -> None:
    _flip_all(16)


@pytest.mark.soak
def test_every_changed_byte_of_the_long_values_too() -> None:
    _flip_all(1)


def test_messages_cut_or_continued_are_refused() -> None:
    one, other = initiator(), responder()
    hello = one.hello()
    for wrong in [
        *(hello[:size] for size in (*range(100), *range(100, len(hello), 97), len(hello) - 1)),
        hello + b"\x00",
    ]:
        refuse_message(lambda wrong=wrong: other.receive_hello(wrong))
    other.receive_hello(hello)
    answer = other.answer(share())
    for wrong in [*(answer[:size] for size in range(0, len(answer), 211)), answer + b"\x00", answer[:-1]]:
        refuse_message(lambda wrong=wrong: one.receive_answer(wrong))


def test_messages_of_another_exchange_do_not_fit() -> None:
    first, second = (initiator(), responder()), (initiator(), responder())
    for one, other in (first, second):
        other.receive_hello(one.hello())
    answers = [pair[1].answer(share()) for pair in (first, second)]
    refuse_message(lambda: first[0].receive_answer(answers[1]))
    confirms = [pair[0].receive_answer(answer)[0] for pair, answer in zip((first, second), answers, strict=True)]
    refuse_message(lambda: first[1].receive_confirm(confirms[1]))
    assert first[1].receive_confirm(confirms[0]).session != second[1].receive_confirm(confirms[1]).session


def test_an_end_does_not_accept_its_own_messages_back() -> None:
    one, other = initiator(), responder()
    hello = one.hello()
    refuse_message(lambda: one.receive_answer(hello))
    other.receive_hello(hello)
    refuse_message(lambda: other.receive_confirm(other.answer(share())))


def test_without_the_pinned_key_nobody_is_believed() -> None:
    """Somebody with the identity's name and a key of their own: each end refuses, at its first message."""
    false = initiator(key=CARDNET_KEY)
    refuse_message(lambda: responder().receive_hello(false.hello()))
    one, middle = initiator(), responder(key=CARDNET_KEY)
    hello = one.hello()
    refuse_message(lambda: middle.receive_hello(hello))  # the hello names the key it is meant for
    middle._own = BANK  # it claims the bank's key, whose signature it cannot make
    middle.receive_hello(hello)
    refuse_message(lambda: one.receive_answer(middle.answer(share())))


def test_a_hello_for_somebody_else_is_refused() -> None:
    third = End("cardnet", CARDNET_KEY.public)
    hello = initiator(peer=third).hello()
    refuse_message(lambda: responder().receive_hello(hello))
    refuse_message(
        lambda: responder(identity="cardnet", key=CARDNET_KEY, peer=End("adviser", BROKER_KEY.public)).receive_hello(
            hello
        )
    )


def test_a_repeated_hello_meets_fresh_keys_and_nobody_who_can_confirm() -> None:
    one, other = initiator(PQC), responder(PQC)
    hello = one.hello()
    other.receive_hello(hello)
    confirm, _ = one.receive_answer(other.answer(None))
    again = responder(PQC)
    again.receive_hello(hello)
    again.answer(None)
    refuse_message(lambda: again.receive_confirm(confirm))


def test_calls_out_of_order_are_refused_as_messages_and_mistakes_as_calls() -> None:
    one, other = initiator(), responder()
    refuse_message(lambda: one.receive_answer(b""))
    refuse_message(lambda: other.receive_confirm(b""))
    for call in (lambda: other.answer(None), lambda: other.refuse("BUSY")):
        with pytest.raises(ValueError):
            call()
    hello = one.hello()
    with pytest.raises(ValueError):
        one.hello()
    other.receive_hello(hello)
    refuse_message(lambda: other.receive_hello(hello))
    with pytest.raises(ValueError, match="asked for"):
        other.answer(share(2))


def test_an_exchange_that_is_over_stays_over() -> None:
    one, other = initiator(), responder()
    other.receive_hello(one.hello())
    answer = other.answer(share())
    confirm, _ = one.receive_answer(answer)
    other.receive_confirm(confirm)
    for call in (
        lambda: one.receive_answer(answer),
        one.hello,
        lambda: other.receive_confirm(confirm),
        lambda: other.answer(share()),
    ):
        with pytest.raises(Refused) as caught:
            call()
        assert caught.value.code == "SESSION_BROKEN"


# -------------------------------------------------------------------------------------------------- secrets


def test_no_secret_in_what_is_shown_raised_or_stored() -> None:
    one, other = initiator(), responder()
    other.receive_hello(one.hello())
    answer = other.answer(share())
    shown = [repr(one), repr(other), repr(share()), repr(HYBRID)]
    confirm, mine = one.receive_answer(answer)
    theirs = other.receive_confirm(confirm)
    shown += [repr(mine), repr(mine.send), repr(mine.export), repr(one), str(mine.facts())]
    secrets = [
        share().value,
        bytes(mine.send._key._key),
        bytes(mine.receive._key._key),
        mine.export.reveal(),
        mine.renewal.reveal(),
    ]
    for text in shown:
        for secret in secrets:
            assert secret.hex() not in text and repr(secret)[2:-1] not in text
    for value in (one, other, mine, mine.export, mine.send._key):
        for copier in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError):
                copier(value)
    with pytest.raises(TypeError):
        hash(mine.export)
    theirs.wipe()
    with pytest.raises(ValueError, match="wiped"):
        theirs.export.reveal()


def test_secrets_are_overwritten_when_the_exchange_is_over() -> None:
    one, other = initiator(), responder()
    other.receive_hello(one.hello())
    scalar, qkd = one._shares.x25519 if one._shares else None, one._qkd
    assert scalar is not None and qkd is not None and len(scalar) == 32
    answer = other.answer(share())
    keys = other._keys
    assert keys is not None
    confirms = list(keys.confirm.values())
    confirm, _ = one.receive_answer(answer)
    other.receive_confirm(confirm)
    assert scalar.wiped and qkd.wiped and all(one_key.wiped for one_key in confirms) and one._shares is None
    ended = initiator()
    ended.hello()
    kept = ended._qkd
    ended.end()
    assert kept is not None and kept.wiped and ended._shares is None


def test_terms_and_shares_of_another_form_are_not_made() -> None:
    for wrong in (
        {"suites": ()}, {"suites": ("none",)}, {"suites": DEFAULT_SUITES * 2}, {"provenances": ("quantum",)},
        {"group": "a b"}, {"lease": "x" * 129}, {"own_evidence": "AB" * 32}, {"peer_evidence": "ab"},
    ):  # fmt: skip
        with pytest.raises(ValueError):
            replace(HYBRID, **wrong)
    with pytest.raises(ValueError):
        SessionTerms(Policy.PQC_ONLY, provenances=("simulated",))
    for arguments in (("", "simulated", b"x" * 32), ("k", "quantum", b"x" * 32), ("k", "simulated", b"x" * 31)):
        with pytest.raises(ValueError):
            QkdShare(*arguments)
    with pytest.raises(ValueError):
        End("Broker", BROKER_KEY.public)
    with pytest.raises(ValueError):
        initiator(peer=BROKER)


def test_a_message_has_one_spelling() -> None:
    """The same values written otherwise, or one field more, do not parse."""
    hello = initiator().hello()
    size = int.from_bytes(hello[6:10], "big")
    body = json.loads(hello[10 : 10 + size])
    for other in (
        json.dumps(body), json.dumps({**body, "more": 1}, sort_keys=True, separators=(",", ":")),
        json.dumps({**body, "v": 2}, sort_keys=True, separators=(",", ":")),
        json.dumps({**body, "signed": 0}, sort_keys=True, separators=(",", ":")),
        json.dumps({**body, "shares": {}}, sort_keys=True, separators=(",", ":")),
        json.dumps({**body, "suites": body["suites"] * 2}, sort_keys=True, separators=(",", ":")),
        json.dumps({**body, "epoch": 1}, sort_keys=True, separators=(",", ":")),
        json.dumps({**body, "provenances": ["simulated", "imported"]}, sort_keys=True, separators=(",", ":")),
    ):  # fmt: skip
        encoded = other.encode()
        refuse_message(
            lambda encoded=encoded: parse_message(
                hello[:6] + len(encoded).to_bytes(4, "big") + encoded + hello[10 + size :], 1
            )
        )
    assert sm3.digest(parse_message(hello, 1).signed + hello[-64:]) == sm3.digest(hello)


def test_a_device_that_keeps_its_key_may_sign() -> None:
    class Device:
        """Signs, and has nothing to hand out."""

        @property
        def public(self) -> sm2.PublicKey:
            return BROKER.key

        def sign(self, message: bytes, /) -> bytes:
            return BROKER_KEY.sign(message)

    mine, theirs = exchange(one=initiator(key=Device()))
    assert same_keys(mine, theirs)


def test_the_names_of_the_two_directions_keys_differ_and_are_the_same_at_both_ends() -> None:
    mine, theirs = exchange()
    names = (mine.facts()["send_key"], mine.facts()["receive_key"])
    assert names == (theirs.facts()["receive_key"], theirs.facts()["send_key"]) and names[0] != names[1]
    assert names[0] == f"{mine.session.hex()}/0/initiator"


@pytest.mark.parametrize("seed", range(12))
def test_over_a_faulty_link_an_exchange_ends_in_one_session_or_not_at_all(seed: int) -> None:
    """Messages are lost, repeated, overtaken and altered; each side sends its last one again until something comes."""
    one, other = initiator(), responder()
    there, back = FaultyLink(seed, drop=0.3), FaultyLink(seed + 1000, drop=0.3)
    hello, answer, confirm = one.hello(), b"", b""
    outcome: dict[str, Any] = {}

    def at_responder(message: bytes) -> None:
        nonlocal answer
        try:
            if message[5] == 1 and not answer:
                other.receive_hello(message)
                answer = other.answer(share())
            elif message[5] == 3 and "other" not in outcome:
                outcome["other"] = other.receive_confirm(message)
        except ProtocolViolation as error:
            assert error.code == "HANDSHAKE_REFUSED"

    def at_initiator(message: bytes) -> None:
        nonlocal confirm
        try:
            if not confirm:
                confirm, outcome["one"] = one.receive_answer(message)
        except ProtocolViolation as error:
            assert error.code == "HANDSHAKE_REFUSED"

    for _ in range(40):
        there.carry(confirm or hello, at_responder)
        if answer:
            back.carry(answer, at_initiator)
    assert same_keys(outcome["one"], outcome["other"]) and outcome["one"].session == outcome["other"].session


def test_the_document_s_example_runs() -> None:
    text = (Path(__file__).parents[2] / "docs" / "protocols" / "frame.md").read_text("utf-8")
    example = text[text.index("```python\n") + 10 :]
    names = {
        "broker_key": BROKER_KEY, "bank_key": BANK_KEY, "reserved": share(), "delivered": share(), "next_key": share(2), "now_ms": world.NOW,
    }  # fmt: skip
    exec(compile(example[: example.index("```")], "frame.md", "exec"), names)
    assert names["wanted"].key_id == share().key_id  # type: ignore[attr-defined]  # what the example made

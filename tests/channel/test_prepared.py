"""Keys made before the exchange: the same bytes on the wire, the same session, used once."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace

import pytest

from workbench.channel.exchange_messages import HELLO, parse_message
from workbench.channel.handshake import Initiator
from workbench.channel.prepared import PreparedShares
from workbench.channel.session import SealedSession
from workbench.channel.terms import DEFAULT_SUITES
from workbench.crypto import random
from workbench.errors import KeyUnavailable
from session_world import ALL_SUITES, BANK, BROKER_KEY, HYBRID, NOW, exchange, initiator, responder

SEED = b"shares before the exchange"


@pytest.mark.parametrize("suites", [DEFAULT_SUITES, ALL_SUITES, ALL_SUITES[2:]], ids=["x25519", "both", "sm2"])
def test_a_session_with_prepared_shares_is_a_session_like_any_other(suites: tuple[str, ...]) -> None:
    terms = replace(HYBRID, suites=suites)
    prepared = PreparedShares.make(suites)
    one = initiator(terms, prepared=prepared)
    mine, theirs = exchange(terms, one=one, other=responder(terms))
    said = parse_message(one._hello, HELLO)
    stated = prepared.public()
    assert said.body["mlkem768"] == stated.pop("mlkem768")
    assert said.body["shares"] == {"sm2" if name == "sm2_share" else name: value for name, value in stated.items()}
    sender, receiver = SealedSession(mine, now_ms=NOW), SealedSession(theirs, now_ms=NOW)
    frame = sender.seal(b"payload", purpose="ask", now_ms=NOW)
    assert receiver.open(frame, now_ms=NOW, purpose="ask").payload == b"payload"


def test_the_same_randomness_gives_the_same_hello_whether_the_shares_were_made_before_or_in_it() -> None:
    before = random.SeededSource(SEED)
    shares = PreparedShares.make(HYBRID.suites, before)
    prepared = parse_message(initiator(prepared=shares, source=before).hello(), HELLO)
    fresh = parse_message(initiator(source=random.SeededSource(SEED)).hello(), HELLO)
    assert prepared.encoded == fresh.encoded


def test_shares_serve_one_exchange_and_their_own_suites_only() -> None:
    shares = PreparedShares.make(DEFAULT_SUITES)
    with pytest.raises(ValueError, match="other suites"):
        initiator(replace(HYBRID, suites=ALL_SUITES), prepared=shares)
    with pytest.raises(KeyUnavailable):  # refused before anything is sent: the shares are still unused
        Initiator(identity="broker", key=BROKER_KEY, peer=BANK, terms=HYBRID, qkd=None, prepared=shares)
    initiator(prepared=shares)
    with pytest.raises(ValueError, match="used"):
        initiator(prepared=shares)


def test_shares_given_up_are_overwritten_and_never_copied_or_shown() -> None:
    shares = PreparedShares.make(ALL_SUITES, random.SeededSource(SEED))
    inner = shares._shares
    assert inner is not None and inner.x25519 is not None
    secret = inner.x25519.reveal()
    assert secret.hex() not in repr(shares) + repr(inner)
    for value in (shares, inner):
        for copier in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError):
                copier(value)
    shares.wipe()
    assert inner.x25519.wiped
    with pytest.raises(ValueError, match="used"):
        shares.take(ALL_SUITES)

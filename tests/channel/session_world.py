"""Two ends in one process, and a link between them that loses, repeats, reorders and alters what it carries."""

from __future__ import annotations

import random as plain_random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from workbench.channel import frame as frames
from workbench.channel.handshake import Initiator, Responder
from workbench.channel.session import SealedSession
from workbench.channel.session_keys import Established
from workbench.channel.session_state import Limits
from workbench.channel.terms import SUITES, End, Policy, QkdShare, SessionTerms
from workbench.crypto import random, sm2
from workbench.errors import ProtocolViolation, VerificationError

NOW = 1_772_438_400_000
BROKER_KEY, BANK_KEY, CARDNET_KEY = (
    sm2.generate(random.SeededSource(name)) for name in (b"session broker", b"session bank", b"session cardnet")
)
BROKER, BANK = End("broker", BROKER_KEY.public), End("bank", BANK_KEY.public)
HYBRID = SessionTerms(Policy.HYBRID_REQUIRED)
PQC = SessionTerms(Policy.PQC_ONLY)
ALL_SUITES = tuple(SUITES)


def share(number: int = 1, provenance: str = "simulated") -> QkdShare:
    """A QKD key whose 32 bytes are easy to look for."""
    return QkdShare(f"6ba7b810-9dad-51d1-80b4-{number:012x}", provenance, f"qkd-secret-number-{number:014d}".encode())


def mirrored(terms: SessionTerms) -> SessionTerms:
    """The same terms as the other end has them: evidence changes sides."""
    return replace(terms, own_evidence=terms.peer_evidence, peer_evidence=terms.own_evidence)


def initiator(terms: SessionTerms = HYBRID, qkd: QkdShare | None = None, **changes: Any) -> Initiator:
    if qkd is None and terms.policy is not Policy.PQC_ONLY:
        qkd = share()
    return Initiator(**{"identity": "broker", "key": BROKER_KEY, "peer": BANK, "terms": terms, "qkd": qkd, **changes})


def responder(terms: SessionTerms = HYBRID, **changes: Any) -> Responder:
    return Responder(**{"identity": "bank", "key": BANK_KEY, "peer": BROKER, "terms": mirrored(terms), **changes})


def exchange(
    terms: SessionTerms = HYBRID,
    *,
    qkd: QkdShare | None = None,
    one: Initiator | None = None,
    other: Responder | None = None,
) -> tuple[Established, Established]:
    """Run the exchange to its end: what the initiator and the responder have then."""
    if qkd is None and terms.policy is not Policy.PQC_ONLY:
        qkd = share()
    one = one if one is not None else initiator(terms, qkd)
    other = other if other is not None else responder(terms)
    other.receive_hello(one.hello())
    confirm, mine = one.receive_answer(other.answer(qkd))
    return mine, other.receive_confirm(confirm)


def sessions(
    terms: SessionTerms = HYBRID, *, limits: Limits | None = None, now_ms: int = NOW, qkd: QkdShare | None = None
) -> tuple[SealedSession, SealedSession]:
    """(initiator's, responder's), ready."""
    mine, theirs = exchange(terms, qkd=qkd)
    return SealedSession(mine, now_ms=now_ms, limits=limits), SealedSession(theirs, now_ms=now_ms, limits=limits)


def renew(one: SealedSession, other: SealedSession, qkd: QkdShare | None, *, now_ms: int = NOW) -> None:
    """The next epoch at both ends."""
    first, second = one.renewal(key=BROKER_KEY, qkd=qkd), other.renewal_responder(key=BANK_KEY)
    second.receive_hello(first.hello())
    confirm, mine = first.receive_answer(second.answer(qkd))
    one.adopt(mine, now_ms=now_ms)
    other.adopt(second.receive_confirm(confirm), now_ms=now_ms)


def same_keys(one: Any, other: Any) -> bool:
    """Whether each end opens what the other one seals."""
    header = frames.Header(one.suite.number, 1, 0, one.session, one.epoch, 1, "probe").format()
    there = other.receive.open_sealed(frames.split(one.send.seal(header, 1, b"there")))
    back = one.receive.open_sealed(frames.split(other.send.seal(header, 1, b"back")))
    return there == b"there" and back == b"back"


def refuse_message(call: Callable[[], object]) -> None:
    """The one refusal of an exchange, without a hint why."""
    with pytest.raises(ProtocolViolation) as caught:
        call()
    assert caught.value.code == "HANDSHAKE_REFUSED" and caught.value.details == {}
    assert caught.value.__cause__ is None and (caught.value.__context__ is None or caught.value.__suppress_context__)


def seal(session: SealedSession, payload: bytes = b"question", *, now_ms: int = NOW) -> bytes:
    return session.seal(payload, purpose="question", now_ms=now_ms)


def take(session: SealedSession, frame: bytes, *, now_ms: int = NOW) -> bytes:
    return session.open(frame, now_ms=now_ms).payload


def refuse_frame(session: SealedSession, frame: bytes, **arguments: Any) -> None:
    """The one refusal: type, code, both sentences, no detail, no cause; nothing but the count has changed."""
    before = session.status()
    with pytest.raises(VerificationError) as caught:
        session.open(frame, **{"now_ms": NOW, **arguments})
    error = caught.value
    assert (error.code, error.zh, error.en, error.details) == (
        "FRAME_REFUSED",
        "密文帧被拒收",
        "a sealed frame was refused",
        {},
    )
    assert error.__cause__ is None and error.__context__ is None
    after = session.status()
    assert after.refused == before.refused + 1
    assert replace(after, refused=before.refused, live=True) == replace(before, live=True)


def flips(data: bytes, places: Iterator[int] | range | None = None, mask: int = 1) -> Iterator[bytes]:
    """`data` with one byte changed, place by place."""
    for place in places if places is not None else range(len(data)):
        yield data[:place] + bytes([data[place] ^ mask]) + data[place + 1 :]


class FaultyLink:
    """Carries frames one way. Every frame may be lost, repeated, held back behind later ones, or arrive altered as well."""

    def __init__(
        self, seed: int, *, drop: float = 0.1, repeat: float = 0.1, hold: float = 0.2, alter: float = 0.1
    ) -> None:
        self._draw = plain_random.Random(seed)
        self._rates = (drop, repeat, hold, alter)
        self._held: list[bytes] = []

    def carry(self, frame: bytes, deliver: Callable[[bytes], None]) -> None:
        drop, repeat, hold, alter = (self._draw.random() < rate for rate in self._rates)
        if alter:
            place = self._draw.randrange(len(frame))
            deliver(frame[:place] + bytes([frame[place] ^ (1 << self._draw.randrange(8))]) + frame[place + 1 :])
        if drop:
            return
        if hold:
            self._held.append(frame)
            return
        deliver(frame)
        if repeat:
            deliver(frame)
        while self._held and self._draw.random() < 0.7:
            deliver(self._held.pop(self._draw.randrange(len(self._held))))

    def drain(self, deliver: Callable[[bytes], None]) -> None:
        for frame in self._held:
            deliver(frame)
        self._held.clear()

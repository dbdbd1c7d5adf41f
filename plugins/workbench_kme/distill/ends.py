"""The two ends of a line distilling one block: bytes in, bytes out, no socket, no clock.

Document: docs/protocols/qkd.md sections 5 to 9; the names of the states are those of its tables. An end never raises for
what the other end sent: it ends the block without a key and says why in `result`. Its caller persists the pool
(`AuthenticationPool.state`) before it sends what an end returned.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Final

import numpy as np

from workbench.crypto import compare, poly1305
from workbench.crypto.random import RandomSource
from workbench.errors import KeyUnavailable, ProtocolViolation
from workbench_kme.distill import bodies, toeplitz
from workbench_kme.distill.bodies import SEED_SIZE, Verification, pack
from workbench_kme.distill.cascade import Cascade, first_block_size, shannon_bits
from workbench_kme.distill.frames import (
    MOST_MESSAGES,
    PAD,
    AuthenticationFailed,
    FrameReader,
    FrameWriter,
    Message,
    refused,
)
from workbench_kme.distill.outcome import KEY_BYTES, REASONS, BlockResult, DistillParameters, Reason
from workbench_kme.distill.pool import AuthenticationPool
from workbench_kme.distill.sifting import Sifted, announce, answer, conclude
from workbench_kme.physics.views import Counts, ReceiverView, SenderView, Small

MOST_ROUNDS: Final = MOST_MESSAGES - 16
"""Every round costs a message at most; some are left for the end. A block needs about two hundred."""
_HASH_KEY = 2 * PAD
_CODES = {reason: code for code, reason in REASONS.items()}


class _Ended(Exception):
    """Control flow inside this module: the block ends here, for this reason."""

    def __init__(self, reason: Reason, *, by_peer: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.by_peer = by_peer


@dataclass(frozen=True, slots=True)
class _Division:
    """How the secret string is divided: bytes back to each half, whole keys."""

    length: int
    to_sender: int
    to_receiver: int

    @property
    def keys(self) -> int:
        return (self.length - 8 * (self.to_sender + self.to_receiver)) // (8 * KEY_BYTES)


class _End:
    """What both roles do alike."""

    def __init__(
        self, view: SenderView | ReceiverView, pool: AuthenticationPool, parameters: DistillParameters, source: RandomSource
    ) -> None:
        pool.expect(view.block)
        self.result: BlockResult | None = None
        self._block = view.block
        self._pool = pool
        self._parameters = parameters
        self._source = source
        self._writer = FrameWriter(pool, view.block)
        self._reader = FrameReader(pool, view.block)
        self._state = ""
        self._sifted: Sifted | None = None
        self._cascade: Cascade | None = None
        self._sent_rounds = 0
        self._messages = 0
        self._outgoing: list[bytes] = []
        self._division: _Division | None = None

    def receive(self, message: bytes) -> list[bytes]:
        """Take one message of the other end; what to send in return, possibly nothing.

        After `result` is there, messages are ignored.
        """
        if self.result is not None:
            return []
        self._messages += 1
        try:
            heard = self._reader.open(message)
            if heard.kind == "qkd-abort":
                raise _Ended(_reason(heard.body), by_peer=True)
            self._take(heard)
        except AuthenticationFailed:
            self._end("authentication-failed")
        except ProtocolViolation:
            self._end("message-refused")
        except KeyUnavailable:
            self._end("pool-exhausted")
        except _Ended as ended:
            self._end(ended.reason, by_peer=ended.by_peer)
        return self._sent()

    def stop(self) -> list[bytes]:
        """End the block from this side: an alarm, a time limit, a person. No effect on a block that has its result."""
        if self.result is None:
            self._end("stopped")
        return self._sent()

    def _take(self, heard: Message) -> None:
        raise NotImplementedError

    def _send(self, kind: str, body: bytes) -> None:
        self._outgoing.append(self._writer.seal(kind, body))
        self._messages += 1

    def _sent(self) -> list[bytes]:
        sent, self._outgoing = self._outgoing, []
        return sent

    def _end(self, reason: Reason, *, by_peer: bool = False) -> None:
        """No key: say so to the other end where that can be authenticated, and to the caller."""
        if not by_peer and reason != "pool-exhausted":
            with contextlib.suppress(KeyUnavailable):
                self._send("qkd-abort", bytes([_CODES[reason]]))
        self._finish(b"", verified=False, aborted=reason, by_peer=by_peer)

    def _finish(self, key: bytes, *, verified: bool, aborted: Reason | None = None, by_peer: bool = False) -> None:
        counts = self._sifted.counts if self._sifted else None
        size = counts.key_size if counts else 0
        cascade, division = self._cascade, self._division
        leak = cascade.disclosed if cascade else 0
        if cascade and cascade.finished and not cascade.failed:
            qber = cascade.errors / size
            floor = shannon_bits(size, cascade.errors)
        else:
            qber, floor = (_test_rate(counts) if counts else 0.0), 0.0
        self.result = BlockResult(
            block=self._block,
            key=key,
            sifted=size,
            qber=qber,
            leak_bits=leak,
            efficiency=leak / floor if floor else 0.0,
            rounds=cascade.round if cascade else 0,
            verified=verified,
            length_bits=division.length if division and verified else 0,
            epsilon=self._parameters.epsilon,
            authentication_bits_used=8 * (self._writer.drawn + self._reader.drawn),
            aborted=aborted or "",
            by_peer=by_peer,
            feedback_bits=leak,
            pool_bits=8 * (division.to_sender + division.to_receiver) if division and verified else 0,
            messages=self._messages,
            counts=counts,
        )
        self._sifted = self._cascade = None

    def _start_correction(self, sifted: Sifted, seed: bytes, *, corrects: bool) -> Cascade:
        counts = sifted.counts
        size = first_block_size(counts.test_size, counts.test_errors)
        self._sifted = sifted
        self._cascade = Cascade(sifted.key, corrects=corrects, seed=seed, block_size=size)
        return self._cascade

    def _check_counts(self, counts: Counts) -> None:
        """Both ends refuse a block that cannot or must not give a key."""
        rules = self._parameters
        if counts.key_size < rules.least_key_bits or counts.test_size < rules.least_test_bits:
            raise _Ended("too-few-detections")
        if counts.key_size > bodies.MOST_KEY_BITS:
            raise refused()
        if _test_rate(counts) > rules.qber_limit:
            raise _Ended("qber-beyond-limit")

    def _exchange(self, body: bytes) -> None:
        """Take the other end's parities of one or two rounds; send the own ones that it lacks."""
        cascade = self._cascade
        assert cascade is not None
        first, rounds = bodies.parse_parities(body)
        if first != cascade.round:
            raise refused()
        unsent: list[Small] = []
        for theirs in rounds:
            if cascade.finished or len(cascade.parities()) != len(theirs):
                raise refused()
            self._answer(cascade, unsent)
            cascade.advance(theirs)
        if not cascade.finished:
            self._answer(cascade, unsent)
        if cascade.failed or cascade.round > MOST_ROUNDS:
            raise _Ended("correction-failed")
        if unsent:
            self._send("qkd-parities", bodies.format_parities(self._sent_rounds - len(unsent), unsent))

    def _answer(self, cascade: Cascade, unsent: list[Small]) -> None:
        if cascade.round == self._sent_rounds:
            unsent.append(cascade.parities())
            self._sent_rounds += 1

    def _divide(self, seed: Small) -> bytes:
        """Shorten the corrected key, pay the pool, keep whole keys."""
        assert self._cascade is not None and self._division is not None
        division = self._division
        secret = pack(toeplitz.multiply(seed, self._cascade.key, division.length))
        middle, keys = division.to_sender, division.to_sender + division.to_receiver
        self._pool.add(self._block, secret[:middle], secret[middle:keys])
        return secret[keys : keys + KEY_BYTES * division.keys]

    def _digest(self, key: bytes) -> bytes:
        """The verification hash of the corrected key under 32 fresh pool bytes."""
        assert self._cascade is not None
        bits = self._cascade.key
        return poly1305.tag(key, len(bits).to_bytes(8, "big") + pack(bits))


class SenderEnd(_End):
    """The end that prepared the pulses.

    view: of one block, whose number is above that of every block this pool has seen. source: the operating system's
    random bytes; a seeded source only where the whole run is simulated.
    """

    def __init__(
        self, view: SenderView, pool: AuthenticationPool, parameters: DistillParameters, source: RandomSource
    ) -> None:
        super().__init__(view, pool, parameters, source)
        self._view = view
        self._public_seed = b""
        self._seed = np.zeros(0, np.uint8)
        self._state = "waiting"

    def begin(self) -> list[bytes]:
        """Nothing: the receiver speaks first."""
        return []

    def _take(self, heard: Message) -> None:
        if (self._state, heard.kind) == ("waiting", "qkd-detections"):
            detections = bodies.parse_detections(heard.body)
            told, sifted = answer(self._view, detections)
            self._sifted, self._public_seed = sifted, detections.seed
            self._state = "correcting"
            self._send("qkd-sifting", bodies.format_sifting(told))
        elif (self._state, heard.kind) == ("correcting", "qkd-parities"):
            self._correct(heard)
        elif (self._state, heard.kind) == ("verifying", "qkd-verdict"):
            self._conclude(heard)
        else:
            raise refused()

    def _correct(self, heard: Message) -> None:
        assert self._sifted is not None
        if self._cascade is None:
            self._check_counts(self._sifted.counts)
            self._cascade = self._start_correction(self._sifted, self._public_seed, corrects=False)
        self._exchange(heard.body)
        if self._cascade.finished:
            self._verify()

    def _verify(self) -> None:
        """Decide the length, draw the matrix, and let the receiver check its key."""
        assert self._cascade is not None and self._sifted is not None
        cascade = self._cascade
        self._writer.prepare()
        hash_key = self._writer.draw(_HASH_KEY)
        length = self._parameters.secret_bits(self._sifted.counts, cascade.disclosed)
        division = self._plan(length, self._writer.drawn + PAD, self._reader.drawn + PAD)
        if division.keys < 1:
            raise _Ended("no-key-left")
        self._division = division
        size = len(cascade.key) + length - 1
        self._seed = np.unpackbits(np.frombuffer(self._source(-(-size // 8)), np.uint8), count=size)
        body = Verification(
            segment=hash_key.segment,
            offset=hash_key.offset,
            digest=self._digest(hash_key.value),
            length=length,
            sender_refill=division.to_sender,
            receiver_refill=division.to_receiver,
            seed=self._seed,
        )
        self._state = "verifying"
        self._send("qkd-verification", bodies.format_verification(body))

    def _plan(self, length: int, sender_drew: int, receiver_drew: int) -> _Division:
        """Give back what the block drew; up to a quarter of the rest to halves below their target."""
        spare = max(0, length // 8 - sender_drew - receiver_drew) // 8
        target = self._parameters.pool_target_bytes
        return _Division(
            length,
            sender_drew + min(spare, max(0, target - self._pool.own_bytes)),
            receiver_drew + min(spare, max(0, target - self._pool.their_bytes)),
        )

    def _conclude(self, heard: Message) -> None:
        assert self._cascade is not None and self._division is not None
        expected = bodies.format_verdict(self._division.length, self._cascade.disclosed, self._cascade.errors)
        if heard.body != expected:
            raise _Ended("verification-failed")
        key = self._divide(self._seed)
        self._pool.share(self._block)
        self._send("qkd-done", self._division.keys.to_bytes(4, "big"))
        self._finish(key, verified=True)


class ReceiverEnd(_End):
    """The end that detected the pulses; it speaks first and corrects its key towards the sender's.

    Arguments as for `SenderEnd`.
    """

    def __init__(
        self, view: ReceiverView, pool: AuthenticationPool, parameters: DistillParameters, source: RandomSource
    ) -> None:
        super().__init__(view, pool, parameters, source)
        self._view = view
        self._seed = b""
        self._key = b""
        self._state = "new"

    def begin(self) -> list[bytes]:
        """The first message of the block. Raises KeyUnavailable if the pool is used up."""
        if self._state != "new":
            raise ValueError("a block begins once")
        self._seed = self._source(SEED_SIZE)
        self._state = "begun"
        self._send("qkd-detections", bodies.format_detections(announce(self._view, self._seed)))
        return self._sent()

    def _take(self, heard: Message) -> None:
        if (self._state, heard.kind) == ("begun", "qkd-sifting"):
            self._sift(heard)
        elif (self._state, heard.kind) == ("correcting", "qkd-parities"):
            self._exchange(heard.body)
            assert self._cascade is not None
            if self._cascade.finished:
                self._state = "corrected"
        elif (self._state, heard.kind) == ("corrected", "qkd-verification"):
            self._verify(bodies.parse_verification(heard.body))
        elif (self._state, heard.kind) == ("confirming", "qkd-done"):
            self._conclude(heard)
        else:
            raise refused()

    def _sift(self, heard: Message) -> None:
        sifted = conclude(self._view, bodies.parse_sifting(heard.body, len(self._view.index)))
        self._sifted = sifted
        counts = sifted.counts
        self._check_counts(counts)
        share = _test_rate(counts)
        least = shannon_bits(counts.key_size, round(share * counts.key_size))
        if self._parameters.secret_bits(counts, least) < 8 * KEY_BYTES:
            raise _Ended("no-key-left")
        cascade = self._start_correction(sifted, self._seed, corrects=True)
        self._state = "correcting"
        unsent: list[Small] = []
        self._answer(cascade, unsent)
        self._send("qkd-parities", bodies.format_parities(0, unsent))

    def _verify(self, told: Verification) -> None:
        assert self._cascade is not None and self._sifted is not None
        cascade = self._cascade
        hash_key = self._reader.take(told.segment, told.offset, _HASH_KEY)
        allowed = self._parameters.secret_bits(self._sifted.counts, cascade.disclosed)
        division = _Division(told.length, told.sender_refill, told.receiver_refill)
        too_little = told.sender_refill < self._reader.drawn + PAD or told.receiver_refill < self._writer.drawn + PAD
        if not 0 < told.length <= allowed or too_little or division.keys < 1:
            raise refused()
        if len(told.seed) != len(cascade.key) + told.length - 1:
            raise refused()
        if not compare.equal(self._digest(hash_key), told.digest):
            raise _Ended("verification-failed")
        self._division = division
        self._key = self._divide(told.seed)
        self._state = "confirming"
        self._send("qkd-verdict", bodies.format_verdict(told.length, cascade.disclosed, cascade.errors))

    def _conclude(self, heard: Message) -> None:
        assert self._division is not None
        if heard.body != self._division.keys.to_bytes(4, "big"):
            raise refused()
        self._pool.share(self._block)
        self._finish(self._key, verified=True)


def _test_rate(counts: Counts) -> float:
    return counts.test_errors / counts.test_size if counts.test_size else 0.0


def _reason(body: bytes) -> Reason:
    if len(body) != 1 or body[0] not in REASONS:
        raise refused()
    return REASONS[body[0]]

"""A short line for tests: views made directly, rules that give key from a few thousand bits, pools, and both ends."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace

import numpy as np

from workbench_kme.distill import AuthenticationPool, BlockResult, DistillParameters, ReceiverEnd, SenderEnd
from workbench_kme.physics.estimate import KeyEstimate, SecurityParameters
from workbench_kme.physics.views import Counts, ReceiverView, SenderView

SECURITY = SecurityParameters((0.5, 0.1, 0.0), (0.7, 0.2, 0.1))


def generous(counts: Counts, security: SecurityParameters, leak_bits: float) -> KeyEstimate:
    """Not a bound: lets blocks far too small to pay for their own messages give key, so that a test takes milliseconds."""
    balance = 16_384 + 0.9 * counts.key_size - leak_bits
    return KeyEstimate(max(0, int(balance)), balance, 0.0, 0.0, 0.0, 0.0, 0.0, leak_bits, 0.0)


RULES = DistillParameters(
    SECURITY, least_key_bits=64, least_test_bits=16, pool_target_bytes=0, estimate=generous
)


def source(name: bytes):  # type: ignore[no-untyped-def]
    reads = iter(range(1 << 30))
    return lambda count: hashlib.shake_256(name + next(reads).to_bytes(4, "big")).digest(count)


def views(detections: int, error: float = 0.03, *, seed: int = 1, block: int = 0, key_basis: float = 0.7) -> tuple[SenderView, ReceiverView]:
    """Both views of a block whose agreeing bits differ with probability `error`."""
    draw = np.random.default_rng(seed)
    index = np.cumsum(draw.integers(1, 400, detections, dtype=np.uint64)) - np.uint64(1)
    pulses = int(index[-1]) + 5 if detections else 5
    bit = draw.integers(0, 2, detections, dtype=np.uint8)
    basis = (draw.random(detections) > key_basis).astype(np.uint8)
    seen_basis = (draw.random(detections) > key_basis).astype(np.uint8)
    intensity = draw.choice(3, detections, p=[0.8, 0.15, 0.05]).astype(np.uint8)
    wrong = np.where(basis == seen_basis, draw.random(detections) < error, draw.random(detections) < 0.5)
    sent = ((pulses, pulses, pulses), (pulses, pulses, pulses))
    sender = SenderView(block, pulses, index, bit, basis, intensity, sent)
    return sender, ReceiverView(block, pulses, index.copy(), bit ^ wrong.astype(np.uint8), seen_basis)


def pools(size: int = 1 << 15) -> tuple[AuthenticationPool, AuthenticationPool]:
    secret = hashlib.shake_256(b"initial secret").digest(size)
    return AuthenticationPool(secret, is_sender=True), AuthenticationPool(secret, is_sender=False)


@dataclass
class Line:
    """Two fresh ends of one block and everything that goes over the wire between them."""

    sender: SenderEnd
    receiver: ReceiverEnd
    wire: list[tuple[str, bytes]] = field(default_factory=list)

    def run(self, alter=lambda number, message: [message]) -> tuple[BlockResult | None, BlockResult | None]:  # type: ignore[no-untyped-def]
        """Carry messages until none is left. alter: what arrives in place of message number 0, 1, 2 …"""
        queue = [("receiver", one) for one in self.receiver.begin()]
        number = 0
        while queue:
            who, message = queue.pop(0)
            self.wire.append((who, message))
            other, name = (self.sender, "sender") if who == "receiver" else (self.receiver, "receiver")
            for arrived in alter(number, message):
                queue += [(name, reply) for reply in other.receive(arrived)]
            number += 1
        return self.sender.result, self.receiver.result


def line(detections: int = 1200, error: float = 0.03, *, seed: int = 1, block: int = 0, rules: DistillParameters = RULES, of=None) -> Line:  # type: ignore[no-untyped-def]
    sent, seen = views(detections, error, seed=seed, block=block)
    to_send, to_receive = of or pools()
    return Line(
        SenderEnd(sent, to_send, rules, source(b"sender" + bytes([seed, block]))),
        ReceiverEnd(seen, to_receive, rules, source(b"receiver" + bytes([seed, block]))),
    )


def ruled(**changes: object) -> DistillParameters:
    return replace(RULES, **changes)  # type: ignore[arg-type]

"""Both ends of one block in one process: simulation, messages, keys. For notebooks, curves, tests and measurements.

Document: docs/protocols/qkd.md sections 3 and 5 to 9. Everything follows from the seed: whoever has it has the keys.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from workbench_kme.distill.ends import ReceiverEnd, SenderEnd
from workbench_kme.distill.outcome import BlockResult, DistillParameters
from workbench_kme.distill.pool import AuthenticationPool
from workbench_kme.physics.estimate import SecurityParameters
from workbench_kme.physics.link import Eavesdropper, Link
from workbench_kme.physics.simulate import simulate

SECRET_SIZE = 1 << 16
Tap = Callable[[str, bytes], None]
"""Sees every message: who sends it ("sender" or "receiver"), its bytes."""


@dataclass(frozen=True, slots=True)
class Pools:
    """The two copies of one line's authentication pool, kept from block to block."""

    sender: AuthenticationPool
    receiver: AuthenticationPool

    @classmethod
    def from_seed(cls, seed: bytes, size: int = SECRET_SIZE) -> Pools:
        """Pools of a run that is simulated from end to end; size: bytes of the initial secret."""
        secret = _Stream(seed, b"pool")(size)
        return cls(AuthenticationPool(secret, is_sender=True), AuthenticationPool(secret, is_sender=False))


def distil_both(
    link: Link,
    pulses: int,
    seed: bytes,
    block: int,
    *,
    eavesdropper: Eavesdropper | None = None,
    parameters: DistillParameters | None = None,
    pools: Pools | None = None,
) -> tuple[BlockResult, BlockResult]:
    """What the sender and the receiver of one simulated block end with; equal inputs give equal results.

    seed: 32 bytes. parameters: by default the link's sender with eps_sec 1e-10, eps_cor 1e-15. pools: those of the
    line, for several blocks; by default fresh ones from the seed.
    """
    rules = parameters or DistillParameters(SecurityParameters.of(link))
    both = pools or Pools.from_seed(seed)
    sent, seen = simulate(link, pulses, seed, block, eavesdropper)
    number = block.to_bytes(8, "big")
    sender = SenderEnd(sent, both.sender, rules, _Stream(seed, b"sender" + number))
    receiver = ReceiverEnd(seen, both.receiver, rules, _Stream(seed, b"receiver" + number))
    return exchange(sender, receiver)


def exchange(sender: SenderEnd, receiver: ReceiverEnd, tap: Tap | None = None) -> tuple[BlockResult, BlockResult]:
    """Carry the messages of two fresh ends to and fro until both have their result."""
    to_sender = _tapped("receiver", receiver.begin(), tap)
    while to_sender:
        to_receiver = [reply for message in to_sender for reply in _tapped("sender", sender.receive(message), tap)]
        to_sender = [reply for message in to_receiver for reply in _tapped("receiver", receiver.receive(message), tap)]
    assert sender.result is not None and receiver.result is not None
    return sender.result, receiver.result


def _tapped(who: str, messages: Iterable[bytes], tap: Tap | None) -> list[bytes]:
    listed = list(messages)
    for message in listed if tap else ():
        assert tap is not None
        tap(who, message)
    return listed


class _Stream:
    """A reproducible source for runs that are simulated from end to end: SHAKE-256 of the seed, read by read."""

    def __init__(self, seed: bytes, name: bytes) -> None:
        self._context = b"workbench/v1/qkd-distill\n" + len(seed).to_bytes(2, "big") + seed + name
        self._reads = 0

    def __call__(self, count: int, /) -> bytes:
        self._reads += 1
        return hashlib.shake_256(self._context + self._reads.to_bytes(8, "big")).digest(count)

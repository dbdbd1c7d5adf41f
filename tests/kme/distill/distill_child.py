"""One end of a line as a program: it simulates its own view, and only messages pass its standard input and output."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import replace

from workbench_kme.distill import AuthenticationPool, DistillParameters, ReceiverEnd, SenderEnd
from workbench_kme.physics import PRESETS
from workbench_kme.physics.estimate import SecurityParameters
from workbench_kme.physics.simulate import simulate

PULSES = 40_000_000
SEED = hashlib.sha256(b"two processes").digest()
LINK = PRESETS["metro-10"]


def main(role: str) -> None:
    secret = hashlib.shake_256(b"brought by people").digest(1 << 15)
    rules = DistillParameters(replace(SecurityParameters.of(LINK), epsilon_secret=1e-6))
    source = hashlib.shake_256(role.encode()).digest
    sent, seen = simulate(LINK, PULSES, SEED, 5)
    end: SenderEnd | ReceiverEnd
    if role == "sender":
        end = SenderEnd(sent, AuthenticationPool(secret, is_sender=True), rules, source)
    else:
        end = ReceiverEnd(seen, AuthenticationPool(secret, is_sender=False), rules, source)
    put(end.begin())
    while end.result is None:
        size = sys.stdin.buffer.read(4)
        if len(size) < 4:
            break
        put(end.receive(sys.stdin.buffer.read(int.from_bytes(size, "big"))))
    assert end.result is not None
    print(end.result.sifted, len(end.result.keys), hashlib.sha256(end.result.key).hexdigest(), end.result.aborted, file=sys.stderr)


def put(messages: list[bytes]) -> None:
    for message in messages:
        sys.stdout.buffer.write(len(message).to_bytes(4, "big") + message)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(sys.argv[1])

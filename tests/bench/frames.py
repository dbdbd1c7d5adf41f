"""Sealed frames, sessions and links: what they cost beside the cipher alone. Aims: docs/protocols/frame.md, docs/benchmarks.md.

Frames: processor time, medians of rounds in which the raw cipher and the frame take turns, so that a busy machine slows
both. Exchanges: wall time.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from workbench.channel.handshake import Initiator, Responder
from workbench.channel.session import SealedSession
from workbench.channel.session_keys import Established
from workbench.channel.terms import SUITES, End, Policy, QkdShare, SessionTerms
from workbench.crypto import gcm, sm2

LARGE = 64 << 10
SMALL = 256
ROUNDS = 31
SETUPS = 40
_SMALL_BATCH, _LARGE_BATCH = 400, 12


def measure() -> dict[str, Any]:
    """Overhead of a frame and time of an exchange, for each suite. Takes about 15 s."""
    broker, bank = sm2.generate(), sm2.generate()
    return {
        "suites": [_suite(name, broker, bank) for name in SUITES if name.startswith("x25519")],
        "setup": [_setup(name, broker, bank) for name in SUITES],
    }


def exchange(name: str, broker: sm2.PrivateKey, bank: sm2.PrivateKey) -> tuple[Established, Established]:
    """One whole exchange with a QKD key, both ends in this process."""
    terms = SessionTerms(Policy.HYBRID_REQUIRED, suites=(name,))
    share = QkdShare("6ba7b810-9dad-51d1-80b4-00c04fd430c8", "simulated", bytes(32))
    one = Initiator(identity="broker", key=broker, peer=End("bank", bank.public), terms=terms, qkd=share)
    other = Responder(identity="bank", key=bank, peer=End("broker", broker.public), terms=terms)
    other.receive_hello(one.hello())
    confirm, mine = one.receive_answer(other.answer(share))
    return mine, other.receive_confirm(confirm)


def _setup(name: str, broker: sm2.PrivateKey, bank: sm2.PrivateKey) -> dict[str, Any]:
    wall, processor = [], []
    for _ in range(SETUPS):
        began, used = time.perf_counter(), time.thread_time()
        exchange(name, broker, bank)
        wall.append((time.perf_counter() - began) * 1e3)
        processor.append((time.thread_time() - used) * 1e3)
    wall.sort()
    return {
        "suite": name,
        "p50_ms": round(wall[SETUPS // 2], 2),
        "p95_ms": round(wall[SETUPS * 95 // 100], 2),
        "cpu_ms": round(statistics.median(processor), 2),
    }


def _suite(name: str, broker: sm2.PrivateKey, bank: sm2.PrivateKey) -> dict[str, Any]:
    mine, theirs = exchange(name, broker, bank)
    one, other = SealedSession(mine, now_ms=0), SealedSession(theirs, now_ms=0)
    cipher = SUITES[name].cipher
    small = _beside(one, other, cipher, bytes(SMALL), _SMALL_BATCH)
    large = _beside(one, other, cipher, bytes(LARGE), _LARGE_BATCH)
    return {
        "suite": name,
        "small_seal_us": round(small["seal"] - small["raw_seal"], 1),
        "small_open_us": round(small["open"] - small["raw_open"], 1),
        "large_raw_us": round(large["raw_seal"], 1),
        "large_seal_ratio": round(large["seal_ratio"], 3),
        "large_open_ratio": round(large["open_ratio"], 3),
        "mb_per_s": round(LARGE / large["seal"], 1),
    }


def _beside(
    one: SealedSession, other: SealedSession, cipher: gcm.CipherName, payload: bytes, batch: int
) -> dict[str, float]:
    """Microseconds for one payload: sealed and opened as frames, and by the library alone; ratios round by round."""
    algorithm = (algorithms.SM4 if cipher is gcm.CipherName.SM4_GCM else algorithms.AES)(bytes(gcm.KEY_SIZES[cipher]))
    nonce, associated = bytes(12), bytes(64)
    # Both keep what they made until it is opened: memory that is new to the processor costs the same on either side.
    made, raw_made = list[bytes](), list[tuple[bytes, bytes]]()

    def raw_seal() -> None:
        encryptor = Cipher(algorithm, modes.GCM(nonce)).encryptor()
        encryptor.authenticate_additional_data(associated)
        raw_made.append((encryptor.update(payload) + encryptor.finalize(), encryptor.tag))

    def raw_open() -> None:
        body, tag = raw_made.pop(0)
        decryptor = Cipher(algorithm, modes.GCM(nonce, tag)).decryptor()
        decryptor.authenticate_additional_data(associated)
        decryptor.update(body) + decryptor.finalize()

    def seal() -> None:
        made.append(one.seal(payload, purpose="question", now_ms=0))

    def open_frame() -> None:
        other.open(made.pop(0), now_ms=0)

    calls = {"raw_seal": raw_seal, "raw_open": raw_open, "seal": seal, "open": open_frame}
    rows: dict[str, list[float]] = {name: [] for name in (*calls, "seal_ratio", "open_ratio")}
    for _ in range(ROUNDS):
        values = {name: _each(batch, call) for name, call in calls.items()}
        values |= {"seal_ratio": values["seal"] / values["raw_seal"], "open_ratio": values["open"] / values["raw_open"]}
        for name, value in values.items():
            rows[name].append(value)
    return {name: statistics.median(values) for name, values in rows.items()}


def _each(count: int, call: Callable[[], object]) -> float:
    began = time.thread_time()
    for _ in range(count):
        call()
    return (time.thread_time() - began) / count * 1e6

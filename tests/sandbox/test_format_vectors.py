"""Bytes of the sandbox's formats as this file spells them, by itself, from docs/protocols/sandbox.md, and as they lie in a file.

Nothing of the formats' code makes the vectors: JSON through the standard library, lengths through struct, the signed input by
hand, the signatures checked by the pure Python library. `python -m tests.sandbox.test_format_vectors` writes a further member of
the file and leaves those that are there: a released format is never edited.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox.samples import (
    CORPUS,
    FACTS,
    KEYS,
    MANIFEST,
    NOW,
    ORDER,
    PUBLIC_SHARES,
    QUESTION,
    RECEIPT,
    RECORDS,
    TICK,
    VIEW,
    all_formats,
    make_end,
)
from workbench.crypto import sm2
from workbench_sandbox.formats import asking, evidence

FILE = Path(__file__).parents[1] / "vectors" / "sandbox.json"
LEASE, SERVER, SANDBOX = "L-20251122-0a1b2c3d", "v-00112233", "sb-0123456789abcdef"
LIMITS = {
    "memory_bytes": 536870912,
    "processes": 64,
    "cpu_milli": 1000,
    "scratch_bytes": 33554432,
    "answer_bytes": 1048576,
    "asks_at_once": 4,
}
ENGINE = {"name": "extractive", "kind": "extractive", "version": "1", "place": "inside", "program": "", "program_sm3": ""}
DAY = 86_400_000


def spelled(body: Mapping[str, Any], kind: str = "") -> bytes:
    """JSON by RFC 8785, as far as ASCII names and whole numbers go."""
    whole = {"v": 1, **({"kind": kind} if kind else {}), **body}
    return json.dumps(whole, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode("utf-8")


def long(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value


def public(name: str) -> str:
    return "04" + KEYS[name].public.raw.hex()


def tick_digest() -> str:
    return TICK.digest


BODIES: dict[str, tuple[dict[str, Any], str]] = {
    "service-key": (
        {"party": "telecom", "key": public("provider-service"), "from_ms": NOW - DAY, "until_ms": NOW + DAY, "previous": ""},
        "service-key",
    ),
    "image": (
        {
            "tenant": "broker", "name": "extractive", "version": "1.0", "engine": ENGINE,
            "files": [
                {"path": "code/engine.py", "size": 1200, "sm3": "a1" * 32, "role": "code"},
                {"path": "weights/words.bin", "size": 4096, "sm3": "b2" * 32, "role": "weights"},
            ],
            "runtime": "d4" * 32, "limits": LIMITS,
            "licences": [{"file": "weights/words.bin", "licence": "Apache-2.0", "source": "测试"}], "made_ms": NOW,
        },
        "sandbox-image",
    ),
    "order": (
        {
            "lease": LEASE, "tenant": "broker", "provider": "telecom", "nonce": "7c" * 16, "mode": "run", "image": MANIFEST.id,
            "pool": "shared", "cards": 1, "most_cards": 4, "from_ms": NOW, "until_ms": NOW + 3_600_000, "assurance": "process",
            "controls": ["user", "no-network", "probe"], "policy": "hybrid-required", "provenances": ["simulated"],
            "tariff": {"fen_per_card_minute": 12, "budget_fen": 5000}, "keep": True, "idle_s": 600,
        },
        "",
    ),
    "tick": (
        {
            "lease": LEASE, "number": 1, "from_s": 0, "to_s": 60, "cards": 2, "card_seconds": 120, "total_card_seconds": 120, "asks": 3,
            "tokens_in": 400, "tokens_out": 90, "bytes_in": 9000, "bytes_out": 12000, "previous": "",
        },
        "meter-tick",
    ),
    "tick-differs": ({"tick": tick_digest(), "card_seconds": 118, "total_card_seconds": 118, "asks": 3, "reason": "seconds"}, ""),
    "receipt": (
        {
            "provider": "telecom", "tenant": "broker", "lease": LEASE, "server": SERVER, "sandboxes": [SANDBOX], "reason": "released",
            "began_ms": NOW, "ended_ms": NOW + 80, "assurance": "process",
            "checks": [
                {"name": one, "found": 0, "how": "looked"}
                for one in ("processes", "mounts", "files", "groups", "shared-memory", "cores", "swap", "keys", "logs")
            ],
            "kept": ["images/" + "e5" * 32], "clean": True,
        },
        "erase-receipt",
    ),
    "statement": (
        {
            "lease": LEASE, "ticks": 1, "root": sm2.sm3.digest(bytes.fromhex(tick_digest())).hex(), "card_seconds": 120,
            "agreed_card_seconds": 118, "fen_per_card_minute": 12, "amount_fen": 23,
        },
        "meter-statement",
    ),
    "ask": (
        {
            "ask": "ask-" + "1f" * 16, "time_ms": NOW, "deadline_ms": NOW + 30_000, "scenario": "advice", "template": "advice.fund@1",
            "template_sm3": "ab" * 32, "question": "晨星稳健的单位净值是多少？", "prompt": "",
            "documents": {"corpus": CORPUS, "kinds": ["fund", "news"], "ids": [], "until_ms": NOW}, "context": 0, "language": "zh",
            "most_tokens": 512, "seed": 7, "watermark": "9d" * 8,
        },
        "",
    ),
    "end": (
        {
            "ask": "ask-" + "1f" * 16, "number": 1, "state": "answered", "code": "", "digest": make_end().digest, "bytes": make_end().bytes,
            "records": 6, "tokens_in": 40, "tokens_out": 12, "card_ms": 18, "citations": 1, "dropped": 2,
        },
        "",
    ),
}  # fmt: skip

RECORD_BODIES: list[dict[str, Any]] = [
    {"t": "open", "engine": "extractive", "kind": "extractive", "version": "1", "place": "inside", "watermark": "9d" * 8},
    {"t": "stage", "name": "retrieve", "ms": 12},
    {"t": "text", "d": "单位净值为 1.2345 元"},
    {"t": "cite", "n": 1, "document": "fund-000001", "version": "2025-11-21", "from": 10, "to": 24, "sm3": "f1" * 32, "span_sm3": "f2" * 32},
    {"t": "field", "name": "nav", "value": "1.2345", "unit": "元", "cite": 1},
    {"t": "dropped", "reason": "number", "count": 2},
]  # fmt: skip

SIGNERS = {
    "service-key": ("service-key", "telecom", "", "provider-contract"),
    "image": ("sandbox-image", "broker", "", "tenant-contract"),
    "tick": ("meter-tick", "telecom", LEASE, "provider-service"),
    "tick-differs": ("meter-differs", "broker", LEASE, "tenant-service"),
    "receipt": ("erase-receipt", "telecom", LEASE, "provider-service"),
}
"""Name -> kind, party, job of the signature, and whose key."""


def evidence_body() -> bytes:
    outer = {one.name: one for one in FACTS.controls}
    controls = []
    for name in evidence.CONTROLS:
        inner = name not in ("host-user", "memory", "no-swap", "own-ipc")
        if name in outer and inner:
            controls.append({"name": name, "state": "on", "how": "namespace; tried", "seen": "both"})
        elif name in outer:
            controls.append({"name": name, "state": outer[name].state, "how": outer[name].how, "seen": "outside"})
        elif inner:
            controls.append({"name": name, "state": "on", "how": "tried", "seen": "inside"})
        else:
            controls.append({"name": name, "state": "unknown", "how": "", "seen": ""})
    body = {
        "provider": "telecom", "tenant": "broker", "lease": LEASE, "mode": "run", "server": SERVER, "pool": "shared", "sandbox": SANDBOX,
        "nonce": "5e" * 32, "serial": 1, "started_ms": NOW - 60_000, "made_ms": NOW, "until_ms": NOW + 120_000, "boot": "b0" * 16,
        "assurance": "process", "image": {"id": MANIFEST.id, "name": "extractive", "version": "1.0", "engine": ENGINE},
        "weights": [{"path": "weights/words.bin", "sm3": "b2" * 32}],
        "runtime": {"listing": "d4" * 32, "python": "3.11.2", "kernel": "6.18.0", "machine": "x86_64", "isolation": "bubblewrap 0.11.0", "program": ""},
        "limits": LIMITS, "controls": controls, "probe": {"tried": 22, "refused": 22, "failed": []},
        "keys": {"sm2": public("sandbox"), "mlkem768": PUBLIC_SHARES.mlkem768, "x25519": PUBLIC_SHARES.x25519},
        "attestation": {"kind": "", "quote": ""},
    }  # fmt: skip
    return spelled(body, "sandbox-evidence")


def unsigned() -> dict[str, bytes]:
    """What precedes a signature, or the whole, by name."""
    bodies = {name: spelled(*one) for name, one in BODIES.items()}
    ask = long(bodies["ask"])
    records = [
        json.dumps(one, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode() for one in RECORD_BODIES
    ]
    return {
        **bodies,
        "ask": ask + b"\x00" * (-len(ask) % 512),
        "records": b"".join(map(long, records)),
        "evidence": evidence_body(),
        "frames": b"\x01"
        + bytes([19])
        + SANDBOX.encode()
        + struct.pack(">QQHH", 7, 3, 20_000, 3)
        + long(b"one")
        + long(b"")
        + long(b"three" * 9),
        "download": b"\x01\x01" + struct.pack(">QQH", 3, 10, 2) + long(b"answer") + long(b"end"),
    }


def signed_input(name: str, body: bytes) -> bytes:
    kind, party, job, _ = SIGNERS[name]
    return f"workbench/v1/{kind}\n{party}\n{job}\n".encode() + body


def formats() -> dict[str, bytes]:
    return {one.name: one.raw for one in all_formats()} | {"records": b"".join(map(asking.format_record, RECORDS))}


@pytest.fixture(scope="module")
def vectors() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
    return loaded


def test_the_formats_are_the_bytes_of_the_vectors_spelled_without_them(vectors: dict[str, Any]) -> None:
    by_hand, written = unsigned(), formats()
    assert set(by_hand) == set(vectors)
    for name, body in by_hand.items():
        assert vectors[name]["bytes"] == body.hex(), name
        lead = {"tick-differs": b"\x02"}.get(name, b"")
        is_signed = name in SIGNERS or name == "evidence"
        assert written[name].startswith(lead + long(body) if is_signed else body), name
        assert is_signed or written[name] == body, name


def test_signatures_over_the_vectors_verify_by_another_library_and_are_read(vectors: dict[str, Any]) -> None:
    by_hand = unsigned()
    samples = {one.name: one for one in all_formats()}
    service = b""
    for name in ("service-key", "image", "tick", "tick-differs", "receipt"):
        signature = bytes.fromhex(vectors[name]["signature"])
        sm2.verify_portable(KEYS[SIGNERS[name][3]].public, signed_input(name, by_hand[name]), signature)
        raw = (
            (b"\x02" if name == "tick-differs" else b"")
            + long(by_hand[name])
            + signature
            + (service if name == "receipt" else b"")
        )
        assert samples[name].read(raw) == {"tick": TICK, "tick-differs": VIEW, "receipt": RECEIPT}.get(
            name, samples[name].value
        )
        service = raw if name == "service-key" else service
    body, own, provider = (
        by_hand["evidence"],
        *(bytes.fromhex(vectors["evidence"][one]) for one in ("self", "provider")),
    )
    sm2.verify_portable(
        KEYS["sandbox"].public, f"workbench/v1/sandbox-self\ntelecom:{SANDBOX}\n{LEASE}\n".encode() + body, own
    )
    sm2.verify_portable(
        KEYS["provider-service"].public, f"workbench/v1/sandbox-evidence\ntelecom\n{LEASE}\n".encode() + body, provider
    )
    assert samples["evidence"].read(long(body) + own + provider + service).missing == ("own-ipc", "no-swap")
    assert asking.parse_ask(by_hand["ask"]) == QUESTION and ORDER.digest == sm2.sm3.digest(by_hand["order"]).hex()


def write() -> None:
    """Add what the file lacks."""
    known: dict[str, Any] = json.loads(FILE.read_text("utf-8")) if FILE.exists() else {}
    for name, body in unsigned().items():
        if name in known:
            continue
        known[name] = {"bytes": body.hex()}
        if name in SIGNERS:
            known[name]["signature"] = sm2.sign_portable(KEYS[SIGNERS[name][3]], signed_input(name, body)).hex()
        if name == "evidence":
            inputs = (
                (f"workbench/v1/sandbox-self\ntelecom:{SANDBOX}\n{LEASE}\n", "sandbox", "self"),
                (f"workbench/v1/sandbox-evidence\ntelecom\n{LEASE}\n", "provider-service", "provider"),
            )
            for head, key, member in inputs:
                known[name][member] = sm2.sign_portable(KEYS[key], head.encode() + body).hex()
    FILE.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", "utf-8")


if __name__ == "__main__":
    write()

"""What a worker loads before it is closed in: no more than it needs, and nothing of a node."""

from __future__ import annotations

import json
import subprocess
import sys

CHANNEL = {
    f"workbench.channel.{one}" for one in (
        "exchange_messages", "files", "frame", "handshake", "pad", "prepared", "secret", "session", "session_keys", "session_state", "stream",
        "terms",
    )
}  # fmt: skip
CRYPTO = {
    f"workbench.crypto.{one}" for one in (
        "canonical", "compare", "gcm", "kdf", "labels", "mlkem", "poly1305", "random", "sm2", "sm2_encapsulation", "sm3", "x25519",
    )
}  # fmt: skip
HOST = {
    "workbench", "workbench.channel", "workbench.crypto", "workbench.domain", "workbench.domain.documents", "workbench.domain.party",
    "workbench.errors", *CHANNEL, *CRYPTO,
}  # fmt: skip
OTHERS = {"Cryptodome", "_cffi_backend", "cryptography", "gmssl", "gmssl_pyx", "rfc8785"}
"""Packages of others: SM2, SM3, SM4 and ML-KEM, and the spelling of JSON."""

PROGRAM = """
import importlib, json, sys
before = set(sys.modules)
for one in sys.argv[1:]:
    importlib.import_module(one)
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def loaded(*modules: str) -> set[str]:
    """What a fresh interpreter loads for these modules."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, *modules], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_a_worker_loads_no_x509_no_argon2_no_numpy_and_nothing_of_a_node() -> None:
    found = loaded("workbench_sandbox.inside.worker", *CHANNEL)
    host = {one for one in found if one.partition(".")[0] == "workbench"}
    assert host == HOST
    others = {one.partition(".")[0] for one in found if not one.startswith("workbench")} - set(sys.stdlib_module_names)
    assert {one for one in others if not one.startswith("_")} <= OTHERS
    assert not {
        one
        for one in found
        if one.startswith(("cryptography.x509", "cryptography.hazmat.primitives.serialization.ssh", "argon2", "numpy"))
    }
    assert not {"asyncio", "sqlite3", "http.client", "ssl", "socket"} & found
    own = {one.split(".")[1] for one in found if one.startswith("workbench_sandbox.")}
    assert own == {"corpus", "engines", "formats", "inside"}

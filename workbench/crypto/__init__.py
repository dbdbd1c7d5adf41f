"""The only callers of cryptographic libraries.

sm2, ed25519: signatures. sm3: digests. aead: SM4-GCM. kdf, wrap, passwords: keys and passphrases. x25519: one exchange.
certificates: X.509 for TLS. canonical, labels: the one spelling of what is hashed and signed. random, compare: randomness and comparison.
"""

from __future__ import annotations

from workbench.crypto import (
    aead,
    canonical,
    certificates,
    compare,
    ed25519,
    kdf,
    labels,
    passwords,
    random,
    sm2,
    sm3,
    wrap,
    x25519,
)

__all__ = [
    "aead",
    "canonical",
    "certificates",
    "compare",
    "ed25519",
    "kdf",
    "labels",
    "passwords",
    "random",
    "sm2",
    "sm3",
    "wrap",
    "x25519",
]

"""The only callers of cryptographic libraries.

sm2, ed25519: signatures. sm3: digests. aead: SM4-GCM. kdf, wrap, passwords: keys and passphrases. x25519: one exchange.
certificates: X.509 for TLS. canonical, labels: the one spelling of what is hashed and signed. random, compare: randomness and comparison.

A part is loaded when it is first asked for: X.509 and argon2 are most of the start of a program that needs neither.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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


def __getattr__(name: str) -> ModuleType:
    """The part of this name, loaded now. Raises AttributeError for another name."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f"{__name__}.{name}")

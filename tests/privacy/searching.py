"""Looking for many short byte strings in much data: in which forms an identifier could leak, and whether one does."""

from __future__ import annotations

import base64
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping

import numpy as np

from workbench.crypto import sm3


def forms(identifier: str) -> dict[str, bytes]:
    """The ways in which an identifier could be recognised by somebody who guesses it: name of the form -> bytes."""
    plain = identifier.encode()
    found = {"plain": plain, "utf-16": identifier.encode("utf-16-le"), "hex": plain.hex().encode()}
    found["HEX"] = plain.hex().upper().encode()
    # Inside a longer text base64 depends on the offset; what is left when its edges are cut off is always there.
    for offset in range(3):
        encoded = base64.b64encode(bytes(offset) + plain)
        found[f"base64 at {offset}"] = encoded[-(-offset * 8 // 6) + (offset > 0) : (offset + len(plain)) * 8 // 6]
    for name, digest in (
        ("SM3", sm3.digest(plain)),
        ("SHA-256", hashlib.sha256(plain).digest()),
        ("SHA-1", hashlib.sha1(plain).digest()),
        ("MD5", hashlib.md5(plain).digest()),
    ):
        found |= digest_forms(name, digest)
    return found


def digest_forms(name: str, digest: bytes) -> dict[str, bytes]:
    return {
        f"{name} raw": digest,
        f"{name} hex": digest.hex().encode(),
        f"{name} HEX": digest.hex().upper().encode(),
        f"{name} base64": base64.b64encode(digest)[:20],
        f"{name} base64url": base64.urlsafe_b64encode(digest)[:20],
        f"{name} reversed": digest[::-1],
    }


class Search:
    """Patterns of at least 8 bytes, looked for all at once. patterns: what to call each -> bytes."""

    def __init__(self, patterns: Mapping[str, bytes]) -> None:
        assert all(len(pattern) >= 8 for pattern in patterns.values())
        self._by_start: dict[int, list[tuple[str, bytes]]] = defaultdict(list)
        for name, pattern in patterns.items():
            self._by_start[int.from_bytes(pattern[:4], "little")].append((name, pattern))
        self._starts = np.array(sorted(self._by_start), np.uint32)
        self.size = len(patterns)

    def hits(self, data: bytes) -> list[str]:
        """Names of the patterns that occur."""
        found = []
        for shift in range(4):
            words = np.frombuffer(data, "<u4", count=max(0, len(data) - shift) // 4, offset=min(shift, len(data)))
            places = np.searchsorted(self._starts, words)
            places[places == len(self._starts)] = 0
            for row in np.flatnonzero(self._starts[places] == words):
                at = int(row) * 4 + shift
                found += [name for name, pattern in self._by_start[int(words[row])] if data.startswith(pattern, at)]
        return found


def search_for(identifiers: Iterable[str]) -> Search:
    """Every form of every identifier."""
    return Search({f"{one} as {name}": form for one in identifiers for name, form in forms(one).items()})

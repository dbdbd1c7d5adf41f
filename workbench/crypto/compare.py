"""Comparison of secrets and tags without telling by the time taken where they differ."""

from __future__ import annotations

import hmac


def equal(left: bytes, right: bytes) -> bool:
    """Whether two byte strings are equal; the time depends on the length alone."""
    return hmac.compare_digest(left, right)

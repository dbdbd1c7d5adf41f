"""The institutions of the flow tests, for attacks on what runs between and inside them."""

from __future__ import annotations

from tests.flows.conftest import apart, purpose, shared, three

__all__ = ["apart", "purpose", "shared", "three"]

"""The institutions of the flow tests and the one of the host tests, for attacks on what runs between and inside them."""

from __future__ import annotations

from tests.flows.conftest import apart, purpose, shared, three
from tests.host.conftest import house, institution, workspace

__all__ = ["apart", "house", "institution", "purpose", "shared", "three", "workspace"]

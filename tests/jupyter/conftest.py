"""Real nodes and a real JupyterLab; see tests/lab_fixtures.py."""

from __future__ import annotations

from lab_fixtures import institutions

__all__ = ["institutions"]

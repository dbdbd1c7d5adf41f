"""How long a page of JupyterLab takes: to its skeleton, and to its answer."""

from __future__ import annotations

from typing import Any


class Unavailable(Exception):
    """Pages cannot be timed here; the text says why."""


def measure() -> list[dict[str, Any]]:
    """One row a page: page, skeleton_s, answer_s."""
    raise Unavailable("not written yet")

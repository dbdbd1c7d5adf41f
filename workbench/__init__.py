"""Evidence Workbench: consented intersections between institutions, with evidence anybody can check."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"


def connect(*arguments: Any, **options: Any) -> Any:  # the client is imported only when somebody connects
    """A client of the own institution's node; see workbench.client.connect."""
    from workbench.client.connect import connect as connect_client

    return connect_client(*arguments, **options)


__all__ = ["__version__", "connect"]

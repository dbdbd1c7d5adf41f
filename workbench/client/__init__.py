"""Clients of a node: programs, notebooks, pages and the command line all speak to it through these.

Notebooks start at `workbench.connect()`; it lives in workbench.client.connect, which is loaded only there because it
brings widgets along.
"""

from __future__ import annotations

from workbench.client.session import Client, Record, sign_in

__all__ = ["Client", "Record", "sign_in"]

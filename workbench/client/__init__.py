"""Clients of a node: programs, notebooks, pages and the command line all speak to it through these."""

from __future__ import annotations

from workbench.client.connect import connect
from workbench.client.notebook import NotebookWorkbench
from workbench.client.session import Client, Record, sign_in

__all__ = ["Client", "NotebookWorkbench", "Record", "connect", "sign_in"]

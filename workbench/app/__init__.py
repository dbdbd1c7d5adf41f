"""The process that shows pages: one per JupyterLab, behind its proxy, a client of the node like any other."""

from __future__ import annotations

TICKET_HEADER = "X-Workbench-Ticket"
SIGN_IN_HEADER = "X-Workbench-Sign-In"
"""Set by the Lab server's proxy on every request to the pages' process; a browser's own are dropped there."""

"""What people fill in on the pages of leases, operation by operation; docs/sandbox-design.md section 5."""

from __future__ import annotations

from workbench.app.parts.acting import Act, Field

_REASON = Field("reason")

RELEASE = Act("inference.lease_release", (_REASON,))
SETTLE = Act("inference.settle", (Field("card_seconds", "number"), _REASON), password=True, about=True)
CLEAN = Act("inference.server_clean")
DRAIN = Act("inference.server_drain")

LEASE_ACTS = (RELEASE,)
STATEMENT_ACTS = (SETTLE,)
SERVER_ACTS = (CLEAN, DRAIN)

__all__ = ["CLEAN", "DRAIN", "LEASE_ACTS", "RELEASE", "SERVER_ACTS", "SETTLE", "STATEMENT_ACTS"]

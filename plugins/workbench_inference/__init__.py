"""Questions to a securities model in a leased sandbox: leases, meters, documents, policy, asking.

Document: docs/protocols/sandbox.md. What runs beside a provider's node is the package workbench_sandbox.
"""

from __future__ import annotations

WORKBENCH_API = 1

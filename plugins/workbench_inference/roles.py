"""What exists at which role of a node: setting `inference.role`, decided once for every operation and page.

At a node of another role a name of these is unknown, as in docs/sandbox-design.md section 5: an absent page, not a grey one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from workbench.contracts import Dashboard, Host
from workbench.operations import Operation
from workbench_inference.settings import PROVIDER, TENANT

ROLE: Final = "inference.role"


def at_tenant(operations: Iterable[Operation]) -> tuple[Operation, ...]:
    """These operations, at a tenant's node only."""
    return tuple(replace(one, only_with=(ROLE, (TENANT,))) for one in operations)


def at_provider(operations: Iterable[Operation]) -> tuple[Operation, ...]:
    """These operations, at a provider's node only."""
    return tuple(replace(one, only_with=(ROLE, (PROVIDER,))) for one in operations)


def at_both(operations: Iterable[Operation]) -> tuple[Operation, ...]:
    """These operations, at a tenant's and a provider's node."""
    return tuple(replace(one, only_with=(ROLE, (TENANT, PROVIDER))) for one in operations)


def pages_at(role: str, pages: Iterable[Dashboard]) -> tuple[Dashboard, ...]:
    """These pages, at nodes of this role only."""
    return tuple(replace(one, only_with=(ROLE, (role,))) for one in pages)


def is_tenant(host: Host) -> bool:
    """Whether this node rents sandboxes."""
    return bool(host.setting(ROLE) == TENANT)


def is_provider(host: Host) -> bool:
    """Whether this node rents sandboxes out."""
    return bool(host.setting(ROLE) == PROVIDER)


__all__ = ["ROLE", "at_both", "at_provider", "at_tenant", "is_provider", "is_tenant", "pages_at"]

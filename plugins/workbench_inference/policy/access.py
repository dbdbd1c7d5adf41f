"""Who may ask in which scenario of which model: default deny. Pure. Requirement J13; docs/sandbox-design.md section 6.2."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from workbench.domain.party import Role
from workbench_inference.policy.scenarios import SCENARIOS, scenarios

ANY: Final = "*"
"""A row for every model."""


@dataclass(frozen=True, slots=True)
class AccessRules:
    """rows: (role, scenario, model or ANY) -> allowed, as people set them. defaults: whether the scenarios' own roles count where no row
    speaks; in a production workspace they do not, so there everything starts closed."""

    rows: Mapping[tuple[str, str, str], bool]
    defaults: bool


def allowed(rules: AccessRules, *, roles: frozenset[Role], scenario: str, model: str) -> bool:
    """Whether somebody with these roles may ask this model in this scenario."""
    return role_for(rules, roles=roles, scenario=scenario, model=model) is not None


def role_for(rules: AccessRules, *, roles: frozenset[Role], scenario: str, model: str) -> Role | None:
    """The role under which it is allowed, the first by name; None where none is. A row for this model counts before one for every
    model, and both before the default; what no row and no default names is denied, as is a scenario nobody knows."""
    if scenario not in SCENARIOS or not model or model == ANY:
        return None
    for role in sorted(roles):
        told = rules.rows.get((role, scenario, model), rules.rows.get((role, scenario, ANY)))
        if told if told is not None else rules.defaults and role in scenarios()[scenario].roles:
            return role
    return None


__all__ = ["ANY", "AccessRules", "allowed", "role_for"]

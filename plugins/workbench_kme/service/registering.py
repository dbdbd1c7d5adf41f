"""Management of applications: who is registered, taken in, changed, withdrawn. Document: key-delivery.md sections 5.1 and 7."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

from workbench_kme.service import asking, views
from workbench_kme.service.applications import (
    HIGHEST_PRIORITY,
    MOST_KEYS,
    MOST_PER_HOUR,
    REGISTERED,
    Application,
)
from workbench_kme.service.asking import Body, Handler, Query
from workbench_kme.service.entity import Entity

_MEMBERS = ("application", "certificate", "line", "tenant", "per_hour", "burst", "most_reserved", "priority", "act")


def _applications(entity: Entity, _path: tuple[str, ...], query: Query, _body: Body) -> dict[str, Any]:
    asking.only(query)
    kept = entity.applications
    return views.as_json(views.Applications(kept.problem, [_view(entity, one) for one in kept.listed()]))


def _register(entity: Entity, _path: tuple[str, ...], query: Query, body: Body) -> dict[str, Any]:
    asking.only(query)
    wanted, certificate, act = _wanted(body)
    return views.as_json(_view(entity, entity.applications.register(wanted, certificate, act=act)))


def _set(entity: Entity, _path: tuple[str, ...], query: Query, body: Body) -> dict[str, Any]:
    asking.only(query)
    wanted, certificate, act = _wanted(body)
    return views.as_json(_view(entity, entity.applications.set(wanted, certificate, act=act)))


def _withdraw(entity: Entity, _path: tuple[str, ...], query: Query, body: Body) -> dict[str, Any]:
    asking.only(query)
    asking.members(body, "application", "act")
    withdrawn, revoked = entity.withdraw_application(asking.text(body, "application"), act=asking.reason(body, "act"))
    return views.as_json(views.ApplicationWithdrawn(withdrawn, revoked))


def _openapi(_entity: Entity, _path: tuple[str, ...], query: Query, _body: Body) -> dict[str, Any]:
    asking.only(query)
    return openapi()


@cache
def openapi() -> dict[str, Any]:
    """The description of these routes, as it lies in the package."""
    found: dict[str, Any] = json.loads(resources.files("workbench_kme.service").joinpath("openapi_management.json").read_bytes())
    return found


def _wanted(body: Body) -> tuple[Application, bytes, str]:
    """(application, its certificate, reference to the act) of a request; the list checks ids and certificate."""
    asking.members(body, *_MEMBERS)
    try:
        certificate = asking.text(body, "certificate").encode("ascii")
    except UnicodeEncodeError as error:
        raise asking.malformed("certificate") from error
    wanted = Application(
        application=asking.text(body, "application"),
        fingerprint="",
        line=asking.text(body, "line"),
        tenant=asking.text(body, "tenant"),
        per_hour=asking.whole(body, "per_hour", 0, MOST_PER_HOUR),
        burst=asking.whole(body, "burst", 1, MOST_KEYS),
        most_reserved=asking.whole(body, "most_reserved", 0, MOST_KEYS),
        priority=asking.whole(body, "priority", 0, HIGHEST_PRIORITY),
        state=REGISTERED,
        since_ms=0,
    )
    return wanted, certificate, asking.reason(body, "act")


def _view(entity: Entity, one: Application) -> views.Application:
    end = entity.lines.get(one.line)
    return views.Application(
        application=one.application,
        fingerprint=one.fingerprint,
        line=one.line,
        tenant=one.tenant,
        per_hour=one.per_hour,
        burst=one.burst,
        most_reserved=one.most_reserved,
        priority=one.priority,
        state=one.state,
        since_ms=one.since_ms,
        left=entity.store.left_of(one.application, one.quota) if one.is_registered else 0,
        reserved=len(entity.store.reserved_of(one.application)),
        known_there=one.is_registered and (end.is_told(one.application) if end is not None else not one.line),
    )


ROUTES: tuple[tuple[str, str, Handler], ...] = (
    ("GET", "openapi.json", _openapi),
    ("GET", "applications", _applications),
    ("POST", "applications/register", _register),
    ("POST", "applications/set", _set),
    ("POST", "applications/withdraw", _withdraw),
)

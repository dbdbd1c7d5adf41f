"""Management of devices 密码设备: look at them, add one, take one away. Document: key-delivery.md sections 3.4 and 7."""

from __future__ import annotations

from typing import Any

from workbench_kme.service import asking, views
from workbench_kme.service.asking import Body, Handler, Query
from workbench_kme.service.entity import Entity


def _devices(entity: Entity, _path: tuple[str, ...], query: Query, _body: Body) -> dict[str, Any]:
    asking.only(query)
    return {"devices": [views.as_json(one) for one in entity.devices.views(entity.store)]}


def _add(entity: Entity, _path: tuple[str, ...], query: Query, body: Body) -> dict[str, Any]:
    asking.only(query)
    asking.members(body, "name", "backend")
    name = asking.text(body, "name")
    entity.add_device(name, asking.text(body, "backend"))
    return views.as_json(next(one for one in entity.devices.views(entity.store) if one.name == name))


def _drain(entity: Entity, _path: tuple[str, ...], query: Query, body: Body) -> dict[str, Any]:
    asking.only(query)
    asking.members(body, "name")
    return {"moved": entity.drain_device(asking.text(body, "name"))}


ROUTES: tuple[tuple[str, str, Handler], ...] = (
    ("GET", "devices", _devices),
    ("POST", "devices", _add),
    ("POST", "devices/drain", _drain),
)

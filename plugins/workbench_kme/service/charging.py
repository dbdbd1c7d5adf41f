"""Management of charge keys 充注密钥: fill a medium, deliver session keys to it, revoke it. Document: key-delivery.md sections 4 and 7.

No charge key and no session key is in any answer in the clear: a filling leaves wrapped under its person's passphrase, a
session key sealed under the next charge key.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from workbench.errors import InvalidRequest, NotFound
from workbench_kme.keys import Provenance
from workbench_kme.keys.charge import MOST_FILLED, ChargePool
from workbench_kme.keys.medium import LEAST_PASSPHRASE, MOST_PASSPHRASE, pack_medium
from workbench_kme.service import asking, views
from workbench_kme.service.asking import Body, Handler, Query
from workbench_kme.service.entity import Entity
from workbench_kme.service.standard import ORIGINS, KeyRequest

PURPOSE = "charge"
"""Of the use that a leak report lists for a key of the line that went to a medium; its reference is the charge key's id."""


def _charges(entity: Entity, _path: tuple[str, ...], query: Query, _body: Body) -> dict[str, Any]:
    asking.only(query)
    return {"pools": [views.as_json(_view(one)) for one in entity.charges.pools()]}


def _fill(entity: Entity, _path: tuple[str, ...], query: Query, body: Body) -> dict[str, Any]:
    asking.only(query)
    asking.members(body, "person", "device", "line", "count", "low_water", "after", "passphrase")
    person, device, line, passphrase = (asking.text(body, name) for name in ("person", "device", "line", "passphrase"))
    count, low_water = asking.whole(body, "count", 1, MOST_FILLED), asking.whole(body, "low_water", 0, MOST_FILLED)
    after = asking.whole(body, "after", 0, 2**53 - 1)
    if not LEAST_PASSPHRASE <= len(passphrase) <= MOST_PASSPHRASE:
        raise InvalidRequest(
            f"介质口令须有 {LEAST_PASSPHRASE} 至 {MOST_PASSPHRASE} 个字符",
            f"the passphrase of a medium has {LEAST_PASSPHRASE} to {MOST_PASSPHRASE} characters",
            code="CHARGE_PASSPHRASE",
        )
    entity.line(line)
    made = entity.charges.fill_anew(person, device, line, count, low_water=low_water, after=after)
    try:
        file = pack_medium(made.keys, passphrase, namespace=made.namespace, line=line, person=person, device=device)
    finally:
        for one in made.keys:
            one.value[:] = bytes(len(one.value))
    pool = next(one for one in entity.charges.pools() if (one.person, one.device, one.line) == (person, device, line))
    return {"pool": views.as_json(_view(pool)), "replaced": made.replaced, "first": after + 1, "medium": file.decode("ascii")}


def _deliver(entity: Entity, _path: tuple[str, ...], query: Query, body: Body) -> dict[str, Any]:
    """A fresh key of the line becomes the medium's session key; looked for a charge key first, so that none is taken in vain."""
    asking.only(query)
    asking.members(body, "person", "device", "line", "sae", "slave", "origins")
    person, device, line, sae, slave = (asking.text(body, name) for name in ("person", "device", "line", "sae", "slave"))
    if not entity.is_sae(sae) or entity.line_to(slave) != line:
        raise NotFound("本站没有该应用，或线路不通往对方应用", "this site has no such application, or the line does not lead to the other", code="SAE_UNKNOWN")
    origins = body["origins"]
    if not isinstance(origins, list) or not all(isinstance(one, str) and one in ORIGINS for one in origins):
        raise asking.malformed("origins")
    entity.charges.check_deliverable(person, device, line)
    key = entity.get_keys(line, KeyRequest(origins=frozenset(origins) or None), master=sae, slave=slave)[0]
    key_id = UUID(key.key_id)
    made = entity.charges.deliver(person, device, line, key_id, key.value, Provenance(key.provenance), renew=True)
    entity.store.record_use(key_id, PURPOSE, str(made.charge_key_id), sae=sae)
    return {
        "charge_key_id": str(made.charge_key_id),
        "counter": made.counter,
        "session_key_id": key.key_id,
        "provenance": key.provenance,
        "sealed": made.sealed.hex(),
        "ended": [str(one) for one in made.ended],
        "left": made.left,
        "low": made.low,
        "low_water": made.low_water,
    }


def _end(entity: Entity, _path: tuple[str, ...], query: Query, body: Body) -> dict[str, Any]:
    asking.only(query)
    asking.members(body, "session_key_id")
    return {"ended": entity.charges.end_session(asking.uuid(body["session_key_id"]))}


def _revoke(entity: Entity, _path: tuple[str, ...], query: Query, body: Body) -> dict[str, Any]:
    asking.only(query)
    asking.members(body, "person", "device", "reason")
    person, device = asking.text(body, "person"), asking.text(body, "device")
    if not person and not device:
        raise asking.malformed("person, device")
    done = entity.charges.revoke(person, device, reason=asking.reason(body, "reason"))
    return {"revoked": done.revoked, "pools": done.pools, "sessions": [str(one) for one in done.sessions]}


def _view(found: ChargePool) -> views.ChargePool:
    return views.ChargePool(
        person=found.person,
        device=found.device,
        line=found.line,
        count=found.count,
        low_water=found.low_water,
        low=found.low,
        revoked=found.revoked,
        last_counter=found.last_counter,
        live=found.live,
        per_day=found.per_day,
        days_left=found.days_left,
    )


ROUTES: tuple[tuple[str, str, Handler], ...] = (
    ("GET", "charges", _charges),
    ("POST", "charges/fill", _fill),
    ("POST", "charges/deliver", _deliver),
    ("POST", "charges/end", _end),
    ("POST", "charges/revoke", _revoke),
)

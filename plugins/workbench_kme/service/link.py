"""The listening side of the link between two KMEs: who calls, which verb, exactly which members.

Document: key-delivery.md section 8. `admit` comes before the body; `answer` is called in a thread for every request.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from typing import Any

from workbench.crypto import canonical
from workbench.errors import (
    KeyUnavailable,
    PeerUnavailable,
    SelfTestFailed,
    StartRefused,
    StorageFailed,
    VerificationError,
    WorkbenchError,
)
from workbench_kme.service.entity import Entity
from workbench_kme.service.line import LineEnd
from workbench_kme.service.listening import Answer, Call
from workbench_kme.service.peering import OTHER_TENANT, PREFIX
from workbench_kme.service.wire import LinkConflict

_ROUTE = re.compile(re.escape(PREFIX) + r"(?P<line>[a-z][a-z0-9-]{1,30})(?:@(?P<tenant>[a-z0-9][a-z0-9-]{0,30}))?/(?P<verb>[a-z]{1,20})")
_log = logging.getLogger(__name__)

Verb = Callable[[LineEnd, Mapping[str, Any]], dict[str, Any]]
_TEXTS = list[str]
SMALL_BODY_BYTES = 64 << 10
LARGE_BODY_BYTES = 64 << 20
"""As large as an answer may be."""
_LARGEST = {
    # A list that fits the management interface fits here as well, whatever else stands beside it.
    "withdraw": 2 * SMALL_BODY_BYTES,
    # A bit a key of the largest block, in base64.
    "bitmap": 4 * SMALL_BODY_BYTES,
    "messages": LARGE_BODY_BYTES,
    "sync": LARGE_BODY_BYTES,
}
_OWN_FAULTS = (StorageFailed, SelfTestFailed, KeyUnavailable, PeerUnavailable, StartRefused)
"""What lies with this end and not with what was asked: 503, and the other end asks again."""
_VERBS: dict[str, tuple[Mapping[str, object], Verb]] = {
    "hello": ({"v": int, "boot": str, "state": str, "delivered": _TEXTS}, LineEnd.on_hello),
    "begin": (
        {"block": int, "source": str, "nonce": str, "pulses": int, "eavesdropper": {"kind": str, "fraction_ppm": int}},
        lambda line, body: line.maker.on_begin(body),
    ),
    "messages": ({"block": int, "messages": _TEXTS}, lambda line, body: line.maker.on_messages(body)),
    "finish": ({"block": int, "check": str}, lambda line, body: line.maker.on_finish(body)),
    "reserve": ({"master": str, "slaves": _TEXTS, "size": int, "keys": _TEXTS}, LineEnd.on_reserve),
    "applications": ({"registered": _TEXTS, "withdrawn": _TEXTS}, LineEnd.on_applications),
    "withdraw": ({"what": str, "keys": _TEXTS, "block": int, "reason": str}, LineEnd.on_withdraw),
    "sync": ({"state": str}, LineEnd.on_sync),
    "bitmap": ({"block": int, "bitmap": str}, LineEnd.on_bitmap),
}
"""Verb -> its members with their types, and who answers."""
_FROM_THE_SENDER = {"begin", "messages", "finish", "sync", "bitmap"}


def answer(entity: Entity, call: Call) -> Answer:
    """The answer to one call of another KME. Whoever is not the peer of the line it names learns nothing of it."""
    known = _line_of_peer(entity, call.caller, call.fingerprint, call.path)
    if known is None:
        return NOT_THE_PEER
    line, found = known
    if not line.is_same_tenant(found["tenant"] or ""):
        return _json(409, {"code": OTHER_TENANT})
    named = found["verb"]
    if call.method != "POST" or named not in _VERBS:
        return _json(404, {"code": "NO_SUCH_VERB"})
    members, verb = _VERBS[named]
    if named in _FROM_THE_SENDER and line.config.is_sender:
        return _json(409, {"code": "NOT_THE_SENDER"})
    try:
        body = canonical.parse_object(call.body)
        if not _fits(body, members):
            raise ValueError("other members")
        return _json(200, verb(line, body))
    except LinkConflict as conflict:
        return _json(409, {"code": conflict.code, **conflict.members})
    except (VerificationError, ValueError) as error:
        # Members have their types by now: any other kind of exception is a fault of this end, and so a 503.
        _log.warning("line %s: a malformed %s (%s)", line.config.line, named, type(error).__name__)
        return _json(409, {"code": "MALFORMED"})
    except _OWN_FAULTS as error:
        _log.warning("line %s: %s failed with %s", line.config.line, named, error.code)
        return _json(503, {"code": error.code})
    except WorkbenchError as error:
        _log.warning("line %s: %s refused with %s", line.config.line, named, error.code)
        return _json(409, {"code": error.code})


def admit(entity: Entity, caller: tuple[str, str], fingerprint: str, path: str) -> Answer | int:
    """Before the body is read: how many bytes it may have, or the refusal of whoever is not the peer of this line."""
    known = _line_of_peer(entity, caller, fingerprint, path)
    return NOT_THE_PEER if known is None else _LARGEST.get(known[1]["verb"], SMALL_BODY_BYTES)


def _line_of_peer(
    entity: Entity, caller: tuple[str, str], fingerprint: str, path: str
) -> tuple[LineEnd, re.Match[str]] | None:
    """The line that a path names and its parts, for its peer only.

    Id *and* pinned fingerprint of the certificate: an authority of the other site cannot make a second peer.
    """
    found = _ROUTE.fullmatch(path)
    line = entity.lines.get(found["line"]) if found is not None else None
    if found is None or line is None:
        return None
    peer = line.config.peer
    return (line, found) if caller == ("kme", peer.kme) and fingerprint == peer.fingerprint else None


def _fits(value: object, shape: object) -> bool:
    """Whether parsed JSON has exactly these members of these types; `true` is no number."""
    if isinstance(shape, Mapping):
        return (
            isinstance(value, dict)
            and set(value) == set(shape)
            and all(_fits(value[name], shape[name]) for name in shape)
        )
    if shape is _TEXTS:
        return isinstance(value, list) and all(type(one) is str for one in value)
    return type(value) is shape


def _json(status: int, value: Mapping[str, Any]) -> Answer:
    return Answer(status, canonical.format(value))


NOT_THE_PEER = _json(401, {"code": "NOT_THE_PEER"})

"""The listening side of the link between two KMEs: who calls, which verb, exactly which members.

Document: key-delivery.md section 8. Called in a thread for every request.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from typing import Any

from workbench.crypto import canonical
from workbench.errors import VerificationError, WorkbenchError
from workbench_kme.service.entity import Entity
from workbench_kme.service.line import LineEnd
from workbench_kme.service.listening import Answer, Call
from workbench_kme.service.peering import PREFIX
from workbench_kme.service.wire import LinkConflict

_ROUTE = re.compile(re.escape(PREFIX) + r"([a-z][a-z0-9-]{1,30})/([a-z]{1,20})")
_log = logging.getLogger(__name__)

Verb = Callable[[LineEnd, Mapping[str, Any]], dict[str, Any]]
_VERBS: dict[str, tuple[frozenset[str], Verb]] = {
    "hello": (frozenset({"v", "boot", "state", "delivered"}), LineEnd.on_hello),
    "begin": (frozenset({"block", "source", "nonce", "pulses", "eavesdropper"}), lambda line, body: line.maker.on_begin(body)),
    "messages": (frozenset({"block", "messages"}), lambda line, body: line.maker.on_messages(body)),
    "finish": (frozenset({"block", "check"}), lambda line, body: line.maker.on_finish(body)),
    "reserve": (frozenset({"master", "slaves", "size", "keys"}), LineEnd.on_reserve),
    "withdraw": (frozenset({"what", "keys", "block", "reason"}), LineEnd.on_withdraw),
    "sync": (frozenset({"state"}), LineEnd.on_sync),
    "bitmap": (frozenset({"block", "bitmap"}), LineEnd.on_bitmap),
}
_FROM_THE_SENDER = {"begin", "messages", "finish", "sync", "bitmap"}


def answer(entity: Entity, call: Call) -> Answer:
    """The answer to one call of another KME. Whoever is not the peer of the line it names learns nothing of the line."""
    found = _ROUTE.fullmatch(call.path)
    line = entity.lines.get(found[1]) if found is not None else None
    if found is None or line is None or not _is_peer(line, call):
        return _json(401, {"code": "NOT_THE_PEER"})
    if call.method != "POST" or found[2] not in _VERBS:
        return _json(404, {"code": "NO_SUCH_VERB"})
    members, verb = _VERBS[found[2]]
    if found[2] in _FROM_THE_SENDER and line.config.is_sender:
        return _json(409, {"code": "NOT_THE_SENDER"})
    try:
        body = canonical.parse_object(call.body)
        if set(body) != members:
            raise ValueError("other members")
        return _json(200, verb(line, body))
    except LinkConflict as conflict:
        return _json(409, {"code": conflict.code, **conflict.members})
    except (VerificationError, ValueError, TypeError, KeyError, AttributeError) as error:
        _log.warning("line %s: a malformed %s (%s)", line.config.line, found[2], type(error).__name__)
        return _json(409, {"code": "MALFORMED"})
    except WorkbenchError as error:
        _log.warning("line %s: %s refused with %s", line.config.line, found[2], error.code)
        return _json(409, {"code": error.code})


def _is_peer(line: LineEnd, call: Call) -> bool:
    """Id and pinned fingerprint of the certificate: an authority of the other site cannot make a second peer."""
    peer = line.config.peer
    return call.caller == ("kme", peer.kme) and call.fingerprint == peer.fingerprint


def _json(status: int, value: Mapping[str, Any]) -> Answer:
    return Answer(status, canonical.format(value))

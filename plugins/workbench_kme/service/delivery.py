"""ETSI GS QKD 014 at the border: paths, methods, who may, and the KME's errors as the standard's answers.

Document: key-delivery.md section 6. Called in a thread for every request.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from importlib import resources
from typing import Any, Protocol, TypeVar
from urllib.parse import unquote

from workbench.errors import NotFound, PeerError, Refused, SelfTestFailed, StorageFailed, WorkbenchError
from workbench_kme.service import standard
from workbench_kme.service.listening import Answer, Call
from workbench_kme.service.standard import DeliveredKey, KeyRequest, Refusal

T = TypeVar("T")

OPENAPI_PATH = "/openapi.json"
RETRY_AFTER_S = 5
LATER_S = 3600
"""For what comes never as things are: more keys at once than the quota allows."""
_NOT_REGISTERED = {"code": "APPLICATION_NOT_REGISTERED", "zh": "证书不是本站已登记的应用，或该应用已撤销：由密钥管理人员登记"}
_ROUTE = re.compile(r"/api/v1/keys/([^/]+)/(status|enc_keys|dec_keys)")
_METHODS = {"status": ("GET",), "enc_keys": ("GET", "POST"), "dec_keys": ("GET", "POST")}
_SENTENCES = {
    "EXHAUSTED": "not enough keys in stock",
    "ALARM": "the key source is disturbed: its last block was refused",
    "PEER_UNREACHABLE": "the other KME cannot be reached",
    "QUOTA_EXCEEDED": "too many keys for this SAE: come back later",
    "RESERVED_TOO_MANY": "too many keys of this SAE wait for their slaves: come back later",
    "APPLICATION_NOT_TOLD": "the other KME does not know this SAE yet",
    "DEVICE_DISABLED": "the device failed its self-test",
    "DEVICE_OUT": "the device that wrapped the keys does not serve",
    "KME_UNCONFIRMED": "the other KME has not confirmed the key store yet",
    "OUT_OF_STEP": "the key store does not match the other end yet",
    "OTHER_TENANT": "the other KME names another tenant for this line",
    "STORAGE_FAILED": "the key store cannot write",
}


class Keys(Protocol):
    """What this module needs of the KME. Errors are those of the workbench tree, with the codes of section 6."""

    def admits(self, sae: str, fingerprint: str) -> bool:
        """Whether whoever has this certificate is a registered application of this site."""

    def is_sae(self, sae: str) -> bool:
        """Whether this SAE belongs to this site."""

    def line_to(self, sae: str) -> str:
        """The line whose other end serves this SAE. Raises NotFound."""

    def status_014(self, line: str, master: str, slave: str) -> dict[str, Any]:
        """The standard's status object."""

    def policy_of(self, line: str) -> str:
        """The line's policy."""

    def tenant_of(self, line: str) -> str:
        """The line's tag."""

    def get_keys(self, line: str, request: KeyRequest, *, master: str, slave: str) -> list[DeliveredKey]:
        """Reserve at both ends and hand out to the master."""

    def get_keys_by_id(self, line: str, key_ids: list[str], *, master: str, slave: str) -> list[DeliveredKey]:
        """Deliver to a slave; all or none. Raises NotFound KEY_GONE, or Refused KEY_NOT_YOURS."""


def answer(keys: Keys, call: Call) -> Answer:
    """The answer to one request below `/api/v1/keys/`, or to `/openapi.json`."""
    try:
        return Answer(200, _serve(keys, call))
    except Refusal as refusal:
        return Answer(refusal.status, standard.format_json(refusal.body()), refusal.headers)


def handles(path: str) -> bool:
    """Whether a path is this module's."""
    return path == OPENAPI_PATH or path.startswith("/api/")


def _serve(keys: Keys, call: Call) -> bytes:
    kind, caller = call.caller
    if kind != "sae" or not keys.admits(caller, call.fingerprint):
        raise Refusal(401, "the certificate names no SAE of this site", [_NOT_REGISTERED])
    if call.path == OPENAPI_PATH:
        _check_method(call, ("GET",))
        standard.refuse_query(call.query)
        return openapi()
    found = _ROUTE.fullmatch(call.path)
    if found is None:
        raise Refusal(404, "there is nothing at this path")
    _check_method(call, _METHODS[found[2]])
    if call.method == "GET" and call.body:
        raise Refusal(400, "a GET request shall have no body")
    other = unquote(found[1], errors="replace")
    return _REQUESTS[found[2]](keys, call, caller, other)


def _status(keys: Keys, call: Call, caller: str, slave: str) -> bytes:
    standard.refuse_query(call.query)
    line = _line(keys, slave, "slave_SAE_ID")
    return standard.format_json(_translated(lambda: keys.status_014(line, caller, slave)))


def _enc_keys(keys: Keys, call: Call, caller: str, slave: str) -> bytes:
    if call.method == "GET":
        request = standard.parse_key_query(call.query)
    else:
        standard.refuse_query(call.query)
        # The standard lets every member be left out, so an empty body says the same as {}.
        request = standard.parse_key_request(standard.parse_body(call.body, call.content_type) if call.body else {})
    line = _line(keys, slave, "slave_SAE_ID")
    for one in request.additional_slaves:
        if one == slave or _line(keys, one, "additional_slave_SAE_IDs") != line:
            raise standard.bad("additional_slave_SAE_IDs", "other SAEs of the same target KME")
    given = _translated(lambda: keys.get_keys(line, request, master=caller, slave=slave))
    return standard.format_container(given, policy=keys.policy_of(line), line=line, tenant=keys.tenant_of(line), passed_over=request.passed_over)


def _dec_keys(keys: Keys, call: Call, caller: str, master: str) -> bytes:
    if call.method == "GET":
        key_ids = standard.parse_key_id_query(call.query)
    else:
        standard.refuse_query(call.query)
        key_ids = standard.parse_key_ids(standard.parse_body(call.body, call.content_type))
    # The master's own site has no line to it: to this SAE such keys do not exist, unless it was the master itself.
    if keys.is_sae(master):
        raise Refusal(401, "this SAE was not named when the keys were asked for")
    line = _line(keys, master, "master_SAE_ID")
    given = _translated(lambda: keys.get_keys_by_id(line, key_ids, master=master, slave=caller))
    return standard.format_container(given, policy=keys.policy_of(line), line=line, tenant=keys.tenant_of(line))


_REQUESTS: dict[str, Callable[[Keys, Call, str, str], bytes]] = {
    "status": _status,
    "enc_keys": _enc_keys,
    "dec_keys": _dec_keys,
}


def _line(keys: Keys, sae: str, parameter: str) -> str:
    try:
        return keys.line_to(sae)
    except NotFound as error:
        raise Refusal(400, f"{parameter} is not known to this KME", [{"parameter": parameter}]) from error


def _check_method(call: Call, allowed: tuple[str, ...]) -> None:
    if call.method not in allowed:
        raise Refusal(405, f"allowed here: {', '.join(allowed)}", headers={"Allow": ", ".join(allowed)})


def _translated(action: Callable[[], T]) -> T:
    """What the KME says, its errors in the standard's words. Raises Refusal."""
    try:
        return action()
    except WorkbenchError as error:
        raise _refusal(error) from error


def _refusal(error: WorkbenchError) -> Refusal:
    if error.code == "KEY_NOT_YOURS":
        return Refusal(401, "this SAE was not named when the keys were asked for")
    if error.code == "SAE_UNKNOWN":  # withdrawn while this request was on its way
        return Refusal(401, "the certificate names no SAE of this site", [_NOT_REGISTERED])
    if error.code == "OTHER_TENANT" and isinstance(error, Refused):
        return Refusal(401, "this SAE belongs to another tenant than the line", [{"code": "OTHER_TENANT", "zh": error.zh}])
    if error.code == "OTHER_LINE":
        return Refusal(400, "this SAE is registered for another line", [{"parameter": "SAE_ID"}])
    if error.code == "KEY_GONE":
        listed = [{"key_ID": one} for one in error.details.get("keys", "").split()]
        return Refusal(400, standard.KEYS_NOT_FOUND, listed)
    if error.code == "ORIGIN_UNMET":
        return Refusal(400, standard.MANDATORY_UNMET)
    code = error.code
    if isinstance(error, PeerError):
        code = "PEER_UNREACHABLE"
    elif isinstance(error, SelfTestFailed):
        code = "DEVICE_DISABLED"
    elif isinstance(error, StorageFailed):
        code = "STORAGE_FAILED"
    retry, stored = error.details.get("retry_after_s", ""), error.details.get("stored_key_count", "")
    return standard.service_unavailable(
        _SENTENCES.get(code, "no keys can be delivered now"),
        code,
        stored=int(stored) if stored.isdigit() else -1,
        retry_after_s=int(retry) if retry.isdigit() else LATER_S if retry == "-1" else RETRY_AFTER_S,
        zh=error.zh,
    )


@cache
def openapi() -> bytes:
    """The description of the interface, as it lies in the package."""
    return resources.files("workbench_kme.service").joinpath("openapi.json").read_bytes()

"""ETSI GS QKD 014 V1.1.1 as values: what requests may say, what answers look like. Pure.

Document: key-delivery.md section 6. Every refusal names the member at fault and what was expected of it.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from workbench_kme.service.config import is_name

PREFIX = "/api/v1/keys/"
KEY_BITS = 256
MIN_KEY_BITS = 64
MAX_KEYS_PER_REQUEST = 128
MAX_SLAVES = 8
MAX_BODY_BYTES = 64 * 1024
MAX_DEPTH = 16
ORIGINS = ("simulated", "device-014", "imported")

NOT_MULTIPLE = "size shall be a multiple of 8"
MANDATORY_UNKNOWN = "not all extension_mandatory parameters are supported"
MANDATORY_UNMET = "not all extension_mandatory request options could be met"
OPTIONAL_PASSED_OVER = "not all extension_optional request options handled"
KEYS_NOT_FOUND = "one or more keys specified are not found on KME"

ORIGIN_EXTENSION = "workbench_origin"

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_NUMBER = re.compile(r"[0-9]{1,9}")


class Refusal(Exception):
    """An answer that is no 200: status, the standard's message, details (a list of objects), headers."""

    def __init__(
        self,
        status: int,
        message: str,
        details: Sequence[Mapping[str, Any]] = (),
        *,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, dict(headers or {})
        self.details = [dict(one) for one in details]

    def body(self) -> dict[str, Any]:
        """The standard's error object."""
        return {"message": self.message, "details": self.details} if self.details else {"message": self.message}


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """What Get key asks for. origins: None for any. passed_over: whether an optional extension was not handled."""

    number: int = 1
    size: int = KEY_BITS
    additional_slaves: tuple[str, ...] = ()
    origins: frozenset[str] | None = None
    preferred_origins: frozenset[str] | None = None
    passed_over: bool = False


@dataclass(frozen=True, slots=True)
class DeliveredKey:
    """A key on its way out. value: `size` bits."""

    key_id: str
    value: bytes = field(repr=False)
    block: int
    provenance: str
    source: str
    line: str
    tenant: str = ""


def bad(parameter: str, expected: str) -> Refusal:
    """400 for one member."""
    return Refusal(400, f"{parameter} shall be {expected}", [{"parameter": parameter}])


def service_unavailable(message: str, code: str, *, stored: int = -1, retry_after_s: int = 5, zh: str = "") -> Refusal:
    """503 with what an operator and a patient client need. zh: the same in Chinese."""
    details: list[dict[str, Any]] = [] if stored < 0 else [{"stored_key_count": stored}]
    return Refusal(
        503,
        message,
        [*details, {"retry_after_s": retry_after_s}, *([{"zh": zh}] if zh else []), {"code": code}],
        headers={"Retry-After": str(retry_after_s)},
    )


def parse_body(body: bytes, content_type: str) -> dict[str, Any]:
    """The JSON object of a POST. Raises Refusal."""
    if len(body) > MAX_BODY_BYTES:
        raise Refusal(400, f"a request shall be at most {MAX_BODY_BYTES} bytes")
    kind, _, parameters = content_type.partition(";")
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    if kind.strip().lower() != "application/json" or charset not in ("", "utf-8"):
        raise Refusal(400, "the content type shall be application/json in UTF-8")
    try:
        value = json.loads(
            body.decode("utf-8"), object_pairs_hook=_object, parse_constant=_no_constant, parse_float=_finite
        )
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "the request shall be one JSON object in UTF-8, without repeated members") from error
    if not isinstance(value, dict) or not _is_shallow(value, MAX_DEPTH):
        raise Refusal(400, "the request shall be one JSON object of little depth")
    return value


def parse_key_request(value: Mapping[str, Any], *, max_slaves: int = MAX_SLAVES) -> KeyRequest:
    """Get key, from the members of a POST body. Raises Refusal."""
    known = {"number", "size", "additional_slave_SAE_IDs", "extension_mandatory", "extension_optional"}
    _only(value, known)
    number = _whole(value.get("number", 1), "number", 1, MAX_KEYS_PER_REQUEST)
    size = _size(value.get("size", KEY_BITS))
    slaves = value.get("additional_slave_SAE_IDs", [])
    if not isinstance(slaves, list) or not all(isinstance(one, str) and is_name(one) for one in slaves):
        raise bad("additional_slave_SAE_IDs", "an array of SAE ids")
    if len(slaves) > max_slaves or len(set(slaves)) != len(slaves):
        raise bad("additional_slave_SAE_IDs", f"at most {max_slaves} different SAE ids")
    mandatory = _extensions(value.get("extension_mandatory", []), "extension_mandatory")
    optional = _extensions(value.get("extension_optional", []), "extension_optional")
    unknown = sorted({name for one in mandatory for name in one if name != ORIGIN_EXTENSION})
    if unknown:
        raise Refusal(400, MANDATORY_UNKNOWN, [{"parameter": name} for name in unknown])
    wanted = [_origins(one[ORIGIN_EXTENSION], "extension_mandatory") for one in mandatory if one]
    liked = [_origins(one[ORIGIN_EXTENSION], "extension_optional") for one in optional if ORIGIN_EXTENSION in one]
    return KeyRequest(
        number=number,
        size=size,
        additional_slaves=tuple(slaves),
        origins=frozenset.intersection(*wanted) if wanted else None,
        preferred_origins=frozenset.intersection(*liked) if liked else None,
        passed_over=any(set(one) - {ORIGIN_EXTENSION} for one in optional),
    )


def parse_key_query(query: Sequence[tuple[str, str]]) -> KeyRequest:
    """Get key in its simple form: `number` and `size` only. Raises Refusal."""
    members = _query(query, {"number", "size"})
    return parse_key_request({name: _digits(text, name) for name, text in members.items()})


def parse_key_ids(value: Mapping[str, Any]) -> list[str]:
    """Get key with key IDs, from the members of a POST body; ids in lower case. Raises Refusal."""
    _only(value, {"key_IDs", "key_IDs_extension"})
    _optional_object(value, "key_IDs_extension")
    items = value.get("key_IDs")
    if not isinstance(items, list) or not items or len(items) > MAX_KEYS_PER_REQUEST:
        raise bad("key_IDs", f"an array of 1 to {MAX_KEYS_PER_REQUEST} objects")
    ids: list[str] = []
    for item in items:
        if not isinstance(item, dict) or "key_ID" not in item:
            raise bad("key_IDs", "an array of objects with key_ID")
        _only(item, {"key_ID", "key_ID_extension"})
        _optional_object(item, "key_ID_extension")
        ids.append(_key_id(item["key_ID"]))
    if len(set(ids)) != len(ids):
        raise bad("key_IDs", "different ids")
    return ids


def parse_key_id_query(query: Sequence[tuple[str, str]]) -> list[str]:
    """Get key with key IDs in its simple form: exactly one `key_ID`. Raises Refusal."""
    members = _query(query, {"key_ID"})
    if "key_ID" not in members:
        raise bad("key_ID", "given")
    return [_key_id(members["key_ID"])]


def refuse_query(query: Sequence[tuple[str, str]]) -> None:
    """For requests that take none. Raises Refusal."""
    _query(query, set())


def format_container(keys: Sequence[DeliveredKey], *, policy: str, line: str, tenant: str = "", passed_over: bool = False) -> bytes:
    """The key container. The buffer holds key values: it is sent and forgotten."""
    container: dict[str, Any] = {"v": 1, "policy": policy, "line": line, "tenant": tenant}
    if passed_over:
        container["message"] = OPTIONAL_PASSED_OVER
    return format_json(
        {
            "keys": [
                {
                    "key_ID": one.key_id,
                    "key": base64.b64encode(one.value).decode("ascii"),
                    "key_extension": {"workbench_provenance": provenance_of(one)},
                }
                for one in keys
            ],
            "key_container_extension": {"workbench_container": container},
        }
    )


def provenance_of(key: DeliveredKey) -> dict[str, Any]:
    """Where a key comes from, in words that claim nothing: only a device can make it a quantum key, by its own word."""
    return {
        "v": 1,
        "origin": key.provenance,
        "source": key.source,
        "line": key.line,
        "tenant": key.tenant,
        "block": key.block,
        "quantum": key.provenance == "device-014",
        "note": _NOTES[key.provenance],
    }


_NOTES = {
    "simulated": "simulated line: not a quantum key; whoever has the line's seed has the key",
    "device-014": "obtained from a device over ETSI GS QKD 014; quantum by the device's own statement",
    "imported": "imported from a file by both ends: not a quantum key of this line",
}


def format_json(value: Mapping[str, Any]) -> bytes:
    """A JSON body."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("repeated member")
    return value


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(text)
    return value


def _is_shallow(value: Any, depth: int) -> bool:
    if isinstance(value, dict):
        return depth > 0 and all(_is_shallow(one, depth - 1) for one in value.values())
    if isinstance(value, list):
        return depth > 0 and all(_is_shallow(one, depth - 1) for one in value)
    return True


def _only(value: Mapping[str, Any], known: set[str]) -> None:
    for name in value:
        if name not in known:
            raise bad(_shown(name), "absent: the standard names no such member")


def _shown(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", name) else "a member"


def _whole(value: Any, name: str, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise bad(name, f"a whole number from {least} to {most}")
    return value


def _size(value: Any) -> int:
    if type(value) is int and value % 8:
        raise Refusal(400, NOT_MULTIPLE, [{"parameter": "size"}])
    return _whole(value, "size", MIN_KEY_BITS, KEY_BITS)


def _extensions(value: Any, name: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value) or len(value) > 32:
        raise bad(name, "an array of at most 32 objects")
    return value


def _origins(value: Any, name: str) -> frozenset[str]:
    if not isinstance(value, list) or not value or not all(isinstance(one, str) and one in ORIGINS for one in value):
        raise bad(name, f"{ORIGIN_EXTENSION} with some of {', '.join(ORIGINS)}")
    return frozenset(value)


def _optional_object(value: Mapping[str, Any], name: str) -> None:
    if name in value and not isinstance(value[name], dict):
        raise bad(name, "an object")


def _key_id(value: Any) -> str:
    if not isinstance(value, str) or not _UUID.fullmatch(value.lower()):
        raise bad("key_ID", "a UUID")
    return value.lower()


def _query(query: Sequence[tuple[str, str]], known: set[str]) -> dict[str, str]:
    members: dict[str, str] = {}
    for name, text in query:
        if name not in known:
            raise bad(_shown(name), "absent: this request takes no such parameter")
        if name in members:
            raise bad(name, "given once")
        members[name] = text
    return members


def _digits(text: str, name: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise bad(name, "a whole number")
    return int(text)

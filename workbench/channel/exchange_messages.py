"""The bytes of the messages of an exchange: one spelling, every field checked before anybody looks at it.

Document: docs/protocols/frame.md section 4. Whatever does not parse is refused in one way.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from workbench.channel.terms import PROVENANCES, SUITES, Order, Policy
from workbench.crypto import canonical, mlkem, sm2, sm2_encapsulation, sm3, x25519
from workbench.errors import ProtocolViolation, VerificationError

HELLO, ANSWER, CONFIRM, REFUSAL = 1, 2, 3, 4
MAX_BODY_BYTES = 16_384
MAX_RETRY_S = 10**9

_MAGIC = b"WBHS"
_VERSION = 1
_HEAD_SIZE = 10
_MAC_SIZE = sm3.DIGEST_SIZE
_WITH_MAC = frozenset({ANSWER, CONFIRM})
_KINDS = {HELLO: "hello", ANSWER: "answer", CONFIRM: "confirm", REFUSAL: "refusal"}
_ROLES = {HELLO: "initiator", ANSWER: "responder"}

_COMMON = {
    "from": re.compile(r"[a-z][a-z0-9._:-]{0,63}"),
    "to": re.compile(r"[a-z][a-z0-9._:-]{0,63}"),
    "from_key": re.compile(r"04[0-9a-f]{128}"),
    "to_key": re.compile(r"04[0-9a-f]{128}"),
    "session": re.compile(r"(?:[0-9a-f]{32})?"),
    "nonce": re.compile(r"[0-9a-f]{64}"),
    "policy": re.compile("|".join(Policy)),
    "order": re.compile("|".join(Order)),
    "group": re.compile(r"[A-Za-z0-9._:-]{0,128}"),
    "lease": re.compile(r"[A-Za-z0-9._:-]{0,128}"),
    "evidence": re.compile(r"(?:[0-9a-f]{64})?"),
    "key_id": re.compile(r"(?:[A-Za-z0-9-]{1,64})?"),
    "provenance": re.compile("|".join(("", *PROVENANCES))),
}
_TEXTS: dict[int, dict[str, re.Pattern[str]]] = {
    HELLO: {**_COMMON, "mlkem768": re.compile(rf"[0-9a-f]{{{2 * mlkem.PUBLIC_KEY_SIZE}}}")},
    ANSWER: {
        **_COMMON,
        "mlkem768": re.compile(rf"[0-9a-f]{{{2 * mlkem.CIPHERTEXT_SIZE}}}"),
        "suite": re.compile("|".join(SUITES)),
        "share": re.compile(rf"(?:[0-9a-f]{{2}}){{1,{sm2_encapsulation.MAX_CIPHERTEXT_SIZE}}}"),
    },
    CONFIRM: {"session": re.compile(r"[0-9a-f]{32}")},
    REFUSAL: {
        "from": _COMMON["from"],
        "to": _COMMON["to"],
        "hello": re.compile(r"[0-9a-f]{64}"),
        "code": re.compile(r"[A-Z][A-Z0-9_]{0,63}"),
    },
}
_NUMBERS = {
    HELLO: {"epoch": 2**32 - 1},
    ANSWER: {"epoch": 2**32 - 1},
    CONFIRM: {"epoch": 2**32 - 1},
    REFUSAL: {"retry_after_s": MAX_RETRY_S},
}
_OTHERS = {
    HELLO: frozenset({"v", "kind", "role", "signed", "provenances", "suites", "shares"}),
    ANSWER: frozenset({"v", "kind", "role", "signed", "provenances"}),
    CONFIRM: frozenset({"v", "kind"}),
    REFUSAL: frozenset({"v", "kind"}),
}
_FIELDS = {kind: frozenset({*_TEXTS[kind], *_NUMBERS[kind], *_OTHERS[kind]}) for kind in _KINDS}
_SHARE_SIZES = {"x25519": x25519.SIZE, "sm2": sm2.PUBLIC_KEY_SIZE}


@dataclass(frozen=True, slots=True)
class Message:
    """A message whose form is right; nothing of it is verified.

    encoded: the body's bytes. signed: everything before the signature. mac: empty for kinds without one.
    """

    body: dict[str, canonical.Json] = field(repr=False)
    encoded: bytes = field(repr=False)
    signed: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    mac: bytes = field(repr=False)

    def strings(self, name: str) -> list[str]:
        """The list of texts in a field that has been checked to be one."""
        value = self.body[name]
        return [str(one) for one in value] if isinstance(value, list) else []

    def share(self, curve: str) -> str:
        """The initiator's share for a curve, hexadecimal."""
        value = self.body["shares"]
        return str(value[curve]) if isinstance(value, dict) else ""


def unsigned(kind: int, body: dict[str, canonical.Json]) -> bytes:
    """Everything before the signature. Raises ValueError if the body would not be accepted."""
    encoded = canonical.format(body)
    _check_body(kind, body)
    if len(encoded) > MAX_BODY_BYTES:
        raise ValueError("the body is too large")
    return _MAGIC + bytes([_VERSION, kind]) + len(encoded).to_bytes(4, "big") + encoded


def format_message(kind: int, body: dict[str, canonical.Json], signature: bytes, mac: bytes) -> bytes:
    """The whole message."""
    return unsigned(kind, body) + signature + mac


def parse_message(data: bytes, kind: int) -> Message:
    """The message of this kind in `data`. Raises ProtocolViolation (HANDSHAKE_REFUSED) for anything else."""
    size = int.from_bytes(data[6:10], "big")
    cut = _HEAD_SIZE + size
    end = cut + sm2.SIGNATURE_SIZE
    total = end + (_MAC_SIZE if kind in _WITH_MAC else 0)
    if data[:6] != _MAGIC + bytes([_VERSION, kind]) or size > MAX_BODY_BYTES or len(data) != total:
        raise handshake_refused()
    try:
        body = canonical.parse_object(data[_HEAD_SIZE:cut])
        _check_body(kind, body)
    except (VerificationError, ValueError):
        raise handshake_refused() from None
    return Message(body, data[_HEAD_SIZE:cut], data[:cut], data[cut:end], data[end:])


def lv4(value: bytes) -> bytes:
    """Length of `value` in 4 bytes, then `value`."""
    return len(value).to_bytes(4, "big") + value


def handshake_refused() -> ProtocolViolation:
    """The one refusal of a message that is not the other end's, whatever is wrong with it."""
    return ProtocolViolation(
        "会话握手消息被拒收，请运维人员核对对方身份与线路",
        "a message of the exchange was refused; operators check the other end and the line",
        code="HANDSHAKE_REFUSED",
    )


def _check_body(kind: int, body: dict[str, canonical.Json]) -> None:
    """Raise ValueError unless the body has exactly the fields of its kind, each of its form."""
    if set(body) != _FIELDS[kind] or type(body["v"]) is not int or body["v"] != 1 or body["kind"] != _KINDS[kind]:
        raise ValueError("other fields, version or kind")
    for name, form in _TEXTS[kind].items():
        value = body[name]
        if not isinstance(value, str) or not form.fullmatch(value):
            raise ValueError(f"{name} has another form")
    for name, largest in _NUMBERS[kind].items():
        number = body[name]
        if type(number) is not int or not 0 <= number <= largest:
            raise ValueError(f"{name} has another form")
    if kind in _ROLES:
        _check_offer(kind, body)


def _check_offer(kind: int, body: dict[str, canonical.Json]) -> None:
    counted = body["provenances"]
    if body["role"] != _ROLES[kind] or type(body["signed"]) is not bool:
        raise ValueError("role or signed has another form")
    if (
        not isinstance(counted, list)
        or not all(one in PROVENANCES for one in counted)
        or counted != sorted(set(map(str, counted)))
    ):
        raise ValueError("provenances are known names, sorted")
    if (body["key_id"] == "") != (body["provenance"] == "") or (body["session"] == "") != (body["epoch"] == 0):
        raise ValueError("two fields that belong together do not")
    if kind == HELLO:
        _check_shares(body["suites"], body["shares"])


def _check_shares(suites: canonical.Json, shares: canonical.Json) -> None:
    """One share for each curve of the offered suites, no others."""
    if not isinstance(suites, list) or not suites or not all(isinstance(one, str) and one in SUITES for one in suites):
        raise ValueError("suites are known names")
    names = [str(one) for one in suites]
    if len(set(names)) != len(names) or not isinstance(shares, dict):
        raise ValueError("suites are named once, shares are an object")
    if set(shares) != {SUITES[one].curve for one in names}:
        raise ValueError("shares for other curves than those offered")
    for curve, value in shares.items():
        if not isinstance(value, str) or not re.fullmatch(rf"[0-9a-f]{{{2 * _SHARE_SIZES[curve]}}}", value):
            raise ValueError("a share has another length")

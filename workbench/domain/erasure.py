"""Erasing one customer: what is asked, what each owner answers, which term counts, and the bytes of what is set aside.

Document: docs/protocols/erasure.md sections 3 to 5. Pure: no clock, no file, no randomness but what is handed in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from workbench.crypto import aead, kdf
from workbench.errors import StartRefused, VerificationError

RESTRICTED_LABEL = b"workbench/v1/restricted\n"
RECOVERY_LABEL = b"workbench/v1/recovery\0"
RECOVERY_PAD = 512
RECOVERY_LIMIT = 8_000
DAY_MS = 86_400_000
TOKEN_SIZE = 16
_KIND = re.compile(r"[a-z][a-z0-9_.-]{0,63}")


class Stage(StrEnum):
    """RESTRICT: erase what nothing demands and set the rest aside; ERASE: the last term has ended."""

    RESTRICT = "restrict"
    ERASE = "erase"


@dataclass(frozen=True, slots=True)
class Customer:
    """Whose data is meant. names: tokens of phones and identity numbers in hex, all that are known to be this person's.

    phones, id_nos: in clear while they are known, which is during the first run of the first stage only: an owner must be
    able to do everything that matters with `names` alone. Never shown, logged or stored.
    """

    names: tuple[str, ...] = field(repr=False)
    phones: tuple[str, ...] = field(default=(), repr=False)
    id_nos: tuple[str, ...] = field(default=(), repr=False)

    @property
    def identifiers(self) -> tuple[str, ...]:
        return (*self.phones, *self.id_nos)


@dataclass(frozen=True, slots=True)
class ErasureRequest:
    """What an owner is asked, with hook workbench_erase_customer. May come again after a crash, or after a restore.

    request: its id. actor: token of the person, "" for the node itself. reason: what was given, kept in evidence only. by,
    proof: who asked and by what document, as in a withdrawal ("subject", "agent", "guardian", "kin").
    """

    request: str
    stage: Stage
    customer: Customer
    actor: str = ""
    reason: str = field(default="", repr=False)
    by: str = "subject"
    proof: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class ErasureFinding:
    """What one owner found and did. owner: who keeps it ("consent", "lists", …); what: its kind of record.

    found = erased + restricted + left. until_ms: when the last restriction ends, 0 for none. zh, en: why, and who must do
    what about that which is left. names: lists, jobs or files concerned; never an identifier of a customer.
    """

    owner: str
    what: str
    found: int
    erased: int
    restricted: int
    until_ms: int
    zh: str
    en: str
    left: int = 0
    names: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return {
            "owner": self.owner, "what": self.what, "found": self.found, "erased": self.erased,
            "restricted": self.restricted, "left": self.left, "until_ms": self.until_ms, "zh": self.zh, "en": self.en,
            "names": list(self.names),
        }  # fmt: skip


# -------------------------------------------------------------------------------------------------- terms


@dataclass(frozen=True, slots=True)
class Term:
    """How long a kind of record must be kept, and on what ground. days: 0 when nothing demands it."""

    days: int
    zh: str
    en: str

    def until_ms(self, from_ms: int) -> int:
        """The instant at which the term ends for something of that time."""
        return from_ms + self.days * DAY_MS


NO_TERM = Term(0, "没有保存期要求", "nothing demands retention")


class Terms:
    """The setting `erasure.retention`: kind or prefix -> [days, zh, en]; the longest match counts.

    Raises StartRefused for another shape: a term that cannot be read must not shorten anything.
    """

    def __init__(self, table: Mapping[str, Any]) -> None:
        self._terms: dict[str, Term] = {}
        for name, value in table.items():
            match value:
                case [int(days), str(zh), str(en)] if _KIND.fullmatch(name) and 0 <= days <= 36_525:
                    self._terms[name] = Term(days, zh, en)
                case _:
                    raise StartRefused(
                        f"设置 erasure.retention 的「{name}」应为 [天数, 中文依据, 英文依据]",
                        f"setting erasure.retention, {name}: must be [days, 中文依据, basis]",
                        code="WRONG_SETTING",
                    )

    def of(self, kind: str) -> Term:
        """The term of a kind of entry or record."""
        fitting = [name for name in self._terms if name == kind or (name.endswith(".") and kind.startswith(name))]
        return self._terms[max(fitting, key=len)] if fitting else NO_TERM


# -------------------------------------------------------------------------------------------------- bytes


def pack_restricted(values: Mapping[str, bytes]) -> bytes:
    """The content of one restricted object. Source: docs/protocols/erasure.md section 4."""
    parts = [_lp(name.encode()) + _lp(value) for name, value in sorted(values.items())]
    return RESTRICTED_LABEL + len(parts).to_bytes(4, "big") + b"".join(parts)


def unpack_restricted(data: bytes) -> dict[str, bytes]:
    """What `pack_restricted` made; every other spelling raises VerificationError."""
    reader = _Reader(data)
    if reader.take(len(RESTRICTED_LABEL)) != RESTRICTED_LABEL:
        raise _malformed()
    pairs = [(reader.prefixed(4), reader.prefixed(4)) for _ in range(reader.number(4))]
    try:
        values = {name.decode(): value for name, value in pairs}
    except UnicodeDecodeError as error:
        raise _malformed() from error
    reader.end()
    if pack_restricted(values) != data:
        raise _malformed()
    return values


def reference(log: str, index: int, leaf: bytes, fields: Iterable[str]) -> str:
    """How an erased or restricted entry is named in evidence: place, leaf hash and fields."""
    return f"entry:{log}:{index}:{leaf.hex()}={','.join(sorted(fields))}"


def parse_references(text: str) -> dict[int, frozenset[str]]:
    """Index -> fields of the entries named; what cannot be read raises VerificationError."""
    found: dict[int, frozenset[str]] = {}
    for one in text.split():
        place, separator, fields = one.partition("=")
        parts = place.split(":")
        if not separator or len(parts) != 4 or parts[0] != "entry" or not parts[2].isdecimal():
            raise _malformed()
        found[int(parts[2])] = frozenset(fields.split(",")) | found.get(int(parts[2]), frozenset())
    return found


def pack_names(request: str, names: Sequence[str]) -> bytes:
    """What a restored node needs to erase again. names: tokens in hex, 16 bytes each."""
    tokens = [bytes.fromhex(name) for name in names]
    if any(len(token) != TOKEN_SIZE for token in tokens):
        raise ValueError("a name of a customer is a token of 16 bytes in hex")
    return _lp(request.encode()) + len(tokens).to_bytes(2, "big") + b"".join(tokens)


def unpack_names(data: bytes) -> tuple[str, tuple[str, ...]]:
    """Request and names of `pack_names`; VerificationError otherwise."""
    reader = _Reader(data)
    request = reader.prefixed(4).decode("ascii", "replace")
    names = tuple(reader.take(TOKEN_SIZE).hex() for _ in range(reader.number(2)))
    reader.end()
    return request, names


def seal_recovery(token_key: bytes, message: bytes, *, binding: str, nonce: bytes) -> str:
    """A message to this institution's own restored node, for a shared field: hex, or "" where it is too long.

    token_key: 32 bytes, the vault's token key "recovery". nonce: 12 fresh random bytes. Source: section 5.
    """
    if len(message) > RECOVERY_LIMIT:
        return ""
    framed = len(message).to_bytes(4, "big") + message
    padded = framed + bytes(-len(framed) % RECOVERY_PAD)
    return (nonce + aead.seal(_recovery_key(token_key), nonce, padded, associated=_bound(binding))).hex()


def open_recovery(token_key: bytes, text: str, *, binding: str) -> bytes:
    """The message; VerificationError when it was altered, is bound to another entry, or is none."""
    try:
        sealed = bytes.fromhex(text)
    except ValueError as error:
        raise _malformed() from error
    plain = aead.open_random(_recovery_key(token_key), sealed, associated=_bound(binding))
    reader = _Reader(plain)
    message = reader.prefixed(4)
    if any(reader.rest()):
        raise _malformed()
    return message


def _recovery_key(token_key: bytes) -> bytes:
    return kdf.expand(token_key, "recovery", length=aead.KEY_SIZE)


def _bound(binding: str) -> bytes:
    return RECOVERY_LABEL + binding.encode()


def _lp(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


class _Reader:
    """Bytes from front to back; VerificationError when they end too early or too late."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, size: int) -> bytes:
        part = self._data[self._at : self._at + size]
        if len(part) != size:
            raise _malformed()
        self._at += size
        return part

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def prefixed(self, size: int) -> bytes:
        return self.take(self.number(size))

    def rest(self) -> bytes:
        return self._data[self._at :]

    def end(self) -> None:
        if self.rest():
            raise _malformed()


def _malformed() -> VerificationError:
    return VerificationError(
        "限制存放或恢复信息的格式不对：合规人员核查数据库",
        "restricted or recovery bytes are malformed: compliance looks into the database",
        code="RESTRICTED_MALFORMED",
    )

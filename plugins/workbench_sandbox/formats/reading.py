"""Reading and writing one object of a format: exactly its members, each of its form.

Whatever does not fit is a ValueError here; the formats turn it into the one error of theirs. A format is written from a
frozen value that has checked itself, so that nothing is written that a reader would refuse.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from types import TracebackType

from workbench.channel.terms import Signer
from workbench.crypto import canonical, labels, sm2, sm3
from workbench.crypto.canonical import Json
from workbench.domain.party import parse_party_id
from workbench.errors import VerificationError, WorkbenchError

Body = dict[str, Json]

MAX = canonical.MAX_INTEGER
LEASE = re.compile(r"L-[0-9]{8}-[0-9a-f]{8}")
SERVER = re.compile(r"v-[0-9a-f]{8}")
SANDBOX = re.compile(r"sb-[0-9a-f]{16}")
ASK = re.compile(r"ask-[0-9a-f]{32}")
HEX16 = re.compile(r"[0-9a-f]{16}")
HEX32 = re.compile(r"[0-9a-f]{32}")
HEX64 = re.compile(r"[0-9a-f]{64}")
DIGEST_OR_EMPTY = re.compile(r"(?:[0-9a-f]{64})?")
SESSION_OR_EMPTY = re.compile(r"(?:[0-9a-f]{32})?")
NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
VERSION = re.compile(r"[\x21-\x7e]{1,32}")
DOCUMENT = re.compile(r"[A-Za-z0-9._-]{1,64}")
KEY_ID = re.compile(r"(?:[A-Za-z0-9-]{1,64})?")
CODE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
CAUSE = re.compile(r"(?:[a-z][a-z-]{0,31})?")
SENTENCE = re.compile(r"[^\x00-\x1f\x7f]{0,200}")
ASCII_LINE = re.compile(r"[\x20-\x7e]{0,200}")
PATH = re.compile(r"(?=[A-Za-z0-9._/-]{1,200}\Z)(?!.*\.\.)(?!(?:.*/)?\.(?:/|\Z))[^/]+(?:/[^/]+)*")
PROVENANCES = ("device-014", "imported", "simulated")
POLICIES = ("qkd-required", "hybrid-required", "pqc-only")

ENGINE_KINDS = ("extractive", "generator", "upstream")
PLACES = ("inside", "behind")
MODES = ("run", "debug")
POOLS = ("shared", "dedicated")
ASSURANCES = ("process", "gvisor", "tee")
"""Levels of assurance, the lowest first."""
LANGUAGES = ("zh", "en")


def need(holds: object, what: str) -> None:
    """Raise ValueError unless it holds. what: named in the error, never a value."""
    if not holds:
        raise ValueError(what)


def party(text: str) -> None:
    """Raise ValueError unless this is the id of an institution."""
    parse_party_id(text)


def within(*values: int, least: int = 0, most: int = MAX) -> bool:
    """Whether all of these whole numbers lie between the two."""
    return all(type(one) is int and least <= one <= most for one in values)


def each(form: re.Pattern[str], values: Iterable[str]) -> bool:
    """Whether each is of this form and none comes twice."""
    seen = list(values)
    return len(set(seen)) == len(seen) and all(form.fullmatch(one) for one in seen)


def ascending(values: Collection[str]) -> bool:
    """Whether they are sorted and none comes twice."""
    return list(values) == sorted(set(values))


# ------------------------------------------------------------------------------------------------------ JSON members


def write(body: Body, kind: str = "") -> bytes:
    """The canonical bytes of version 1 of an object."""
    return canonical.format({"v": 1, **({"kind": kind} if kind else {}), **body})


def read(data: bytes, names: Collection[str], kind: str = "", *, most: int = 64 << 10) -> Body:
    """The members of version 1 of an object, and no other, without `v` and `kind`. Raises ValueError."""
    need(len(data) <= most, "the object is too large")
    try:
        value = canonical.parse_object(data)
    except VerificationError as error:
        raise ValueError("no canonical JSON") from error
    version = value.pop("v", None)
    need(type(version) is int and version == 1, "another version")
    need(not kind or value.pop("kind", None) == kind, "another kind")
    return members(value, names)


def members(value: Json, names: Collection[str]) -> Body:
    """An object with exactly these members. Raises ValueError."""
    if not isinstance(value, dict) or value.keys() != set(names):
        raise ValueError("other members than those of the format")
    return value


def text(value: Json) -> str:
    """A text. Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError("a text has another type")  # noqa: TRY004 - it is data, not a programming mistake
    return value


def whole(value: Json) -> int:
    """A whole number. Raises ValueError."""
    if type(value) is not int:
        raise ValueError("a number has another type")
    return value


def flag(value: Json) -> bool:
    """True or false. Raises ValueError."""
    if not isinstance(value, bool):
        raise ValueError("a flag has another type")  # noqa: TRY004 - it is data
    return value


def items(value: Json, *, most: int) -> list[Json]:
    """A list of at most so many. Raises ValueError."""
    if not isinstance(value, list) or len(value) > most:
        raise ValueError("a list has another type or is too long")
    return value


def texts_of(body: Body, names: Iterable[str]) -> tuple[str, ...]:
    """These members, each a text. Raises ValueError."""
    return tuple(text(body[one]) for one in names)


def wholes_of(body: Body, names: Iterable[str]) -> tuple[int, ...]:
    """These members, each a whole number. Raises ValueError."""
    return tuple(whole(body[one]) for one in names)


def body_of(value: object, names: Iterable[str]) -> Body:
    """The members of a value whose attributes bear their names."""
    return {one: getattr(value, one) for one in names}


def texts(value: Json, *, most: int) -> tuple[str, ...]:
    """A list of at most so many texts. Raises ValueError."""
    return tuple(text(one) for one in items(value, most=most))


# ------------------------------------------------------------------------------------------------------------- bytes


def lv1(value: bytes) -> bytes:
    """One byte of length, then the value. Raises ValueError beyond 255 bytes."""
    need(len(value) < 256, "the value is too long")
    return bytes([len(value)]) + value


def lv4(value: bytes) -> bytes:
    """Four bytes of length, then the value."""
    return len(value).to_bytes(4, "big") + value


class Cursor:
    """A place in bytes that moves on; every read past the end is a ValueError."""

    __slots__ = ("_data", "_place")

    def __init__(self, data: bytes) -> None:
        self._data, self._place = data, 0

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        end = self._place + count
        need(end <= len(self._data), "cut short")
        part, self._place = self._data[self._place : end], end
        return part

    def number(self, size: int) -> int:
        """The next `size` bytes, big-endian."""
        return int.from_bytes(self.take(size), "big")

    def lv1(self) -> bytes:
        """A value with one byte of length."""
        return self.take(self.number(1))

    def lv4(self, *, most: int) -> bytes:
        """A value with four bytes of length, at most so long."""
        size = self.number(4)
        need(size <= most, "a part is too long")
        return self.take(size)

    def rest(self) -> bytes:
        """Everything that is left."""
        return self.take(len(self._data) - self._place)

    def end(self) -> None:
        """Raise ValueError if something is left."""
        need(self._place == len(self._data), "bytes after the end")


def split_signed(raw: bytes, *, most: int) -> tuple[bytes, bytes, bytes]:
    """(body, signature, what follows) of LV4(body) ‖ signature ‖ … Raises ValueError."""
    cursor = Cursor(raw)
    return cursor.lv4(most=most), cursor.take(sm2.SIGNATURE_SIZE), cursor.rest()


# -------------------------------------------------------------------------------------------------------- refusals


class refusing:  # noqa: N801 - reads as the statement that it is
    """`with refusing(why):` – what does not fit inside is this one refusal of the format."""

    __slots__ = ("_refusal",)

    def __init__(self, refusal: Callable[[], WorkbenchError]) -> None:
        self._refusal = refusal

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(error, ValueError | VerificationError):
            raise self._refusal() from error


# -------------------------------------------------------------------------------------------------------- signatures


def sign(kind: str, *, party: str, job: str, body: bytes, key: Signer) -> bytes:
    """64 bytes. kind: what is signed; party: who signs; job: the lease, "" for what belongs to none."""
    return key.sign(labels.signing_input(kind, party=party, job=job, body=body))


def verify(kind: str, *, party: str, job: str, body: bytes, key: sm2.PublicKey, signature: bytes) -> None:
    """Raise VerificationError (SM2_SIGNATURE) unless `party` signed. Cost: 0.75 ms."""
    key.verify(labels.signing_input(kind, party=party, job=job, body=body), signature)


def digest(data: bytes) -> str:
    """SM3, hexadecimal."""
    return sm3.digest(data).hex()


def root(digests: Iterable[str]) -> str:
    """SM3 over SM3 digests in order, hexadecimal."""
    return digest(b"".join(bytes.fromhex(one) for one in digests))

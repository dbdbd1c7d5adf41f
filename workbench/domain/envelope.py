"""The body of a log entry: canonical JSON with shared fields in clear and salted commitments for all others.

Document: docs/protocols/evidence.md sections 1 and 2. Pure: time and salts are arguments. `parse_envelope` accepts
exactly the bytes `build_envelope` writes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from json.encoder import encode_basestring
from typing import NoReturn

from workbench.crypto import compare, sm3
from workbench.domain.evidence import EntryRef, EvidenceKind, Visibility
from workbench.domain.party import PartyId, parse_party_id
from workbench.errors import VerificationError

VERSION = "workbench/v1/entry"
COMMITMENT_LABEL = b"workbench/v1/commitment"
COMMITMENT_PREFIX = b"\x02"  # leaves have 0x00 and nodes 0x01, so no commitment is ever one of them
SALT_SIZE = 32

MAX_BODY_BYTES = 65_535
MAX_SHARED_BYTES = 16_384
MAX_COMMITTED_BYTES = 65_535
MAX_FIELDS = 64
MAX_REFS = 64

_MEMBERS = frozenset({"v", "kind", "time", "log", "job", "actor", "refs", "shared", "committed"})
_KIND = re.compile(r"(?=.{3,64}\Z)[a-z][a-z0-9_-]*(\.[a-z][a-z0-9_-]*){1,3}")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_TOKEN = re.compile(r"[A-Za-z0-9._:-]{0,64}")
_REF = re.compile(r"[!-~]{1,160}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")
_ENTRY_REF = re.compile(r"entry:([a-z][a-z0-9-]{1,30}):(0|[1-9][0-9]{0,15}):([0-9a-f]{64})")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_TIME_MS = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z

_quoted: Callable[[str], str] = encode_basestring
"""A text as RFC 8785 section 3.2.2.2 writes it: the short escapes, \\u00xx for other control characters, all else as it is."""

Opening = tuple[bytes, str]
"""What opens a commitment: the 32-byte salt and the value. Secret: it belongs into the vault."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """A parsed entry. time_ms: milliseconds since 1970 UTC. committed: field -> 32-byte commitment."""

    kind: str
    time_ms: int
    log: PartyId
    job: str
    actor: str
    refs: tuple[str, ...]
    shared: Mapping[str, str]
    committed: Mapping[str, bytes]

    @property
    def participants(self) -> frozenset[PartyId]:
        """The log's institution and all that the shared fields name as taking part (document section 1)."""
        named = [self.shared.get("initiator", ""), self.shared.get("partner", "")]
        named += self.shared.get("participants", "").split(" ")
        return frozenset([self.log, *(PartyId(one) for one in named if one)])


class BuiltBody(bytes):
    """What `build_envelope` has just written: bytes that need not be parsed again to be believed. log: whose entry."""

    log: PartyId


def build_envelope(
    kind: EvidenceKind,
    values: Mapping[str, str],
    *,
    time_ms: int,
    log: PartyId,
    job: str,
    actor: str,
    refs: Sequence[str],
    salts: Callable[[int], bytes],
) -> tuple[bytes, dict[str, Opening]]:
    """The canonical body of one entry and the openings of its committed fields.

    values: exactly the fields of `kind`, all strings. salts: called with 32 once per committed field; must be random.
    The openings are secret and belong into the vault. Raises ValueError, a programming mistake, for other fields or
    anything beyond the limits of the document, TypeError for a value that is no string. Cost: about 15 microseconds.
    """
    if set(values) != {one.name for one in kind.fields}:
        raise ValueError(
            f"entry {kind.name} has the fields {sorted(one.name for one in kind.fields)}, got {sorted(values)}"
        )
    shared: dict[str, str] = {}
    committed: dict[str, bytes] = {}
    openings: dict[str, Opening] = {}
    for one in kind.fields:
        value = values[one.name]
        if not isinstance(value, str):
            raise TypeError(f"field {one.name} of {kind.name} is not a string")
        if one.visibility is Visibility.SHARED:
            shared[one.name] = value
        else:
            salt = salts(SALT_SIZE)
            committed[one.name] = commit(kind=kind.name, field=one.name, salt=salt, value=value)
            openings[one.name] = (salt, value)
    envelope = Envelope(kind.name, time_ms, log, job, actor, tuple(refs), shared, committed)
    problem = _problem(envelope)
    if problem:
        raise ValueError(f"entry {kind.name}: {problem}")
    body = BuiltBody(format_envelope(envelope))
    body.log = log
    if len(body) > MAX_BODY_BYTES:
        raise ValueError(f"entry {kind.name}: the body has {len(body)} bytes, at most {MAX_BODY_BYTES} are allowed")
    return body, openings


def format_envelope(envelope: Envelope) -> bytes:
    """The canonical body of an envelope that keeps the limits of the document. Cost: about 5 microseconds.

    Written out for this one schema: members in the order of RFC 8785 section 3.2.3, which for names of ASCII letters,
    digits and underscores is that of the code points, texts as section 3.2.2.2 has them. A test holds it together with
    the `rfc8785` package, byte for byte.
    """
    committed = ",".join([f'"{name}":"{digest.hex()}"' for name, digest in sorted(envelope.committed.items())])
    refs = ",".join(map(_quoted, envelope.refs))
    shared = ",".join([f'"{name}":{_quoted(value)}' for name, value in sorted(envelope.shared.items())])
    return (
        f'{{"actor":{_quoted(envelope.actor)},"committed":{{{committed}}},"job":{_quoted(envelope.job)},'
        f'"kind":{_quoted(envelope.kind)},"log":{_quoted(envelope.log)},"refs":[{refs}],"shared":{{{shared}}},'
        f'"time":"{format_time(envelope.time_ms)}","v":"{VERSION}"}}'
    ).encode()


def parse_envelope(body: bytes) -> Envelope:
    """The entry whose canonical body this is.

    Raises VerificationError (code ENVELOPE) for any other spelling, member, type or size. Cost: about 20 microseconds.
    """
    if len(body) > MAX_BODY_BYTES:
        _refuse("too long")
    try:
        value = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise _not_an_envelope("not JSON") from error
    if not isinstance(value, dict) or value.keys() != _MEMBERS or value["v"] != VERSION:
        _refuse("other members than an entry of version 1 has")
    texts = [value["kind"], value["time"], value["log"], value["job"], value["actor"]]
    refs, shared, committed = value["refs"], value["shared"], value["committed"]
    if not all(isinstance(text, str) for text in texts) or not isinstance(refs, list):
        _refuse("a member has the wrong type")
    if not isinstance(shared, dict) or not isinstance(committed, dict):
        _refuse("a member has the wrong type")
    if not all(isinstance(text, str) for text in [*refs, *shared.values(), *committed.values()]):
        _refuse("a member has the wrong type")
    if not all(_DIGEST.fullmatch(str(digest)) for digest in committed.values()):
        _refuse("a commitment is not 64 hexadecimal digits")
    kind, time, log, job, actor = (str(text) for text in texts)
    envelope = Envelope(
        kind=kind,
        time_ms=parse_time(time),
        log=PartyId(log),
        job=job,
        actor=actor,
        refs=tuple(str(ref) for ref in refs),
        shared={name: str(text) for name, text in shared.items()},
        committed={name: bytes.fromhex(str(digest)) for name, digest in committed.items()},
    )
    problem = _problem(envelope)
    if problem:
        _refuse(problem)
    try:
        spelling = format_envelope(envelope)
    except ValueError as error:  # half of a surrogate pair, which no UTF-8 has
        raise _not_an_envelope("a value is not text") from error
    if spelling != body:  # blanks, another order, other escapes, a member twice
        _refuse("not canonical JSON")
    return envelope


def commit(*, kind: str, field: str, salt: bytes, value: str) -> bytes:
    """The 32-byte commitment of one field (document section 2). salt: 32 random bytes, never used twice."""
    if len(salt) != SALT_SIZE:
        raise ValueError("a salt has 32 bytes")
    encoded = value.encode("utf-8")
    if len(encoded) > MAX_COMMITTED_BYTES:
        raise ValueError(f"field {field} of {kind} is longer than {MAX_COMMITTED_BYTES} bytes")
    parts = (COMMITMENT_LABEL, kind.encode("ascii"), field.encode("ascii"), salt, encoded)
    return sm3.digest(COMMITMENT_PREFIX + b"".join(len(part).to_bytes(4, "big") + part for part in parts))


def check_opening(envelope: Envelope, field: str, salt: bytes, value: str) -> None:
    """Return if (salt, value) opens the commitment of `field`. Raises VerificationError (code OPENING)."""
    expected = envelope.committed.get(field)
    try:
        fits = expected is not None and compare.equal(
            expected, commit(kind=envelope.kind, field=field, salt=salt, value=value)
        )
    except ValueError:
        fits = False
    if not fits:
        raise VerificationError(
            f"字段 {field} 的开示与承诺不符：{envelope.log} 的合规人员需核查",
            f"the opening of field {field} does not fit its commitment: compliance of {envelope.log} must look into it",
            code="OPENING",
            details={"field": field, "kind": envelope.kind, "log": envelope.log},
        )


@lru_cache(maxsize=1024)
def format_time(time_ms: int) -> str:
    """RFC 3339 in UTC with milliseconds, e.g. 2026-11-21T06:05:41.007Z. time_ms: 1970 to 9999; ValueError otherwise."""
    if not 0 <= time_ms <= _MAX_TIME_MS:
        raise ValueError("times of entries lie between 1970 and 9999")
    moment = _EPOCH + timedelta(milliseconds=time_ms)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{time_ms % 1000:03d}Z"


def parse_time(text: str) -> int:
    """The milliseconds since 1970 that `format_time` wrote. Raises VerificationError."""
    try:
        if _TIME.fullmatch(text):
            time_ms = (datetime.fromisoformat(text) - _EPOCH) // timedelta(milliseconds=1)
            if time_ms >= 0 and format_time(time_ms) == text:
                return time_ms
    except ValueError as error:
        raise _not_an_envelope("the time is not RFC 3339 in UTC with milliseconds") from error
    raise _not_an_envelope("the time is not RFC 3339 in UTC with milliseconds")


def format_entry_ref(ref: EntryRef) -> str:
    """How an entry of any log is named in `refs`: entry:<log>:<index>:<SHA-256 leaf in hexadecimal>."""
    return f"entry:{ref.log}:{ref.index}:{ref.leaf.hex()}"


def parse_entry_ref(text: str) -> EntryRef:
    """The inverse of `format_entry_ref`. Raises VerificationError."""
    match = _ENTRY_REF.fullmatch(text)
    if match is None:
        raise _not_an_envelope("a reference to an entry is entry:<log>:<index>:<leaf>")
    return EntryRef(PartyId(match[1]), int(match[2]), bytes.fromhex(match[3]))


def _problem(envelope: Envelope) -> str:
    """What breaks a limit of the document, in a few words, or ""."""
    shared, committed = envelope.shared, envelope.committed
    if not _KIND.fullmatch(envelope.kind):
        return "the kind is not a dotted lower-case name"
    try:
        parse_party_id(envelope.log)
    except ValueError:
        return "the log is not a party id"
    if not _TOKEN.fullmatch(envelope.job) or not _TOKEN.fullmatch(envelope.actor):
        return "job and actor have at most 64 letters, digits and . _ : -"
    if len(envelope.refs) > MAX_REFS or not all(_REF.fullmatch(ref) for ref in envelope.refs):
        return "at most 64 references of 1 to 160 visible characters"
    if len(shared) + len(committed) > MAX_FIELDS or not all(map(_NAME.fullmatch, [*shared, *committed])):
        return "at most 64 fields with lower-case names"
    if not shared.keys().isdisjoint(committed):
        return "a field is both shared and committed"
    try:
        if any(
            len(value) > MAX_SHARED_BYTES // 4 and len(value.encode("utf-8")) > MAX_SHARED_BYTES
            for value in shared.values()
        ):
            return f"a shared value has more than {MAX_SHARED_BYTES} bytes"
    except UnicodeEncodeError:
        return "a shared value is not text"
    return ""


def _refuse(reason: str) -> NoReturn:
    raise _not_an_envelope(reason)


def _not_an_envelope(reason: str) -> VerificationError:
    return VerificationError(
        "这条记录不是第 1 版证据信封的规范写法，拒绝采信",
        f"these bytes are not an evidence envelope of version 1: {reason}",
        code="ENVELOPE",
        details={"reason": reason},
    )

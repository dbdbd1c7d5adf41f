"""Reading what a package consists of; every parser takes exactly one spelling. Documents: package.md, evidence.md."""

from __future__ import annotations

import base64
import binascii
import json
import re
import struct
import zlib
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any, BinaryIO, NamedTuple

from workbench_ledger.package.verifier.arithmetic import (
    is_on_sm2_curve,
    sha256,
    sm3,
    verify_ed25519,
    verify_sm2,
)
from workbench_ledger.package.verifier.lattice import MLDSA_KEY_SIZE, MLDSA_SIGNATURE_SIZE, verify_mldsa44

MAX_INTEGER = 2**53 - 1
MAX_BODY = 65535
MAX_NOTE = 65536

PARTY = re.compile(r"[a-z][a-z0-9-]{1,30}")
NAME = re.compile(r"[A-Za-z0-9._/-]{1,160}")
HEX32 = re.compile(r"[0-9a-f]{64}")
_KIND = re.compile(r"[a-z][a-z0-9_-]*(\.[a-z][a-z0-9_-]*){1,3}")
_FIELD = re.compile(r"[a-z][a-z0-9_]{0,63}")
_TOKEN = re.compile(r"[A-Za-z0-9._:-]{0,64}")
_REF = re.compile(r"[!-~]{1,160}")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,15}")
_PROJECT = re.compile(r"[a-z][a-z0-9-]{0,62}")
_KEY_NAME = re.compile(r"[^\s+\x00-\x20\x7f]{1,255}")
_ENVELOPE = {"v", "kind", "time", "log", "job", "actor", "refs", "shared", "committed"}
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)  # noqa: UP017  Python 3.9 has no datetime.UTC

LOG_TYPE, COSIGN_TYPE, SM2_TYPE, MLDSA_TYPE = b"\x01", b"\x04", b"\xffworkbench/v1/sm2-cosign\n", b"\x06"


class Bad(Exception):
    """Something does not hold. code: of words.PROBLEMS; where: file, log, index, field, party, as far as known."""

    def __init__(self, code: str, **where: Any) -> None:
        super().__init__(code)
        self.code, self.where = code, where


# ----------------------------------------------------------------------------------------------- JSON


def canonical(value: Any, depth: int = 32) -> str:
    """RFC 8785 without floating-point numbers. Raises ValueError for anything else."""
    if value is None or isinstance(value, (bool, str)):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int):
        if abs(value) > MAX_INTEGER:
            raise ValueError("number")
        return str(value)
    if depth and isinstance(value, list):
        return "[" + ",".join(canonical(one, depth - 1) for one in value) + "]"
    if depth and isinstance(value, dict):
        keys = sorted(value, key=lambda key: key.encode("utf-16-be", "surrogatepass"))
        return "{" + ",".join(canonical(key) + ":" + canonical(value[key], depth - 1) for key in keys) + "}"
    raise ValueError("type")


def parse_canonical(data: bytes) -> dict[str, Any]:
    """The object whose canonical bytes these are. Raises ValueError."""
    try:
        value = json.loads(data.decode("utf-8"))
        if not isinstance(value, dict) or canonical(value).encode("utf-8") != data:
            raise ValueError("spelling")
    except RecursionError as error:
        raise ValueError("nesting") from error
    return value


def parse_once(data: bytes) -> dict[str, Any]:
    """A JSON object in any spelling whose members occur once. Raises ValueError."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise ValueError("member")
        return dict(pairs)

    def no_number(text: str) -> None:
        raise ValueError(text)  # NaN and Infinity, which JSON does not have and Python reads

    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=once, parse_constant=no_number)
    except RecursionError as error:
        raise ValueError("nesting") from error
    if not isinstance(value, dict):
        raise ValueError("object")  # noqa: TRY004  one kind of error for every odd input
    return value


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def unb64(text: str) -> bytes:
    """Canonical base64 only. Raises ValueError."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except binascii.Error as error:
        raise ValueError("base64") from error
    if b64(data) != text:
        raise ValueError("base64")
    return data


def number(text: str) -> int:
    """A decimal number without leading zeros, at most 2^53 - 1. Raises ValueError."""
    if not _NUMBER.fullmatch(text) or int(text) > MAX_INTEGER:
        raise ValueError("number")
    return int(text)


# ---------------------------------------------------------------------------------------- container


class Member(NamedTuple):
    """A file of the ZIP: where its bytes begin, and how many there are."""

    offset: int
    size: int
    crc: int


def is_name(name: str) -> bool:
    """Whether a file of a package may be called so (package.md section 2)."""
    return bool(NAME.fullmatch(name)) and all(part not in ("", ".", "..") for part in name.split("/"))


def local_header(name: bytes, size: int, crc: int) -> bytes:
    """package.md section 2."""
    return struct.pack("<4s5H3I2H", b"PK\3\4", 10, 0, 0, 0, 0x21, crc, size, size, len(name), 0) + name


def central_header(name: bytes, size: int, crc: int, offset: int) -> bytes:
    """package.md section 2."""
    head = struct.pack("<4s6H3I", b"PK\1\2", 0x030A, 10, 0, 0, 0, 0x21, crc, size, size)
    return head + struct.pack("<5H2I", len(name), 0, 0, 0, 0, 0x81A40000, offset) + name


def end_record(count: int, size: int, offset: int) -> bytes:
    """package.md section 2."""
    return struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, size, offset, 0)


def read_container(file: BinaryIO, size: int) -> dict[str, Member]:
    """The files of a ZIP in our one spelling, by name. Every byte outside the files is compared. Raises Bad."""
    members: dict[str, Member] = {}
    names: list[str] = []
    try:
        file.seek(max(0, size - 22))
        end = file.read(22)
        count, length, start = struct.unpack("<H2I", end[10:20]) if len(end) == 22 else (0, 0, 0)
        if end != end_record(count, length, start) or start + length + 22 != size:
            raise ValueError("end")
        file.seek(start)
        central, at, offset = file.read(length), 0, 0
        for _ in range(count):
            crc, stored, _, name_length = struct.unpack("<3IH", central[at + 16 : at + 30])
            raw = central[at + 46 : at + 46 + name_length]
            name = raw.decode("ascii")
            if central[at : at + 46 + name_length] != central_header(raw, stored, crc, offset):
                raise ValueError("central")
            if not is_name(name) or (names and name != "manifest.json" and name <= names[-1]) or name in members:
                raise ValueError("name")
            file.seek(offset)
            header = local_header(raw, stored, crc)
            if file.read(len(header)) != header:
                raise ValueError("local")
            members[name] = Member(offset + len(header), stored, crc)
            names.append(name)
            at, offset = at + 46 + name_length, offset + len(header) + stored
        if at != length or offset != start or not names or names[-1] != "manifest.json" or len(names) > 65000:
            raise ValueError("order")
    except (ValueError, struct.error) as error:
        raise Bad("CONTAINER") from error
    return members


def read_member(file: BinaryIO, member: Member) -> bytes:
    """The bytes of a file of the ZIP, whatever its checksum says."""
    file.seek(member.offset)
    return file.read(member.size)


def damaged_members(file: BinaryIO, members: dict[str, Member]) -> list[str]:
    """Files whose bytes do not fit the ZIP's checksum; the later steps tell what is wrong in them."""
    return [name for name, one in sorted(members.items()) if zlib.crc32(read_member(file, one)) != one.crc]


# ------------------------------------------------------------------------------------------- envelope


class Envelope(NamedTuple):
    """A parsed entry (evidence.md section 1)."""

    kind: str
    time: str
    log: str
    job: str
    actor: str
    refs: list[str]
    shared: dict[str, str]
    committed: dict[str, str]

    def participants(self) -> set[str]:
        """The log and all that the shared fields name as taking part."""
        named = [self.shared.get("initiator", ""), self.shared.get("partner", "")]
        return {self.log, *(one for one in named + self.shared.get("participants", "").split(" ") if one)}


def is_time(text: Any) -> bool:
    """YYYY-MM-DDTHH:MM:SS.mmmZ of a real instant from 1970 on."""
    if not isinstance(text, str) or not _TIME.fullmatch(text):
        return False
    try:
        return datetime.strptime(text + "+0000", "%Y-%m-%dT%H:%M:%S.%fZ%z") >= _EPOCH
    except ValueError:
        return False


def time_of(seconds: int) -> str:
    """POSIX seconds as RFC 3339; the number itself beyond the year 9999."""
    try:
        return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
    except OverflowError:
        return str(seconds)


def parse_envelope(body: bytes) -> Envelope:
    """Raises ValueError for any other spelling."""
    if len(body) > MAX_BODY:
        raise ValueError("size")
    value = parse_canonical(body)
    if set(value) != _ENVELOPE or value["v"] != "workbench/v1/entry":
        raise ValueError("members")
    one = Envelope(**{name: value[name] for name in Envelope._fields})
    texts = [one.kind, one.time, one.log, one.job, one.actor]
    objects = isinstance(one.shared, dict) and isinstance(one.committed, dict) and isinstance(one.refs, list)
    if not objects or not all(
        isinstance(text, str) for text in [*texts, *one.refs, *one.shared.values(), *one.committed.values()]
    ):
        raise ValueError("types")
    names = [*one.shared, *one.committed]
    if not (
        _KIND.fullmatch(one.kind)
        and 3 <= len(one.kind) <= 64
        and is_time(one.time)
        and PARTY.fullmatch(one.log)
        and _TOKEN.fullmatch(one.job)
        and _TOKEN.fullmatch(one.actor)
        and len(one.refs) <= 64
        and all(_REF.fullmatch(ref) for ref in one.refs)
        and len(names) <= 64
        and len(set(names)) == len(names)
        and all(_FIELD.fullmatch(name) for name in names)
        and all(HEX32.fullmatch(text) for text in one.committed.values())
        and all(len(text.encode("utf-8")) <= 16384 for text in one.shared.values())
    ):
        raise ValueError("limits")
    return one


def parse_opened(value: Any) -> dict[str, tuple[bytes, str]]:
    """field -> salt and value, from an object of openings. Raises ValueError."""
    if not isinstance(value, dict) or len(value) > 64:
        raise ValueError("openings")
    opened = {}
    for name, one in value.items():
        if not isinstance(one, dict) or set(one) != {"salt", "value"}:
            raise ValueError("opening")
        if not isinstance(one["salt"], str) or not HEX32.fullmatch(one["salt"]) or not isinstance(one["value"], str):
            raise ValueError("opening")
        (name + one["value"]).encode("utf-8")  # half a surrogate pair has no bytes: ValueError
        opened[name] = (bytes.fromhex(one["salt"]), one["value"])
    return opened


def opens(envelope: Envelope, field: str, salt: bytes, value: str) -> bool:
    """Whether salt and value open the commitment of a field (evidence.md section 2)."""
    parts = (b"workbench/v1/commitment", envelope.kind.encode(), field.encode("utf-8"), salt, value.encode("utf-8"))
    data = b"\x02" + b"".join(struct.pack(">I", len(part)) + part for part in parts)
    return len(parts[4]) <= 65535 and envelope.committed.get(field) == sm3(data).hex()


# ----------------------------------------------------------------------------------------------- trees

Digest = Callable[[bytes], bytes]
TREES: dict[str, Digest] = {"sha256": sha256, "sm3": sm3}


def leads(digest: Digest, index: int, size: int, leaf: bytes, path: list[bytes], root: bytes) -> bool:
    """Whether the leaf is entry `index` under this root (RFC 9162 section 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    place, last, value = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if place & 1 or place == last:
            value = digest(b"\x01" + sibling + value)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            value = digest(b"\x01" + value + sibling)
        place, last = place >> 1, last >> 1
    return not last and value == root


def continues(digest: Digest, old: int, new: int, old_root: bytes, new_root: bytes, path: list[bytes]) -> bool:
    """Whether the tree of size `new` continues that of `old`, 0 < old < new (RFC 9162 section 2.1.4.2)."""
    if not 0 < old < new:
        return False
    steps = list(path) if old & (old - 1) else [old_root, *path]
    if not steps:
        return False
    place, last = old - 1, new - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    before = after = steps[0]
    for sibling in steps[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            before, after = digest(b"\x01" + sibling + before), digest(b"\x01" + sibling + after)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            after = digest(b"\x01" + after + sibling)
        place, last = place >> 1, last >> 1
    return not last and before == old_root and after == new_root


def hashes(lines: list[str]) -> list[bytes]:
    """Lines of base64 as hashes of 32 bytes. Raises ValueError."""
    found = [unb64(line) for line in lines]
    if len(found) > 64 or any(len(one) != 32 for one in found):
        raise ValueError("hash")
    return found


# ----------------------------------------------------------------------------------- keys, checkpoints


class Keys(NamedTuple):
    """Keys of one institution. contract: only compared. It and the ML-DSA key: b"" where only a receipt names the keys.

    names: in Chinese and English, compared as well. spans: pairs (joined, left), log -> index from which the institution
    belongs to that log's members and from which no longer (ledger.md section 7.3); what the package says follows the pin.
    """

    ed25519: bytes
    sm2: bytes
    contract: bytes = b""
    mldsa44: bytes = b""
    names: tuple[str, str] = ("", "")
    spans: tuple[tuple[dict[str, int], dict[str, int]], ...] = (({}, {}),)


class Note(NamedTuple):
    """A verified checkpoint. cosigners: party -> (time, r || s of its SM2 co-signature); thirds: who has an ML-DSA line too."""

    note: str
    text: str
    project: str
    log: str
    size: int
    roots: dict[str, bytes]
    cosigners: dict[str, tuple[int, bytes]]
    thirds: set[str]
    unknown: int


def read_key(text: Any, *, point: bool) -> bytes:
    size = 65 if point else 32
    raw = bytes.fromhex(text) if isinstance(text, str) else b""
    if len(raw) != size or raw.hex() != text or (point and (raw[0] != 4 or not is_on_sm2_curve(raw[1:]))):
        raise ValueError("key")
    return raw[1:] if point else raw


def _lattice_key(text: Any) -> bytes:
    raw = bytes.fromhex(text) if isinstance(text, str) else b""
    if len(raw) != MLDSA_KEY_SIZE or raw.hex() != text:
        raise ValueError("key")
    return raw


def _indices(one: dict[str, Any], name: str) -> dict[str, int]:
    if name not in one:
        return {}
    if not one[name] or not all(PARTY.fullmatch(log) for log in one[name]):
        raise ValueError("members")
    return {log: number(index) for log, index in one[name].items()}


def is_member(party: str, span: tuple[dict[str, int], dict[str, int]], log: str, index: int) -> bool:
    """Whether an institution belongs to the members of a log at an entry (ledger.md section 7.3)."""
    joined, left = span[0].get(log), span[1].get(log)
    if log == party:
        return True
    if left is not None and (joined is None or left < joined):  # it left, and perhaps came back
        return index < left or (joined is not None and index >= joined)
    if joined is None:
        return not span[0]
    return joined <= index and (left is None or index < left)


def members_at(keys: dict[str, Keys], log: str, index: int) -> set[str]:
    return {party for party, one in keys.items() if is_member(party, one.spans[0], log, index)}


def counting(note: Note, keys: dict[str, Keys], index: int) -> set[str]:
    """Co-signers of a head who are members both at the entry and at the head's last one, whoever tells of members."""
    return {
        party
        for party in note.cosigners
        if all(is_member(party, span, note.log, at) for span in keys[party].spans for at in (index, note.size - 1))
    }


def weighty(kind: str, signers: set[str], note: Note, prefixes: list[str]) -> set[str]:
    """The signers that make an entry of this kind final: those with an ML-DSA-44 line where a prefix demands it."""
    return signers & note.thirds if any(kind.startswith(one) for one in prefixes) else signers


def parse_trust(data: bytes) -> dict[str, Keys]:
    """The pinned keys of a trust file by party. Raises Bad."""
    try:
        value = parse_canonical(data[:-1] if data.endswith(b"\n") else data)
        if value["v"] not in (1, 2) or isinstance(value["v"], bool) or value["kind"] != "trust" or not value["parties"]:
            raise ValueError("kind")
        found: dict[str, Keys] = {}
        for one in value["parties"]:
            if not PARTY.fullmatch(one["party"]) or one["party"] in found:
                raise ValueError("party")
            if not isinstance(one["name_zh"], str) or not isinstance(one["name_en"], str):
                raise ValueError("name")  # noqa: TRY004  as above
            found[one["party"]] = Keys(
                read_key(one["cosign_ed25519"], point=False),
                read_key(one["cosign_sm2"], point=True),
                read_key(one["contract_key"], point=True),
                _lattice_key(one["cosign_mldsa44"]) if "cosign_mldsa44" in one else b"",
                (one["name_zh"], one["name_en"]),
                ((_indices(one, "joined"), _indices(one, "left")),),
            )
        everything = [key for keys in found.values() for key in keys[:4] if key]
        if (value["v"] == 2) is not any(keys.mldsa44 or any(keys.spans[0]) for keys in found.values()):
            raise ValueError("version")
        if len(set(everything)) != len(everything):
            raise ValueError("shared keys")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Bad("TRUST_FORM", file="keys/trust.json") from error
    return found


def key_id(name: str, kind: bytes, key: bytes) -> bytes:
    """C2SP signed-note: the first 4 bytes of SHA-256 over name, type and key."""
    return sha256(name.encode("utf-8") + b"\n" + kind + key)[:4]


def vkey(name: str, kind: bytes, key: bytes) -> str:
    """C2SP verifier key."""
    return f"{name}+{key_id(name, kind, key).hex()}+{b64(kind + key)}"


def sm2_pem(key: bytes) -> str:
    """SubjectPublicKeyInfo of an SM2 key x || y, PEM."""
    text = b64(bytes.fromhex("3059301306072a8648ce3d020106082a811ccf5501822d03420004") + key)
    lines = "\n".join(text[at : at + 64] for at in range(0, len(text), 64))
    return f"-----BEGIN PUBLIC KEY-----\n{lines}\n-----END PUBLIC KEY-----\n"


def origin(project: str, party: str) -> str:
    return f"workbench.example/{project}/{party}"


def cosigned(text: str, time_s: int) -> bytes:
    """What an Ed25519 co-signature signs."""
    return f"cosignature/v1\ntime {time_s}\n{text}".encode()


def sm2_signed(party: str, text: str, time_s: int) -> bytes:
    """What an SM2 co-signature signs."""
    return f"workbench/v1/cosign\n{party}\n\n".encode() + cosigned(text, time_s)


def mldsa_signed(party: str, project: str, log: str, time_s: int, size: int, root: bytes) -> bytes:
    """What an ML-DSA-44 co-signature signs (ledger.md section 1): the whole tree by its SHA-256 root."""
    signer, of = (bytes([len(one)]) + one.encode() for one in (origin(project, party), origin(project, log)))
    return b"subtree/v1\n\0" + signer + struct.pack(">Q", time_s) + of + struct.pack(">QQ", 0, size) + root


def _split(note: str) -> tuple[str, str, str, int, dict[str, bytes], list[tuple[str, bytes]]]:
    """Text, project, log, size, roots and lines of a note. Raises ValueError."""
    text, separator, block = note.rpartition("\n\n")
    if not separator or not text or len(note) > MAX_NOTE or not block.endswith("\n") or block.count("\n") > 64:
        raise ValueError("note")
    head = (text + "\n").split("\n")
    if len(head) != 5 or not head[3].startswith("sm3 "):
        raise ValueError("head")
    parts, size = head[0].split("/"), number(head[1])
    if len(parts) != 3 or parts[0] != "workbench.example" or not size:
        raise ValueError("origin")
    if not _PROJECT.fullmatch(parts[1]) or not PARTY.fullmatch(parts[2]):
        raise ValueError("origin")
    sha, national = hashes([head[2], head[3][4:]])
    lines = []
    for line in block[:-1].split("\n"):
        pieces = line.split(" ")
        if len(pieces) != 3 or pieces[0] != "\u2014" or not _KEY_NAME.fullmatch(pieces[1]):
            raise ValueError("line")
        data = unb64(pieces[2])
        if len(data) <= 4:
            raise ValueError("line")
        lines.append((pieces[1], data))
    return text + "\n", parts[1], parts[2], size, {"sha256": sha, "sm3": national}, lines


def verify_note(note: str, keys: dict[str, Keys], project: str | None) -> Note:
    """evidence.md section 5, rules 1 to 4 but the quorum. project: None takes the note's own. Raises Bad."""
    try:
        text, named, log, size, roots, lines = _split(note)
    except ValueError as error:
        raise Bad("CHECKPOINT_FORM") from error
    if log not in keys or (project is not None and named != project):
        raise Bad("CHECKPOINT_OF_OTHERS", party=log)
    name = origin(named, log)
    wanted = key_id(name, LOG_TYPE, keys[log].ed25519)
    mine = [data[4:] for owner, data in lines if owner == name and data[:4] == wanted]
    if len(mine) != 1 or not verify_ed25519(keys[log].ed25519, text.encode(), mine[0]):
        raise Bad("LOG_SIGNATURE", party=log)
    cosigners: dict[str, tuple[int, bytes]] = {}
    found = Note(note, text, named, log, size, roots, cosigners, set(), 0)
    for party in sorted(keys):
        one = _cosignature(party, keys[party], found, lines)
        if one is not None:
            cosigners[party] = one
    return found._replace(unknown=len(lines) - 1 - 2 * len(cosigners) - len(found.thirds))


def _cosignature(party: str, keys: Keys, note: Note, lines: list[tuple[str, bytes]]) -> tuple[int, bytes] | None:
    """Both halves of an institution's co-signature, or None when it has neither; a third line is noted. Raises Bad."""
    name = origin(note.project, party)
    kinds = [(COSIGN_TYPE, keys.ed25519), (SM2_TYPE, keys.sm2), *([(MLDSA_TYPE, keys.mldsa44)] if keys.mldsa44 else [])]
    ids = [key_id(name, *one) for one in kinds]
    plain, national, *thirds = ([data[4:] for owner, data in lines if owner == name and data[:4] == one] for one in ids)
    third = thirds[0] if thirds else []
    if not plain and not national and not third:
        return None
    if len(plain) != 1 or len(national) != 1 or len(third) > 1:
        raise Bad("COSIGNATURE_HALF", party=party)
    if len({one[:8] for one in (*plain, *national, *third)}) != 1 or len(plain[0]) != 72 or len(national[0]) != 72:
        raise Bad("COSIGNATURE_HALF", party=party)
    time_s = int.from_bytes(plain[0][:8], "big")
    if not 1 <= time_s <= MAX_INTEGER or any(len(one) != 8 + MLDSA_SIGNATURE_SIZE for one in third):
        raise Bad("COSIGNATURE_HALF", party=party)
    if not verify_ed25519(keys.ed25519, cosigned(note.text, time_s), plain[0][8:]):
        raise Bad("COSIGNATURE", party=party)
    if not verify_sm2(keys.sm2, sm2_signed(party, note.text, time_s), national[0][8:]):
        raise Bad("COSIGNATURE", party=party)
    if third:
        message = mldsa_signed(party, note.project, note.log, time_s, note.size, note.roots["sha256"])
        if not verify_mldsa44(keys.mldsa44, message, third[0][8:]):
            raise Bad("COSIGNATURE_MLDSA", party=party)
        note.thirds.add(party)
    return time_s, national[0][8:]

"""Outside anchors of a package, as far as they can be checked without a network (package.md section 7.1)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

from workbench_ledger.package.verifier.arithmetic import sha256
from workbench_ledger.package.verifier.formats import (
    MAX_INTEGER,
    TREES,
    Bad,
    Keys,
    Note,
    continues,
    hashes,
    is_time,
    number,
    origin,
    parse_canonical,
    unb64,
    verify_note,
)
from workbench_ledger.package.verifier.result import Result

ANCHOR_FILE = re.compile(r"anchors/([a-z][a-z0-9-]{1,30})/(rfc3161|evm)/[a-z]{1,20}\.(?:json|note|tsq|tsr|pem)")
ANCHOR_FILES = {"rfc3161": ["checkpoint.note", "request.tsq", "token.tsr", "tsa.pem"], "evm": ["checkpoint.note", "transaction.json"]}
_CULPRITS = {"ANCHOR_NOTE": "checkpoint.note", "ANCHOR_PATH": "anchor.json", "ANCHOR_TOKEN": "token.tsr", "ANCHOR_CHAIN": "transaction.json"}
_ANCHOR = {"v", "kind", "log", "state", "size", "time", "digest", "checkpoint", "sha256", "sm3"}
_TRANSACTION = {
    "v", "chain_id", "contract", "origin", "origin_id", "sender", "transaction", "raw", "block", "block_hash", "block_time",
    "topics", "data", "code_sha256",
}  # fmt: skip
_ANCHORED = "ee4758cf20fae73b4a3539508a2ce82afb8b7c4143ce9206393e3c9d2aff52d7"  # topic and selector: anchor.md section 3.1
_ANCHOR_CALL = bytes.fromhex("d309a21c")
_SHA256_ALGORITHM = bytes.fromhex("0609608648016503040201")
_SIGNED_DATA = bytes.fromhex("2a864886f70d010702")
_TST_INFO = bytes.fromhex("2a864886f70d0109100104")
_GENERALIZED = re.compile(r"([0-9]{14})(?:\.([0-9]{0,8}[1-9]))?Z")
_START = datetime(1970, 1, 1, tzinfo=timezone.utc)  # noqa: UP017  Python 3.9 has no datetime.UTC


class Anchor(NamedTuple):
    """A parsed anchor.json. folder: of its files, with a slash."""

    folder: str
    kind: str
    log: str
    state: str
    size: int
    time: str
    digest: bytes
    checkpoint: int
    paths: dict[str, list[bytes]]


def check_anchors(
    names: list[str],
    read: Callable[[str], bytes],
    notes: dict[tuple[str, int], Note],
    keys: dict[str, Keys],
    project: str,
    entries: dict[str, list[int]],
    said: int,
    result: Result,
) -> list[tuple[str, dict[str, str]]]:
    """The step `anchors`. entries: log -> indices of its entries here; said: folders there must be.

    Returns what stays unchecked: names of words.UNCHECKED with their values.
    """
    step = result.begin("anchors")
    folders: dict[str, set[str]] = {}
    for name in names:
        if name.startswith("anchors/"):
            folders.setdefault(name.rpartition("/")[0] + "/", set()).add(name)
    if len(folders) != said:
        step.problem("COUNT", file="package.json")
    proven, others = [], 0
    left: list[tuple[str, dict[str, str]]] = []
    for folder, found in sorted(folders.items()):
        log = folder.split("/")[1]
        try:
            anchor = parse_anchor(folder, read(folder + "anchor.json"))
            expected = ANCHOR_FILES[anchor.kind] if anchor.state == "confirmed" else []
            if found != {folder + name for name in ["anchor.json", *expected]}:
                raise ValueError("files")
        except (ValueError, KeyError):
            step.problem("ANCHOR_FORM", file=folder + "anchor.json", log=log)
            continue
        if anchor.state != "confirmed":
            others += 1
            continue
        try:
            note = check_note(anchor, read(folder + "checkpoint.note"), keys, project)
            covered = sum(index < note.size for index in entries.get(log, []))
            check_path(anchor, note, notes.get((log, anchor.checkpoint)), covered)
            if anchor.kind == "rfc3161":
                check_stamp(anchor, *(read(folder + name) for name in ANCHOR_FILES["rfc3161"][1:]))
                told = {"command": stamp_command(anchor)}
            else:
                told = check_transaction(anchor, note, read(folder + "transaction.json"))
        except Bad as bad:
            step.problem(bad.code, file=folder + _CULPRITS[bad.code], log=log)
            continue
        proven.append(f"{log} {anchor.kind} {anchor.time} {covered}/{len(entries[log])}")
        left.append((f"anchor_{anchor.kind}", {**told, "log": log, "time": anchor.time, "file": folder + "transaction.json"}))
    step.end(count=len(folders), proven=len(proven), other=others, told=", ".join(proven) or "—")
    return left


def stamp_command(anchor: Anchor) -> str:
    """How OpenSSL checks what is not checked here: the authority's signature, at the time of the stamp."""
    pem, seconds = f"{anchor.folder}tsa.pem", int(datetime.strptime(anchor.time[:19] + "+0000", "%Y-%m-%dT%H:%M:%S%z").timestamp())
    checked = f"openssl ts -verify -in {anchor.folder}token.tsr -data {anchor.folder}checkpoint.note"
    return f"{checked} -CAfile {pem} -untrusted {pem} -attime {seconds}"


def parse_anchor(folder: str, data: bytes) -> Anchor:
    """package.md section 4.2. Raises ValueError."""
    value = parse_canonical(data)
    texts = [value.get(name) for name in ("kind", "log", "state", "time", "digest")]
    if set(value) != _ANCHOR or value["v"] != "workbench/v1/package-anchor" or not all(isinstance(one, str) for one in texts):
        raise ValueError("members")
    kind, log, state, time, digest = (str(one) for one in texts)
    size, head, is_confirmed = value["size"], value["checkpoint"], state == "confirmed"
    if f"anchors/{log}/{kind}/" != folder or state not in ("confirmed", "waiting", "lost", "conflict"):
        raise ValueError("place")
    if any(not isinstance(one, int) or isinstance(one, bool) or not 0 <= one <= MAX_INTEGER for one in (size, head)):
        raise ValueError("size")
    if not re.fullmatch("[0-9a-f]{64}", digest) or not size or (head > 0) is not is_confirmed or not (is_time(time) if is_confirmed else time == ""):
        raise ValueError("values")
    if not all(isinstance(value[tree], list) and all(isinstance(one, str) for one in value[tree]) for tree in TREES):
        raise ValueError("paths")
    paths = {tree: hashes(value[tree]) for tree in TREES}
    if not is_confirmed and any(paths.values()):
        raise ValueError("paths")
    return Anchor(folder, kind, log, state, size, time, bytes.fromhex(digest), head, paths)


def check_note(anchor: Anchor, data: bytes, keys: dict[str, Keys], project: str) -> Note:
    """The anchored note. Raises Bad (ANCHOR_NOTE)."""
    try:
        note = verify_note(data.decode("utf-8"), keys, project)
    except (Bad, UnicodeDecodeError) as error:
        raise Bad("ANCHOR_NOTE") from error
    if sha256(data) != anchor.digest or (note.log, note.size) != (anchor.log, anchor.size):
        raise Bad("ANCHOR_NOTE")
    return note


def check_path(anchor: Anchor, note: Note, head: Note | None, covered: int) -> None:
    """The tie to a checkpoint of the package; covered: how many entries here. Raises Bad (ANCHOR_PATH)."""
    if head is None or not covered:
        raise Bad("ANCHOR_PATH")
    old, new = (head, note) if head.size <= note.size else (note, head)
    for tree, digest in TREES.items():
        path = anchor.paths[tree]
        if old.size == new.size:
            holds = not path and old.roots[tree] == new.roots[tree]
        else:
            holds = continues(digest, old.size, new.size, old.roots[tree], new.roots[tree], path)
        if not holds:
            raise Bad("ANCHOR_PATH")


# ------------------------------------------------------------------------------------------ time stamps

_Element = tuple[int, bytes, bytes]
"""Tag, content, and the element as it stands."""


def _elements(data: bytes) -> Iterator[_Element]:
    """The DER elements that follow one another (X.690 section 10.1). Raises ValueError."""
    at = 0
    while at < len(data):
        if at + 2 > len(data) or data[at] & 0x1F == 0x1F:
            raise ValueError("tag")
        size, start = data[at + 1], at + 2
        if size >= 0x80:
            count = size & 0x7F
            size, start = int.from_bytes(data[start : start + count], "big"), start + count
            if not 1 <= count <= 4 or size < 0x80 or size >> 8 * (count - 1) == 0:
                raise ValueError("length")
        if start + size > len(data):
            raise ValueError("end")
        yield data[at], data[start : start + size], data[at : start + size]
        at = start + size


def _inside(element: _Element, tag: int) -> list[_Element]:
    if element[0] != tag:
        raise ValueError("tag")
    return list(_elements(element[1]))


def _only(data: bytes, tag: int) -> list[_Element]:
    """What is inside the one element that these bytes are."""
    (element,) = _elements(data)
    return _inside(element, tag)


def _imprint(element: _Element) -> bytes:
    """The SHA-256 digest in a MessageImprint."""
    algorithm, hashed = _inside(element, 0x30)
    if algorithm[0] != 0x30 or algorithm[1] not in (_SHA256_ALGORITHM, _SHA256_ALGORITHM + b"\5\0") or hashed[0] != 4:
        raise ValueError("imprint")
    return hashed[1]


def _nonce(elements: list[_Element]) -> bytes:
    """The last INTEGER of these, which in a request and behind genTime is the nonce."""
    found = [one[1] for one in elements if one[0] == 2]
    if len(found) != 1:
        raise ValueError("nonce")
    return found[0]


def read_request(data: bytes) -> tuple[bytes, bytes]:
    """Digest and nonce of a TimeStampReq (anchor.md section 2.1). Raises ValueError."""
    version, imprint, *rest = _only(data, 0x30)
    if version[2] != b"\2\1\1":
        raise ValueError("version")
    return _imprint(imprint), _nonce(rest)


def read_token(data: bytes) -> tuple[bytes, bytes, str]:
    """Digest, nonce and genTime (as in an envelope) of a granted TimeStampResp; no signature is checked. Raises ValueError."""
    status, token = _only(data, 0x30)
    granted, *_ = _inside(status, 0x30)
    if granted[2] != b"\2\1\0":
        raise ValueError("status")
    kind, explicit = _inside(token, 0x30)
    (signed,) = _inside(explicit, 0xA0)
    _, _, content, *_ = _inside(signed, 0x30)
    content_kind, wrapped = _inside(content, 0x30)
    (octets,) = _inside(wrapped, 0xA0)
    if kind[:2] != (6, _SIGNED_DATA) or content_kind[:2] != (6, _TST_INFO) or octets[0] != 4:
        raise ValueError("content")
    version, _, imprint, _, time, *rest = _only(octets[1], 0x30)
    if version[2] != b"\2\1\1" or time[0] != 0x18:
        raise ValueError("information")
    return _imprint(imprint), _nonce(rest), _instant(time[1].decode("ascii"))


def _instant(text: str) -> str:
    """A GeneralizedTime of DER as in an envelope, to the millisecond below."""
    found = _GENERALIZED.fullmatch(text)
    if not found:
        raise ValueError("time")
    moment = datetime.strptime(found[1] + "+0000", "%Y%m%d%H%M%S%z")
    if moment < _START:
        raise ValueError("time")
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{((found[2] or '') + '000')[:3]}Z"


def check_stamp(anchor: Anchor, request: bytes, token: bytes, certificates: bytes) -> None:
    """Imprint, nonce and time of a time stamp. Raises Bad (ANCHOR_TOKEN)."""
    try:
        asked, stamped = read_request(request), read_token(token)
    except ValueError as error:
        raise Bad("ANCHOR_TOKEN") from error
    if asked != stamped[:2] or asked[0] != anchor.digest or stamped[2] != anchor.time or not _is_pem(certificates):
        raise Bad("ANCHOR_TOKEN")


def _is_pem(data: bytes) -> bool:
    """Whether these are one to five certificates in PEM, none of which is looked into."""
    blocks = re.findall("-----BEGIN CERTIFICATE-----([A-Za-z0-9+/= \r\n\t]+)-----END CERTIFICATE-----", data.decode("latin-1"))
    try:
        return 1 <= len(blocks) <= 5 and all(_only(unb64(re.sub("[ \r\n\t]", "", one)), 0x30) for one in blocks)
    except ValueError:
        return False


# ---------------------------------------------------------------------------------------------- chain


def check_transaction(anchor: Anchor, note: Note, data: bytes) -> dict[str, str]:
    """What transaction.json says, once it speaks of this note. Raises Bad (ANCHOR_CHAIN)."""
    try:
        value = parse_canonical(data)
        if set(value) != _TRANSACTION or not all(isinstance(one, str) for one in value.values()):
            raise ValueError("members")
        name = origin(note.project, note.log)
        words = note.roots["sha256"] + note.roots["sm3"] + anchor.digest
        place, size = sha256(name.encode()), note.size.to_bytes(32, "big")
        said = {
            "v": "workbench/v1/anchor-transaction",
            "origin": name,
            "origin_id": place.hex(),
            "topics": f"{_ANCHORED} {place.hex()} {size.hex()}",
            "data": words.hex(),
        }
        if any(value[member] != text for member, text in said.items()):
            raise ValueError("log")
        lengths = {"contract": 40, "sender": 40, "transaction": 64, "block_hash": 64, "code_sha256": 64}
        if any(not re.fullmatch(f"[0-9a-f]{{{count}}}", value[member]) for member, count in lengths.items()):
            raise ValueError("hex")
        seconds, _, _ = number(value["block_time"]), number(value["block"]), number(value["chain_id"])
        if (_START + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.000Z") != anchor.time:
            raise ValueError("time")
        if not re.fullmatch("([0-9a-f]{2})+", value["raw"]):
            raise ValueError("raw")
        _check_raw(bytes.fromhex(value["raw"]), int(value["chain_id"]), bytes.fromhex(value["contract"]), _ANCHOR_CALL + place + size + words)
    except (ValueError, OverflowError) as error:
        raise Bad("ANCHOR_CHAIN") from error
    return {str(member): str(text) for member, text in value.items()}


def _check_raw(raw: bytes, chain_id: int, contract: bytes, call: bytes) -> None:
    """A legacy transaction (nonce, price, gas, to, value, data, v, r, s) of EIP-155. Raises ValueError."""
    items = _rlp(raw)
    if len(items) != 9 or items[3] != contract or items[4] != b"" or items[5] != call:
        raise ValueError("transaction")
    if int.from_bytes(items[6], "big") not in (35 + 2 * chain_id, 36 + 2 * chain_id):
        raise ValueError("chain")


def _rlp(data: bytes) -> list[bytes]:
    """The byte strings of one RLP list without lists in it (Yellow Paper appendix B). Raises ValueError."""
    (content,) = list(_rlp_items(data, 0xC0))
    return list(_rlp_items(content, 0x80))


def _rlp_items(data: bytes, base: int) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        first = data[at]
        if base == 0x80 and first < 0x80:
            size, start = 1, at
        elif base <= first <= base + 55:
            size, start = first - base, at + 1
        elif base + 55 < first < base + 64:
            start = at + 1 + first - base - 55
            size = int.from_bytes(data[at + 1 : start], "big")
            if size < 56 or not data[at + 1]:
                raise ValueError("length")
        else:
            raise ValueError("item")
        if start + size > len(data) or (base == 0x80 and size == 1 and start > at and data[start] < 0x80):
            raise ValueError("item")
        yield data[start : start + size]
        at = start + size


__all__ = ["ANCHOR_FILE", "check_anchors"]

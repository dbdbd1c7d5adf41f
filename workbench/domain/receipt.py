"""Receipts: an entry with everything needed to check it offline, as a JSON object.

Document: docs/protocols/evidence.md section 9. Pure; `workbench.verify` reads what is written here.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from workbench.crypto import ed25519, sm2
from workbench.domain.checkpoint import PartyKeys
from workbench.domain.envelope import Opening
from workbench.domain.merkle import HASH_SIZE, MAX_SIZE
from workbench.domain.party import PartyId, parse_party_id
from workbench.errors import VerificationError

VERSION = "workbench/v1/receipt"
TLOG_PROOF = "c2sp.org/tlog-proof@v1"
MAX_RECEIPT_BYTES = 4 * 1024 * 1024
MAX_LINKS = 8
MAX_PATH = 64

_MEMBERS = frozenset({"v", "log", "index", "entry", "proof", "checkpoint", "tlog_proof", "keys", "openings", "links"})
_SALT = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Receipt:
    """A receipt as values; nothing in it is verified yet. links: receipts that have no links themselves."""

    log: PartyId
    index: int
    body: bytes
    sha256_path: tuple[bytes, ...]
    sm3_path: tuple[bytes, ...]
    note: str
    tlog_proof: str
    keys: Mapping[PartyId, PartyKeys]
    openings: Mapping[str, Opening]
    links: tuple[Receipt, ...]


def make_receipt(
    *,
    log: PartyId,
    index: int,
    body: bytes,
    sha256_path: Sequence[bytes],
    sm3_path: Sequence[bytes],
    note: str,
    keys: Mapping[PartyId, PartyKeys],
    openings: Mapping[str, Opening],
) -> dict[str, Any]:
    """The JSON object of a receipt without links. note: checkpoint with all co-signatures known."""
    return {
        "v": VERSION,
        "log": log,
        "index": index,
        "entry": body.decode("utf-8"),
        "proof": {"sha256": [_b64(one) for one in sha256_path], "sm3": [_b64(one) for one in sm3_path]},
        "checkpoint": note,
        "tlog_proof": format_tlog_proof(index, sha256_path, note),
        "keys": {
            party: {"ed25519": one.ed25519.format(), "sm2": one.sm2.format()} for party, one in sorted(keys.items())
        },
        "openings": {name: {"salt": salt.hex(), "value": value} for name, (salt, value) in sorted(openings.items())},
        "links": [],
    }


def job_receipt(receipts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One receipt of a job: the first one, with the others (entries in other institutions' logs) as its links.

    receipts: the own entry's first, at most 9, none with links of its own. Raises ValueError otherwise.
    """
    if not 1 <= len(receipts) <= MAX_LINKS + 1 or any(one["links"] for one in receipts):
        raise ValueError("a job receipt joins 1 to 9 receipts that have no links themselves")
    return {**receipts[0], "links": [dict(one) for one in receipts[1:]]}


def format_receipt(receipt: Mapping[str, Any]) -> bytes:
    """The receipt as a file for people and programs: indented JSON."""
    return (json.dumps(receipt, ensure_ascii=False, indent=2) + "\n").encode("utf-8")


def load_receipt(data: bytes) -> dict[str, Any]:
    """The JSON object in a receipt file. Raises VerificationError (RECEIPT) for anything else or a repeated member."""
    try:
        if len(data) > MAX_RECEIPT_BYTES:
            raise ValueError("too large")
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise _not_a_receipt("not a JSON object with members that occur once") from error
    if not isinstance(value, dict):
        _refuse("not a JSON object")
    return value


def parse_receipt(value: object, *, linked: bool = False) -> Receipt:
    """The values of a receipt's JSON object; linked: it stands inside another one. Raises VerificationError (RECEIPT)."""
    if not isinstance(value, dict) or set(value) != _MEMBERS or value["v"] != VERSION:
        _refuse("other members than a receipt of version 1 has")
    index, proof, links = value["index"], value["proof"], value["links"]
    if type(index) is not int or not 0 <= index < MAX_SIZE:
        _refuse("the index is no whole number")
    if not isinstance(proof, dict) or set(proof) != {"sha256", "sm3"}:
        _refuse("the proof has other members")
    if not isinstance(links, list) or len(links) > (0 if linked else MAX_LINKS):
        _refuse("too many links")
    try:
        return Receipt(
            log=parse_party_id(_text(value["log"])),
            index=index,
            body=_text(value["entry"]).encode("utf-8"),
            sha256_path=_path(proof["sha256"]),
            sm3_path=_path(proof["sm3"]),
            note=_text(value["checkpoint"]),
            tlog_proof=_text(value["tlog_proof"]),
            keys={parse_party_id(party): _keys(parse_party_id(party), one) for party, one in _object(value["keys"])},
            openings={name: _opening(one) for name, one in _object(value["openings"])},
            links=tuple(parse_receipt(one, linked=True) for one in links),
        )
    except (ValueError, binascii.Error) as error:
        raise _not_a_receipt(str(error)) from error


def format_tlog_proof(index: int, path: Sequence[bytes], note: str) -> str:
    """The C2SP tlog-proof text of an entry; in a file of its own it is named *.tlog-proof."""
    lines = [TLOG_PROOF, f"index {index}", *(_b64(one) for one in path)]
    return "\n".join(lines) + "\n\n" + note


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a member occurs twice")
    return result


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("a member is no string")  # noqa: TRY004  one kind of error for every odd input
    return value


def _object(value: object) -> list[tuple[str, Any]]:
    if not isinstance(value, dict) or len(value) > 64:
        raise ValueError("a member is no object, or a large one")
    return list(value.items())


def _path(value: object) -> tuple[bytes, ...]:
    if not isinstance(value, list) or len(value) > MAX_PATH:
        raise ValueError("a path is no list, or a long one")
    path = []
    for text in value:
        one = base64.b64decode(_text(text).encode("ascii"), validate=True)
        if len(one) != HASH_SIZE or _b64(one) != text:
            raise ValueError("a hash of a path is not 32 bytes in their one spelling")
        path.append(one)
    return tuple(path)


def _keys(party: PartyId, value: object) -> PartyKeys:
    members = dict(_object(value))
    if set(members) != {"ed25519", "sm2"}:
        raise ValueError("keys have other members")
    return PartyKeys(
        party, ed25519.PublicKey.parse(_text(members["ed25519"])), sm2.PublicKey.parse(_text(members["sm2"]))
    )


def _opening(value: object) -> Opening:
    members = dict(_object(value))
    if set(members) != {"salt", "value"} or not _SALT.fullmatch(_text(members["salt"])):
        raise ValueError("an opening has other members")
    return bytes.fromhex(members["salt"]), _text(members["value"])


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _refuse(reason: str) -> NoReturn:
    raise _not_a_receipt(reason)


def _not_a_receipt(reason: str) -> VerificationError:
    return VerificationError(
        "这不是第 1 版收据：请向出具机构重新索取",
        f"this is not a receipt of version 1 ({reason}): ask the institution that issued it for it again",
        code="RECEIPT",
        details={"reason": reason},
    )

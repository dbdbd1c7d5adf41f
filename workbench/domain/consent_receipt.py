"""Consent receipts as bytes: content, tree, signature, file. Document: docs/protocols/consent-receipt.md. Pure.

`parse` takes exactly the bytes that `format_file` writes and refuses every other spelling; nothing in the result is
verified yet but its form.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from workbench.crypto import canonical, sm2, sm3
from workbench.crypto.labels import signing_input
from workbench.domain.party import PartyId, parse_party_id
from workbench.errors import VerificationError

VERSION = "workbench/v1/consent-receipt"
BATCH_VERSION = "workbench/v1/consent-receipts"
SCHEMA = "iso27560:2023+cn1"
MEDIA_TYPE = "application/vnd.workbench.consent-receipt+json"
ENTRY_KIND = "consent.receipts_issued"
SIGNED_KIND = "consent-receipts"
SIGNER_ID = "1234567812345678"

MAX_FILE_BYTES = 256 * 1024
MAX_TEXT = 4000
MAX_PATH = 32
MAX_RUNS = 20
MAX_BATCH = 1 << MAX_PATH

STATES: Mapping[str, tuple[str, str]] = {
    "LIVE": ("有效期内，未撤回", "within its window and not withdrawn"),
    "NOT_YET_VALID": ("尚未生效", "not begun"),
    "EXPIRED": ("已到期", "ended"),
    "WITHDRAWN": ("已撤回", "withdrawn"),
    "SUPPRESSED": ("客户已退出，不再使用", "the customer has left and is kept out"),
    "STALE": ("告知内容已有重大变更，须重新同意", "the notice has changed materially; consent is asked anew"),
    "UNUSABLE": ("因其他原因不可使用", "not usable for another reason"),
}
"""State of a grant in a receipt -> what it means, in Chinese and English; section 5."""

_LEAF = b"\x00" + VERSION.encode() + b"\n"
_ID = re.compile(r"CR-[0-9a-f]{32}")
_HEX16 = re.compile(r"[0-9a-f]{32}")
_HEX32 = re.compile(r"[0-9a-f]{64}")
_HEX64 = re.compile(r"[0-9a-f]{128}")
_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_USES = re.compile(r"0|[1-9][0-9]{0,8}")
_ENTRY = re.compile(r"entry:[a-z][a-z0-9-]{1,30}:(0|[1-9][0-9]{0,15}):[0-9a-f]{64}")

_WORDS = {"en": str, "zh": str}
_PARTY = dict.fromkeys(("address", "contact", "name_en", "name_zh", "officer", "party", "type"), str)
_CONTENT: Mapping[str, Any] = {
    "v": str,
    "schema": str,
    "receipt_id": str,
    "language": str,
    "jurisdiction": str,
    "lawful_basis": {"code": str, **_WORDS},
    "subject": {"id_no": str, "phone": str, "token": str},
    "controller": _PARTY,
    "recipient": _PARTY,
    "processing": {
        "channel": str,
        "information": [{"code": str, "sensitive": str, **_WORDS}],
        "method": _WORDS,
        "purpose": {"code": str, **_WORDS},
        "retention": _WORDS,
        "storage": _WORDS,
    },
    "notice": {"document": str, "key": str, "sm3": str, "version": str},
    "grant": {"digest": str, "form": str, "from_ms": int, "record": int, "salt": str, "until_ms": int, "v": int},
    "events": [{"entity": str, "event": int, "time_ms": int, "type": str}],
    "status": {"at_ms": int, "event": int, "log": str, "size": int, "state": str},
    "uses": {
        "runs": [{"attempt": int, "entry": str, "job": str, "purpose": str, "recipient": str, "time_ms": int}],
        "since_ms": int,
        "total": int,
    },
    "withdrawal": {"url": str, **_WORDS},
}
_OPTIONAL: Mapping[str, Any] = {
    "represented_by": {"basis": str, "kind": str},
    "limits": {"data_life": str, "max_uses": str, "not_by": str},
    "grant_v2": dict.fromkeys(
        ("categories", "contacts", "max_uses", "method", "minor", "notice", "notice_digest", "separate", "signer"), str
    ),
}


@dataclass(frozen=True, slots=True)
class ConsentReceipt:
    """A receipt whose form holds; nothing else in it is verified. body: the canonical bytes of `content`.

    anchor: the JSON object of a receipt of the issuing entry, None where it comes beside the file.
    """

    content: Mapping[str, Any] = field(repr=False)
    body: bytes = field(repr=False)
    index: int
    size: int
    path: tuple[bytes, ...]
    key: sm2.PublicKey
    signature: bytes
    signed_ms: int
    anchor: Mapping[str, Any] | None = field(repr=False)

    @property
    def receipt_id(self) -> str:
        return str(self.content["receipt_id"])

    @property
    def issuer(self) -> PartyId:
        return PartyId(str(self.content["controller"]["party"]))

    @property
    def digest(self) -> bytes:
        """The leaf: what the QR code and the issuing entry's tree hold of this receipt."""
        return leaf_of(self.body)


def leaf_of(body: bytes) -> bytes:
    """The leaf of a content's canonical bytes: 32 bytes. Source: section 2."""
    return sm3.digest(_LEAF + body)


def leaves_of(bodies: Sequence[bytes]) -> list[bytes]:
    """`leaf_of` of many. Cost: about 8 µs each for 2.5 KB."""
    return sm3.digest_many([_LEAF + body for body in bodies])


def levels_of(leaves: Sequence[bytes]) -> list[list[bytes]]:
    """The tree from the leaves to its root, level by level; the last has one node. leaves: at least one.

    A node without a sibling moves up as it is, which is the split of RFC 9162 section 2.1.1.
    """
    levels = [list(leaves)]
    while len(levels[-1]) > 1:
        below = levels[-1]
        above = sm3.digest_many([b"\x01" + below[at] + below[at + 1] for at in range(0, len(below) - 1, 2)])
        if len(below) % 2:
            above.append(below[-1])
        levels.append(above)
    return levels


def path_of(levels: Sequence[Sequence[bytes]], index: int) -> list[bytes]:
    """Hashes from the leaf's sibling upwards (RFC 9162 section 2.1.3)."""
    path = []
    for level in levels[:-1]:
        sibling = index ^ 1
        if sibling < len(level):
            path.append(level[sibling])
        index >>= 1
    return path


def root_from(leaf: bytes, *, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """The root a leaf and its path lead to. Raises VerificationError (CONSENT_RECEIPT_PATH) when the path does not fit the size."""
    place, last, value = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            raise _no_path()
        if place & 1 or place == last:
            value = sm3.digest(b"\x01" + sibling + value)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            value = sm3.digest(b"\x01" + value + sibling)
        place, last = place >> 1, last >> 1
    if last:
        raise _no_path()
    return value


def signing_bytes(*, issuer: str, root: bytes, receipts: int, signed_ms: int) -> bytes:
    """What the institution's contract key signs for all receipts of a batch. Source: section 2."""
    body = {"issuer": issuer, "receipts": receipts, "root": root.hex(), "signed_ms": signed_ms, "v": BATCH_VERSION}
    return signing_input(SIGNED_KIND, party=issuer, job="", body=canonical.format(body))


def format_file(
    body: bytes, *, index: int, size: int, path: Sequence[bytes], proof: bytes, anchor: bytes = b"null"
) -> bytes:
    """The file of one receipt. body: canonical content; proof: of `format_proof`; anchor: canonical bytes or `null`."""
    hashes = ",".join(f'"{_b64(one)}"' for one in path)
    return b"".join(
        (
            b'{"anchor":', anchor, f',"batch":{{"index":{index},"path":[{hashes}],"size":{size}}},"content":'.encode(),
            body, b',"proof":', proof, b',"v":"', VERSION.encode(), b'"}\n',
        )
    )  # fmt: skip


def format_proof(*, key: sm2.PublicKey, signature: bytes, signed_ms: int) -> bytes:
    """The member `proof` of every receipt of a batch, as canonical bytes."""
    return canonical.format(
        {"alg": "SM2-SM3", "key": key.format(), "signature": signature.hex(), "signed_ms": signed_ms, "uid": SIGNER_ID}
    )


def parse(data: bytes) -> ConsentReceipt:
    """The receipt in a file. Raises VerificationError (CONSENT_RECEIPT) for any other bytes."""
    if len(data) > MAX_FILE_BYTES or not data.endswith(b"\n"):
        _refuse("too large, or without its final line feed")
    try:
        value = canonical.parse_object(data[:-1])
        if set(value) != {"anchor", "batch", "content", "proof", "v"} or value["v"] != VERSION:
            _refuse("other members than a consent receipt of version 1 has")
        batch, proof, content = _object(value["batch"]), _object(value["proof"]), _object(value["content"])
        if set(batch) != {"index", "path", "size"} or set(proof) != {"alg", "key", "signature", "signed_ms", "uid"}:
            _refuse("batch or proof have other members")
        if (proof["alg"], proof["uid"]) != ("SM2-SM3", SIGNER_ID) or not _HEX64.fullmatch(_text(proof["signature"])):
            _refuse("the proof is of another kind")
        index, size = _count(batch["index"]), _count(batch["size"])
        if not 0 <= index < size <= MAX_BATCH:
            _refuse("the place in the batch is outside it")
        anchor = value["anchor"]
        check_content(content)
        return ConsentReceipt(
            content=content,
            body=canonical.format(content),
            index=index,
            size=size,
            path=_path(batch["path"]),
            key=sm2.PublicKey.parse(_text(proof["key"])),
            signature=bytes.fromhex(str(proof["signature"])),
            signed_ms=_count(proof["signed_ms"]),
            anchor=None if anchor is None else _object(anchor),
        )
    except (ValueError, TypeError, KeyError, binascii.Error) as error:
        raise _not_a_receipt(str(error)) from error
    except VerificationError as error:
        if error.code == "CONSENT_RECEIPT":
            raise
        raise _not_a_receipt("not canonical JSON") from error


def looks_like_one(data: bytes) -> bool:
    """Whether a file means to be a consent receipt: then a flaw in it is one of a consent receipt."""
    return data[:MAX_FILE_BYTES].rstrip().endswith(b'"v":"' + VERSION.encode() + b'"}')


def check_content(content: Mapping[str, Any]) -> None:
    """Hold a content against section 1. Raises VerificationError (CONSENT_RECEIPT)."""
    names = set(content)
    if not set(_CONTENT) <= names or not names <= set(_CONTENT) | set(_OPTIONAL):
        _refuse("the content has other members")
    for name, value in content.items():
        _check_shape(value, _CONTENT.get(name, _OPTIONAL.get(name)), name)
    grant, status, uses = content["grant"], content["status"], content["uses"]
    controller, recipient = content["controller"], content["recipient"]
    holds = (
        content["v"] == VERSION
        and content["schema"] == SCHEMA
        and _ID.fullmatch(content["receipt_id"])
        and (content["language"], content["jurisdiction"]) == ("zh-CN en", "CN")
        and _HEX16.fullmatch(content["subject"]["token"])
        and (controller["type"], recipient["type"]) == ("controller", "recipient")
        and parse_party_id(controller["party"]) != parse_party_id(recipient["party"])
        and all(_HEX32.fullmatch(grant[name]) for name in ("digest", "form", "salt"))
        and grant["from_ms"] < grant["until_ms"]
        and grant["record"] >= 1
        and (grant["v"] == 1) is ("grant_v2" not in content)
        and grant["v"] in (1, 2)
        and content["notice"]["document"] in ("kept", "not_kept")
        and status["state"] in STATES
        and status["log"] == controller["party"]
        and all(one["type"] in ("recorded", "withdrawn") and parse_party_id(one["entity"]) for one in content["events"])
        and len(uses["runs"]) <= min(MAX_RUNS, uses["total"])
        and all(not one["entry"] or _ENTRY.fullmatch(one["entry"]) for one in uses["runs"])
        and _CODE.fullmatch(content["processing"]["purpose"]["code"])
        and all(one["sensitive"] in ("yes", "no") for one in content["processing"]["information"])
        and content.get("represented_by", {"kind": "guardian"})["kind"] in ("guardian", "agent", "kin")
        and _fits_grant_v2(content.get("grant_v2"), content["notice"])
    )
    if not holds:
        _refuse("a value of the content is outside what it may be")


def status_sentence(content: Mapping[str, Any], time: str) -> tuple[str, str]:
    """What the receipt says of its grant, "as of height N", in Chinese and English. time: `status.at_ms` for people."""
    status = content["status"]
    zh, en = STATES[status["state"]]
    return (
        f"截至 {status['log']} 日志第 {status['size']} 条（{time}）：{zh}",
        f"as of height {status['size']} of the log of {status['log']} ({time}): {en}",
    )


def qr_text(content: Mapping[str, Any], digest: bytes) -> str:
    """What the QR code holds; no identifier. Source: section 4."""
    where = content["withdrawal"]["url"] or content["withdrawal"]["zh"]
    return "\n".join((VERSION, content["receipt_id"], digest.hex(), where))


def _fits_grant_v2(terms: Mapping[str, str] | None, notice: Mapping[str, str]) -> bool:
    if terms is None:
        return not (notice["key"] or notice["version"] or notice["sm3"])
    named = f"{notice['key']}@{notice['version']}" if notice["key"] else ""
    return (
        (named, notice["sm3"]) == (terms["notice"], terms["notice_digest"])
        and bool(terms["notice"]) is bool(terms["notice_digest"])
        and (not terms["notice_digest"] or _HEX32.fullmatch(terms["notice_digest"]) is not None)
        and {terms["minor"], terms["separate"]} <= {"yes", "no"}
        and _USES.fullmatch(terms["max_uses"]) is not None
    )


def _check_shape(value: Any, shape: Any, name: str) -> None:
    if shape is str:
        if not isinstance(value, str) or len(value) > MAX_TEXT:
            _refuse(f"{name} is no text of at most {MAX_TEXT} characters")
    elif shape is int:
        if type(value) is not int or value < 0:
            _refuse(f"{name} is no whole number from 0")
    elif isinstance(shape, list):
        least = 0 if name == "runs" else 1
        if not isinstance(value, list) or not least <= len(value) <= (MAX_RUNS if name == "runs" else 16):
            _refuse(f"{name} is no list of the right length")
        for one in value:
            _check_shape(one, shape[0], name + "[]")
    else:
        if not isinstance(value, dict) or set(value) != set(shape):
            _refuse(f"{name} has other members")
        for key, inner in shape.items():
            _check_shape(value[key], inner, key)


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        _refuse("a member is no object")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        _refuse("a member is no text")
    return value


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        _refuse("a member is no whole number")
    return value


def _path(value: Any) -> tuple[bytes, ...]:
    if not isinstance(value, list) or len(value) > MAX_PATH:
        _refuse("the path is no list, or a long one")
    path = []
    for text in value:
        one = base64.b64decode(_text(text).encode("ascii"), validate=True)
        if len(one) != sm3.DIGEST_SIZE or _b64(one) != text:
            _refuse("a hash of the path is not 32 bytes in their one spelling")
        path.append(one)
    return tuple(path)


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _refuse(reason: str) -> NoReturn:
    raise _not_a_receipt(reason)


def _not_a_receipt(reason: str) -> VerificationError:
    return VerificationError(
        "这不是第 1 版授权凭据，或已被改动：请向出具机构重新索取",
        f"this is not a consent receipt of version 1, or it was changed ({reason}): ask the institution that issued it",
        code="CONSENT_RECEIPT",
        details={"reason": reason},
    )


def _no_path() -> VerificationError:
    return VerificationError(
        "凭据的路径到不了任何树根：凭据被改动，请向出具机构重新索取",
        "the path of the receipt leads to no root: it was changed; ask the institution that issued it for it again",
        code="CONSENT_RECEIPT_PATH",
    )

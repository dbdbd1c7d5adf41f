"""A consent receipt (consent-receipt.md): its own steps, then those of its ledger proof. It never says "valid now"."""

from __future__ import annotations

import re
import struct
from datetime import datetime, timezone
from typing import Any, NamedTuple

from workbench_ledger.package.verifier.arithmetic import sm3, verify_sm2
from workbench_ledger.package.verifier.formats import (
    HEX32,
    MAX_INTEGER,
    PARTY,
    Keys,
    canonical,
    hashes,
    parse_canonical,
    read_key,
    time_of,
)
from workbench_ledger.package.verifier.receipts import check_receipt
from workbench_ledger.package.verifier.result import Result

CONSENT_VERSION = "workbench/v1/consent-receipt"
CONSENT_STATES = {
    "LIVE": ("有效期内，未撤回", "within its window and not withdrawn"),
    "NOT_YET_VALID": ("尚未生效", "not begun"),
    "EXPIRED": ("已到期", "ended"),
    "WITHDRAWN": ("已撤回", "withdrawn"),
    "SUPPRESSED": ("客户已退出，不再使用", "the customer has left and is kept out"),
    "STALE": ("告知内容已有重大变更，须重新同意", "the notice has changed materially; consent is asked anew"),
    "UNUSABLE": ("因其他原因不可使用", "not usable for another reason"),
}
_MAX_CONSENT = 256 * 1024
_TWO = {"en": "text", "zh": "text"}
_CONSENT_PARTY = dict.fromkeys(("address", "contact", "name_en", "name_zh", "officer", "party", "type"), "text")
_CONSENT_SHAPE: dict[str, Any] = {
    **dict.fromkeys(("v", "schema", "receipt_id", "language", "jurisdiction"), "text"),
    "lawful_basis": {"code": "text", **_TWO},
    "subject": {"id_no": "text", "phone": "text", "token": "text"},
    "controller": _CONSENT_PARTY,
    "recipient": _CONSENT_PARTY,
    "processing": {
        "channel": "text", "information": [{"code": "text", "sensitive": "text", **_TWO}], "method": _TWO,
        "purpose": {"code": "text", **_TWO}, "retention": _TWO, "storage": _TWO,
    },
    "notice": {"document": "text", "key": "text", "sm3": "text", "version": "text"},
    "grant": {
        "digest": "text", "form": "text", "from_ms": "count", "record": "count", "salt": "text", "until_ms": "count", "v": "count",
    },
    "events": [{"entity": "text", "event": "count", "time_ms": "count", "type": "text"}],
    "status": {"at_ms": "count", "event": "count", "log": "text", "size": "count", "state": "text"},
    "uses": {
        "runs": [{"attempt": "count", "entry": "text", "job": "text", "purpose": "text", "recipient": "text", "time_ms": "count"}],
        "since_ms": "count", "total": "count",
    },
    "withdrawal": {"url": "text", **_TWO},
}  # fmt: skip
_CONSENT_OPTIONAL: dict[str, Any] = {
    "represented_by": {"basis": "text", "kind": "text"},
    "limits": {"data_life": "text", "max_uses": "text", "not_by": "text"},
    "grant_v2": dict.fromkeys(
        ("categories", "contacts", "max_uses", "method", "minor", "notice", "notice_digest", "separate", "signer"), "text"
    ),
}
_CONSENT_ID = re.compile(r"CR-[0-9a-f]{32}")
_CONSENT_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_CONSENT_ENTRY = re.compile(r"entry:[a-z][a-z0-9-]{1,30}:(0|[1-9][0-9]{0,15}):[0-9a-f]{64}")


class _Consent(NamedTuple):
    content: dict[str, Any]
    body: bytes
    at: int
    size: int
    path: list[bytes]
    key: bytes
    signature: bytes
    signed_ms: int
    anchor: Any


def is_consent_receipt(data: bytes) -> bool:
    """Whether a file means to be a consent receipt: a flaw in it is then one of a consent receipt."""
    return data.rstrip().endswith(f'"v":"{CONSENT_VERSION}"}}'.encode())


def check_consent_receipt(
    data: bytes,
    trust: dict[str, Keys] | None,
    anchor: dict[str, Any] | None,
    form: bytes | None,
    now_ms: int | None,
    mldsa: list[str] | None = None,
) -> dict[str, Any]:
    """The result of all steps, with `status`. anchor: of a file beside the receipt, takes the place of the one inside.

    mldsa: as in `check_package`. form: the signed form; now_ms: the reader's clock, only to say whether the window has ended since.
    """
    result = Result()
    step = result.begin("format")
    try:
        receipt = _parse_consent(data)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        step.problem("CONSENT_FORM")
        return result.finish("FAILED")
    step.end("consent_format")
    content, grant, party = receipt.content, receipt.content["grant"], receipt.content["controller"]["party"]
    step = result.begin("grant")
    if _consent_grant_digest(content) != grant["digest"]:
        step.problem("CONSENT_GRANT", party=party)
    step.end("consent_grant")
    root = _consent_root(receipt)
    step = result.begin("path")
    if root is None:
        step.problem("CONSENT_PATH", party=party)
    step.end("consent_path", at=receipt.at + 1, count=receipt.size)
    step = result.begin("keys")
    if trust is not None and (party not in trust or trust[party].contract != receipt.key):
        step.problem("CONSENT_KEY", party=party)
    step.end("consent_keys" if trust is not None else "consent_keys_unpinned", party=party)
    step = result.begin("signature")
    key = receipt.key if trust is None or party not in trust else trust[party].contract
    if root is None or not key or not verify_sm2(key, _consent_signed(receipt, party, root), receipt.signature):
        step.problem("CONSENT_SIGNATURE", party=party)
    step.end("consent_signature", party=party, time=time_of(receipt.signed_ms // 1000))
    _check_consent_anchor(receipt, party, root, anchor if anchor is not None else receipt.anchor, trust, mldsa, result)
    if form is not None:
        step = result.begin("document")
        message = b"workbench/v1/signed-form\n" + bytes.fromhex(grant["salt"]) + b"\x20" + sm3(form) + struct.pack(">Q", grant["record"])
        if sm3(message).hex() != grant["form"]:
            step.problem("CONSENT_DOCUMENT")
        step.end("consent_document")
    if trust is None:
        result.leave("keys")
    for left in ("withdrawn_since", "uses", "time"):
        result.leave(left)
    done = result.finish("OK" if trust is not None else "KEYS_NOT_PINNED")
    return done if done["verdict"] == "FAILED" else {**done, "status": _consent_status(content, now_ms)}


def reader_time_ms() -> int:
    """This machine's clock."""
    return int(datetime.now(timezone.utc).timestamp() * 1000)  # noqa: UP017  Python 3.9 has no datetime.UTC


def _parse_consent(data: bytes) -> _Consent:
    """Raises ValueError, TypeError or KeyError for any other bytes."""
    if len(data) > _MAX_CONSENT or not data.endswith(b"\n"):
        raise ValueError("size")
    value = parse_canonical(data[:-1])
    if set(value) != {"anchor", "batch", "content", "proof", "v"} or value["v"] != CONSENT_VERSION:
        raise ValueError("members")
    batch, proof, content = value["batch"], value["proof"], value["content"]
    if set(batch) != {"index", "path", "size"} or set(proof) != {"alg", "key", "signature", "signed_ms", "uid"}:
        raise ValueError("members")
    for one in (batch["index"], batch["size"], proof["signed_ms"]):
        _check_consent_shape(one, "count", "")
    if not batch["index"] < batch["size"] <= 2**32 or not isinstance(batch["path"], list) or len(batch["path"]) > 32:
        raise ValueError("batch")
    if (proof["alg"], proof["uid"]) != ("SM2-SM3", "1234567812345678") or not re.fullmatch("[0-9a-f]{128}", proof["signature"]):
        raise ValueError("proof")
    if value["anchor"] is not None and not isinstance(value["anchor"], dict):
        raise ValueError("anchor")
    _check_consent_content(content)
    return _Consent(
        content,
        canonical(content).encode("utf-8"),
        batch["index"],
        batch["size"],
        hashes(batch["path"]),
        read_key(proof["key"], point=True),
        bytes.fromhex(proof["signature"]),
        proof["signed_ms"],
        value["anchor"],
    )


def _check_consent_content(content: dict[str, Any]) -> None:
    names = set(content)
    if not set(_CONSENT_SHAPE) <= names or not names <= set(_CONSENT_SHAPE) | set(_CONSENT_OPTIONAL):
        raise ValueError("members")
    for name, value in content.items():
        _check_consent_shape(value, _CONSENT_SHAPE.get(name, _CONSENT_OPTIONAL.get(name)), name)
    grant, status, uses = content["grant"], content["status"], content["uses"]
    controller, recipient = content["controller"], content["recipient"]
    holds = (
        content["v"] == CONSENT_VERSION
        and content["schema"] == "iso27560:2023+cn1"
        and _CONSENT_ID.fullmatch(content["receipt_id"])
        and (content["language"], content["jurisdiction"]) == ("zh-CN en", "CN")
        and re.fullmatch("[0-9a-f]{32}", content["subject"]["token"])
        and (controller["type"], recipient["type"]) == ("controller", "recipient")
        and PARTY.fullmatch(controller["party"])
        and PARTY.fullmatch(recipient["party"])
        and controller["party"] != recipient["party"]
        and all(HEX32.fullmatch(grant[name]) for name in ("digest", "form", "salt"))
        and grant["from_ms"] < grant["until_ms"]
        and grant["record"] >= 1
        and grant["v"] in (1, 2)
        and (grant["v"] == 1) is ("grant_v2" not in content)
        and content["notice"]["document"] in ("kept", "not_kept")
        and status["state"] in CONSENT_STATES
        and status["log"] == controller["party"]
        and all(one["type"] in ("recorded", "withdrawn") and PARTY.fullmatch(one["entity"]) for one in content["events"])
        and len(uses["runs"]) <= uses["total"]
        and all(not one["entry"] or _CONSENT_ENTRY.fullmatch(one["entry"]) for one in uses["runs"])
        and _CONSENT_CODE.fullmatch(content["processing"]["purpose"]["code"])
        and all(one["sensitive"] in ("yes", "no") for one in content["processing"]["information"])
        and content.get("represented_by", {"kind": "agent"})["kind"] in ("guardian", "agent", "kin")
        and _fits_consent_v2(content.get("grant_v2"), content["notice"])
    )
    if not holds:
        raise ValueError("value")


def _fits_consent_v2(terms: dict[str, str] | None, notice: dict[str, str]) -> bool:
    if terms is None:
        return not (notice["key"] or notice["version"] or notice["sm3"])
    named = f"{notice['key']}@{notice['version']}" if notice["key"] else ""
    return (
        (named, notice["sm3"]) == (terms["notice"], terms["notice_digest"])
        and bool(terms["notice"]) is bool(terms["notice_digest"])
        and bool(not terms["notice_digest"] or HEX32.fullmatch(terms["notice_digest"]))
        and {terms["minor"], terms["separate"]} <= {"yes", "no"}
        and bool(re.fullmatch("0|[1-9][0-9]{0,8}", terms["max_uses"]))
    )


def _check_consent_shape(value: Any, shape: Any, name: str) -> None:
    if shape == "text":
        fits = isinstance(value, str) and len(value) <= 4000
    elif shape == "count":
        fits = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_INTEGER
    elif isinstance(shape, list):
        fits = isinstance(value, list) and (name == "runs" or bool(value)) and len(value) <= (20 if name == "runs" else 16)
        for one in value if fits else ():
            _check_consent_shape(one, shape[0], "")
    else:
        fits = isinstance(value, dict) and set(value) == set(shape)
        for key in shape if fits else ():
            _check_consent_shape(value[key], shape[key], key)
    if not fits:
        raise ValueError("shape")


def _consent_grant_digest(content: dict[str, Any]) -> str:
    """consent.md section 4."""
    grant, processing = content["grant"], content["processing"]
    texts = (processing["purpose"]["code"], content["controller"]["party"], content["recipient"]["party"], processing["channel"])
    if grant["v"] == 1:
        head = b"workbench/v1/grant\n" + _consent_texts(texts)
    else:
        terms = content["grant_v2"]
        flags = (terms["minor"] == "yes") | (terms["separate"] == "yes") << 1
        head = b"workbench/v2/grant\n" + _consent_texts((*texts, terms["notice"])) + bytes.fromhex(terms["notice_digest"] or "00" * 32)
        head += _consent_texts([terms[name] for name in ("categories", "contacts", "method", "signer")])
        head += struct.pack(">BI", flags, int(terms["max_uses"]))
    times = struct.pack(">QQ", grant["from_ms"], grant["until_ms"])
    return sm3(head + bytes.fromhex(grant["salt"]) + times + bytes.fromhex(grant["form"])).hex()


def _consent_texts(texts: Any) -> bytes:
    return b"".join(struct.pack(">H", len(one.encode("utf-8"))) + one.encode("utf-8") for one in texts)


def _consent_root(receipt: _Consent) -> bytes | None:
    """The root that leaf and path lead to, or None when the path does not fit (RFC 9162 section 2.1.3.2)."""
    place, last = receipt.at, receipt.size - 1
    value = sm3(b"\0" + CONSENT_VERSION.encode() + b"\n" + receipt.body)
    for sibling in receipt.path:
        if last == 0:
            return None
        if place & 1 or place == last:
            value = sm3(b"\x01" + sibling + value)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            value = sm3(b"\x01" + value + sibling)
        place, last = place >> 1, last >> 1
    return None if last else value


def _consent_signed(receipt: _Consent, party: str, root: bytes) -> bytes:
    version = "workbench/v1/consent-receipts"
    body = {"issuer": party, "receipts": receipt.size, "root": root.hex(), "signed_ms": receipt.signed_ms, "v": version}
    return f"{version}\n{party}\n\n".encode() + canonical(body).encode()


def _check_consent_anchor(
    receipt: _Consent, party: str, root: bytes | None, anchor: Any, trust: dict[str, Keys] | None, mldsa: list[str] | None,
    result: Result,
) -> None:
    """The steps of the ledger proof, named `anchor …`, and that it is of this receipt's issue."""
    if anchor is None:
        result.begin("anchor").problem("CONSENT_ANCHOR", final=False, party=party)
        result.counted(1, {"FULL": 0, "SEALED": 0, "PENDING": 1})
        return
    found = check_receipt(anchor, trust, [], mldsa)
    for one in found["steps"]:
        step = result.begin(f"anchor {one['name']}")
        step.zh, step.en, step.problems, step.more = one["zh"], one["en"], one["problems"], one["more"]
        step.failed = any(problem["code"] not in ("NOT_FINAL", "MLDSA_MISSING") for problem in one["problems"])
    result.counted(1, {"FULL": found["full"], "SEALED": found["sealed"], "PENDING": found["pending"]})
    result.parties = found["parties"]
    entry, step = found["entry"], result.begin("issued")
    if (
        entry is None
        or root is None
        or entry.kind != "consent.receipts_issued"
        or entry.log != party
        or entry.shared.get("root") != root.hex()
        or found["index"] < receipt.content["status"]["size"]
    ):
        step.problem("CONSENT_ISSUED", party=party)
    step.end("consent_issued", party=party, index=found["index"])


def _consent_status(content: dict[str, Any], now_ms: int | None) -> dict[str, Any]:
    status, until_ms = content["status"], content["grant"]["until_ms"]
    zh, en = CONSENT_STATES[status["state"]]
    time, ended = time_of(status["at_ms"] // 1000), now_ms is not None and now_ms >= until_ms
    zh = f"截至 {status['log']} 日志第 {status['size']} 条（{time}）：{zh}"
    en = f"as of height {status['size']} of the log of {status['log']} ({time}): {en}"
    if ended and status["state"] == "LIVE":
        zh += f"；按本机时钟，有效期已于 {time_of(until_ms // 1000)} 结束"
        en += f"; by this machine's clock its window ended at {time_of(until_ms // 1000)}"
    return {
        "state": status["state"], "log": status["log"], "size": status["size"], "at_ms": status["at_ms"],
        "from_ms": content["grant"]["from_ms"], "until_ms": until_ms, "ended": ended,
        "zh": f"{zh}。之后是否撤回，须凭编号向出具机构查询",
        "en": f"{en}. Whether it was withdrawn since, the issuing institution knows: ask with the receipt's id",
    }  # fmt: skip

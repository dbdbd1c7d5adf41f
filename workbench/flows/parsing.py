"""What a partner says, as values: every reader refuses what it does not expect, with a code and no content."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from workbench.domain.intersection import Offer, Terms
from workbench.domain.party import PartyId
from workbench.errors import Disputed, PeerError, ProtocolViolation

_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,39}")
SEAL_OVERDUE = "SEAL_OVERDUE"
"""Code of a release that was given up because the other side's entry or co-signature never came."""


def with_floor(terms: Terms, floor: int) -> Terms:
    """The same terms with another smallest crowd."""
    value = terms.as_json() | {"minimum_crowd": str(floor)}
    return Terms.from_json(value)


def parsed_terms(message: Mapping[str, Any]) -> Terms:
    """Terms as the partner sent them; ProtocolViolation MALFORMED for anything else."""
    try:
        return Terms.from_json({str(name): str(value) for name, value in message.items()})
    except (KeyError, ValueError) as error:
        raise ProtocolViolation("条款的格式不对", "The terms are malformed", code="MALFORMED") from error


def parsed_place(message: Mapping[str, Any]) -> tuple[int, str, int]:
    """Index and leaf (64 hexadecimal digits) of the partner's release entry, and the attempt it belongs to."""
    try:
        index, attempt, leaf = int(message["index"]), int(message["attempt"]), str(message["leaf"])
        well_formed = 0 <= index < 1 << 53 and attempt > 0 and len(bytes.fromhex(leaf)) == 32 and leaf == leaf.lower()
    except (KeyError, TypeError, ValueError) as error:
        raise ProtocolViolation("放行通知的格式不对", "The notice of release is malformed", code="MALFORMED") from error
    if not well_formed:
        raise ProtocolViolation("放行通知的格式不对", "The notice of release is malformed", code="MALFORMED")
    return index, leaf, attempt


def parsed_stop(message: Mapping[str, Any]) -> tuple[str, int]:
    """Code and attempt of a notice that the partner stopped."""
    try:
        code, attempt = str(message["code"]), int(message["attempt"])
    except (KeyError, TypeError, ValueError) as error:
        raise ProtocolViolation("停止通知的格式不对", "The notice of a stop is malformed", code="MALFORMED") from error
    if not _CODE.fullmatch(code) or attempt < 0:
        raise ProtocolViolation("停止通知的格式不对", "The notice of a stop is malformed", code="MALFORMED")
    return code, attempt


def stopped_by(peer: PartyId, job_id: str, code: str) -> PeerError:
    """The failure that a partner's notice of its stop amounts to."""
    if code in (Disputed.default_code, SEAL_OVERDUE):
        return Disputed(
            f"{peer} 认为 {job_id} 的结果有争议，不得导出；请双方合规岗核对签名消息",
            f"{peer} disputes the result of {job_id}: nothing may be exported; compliance compare the signed messages",
            details={"statement": "by partner"},
        )
    return PeerError(
        f"{peer} 已停止 {job_id}（{code}）", f"{peer} stopped {job_id} ({code})", code="STOPPED_BY_PARTNER"
    )


def parsed_offer(value: Any, party: PartyId) -> Offer:
    """The partner's offer; ProtocolViolation MALFORMED unless it is exactly what an offer looks like."""
    try:
        offer = Offer(
            party=PartyId(value["party"]),
            bucket=int(value["bucket"]),
            commitment_root=bytes.fromhex(value["commitment_root"]),
            public_point=bytes.fromhex(value["public_point"]),
        )
        well_formed = offer.as_json() == value and offer.party == party
        well_formed = well_formed and len(offer.commitment_root) == 32 and len(offer.public_point) == 32
    except (KeyError, TypeError, ValueError) as error:
        raise ProtocolViolation("对方的参与信息格式不对", "The partner's offer is malformed", code="MALFORMED") from error
    if not well_formed or not 256 <= offer.bucket <= 1 << 30:
        raise ProtocolViolation("对方的参与信息不可信", "The partner's offer is not plausible", code="MALFORMED")
    return offer


def parsed_times(opening: Mapping[str, Any]) -> tuple[int, int]:
    """Start and cut-off of an attempt in milliseconds; ProtocolViolation MALFORMED otherwise."""
    try:
        return int(opening["started_ms"]), int(opening["cut_off_ms"])
    except (KeyError, TypeError, ValueError) as error:
        raise ProtocolViolation("起止时间的格式不对", "The times are malformed", code="MALFORMED") from error


def encode(value: Mapping[str, Any]) -> bytes:
    """A JSON object as the payload of a message."""
    return json.dumps(value, sort_keys=True).encode()


def decode(payload: bytes) -> dict[str, Any]:
    """The JSON object in a payload; ProtocolViolation MALFORMED otherwise."""
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise ProtocolViolation("消息不是 JSON", "The message is not JSON", code="MALFORMED") from error
    if not isinstance(value, dict):
        raise ProtocolViolation("消息不是对象", "The message is not an object", code="MALFORMED")
    return value

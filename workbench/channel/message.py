"""Signed messages between two institutions: one frame, one signature, one chain per sender.

Document: docs/protocols/messages.md sections 5 and 6. Pure: time, keys and state arrive as arguments. A frame that is
accepted is intact, from the pinned partner, meant for this institution, this job, attempt and contract, and next in
line; anything else raises ProtocolViolation with its own code and changes nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from workbench.channel.outgoing import refuse_identifiers
from workbench.crypto import canonical, compare, labels, sm2, sm3
from workbench.domain.party import PartyId, parse_party_id
from workbench.errors import ProtocolViolation, VerificationError

MAX_HEADER_BYTES = 4096
OVERHEAD_BYTES = 4 + MAX_HEADER_BYTES + sm2.SIGNATURE_SIZE
"""A frame is never longer than its payload plus this."""

_KIND = re.compile(r"[a-z][a-z0-9.-]{0,63}")
_JOB = re.compile(r"[A-Za-z0-9._:-]{0,128}")
_DIGEST_OR_EMPTY = re.compile(r"(?:[0-9a-f]{64})?")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_FIELDS = frozenset(
    {"v", "kind", "from", "to", "job", "attempt", "sequence", "contract", "time_ms", "size", "digest", "previous"}
)


@dataclass(frozen=True, slots=True)
class MessageHeader:
    """What a frame says about itself. Field by field: docs/protocols/messages.md section 5."""

    kind: str
    sender: PartyId
    recipient: PartyId
    job: str
    attempt: int
    sequence: int
    contract: str
    time_ms: int
    size: int
    digest: str
    previous: str


@dataclass(frozen=True, slots=True)
class OpenedMessage:
    """A frame that passed every check. frame_digest: see the function of this name."""

    header: MessageHeader
    payload: bytes = field(repr=False)
    frame_digest: str

    @property
    def kind(self) -> str:
        """What the payload is."""
        return self.header.kind

    @property
    def sequence(self) -> int:
        """The frame's number in its chain, from 1."""
        return self.header.sequence


@dataclass(slots=True)
class OutboundSequence:
    """What this institution has sent in one job and attempt to one partner. `sequence`: number of the last frame."""

    job: str
    attempt: int
    sender: PartyId
    recipient: PartyId
    sequence: int = 0
    previous: str = ""


@dataclass(slots=True)
class InboundSequence:
    """What one partner has sent here in one job and attempt. `sequence`: number of the last frame accepted."""

    job: str
    attempt: int
    sender: PartyId
    recipient: PartyId
    sequence: int = 0
    previous: str = ""


def seal_message(
    outbound: OutboundSequence, *, kind: str, payload: bytes, contract: str, key: sm2.PrivateKey, now_ms: int
) -> bytes:
    """The next frame to the partner; `outbound` then stands at it.

    contract: digest of the contract, 64 hexadecimal digits, or "" before there is one. key: this institution's message
    key. Raises ValueError for a kind or contract of another form, Refused (IDENTIFIER_IN_MESSAGE) for a payload with a
    phone or identity number in plain; `outbound` then stands where it stood. Cost: 0.4 ms and SM3 of the payload.
    """
    refuse_identifiers(payload)
    header = MessageHeader(
        kind=kind,
        sender=outbound.sender,
        recipient=outbound.recipient,
        job=outbound.job,
        attempt=outbound.attempt,
        sequence=outbound.sequence + 1,
        contract=contract,
        time_ms=now_ms,
        size=len(payload),
        digest=sm3.digest(payload).hex(),
        previous=outbound.previous,
    )
    encoded = _format_header(header)
    signature = key.sign(_signing_input(header, encoded))
    frame = b"".join((len(encoded).to_bytes(4, "big"), encoded, signature, payload))
    outbound.sequence, outbound.previous = header.sequence, frame_digest(frame)
    return frame


def open_message(
    frame: bytes,
    inbound: InboundSequence,
    *,
    key: sm2.PublicKey,
    contract: str,
    now_ms: int,
    max_bytes: int,
    max_skew_s: float = 5.0,
) -> OpenedMessage:
    """The message in `frame`; `inbound` then stands at it.

    key: the pinned message key of the partner. contract: as this institution knows it. now_ms: this institution's
    clock. max_bytes: largest frame accepted.
    Raises ProtocolViolation, code by code as in section 6; `inbound` is then unchanged.
    Cost: 0.8 ms and SM3 of the payload.
    """
    _check_size(frame, max_bytes)
    header, encoded, signature, payload = _split(frame)
    _check_ends(header, inbound)
    try:
        key.verify(_signing_input(header, encoded), signature)
    except VerificationError as error:
        raise _violation("MESSAGE_SIGNATURE", "消息签名无效", "the message's signature does not verify") from error
    _check_payload(header, payload)
    _check_place(header, inbound, contract)
    late_s = (now_ms - header.time_ms) / 1000
    if late_s < -max_skew_s:
        raise _violation(
            "CLOCK_SKEW",
            f"消息的时间比本机构时钟晚 {-late_s:.1f} 秒（允许 {max_skew_s:g} 秒）。双方校时后重试",
            f"the message's time is {-late_s:.1f} s ahead of this clock ({max_skew_s:g} s allowed); set both clocks and run again",
        )
    if late_s > max_skew_s:
        raise _violation(
            "CLOCK_SKEW",
            f"消息的时间比本机构时钟早 {late_s:.1f} 秒（允许 {max_skew_s:g} 秒）：在路上太久，或双方时钟不同。核对双方时间，相同则看网络与负载，再重试",
            f"the message's time is {late_s:.1f} s behind this clock ({max_skew_s:g} s allowed): it was delayed, or the clocks differ. Compare"
            " the clocks; if they agree, look at network and load; then run again",
        )
    digest = frame_digest(frame)
    inbound.sequence, inbound.previous = header.sequence, digest
    return OpenedMessage(header, payload, digest)


def frame_digest(frame: bytes) -> str:
    """What names a frame in evidence and in the chain: SM3 of all that precedes the payload, hexadecimal (section 5).

    The header states the payload's own digest, so nothing of the frame can change without this; hashing the payload a
    second time would only cost time. frame: one that was sealed or has passed every check.
    """
    return sm3.digest(frame[: 4 + int.from_bytes(frame[:4], "big") + sm2.SIGNATURE_SIZE]).hex()


def peek_header(frame: bytes, *, max_bytes: int) -> MessageHeader:
    """What a frame claims, with nothing verified: only to find the conversation that will open it.

    Raises ProtocolViolation when the frame is too large or has no readable header.
    """
    _check_size(frame, max_bytes)
    return _split(frame)[0]


def _check_size(frame: bytes, max_bytes: int) -> None:
    if len(frame) > max_bytes:
        raise _violation("MESSAGE_TOO_LARGE", "消息超过大小上限", "the message exceeds the size limit")


def _split(frame: bytes) -> tuple[MessageHeader, bytes, bytes, bytes]:
    """Header, its bytes, signature and payload of a frame whose lengths fit."""
    size = int.from_bytes(frame[:4], "big")
    if len(frame) >= 4 and not 2 <= size <= MAX_HEADER_BYTES:
        raise _malformed()
    start = 4 + size + sm2.SIGNATURE_SIZE
    if len(frame) < max(start, 4):
        raise _truncated()
    encoded = frame[4 : 4 + size]
    return _parse_header(encoded), encoded, frame[4 + size : start], frame[start:]


def _check_ends(header: MessageHeader, inbound: InboundSequence) -> None:
    if header.sender != inbound.sender:
        raise _violation("WRONG_SENDER", "消息不是由该机构发出", "the message names another sender")
    if header.recipient != inbound.recipient:
        raise _violation("WRONG_RECIPIENT", "消息不是发给本机构", "the message is meant for another institution")


def _check_payload(header: MessageHeader, payload: bytes) -> None:
    if len(payload) < header.size:
        raise _truncated()
    if len(payload) != header.size or not compare.equal(sm3.digest(payload), bytes.fromhex(header.digest)):
        raise _violation("MESSAGE_ALTERED", "消息内容与摘要不符", "the message's content does not match its digest")


def _check_place(header: MessageHeader, inbound: InboundSequence, contract: str) -> None:
    if header.job != inbound.job:
        raise _violation("OTHER_JOB", "消息属于另一任务", "the message belongs to another job")
    if header.attempt != inbound.attempt:
        raise _violation("OTHER_ATTEMPT", "消息属于另一次尝试", "the message belongs to another attempt")
    if header.contract != contract:
        raise _violation("OTHER_CONTRACT", "消息属于另一份约定", "the message belongs to another contract")
    if header.sequence <= inbound.sequence:
        raise _violation("MESSAGE_REPLAYED", "消息重复出现", "the message was received before")
    if header.sequence > inbound.sequence + 1:
        raise _violation("MESSAGE_OUT_OF_ORDER", "消息次序不对，前面有缺失", "a message before this one is missing")
    if header.previous != inbound.previous:
        raise _violation("MESSAGE_CHAIN", "消息与前一条不衔接", "the message does not continue the one before")


def _format_header(header: MessageHeader) -> bytes:
    """The canonical header. Raises ValueError for a value out of range, so nothing unreadable is ever sent."""
    encoded = canonical.format(
        {
            "v": 1,
            "kind": header.kind,
            "from": header.sender,
            "to": header.recipient,
            "job": header.job,
            "attempt": header.attempt,
            "sequence": header.sequence,
            "contract": header.contract,
            "time_ms": header.time_ms,
            "size": header.size,
            "digest": header.digest,
            "previous": header.previous,
        }
    )
    _check_header(header)
    return encoded


def _parse_header(encoded: bytes) -> MessageHeader:
    try:
        value = canonical.parse_object(encoded)
        if set(value) != _FIELDS or type(value["v"]) is not int or value["v"] != 1:
            raise ValueError("unknown fields or version")
        header = MessageHeader(
            kind=_text(value["kind"]),
            sender=parse_party_id(_text(value["from"])),
            recipient=parse_party_id(_text(value["to"])),
            job=_text(value["job"]),
            attempt=_whole(value["attempt"]),
            sequence=_whole(value["sequence"]),
            contract=_text(value["contract"]),
            time_ms=_whole(value["time_ms"]),
            size=_whole(value["size"]),
            digest=_text(value["digest"]),
            previous=_text(value["previous"]),
        )
        _check_header(header)
    except (VerificationError, ValueError) as error:
        raise _malformed() from error
    return header


def _check_header(header: MessageHeader) -> None:
    """Raise ValueError unless every field has its form."""
    numbers = (header.attempt, header.time_ms, header.size)
    forms = (
        _KIND.fullmatch(header.kind)
        and _JOB.fullmatch(header.job)
        and _DIGEST_OR_EMPTY.fullmatch(header.contract)
        and _DIGEST_OR_EMPTY.fullmatch(header.previous)
        and _DIGEST.fullmatch(header.digest)
    )
    # Only the first frame has nothing before it.
    if not forms or min(numbers) < 0 or header.sequence < 1 or (header.sequence == 1) != (header.previous == ""):
        raise ValueError("a header field has another form")


def _signing_input(header: MessageHeader, encoded: bytes) -> bytes:
    return labels.signing_input("message", party=header.sender, job=header.job, body=encoded)


def _text(value: canonical.Json) -> str:
    if not isinstance(value, str):
        raise ValueError("a text field has another type")  # noqa: TRY004 - it is data, not a programming mistake
    return value


def _whole(value: canonical.Json) -> int:
    if type(value) is not int:
        raise ValueError("a number field has another type")
    return value


def _malformed() -> ProtocolViolation:
    return _violation("MESSAGE_MALFORMED", "消息格式不对", "the message is malformed")


def _truncated() -> ProtocolViolation:
    return _violation("MESSAGE_TRUNCATED", "消息被截断", "the message was cut off")


def _violation(code: str, zh: str, en: str) -> ProtocolViolation:
    return ProtocolViolation(f"对方消息被拒收：{zh}", f"a message of the partner was refused: {en}", code=code)

"""Letters and their acknowledgements as bytes: one header, one signature, one body.

Document: docs/protocols/letters.md sections 1 to 3. Pure: time, keys and ids arrive as arguments. What is opened is intact,
signed by the pinned key and meant for this institution; anything else raises ProtocolViolation with its own code.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from workbench.channel.outgoing import refuse_identifiers
from workbench.crypto import canonical, compare, labels, sm2, sm3
from workbench.domain.party import PartyId, parse_party_id
from workbench.errors import ProtocolViolation, TooLarge, VerificationError

MAX_HEADER_BYTES = 2_048
MAX_BODY_BYTES = 262_144
MAX_ANSWER_BYTES = 65_536
MAX_LETTER_BYTES = 4 + MAX_HEADER_BYTES + sm2.SIGNATURE_SIZE + MAX_BODY_BYTES
LETTER_ID = re.compile(r"[0-9a-f]{32}")
CODE = re.compile(r"(?:[A-Z][A-Z0-9_]{0,63})?")
KIND = re.compile(r"[a-z][a-z0-9.-]{0,63}")
_JOB = re.compile(r"[A-Za-z0-9._:-]{0,128}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_LETTER_FIELDS = frozenset({"v", "id", "kind", "from", "to", "job", "time_ms", "size", "digest"})
_ANSWER_FIELDS = _LETTER_FIELDS | {"letter", "code"}


@dataclass(frozen=True, slots=True)
class LetterHeader:
    """What a letter says about itself; field by field in the document. digest: SM3 of the body, hex."""

    id: str
    kind: str
    sender: PartyId
    recipient: PartyId
    job: str
    time_ms: int
    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class AnswerHeader:
    """What an acknowledgement says about itself. letter: digest of the letter it answers; code: "" or of the refusal."""

    id: str
    letter: str
    kind: str
    sender: PartyId
    recipient: PartyId
    job: str
    code: str
    time_ms: int
    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class OpenedLetter:
    """A letter that passed every check that needs no state. digest: of the letter, hex."""

    header: LetterHeader
    digest: str
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class OpenedAnswer:
    """An acknowledgement that passed every check. digest: of the acknowledgement, hex."""

    header: AnswerHeader
    digest: str
    answer: bytes = field(repr=False)


# ------------------------------------------------------------------------------------------------------ letters


def letter_header(
    *, letter_id: str, kind: str, sender: PartyId, recipient: PartyId, job: str, body: bytes, time_ms: int
) -> bytes:
    """The canonical header of a new letter.

    Raises ValueError for a kind, job or id of another form; TooLarge beyond MAX_BODY_BYTES; Refused
    (IDENTIFIER_IN_MESSAGE) for a body with a phone or identity number in plain.
    """
    if len(body) > MAX_BODY_BYTES:
        raise TooLarge(
            f"信函正文超过 {MAX_BODY_BYTES} 字节，没有发出", f"the letter's body exceeds {MAX_BODY_BYTES} bytes; it was not posted",
            code="LETTER_TOO_LARGE",
        )  # fmt: skip
    refuse_identifiers(body)
    header = LetterHeader(letter_id, kind, sender, recipient, job, time_ms, len(body), sm3.digest(body).hex())
    _check_letter(header)
    return canonical.format(
        {
            "v": 1, "id": header.id, "kind": header.kind, "from": header.sender, "to": header.recipient, "job": header.job,
            "time_ms": header.time_ms, "size": header.size, "digest": header.digest,
        }
    )  # fmt: skip


def digest_of(header: bytes) -> str:
    """The digest of a letter or an acknowledgement: SM3 of its header, hexadecimal."""
    return sm3.digest(header).hex()


def seal_letter(header: bytes, body: bytes, *, key: sm2.PrivateKey) -> bytes:
    """The bytes to deliver. header: of `letter_header`. key: message key of the sender. Cost: 0.4 ms."""
    parsed = parse_letter_header(header)
    return _sealed(header, _signed("letter", parsed.sender, parsed.job, header, key), body)


def open_letter(data: bytes, *, peer: PartyId, own: PartyId, key: sm2.PublicKey) -> OpenedLetter:
    """Checks 1 to 4 of section 3. peer: from the channel. key: the pinned message key of the peer. Cost: 0.8 ms."""
    if len(data) > MAX_LETTER_BYTES:
        raise _violation("LETTER_TOO_LARGE", "信函超过大小上限", "the letter exceeds the size limit")
    encoded, signature, body = _split(data, "LETTER_MALFORMED")
    header = parse_letter_header(encoded)
    if header.size > MAX_BODY_BYTES:
        raise _violation("LETTER_TOO_LARGE", "信函超过大小上限", "the letter exceeds the size limit")
    if header.sender != peer:
        raise _violation("WRONG_SENDER", "信函写明的发出方不是来方", "the letter names another sender than the caller")
    if header.recipient != own:
        raise _violation("WRONG_RECIPIENT", "信函不是发给本机构", "the letter is meant for another institution")
    _verify("letter", header.sender, header.job, encoded, signature, key, "LETTER_SIGNATURE")
    if len(body) != header.size or not compare.equal(sm3.digest(body), bytes.fromhex(header.digest)):
        raise _violation("LETTER_ALTERED", "信函正文与摘要不符", "the letter's body does not match its digest")
    return OpenedLetter(header, digest_of(encoded), body)


def parse_letter_header(encoded: bytes) -> LetterHeader:
    """The header of these bytes; ProtocolViolation LETTER_MALFORMED for any other bytes."""
    value = _object(encoded, _LETTER_FIELDS, "LETTER_MALFORMED")
    try:
        header = LetterHeader(
            id=_text(value["id"]), kind=_text(value["kind"]), sender=parse_party_id(_text(value["from"])),
            recipient=parse_party_id(_text(value["to"])), job=_text(value["job"]), time_ms=_whole(value["time_ms"]),
            size=_whole(value["size"]), digest=_text(value["digest"]),
        )  # fmt: skip
        _check_letter(header)
    except ValueError as error:
        raise _malformed("LETTER_MALFORMED") from error
    return header


# ---------------------------------------------------------------------------------------------- acknowledgements


def answer_header(letter: OpenedLetter, *, code: str, answer: bytes, time_ms: int) -> bytes:
    """The canonical header of the acknowledgement of a letter. Raises TooLarge, or ValueError for another form."""
    if len(answer) > MAX_ANSWER_BYTES:
        raise TooLarge("信函的回答过长", "the answer to a letter is too large", code="LETTER_TOO_LARGE")
    if not CODE.fullmatch(code) or (code and answer):
        raise ValueError("a refusal has a code and no answer")
    asked = letter.header
    return canonical.format(
        {
            "v": 1, "id": asked.id, "letter": letter.digest, "kind": asked.kind, "from": asked.recipient, "to": asked.sender,
            "job": asked.job, "code": code, "time_ms": time_ms, "size": len(answer), "digest": sm3.digest(answer).hex(),
        }
    )  # fmt: skip


def seal_answer(header: bytes, answer: bytes, *, key: sm2.PrivateKey) -> bytes:
    """The bytes of an acknowledgement. header: of `answer_header`. key: message key of who answers."""
    parsed = _parse_answer_header(header)
    return _sealed(header, _signed("letter-answer", parsed.sender, parsed.job, header, key), answer)


def open_answer(data: bytes, *, letter: bytes, key: sm2.PublicKey) -> OpenedAnswer:
    """The acknowledgement of a letter. letter: its header. key: the pinned message key of its recipient.

    Raises ProtocolViolation: ANSWER_MALFORMED, OTHER_ANSWER, ANSWER_SIGNATURE, ANSWER_ALTERED.
    """
    encoded, signature, answer = _split(data, "ANSWER_MALFORMED")
    header = _parse_answer_header(encoded)
    asked = parse_letter_header(letter)
    expected = (asked.id, digest_of(letter), asked.kind, asked.recipient, asked.sender, asked.job)
    if (header.id, header.letter, header.kind, header.sender, header.recipient, header.job) != expected:
        raise _violation("OTHER_ANSWER", "回执不是对这封信函的", "the acknowledgement answers another letter")
    _verify("letter-answer", header.sender, header.job, encoded, signature, key, "ANSWER_SIGNATURE")
    fits = len(answer) == header.size <= MAX_ANSWER_BYTES
    if not fits or not compare.equal(sm3.digest(answer), bytes.fromhex(header.digest)):
        raise _violation("ANSWER_ALTERED", "回执内容与摘要不符", "the acknowledgement's answer does not match its digest")
    return OpenedAnswer(header, digest_of(encoded), answer)


def _parse_answer_header(encoded: bytes) -> AnswerHeader:
    value = _object(encoded, _ANSWER_FIELDS, "ANSWER_MALFORMED")
    try:
        header = AnswerHeader(
            id=_text(value["id"]), letter=_text(value["letter"]), kind=_text(value["kind"]),
            sender=parse_party_id(_text(value["from"])), recipient=parse_party_id(_text(value["to"])),
            job=_text(value["job"]), code=_text(value["code"]), time_ms=_whole(value["time_ms"]),
            size=_whole(value["size"]), digest=_text(value["digest"]),
        )  # fmt: skip
        _check_letter(header)
        if not CODE.fullmatch(header.code) or not _DIGEST.fullmatch(header.letter) or (header.code and header.size):
            raise ValueError("a field has another form")
    except ValueError as error:
        raise _malformed("ANSWER_MALFORMED") from error
    return header


# ------------------------------------------------------------------------------------------------------- parts


def _check_letter(header: LetterHeader | AnswerHeader) -> None:
    forms = (
        LETTER_ID.fullmatch(header.id)
        and KIND.fullmatch(header.kind)
        and _JOB.fullmatch(header.job)
        and _DIGEST.fullmatch(header.digest)
    )
    if not forms or header.time_ms < 0 or header.size < 0 or header.sender == header.recipient:
        raise ValueError("a field of a letter has another form")


def _sealed(header: bytes, signature: bytes, body: bytes) -> bytes:
    return b"".join((len(header).to_bytes(4, "big"), header, signature, body))


def _split(data: bytes, code: str) -> tuple[bytes, bytes, bytes]:
    size = int.from_bytes(data[:4], "big")
    start = 4 + size + sm2.SIGNATURE_SIZE
    if not 2 <= size <= MAX_HEADER_BYTES or len(data) < start:
        raise _malformed(code)
    return data[4 : 4 + size], data[4 + size : start], data[start:]


def _object(encoded: bytes, fields: frozenset[str], code: str) -> dict[str, canonical.Json]:
    try:
        value = canonical.parse_object(encoded)
    except VerificationError as error:
        raise _malformed(code) from error
    if set(value) != fields or type(value["v"]) is not int or value["v"] != 1:
        raise _malformed(code)
    return value


def _signed(kind: str, party: PartyId, job: str, header: bytes, key: sm2.PrivateKey) -> bytes:
    return key.sign(labels.signing_input(kind, party=party, job=job, body=header))


def _verify(kind: str, party: PartyId, job: str, header: bytes, signature: bytes, key: sm2.PublicKey, code: str) -> None:
    try:
        key.verify(labels.signing_input(kind, party=party, job=job, body=header), signature)
    except VerificationError as error:
        raise _violation(code, "签名无效", "the signature does not verify") from error


def _text(value: canonical.Json) -> str:
    if not isinstance(value, str):
        raise ValueError("a text field has another type")  # noqa: TRY004 - it is data, not a programming mistake
    return value


def _whole(value: canonical.Json) -> int:
    if type(value) is not int:
        raise ValueError("a number field has another type")
    return value


def _malformed(code: str) -> ProtocolViolation:
    return _violation(code, "格式不对", "it is malformed")


def _violation(code: str, zh: str, en: str) -> ProtocolViolation:
    return ProtocolViolation(f"信函或回执被拒收：{zh}", f"a letter or its acknowledgement was refused: {en}", code=code)

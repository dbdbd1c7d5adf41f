"""RFC 3161 time stamps: the bytes of a request, and what must hold before a reply is believed.

Document: docs/protocols/anchor.md section 2. Pure: digest, nonce and pinned certificates are arguments. The signature and
its chain are checked by rfc3161-client (OpenSSL behind it); which signer, imprint, nonce and time are checked here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NoReturn

import rfc3161_client
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID

from workbench.errors import VerificationError

DIGEST_SIZE = 32
NONCE_SIZE = 8
MAX_REPLY_BYTES = 65_536
MAX_CERTIFICATES = 5

_SHA256_OID = "2.16.840.1.101.3.4.2.1"
_SHA256_ALGORITHM = bytes.fromhex("300d06096086480165030402010500")
# A signer's digest algorithm and the signature algorithms that may stand beside it (RFC 5754, RFC 5758). CMS leaves this
# field outside the signature and readers pass over it; it is fixed here so that a token has one spelling.
_RSA = bytes.fromhex("2a864886f70d010101")
_SIGNATURES = {
    bytes.fromhex("608648016503040201"): (bytes.fromhex("2a8648ce3d040302"), bytes.fromhex("2a864886f70d01010b"), _RSA),
    bytes.fromhex("608648016503040202"): (bytes.fromhex("2a8648ce3d040303"), bytes.fromhex("2a864886f70d01010c"), _RSA),
    bytes.fromhex("608648016503040203"): (bytes.fromhex("2a8648ce3d040304"), bytes.fromhex("2a864886f70d01010d"), _RSA),
}
_POLICY = re.compile(r"[0-2](\.(0|[1-9][0-9]{0,8})){1,15}")


@dataclass(frozen=True, slots=True)
class Authority:
    """A pinned authority: its signing certificate and the issuers above it, as they stand in the file.

    pem: the file. fingerprint: SHA-256 of the signing certificate, lower-case hex. name: its subject, for people.
    """

    pem: bytes
    fingerprint: str
    name: str
    not_before: datetime
    not_after: datetime


@dataclass(frozen=True, slots=True)
class Stamp:
    """A verified time stamp. time: by the authority's clock, UTC. serial: of the token. policy: dotted."""

    time: datetime
    serial: int
    policy: str
    signer: str


def make_nonce(random: bytes) -> int:
    """The nonce of a request from 8 random bytes: the first byte lies between 0x40 and 0x7F (document section 2.1)."""
    if len(random) != NONCE_SIZE:
        raise ValueError("a nonce is made of 8 random bytes")
    return int.from_bytes(bytes([random[0] & 0x3F | 0x40]) + random[1:], "big")


def format_request(digest: bytes, nonce: int, policy: str = "") -> bytes:
    """TimeStampReq over a SHA-256 digest in DER: 66 bytes without a policy.

    policy: dotted object identifier that the authority must use, or "". Raises ValueError for odd arguments.
    """
    if len(digest) != DIGEST_SIZE or not 1 << 62 <= nonce < 1 << 63:
        raise ValueError("a request has a digest of 32 bytes and a nonce of 63 bits")
    imprint = _der(0x30, _SHA256_ALGORITHM + _der(0x04, digest))
    wanted = _der(0x06, _object_identifier(policy)) if policy else b""
    return _der(0x30, _der(0x02, b"\x01") + imprint + wanted + _der(0x02, nonce.to_bytes(NONCE_SIZE, "big")))


def read_authority(pem: bytes) -> Authority:
    """The pinned certificates of a file: the signer first, then its issuers up to a self-signed one.

    Raises VerificationError (TSA_CERTIFICATE) when it is no such file, or the signer may not stamp.
    """
    signer = _chain(pem)[0]
    return Authority(
        pem,
        signer.fingerprint(hashes.SHA256()).hex(),
        signer.subject.rfc4514_string(),
        signer.not_valid_before_utc,
        signer.not_valid_after_utc,
    )


def verify_response(response: bytes, *, digest: bytes, nonce: int, policy: str, authority: Authority) -> Stamp:
    """What a TimeStampResp says, after checks 1 to 7 of document section 2.2; its time is compared by the caller.

    Raises VerificationError with the code of the check that failed. Cost: about 1 ms.
    """
    if len(response) > MAX_REPLY_BYTES:
        _refuse("TSA_TOKEN", "回复过长", "the reply is too long")
    try:
        parsed = rfc3161_client.decode_timestamp_response(response)
        status = int(parsed.status)
    except (ValueError, TypeError) as error:
        raise _refusal("TSA_TOKEN", "回复不是时间戳", "the reply is no time stamp") from error
    if status != 0:
        _refuse(
            "TSA_REJECTED", f"时间戳机构没有签发，状态 {status}", f"the authority did not grant it, status {status}"
        )
    chain = _chain(authority.pem)
    try:
        info = parsed.tst_info
        time = info.gen_time.astimezone(UTC) if info.gen_time.tzinfo else info.gen_time.replace(tzinfo=UTC)
        imprint, algorithm = info.message_imprint.message, info.message_imprint.hash_algorithm.dotted_string
        found_nonce, found_policy, serial = info.nonce, info.policy.dotted_string, int(info.serial_number)
        plain = parsed.as_bytes() == response and _has_usual_frame(parsed.time_stamp_token())
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise _refusal("TSA_TOKEN", "回复里没有可读的时间戳", "the reply holds no readable token") from error
    if not plain:
        _refuse("TSA_TOKEN", "回复的写法不合规或签名人不止一个", "the reply has another spelling or several signers")
    if not chain[0].not_valid_before_utc <= time <= chain[0].not_valid_after_utc:
        _refuse(
            "TSA_CERTIFICATE", "时间戳机构的证书在该时刻无效", "the authority's certificate was not valid at that time"
        )
    verifier = rfc3161_client.VerifierBuilder(
        tsa_certificate=chain[0], intermediates=chain[1:-1], roots=[chain[-1]]
    ).build()
    try:
        verifier.verify(parsed, imprint)
    except (rfc3161_client.VerificationError, ValueError, TypeError, AssertionError) as error:
        raise _refusal(
            "TSA_SIGNATURE",
            "签名不是钉住的时间戳机构所作，或内容被改动",
            "not signed by the pinned authority, or changed",
        ) from error
    if algorithm != _SHA256_OID or imprint != digest:
        _refuse("TSA_IMPRINT", "时间戳盖在别的内容上", "the stamp is on something else")
    if found_nonce != nonce:
        _refuse("TSA_NONCE", "时间戳回答的是另一次请求", "the stamp answers another request")
    if policy and found_policy != policy:
        _refuse("TSA_POLICY", "时间戳依据的政策不是所要求的", "the stamp was made under another policy than asked for")
    return Stamp(time, serial, found_policy, authority.fingerprint)


def _chain(pem: bytes) -> list[x509.Certificate]:
    try:
        chain = x509.load_pem_x509_certificates(pem)
        if not 1 <= len(chain) <= MAX_CERTIFICATES:
            raise ValueError("number of certificates")
        usage = chain[0].extensions.get_extension_for_class(x509.ExtendedKeyUsage)
        if not usage.critical or list(usage.value) != [ExtendedKeyUsageOID.TIME_STAMPING]:
            raise ValueError("extended key usage")
        for lower, upper in zip(chain, [*chain[1:], chain[-1]], strict=True):
            lower.verify_directly_issued_by(upper)
    except (
        ValueError,
        TypeError,
        InvalidSignature,
        UnsupportedAlgorithm,
        x509.ExtensionNotFound,
        x509.DuplicateExtension,
    ) as error:
        raise _refusal(
            "TSA_CERTIFICATE",
            "钉住的证书文件不可用：应依次为签发时间戳的证书与其上级，直到自签名证书",
            "the pinned file must hold the stamping certificate, then its issuers up to a self-signed one",
        ) from error
    return chain


def _has_usual_frame(token: bytes) -> bool:
    """Whether the fields of CMS that no signature covers have the one value that RFC 3161 and RFC 5652 give them."""
    [(_, content)] = _elements(token)
    _, [(_, signed)] = _elements(content)[0], _elements(_elements(content)[1][1])
    version, *_, (_, signers) = _elements(signed)
    [(_, signer)] = _elements(signers)
    fields = _elements(signer)
    if [tag for tag, _ in fields] != [0x02, 0x30, 0x30, 0xA0, 0x30, 0x04]:
        return False
    digest, signature = (_elements(fields[place][1])[0][1] for place in (2, 4))
    return version[1] == b"\x03" and fields[0][1] == b"\x01" and signature in _SIGNATURES.get(digest, ())


def _elements(content: bytes) -> list[tuple[int, bytes]]:
    """Tags and contents of the DER elements that follow one another. Raises ValueError."""
    found, place = [], 0
    while place < len(content):
        tag, size, start = content[place], content[place + 1] if place + 1 < len(content) else 0, place + 2
        if size & 0x80:
            start += size & 0x7F
            size = int.from_bytes(content[place + 2 : start], "big")
        place = start + size
        if place > len(content):
            raise ValueError("an element is longer than what holds it")
        found.append((tag, content[start:place]))
    return found


def _object_identifier(dotted: str) -> bytes:
    if not _POLICY.fullmatch(dotted):
        raise ValueError("not an object identifier")
    first, second, *others = (int(part) for part in dotted.split("."))
    if first < 2 and second > 39:
        raise ValueError("not an object identifier")
    encoded = b""
    for arc in (40 * first + second, *others):
        septets = [arc & 0x7F]
        while arc := arc >> 7:
            septets.append(arc & 0x7F | 0x80)
        encoded += bytes(reversed(septets))
    return encoded


def _der(tag: int, content: bytes) -> bytes:
    """One element; requests stay below 128 bytes, so a length is one byte."""
    if len(content) > 127:
        raise ValueError("a request is short")
    return bytes([tag, len(content)]) + content


def _refuse(code: str, zh: str, en: str) -> NoReturn:
    raise _refusal(code, zh, en)


def _refusal(code: str, zh: str, en: str) -> VerificationError:
    return VerificationError(
        f"时间戳不予采信：{zh}。请运维人员核对时间戳机构与钉住的证书",
        f"the time stamp is refused: {en}. Operations compare the authority with the pinned certificate",
        code=code,
    )

"""Requests byte for byte, and what must hold before a time stamp is believed (docs/protocols/anchor.md section 2)."""

from __future__ import annotations

import hashlib
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.anchor.authority import OTHER_POLICY, POLICY, CertificateAuthority, Signer
from workbench.crypto import timestamps
from workbench.errors import VerificationError

DIGEST = hashlib.sha256(b"a signed checkpoint").digest()
NONCE = timestamps.make_nonce(bytes(range(8)))


def verify(
    reply: bytes, signer: Signer, *, digest: bytes = DIGEST, nonce: int = NONCE, policy: str = ""
) -> timestamps.Stamp:
    authority = timestamps.read_authority(signer.pinned)
    return timestamps.verify_response(reply, digest=digest, nonce=nonce, policy=policy, authority=authority)


def refused(code: str, reply: bytes, signer: Signer, **arguments: object) -> None:
    with pytest.raises(VerificationError) as error:
        verify(reply, signer, **arguments)  # type: ignore[arg-type]
    assert error.value.code == code


@pytest.fixture(scope="module")
def reply(signer: Signer) -> bytes:
    return signer.reply(timestamps.format_request(DIGEST, NONCE))


def test_a_request_is_66_bytes_as_the_document_lists_them() -> None:
    expected = "30400201013031300d060960864801650304020105000420" + DIGEST.hex() + "0208" + "4001020304050607"
    assert timestamps.format_request(DIGEST, NONCE).hex() == expected
    assert len(expected) == 2 * 66


def test_nonces_take_eight_bytes_whatever_the_random_bytes() -> None:
    for first in range(256):
        nonce = timestamps.make_nonce(bytes([first]) + bytes(7))
        assert 0x40 <= nonce.to_bytes(8, "big")[0] <= 0x7F
        assert len(timestamps.format_request(DIGEST, nonce)) == 66
    for odd in (bytes(7), bytes(9)):
        with pytest.raises(ValueError, match="8 random bytes"):
            timestamps.make_nonce(odd)


def test_openssl_reads_the_request(signer: Signer) -> None:
    (signer.folder / "ours.tsq").write_bytes(timestamps.format_request(DIGEST, NONCE, OTHER_POLICY))
    command = ["openssl", "ts", "-query", "-in", "ours.tsq", "-text"]
    text = subprocess.run(command, cwd=signer.folder, check=True, capture_output=True, text=True, timeout=60).stdout
    assert "Hash Algorithm: sha256" in text
    assert f"Policy OID: {OTHER_POLICY}" in text
    assert "Nonce: 0x4001020304050607" in text
    assert "Certificate required: no" in text


@pytest.mark.parametrize("policy", ["1", "3.1.2", "1.40.1", "1.2.x", "1.2..3", "01.2", "1.2.03", "-1.2", "1.2 "])
def test_what_is_no_object_identifier_is_refused(policy: str) -> None:
    with pytest.raises(ValueError, match="object identifier"):
        timestamps.format_request(DIGEST, NONCE, policy)


def test_a_stamp_of_the_pinned_authority_is_accepted_with_its_time(reply: bytes, signer: Signer) -> None:
    stamp = verify(reply, signer)
    assert abs(stamp.time - datetime.now(UTC)) < timedelta(minutes=5)
    assert stamp.policy == POLICY
    assert stamp.serial > 0
    der = subprocess.run(
        ["openssl", "x509", "-in", "signer.pem", "-outform", "DER"],
        cwd=signer.folder,
        check=True,
        capture_output=True,
        timeout=60,
    ).stdout
    assert stamp.signer == hashlib.sha256(der).hexdigest()


def test_every_changed_byte_of_a_reply_is_refused(reply: bytes, signer: Signer) -> None:
    """Also the few that CMS leaves outside the signature: a token has one spelling."""
    for place in range(len(reply)):
        for bit in (0x01, 0x80):
            changed = reply[:place] + bytes([reply[place] ^ bit]) + reply[place + 1 :]
            with pytest.raises(VerificationError):
                verify(changed, signer)


def test_cut_and_lengthened_replies_are_refused(reply: bytes, signer: Signer) -> None:
    for changed in (b"", reply[:-1], reply + b"\0", reply * 2, b"x" * (timestamps.MAX_REPLY_BYTES + 1)):
        refused("TSA_TOKEN", changed, signer)


def test_another_imprint_nonce_or_policy_is_refused(reply: bytes, signer: Signer) -> None:
    refused("TSA_IMPRINT", reply, signer, digest=hashlib.sha256(b"something else").digest())
    refused("TSA_NONCE", reply, signer, nonce=NONCE + 1)
    refused("TSA_POLICY", reply, signer, policy=OTHER_POLICY)
    asked = signer.reply(timestamps.format_request(DIGEST, NONCE, OTHER_POLICY))
    assert verify(asked, signer, policy=OTHER_POLICY).policy == OTHER_POLICY


def test_a_refusal_of_the_authority_is_named(signer: Signer) -> None:
    unknown = signer.reply(timestamps.format_request(DIGEST, NONCE, "1.2.3.4"))
    refused("TSA_REJECTED", unknown, signer)


def test_another_signer_under_the_same_root_is_refused(authority: CertificateAuthority, signer: Signer) -> None:
    """The certificate is pinned, not the authority above it."""
    other = authority.signer("other-tsa")
    request = timestamps.format_request(DIGEST, NONCE)
    refused("TSA_SIGNATURE", other.reply(request), signer)
    with_certificate = other.reply(request[:1] + b"\x43" + request[2:] + b"\x01\x01\xff")  # certReq: its own is inside
    refused("TSA_SIGNATURE", with_certificate, signer)
    assert verify(with_certificate, other).signer != verify(signer.reply(request), signer).signer


def test_a_signer_whose_certificate_was_not_valid_then_is_refused(authority: CertificateAuthority) -> None:
    request = timestamps.format_request(DIGEST, NONCE)
    for name, start, end in (("expired", -400, -30), ("not-yet", 30, 300)):
        odd = authority.signer(name, from_days=start, to_days=end)
        refused("TSA_CERTIFICATE", odd.reply(request), odd)


def test_a_file_that_pins_no_authority_is_refused(authority: CertificateAuthority, signer: Signer) -> None:
    web = authority.signer("web", purpose=ExtendedKeyUsageOID.SERVER_AUTH)
    alone, root = signer.pinned.split(b"-----END CERTIFICATE-----\n")[:2]
    end = b"-----END CERTIFICATE-----\n"
    for odd in (b"", b"text", web.pinned, alone + end, root + end, root + end + alone + end, signer.pinned * 3):
        with pytest.raises(VerificationError) as error:
            timestamps.read_authority(odd)
        assert error.value.code == "TSA_CERTIFICATE"

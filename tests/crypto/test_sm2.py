"""SM2: what compliance shows a court stands on these signatures."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import gmssl_pyx  # type: ignore[import-untyped]  # its stubs lack the py.typed mark
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.crypto import random, sm2, sm3
from workbench.errors import VerificationError

VECTOR = json.loads((Path(__file__).parents[1] / "vectors" / "sm2.json").read_text(encoding="utf-8"))
MESSAGE = bytes.fromhex(VECTOR["message"])
SIGNATURE = bytes.fromhex(VECTOR["r"] + VECTOR["s"])
KEY = sm2.PrivateKey.parse(bytes.fromhex(VECTOR["private_key"]))
N = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123
OPENSSL = shutil.which("openssl")


def test_the_standards_key_digest_and_signature_are_reproduced() -> None:
    assert KEY.public.format() == VECTOR["public_key"]
    e = sm3.digest(sm2._identity_digest(KEY.public, bytes.fromhex(VECTOR["signer_id"])) + MESSAGE)
    assert e.hex() == VECTOR["digest_e"]
    assert sm2._portable(KEY.public, VECTOR["private_key"]).sign(e, VECTOR["nonce"]) == SIGNATURE.hex()
    KEY.public.verify(MESSAGE, SIGNATURE)
    sm2.verify_portable(KEY.public, MESSAGE, SIGNATURE)


def test_each_library_verifies_what_the_other_signed() -> None:
    key = sm2.generate()
    for signature in (key.sign(b"contract"), sm2.sign_portable(key, b"contract")):
        key.public.verify(b"contract", signature)
        sm2.verify_portable(key.public, b"contract", signature)
    # The library's own treatment of the identity must agree with ours, both ways.
    assert gmssl_pyx.sm2_verify(key.public.raw, b"contract", sm2.der_from_raw(key.sign(b"contract")))
    key.public.verify(
        b"contract", sm2.raw_from_der(gmssl_pyx.sm2_sign(key.secret_bytes(), key.public.raw, b"contract"))
    )


def test_another_signer_id_gives_another_signature() -> None:
    signature = KEY.sign(b"x", signer_id=b"broker")
    KEY.public.verify(b"x", signature, signer_id=b"broker")
    with pytest.raises(VerificationError):
        KEY.public.verify(b"x", signature)
    assert gmssl_pyx.sm2_verify(KEY.public.raw, b"x", sm2.der_from_raw(signature), b"broker")


def test_every_one_byte_change_of_the_signature_is_refused() -> None:
    for position in range(len(SIGNATURE)):
        for flip in (0x01, 0x80):
            altered = bytearray(SIGNATURE)
            altered[position] ^= flip
            with pytest.raises(VerificationError):
                KEY.public.verify(MESSAGE, bytes(altered))


def test_every_one_byte_change_of_message_and_key_is_refused() -> None:
    for position in range(len(MESSAGE)):
        altered = bytearray(MESSAGE)
        altered[position] ^= 0x01
        with pytest.raises(VerificationError):
            KEY.public.verify(bytes(altered), SIGNATURE)
    for position in range(64):
        altered = bytearray(KEY.public.raw)
        altered[position] ^= 0x01
        with pytest.raises((ValueError, VerificationError)):
            sm2.PublicKey(bytes(altered)).verify(MESSAGE, SIGNATURE)


@pytest.mark.parametrize(
    "signature",
    [
        b"",
        SIGNATURE[:-1],
        SIGNATURE + b"\x00",
        SIGNATURE + b"\x00\x00",
        bytes(64),
        bytes(32) + SIGNATURE[32:],
        SIGNATURE[:32] + bytes(32),
        N.to_bytes(32, "big") + SIGNATURE[32:],
        SIGNATURE[:32] + N.to_bytes(32, "big"),
        (int.from_bytes(SIGNATURE[:32], "big") + N).to_bytes(33, "big")[-32:] + SIGNATURE[32:],
        SIGNATURE[:32] + (N - int.from_bytes(SIGNATURE[:32], "big")).to_bytes(32, "big"),
        b"\xff" * 64,
    ],
)
def test_malformed_signatures_are_refused_alike_by_both_libraries(signature: bytes) -> None:
    """gmssl alone would accept trailing bytes, and r + s = n leads it to a point that is not there."""
    with pytest.raises(VerificationError) as fast:
        KEY.public.verify(MESSAGE, signature)
    with pytest.raises(VerificationError) as slow:
        sm2.verify_portable(KEY.public, MESSAGE, signature)
    assert fast.value.code == slow.value.code == "SM2_SIGNATURE"


def test_a_signature_shortened_by_its_leading_zero_is_refused() -> None:
    """s as a number would be the same; the bytes have one length all the same."""
    for _ in range(20_000):
        signature = KEY.sign(MESSAGE)
        if signature[32] == 0:
            break
    KEY.public.verify(MESSAGE, signature)
    for verify in (KEY.public.verify, lambda message, raw: sm2.verify_portable(KEY.public, message, raw)):
        with pytest.raises(VerificationError):
            verify(MESSAGE, signature[:32] + signature[33:])


def test_the_portable_path_takes_keys_that_begin_with_04() -> None:
    """gmssl's constructor strips leading 0 and 4 from such keys; a key generated so must sign and verify all the same."""
    for number in range(1, 4000):
        scalar = sm3.digest(number.to_bytes(4, "big"))
        public = sm2._multiply_base(int.from_bytes(scalar, "big"))
        if public.hex().startswith(("04", "40", "00")):
            key = sm2.PrivateKey(scalar, sm2.PublicKey(public))
            sm2.verify_portable(key.public, b"m", sm2.sign_portable(key, b"m"))
            key.public.verify(b"m", sm2.sign_portable(key, b"m"))
            return
    pytest.fail("no such key found")


def test_points_off_the_curve_and_other_spellings_are_no_keys() -> None:
    text = KEY.public.format()
    assert sm2.PublicKey.parse(text) == KEY.public
    wrong = [
        text[2:],
        "02" + text[2:66],
        text.upper(),
        text[:-1],
        text + "00",
        " " + text[1:],
        text[:-2] + "  ",
        "04" + "00" * 64,
    ]
    for spelling in wrong:
        with pytest.raises(ValueError, match="SM2|hexadecimal"):
            sm2.PublicKey.parse(spelling)
    p = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF
    with pytest.raises(ValueError, match="curve"):
        sm2.PublicKey(p.to_bytes(32, "big") + KEY.public.raw[32:])


@pytest.mark.parametrize("scalar", [0, N - 1, N, 2**256 - 1])
def test_scalars_out_of_range_are_no_keys(scalar: int) -> None:
    with pytest.raises(ValueError, match="between 1 and n-2"):
        sm2.PrivateKey.parse(scalar.to_bytes(32, "big"))
    with pytest.raises(ValueError, match="32 bytes"):
        sm2.PrivateKey.parse(b"\x01")


def test_generate_is_a_function_of_its_source() -> None:
    assert sm2.generate(random.SeededSource(b"a")) == sm2.generate(random.SeededSource(b"a"))
    assert sm2.generate(random.SeededSource(b"a")) != sm2.generate(random.SeededSource(b"b"))
    assert sm2.generate() != sm2.generate()


def test_the_secret_appears_in_no_repr() -> None:
    shown = f"{KEY!r} {KEY} {[KEY]}"
    assert VECTOR["private_key"][:12] not in shown.lower()
    assert KEY.key_id in shown


def test_two_signatures_of_one_message_differ() -> None:
    """A repeated nonce would give the private key away."""
    assert len({KEY.sign(b"m")[:32] for _ in range(40)}) == 40
    assert sm2.sign_portable(KEY, b"m") != sm2.sign_portable(KEY, b"m")


@settings(max_examples=200, deadline=None)
@given(st.integers(1, N - 1), st.integers(1, N - 1))
def test_der_and_raw_are_inverse(r: int, s: int) -> None:
    raw = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    assert sm2.raw_from_der(sm2.der_from_raw(raw)) == raw


def test_other_spellings_of_der_are_refused() -> None:
    encoded = sm2.der_from_raw(SIGNATURE)
    long_form = b"\x30\x81" + encoded[1:2] + encoded[2:]
    for wrong in (encoded + b"\x00", encoded[:-1], long_form, b"", b"\x30\x00", bytes.fromhex("3006020100020100")):
        with pytest.raises(VerificationError):
            sm2.raw_from_der(wrong)


def test_a_refused_signature_prints_nothing() -> None:
    """GmSSL prints source lines for every refusal; a node's log must not fill with them."""
    code = (
        "from workbench.crypto import sm2\n"
        "from workbench.errors import VerificationError\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "import ctypes\n"
        "key = sm2.generate()\n"
        "signature = key.sign(b'a')\n"
        "def refuse(number):\n"
        "    try:\n"
        "        key.public.verify(b'b', signature)\n"
        "    except VerificationError:\n"
        "        return 1\n"
        "with ThreadPoolExecutor(4) as pool:\n"
        "    assert sum(pool.map(refuse, range(200))) == 200\n"
        "ctypes.CDLL(None).perror(b'still heard')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr.startswith("still heard")
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(OPENSSL is None, reason="no openssl command on this machine")
def test_openssl_verifies_our_signature_and_refuses_an_altered_message(tmp_path: Path) -> None:
    key = sm2.generate()
    (tmp_path / "key.pem").write_text(sm2.public_pem(key.public), encoding="ascii")
    (tmp_path / "signature").write_bytes(sm2.der_from_raw(key.sign(b"workbench/v1/message")))
    command = [str(OPENSSL), "pkeyutl", "-verify", "-pubin", "-inkey", "key.pem", "-rawin", "-digest", "sm3"]
    command += ["-pkeyopt", "distid:1234567812345678", "-sigfile", "signature", "-in", "message"]
    for message, status in ((b"workbench/v1/message", 0), (b"workbench/v1/messagE", 1)):
        (tmp_path / "message").write_bytes(message)
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=30, check=False)
        assert done.returncode == status, done.stderr


def test_selftest_passes() -> None:
    sm2.selftest()

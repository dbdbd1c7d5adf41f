"""ML-KEM-768, SM2 encapsulation, GCM keys that can be overwritten, the one-time MAC."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import gmssl_pyx  # type: ignore[import-untyped]  # its stubs lack the py.typed mark
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.crypto import gcm, mlkem, poly1305, random, sm2, sm2_encapsulation

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "mlkem768.json").read_text("utf-8"))


def test_mlkem_gives_the_published_keys_and_secrets() -> None:
    for vector in VECTORS["decapsulation"]:
        key = mlkem.PrivateKey.parse(bytes.fromhex(vector["seed"]))
        assert key.public.hex() == vector["public_key"], vector["id"]
        assert key.decapsulate(bytes.fromhex(vector["ciphertext"])).hex() == vector["secret"], vector["id"]


def test_mlkem_refuses_keys_out_of_range_and_ciphertexts_of_another_length() -> None:
    for vector in VECTORS["refused_keys"]:
        with pytest.raises(ValueError):
            mlkem.encapsulate(bytes.fromhex(vector["public_key"]))
    for vector in VECTORS["refused_ciphertexts"]:
        with pytest.raises(ValueError):
            mlkem.PrivateKey.parse(bytes.fromhex(vector["seed"])).decapsulate(bytes.fromhex(vector["ciphertext"]))
    with pytest.raises(ValueError):
        mlkem.encapsulate(bytes(mlkem.PUBLIC_KEY_SIZE - 1))


def test_an_altered_mlkem_ciphertext_gives_another_secret_and_no_error() -> None:
    key = mlkem.generate(random.SeededSource(b"mlkem"))
    secret, ciphertext = mlkem.encapsulate(key.public)
    assert key.decapsulate(ciphertext) == secret
    altered = key.decapsulate(ciphertext[:-1] + bytes([ciphertext[-1] ^ 1]))
    assert len(altered) == 32 and altered != secret


def test_an_sm2_encapsulation_opens_with_its_key_alone() -> None:
    key, other = sm2_encapsulation.generate(), sm2_encapsulation.generate()
    secret, ciphertext = sm2_encapsulation.encapsulate(key.public)
    assert key.decapsulate(ciphertext) == secret and len(secret) == 32
    with pytest.raises(ValueError):
        other.decapsulate(ciphertext)
    for place in range(len(ciphertext)):
        changed = ciphertext[:place] + bytes([ciphertext[place] ^ 1]) + ciphertext[place + 1 :]
        with pytest.raises(ValueError):
            key.decapsulate(changed)
    with pytest.raises(ValueError):
        key.decapsulate(gmssl_pyx.sm2_encrypt(key.public, b"31 bytes are not a secret here."))
    with pytest.raises(ValueError):
        sm2_encapsulation.encapsulate(bytes(64))


def test_the_library_s_sm2_keys_are_those_of_the_signatures() -> None:
    """One curve in both modules: the fresh key's scalar gives the same point through the pure Python library."""
    key = sm2_encapsulation.generate()
    assert sm2.PrivateKey.parse(key._scalar).public.raw == key.public


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(list(gcm.CipherName)), st.binary(max_size=70), st.binary(max_size=70), st.binary(max_size=40))
def test_gcm_in_parts_is_what_other_implementations_compute(
    cipher: gcm.CipherName, head: bytes, tail: bytes, associated: bytes
) -> None:
    raw, nonce = bytes(range(gcm.KEY_SIZES[cipher])), b"twelve bytes"
    sealed = gcm.GcmKey(cipher, raw).seal(nonce, head, tail, associated=associated)
    if cipher is gcm.CipherName.SM4_GCM and head + tail and associated:  # that library takes no empty inputs
        assert b"".join(gmssl_pyx.sm4_gcm_encrypt(raw, nonce, associated, head + tail)) == sealed
    if cipher is gcm.CipherName.AES_256_GCM:
        assert AESGCM(raw).encrypt(nonce, head + tail, associated) == sealed
    assert gcm.GcmKey(cipher, raw).open_sealed(nonce, sealed, associated=associated) == head + tail
    assert gcm.GcmKey(cipher, raw).open_sealed(nonce, sealed, associated=associated + b"x") is None
    assert gcm.GcmKey(cipher, raw).open_sealed(nonce, sealed[:10], associated=associated) is None


def test_a_wiped_key_is_zeros_and_seals_nothing_more() -> None:
    key = gcm.GcmKey(gcm.CipherName.SM4_GCM, b"sixteen byte key")
    buffer = key._key
    key.wipe()
    assert buffer == bytes(16)
    for call in (
        lambda: key.seal(bytes(12), b"", associated=b""),
        lambda: key.open_sealed(bytes(12), bytes(16), associated=b""),
    ):
        with pytest.raises(ValueError, match="wiped"):
            call()
    with pytest.raises(TypeError):
        pickle.dumps(key)
    with pytest.raises(ValueError):
        gcm.GcmKey(gcm.CipherName.AES_256_GCM, bytes(16))


def test_the_poly1305_is_poly1305() -> None:
    """RFC 8439 section 2.5.2."""
    key = bytes.fromhex("85d6be7857556d337f4452fe42d506a80103808afb0db2fd4abff6af4149f51b")
    assert poly1305.tag(key, b"Cryptographic Forum Research Group").hex() == "a8061dc1305136c6c22b8baf0c0127a9"
    with pytest.raises(ValueError):
        poly1305.tag(key[:31], b"")

"""The bytes of docs/protocols/key-delivery.md, computed a second time from the document with `cryptography` alone."""

from __future__ import annotations

from uuid import UUID, uuid5

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from workbench_kme.devices import Suite, wrapping
from workbench_kme.devices.soft import SoftKek
from workbench_kme.keys import Line, Provenance, block_check, key_id
from workbench_kme.keys.model import mix_of
from workbench_kme.keys.taking import value_context

NAMESPACE = uuid5(UUID("6960b6a7-35ce-4301-9ac5-b073aa8cb494"), "line-1\nKME-A\nKME-B")
KEK_ID, NONCE, VALUE = bytes(range(8)), bytes(range(12)), bytes(range(32))


def sealed(suite: Suite, kek: bytes) -> tuple[bytes, bytes]:
    """(wrapped, associated data as the document writes it) of key 5/3 of line-1."""
    identifier = uuid5(NAMESPACE, "5/3")
    place = (5).to_bytes(8, "big") + (3).to_bytes(4, "big")
    context = identifier.bytes + NAMESPACE.bytes + place + b"\x02"
    assert value_context(identifier, NAMESPACE.bytes, 5, 3, Provenance.DEVICE_014) == context
    wrapped = wrapping.seal(
        SoftKek(kek, KEK_ID, suite).seal, VALUE, suite=suite, kek_id=KEK_ID, nonce=NONCE, purpose="key", context=context
    )
    return wrapped, b"workbench/v1/kme/key\x00" + bytes([1, suite]) + KEK_ID + context


def test_a_value_wrapped_with_sm4_has_the_bytes_of_the_document() -> None:
    kek = bytes(range(16))
    wrapped, associated = sealed(Suite.SM4_GCM, kek)
    encryptor = Cipher(algorithms.SM4(kek), modes.GCM(NONCE)).encryptor()
    encryptor.authenticate_additional_data(associated)
    assert wrapped == b"\x01\x01" + KEK_ID + NONCE + encryptor.update(VALUE) + encryptor.finalize() + encryptor.tag


def test_a_value_wrapped_with_aes_has_the_bytes_of_the_document() -> None:
    kek = bytes(range(32))
    wrapped, associated = sealed(Suite.AES_256_GCM, kek)
    assert wrapped == b"\x01\x02" + KEK_ID + NONCE + AESGCM(kek).encrypt(NONCE, VALUE, associated)


def test_the_check_of_a_block_and_the_ids_are_those_of_the_document() -> None:
    assert Line("line-1", "KME-A", "KME-B", "KME-B").namespace == NAMESPACE
    assert key_id(NAMESPACE, 5, 3) == uuid5(NAMESPACE, "5/3")
    tagged = Line("line-1", "KME-A", "KME-B", "KME-B", tenant="desk-7").namespace
    assert tagged == uuid5(UUID("6960b6a7-35ce-4301-9ac5-b073aa8cb494"), "line-1\nKME-A\nKME-B\ndesk-7")
    assert mix_of(bytes.fromhex("01020304") + bytes(12)) == 0x01020304
    value = VALUE * 3
    context = NAMESPACE.bytes + (5).to_bytes(8, "big") + (3).to_bytes(4, "big") + b"\x01"
    info = b"workbench/v1/kme/block-check\x00" + context
    assert block_check(NAMESPACE, 5, Provenance.SIMULATED, value) == HKDF(hashes.SM3(), 16, b"", info).derive(value)

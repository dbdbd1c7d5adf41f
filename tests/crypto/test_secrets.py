"""SM4-GCM, derivation, wrapping, Ed25519, X25519, random sources."""

from __future__ import annotations

import json
from pathlib import Path

import gmssl_pyx  # type: ignore[import-untyped]  # its stubs lack the py.typed mark
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.crypto import aead, canonical, compare, ed25519, kdf, labels, random, wrap, x25519
from workbench.errors import KeyUnavailable, ProtocolViolation, VerificationError

SM4 = {
    name: value if name in ("source", "date", "licence", "second_implementation") else bytes.fromhex(value)
    for name, value in json.loads(
        (Path(__file__).parents[1] / "vectors" / "sm4.json").read_text(encoding="utf-8")
    ).items()
}


def test_sm4_gcm_gives_the_example_of_rfc_8998_in_both_libraries() -> None:
    sealed = aead.seal(SM4["key"], SM4["nonce"], SM4["plaintext"], associated=SM4["associated"])
    assert sealed == SM4["ciphertext"] + SM4["tag"]
    other = gmssl_pyx.sm4_gcm_encrypt(SM4["key"], SM4["nonce"], SM4["associated"], SM4["plaintext"])
    assert b"".join(other) == sealed
    assert aead.open_sealed(SM4["key"], SM4["nonce"], sealed, associated=SM4["associated"]) == SM4["plaintext"]


def test_every_one_byte_change_of_a_sealed_value_is_refused_in_one_way() -> None:
    key, nonce = SM4["key"], SM4["nonce"]
    sealed = aead.seal(key, nonce, b"thirteen byte", associated=b"position 7")
    attempts = [(key, nonce, flipped, b"position 7") for flipped in one_byte_changes(sealed)]
    attempts += [(key, flipped, sealed, b"position 7") for flipped in one_byte_changes(nonce)]
    attempts += [(flipped, nonce, sealed, b"position 7") for flipped in one_byte_changes(key)]
    attempts += [(key, nonce, sealed, flipped) for flipped in one_byte_changes(b"position 7")]
    attempts += [(key, nonce, sealed[:size], b"position 7") for size in range(len(sealed))]
    for attempt_key, attempt_nonce, value, associated in attempts:
        with pytest.raises(VerificationError) as refusal:
            aead.open_sealed(attempt_key, attempt_nonce, value, associated=associated)
        assert refusal.value.code == "SEAL_BROKEN"


def test_random_nonces_make_equal_values_unequal_and_open_again() -> None:
    first, second = (aead.seal_random(SM4["key"], b"same") for _ in range(2))
    assert first != second
    assert aead.open_random(SM4["key"], first) == aead.open_random(SM4["key"], second) == b"same"
    with pytest.raises(VerificationError):
        aead.open_random(SM4["key"], first[:27])


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=80), st.binary(max_size=80), st.binary(max_size=80), st.integers(1, 200))
def test_derivation_is_hkdf_as_another_library_computes_it(
    secret: bytes, salt: bytes, context: bytes, length: int
) -> None:
    expected = HKDF(hashes.SM3(), length, salt, b"workbench/v1/frame\x00" + context).derive(secret)
    assert kdf.derive(secret, "frame", salt=salt, context=context, length=length) == expected


def test_labels_and_contexts_give_unrelated_keys() -> None:
    key = bytes(range(32))
    pairs = [("a", b""), ("a", b"b"), ("a/b", b""), ("b", b""), ("a", b"\x00"), ("a.b", b"c")]
    assert len({kdf.expand(key, label, context) for label, context in pairs}) == len(pairs)
    for label in ("", "A", "a\x00b", "a b", "ä", "a\n"):
        with pytest.raises(ValueError, match="label"):
            kdf.expand(key, label)
    with pytest.raises(ValueError, match="32 bytes"):
        kdf.expand(key[:31], "a")


def test_a_wrapped_key_opens_with_its_passphrase_and_purpose_only() -> None:
    secret = bytes(range(32))
    wrapped = wrap.wrap(secret, "long enough", purpose="vault")
    assert wrap.unwrap(wrapped, "long enough", purpose="vault") == secret
    assert secret.hex().encode() not in wrapped
    for passphrase, purpose in (("long enougH", "vault"), ("", "vault"), ("long enough", "contract")):
        with pytest.raises(KeyUnavailable):
            wrap.unwrap(wrapped, passphrase, purpose=purpose)


@pytest.mark.usefixtures("full_cost")
def test_wrapping_costs_what_rfc_9106_recommends_second() -> None:
    wrapped = wrap.wrap(bytes(32), "long enough", purpose="vault")
    value = canonical.parse_object(wrapped)
    assert (value["passes"], value["memory_kib"], value["lanes"]) == (3, 64 * 1024, 4)
    assert wrap.unwrap(wrapped, "long enough", purpose="vault") == bytes(32)


def test_altered_wrapped_keys_and_absurd_parameters_are_refused() -> None:
    wrapped = wrap.wrap(bytes(32), "long enough", purpose="vault")
    value = canonical.parse_object(wrapped)
    changes: list[dict[str, canonical.Json]] = [
        {"passes": 2}, {"memory_kib": 32 * 1024}, {"lanes": 2}, {"v": 2}, {"salt": "00" * 16}, {"algorithm": "none"},
        {"memory_kib": 2**40}, {"passes": 10**6}, {"lanes": 0}, {"passes": True}, {"salt": "00"}, {"extra": "x"},
        {"sealed": str(value["sealed"])[:-2]}, {"sealed": "zz"},
    ]  # fmt: skip
    for change in changes:
        with pytest.raises(KeyUnavailable):
            wrap.unwrap(canonical.format({**value, **change}), "long enough", purpose="vault")
    for broken in (b"", b"{}", wrapped + b"\n", wrapped[:-1]):
        with pytest.raises(KeyUnavailable):
            wrap.unwrap(broken, "long enough", purpose="vault")


def test_ed25519_gives_the_first_two_examples_of_rfc_8032() -> None:
    # RFC 8032 section 7.1, tests 1 and 2.
    examples = [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            (
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
                "d25bf5f0595bbe24655141438e7a100b"
            ),
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            (
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
                "387b2eaeb4302aeeb00d291612bb0c00"
            ),
        ),
    ]
    for seed, public, message, signature in examples:
        key = ed25519.PrivateKey.parse(bytes.fromhex(seed))
        assert key.public.format() == public
        assert key.sign(bytes.fromhex(message)).hex() == signature
        key.public.verify(bytes.fromhex(message), bytes.fromhex(signature))
        assert seed[:12] not in f"{key!r}{key}"
        for altered in one_byte_changes(bytes.fromhex(signature)):
            with pytest.raises(VerificationError):
                key.public.verify(bytes.fromhex(message), altered)
        for wrong in (b"", bytes.fromhex(signature)[:-1], bytes.fromhex(signature) + b"\x00"):
            with pytest.raises(VerificationError):
                key.public.verify(bytes.fromhex(message), wrong)


def test_x25519_gives_the_example_of_rfc_7748_and_refuses_low_order() -> None:
    # RFC 7748 section 5.2, first example.
    scalar = bytes.fromhex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4")
    point = bytes.fromhex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c")
    expected = "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"
    assert x25519.exchange(scalar, point).hex() == expected
    assert x25519.public_from(scalar) == x25519.exchange(scalar, (9).to_bytes(32, "little"))
    for low in (0, 1, 2**255 - 20):
        with pytest.raises(ProtocolViolation):
            x25519.exchange(scalar, low.to_bytes(32, "little"))


def test_uniform_numbers_stay_below_the_bound_and_reach_every_value() -> None:
    source = random.SeededSource(b"uniform")
    for bound in (1, 2, 3, 5, 256, 257):
        drawn = [random.below(source, bound) for _ in range(40 * min(bound, 20))]
        assert max(drawn) < bound
        if bound <= 5:
            assert set(drawn) == set(range(bound))
    with pytest.raises(ValueError, match="at least 1"):
        random.below(source, 0)


def test_a_seeded_source_gives_the_same_bytes_however_it_is_read() -> None:
    whole = random.SeededSource(b"s")(100)
    pieces = random.SeededSource(b"s")
    assert b"".join(pieces(size) for size in (1, 31, 33, 35)) == whole
    assert len(random.SYSTEM(33)) == 33


def test_equal_compares_whole_values() -> None:
    assert compare.equal(b"abc", b"abc")
    assert not compare.equal(b"abc", b"abd")
    assert not compare.equal(b"abc", b"ab")


def test_signing_inputs_of_different_uses_never_meet() -> None:
    assert (
        labels.signing_input("message", party="broker", job="j-1", body=b"x") == b"workbench/v1/message\nbroker\nj-1\nx"
    )
    for wrong in ({"kind": "a\nb"}, {"kind": ""}, {"party": ""}, {"party": "a\nb"}, {"job": "j\n"}, {"party": "银行"}):
        arguments = {"kind": "message", "party": "broker", "job": "", **wrong}
        with pytest.raises(ValueError, match="signature"):
            labels.signing_input(arguments["kind"], party=arguments["party"], job=arguments["job"], body=b"")


def one_byte_changes(value: bytes) -> list[bytes]:
    return [value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :] for at in range(len(value))]

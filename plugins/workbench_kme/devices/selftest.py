"""Known answers for every algorithm the key-management entity uses (known_answers.json names the source of each).

Document: docs/protocols/key-delivery.md section 3.2. A device runs this when it opens and on demand.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TypeAlias

from workbench.crypto import aead, gcm, kdf, mlkem, poly1305, sm2, sm3
from workbench.errors import SelfTestFailed, VerificationError

Answer: TypeAlias = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TestResult:
    """One known answer: name, where the answer comes from, whether it was given. algorithm: "device" for its own keys."""

    __test__ = False  # not a test of pytest

    name: str
    source: str
    passed: bool
    algorithm: str = "device"


@dataclass(frozen=True, slots=True)
class SelfTestReport:
    """What a self-test found. An empty one has not passed."""

    results: tuple[TestResult, ...]

    @property
    def passed(self) -> bool:
        """Whether every answer was right, and there was one for each algorithm."""
        return bool(self.results) and all(one.passed for one in self.results)

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the answers that were wrong."""
        return tuple(one.name for one in self.results if not one.passed)


def run(answers: Sequence[Answer] | None = None) -> SelfTestReport:
    """Give every known answer anew. answers: those of the package unless a test brings its own. Cost: 0.15 s.

    An algorithm without an answer fails by name: a list that was cut short must not pass.
    """
    chosen = known_answers() if answers is None else answers
    results = [TestResult(one["name"], one["source"], _holds(one), one["algorithm"]) for one in chosen]
    missing = sorted(set(_TESTS) - {one["algorithm"] for one in chosen})
    results += [TestResult(name, "no known answer at hand", False, name) for name in missing]
    return SelfTestReport(tuple(results))


@cache
def known_answers() -> tuple[Answer, ...]:
    """The published answers that come with the package."""
    return tuple(json.loads(_file())["tests"])


@cache
def vectors_version() -> str:
    """Which answers these are: their number and the beginning of the file's SM3 digest, so that a changed file shows."""
    return f"{json.loads(_file())['version']}/{sm3.digest(_file()).hex()[:16]}"


@cache
def _file() -> bytes:
    return resources.files("workbench_kme.devices").joinpath("known_answers.json").read_bytes()


def _holds(answer: Answer) -> bool:
    test = _TESTS.get(answer["algorithm"])
    try:
        return test is not None and test(answer)
    except (KeyError, ValueError, VerificationError, SelfTestFailed):
        return False


def _sm3(answer: Answer) -> bool:
    message, expected = _bytes(answer, "message"), _bytes(answer, "digest")
    sm3.selftest()
    return sm3.digest(message) == expected and sm3.new(message).digest() == expected


def _hmac_sm3(answer: Answer) -> bool:
    return sm3.hmac(_bytes(answer, "key"), _bytes(answer, "message")) == _bytes(answer, "tag")


def _hkdf_sm3(answer: Answer) -> bool:
    expected = _bytes(answer, "output")
    return expected == kdf.derive(
        _bytes(answer, "secret"),
        answer["label"],
        salt=_bytes(answer, "salt"),
        context=_bytes(answer, "context"),
        length=len(expected),
    )


def _sm2(answer: Answer) -> bool:
    """Verify the printed signature, refuse it over another message, derive the printed public key, sign and verify."""
    public = sm2.PublicKey.parse(answer["public_key"])
    message, signature, signer = (_bytes(answer, name) for name in ("message", "signature", "signer_id"))
    public.verify(message, signature, signer_id=signer)
    own = sm2.PrivateKey.parse(_bytes(answer, "private_key"))
    public.verify(message, own.sign(message, signer_id=signer), signer_id=signer)
    return own.public == public and _refuses(lambda: public.verify(message + b"\x00", signature, signer_id=signer))


def _sm4_gcm(answer: Answer) -> bool:
    key, nonce, plaintext = (_bytes(answer, name) for name in ("key", "nonce", "plaintext"))
    associated, sealed = _bytes(answer, "associated"), _bytes(answer, "ciphertext") + _bytes(answer, "tag")
    altered = sealed[:-1] + bytes([sealed[-1] ^ 1])
    return (
        aead.seal(key, nonce, plaintext, associated=associated) == sealed
        and aead.open_sealed(key, nonce, sealed, associated=associated) == plaintext
        and _refuses(lambda: aead.open_sealed(key, nonce, altered, associated=associated))
        and _gcm(answer, gcm.CipherName.SM4_GCM)
    )


def _aes_256_gcm(answer: Answer) -> bool:
    return _gcm(answer, gcm.CipherName.AES_256_GCM)


def _gcm(answer: Answer, cipher: gcm.CipherName) -> bool:
    nonce, plaintext, associated = (_bytes(answer, name) for name in ("nonce", "plaintext", "associated"))
    sealed = _bytes(answer, "ciphertext") + _bytes(answer, "tag")
    key = gcm.GcmKey(cipher, _bytes(answer, "key"))
    return (
        key.seal(nonce, plaintext, associated=associated) == sealed
        and key.open_sealed(nonce, sealed, associated=associated) == plaintext
        and key.open_sealed(nonce, sealed[:-1] + bytes([sealed[-1] ^ 1]), associated=associated) is None
    )


def _ml_kem_768(answer: Answer) -> bool:
    """The public key of the printed seed, the secret in the printed ciphertext, another secret in an altered one."""
    key = mlkem.PrivateKey.parse(_bytes(answer, "seed"))
    ciphertext, secret = _bytes(answer, "ciphertext"), _bytes(answer, "secret")
    fresh, sent = mlkem.encapsulate(key.public)
    return (
        key.public == _bytes(answer, "public_key")
        and key.decapsulate(ciphertext) == secret
        and key.decapsulate(ciphertext[:-1] + bytes([ciphertext[-1] ^ 1])) != secret
        and key.decapsulate(sent) == fresh
    )


def _poly1305(answer: Answer) -> bool:
    return poly1305.tag(_bytes(answer, "key"), _bytes(answer, "message")) == _bytes(answer, "tag")


def _bytes(answer: Answer, name: str) -> bytes:
    return bytes.fromhex(answer[name])


def _refuses(action: Callable[[], object]) -> bool:
    try:
        action()
    except VerificationError:
        return True
    return False


_TESTS: dict[str, Callable[[Answer], bool]] = {
    "sm2": _sm2,
    "sm3": _sm3,
    "hmac-sm3": _hmac_sm3,
    "hkdf-sm3": _hkdf_sm3,
    "sm4-gcm": _sm4_gcm,
    "aes-256-gcm": _aes_256_gcm,
    "ml-kem-768": _ml_kem_768,
    "poly1305": _poly1305,
}

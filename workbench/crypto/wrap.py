"""A secret wrapped under a passphrase: argon2id, then SM4-GCM.

A wrapped secret is canonical JSON with the parameters used, so a later release can raise them and still open old ones:

    {"algorithm":"argon2id-sm4-gcm","lanes":4,"memory_kib":65536,"passes":3,"purpose":…,"salt":hex,"sealed":hex,"v":1}

Everything but `sealed` is authenticated as associated data. The nonce is twelve zero bytes: the salt is fresh for each
wrapping, so each derived key seals exactly once.
"""

from __future__ import annotations

from argon2.low_level import Type, hash_secret_raw

from workbench.crypto import aead, canonical, kdf, random
from workbench.errors import KeyUnavailable, VerificationError

_ALGORITHM = "argon2id-sm4-gcm"
_NONCE = bytes(aead.NONCE_SIZE)
_SALT_SIZE = 16
_PASSES, _MEMORY_KIB, _LANES = 3, 64 * 1024, 4

# A wrapped file is input like any other: absurd parameters must not make the node work or swallow memory for ever, and
# weak ones are not ours.
_PASSES_RANGE, _MEMORY_RANGE, _LANES_RANGE = range(1, 17), range(8 * 1024, 1024 * 1024 + 1), range(1, 17)
_FIELDS = frozenset({"algorithm", "lanes", "memory_kib", "passes", "purpose", "salt", "sealed", "v"})


def wrap(secret: bytes, passphrase: str, *, purpose: str, source: random.RandomSource = random.SYSTEM) -> bytes:
    """`secret` sealed under `passphrase`, as canonical JSON.

    purpose: what the secret is for; `unwrap` must name the same. Raises ValueError for an empty passphrase or secret.
    Cost: about 0.1 s and 64 MiB.
    """
    if not secret or not passphrase:
        raise ValueError("an empty secret or passphrase is a mistake")
    header: dict[str, canonical.Json] = {
        "algorithm": _ALGORITHM,
        "lanes": _LANES,
        "memory_kib": _MEMORY_KIB,
        "passes": _PASSES,
        "purpose": purpose,
        "salt": source(_SALT_SIZE).hex(),
        "v": 1,
    }
    sealed = aead.seal(_key(header, passphrase), _NONCE, secret, associated=canonical.format(header))
    return canonical.format({**header, "sealed": sealed.hex()})


def unwrap(wrapped: bytes, passphrase: str, *, purpose: str) -> bytes:
    """The secret that `wrap` sealed. Raises KeyUnavailable, one code for every cause. Cost: as `wrap`."""
    try:
        header = canonical.parse_object(wrapped)
        if set(header) != _FIELDS or header["purpose"] != purpose or header["algorithm"] != _ALGORITHM:
            raise ValueError("not a wrapped secret for this purpose")
        sealed = bytes.fromhex(str(header.pop("sealed")))
        return aead.open_sealed(_key(header, passphrase), _NONCE, sealed, associated=canonical.format(header))
    except (VerificationError, ValueError) as error:
        raise KeyUnavailable(
            f"密钥“{purpose}”无法解锁：口令不符或文件被改动",
            f"the key for {purpose} does not unlock: wrong passphrase or altered file",
            code="KEY_LOCKED",
        ) from error


def _key(header: dict[str, canonical.Json], passphrase: str) -> bytes:
    passes, memory_kib, lanes = header["passes"], header["memory_kib"], header["lanes"]
    if header["v"] != 1 or type(passes) is not int or type(memory_kib) is not int or type(lanes) is not int:
        raise ValueError("unknown version or parameters")
    if passes not in _PASSES_RANGE or memory_kib not in _MEMORY_RANGE or lanes not in _LANES_RANGE:
        raise ValueError("parameters out of range")
    salt = bytes.fromhex(str(header["salt"]))
    if len(salt) != _SALT_SIZE:
        raise ValueError("the salt has 16 bytes")
    raw = hash_secret_raw(
        passphrase.encode("utf-8"),
        salt,
        time_cost=passes,
        memory_cost=memory_kib,
        parallelism=lanes,
        hash_len=32,
        type=Type.ID,
    )
    return kdf.expand(raw, "wrap", length=aead.KEY_SIZE)

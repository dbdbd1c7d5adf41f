"""The file that carries charge keys 充注密钥 into a medium: under its person's passphrase, handed out once.

Document: docs/protocols/key-delivery.md section 4.1. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from workbench.crypto import canonical, random, wrap
from workbench.errors import InvalidRequest, VerificationError
from workbench_kme.keys.charge import MOST_FILLED, ChargeKey, ChargeMedium, charge_key_id
from workbench_kme.keys.model import KEY_BYTES, Provenance, check_entity

PURPOSE = "kme-medium"
LEAST_PASSPHRASE, MOST_PASSPHRASE = 12, 256
_FIELDS = frozenset({"device", "first", "keys", "line", "namespace", "person", "v"})


def pack_medium(
    keys: Sequence[ChargeKey],
    passphrase: str,
    *,
    namespace: UUID,
    line: str,
    person: str,
    device: str,
    source: random.RandomSource = random.SYSTEM,
) -> bytes:
    """The file of one filling; keys: with counters one after the other. Cost: about 0.1 s and 64 MiB.

    Raises ValueError for a passphrase outside LEAST_PASSPHRASE to MOST_PASSPHRASE characters.
    """
    if not LEAST_PASSPHRASE <= len(passphrase) <= MOST_PASSPHRASE:
        raise ValueError("the passphrase of a medium has 12 to 256 characters")
    content = canonical.format(
        {
            "device": device,
            "first": keys[0].counter,
            "keys": "".join(one.value.hex() for one in keys),
            "line": line,
            "namespace": namespace.hex,
            "person": person,
            "v": 1,
        }
    )
    return wrap.wrap(content, passphrase, purpose=PURPOSE, source=source)


def open_medium(data: bytes, passphrase: str) -> tuple[str, ChargeMedium]:
    """(line, medium) of a file. Raises KeyUnavailable KEY_LOCKED, VerificationError MEDIUM_FORM. Cost: as `pack_medium`."""
    return parse_medium(wrap.unwrap(data, passphrase, purpose=PURPOSE))


def use_medium(data: bytes, passphrase: str, sealed: bytes) -> tuple[bytes, UUID, Provenance, bytearray]:
    """(the file from now on, session key id, provenance, session key) of a delivery; b"" when nothing is left in the file.

    The charge key and all before it are gone from the new file: put it in the old one's place before the session key is
    used. Raises as `open_medium`, KeyUnavailable CHARGE_USED, VerificationError SEAL_BROKEN. Cost: as `pack_medium`, twice.
    """
    line, medium = open_medium(data, passphrase)
    session_key_id, provenance, value = medium.open_delivery(sealed)
    left = medium.remaining()
    try:
        again = b""
        if left:
            again = pack_medium(left, passphrase, namespace=medium.namespace, line=line, person=medium.person, device=medium.device)
    finally:
        for one in left:
            one.value[:] = bytes(len(one.value))
    return again, session_key_id, provenance, value


def parse_medium(content: bytes) -> tuple[str, ChargeMedium]:
    """(line, medium) of what a file holds. Raises VerificationError MEDIUM_FORM."""
    try:
        told = canonical.parse_object(content)
        if set(told) != _FIELDS or told["v"] != 1:
            raise ValueError("another form")
        first, namespace = told["first"], UUID(hex=str(told["namespace"]))
        line, person, device = (str(told[name]) for name in ("line", "person", "device"))
        values = bytes.fromhex(str(told["keys"]))
        if type(first) is not int or first < 1 or not values or len(values) % KEY_BYTES or len(values) > MOST_FILLED * KEY_BYTES:
            raise ValueError("another number of keys")
        check_entity(person, what="人员")
        check_entity(device, what="设备")
    except (ValueError, InvalidRequest) as error:
        raise VerificationError(
            "这不是充注介质的文件：请密钥管理人员重新充注",
            "this is no file of a charge medium: key staff must fill it again",
            code="MEDIUM_FORM",
        ) from error
    made = ChargeMedium(namespace, person, device)
    made.take_in(
        ChargeKey(charge_key_id(namespace, person, device, first + place), first + place, bytearray(values[at : at + KEY_BYTES]))
        for place, at in enumerate(range(0, len(values), KEY_BYTES))
    )
    return line, made

"""What an institution holds of a lease that others signed, as one file: docs/protocols/sandbox.md section 14.1.

Not signed itself: each part is. What is checked of it, and in which order, is `proving`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from workbench.crypto.canonical import Json
from workbench.domain.party import PartyId
from workbench.errors import VerificationError
from workbench_sandbox.formats import reading, servicekey
from workbench_sandbox.formats.order import Order, format_order, parse_order

KIND = "lease-file"
MAX_BYTES = 64 << 20
MAX_PARTS = 100_000
"""Of each list: a day has 1,440 ticks."""

_MEMBERS = ("party", "order", "service_keys", "ticks", "statement", "receipts", "evidence", "ends")
_ENDS = ("payload", "statement", "signature", "ends")
_HEX = re.compile(r"(?:[0-9a-f]{2})*")


@dataclass(frozen=True, slots=True)
class SignedEnds:
    """`answers.signed` as it came: payload, and statement and signature of its signed frame; ends: SM3 of each end's JSON, in order."""

    payload: bytes
    statement: bytes
    signature: bytes
    ends: tuple[str, ...]

    def __post_init__(self) -> None:
        reading.need(self.ends and all(reading.HEX64.fullmatch(one) for one in self.ends), "ends")

    def body(self) -> dict[str, Json]:
        """As it stands in a lease file."""
        named: dict[str, Json] = {"payload": self.payload.hex(), "statement": self.statement.hex(), "signature": self.signature.hex()}
        return {**named, "ends": list(self.ends)}

    @property
    def encoded(self) -> bytes:
        """By itself, as an institution keeps it."""
        return reading.write(self.body())

    @classmethod
    def parse(cls, data: bytes) -> SignedEnds:
        """What `encoded` gave. Raises ValueError."""
        return cls.read(reading.read(data, _ENDS, most=MAX_BYTES))

    @classmethod
    def read(cls, value: Json) -> SignedEnds:
        """Raises ValueError."""
        body = reading.members(value, _ENDS)
        payload, statement, signature = (_octets(body[one]) for one in ("payload", "statement", "signature"))
        return cls(payload, statement, signature, reading.texts(body["ends"], most=MAX_PARTS))


@dataclass(frozen=True, slots=True)
class LeaseFile:
    """The file of one institution. service_keys: statements as written, of each end, oldest first; ticks: request and reply of each as
    sent, in order, b"" where no reply came; statement: b"" before there is one. What is in it is not verified."""

    party: PartyId
    order: Order
    service_keys: dict[PartyId, tuple[bytes, ...]]
    ticks: tuple[tuple[bytes, bytes], ...] = field(default=(), repr=False)
    statement: bytes = b""
    receipts: tuple[bytes, ...] = field(default=(), repr=False)
    evidence: tuple[bytes, ...] = field(default=(), repr=False)
    ends: tuple[SignedEnds, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        both = {self.order.tenant, self.order.provider}
        reading.need(self.party in both and set(self.service_keys) <= both, "tenant and provider of the order")

    @property
    def encoded(self) -> bytes:
        """The file. Cost: 2 bytes for each byte in it."""
        ticks: list[Json] = [{"tick": tick.hex(), "reply": reply.hex()} for tick, reply in self.ticks]
        return reading.write(
            {
                "party": self.party, "order": format_order(self.order).hex(),
                "service_keys": {party: [one.hex() for one in written] for party, written in self.service_keys.items()},
                "ticks": ticks, "statement": self.statement.hex(), "receipts": [one.hex() for one in self.receipts],
                "evidence": [one.hex() for one in self.evidence], "ends": [one.body() for one in self.ends],
            },
            KIND,
        )  # fmt: skip


def parse_lease_file(data: bytes) -> LeaseFile:
    """What stands there; only its form is looked at. Raises VerificationError (LEASE_FILE)."""
    try:
        body = reading.read(data, _MEMBERS, KIND, most=MAX_BYTES)
        named = body["service_keys"]
        reading.need(isinstance(named, dict), "service_keys")
        assert isinstance(named, dict)
        return LeaseFile(
            PartyId(reading.text(body["party"])), parse_order(_octets(body["order"])),
            {PartyId(party): _list(written) for party, written in named.items()},
            tuple(_tick(one) for one in reading.items(body["ticks"], most=MAX_PARTS)), _octets(body["statement"]),
            _list(body["receipts"]), _list(body["evidence"]), tuple(SignedEnds.read(one) for one in reading.items(body["ends"], most=MAX_PARTS)),
        )  # fmt: skip
    except (ValueError, VerificationError) as error:
        raise VerificationError(
            "租约凭证的格式不对，无从核验；请向出具的机构重新索取", "the lease file is malformed and cannot be checked; ask the institution that made it for another",
            code="LEASE_FILE",
        ) from error


def is_lease_file(data: bytes) -> bool:
    """Whether these bytes are meant as one, without looking at them in full."""
    return data.startswith(b"{") and f'"kind":"{KIND}"'.encode() in data


def keys_of(file: LeaseFile, party: PartyId) -> list[servicekey.ServiceKey]:
    """The service keys of one end as they stand there, unverified. Raises VerificationError (SERVICE_KEY)."""
    return [servicekey.parse_service_key(one) for one in file.service_keys.get(party, ())]


def _tick(value: Json) -> tuple[bytes, bytes]:
    body = reading.members(value, ("tick", "reply"))
    return _octets(body["tick"]), _octets(body["reply"])


def _list(value: Json) -> tuple[bytes, ...]:
    return tuple(_octets(one) for one in reading.items(value, most=MAX_PARTS))


def _octets(value: Json) -> bytes:
    text = reading.text(value)
    reading.need(_HEX.fullmatch(text), "hexadecimal")
    return bytes.fromhex(text)

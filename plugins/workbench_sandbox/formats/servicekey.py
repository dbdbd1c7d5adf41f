"""The key with which an institution signs evidence, ticks and erase receipts: docs/protocols/sandbox.md section 2."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.channel.terms import Signer
from workbench.crypto import sm2
from workbench.domain.party import PartyId
from workbench.errors import VerificationError
from workbench_sandbox.formats import reading

KIND = "service-key"
MAX_DAYS = 366
MAX_BYTES = 2048
SKEW_MS = 5_000
"""How far the clocks of two institutions may differ."""

_MEMBERS = frozenset({"party", "key", "from_ms", "until_ms", "previous"})
_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class ServiceKey:
    """A service key as its institution's contract key stated it. previous: digest of the statement before it, "" for none."""

    party: PartyId
    key: sm2.PublicKey
    from_ms: int
    until_ms: int
    previous: str

    def __post_init__(self) -> None:
        reading.party(self.party)
        reading.need(reading.DIGEST_OR_EMPTY.fullmatch(self.previous), "previous")
        reading.need(reading.within(self.from_ms, self.until_ms), "times")
        reading.need(0 < self.until_ms - self.from_ms <= MAX_DAYS * _DAY_MS, "at most 366 days")

    @property
    def statement(self) -> bytes:
        """The canonical bytes that the contract key signs."""
        return reading.write(
            {
                "party": self.party, "key": self.key.format(), "from_ms": self.from_ms, "until_ms": self.until_ms,
                "previous": self.previous,
            },
            KIND,
        )  # fmt: skip

    @property
    def digest(self) -> str:
        """SM3 of the statement, hexadecimal: what the next one names as `previous`."""
        return reading.digest(self.statement)


def sign_service_key(value: ServiceKey, *, key: Signer) -> bytes:
    """The statement as written. key: the institution's contract key. Cost: 0.4 ms."""
    statement = value.statement
    return reading.lv4(statement) + reading.sign(KIND, party=value.party, job="", body=statement, key=key)


def parse_service_key(raw: bytes) -> ServiceKey:
    """What is written there, its signature not looked at. Raises VerificationError (SERVICE_KEY)."""
    return _split(raw)[0]


def verify_service_key(
    raw: bytes, *, party: PartyId, contract_key: sm2.PublicKey, known: ServiceKey | None, now_ms: int
) -> ServiceKey:
    """The service key in `raw`, a statement as written.

    contract_key: the pinned one of `party`. known: the newest statement of this institution that was kept, or None where
    there is none; another one must continue it. now_ms: when it must be valid, 5 s of difference allowed.
    Raises VerificationError (SERVICE_KEY). Cost: 0.75 ms.
    """
    value, statement, signature = _split(raw)
    with reading.refusing(lambda: _refused("not signed with the pinned contract key")):
        reading.verify(KIND, party=party, job="", body=statement, key=contract_key, signature=signature)
    if value.party != party:
        raise _refused("another institution's")
    if known is not None and value != known and value.previous != known.digest:
        raise _refused("it does not continue the one that is known")
    if not value.from_ms - SKEW_MS <= now_ms <= value.until_ms + SKEW_MS:
        raise _refused("not valid at this time")
    return value


def _split(raw: bytes) -> tuple[ServiceKey, bytes, bytes]:
    with reading.refusing(lambda: _refused("malformed")):
        statement, signature, rest = reading.split_signed(raw, most=MAX_BYTES)
        reading.need(not rest, "bytes after the end")
        body = reading.read(statement, _MEMBERS, KIND)
        party, key, previous = reading.texts_of(body, ("party", "key", "previous"))
        from_ms, until_ms = reading.wholes_of(body, ("from_ms", "until_ms"))
        value = ServiceKey(PartyId(party), sm2.PublicKey.parse(key), from_ms, until_ms, previous)
    return value, statement, signature


def _refused(why: str) -> VerificationError:
    return VerificationError(
        "对方的服务密钥声明不成立，据此签署的内容不采信；请密钥管理人员与对方核对",
        f"the other institution's service-key statement does not hold ({why}); nothing signed under it counts, key staff compare with the"
        " other institution",
        code="SERVICE_KEY",
    )

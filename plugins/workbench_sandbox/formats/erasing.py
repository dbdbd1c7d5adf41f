"""What a provider signs about what it found when a lease was over: docs/protocols/sandbox.md section 10."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.channel.terms import Signer
from workbench.crypto.canonical import Json
from workbench.crypto.sm2 import PublicKey
from workbench.domain.party import PartyId
from workbench.errors import VerificationError
from workbench_sandbox.formats import reading, servicekey

KIND = "erase-receipt"
CHECKS = ("processes", "mounts", "files", "groups", "shared-memory", "cores", "swap", "keys", "logs")
"""What is looked for, in this order."""
MAX_BYTES = 64 << 10
MAX_SANDBOXES = 1_000
MAX_KEPT = 1_000

_MEMBERS = frozenset(
    {
        "provider", "tenant", "lease", "server", "sandboxes", "reason", "began_ms", "ended_ms", "assurance", "checks", "kept", "clean",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Check:
    """One line of a receipt: how many were found, and how it was looked for."""

    name: str
    found: int
    how: str

    def __post_init__(self) -> None:
        reading.need(self.name in CHECKS and reading.within(self.found), "check")
        reading.need(reading.ASCII_LINE.fullmatch(self.how), "how")


@dataclass(frozen=True, slots=True)
class Receipt:
    """A receipt for one server of one lease. sandboxes: all that ran there under it; reason: a cause of section 11;
    kept: paths in the volume that stay by order."""

    provider: PartyId
    tenant: PartyId
    lease: str
    server: str
    sandboxes: tuple[str, ...]
    reason: str
    began_ms: int
    ended_ms: int
    assurance: str
    checks: tuple[Check, ...]
    kept: tuple[str, ...]

    def __post_init__(self) -> None:
        reading.party(self.provider)
        reading.party(self.tenant)
        reading.need(reading.LEASE.fullmatch(self.lease) and reading.SERVER.fullmatch(self.server), "lease or server")
        reading.need(
            reading.each(reading.SANDBOX, self.sandboxes) and len(self.sandboxes) <= MAX_SANDBOXES, "sandboxes"
        )
        reading.need(self.reason and reading.CAUSE.fullmatch(self.reason), "reason")
        reading.need(self.assurance in reading.ASSURANCES, "assurance")
        reading.need(reading.within(self.began_ms, self.ended_ms) and self.began_ms <= self.ended_ms, "times")
        reading.need(tuple(one.name for one in self.checks) == CHECKS, "every check, in order")
        reading.need(all(reading.PATH.fullmatch(one) for one in self.kept), "kept")
        reading.need(len(self.kept) <= MAX_KEPT and reading.ascending(self.kept), "kept ascends")

    @property
    def clean(self) -> bool:
        """Whether every check found nothing."""
        return all(one.found == 0 for one in self.checks)

    @property
    def encoded(self) -> bytes:
        """The canonical bytes that the provider signs."""
        return reading.write(
            {
                "provider": self.provider, "tenant": self.tenant, "lease": self.lease, "server": self.server,
                "sandboxes": list(self.sandboxes), "reason": self.reason, "began_ms": self.began_ms, "ended_ms": self.ended_ms,
                "assurance": self.assurance,
                "checks": [{"name": one.name, "found": one.found, "how": one.how} for one in self.checks],
                "kept": list(self.kept), "clean": self.clean,
            },
            KIND,
        )  # fmt: skip

    @property
    def digest(self) -> str:
        """SM3, hexadecimal: what entries name."""
        return reading.digest(self.encoded)


def sign_receipt(receipt: Receipt, *, key: Signer, service: bytes) -> bytes:
    """The receipt as written: body of `inference.erased`. key: the provider's service key, of the statement in `service`.

    Raises ValueError if it is larger than 64 KiB.
    """
    encoded = receipt.encoded
    reading.need(len(encoded) <= MAX_BYTES, "a receipt has at most 64 KiB")
    signature = reading.sign(KIND, party=receipt.provider, job=receipt.lease, body=encoded, key=key)
    return reading.lv4(encoded) + signature + service


def parse_receipt(raw: bytes) -> tuple[Receipt, bytes, bytes]:
    """(receipt, signature, service-key statement as written), nothing verified. Raises VerificationError (ERASE_RECEIPT)."""
    with reading.refusing(lambda: receipt_refused("malformed")):
        encoded, signature, service = reading.split_signed(raw, most=MAX_BYTES)
        reading.need(len(service) <= 2 * servicekey.MAX_BYTES, "the service-key statement is too long")
        return _receipt(encoded), signature, service


def verify_receipt(
    raw: bytes, *, provider: PartyId, contract_key: PublicKey, known: servicekey.ServiceKey | None
) -> tuple[Receipt, servicekey.ServiceKey]:
    """(receipt, the service key it was signed with), as this provider signed it; needs nothing but its pinned contract key.

    known: the newest service key that was kept, or None to take any that the contract key signed and that was valid when the
    receipt was made. Raises VerificationError (ERASE_RECEIPT, SERVICE_KEY). Cost: 1.5 ms.
    """
    receipt, signature, service = parse_receipt(raw)
    key = servicekey.verify_service_key(
        service, party=provider, contract_key=contract_key, known=known, now_ms=receipt.ended_ms
    )
    if receipt.provider != provider:
        raise receipt_refused("of another provider")
    with reading.refusing(lambda: receipt_refused("not signed with the provider's service key")):
        reading.verify(KIND, party=provider, job=receipt.lease, body=receipt.encoded, key=key.key, signature=signature)
    return receipt, key


def format_erased_answer() -> bytes:
    """Answer of `inference.erased`."""
    return reading.write({"accepted": True})


def parse_erased_answer(data: bytes) -> None:
    """Raises VerificationError (ERASE_RECEIPT)."""
    with reading.refusing(lambda: receipt_refused("malformed")):
        reading.need(reading.flag(reading.read(data, ("accepted",))["accepted"]), "a refusal has a code")


def receipt_refused(why: str) -> VerificationError:
    """The refusal of a receipt. why: in English, without a value of the other institution."""
    return VerificationError(
        "擦除回执不成立，不能据此认定已擦除；请运维人员与算力方核对",
        f"the erase receipt does not hold ({why}): it proves nothing, operators compare with the provider",
        code="ERASE_RECEIPT",
    )


def _receipt(encoded: bytes) -> Receipt:
    body = reading.read(encoded, _MEMBERS, KIND, most=MAX_BYTES)
    lease, server, reason, assurance = reading.texts_of(body, ("lease", "server", "reason", "assurance"))
    receipt = Receipt(
        PartyId(reading.text(body["provider"])), PartyId(reading.text(body["tenant"])), lease, server,
        reading.texts(body["sandboxes"], most=MAX_SANDBOXES), reason, reading.whole(body["began_ms"]),
        reading.whole(body["ended_ms"]), assurance,
        tuple(_check(one) for one in reading.items(body["checks"], most=len(CHECKS))), reading.texts(body["kept"], most=MAX_KEPT),
    )  # fmt: skip
    reading.need(reading.flag(body["clean"]) == receipt.clean, "clean exactly where nothing was found")
    return receipt


def _check(value: Json) -> Check:
    body = reading.members(value, ("name", "found", "how"))
    return Check(reading.text(body["name"]), reading.whole(body["found"]), reading.text(body["how"]))

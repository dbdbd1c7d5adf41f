"""Bodies of the letters that order, change and release a lease, and their answers: docs/protocols/sandbox.md section 4.

The letter around them is signed and answered once (docs/protocols/letters.md); what does not parse is refused with
VerificationError LEASE_LETTER.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from workbench.crypto.canonical import Json
from workbench.domain.party import PartyId
from workbench.errors import VerificationError
from workbench_sandbox.formats import evidence, reading, servicekey

MAX_LEASE_MS = 24 * 3_600_000
MAX_CARDS = 1_000
MAX_BYTES = 64 << 10

_ORDER = frozenset(
    {
        "lease", "tenant", "provider", "nonce", "mode", "image", "pool", "cards", "most_cards", "from_ms", "until_ms", "assurance", "controls",
        "policy", "provenances", "tariff", "keep", "idle_s",
    }
)  # fmt: skip
_SERVICE = re.compile(r"(?:[0-9a-f]{2})+")


@dataclass(frozen=True, slots=True)
class Tariff:
    """What a card costs, and what the lease may cost at most (0: without limit), in fen."""

    fen_per_card_minute: int
    budget_fen: int

    def __post_init__(self) -> None:
        reading.need(reading.within(self.fen_per_card_minute, self.budget_fen, most=10**12), "tariff")

    def body(self) -> dict[str, Json]:
        """As it stands in an order and in its answer."""
        return {"fen_per_card_minute": self.fen_per_card_minute, "budget_fen": self.budget_fen}

    @classmethod
    def read(cls, value: Json) -> Tariff:
        """Raises ValueError."""
        body = reading.members(value, ("fen_per_card_minute", "budget_fen"))
        return cls(reading.whole(body["fen_per_card_minute"]), reading.whole(body["budget_fen"]))


@dataclass(frozen=True, slots=True)
class Order:
    """What a tenant orders. Member by member: docs/protocols/sandbox.md section 4. controls: names of section 7 in its order."""

    lease: str
    tenant: PartyId
    provider: PartyId
    nonce: str
    mode: str
    image: str
    pool: str
    cards: int
    most_cards: int
    from_ms: int
    until_ms: int
    assurance: str
    controls: tuple[str, ...]
    policy: str
    provenances: tuple[str, ...]
    tariff: Tariff
    keep: bool
    idle_s: int

    def __post_init__(self) -> None:
        reading.party(self.tenant)
        reading.party(self.provider)
        reading.need(self.tenant != self.provider, "tenant and provider are two institutions")
        reading.need(reading.LEASE.fullmatch(self.lease) and reading.HEX32.fullmatch(self.nonce), "lease or nonce")
        reading.need(self.mode in reading.MODES and self.pool in reading.POOLS, "mode or pool")
        reading.need(reading.HEX64.fullmatch(self.image) and self.assurance in reading.ASSURANCES, "image or assurance")
        _need_cards(self.cards, self.most_cards)
        _need_time(self.from_ms, self.until_ms)
        known = tuple(one for one in evidence.CONTROLS if one in self.controls)
        reading.need(self.controls == known, "controls are known names in the order of the document")
        reading.need(self.policy in reading.POLICIES and reading.ascending(self.provenances), "policy or provenances")
        reading.need(set(self.provenances) <= set(reading.PROVENANCES), "provenances are known names")
        reading.need(type(self.keep) is bool and reading.within(self.idle_s, most=86_400), "keep or idle_s")

    def body(self) -> dict[str, Json]:
        """The members, without `v`."""
        return {
            "lease": self.lease, "tenant": self.tenant, "provider": self.provider, "nonce": self.nonce, "mode": self.mode,
            "image": self.image, "pool": self.pool, "cards": self.cards, "most_cards": self.most_cards, "from_ms": self.from_ms,
            "until_ms": self.until_ms, "assurance": self.assurance, "controls": list(self.controls), "policy": self.policy,
            "provenances": list(self.provenances), "tariff": self.tariff.body(), "keep": self.keep, "idle_s": self.idle_s,
        }  # fmt: skip

    @property
    def digest(self) -> str:
        """SM3 of the order without the service key, hexadecimal: what entries share."""
        return reading.digest(format_order(self))


@dataclass(frozen=True, slots=True)
class Change:
    """A lease's further change. number: 1, 2 … of this lease."""

    lease: str
    number: int
    cards: int
    until_ms: int

    def __post_init__(self) -> None:
        reading.need(reading.LEASE.fullmatch(self.lease) and reading.within(self.number, least=1), "lease or number")
        _need_cards(self.cards, self.cards)
        reading.need(reading.within(self.until_ms), "until_ms")


@dataclass(frozen=True, slots=True)
class Release:
    """A lease given back. reason: a sentence of at most 200 characters."""

    lease: str
    reason: str

    def __post_init__(self) -> None:
        reading.need(reading.LEASE.fullmatch(self.lease) and reading.SENTENCE.fullmatch(self.reason), "lease or reason")


@dataclass(frozen=True, slots=True)
class OrderAnswer:
    """What the provider accepted. service: its service-key statement as written."""

    from_ms: int
    until_ms: int
    cards: int
    tariff: Tariff
    service: bytes

    def __post_init__(self) -> None:
        _need_cards(self.cards, self.cards)
        _need_time(self.from_ms, self.until_ms)
        reading.need(0 < len(self.service) <= 2 * servicekey.MAX_BYTES, "service")


@dataclass(frozen=True, slots=True)
class ChangeAnswer:
    """From that second of the lease on."""

    cards: int
    until_ms: int
    at_s: int

    def __post_init__(self) -> None:
        _need_cards(self.cards, self.cards)
        reading.need(reading.within(self.until_ms, self.at_s), "until_ms or at_s")


@dataclass(frozen=True, slots=True)
class ReleaseAnswer:
    """The second of the lease at which no card counted any more."""

    at_s: int

    def __post_init__(self) -> None:
        reading.need(reading.within(self.at_s), "at_s")


def format_order(order: Order) -> bytes:
    """The order by itself: what its digest is of."""
    return reading.write(order.body())


def parse_order(data: bytes) -> Order:
    """Raises VerificationError (LEASE_LETTER)."""
    with reading.refusing(_malformed):
        return _order(reading.read(data, _ORDER))


def format_order_letter(order: Order, service: bytes) -> bytes:
    """Body of `inference.order`. service: the tenant's service-key statement as written."""
    reading.need(0 < len(service) <= 2 * servicekey.MAX_BYTES, "service")
    return reading.write({**order.body(), "service": service.hex()})


def parse_order_letter(data: bytes) -> tuple[Order, bytes]:
    """(the order, the tenant's service-key statement as written, unverified). Raises VerificationError (LEASE_LETTER)."""

    with reading.refusing(_malformed):
        body = reading.read(data, _ORDER | {"service"})
        service = _service(body.pop("service"))
        return _order(body), service


def format_order_answer(answer: OrderAnswer) -> bytes:
    """Answer of `inference.order`."""
    return reading.write(
        {
            "from_ms": answer.from_ms, "until_ms": answer.until_ms, "cards": answer.cards, "tariff": answer.tariff.body(),
            "service": answer.service.hex(),
        }
    )  # fmt: skip


def parse_order_answer(data: bytes) -> OrderAnswer:
    """Raises VerificationError (LEASE_LETTER)."""

    with reading.refusing(_malformed):
        body = reading.read(data, ("from_ms", "until_ms", "cards", "tariff", "service"))
        from_ms, until_ms, cards = reading.wholes_of(body, ("from_ms", "until_ms", "cards"))
        return OrderAnswer(from_ms, until_ms, cards, Tariff.read(body["tariff"]), _service(body["service"]))


def format_change(change: Change) -> bytes:
    """Body of `inference.change`."""
    return reading.write(
        {"lease": change.lease, "number": change.number, "cards": change.cards, "until_ms": change.until_ms}
    )


def parse_change(data: bytes) -> Change:
    """Raises VerificationError (LEASE_LETTER)."""

    with reading.refusing(_malformed):
        body = reading.read(data, ("lease", "number", "cards", "until_ms"))
        return Change(reading.text(body["lease"]), *reading.wholes_of(body, ("number", "cards", "until_ms")))


def format_change_answer(answer: ChangeAnswer) -> bytes:
    """Answer of `inference.change`."""
    return reading.write({"cards": answer.cards, "until_ms": answer.until_ms, "at_s": answer.at_s})


def parse_change_answer(data: bytes) -> ChangeAnswer:
    """Raises VerificationError (LEASE_LETTER)."""

    with reading.refusing(_malformed):
        body = reading.read(data, ("cards", "until_ms", "at_s"))
        return ChangeAnswer(*reading.wholes_of(body, ("cards", "until_ms", "at_s")))


def format_release(release: Release) -> bytes:
    """Body of `inference.release`, and of the call `sandbox/release`."""
    return reading.write({"lease": release.lease, "reason": release.reason})


def parse_release(data: bytes) -> Release:
    """Raises VerificationError (LEASE_LETTER)."""

    with reading.refusing(_malformed):
        body = reading.read(data, ("lease", "reason"))
        return Release(reading.text(body["lease"]), reading.text(body["reason"]))


def format_release_answer(answer: ReleaseAnswer) -> bytes:
    """Answer of `inference.release`."""
    return reading.write({"at_s": answer.at_s})


def parse_release_answer(data: bytes) -> ReleaseAnswer:
    """Raises VerificationError (LEASE_LETTER)."""
    with reading.refusing(_malformed):
        return ReleaseAnswer(reading.whole(reading.read(data, ("at_s",))["at_s"]))


def _order(body: reading.Body) -> Order:
    return Order(
        lease=reading.text(body["lease"]),
        tenant=PartyId(reading.text(body["tenant"])),
        provider=PartyId(reading.text(body["provider"])),
        nonce=reading.text(body["nonce"]),
        mode=reading.text(body["mode"]),
        image=reading.text(body["image"]),
        pool=reading.text(body["pool"]),
        cards=reading.whole(body["cards"]),
        most_cards=reading.whole(body["most_cards"]),
        from_ms=reading.whole(body["from_ms"]),
        until_ms=reading.whole(body["until_ms"]),
        assurance=reading.text(body["assurance"]),
        controls=reading.texts(body["controls"], most=len(evidence.CONTROLS)),
        policy=reading.text(body["policy"]),
        provenances=reading.texts(body["provenances"], most=len(reading.PROVENANCES)),
        tariff=Tariff.read(body["tariff"]),
        keep=reading.flag(body["keep"]),
        idle_s=reading.whole(body["idle_s"]),
    )


def _service(value: Json) -> bytes:
    text = reading.text(value)
    reading.need(len(text) <= 4 * servicekey.MAX_BYTES and _SERVICE.fullmatch(text), "service")
    return bytes.fromhex(text)


def _need_cards(cards: int, most_cards: int) -> None:
    reading.need(reading.within(cards, most_cards, least=1, most=MAX_CARDS) and cards <= most_cards, "cards")


def _need_time(from_ms: int, until_ms: int) -> None:
    reading.need(reading.within(from_ms, until_ms) and 0 < until_ms - from_ms <= MAX_LEASE_MS, "at most 24 hours")


def _malformed() -> VerificationError:
    return VerificationError(
        "租约信函的内容格式不对，未予办理；请双方运维人员核对版本",
        "the content of a letter about a lease is malformed: nothing was done, operators of both ends compare versions",
        code="LEASE_LETTER",
    )

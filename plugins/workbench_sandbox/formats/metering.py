"""Meters that both ends sign, what a tenant says against one, and the statement of account: docs/protocols/sandbox.md section 9."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from workbench.channel.terms import Signer
from workbench.crypto.sm2 import SIGNATURE_SIZE, PublicKey
from workbench.domain.party import PartyId
from workbench.errors import VerificationError
from workbench_sandbox.formats import reading

TICK, AGREED, DIFFERS, STATEMENT = "meter-tick", "meter-agreed", "meter-differs", "meter-statement"
REASONS = ("seconds", "cards", "asks", "chain", "unknown")
DIFFERENCES = ("ticks", "root", "card_seconds", "agreed_card_seconds", "fen_per_card_minute", "amount_fen")
"""Members of a statement of account that a tenant may find to differ, in their order."""
MAX_BYTES = 4_096

_NUMBERS = (
    "number", "from_s", "to_s", "cards", "card_seconds", "total_card_seconds", "asks", "tokens_in", "tokens_out", "bytes_in", "bytes_out",
)  # fmt: skip
_ACCOUNT = ("ticks", "card_seconds", "agreed_card_seconds", "fen_per_card_minute", "amount_fen")


@dataclass(frozen=True, slots=True)
class Tick:
    """Seconds from_s to to_s of a lease. previous: SM3 of the tick before, "" in the first; asks, tokens, bytes: of this tick."""

    lease: str
    number: int
    from_s: int
    to_s: int
    cards: int
    card_seconds: int
    total_card_seconds: int
    asks: int
    tokens_in: int
    tokens_out: int
    bytes_in: int
    bytes_out: int
    previous: str

    def __post_init__(self) -> None:
        reading.need(reading.LEASE.fullmatch(self.lease) and reading.DIGEST_OR_EMPTY.fullmatch(self.previous), "lease")
        reading.need(reading.within(*(getattr(self, one) for one in _NUMBERS)) and self.number >= 1, "numbers")
        reading.need((self.number == 1) == (self.previous == ""), "only the first has nothing before it")
        reading.need(self.from_s <= self.to_s, "seconds")
        reading.need(
            self.card_seconds == self.cards * (self.to_s - self.from_s), "card-seconds are cards times seconds"
        )
        reading.need(self.card_seconds <= self.total_card_seconds, "the total holds this tick")

    @property
    def encoded(self) -> bytes:
        """The canonical bytes that both ends sign."""
        body = reading.body_of(self, _NUMBERS)
        return reading.write({"lease": self.lease, **body, "previous": self.previous}, TICK)

    @property
    def digest(self) -> str:
        """SM3, hexadecimal: what the next tick names."""
        return reading.digest(self.encoded)


@dataclass(frozen=True, slots=True)
class View:
    """What a tenant counted where it does not agree. tick: SM3 of the tick, hexadecimal."""

    tick: str
    card_seconds: int
    total_card_seconds: int
    asks: int
    reason: str

    def __post_init__(self) -> None:
        reading.need(reading.HEX64.fullmatch(self.tick) and self.reason in REASONS, "tick or reason")
        reading.need(reading.within(self.card_seconds, self.total_card_seconds, self.asks), "counts")

    @property
    def encoded(self) -> bytes:
        """The canonical bytes that the tenant signs."""
        return reading.write(
            {
                "tick": self.tick, "card_seconds": self.card_seconds, "total_card_seconds": self.total_card_seconds,
                "asks": self.asks, "reason": self.reason,
            }
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class TickReply:
    """A tenant's reply: agreed, or its own view. signature: of the tenant's service key over the tick, or over the view."""

    view: View | None
    signature: bytes

    @property
    def agreed(self) -> bool:
        """Whether the tenant agrees."""
        return self.view is None


@dataclass(frozen=True, slots=True)
class Statement:
    """The account of one lease. root: SM3 over the ticks' SM3 in order; amount_fen = floor(agreed seconds · price / 60)."""

    lease: str
    ticks: int
    root: str
    card_seconds: int
    agreed_card_seconds: int
    fen_per_card_minute: int
    amount_fen: int

    def __post_init__(self) -> None:
        reading.need(reading.LEASE.fullmatch(self.lease) and reading.HEX64.fullmatch(self.root), "lease or root")
        reading.need(reading.within(*(getattr(self, one) for one in _ACCOUNT)), "numbers")
        reading.need(self.agreed_card_seconds <= self.card_seconds, "agreed seconds are some of all")
        reading.need(self.amount_fen == self.agreed_card_seconds * self.fen_per_card_minute // 60, "the amount")


# ---------------------------------------------------------------------------------------------------------------- ticks


def sign_tick(tick: Tick, *, provider: PartyId, key: Signer) -> bytes:
    """LV4(tick) ‖ signature: the request of `sandbox/tick`. key: the provider's service key. Cost: 0.4 ms."""
    encoded = tick.encoded
    return reading.lv4(encoded) + reading.sign(TICK, party=provider, job=tick.lease, body=encoded, key=key)


def parse_tick(raw: bytes) -> tuple[Tick, bytes]:
    """(tick, signature), nothing verified. Raises VerificationError (TICK_REFUSED)."""

    with reading.refusing(tick_refused):
        encoded, signature, rest = reading.split_signed(raw, most=MAX_BYTES)
        reading.need(not rest, "bytes after the end")
        return _tick(encoded), signature


def verify_tick(raw: bytes, *, provider: PartyId, lease: str, service_key: PublicKey) -> Tick:
    """The tick that the provider of this lease signed. Raises VerificationError (TICK_REFUSED). Cost: 0.75 ms."""
    tick, signature = parse_tick(raw)
    if tick.lease != lease:
        raise tick_refused()
    _verified(TICK, provider, tick.lease, tick.encoded, service_key, signature)
    return tick


def sign_agreed(tick: Tick, *, tenant: PartyId, key: Signer) -> bytes:
    """The reply `u8 1 ‖ signature`. key: the tenant's service key."""
    return b"\x01" + reading.sign(AGREED, party=tenant, job=tick.lease, body=tick.encoded, key=key)


def sign_differs(tick: Tick, view: View, *, tenant: PartyId, key: Signer) -> bytes:
    """The reply `u8 2 ‖ LV4(view) ‖ signature`. Raises ValueError for a view of another tick."""
    reading.need(view.tick == tick.digest, "a view of another tick")
    encoded = view.encoded
    return b"\x02" + reading.lv4(encoded) + reading.sign(DIFFERS, party=tenant, job=tick.lease, body=encoded, key=key)


def verify_reply(raw: bytes, *, tick: Tick, tenant: PartyId, service_key: PublicKey) -> TickReply:
    """The tenant's reply to this tick. Raises VerificationError (TICK_REFUSED). Cost: 0.75 ms."""

    with reading.refusing(tick_refused):
        cursor = reading.Cursor(raw)
        number = cursor.number(1)
        reading.need(number in (1, 2), "no known reply")
        view = _view(cursor.lv4(most=MAX_BYTES)) if number == 2 else None
        reply = TickReply(view, cursor.take(SIGNATURE_SIZE))
        cursor.end()
        reading.need(view is None or view.tick == tick.digest, "a view of another tick")
    kind, body = (AGREED, tick.encoded) if reply.view is None else (DIFFERS, reply.view.encoded)
    _verified(kind, tenant, tick.lease, body, service_key, reply.signature)
    return reply


# ---------------------------------------------------------------------------------------------------------- statements


def make_statement(
    ticks: Sequence[Tick], *, lease: str, agreed_card_seconds: int, fen_per_card_minute: int
) -> Statement:
    """The account of a lease from all of its ticks. Raises ValueError where they are not one chain of this lease."""
    previous, total = "", 0
    for number, one in enumerate(ticks, 1):
        total += one.card_seconds
        fits = (one.lease, one.number, one.previous, one.total_card_seconds) == (lease, number, previous, total)
        reading.need(fits, "the ticks are not one chain")
        previous = one.digest
    return Statement(
        lease, len(ticks), reading.root(one.digest for one in ticks), total, agreed_card_seconds, fen_per_card_minute,
        agreed_card_seconds * fen_per_card_minute // 60,
    )  # fmt: skip


def format_statement(value: Statement) -> bytes:
    """Body of the letter `inference.statement`."""
    numbers = reading.body_of(value, _ACCOUNT)
    return reading.write({"lease": value.lease, "root": value.root, **numbers}, STATEMENT)


def parse_statement(data: bytes) -> Statement:
    """Raises VerificationError (STATEMENT_REFUSED)."""
    with reading.refusing(statement_refused):
        body = reading.read(data, ("lease", "root", *_ACCOUNT), STATEMENT)
        ticks, seconds, agreed, price, amount = reading.wholes_of(body, _ACCOUNT)
        return Statement(reading.text(body["lease"]), ticks, reading.text(body["root"]), seconds, agreed, price, amount)


def format_statement_answer(differences: Sequence[str]) -> bytes:
    """Answer of `inference.statement`: agreed where nothing differs. differences: names of DIFFERENCES, in that order."""
    reading.need(list(differences) == [one for one in DIFFERENCES if one in differences], "differences in order")
    return reading.write({"agreed": not differences, "differences": list(differences)})


def parse_statement_answer(data: bytes) -> tuple[str, ...]:
    """What differs; nothing where the tenant agrees. Raises VerificationError (STATEMENT_REFUSED)."""
    with reading.refusing(statement_refused):
        body = reading.read(data, ("agreed", "differences"))
        differences = reading.texts(body["differences"], most=len(DIFFERENCES))
        reading.need(differences == tuple(one for one in DIFFERENCES if one in differences), "differences in order")
        reading.need(reading.flag(body["agreed"]) == (not differences), "agreed where nothing differs")
        return differences


# -------------------------------------------------------------------------------------------------------- both of them


def follows(tick: Tick, before: Tick | None) -> bool:
    """Whether it continues the chain."""
    if before is None:
        return (tick.number, tick.from_s, tick.previous, tick.total_card_seconds) == (1, 0, "", tick.card_seconds)
    return (
        tick.lease == before.lease and tick.number == before.number + 1 and tick.from_s == before.to_s and tick.previous == before.digest
        and tick.total_card_seconds == before.total_card_seconds + tick.card_seconds
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answered:
    """A tick and what came of it. agreed_card_seconds: what both count of it: all of an agreed one, the smaller of a differing one."""

    tick: Tick
    agreed_card_seconds: int
    differs: bool


def agreed_of(tick: Tick, view: View | None) -> int:
    """Card-seconds of a tick that both ends count."""
    return tick.card_seconds if view is None else min(tick.card_seconds, view.card_seconds)


def differences(theirs: Statement, own: Statement) -> list[str]:
    """Members in which a statement is not what this end makes of its own ticks, in the order of the format."""
    return [one for one in DIFFERENCES if getattr(theirs, one) != getattr(own, one)]


def tick_refused() -> VerificationError:
    """The refusal of a tick or of its reply: nothing is counted by it."""
    return VerificationError(
        "计量记录的格式、归属或签名不对，未计入；请双方运维人员核对",
        "a meter reading is malformed, of another lease or not signed by the other end: it was not counted, operators of both ends compare",
        code="TICK_REFUSED",
    )


def statement_refused() -> VerificationError:
    """The refusal of a statement of account."""
    return VerificationError(
        "算力账单的格式不对或金额不符，未予确认；请双方运维人员核对",
        "a statement of account is malformed or its amount does not follow from it: it was not accepted, operators of both ends compare",
        code="STATEMENT_REFUSED",
    )


def _tick(encoded: bytes) -> Tick:
    body = reading.read(encoded, ("lease", *_NUMBERS, "previous"), TICK)
    lease, previous = reading.text(body["lease"]), reading.text(body["previous"])
    number, from_s, to_s, cards, seconds, total, *rest = reading.wholes_of(body, _NUMBERS)
    asks, tokens_in, tokens_out, bytes_in, bytes_out = rest
    return Tick(
        lease, number, from_s, to_s, cards, seconds, total, asks, tokens_in, tokens_out, bytes_in, bytes_out, previous
    )


def _view(encoded: bytes) -> View:
    body = reading.read(encoded, ("tick", "card_seconds", "total_card_seconds", "asks", "reason"))
    seconds, total, asks = reading.wholes_of(body, ("card_seconds", "total_card_seconds", "asks"))
    return View(reading.text(body["tick"]), seconds, total, asks, reading.text(body["reason"]))


def _verified(kind: str, party: PartyId, lease: str, body: bytes, key: PublicKey, signature: bytes) -> None:
    with reading.refusing(tick_refused):
        reading.verify(kind, party=party, job=lease, body=body, key=key, signature=signature)

"""Lines, ids, states and what the calls of the key store give back. Pure.

Document: docs/protocols/key-delivery.md sections 1 and 2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from uuid import UUID, uuid5

from workbench.crypto import kdf
from workbench.errors import InvalidRequest

ROOT = UUID("6960b6a7-35ce-4301-9ac5-b073aa8cb494")
KEY_BYTES = 32
KEY_BITS = 8 * KEY_BYTES
MIN_KEY_BITS = 64
MAX_BLOCK = 2**53 - 1
MAX_KEYS_OF_BLOCK = 1 << 20
CHECK_BYTES = 16
POOLS = (0, 1)

_LINE = re.compile(r"[a-z][a-z0-9-]{1,30}")
_TAG = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")
_ENTITY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PURPOSE = re.compile(r"[a-z][a-z0-9-]{0,30}")
_REFERENCE = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}")


class Provenance(StrEnum):
    """Where a key comes from; shown wherever the key is shown. A simulated key is never called quantum."""

    SIMULATED = "simulated"
    DEVICE_014 = "device-014"
    IMPORTED = "imported"

    @property
    def code(self) -> int:
        """The byte that stands for it in formats."""
        return _PROVENANCE_CODES[self]


_PROVENANCE_CODES = {Provenance.SIMULATED: 1, Provenance.DEVICE_014: 2, Provenance.IMPORTED: 3}


class State(IntEnum):
    """Where a key stands at this end. The numbers are those of the database and never change."""

    GENERATED = 1
    STORED = 2
    RESERVED = 3
    DELIVERED = 4
    CONSUMED = 5
    DESTROYED = 6
    EXPIRED = 7
    REVOKED = 8
    QUARANTINED = 9


_SIDE = frozenset({State.EXPIRED, State.REVOKED, State.QUARANTINED})
STEPS: dict[State, frozenset[State]] = {
    State.GENERATED: _SIDE | {State.STORED, State.DESTROYED},
    State.STORED: _SIDE | {State.RESERVED, State.DESTROYED},
    State.RESERVED: _SIDE | {State.DELIVERED, State.DESTROYED},
    State.DELIVERED: frozenset({State.CONSUMED, State.REVOKED, State.DESTROYED}),
    State.CONSUMED: frozenset({State.REVOKED, State.DESTROYED}),
    State.DESTROYED: frozenset(),
    State.EXPIRED: frozenset(),
    State.REVOKED: frozenset(),
    State.QUARANTINED: frozenset(),
}
"""Every step there is: docs/protocols/key-delivery.md section 1."""


def sources_of(target: State) -> tuple[State, ...]:
    """The states from which a key may come to `target`, in order."""
    return tuple(state for state in State if target in STEPS[state])


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Place of a key on its line: block, then index."""

    block: int
    index: int

    @property
    def pool(self) -> int:
        """0: masters at the sender's site; 1: masters at the receiver's."""
        return self.index & 1


@dataclass(frozen=True, slots=True)
class Line:
    """One line as this end sees it.

    name: the same at both ends. sender, receiver: ids of the two KMEs. own: which of the two this end is.
    low_water: alarm below this many free keys of a pool. kept_back: keys of a pool that ordinary SAEs do not get.
    max_keys: at most this many keys GENERATED or STORED. lifetime_ms: how long a key lives from its block's arrival.
    reservation_ms: how long a reserved key waits for its slaves. tenant: tag of whom the line belongs to, "" for none.
    Raises ValueError for other spellings.
    """

    name: str
    sender: str
    receiver: str
    own: str
    low_water: int = 64
    kept_back: int = 0
    max_keys: int = 1_100_000
    lifetime_ms: int = 30 * 24 * 3_600_000
    reservation_ms: int = 10 * 60_000
    tenant: str = ""

    def __post_init__(self) -> None:
        if not _LINE.fullmatch(self.name):
            raise ValueError("the name of a line is 2 to 31 lower-case letters, digits and dashes")
        if not (_ENTITY.fullmatch(self.sender) and _ENTITY.fullmatch(self.receiver)) or self.sender == self.receiver:
            raise ValueError("a line joins two KMEs with different ids of letters, digits and . _ -")
        if self.own not in (self.sender, self.receiver):
            raise ValueError("this end is the sender's or the receiver's")
        if self.tenant and not is_tag(self.tenant):
            raise ValueError("the tag of a tenant is 1 to 31 lower-case letters, digits and dashes")
        if min(self.low_water, self.kept_back) < 0 or min(self.max_keys, self.lifetime_ms, self.reservation_ms) < 1:
            raise ValueError("limits of a line are positive")

    @property
    def peer(self) -> str:
        """The KME at the other end."""
        return self.receiver if self.own == self.sender else self.sender

    @property
    def pool(self) -> int:
        """The pool whose masters are at this end."""
        return 0 if self.own == self.sender else 1

    @property
    def namespace(self) -> UUID:
        """The namespace of the line's key ids."""
        return namespace_of(self.name, self.sender, self.receiver, tenant=self.tenant)


def is_tag(text: str) -> bool:
    """Whether this is the tag of a tenant; no tag at all, "", is none."""
    return _TAG.fullmatch(text) is not None


def namespace_of(name: str, sender: str, receiver: str, *, tenant: str = "") -> UUID:
    """Namespace of the key ids of a line; the same at both ends, and another one for every tenant."""
    parts = (name, sender, receiver, tenant) if tenant else (name, sender, receiver)
    return uuid5(ROOT, "\n".join(parts))


def key_id(namespace: UUID, block: int, index: int) -> UUID:
    """Id of a key: computed at both ends, never sent before it is used. Cost: 2 microseconds."""
    return uuid5(namespace, f"{block}/{index}")


def mix_of(identifier: bytes) -> int:
    """What a key adds to the sum by which two ends compare their stocks: the first 32 bits of its id."""
    return int.from_bytes(identifier[:4], "big")


def block_check(namespace: UUID, block: int, provenance: Provenance, key: bytes | bytearray) -> bytes:
    """16 bytes that agree at both ends exactly when the block does: docs/protocols/key-delivery.md section 2."""
    count = len(key) // KEY_BYTES
    context = namespace.bytes + block.to_bytes(8, "big") + count.to_bytes(4, "big") + bytes([provenance.code])
    return kdf.derive(bytes(key), "kme/block-check", context=context, length=CHECK_BYTES)


@dataclass(frozen=True, slots=True)
class BlockAdded:
    """A block that was taken in. count: keys; destroyed: of them not kept, because the mark lies above them."""

    line: str
    block: int
    count: int
    destroyed: int
    check: bytes


@dataclass(frozen=True, slots=True)
class Reservation:
    """Keys set aside for one master and its slaves. Values are not in it. low: the pool is below its low-water mark.

    size: bits of each key, 64 to 256; a shorter key is the beginning of a stored one.
    """

    line: str
    key_ids: tuple[UUID, ...]
    size: int
    master: str
    slaves: tuple[str, ...]
    provenance: tuple[Provenance, ...] = ()
    low: bool = False


@dataclass(slots=True)
class KeyValue:
    """A key on its way out. value: overwrite it with `wipe` once it is delivered."""

    key_id: UUID
    value: bytearray = field(repr=False)
    provenance: Provenance
    line: str
    block: int
    index: int

    def wipe(self) -> None:
        """Overwrite the value."""
        self.value[:] = bytes(len(self.value))


@dataclass(frozen=True, slots=True)
class KeyView:
    """A key without its value. times_ms: state name -> when; master and slaves: empty before it was reserved."""

    key_id: UUID
    line: str
    block: int
    index: int
    pool: int
    state: State
    provenance: Provenance
    size: int
    master: str
    slaves: tuple[str, ...]
    expires_ms: int
    times_ms: dict[str, int]


@dataclass(frozen=True, slots=True)
class LeakUse:
    """One thing a key was used for. reference: an id, never content."""

    time_ms: int
    sae: str
    purpose: str
    reference: str


@dataclass(frozen=True, slots=True)
class LeakReport:
    """What a key protected: exactly the recorded uses. given: role -> when the value left this end.

    siblings: other keys of the same block.
    """

    key: KeyView
    given: dict[str, int]
    uses: tuple[LeakUse, ...]
    siblings: int


@dataclass(frozen=True, slots=True)
class Changed:
    """What a revocation or quarantine did: keys changed, and the references of what they had been used for."""

    count: int
    key_ids: tuple[UUID, ...] = ()
    references: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LineStatus:
    """A line's stock at this end. stock: (pool, state) -> keys. available: free keys of the own pool.

    low: the own pool is below its low-water mark. confirmed: values may leave. suspects: blocks that differ from the
    other end's. clock_behind_ms: how far the clock lies behind the latest time seen.
    """

    line: str
    stock: dict[tuple[int, State], int]
    available: int
    low: bool
    low_water: int
    confirmed: bool
    suspects: tuple[int, ...]
    older_copy: bool
    next_block: int
    pointers: tuple[Position | None, Position | None]
    clock_behind_ms: int


def check_entity(name: str, *, what: str) -> str:
    """`name` when it is an id of an SAE, person or device. Raises InvalidRequest."""
    if not _ENTITY.fullmatch(name):
        raise InvalidRequest(
            f"{what}的标识须为 1 至 64 个字母、数字或 . _ -", f"an id of a {what} has 1 to 64 letters, digits and . _ -"
        )
    return name


def check_use(purpose: str, reference: str) -> None:
    """Return if both have the permitted form. Raises InvalidRequest."""
    if not _PURPOSE.fullmatch(purpose) or not _REFERENCE.fullmatch(reference):
        raise InvalidRequest(
            "密钥用途须为小写名称，引用须为编号（字母、数字和 . _ : / -，至少一个字母），不得写内容",
            "the purpose is a lower-case name, the reference an id with at least one letter; never content",
            code="USE_MALFORMED",
        )


def check_reason(reason: str) -> None:
    """Return if a person's reason may be kept: 1 to 200 printable characters. Raises InvalidRequest."""
    if not 1 <= len(reason) <= 200 or not reason.isprintable():
        raise InvalidRequest(
            "须写明理由，1 至 200 个可显示字符", "a reason has 1 to 200 printable characters", code="REASON_MALFORMED"
        )

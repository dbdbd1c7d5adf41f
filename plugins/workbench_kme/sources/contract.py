"""What a source of keys is to the service. Document: docs/protocols/key-delivery.md section 9."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from workbench.crypto import random

if TYPE_CHECKING:
    from workbench_kme.distill import AuthenticationPool, BlockResult


class SourceWaiting(Exception):
    """The source has nothing to give now; asked again later. Not an error."""


@dataclass(frozen=True, slots=True)
class SourceContext:
    """What a source is given once, at this end of a line.

    options: of the line's configuration. folder: the site's. seed: the line's 32 secret bytes, or empty. was_used,
    use_once: a memory that outlives the process; use_once writes a name down for ever and is False when it was there.
    """

    line: str
    is_sender: bool
    options: Mapping[str, Any]
    folder: Path
    seed: bytes = field(repr=False)
    was_used: Callable[[str], bool]
    use_once: Callable[[str], bool]
    tenant: str = ""


@dataclass(frozen=True, slots=True)
class BlockTask:
    """One block at one end. nonces: 16 bytes of the sender's end, then 16 of the receiver's. pulses: 0 where unknown.

    eavesdropper: kind and millionths of the pulses; ("", 0) for none. pool: for the tags of the messages.
    """

    block: int
    pulses: int
    nonces: bytes
    eavesdropper: tuple[str, int]
    pool: AuthenticationPool = field(repr=False)
    random: random.RandomSource


class BlockMachine(Protocol):
    """One end of one block: bytes in, bytes out (docs/protocols/qkd.md section 5)."""

    @property
    def result(self) -> BlockResult | None:
        """What came of it, as soon as it is known at this end."""

    def begin(self) -> list[bytes]:
        """The first messages of this end."""

    def receive(self, message: bytes) -> list[bytes]:
        """Take a message of the other end; the answers. Never raises for what a message says: the block aborts."""


class KeySource(Protocol):
    """A kind of source. Its class is called with a `SourceContext`; raises ValueError for options that do not fit."""

    name: ClassVar[str]
    provenance: ClassVar[str]
    """One of `simulated`, `device-014`, `imported`: what every key of it is called for ever."""
    simulates: ClassVar[bool]
    """Whether an eavesdropper can be put on the line."""

    @property
    def preset(self) -> str:
        """Name of the modelled line, or ""."""

    @property
    def clock_hz(self) -> float:
        """Pulses a second of the line, 0 where unknown."""

    def pulses(self) -> int:
        """Pulses of the next block (asked at the sender's end); 0 where unknown. Raises SourceWaiting."""

    def machine(self, task: BlockTask) -> BlockMachine:
        """This end of a block. Raises SourceWaiting."""

    def keys_stored(self, block: int) -> None:
        """The keys of the block are in stock at this end."""

    def close(self) -> None:
        """Let go of what is held."""

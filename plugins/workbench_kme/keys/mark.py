"""The mark 高水位标记 beside the database: what an older copy of the database cannot know.

Document: docs/protocols/key-delivery.md section 2.1. It belongs in no backup of the database. Thread-safe.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from workbench.crypto import canonical
from workbench.errors import StorageFailed, VerificationError
from workbench_kme.devices import Session
from workbench_kme.keys.model import MAX_BLOCK, MAX_KEYS_OF_BLOCK, Position

HEADER = b"workbench/v1/kme/mark\n"
STORE_BYTES = 16
AHEAD = 256
"""Keys of a pool that the mark runs ahead, so that most deliveries write nothing."""

Pointers = tuple[Position | None, Position | None]
_FIELDS = frozenset({"clean", "generation", "pools", "time_ms", "v"})


@dataclass(frozen=True, slots=True)
class Mark:
    """What is known beside the database. generation: a database with fewer changes is an older copy.

    pools: line -> for each pool the position up to which keys may have left. clean: closed in good order.
    """

    clean: bool
    generation: int
    pools: Mapping[str, Pointers]
    time_ms: int


def format_mark(mark: Mark, store: bytes, session: Session) -> bytes:
    """The bytes of the file. store: the id of the store, 16 bytes."""
    pools: dict[str, canonical.Json] = {
        line: [None if one is None else [one.block, one.index] for one in pair] for line, pair in mark.pools.items()
    }
    body = canonical.format(
        {"clean": mark.clean, "generation": mark.generation, "pools": pools, "time_ms": mark.time_ms, "v": 1}
    )
    return HEADER + store + session.wrap("mark", body, store)


def parse_mark(data: bytes, store: bytes, session: Session) -> Mark:
    """The mark of this store. Raises VerificationError: altered, or of another store or device."""
    if data[: len(HEADER) + STORE_BYTES] != HEADER + store:
        raise VerificationError(
            "高水位标记属于另一密钥库", "the mark belongs to another key store", code="MARK_FOREIGN"
        )
    value = canonical.parse_object(bytes(session.unwrap("mark", data[len(HEADER) + STORE_BYTES :], store)))
    try:
        pools = value["pools"]
        if set(value) != _FIELDS or value["v"] != 1 or type(value["clean"]) is not bool or not isinstance(pools, dict):
            raise ValueError("not a mark")
        return Mark(
            value["clean"],
            _whole(value["generation"]),
            {line: parse_pointers(pair) for line, pair in pools.items()},
            _whole(value["time_ms"]),
        )
    except (ValueError, KeyError) as error:
        raise VerificationError("高水位标记的内容不符", "the mark does not hold", code="MARK_FOREIGN") from error


def parse_pointers(value: canonical.Json) -> Pointers:
    """[[block, index] | null, [block, index] | null]. Raises ValueError."""
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError("two pools")
    first, second = (_position(one, pool) for pool, one in enumerate(value))
    return first, second


def _position(value: canonical.Json, pool: int) -> Position | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError("a position is a block and an index")
    position = Position(_whole(value[0]), _whole(value[1]))
    # The mark runs ahead of the last key of a block, so an index may lie beyond it.
    if position.block > MAX_BLOCK or position.index > MAX_KEYS_OF_BLOCK + 2 * AHEAD or position.pool != pool:
        raise ValueError("no such position")
    return position


def _whole(value: canonical.Json) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("a whole number")
    return value


class MarkKeeper:
    """The mark of an open store: raises it before values leave, writes it whole each time.

    path: the file. Raises StorageFailed when the disk refuses; the caller then gives nothing out.
    """

    def __init__(self, path: Path, store: bytes, session: Session, mark: Mark) -> None:
        self._path, self._store, self._session = path, store, session
        self._lock = threading.Lock()
        self._mark = mark

    @property
    def mark(self) -> Mark:
        """The mark as it stands on disk."""
        return self._mark

    def cover(self, line: str, positions: Iterable[Position], *, generation: int, time_ms: int) -> None:
        """Return when the mark lies at or above every position. Mostly without a write."""
        with self._lock:
            pair = list(self._mark.pools.get(line, (None, None)))
            ahead = False
            for one in positions:
                current = pair[one.pool]
                if current is None or one > current:
                    pair[one.pool] = Position(one.block, one.index + 2 * AHEAD)
                    ahead = True
            if ahead:
                pools = {**self._mark.pools, line: (pair[0], pair[1])}
                self._write(replace(self._mark, pools=pools), generation, time_ms)

    def note(self, *, generation: int, time_ms: int, clean: bool = False) -> None:
        """Write the generation: a copy of the database from before it is then known as older."""
        with self._lock:
            self._write(replace(self._mark, clean=clean), generation, time_ms)

    def use(self, session: Session) -> None:
        """Seal the mark with another device from now on."""
        with self._lock:
            self._session = session

    def restart_clock(self, *, generation: int, time_ms: int) -> None:
        """As `note`, with a time that may lie before the mark's: a clock that had run ahead was put right."""
        with self._lock:
            self._write(replace(self._mark, time_ms=0), generation, time_ms)

    def _write(self, mark: Mark, generation: int, time_ms: int) -> None:
        mark = replace(mark, generation=max(mark.generation, generation), time_ms=max(mark.time_ms, time_ms))
        staged = self._path.with_name(self._path.name + ".new")
        try:
            with suppress(FileNotFoundError):
                staged.unlink()
            with os.fdopen(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as out:
                out.write(format_mark(mark, self._store, self._session))
                out.flush()
                os.fsync(out.fileno())
            os.replace(staged, self._path)
            folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise StorageFailed(
                "高水位标记写不下，密钥没有交出：运维人员检查磁盘",
                "the mark could not be written and no key was given out: operators check the disk",
                code="MARK_NOT_WRITTEN",
            ) from error
        self._mark = mark

"""The mark 高水位标记 beside the database: what an older copy of the database cannot know.

Document: docs/protocols/key-delivery.md section 2.1. It belongs in no backup of the database. Thread-safe.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from workbench.crypto import canonical
from workbench.errors import StorageFailed, VerificationError
from workbench_kme.devices import DeviceAccess
from workbench_kme.keys.model import MAX_BLOCK, MAX_KEYS_OF_BLOCK, Position

HEADER = b"workbench/v1/kme/mark\n"
STORE_BYTES = 16
AHEAD = 256
"""Keys of a pool that the mark runs ahead, so that most deliveries write nothing."""

Pointers = tuple[Position | None, Position | None]
Place = tuple[int, int]
"""Segment and offset in one direction of an authentication pool."""
START: Place = (0, 0)
_VERSION = 2
_FIELDS = frozenset({"charges", "clean", "generation", "lost", "pools", "retired", "secrets", "time_ms", "v"})
_ID = re.compile(r"[0-9a-f]{32}")
_MOST_SEGMENT = MAX_BLOCK + 1


@dataclass(frozen=True, slots=True)
class SecretUse:
    """How far an authentication secret of a line may have been used. secret: its id, 32 hexadecimal digits."""

    secret: str
    sender: Place = START
    receiver: Place = START

    @property
    def is_fresh(self) -> bool:
        """Whether no message can have left under it."""
        return (self.sender, self.receiver) == (START, START)


@dataclass(frozen=True, slots=True)
class Mark:
    """What is known beside the database. generation: a database with fewer changes is an older copy.

    pools: line -> for each pool the position up to which keys may have left. clean: closed in good order.
    secrets: line -> the authentication secret in use. retired: ids of those that no line may use any more. charges: ids
    of the charge pools there ever were. lost: an earlier mark did not hold, so a secret that this one does not know may
    have been used.
    """

    clean: bool
    generation: int
    pools: Mapping[str, Pointers]
    time_ms: int
    secrets: Mapping[str, SecretUse] = field(default_factory=dict)
    retired: frozenset[str] = frozenset()
    charges: frozenset[str] = frozenset()
    lost: bool = False

    @property
    def all_secrets(self) -> frozenset[str]:
        """Ids of all secrets that were ever in use."""
        return self.retired | {one.secret for one in self.secrets.values()}


def format_mark(mark: Mark, store: bytes, session: DeviceAccess) -> bytes:
    """The bytes of the file. store: the id of the store, 16 bytes."""
    pools: dict[str, canonical.Json] = {
        line: [None if one is None else [one.block, one.index] for one in pair] for line, pair in mark.pools.items()
    }
    secrets: dict[str, canonical.Json] = {
        line: [one.secret, list(one.sender), list(one.receiver)] for line, one in mark.secrets.items()
    }
    body = canonical.format(
        {
            "charges": list[canonical.Json](sorted(mark.charges)),
            "clean": mark.clean,
            "generation": mark.generation,
            "lost": mark.lost,
            "pools": pools,
            "retired": list[canonical.Json](sorted(mark.retired)),
            "secrets": secrets,
            "time_ms": mark.time_ms,
            "v": _VERSION,
        }
    )
    return HEADER + store + session.wrap("mark", body, store)


def store_of(data: bytes) -> bytes:
    """The id of the store that a mark says it belongs to; bytes of another length where it is no mark."""
    return data[len(HEADER) : len(HEADER) + STORE_BYTES] if data.startswith(HEADER) else b""


def parse_mark(data: bytes, store: bytes, session: DeviceAccess) -> Mark:
    """The mark of this store. Raises VerificationError: altered, or of another store or device."""
    if data[: len(HEADER) + STORE_BYTES] != HEADER + store:
        raise VerificationError(
            "高水位标记属于另一密钥库", "the mark belongs to another key store", code="MARK_FOREIGN"
        )
    value = canonical.parse_object(bytes(session.unwrap("mark", data[len(HEADER) + STORE_BYTES :], store)))
    try:
        pools, secrets = value["pools"], value["secrets"]
        is_mark = set(value) == _FIELDS and value["v"] == _VERSION
        if not is_mark or not isinstance(pools, dict) or not isinstance(secrets, dict):
            raise ValueError("not a mark")
        return Mark(
            _flag(value["clean"]),
            _whole(value["generation"]),
            {line: parse_pointers(pair) for line, pair in pools.items()},
            _whole(value["time_ms"]),
            {line: _secret_use(one) for line, one in secrets.items()},
            _ids(value["retired"]),
            _ids(value["charges"]),
            _flag(value["lost"]),
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


def _flag(value: canonical.Json) -> bool:
    if type(value) is not bool:
        raise ValueError("true or false")
    return value


def _id(value: canonical.Json) -> str:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise ValueError("an id of 32 hexadecimal digits")
    return value


def _ids(value: canonical.Json) -> frozenset[str]:
    if not isinstance(value, list) or len(set(found := [_id(one) for one in value])) != len(found):
        raise ValueError("a list of ids, each once")
    return frozenset(found)


def _secret_use(value: canonical.Json) -> SecretUse:
    if not isinstance(value, list) or len(value) != 3:
        raise ValueError("a secret and how far it was used")
    return SecretUse(_id(value[0]), _place(value[1]), _place(value[2]))


def _place(value: canonical.Json) -> Place:
    if not isinstance(value, list) or len(value) != 2 or _whole(value[0]) > _MOST_SEGMENT:
        raise ValueError("a segment and an offset")
    return _whole(value[0]), _whole(value[1])


class MarkKeeper:
    """The mark of an open store: raises it before values leave, writes it whole each time.

    path: the file. Raises StorageFailed when the disk refuses; the caller then gives nothing out.
    """

    def __init__(self, path: Path, store: bytes, session: DeviceAccess, mark: Mark) -> None:
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

    def meet_secret(self, line: str, secret: str) -> None:
        """An entity opens with this secret in place: one that a lost mark may have known is not used again."""
        with self._lock:
            if self._mark.lost and line not in self._mark.secrets:
                secrets = {**self._mark.secrets, line: SecretUse(secret)}
                self._write(replace(self._mark, secrets=secrets, retired=self._mark.retired | {secret}))

    def begin_secret(self, line: str, secret: str) -> bool:
        """Use a secret from its start, and the one before it never again; False when it was retired, or used before."""
        with self._lock:
            current = self._mark.secrets.get(line)
            if current is not None and current.secret == secret:
                return current.is_fresh and secret not in self._mark.retired
            if secret in self._mark.retired or any(one.secret == secret for one in self._mark.secrets.values()):
                return False
            retired = self._mark.retired | ({current.secret} if current is not None else frozenset())
            secrets = {**self._mark.secrets, line: SecretUse(secret)}
            self._write(replace(self._mark, secrets=secrets, retired=retired))
            return True

    def use_of(self, line: str, secret: str) -> SecretUse | None:
        """How far this secret may have been used on the line; None when it is not the one in use, or was retired."""
        current = self._mark.secrets.get(line)
        return None if current is None or current.secret != secret or secret in self._mark.retired else current

    def cover_secret(self, line: str, *, sender: Place, receiver: Place) -> None:
        """Return when the mark lies at or above both positions of the secret in use."""
        with self._lock:
            current = self._mark.secrets[line]
            raised = replace(
                current, sender=max(current.sender, sender), receiver=max(current.receiver, receiver)
            )
            if raised != current:
                self._write(replace(self._mark, clean=False, secrets={**self._mark.secrets, line: raised}))

    def retire_secret(self, secret: str) -> None:
        """A secret was in use that this mark does not know: the mark is an older copy."""
        with self._lock:
            if secret not in self._mark.retired:
                self._write(replace(self._mark, retired=self._mark.retired | {secret}))

    def retire_secrets(self, line: str = "") -> None:
        """The store turned out to be an older copy: this line, or every one, does not go on with the secret it uses."""
        with self._lock:
            used = {one.secret for name, one in self._mark.secrets.items() if line in ("", name)}
            if not used <= self._mark.retired:
                self._write(replace(self._mark, retired=self._mark.retired | used))

    def add_charge(self, pool: str) -> None:
        """Return when the mark knows of this charge pool."""
        with self._lock:
            if pool not in self._mark.charges:
                self._write(replace(self._mark, charges=self._mark.charges | {pool}))

    def note(self, *, generation: int, time_ms: int, clean: bool = False) -> None:
        """Write the generation: a copy of the database from before it is then known as older."""
        with self._lock:
            self._write(replace(self._mark, clean=clean), generation, time_ms)

    def use(self, session: DeviceAccess) -> None:
        """Seal the mark with another device from now on."""
        with self._lock:
            self._session = session

    def restart_clock(self, *, generation: int, time_ms: int) -> None:
        """As `note`, with a time that may lie before the mark's: a clock that had run ahead was put right."""
        with self._lock:
            self._write(replace(self._mark, time_ms=0), generation, time_ms)

    def _write(self, mark: Mark, generation: int = 0, time_ms: int = 0) -> None:
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

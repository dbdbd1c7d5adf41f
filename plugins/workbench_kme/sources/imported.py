"""The source `imported`: a file of keys brought to both ends by other means, used once. Provenance `imported`.

Document: docs/protocols/key-delivery.md section 9. Files wait in the site's `inbox/`; the sender's end offers the first
one by name, the receiver's end agrees when it has the same.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from workbench.crypto import kdf, random, sm3
from workbench.errors import Refused
from workbench_kme.sources.contract import BlockMachine, BlockTask, SourceContext, SourceWaiting
from workbench_kme.sources.messages import format_message, is_check, parse_message
from workbench_kme.sources.outcome import outcome

if TYPE_CHECKING:
    from workbench_kme.distill import BlockResult

MAGIC = b"WBKI"
KEY_BYTES = 32
MAX_KEYS = 65_536
SUFFIX = ".wbki"
_HEADER = 4 + 1 + 1 + 4 + 16
_DIGEST = 32


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A file of keys. file_id: 16 random bytes, never seen twice by a line. keys: the values in their order."""

    line: str
    file_id: bytes
    keys: bytes = field(repr=False)

    @property
    def count(self) -> int:
        """How many keys."""
        return len(self.keys) // KEY_BYTES


def format_key_file(file: KeyFile) -> bytes:
    """The bytes of a file. Raises ValueError for what `parse_key_file` would refuse."""
    name = file.line.encode("ascii")
    body = MAGIC + bytes([1, KEY_BYTES]) + file.count.to_bytes(4, "big") + file.file_id + bytes([len(name)]) + name
    data = body + file.keys + sm3.digest(body + file.keys)
    if parse_key_file(data) != file:
        raise ValueError("these keys have no form as a file")
    return data


def parse_key_file(data: bytes) -> KeyFile:
    """The file whose bytes these are. Raises ValueError for every other bytes."""
    if len(data) < _HEADER + 1 or data[:4] != MAGIC or data[4] != 1 or data[5] != KEY_BYTES:
        raise ValueError("not a file of keys of version 1")
    count, file_id, length = int.from_bytes(data[6:10], "big"), data[10:26], data[26]
    start = _HEADER + 1 + length
    if not 1 <= count <= MAX_KEYS or len(data) != start + count * KEY_BYTES + _DIGEST:
        raise ValueError("a file of keys with another length than it says")
    if sm3.digest(data[:-_DIGEST]) != data[-_DIGEST:]:
        raise ValueError("a damaged file of keys")
    return KeyFile(data[27:start].decode("ascii"), file_id, data[start:-_DIGEST])


def make_key_file(line: str, count: int, *, source: random.RandomSource = random.SYSTEM) -> bytes:
    """A fresh file of keys of one line, to be brought to both ends."""
    return format_key_file(KeyFile(line, source(16), source(count * KEY_BYTES)))


class Imported:
    """No options. Files are `inbox/*.wbki`."""

    name: ClassVar[str] = "imported"
    provenance: ClassVar[str] = "imported"
    simulates: ClassVar[bool] = False

    def __init__(self, context: SourceContext) -> None:
        if context.options:
            raise ValueError("an imported line has no options")
        self._context = context
        self._taken: dict[int, tuple[Path, str]] = {}

    @property
    def preset(self) -> str:
        """No modelled line."""
        return ""

    @property
    def clock_hz(self) -> float:
        """No pulses."""
        return 0.0

    def check_file(self, name: str) -> None:
        """Return if `name` is a file of this line that was never used. Raises Refused that says what is wrong."""
        path = self._context.folder / "inbox" / name
        if Path(name).name != name or not path.is_file() or path.suffix != SUFFIX:
            raise Refused(
                f"inbox 中没有文件 {name[:64]}：请把 {SUFFIX} 文件放入两端站点的 inbox",
                f"there is no file {name[:64]} in the inbox: put the {SUFFIX} file into the inbox of both sites",
                code="NO_SUCH_FILE",
            )
        try:
            file = parse_key_file(path.read_bytes())
            if file.line != self._context.line:
                raise ValueError("a file of another line")
        except (ValueError, OSError) as error:
            raise Refused(
                f"文件 {name[:64]} 不是线路 {self._context.line} 的密钥文件，或已损坏",
                f"{name[:64]} is no key file of line {self._context.line}, or it is damaged",
                code="KEY_FILE",
            ) from error
        if self._context.was_used(_name(file)):
            raise Refused(
                f"文件 {name[:64]} 已经导入过：一个文件只能用一次",
                f"{name[:64]} was imported before: a file is used once",
                code="ALREADY_IMPORTED",
            )

    def pulses(self) -> int:
        """Unknown. Raises SourceWaiting without a file."""
        self._first()
        return 0

    def machine(self, task: BlockTask) -> BlockMachine:
        """This end of a block. Raises SourceWaiting at the sender's end without a file."""
        if self._context.is_sender:
            return _Offering(self, task.block, *self._first())
        return _Agreeing(self, task.block)

    def keys_stored(self, block: int) -> None:
        """Overwrite and remove the file."""
        path, _name = self._taken.pop(block, (None, ""))
        if path is not None and path.exists():
            with path.open("r+b") as file:
                file.write(bytes(path.stat().st_size))
                file.flush()
                os.fsync(file.fileno())
            path.unlink()

    def close(self) -> None:
        """Nothing is held."""

    def take(self, block: int, path: Path, file: KeyFile) -> bool:
        """Write down for ever that this file is used; False when it was before."""
        self._taken[block] = (path, _name(file))
        return self._context.use_once(_name(file))

    def find(self, file_id: str) -> tuple[Path, KeyFile] | None:
        """The waiting file with this id."""
        return next((one for one in self._waiting() if one[1].file_id.hex() == file_id), None)

    def _first(self) -> tuple[Path, KeyFile]:
        found = next(iter(self._waiting()), None)
        if found is None:
            raise SourceWaiting("no file waits in the inbox")
        return found

    def _waiting(self) -> list[tuple[Path, KeyFile]]:
        """Unused files of this line, by name."""
        found = []
        for path in sorted((self._context.folder / "inbox").glob(f"*{SUFFIX}")):
            try:
                file = parse_key_file(path.read_bytes())
            except (ValueError, OSError):
                continue
            if file.line == self._context.line and not self._context.was_used(_name(file)):
                found.append((path, file))
        return found


class _Offering:
    """Sender: offers a file, takes it when the other end agrees."""

    def __init__(self, source: Imported, block: int, path: Path, file: KeyFile) -> None:
        self._source, self._block, self._path, self._file = source, block, path, file
        self.result: BlockResult | None = None

    def begin(self) -> list[bytes]:
        """The offer."""
        return [
            format_message(
                "import-offer", file=self._file.file_id.hex(), count=self._file.count, check=_check(self._file)
            )
        ]

    def receive(self, message: bytes) -> list[bytes]:
        """Agreement or refusal."""
        if self.result is None:
            agreed = bool(parse_message(message, "import-agreed", set()))
            taken = agreed and self._source.take(self._block, self._path, self._file)
            self.result = outcome(self._block, self._file.keys if taken else b"", "" if taken else "stopped")
        return []


class _Agreeing:
    """Receiver: agrees when it has the same file and never used it."""

    def __init__(self, source: Imported, block: int) -> None:
        self._source, self._block = source, block
        self.result: BlockResult | None = None

    def begin(self) -> list[bytes]:
        """The sender speaks first."""
        return []

    def receive(self, message: bytes) -> list[bytes]:
        """The offer."""
        if self.result is not None:
            return []
        said: Mapping[str, Any] = parse_message(message, "import-offer", {"file", "count", "check"})
        found = self._source.find(str(said.get("file", "")))
        agreed = (
            found is not None
            and found[1].count == said["count"]
            and is_check(said["check"], _check(found[1]))
            and self._source.take(self._block, *found)
        )
        keys = found[1].keys if found is not None and agreed else b""
        self.result = outcome(self._block, keys, "" if agreed else "stopped")
        return [format_message("import-agreed" if agreed else "import-refused")]


def _check(file: KeyFile) -> str:
    return kdf.derive(file.keys, "kme/import-check", context=file.file_id).hex()


def _name(file: KeyFile) -> str:
    return f"{file.line}/{file.file_id.hex()}"

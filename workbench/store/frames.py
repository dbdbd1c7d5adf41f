"""Tables of customers in the vault: a polars frame as a compressed Arrow stream, encrypted chunk by chunk.

Document: docs/store.md, section "Frames". Compression comes before encryption: what is stored together was put together
by this node in one call, so nobody can mix text of their own choice with a customer's and watch the size.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator

import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]  # pyarrow ships no type information

from workbench.contracts import Transaction
from workbench.errors import VerificationError
from workbench.store.vault import Draft, Reader, Vault

BATCH_ROWS = 65_536
_CODEC = "zstd"


def put_frame(tx: Transaction, vault: Vault, name: str, frame: pl.DataFrame) -> int:
    """Store a frame as an object of the vault; returns the stored bytes before encryption.

    Holds the writer meanwhile (about a second for 10^6 rows of 8 columns): use `stage_frame` for large ones.
    Memory: one batch of 65,536 rows beside the frame.
    """
    return vault.put_stream(tx, name, _serialise(frame))


def stage_frame(vault: Vault, name: str, frame: pl.DataFrame) -> Draft:
    """Write a large frame ahead of the change that needs it; give the draft to `vault.adopt` inside that change."""
    return vault.stage(name, _serialise(frame))


def get_frame(reader: Reader, vault: Vault, name: str) -> pl.DataFrame:
    """The frame that was put under `name`. Raises NotFound and VerificationError as `Vault.get`."""
    # A column without any value, as most lists have some, is kept as one null and not as a million.
    parts, valued = [], set[str]()
    for part in iter_frame(reader, vault, name):
        empty = [column.name for column in part.iter_columns() if column.null_count() == len(column)]
        valued.update(set(part.columns).difference(empty))
        parts.append(part.with_columns(pl.lit(None, part.schema[name]).alias(name) for name in empty))
    frame = pl.concat([part.select(one for one in part.columns if one in valued) for part in parts], rechunk=False)
    height = sum(part.height for part in parts)
    columns = [
        frame[name] if name in valued else pl.Series(name, [None], dtype).new_from_index(0, height)
        for name, dtype in parts[0].schema.items()
    ]
    return pl.DataFrame(columns)


def iter_frame(reader: Reader, vault: Vault, name: str) -> Iterator[pl.DataFrame]:
    """The frame in batches of at most 65,536 rows, in order; at least one, so that the columns are known.

    Memory: one batch. Raises as `Vault.get`; act on the rows only when the iteration is over.
    """
    source = _ChunkFile(vault.get_stream(reader, name))
    try:
        with pa.ipc.open_stream(source) as stream:
            yield _to_polars(pa.Table.from_batches([], schema=stream.schema))
            for batch in stream:
                yield _to_polars(pa.Table.from_batches([batch]))
    except pa.ArrowInvalid as error:
        raise VerificationError(
            "保险库中的表格不是本程序写入的格式", "an object of the vault is not a frame", code="VAULT_ALTERED"
        ) from error
    source.drain()  # the chunks behind the last batch are verified too, and a missing end is noticed


def _serialise(frame: pl.DataFrame) -> Iterator[bytes]:
    """The Arrow stream of a frame in parts, one per batch."""
    sink = _Parts()
    options = pa.ipc.IpcWriteOptions(compression=_CODEC)
    schema = frame.clear().to_arrow(compat_level=pl.CompatLevel.oldest()).schema
    with pa.ipc.new_stream(sink, schema, options=options) as stream:
        for part in _slices(frame):
            for batch in part.to_arrow(compat_level=pl.CompatLevel.oldest()).to_batches():
                stream.write_batch(batch)
            yield sink.take()
    yield sink.take()


def _slices(frame: pl.DataFrame) -> Iterable[pl.DataFrame]:
    return (part.rechunk() for part in frame.iter_slices(BATCH_ROWS))


def _to_polars(table: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    if not isinstance(frame, pl.DataFrame):  # pragma: no cover - a table always becomes a frame
        raise TypeError("a table becomes a frame")
    return frame


class _Parts(io.RawIOBase):
    """A file to write into whose content is taken out between batches."""

    def __init__(self) -> None:
        super().__init__()
        self._pending = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        view = memoryview(data)  # type: ignore[arg-type]  # pyarrow hands over its own buffer type
        self._pending += view
        return view.nbytes

    def take(self) -> bytes:
        part, self._pending = bytes(self._pending), bytearray()
        return part


class _ChunkFile(io.RawIOBase):
    """A file to read from, fed by the chunks of an object."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        super().__init__()
        self._chunks = chunks
        self._current = memoryview(b"")

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """`size` bytes, fewer only at the end."""
        wanted = size if size >= 0 else 1 << 62
        parts: list[memoryview] = []
        while wanted > 0:
            if not self._current:
                following = next(self._chunks, None)
                if following is None:
                    break
                self._current = memoryview(following)
                continue
            part = self._current[:wanted]
            parts.append(part)
            wanted -= len(part)
            self._current = self._current[len(part) :]
        return b"".join(parts)

    def drain(self) -> None:
        """Read to the end."""
        for _ in self._chunks:
            pass

"""A corpus sealed as a file of docs/protocols/frame.md section 12, under the volume key: written at the tenant, opened inside. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from workbench.channel.files import FileOpener, FileSealer
from workbench.crypto import random
from workbench_sandbox.corpus.documents import refused
from workbench_sandbox.corpus.files import MAX_BYTES

PURPOSE: Final = "corpus"
KEY_ID: Final = "volume"
KEY_SIZE: Final = 32
_MARGIN: Final = 1 << 20
_CHUNK_BYTES: Final = 1 << 20


def seal_corpus(parts: Iterable[bytes], key: bytes, *, source: random.RandomSource = random.SYSTEM) -> Iterator[bytes]:
    """The sealed file, piece by piece; key: 32 bytes, the volume key. Nothing in clear is kept longer than a piece."""
    sealer = FileSealer(key, key_id=KEY_ID, provenance="", purpose=PURPOSE, chunk_bytes=_CHUNK_BYTES, source=source)
    for part in parts:
        if sealed := sealer.update(part):
            yield sealed
    yield sealer.finish()


def open_corpus(parts: Iterable[bytes], key: bytes) -> bytes:
    """The bytes of a corpus for `Corpus.read`. Raises VerificationError FILE_REFUSED, CORPUS_REFUSED where it is too large."""
    opener = FileOpener(lambda header: key, purpose=PURPOSE)
    made = bytearray()
    for part in parts:
        made += opener.update(part)
        if len(made) > MAX_BYTES + _MARGIN:
            raise refused()
    made += opener.finish()
    return bytes(made)

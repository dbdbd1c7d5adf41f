"""Files sealed chunk by chunk under a QKD key or a secret of a session: the stream construction, without a session.

Document: docs/protocols/frame.md section 12. Bytes in, bytes out; whoever calls reads and writes the file. Every chunk that
is handed on is authentic; the file is whole only when `finish` has returned.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from workbench.channel.frame import check_purpose, prefixed
from workbench.channel.terms import PROVENANCES
from workbench.crypto import gcm, kdf, random, sm3
from workbench.errors import VerificationError

CHUNK_BYTES = 64 << 10
MIN_CHUNK_BYTES = 1 << 10
MAX_CHUNK_BYTES = 16 << 20
SALT_SIZE = 32
MIN_SECRET_SIZE = 32
MAX_HEADER_BYTES = 42 + 3 * 256

_MAGIC = b"WBFS"
_VERSION = 1
_CIPHERS = {1: gcm.CipherName.SM4_GCM, 2: gcm.CipherName.AES_256_GCM}
_NUMBERS = {name: number for number, name in _CIPHERS.items()}
_KEY_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_MAX_CHUNKS = 1 << 32


@dataclass(frozen=True, slots=True)
class FileHeader:
    """What a sealed file says about itself; authentic once the first chunk has opened.

    key_id: names the secret; provenance: of the QKD key, "" for another secret.
    """

    cipher: gcm.CipherName
    chunk_bytes: int
    salt: bytes
    key_id: str
    provenance: str
    purpose: str

    def __post_init__(self) -> None:
        check_purpose(self.purpose)
        sound = (
            MIN_CHUNK_BYTES <= self.chunk_bytes <= MAX_CHUNK_BYTES
            and len(self.salt) == SALT_SIZE
            and _KEY_ID.fullmatch(self.key_id)
            and self.provenance in ("", *PROVENANCES)
        )
        if not sound:
            raise ValueError("a field of the file's header has another form")

    def format(self) -> bytes:
        """The header's bytes."""
        fixed = _MAGIC + bytes([_VERSION, _NUMBERS[self.cipher]]) + self.chunk_bytes.to_bytes(4, "big") + self.salt
        return fixed + prefixed(self.key_id) + prefixed(self.provenance) + prefixed(self.purpose)


def parse_header(data: bytes) -> tuple[FileHeader, int] | None:
    """(header, its size) of a file that begins with `data`, None while more is needed.

    Raises VerificationError (FILE_REFUSED).
    """
    place, texts = 42, []
    if len(data) < place:
        return None
    for _ in range(3):
        if len(data) <= place or len(data) < place + 1 + data[place]:
            return None
        texts.append(data[place + 1 : place + 1 + data[place]])
        place += 1 + data[place]
    try:
        if data[:5] != _MAGIC + bytes([_VERSION]):
            raise ValueError("another magic or version")
        key_id, provenance, purpose = (one.decode("ascii") for one in texts)
        header = FileHeader(
            _CIPHERS[data[5]], int.from_bytes(data[6:10], "big"), data[10:42], key_id, provenance, purpose
        )
    except (ValueError, KeyError):
        raise _refused() from None
    return header, place


class _Chunks:
    """Key and nonces of one file."""

    def __init__(self, header: FileHeader, secret: bytes) -> None:
        if len(secret) < MIN_SECRET_SIZE:
            raise ValueError("a file is sealed under a secret of at least 32 bytes")
        size = gcm.KEY_SIZES[header.cipher]
        made = kdf.derive(
            secret, f"file/{header.cipher}", salt=header.salt, context=sm3.digest(header.format()), length=size + 4
        )
        self._key = gcm.GcmKey(header.cipher, made[:size])
        self._salt = made[size:]
        self._next = 0

    def nonce(self, final: bool) -> bytes:
        if self._next >= _MAX_CHUNKS:
            raise ValueError("the file has too many chunks")
        nonce = self._salt + bytes([final]) + self._next.to_bytes(7, "big")
        self._next += 1
        return nonce

    def seal(self, part: bytes, *, final: bool) -> bytes:
        return self._key.seal(self.nonce(final), part, associated=b"")

    def open_sealed(self, sealed: bytes, *, final: bool) -> bytes:
        part = self._key.open_sealed(self.nonce(final), sealed, associated=b"")
        if part is None:
            self._key.wipe()
            raise _refused()
        return part

    def wipe(self) -> None:
        self._key.wipe()


class FileSealer:
    """Seals one file: write `update(…)` for each part read, then `finish()`; the first bytes are the header."""

    def __init__(
        self,
        secret: bytes,
        *,
        key_id: str,
        provenance: str,
        purpose: str,
        cipher: gcm.CipherName = gcm.CipherName.SM4_GCM,
        chunk_bytes: int = CHUNK_BYTES,
        source: random.RandomSource = random.SYSTEM,
    ) -> None:
        """secret: 32 bytes or more, named `key_id`; may serve several files. Raises ValueError."""
        self.header = FileHeader(cipher, chunk_bytes, source(SALT_SIZE), key_id, provenance, purpose)
        self._chunks = _Chunks(self.header, secret)
        self._pending = bytearray()
        self._out = bytearray(self.header.format())

    def update(self, data: bytes) -> bytes:
        """What can be written now."""
        size = self.header.chunk_bytes
        self._pending += data
        while len(self._pending) > size:
            self._out += self._chunks.seal(bytes(self._pending[:size]), final=False)
            del self._pending[:size]
        return self._flush()

    def finish(self) -> bytes:
        """The end of the file; the key is overwritten."""
        self._out += self._chunks.seal(bytes(self._pending), final=True)
        self._pending.clear()
        self._chunks.wipe()
        return self._flush()

    def _flush(self) -> bytes:
        made = bytes(self._out)
        self._out.clear()
        return made


class FileOpener:
    """Opens one file: `update(…)` for each part read gives plaintext, `finish()` the rest.

    What was handed on before `finish` returns is authentic but may be cut off: do not act on it before.
    """

    def __init__(self, find_secret: Callable[[FileHeader], bytes], *, purpose: str) -> None:
        """find_secret: the secret that a header names; may raise KeyUnavailable. purpose: what the file must be for."""
        self._find, self._purpose = find_secret, purpose
        self._pending = bytearray()
        self._chunks: _Chunks | None = None
        self.header: FileHeader | None = None

    def update(self, data: bytes) -> bytes:
        """Plaintext of the chunks that are complete. Raises VerificationError (FILE_REFUSED)."""
        self._pending += data
        if self._chunks is None and not self._begin():
            return b""
        assert self._chunks is not None and self.header is not None
        size, ready = self.header.chunk_bytes + gcm.TAG_SIZE, []
        # A chunk is known not to be the last one only when a byte follows it.
        while len(self._pending) > size:
            ready.append(self._chunks.open_sealed(bytes(self._pending[:size]), final=False))
            del self._pending[:size]
        return b"".join(ready)

    def finish(self) -> bytes:
        """The last chunk's plaintext: the file is whole. Raises VerificationError (FILE_REFUSED)."""
        if self._chunks is None:
            raise _refused()
        part = self._chunks.open_sealed(bytes(self._pending), final=True)
        if not part and self._chunks._next > 1:
            raise _refused()  # an empty last chunk has no place in a file that is not empty: one spelling only
        self._pending.clear()
        self._chunks.wipe()
        return part

    def _begin(self) -> bool:
        found = parse_header(bytes(self._pending[:MAX_HEADER_BYTES]))
        if found is None:
            return False
        self.header, size = found
        if self.header.purpose != self._purpose:
            raise _refused()
        self._chunks = _Chunks(self.header, self._find(self.header))
        del self._pending[:size]
        return True


def _refused() -> VerificationError:
    return VerificationError(
        "加密文件无法打开：密钥不符、内容被改动或不完整",
        "the sealed file does not open: wrong key, altered, or not whole",
        code="FILE_REFUSED",
    )

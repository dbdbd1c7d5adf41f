"""The tokens of a list, made when the list is imported and kept with it. Document: docs/consent.md section 6.

Two million HMACs are most of what the first decision on a million customers costs, and they are the same for every
purpose and recipient. So they lie in the vault beside the list, under a name that starts with the list's own and ends
with a keyed digest of its columns: whoever erases the list erases what starts with its name, and a list whose rows are
not the ones the tokens were made from does not find them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import polars as pl

from workbench.contracts import Store, Transaction, Vault
from workbench.domain.intersection import KeyKind
from workbench.errors import VerificationError
from workbench_consent.subjects import TOKEN_SIZE, Subjects, bytes_of, tokens, words_of

LIST_PREFIX = "list/"
MARK = b"workbench/v1/consent-tokens\0"
_DIGEST_PURPOSE = "consent-list"
_COLUMNS = ("customer_id", "phone", "id_no")
_BATCH = 65_536


class ListTokens:
    """Makes, keeps and finds the tokens of lists. token_key: of this institution, see `subjects.token`."""

    def __init__(self, store: Store, vault: Vault, token_key: bytes) -> None:
        self._store, self._vault, self._token_key = store, vault, token_key
        self._digest_key = vault.token_key(_DIGEST_PURPOSE)

    def __repr__(self) -> str:
        return "ListTokens()"

    def digest(self, customers: pl.DataFrame) -> bytes:
        """What tells this list from every other: 32 bytes over customer numbers, phones and identity numbers in order.

        Keyed, so that nobody can prepare two lists that look alike, and so that it tells nothing where it is stored.
        Cost: about 0.1 µs a row.
        """
        digest = hashlib.blake2b(MARK, key=self._digest_key, digest_size=32)
        for name in _COLUMNS:
            column = customers[name].cast(pl.String)
            digest.update(f"{name} {len(column)}\n".encode())
            for part in (column.slice(start, _BATCH) for start in range(0, len(column), _BATCH)):
                # Which are absent, where each text ends, and the text: one reading, however polars holds the column.
                texts = part.fill_null("").rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
                _, offsets, text = texts.buffers()
                ends = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
                digest.update(np.packbits(part.is_null().to_numpy()).tobytes())
                digest.update((ends[1:] - ends[0]).astype("<i4").tobytes())
                digest.update(memoryview(text or b"")[int(ends[0]) : int(ends[-1])])
        return digest.digest()

    def make(self, customers: pl.DataFrame) -> Subjects:
        """The tokens, computed. Cost: about 0.5 µs each."""
        return Subjects(
            tokens(self._token_key, KeyKind.PHONE, customers["phone"]),
            tokens(self._token_key, KeyKind.ID_NO, customers["id_no"]),
        )

    def stage(self, customers: pl.DataFrame, *, list_id: str) -> Callable[[Transaction], None]:
        """Make the tokens and write them ahead; call the result in the change that stores the list."""
        subjects = self.make(customers)
        name = f"{LIST_PREFIX}{list_id}/consent-tokens/{self.digest(customers).hex()}"
        head = MARK + len(subjects).to_bytes(8, "big")
        draft = self._vault.stage(name, (head, bytes_of(subjects.phone), bytes_of(subjects.id_no)))
        return lambda tx: self._vault.adopt(tx, draft)

    def stored(self, digest: bytes) -> Subjects | None:
        """The tokens kept for a list of this digest, None when there are none. Raises VerificationError: altered."""
        ending = f"/consent-tokens/{digest.hex()}"
        with self._store.read() as reader:
            name = next((one for one in self._vault.names(reader, LIST_PREFIX) if one.endswith(ending)), None)
            if name is None:
                return None
            data = bytearray()  # chunk by chunk: whole, and joined, they would take twice their 32 MB for a million
            for part in self._vault.get_stream(reader, name):
                data += part
        return _parsed(data)


def _parsed(data: bytearray) -> Subjects:
    start = len(MARK) + 8
    count = int.from_bytes(data[len(MARK) : start], "big")
    middle = start + TOKEN_SIZE * count
    if not data.startswith(MARK) or len(data) != middle + TOKEN_SIZE * count:
        raise VerificationError(
            "保险库中的名单标识不是本程序写入的格式：合规岗核查数据库",
            "the tokens of a list in the vault are not in this program's format: compliance must look into the database",
            code="VAULT_ALTERED",
        )
    view = memoryview(data)
    return Subjects(_words(view[start:middle]), _words(view[middle:]))


def _words(data: memoryview) -> np.ndarray:
    return words_of(data)  # type: ignore[arg-type]  # any buffer will do

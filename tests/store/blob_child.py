"""Stores, replaces and shreds blobs until it is killed, or under a file size limit: run by test_blobs.py."""

from __future__ import annotations

import os
import resource
import secrets
import signal
import sys
from pathlib import Path

from workbench.contracts import Transaction
from workbench.errors import StorageFailed
from workbench.store import Database, Vault
from workbench.store.blobs import BLOB_MIGRATIONS, BlobDraft, Blobs


def content(number: int) -> bytes:
    return f"form {number} ".encode() * 20_000


def main(folder: Path, mode: str) -> None:
    database = Database(folder / "evidence.db", BLOB_MIGRATIONS)
    blobs = Blobs(database, Vault(database, bytes(range(32))), folder / "blobs", now_ms=lambda: 1000)
    blobs.sweep()
    if mode == "limited":
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
        try:
            blobs.stage([secrets.token_bytes(400_000)])
        except StorageFailed as failure:
            os.write(1, failure.code.encode() + b"\n")
        return
    for number in range(int(mode), 100_000):
        draft = blobs.stage([content(number)])

        def change(tx: Transaction, number: int = number, draft: BlobDraft = draft) -> None:
            blobs.adopt(tx, draft, owner="test", ref=str(number))
            if number % 3 == 2:
                blobs.unlink(tx, "test", str(number - 1))

        database.write(change)
        os.write(1, f"{number}\n".encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])

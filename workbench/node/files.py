"""Files on their way in and out of a node: uploads wait in a 0700 folder, downloads are encrypted and handed out once."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from workbench.contracts import Store, Transaction
from workbench.domain.party import Caller
from workbench.errors import NotFound, StorageFailed, TooLarge
from workbench.store.vault import Draft, Opened, Vault

_FILE_ID = re.compile(r"[0-9a-f]{24}")
DOWNLOAD_MINUTES = 60
UPLOAD_HOURS = 12


class Uploads:
    """Uploaded files by id; each belongs to nobody but the node and is removed after its import or at the next start.

    They lie there in clear: what nobody imported within UPLOAD_HOURS goes when the next one arrives.
    """

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in folder.iterdir():
            shutil.rmtree(left)

    async def receive(self, name: str, chunks: AsyncIterator[bytes]) -> str:
        """Write a stream to disk; TooLarge beyond the limit, StorageFailed on a full disk; nothing stays behind then."""
        self._sweep()
        safe = re.sub(r"[^\w.\-]+", "_", Path(name).name)[-80:].lstrip(".") or "file"
        safe = os.fsencode(safe)[-240:].decode("utf-8", "ignore")  # a name has at most 255 bytes
        file_id = secrets.token_hex(12)
        path = self._folder / file_id / safe
        size = 0
        try:
            path.parent.mkdir(mode=0o700)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
                async for chunk in chunks:
                    size += len(chunk)
                    if size > self._max_bytes:
                        raise TooLarge(
                            f"文件「{safe}」超过上限 {self._max_bytes} 字节，未导入",
                            f"File {safe} exceeds the limit of {self._max_bytes} bytes; nothing was imported",
                        )
                    out.write(chunk)
        except OSError as error:
            self.remove(file_id)
            raise StorageFailed(
                "磁盘写不下上传的文件，未导入。运维清理磁盘",
                "The disk has no room for the uploaded file; nothing was imported. Operations free space",
            ) from error
        except BaseException:
            self.remove(file_id)
            raise
        return file_id

    def _sweep(self) -> None:
        """Remove what was left lying; a file that is still growing is young."""
        limit_s = time.time() - UPLOAD_HOURS * 3600
        for folder in self._folder.iterdir():
            with suppress(FileNotFoundError):  # imported at this moment
                if max(one.stat().st_mtime for one in (folder, *folder.glob("*"))) < limit_s:
                    shutil.rmtree(folder, ignore_errors=True)

    def adopt(self, source: Path) -> str:
        """Take a copy of a file on this machine as if it had been uploaded; returns its id."""
        file_id = secrets.token_hex(12)
        (self._folder / file_id).mkdir(mode=0o700)
        shutil.copyfile(source, self._folder / file_id / source.name)
        return file_id

    def path(self, file_id: str) -> Path:
        """Where an uploaded file lies; NotFound when the id is not one of ours or the file is gone."""
        if _FILE_ID.fullmatch(file_id):
            for path in (self._folder / file_id).glob("*"):
                return path
        raise NotFound("没有这个上传的文件，请重新上传", "There is no such uploaded file; upload it again")

    def remove(self, file_id: str) -> None:
        """Forget an uploaded file; unknown ids are ignored."""
        if _FILE_ID.fullmatch(file_id):
            shutil.rmtree(self._folder / file_id, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Taken:
    """A file on its way to its person. parts: its bytes in pieces of at most 1 MiB, once; size: of all of them."""

    name: str
    size: int
    parts: Iterator[bytes]


class Downloads:
    """Files made for one person: encrypted in the vault, readable once within an hour.

    A file that was begun and not read to its end is gone for its person; what is left of it goes when the next file is
    offered or taken.
    """

    def __init__(self, *, store: Store, vault: Vault, now_ms: Callable[[], int]) -> None:
        self._store = store
        self._vault = vault
        self._now_ms = now_ms
        self._leaving: dict[str, int] = {}

    def offer(self, tx: Transaction, caller: Caller, name: str, data: bytes) -> str:
        """Keep `data` for this person under a fresh id, in the caller's transaction."""
        self._sweep(tx)
        download = secrets.token_hex(16)
        self._vault.put(tx, f"download/{download}", data)
        self._keep(tx, caller, name, download)
        return download

    def stage(self, parts: Iterable[bytes | memoryview]) -> Draft:
        """Write a large file ahead of the change that offers it; memory: a few chunks. Not inside a change."""
        return self._vault.stage(f"download/{secrets.token_hex(16)}", parts)

    def discard(self, draft: Draft) -> None:
        """Take back a staged file that is not offered after all. Not inside a change."""
        self._vault.discard(draft)

    def offer_staged(self, tx: Transaction, caller: Caller, name: str, draft: Draft) -> str:
        """As `offer`, for a staged file."""
        self._sweep(tx)
        self._vault.adopt(tx, draft)
        download = draft.name.removeprefix("download/")
        self._keep(tx, caller, name, download)
        return download

    def _keep(self, tx: Transaction, caller: Caller, name: str, download: str) -> None:
        expires_ms = self._now_ms() + DOWNLOAD_MINUTES * 60_000
        tx.execute(
            "INSERT INTO host_download VALUES (?, ?, ?, ?, ?)",
            (download, caller.person.person, name, f"download/{download}", expires_ms),
        )

    def take(self, caller: Caller, download: str) -> tuple[str, bytes]:
        """(file name, bytes) of a file that is wanted whole. Raises as `hand_out`."""
        taken = self.hand_out(caller, download)
        return taken.name, b"".join(taken.parts)

    def hand_out(
        self, caller: Caller, download: str, *, also: Callable[[Transaction, str], object] = lambda tx, name: None
    ) -> Taken:
        """A file, once; NotFound afterwards, when expired, or for another person. Memory: a chunk, however slow the reader.

        also: more to write in the change that gives it away, with the file's name. Raises VerificationError when the
        file was altered at its beginning; then it stays where it is. The parts raise it for what comes later.
        """

        def change(tx: Transaction) -> tuple[str, Opened, bytes] | None:
            self._sweep(tx)
            row = tx.execute(
                "SELECT * FROM host_download WHERE download = ? AND person = ?", (download, caller.person.person)
            ).fetchone()
            if row is None:
                return None
            opened = self._vault.open_object(tx, row["vault_name"])
            first = self._vault.read_chunk(tx, opened, 0)
            tx.execute("DELETE FROM host_download WHERE download = ?", (download,))
            also(tx, row["name"])
            self._leaving[row["vault_name"]] = self._now_ms()
            return row["name"], opened, first

        found = self._store.write(change)
        if found is None:
            raise NotFound(
                "没有这个文件：已取过、已过期，或不属于你",
                "There is no such file: already taken, expired, or not yours",
            )
        name, opened, first = found
        return Taken(name, opened.size, self._parts(f"download/{download}", opened, first))

    def _parts(self, vault_name: str, opened: Opened, first: bytes) -> Iterator[bytes]:
        """The chunks, each read in a snapshot of its own; destroyed with the last. A reader who leaves writes nothing."""
        try:
            yield first
            for number in range(1, opened.chunks):
                with self._store.read() as reader:
                    chunk = self._vault.read_chunk(reader, opened, number)
                yield chunk
            self._store.write(lambda tx: self._vault.shred(tx, vault_name))
        finally:
            self._leaving.pop(vault_name, None)

    def _sweep(self, tx: Transaction) -> None:
        """Destroy what has expired, and what was begun and not read to its end within an hour, or before a restart."""
        expired = tx.execute(
            "SELECT download, vault_name FROM host_download WHERE expires_ms < ?", (self._now_ms(),)
        ).fetchall()
        for row in expired:
            self._vault.shred(tx, row["vault_name"])
            tx.execute("DELETE FROM host_download WHERE download = ?", (row["download"],))
        offered = {row["vault_name"] for row in tx.execute("SELECT vault_name FROM host_download").fetchall()}
        begun_ms = self._now_ms() - DOWNLOAD_MINUTES * 60_000
        for name in self._vault.names(tx, "download/"):
            if name not in offered and self._leaving.get(name, 0) < begun_ms:
                self._vault.shred(tx, name)

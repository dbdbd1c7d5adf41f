"""Copies of a node on which evidence may be attacked: a demonstration of what is found, never of the node itself.

Exists in demo and test workspaces only. A copy lies in a scratch folder of mode 0700 inside the node's own and is removed
afterwards; it is opened, never started, so it reaches nobody by itself. No private key signs anything false: attacks
between institutions take keys made for the moment (plugins/workbench_ledger/attacks/).
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from workbench.contracts import Store
from workbench.errors import Refused
from workbench.verify import verify_receipt

if TYPE_CHECKING:
    from workbench.host import Workbench

WORKSPACES = frozenset({"demo", "test"})


class Laboratory:
    """Scratch copies of one node. opener: makes the node again, over another folder and perhaps with another clock."""

    def __init__(self, host: Workbench, opener: Callable[..., Workbench]) -> None:
        self._host = host
        self._opener = opener

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder that is gone afterwards, whatever happened. Refused NOT_IN_PRODUCTION outside demo and test."""
        if self._host.kind not in WORKSPACES:
            raise Refused(
                "攻击演练只在演示与测试工作区里有", "Attacks are rehearsed in demo and test workspaces only", code="NOT_IN_PRODUCTION"
            )
        base = self._host.folder / "scratch"
        base.mkdir(mode=0o700, exist_ok=True)
        with TemporaryDirectory(dir=base) as folder:
            yield Path(folder)

    def copy_files(self, folder: Path) -> Path:
        """The node's database and encrypted files as they are now, into a scratch folder; returns the database.

        The copy is one consistent state: SQLite's own backup, of pages that nobody else may change meanwhile.
        """
        target = folder / "evidence.db"
        target.touch(mode=0o600)
        source_uri = f"file:{self._host.folder / 'evidence.db'}?mode=ro"
        with closing(sqlite3.connect(source_uri, uri=True)) as source, closing(sqlite3.connect(target)) as copy:
            source.backup(copy)
        blobs = self._host.folder / "blobs"
        if blobs.is_dir():
            shutil.copytree(blobs, folder / "blobs")
        return target

    @contextmanager
    def opened(self, folder: Path, *, now_ms: Callable[[], int] | None = None) -> Iterator[Workbench]:
        """The copied files as a node that is not started. It asks partners, when it asks, over the real node's links.

        What it asks are reads: the copies of this node's log that they hold.
        """
        copy = self._opener(folder, now_ms or self._host.now_ms)
        copy.links = _Reading(self._host)
        try:
            yield copy
        finally:
            copy.close()

    def new_store(self, path: Path, migrations: Any) -> Store:
        """An empty database of the node's own kind in a scratch folder; the caller closes it."""
        store: Store = type(self._host.store)(path, migrations, reserve_bytes=0)
        return store

    def verify(self, receipt: Mapping[str, Any]) -> Any:
        """The verdict of `workbench verify --trust` on a receipt, under the keys this node pins."""
        return verify_receipt(dict(receipt), trust=self._host.trust_keys())


class _Reading:
    """The real node's links for reading mirrored bodies, and for nothing else."""

    def __init__(self, host: Workbench) -> None:
        self._host = host

    def call(self, party: Any, path: str, body: bytes, *, timeout_s: float) -> bytes:
        if path != "bodies":
            raise Refused("副本不能联系伙伴", "A copy reaches no partner", code="NOT_IN_PRODUCTION")
        return self._host.links.call(party, path, body, timeout_s=timeout_s)

    def close(self) -> None:
        return

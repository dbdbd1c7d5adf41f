"""A file that only takes up room, given back when the disk is full so that "disk full" itself can be recorded.

Document: docs/store.md, section "A full disk" (decision 5).
"""

from __future__ import annotations

import os
from pathlib import Path

SPARE_FACTOR = 4
"""The reserve is made again once the file system has this many times its size free."""


class Reserve:
    """`size_bytes` of disk held in `path` while things are well; 0 means that nothing is held."""

    def __init__(self, path: Path, size_bytes: int) -> None:
        self._path = path
        self._size_bytes = size_bytes

    @property
    def is_held(self) -> bool:
        """True while the room is set aside."""
        try:
            return self._path.stat().st_size >= self._size_bytes
        except FileNotFoundError:
            return self._size_bytes == 0

    def hold(self) -> bool:
        """Set the room aside unless the disk is nearly full; returns whether it is held now."""
        if self.is_held:
            return True
        try:
            disk = os.statvfs(self._path.parent)
            if disk.f_bavail * disk.f_frsize < SPARE_FACTOR * self._size_bytes:
                return False
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, self._size_bytes)
            finally:
                os.close(descriptor)
        except OSError:
            self.release()
            return False
        return True

    def release(self) -> None:
        """Give the room back; never fails, because it is called when things already go wrong."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError:
            return

"""Frames between a tenant and a sandbox, which the launcher cannot open: kept until they are taken, overwritten then.

Document: docs/protocols/sandbox.md section 8, relay. Nothing of it is written to a disk. A lost call loses no frame, a repeated one
adds none; where too much waits, nothing more is read.
"""

from __future__ import annotations

import threading
import time
from collections import deque

from workbench_sandbox.formats.relay import (
    ENDED,
    LIVE,
    MAX_FRAMES_BYTES,
    MAX_WAIT_MS,
    WAITING_BYTES,
    WAITING_FRAMES,
    Download,
    Upload,
)


class Relay:
    """Both directions of one sandbox. Safe for threads."""

    def __init__(self, *, most_frames: int = WAITING_FRAMES, most_bytes: int = WAITING_BYTES) -> None:
        self._most_frames, self._most_bytes = most_frames, most_bytes
        self._changed = threading.Condition()
        self._in: deque[bytearray] = deque()
        self._out: deque[bytearray] = deque()
        self._in_bytes = self._out_bytes = 0
        self._received = 0
        self._first = 0
        self._ended = False
        self._closed = False
        self.bytes_in = self.bytes_out = 0

    # ------------------------------------------------------------------------------------------------- the tenant's side

    def exchange(self, upload: Upload, *, wait_ms: int) -> Download:
        """Take frames in, give those that wait; waits at most wait_ms for one. Raises ValueError for places that cannot be."""
        ends = time.monotonic() + min(max(wait_ms, 0), MAX_WAIT_MS) / 1000
        with self._changed:
            self._drop(upload.taken)
            self._take_in(upload)
            self._changed.notify_all()
            while not self._out and not self._ended and (left := ends - time.monotonic()) > 0:
                self._changed.wait(left)
            return self._download()

    def _drop(self, taken: int) -> None:
        if not self._first <= taken <= self._first + len(self._out):
            if taken < self._first:
                return  # an older call that arrives late: what it lacks was taken by another
            raise ValueError("more frames were taken than there were")
        while self._first < taken:
            frame = self._out.popleft()
            self._out_bytes -= len(frame)
            self._first += 1
            _wipe(frame)

    def _take_in(self, upload: Upload) -> None:
        if upload.first > self._received:
            raise ValueError("frames are missing before these")
        for frame in upload.frames[self._received - upload.first :]:
            if self._ended or len(self._in) >= self._most_frames or self._in_bytes + len(frame) > self._most_bytes:
                return  # `received` says how far it came; the rest comes again
            self._in.append(bytearray(frame))
            self._in_bytes += len(frame)
            self.bytes_in += len(frame)
            self._received += 1

    def _download(self) -> Download:
        frames: list[bytes] = []
        size = 0
        for frame in self._out:
            size += len(frame) + 4
            if frames and size > MAX_FRAMES_BYTES - 64:
                break
            frames.append(bytes(frame))
        is_last = self._ended and len(frames) == len(self._out)
        return Download(ENDED if is_last else LIVE, self._first, tuple(frames), self._received)

    # ------------------------------------------------------------------------------------------------ the sandbox's side

    def next_in(self) -> bytearray | None:
        """The tenant's next frame, for the worker; the caller overwrites it. Waits; None once nothing more comes."""
        with self._changed:
            while not self._in and not self._closed:
                self._changed.wait()
            if self._closed:
                return None
            frame = self._in.popleft()
            self._in_bytes -= len(frame)
            return frame

    def put_out(self, *frames: bytes) -> bool:
        """Keep frames of the sandbox, given together where there is room; waits while too much waits already. False once nobody takes any."""
        with self._changed:
            for frame in frames:
                while not self._closed and (len(self._out) >= self._most_frames or self._out_bytes + len(frame) > self._most_bytes):
                    self._changed.notify_all()  # of those that came with it
                    self._changed.wait()
                if self._closed:
                    return False
                self._out.append(bytearray(frame))
                self._out_bytes += len(frame)
                self.bytes_out += len(frame)
            self._changed.notify_all()
            return True

    def end(self) -> None:
        """The sandbox sends nothing more; what waits can still be taken."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def drained(self) -> bool:
        """Whether it has ended and everything was taken."""
        with self._changed:
            return self._ended and not self._out

    def close(self) -> None:
        """Overwrite and empty both queues; everybody who waits goes on."""
        with self._changed:
            self._ended = self._closed = True
            for waiting in (self._in, self._out):
                while waiting:
                    _wipe(waiting.popleft())
            self._in_bytes = self._out_bytes = 0
            self._changed.notify_all()

    @property
    def waiting(self) -> int:
        """Frames in both directions that were neither taken nor overwritten."""
        with self._changed:
            return len(self._in) + len(self._out)


def _wipe(frame: bytearray) -> None:
    frame[:] = bytes(len(frame))

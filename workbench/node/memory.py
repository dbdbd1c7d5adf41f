"""How the node's process takes memory and gives it back: a million rows pass through it now and then, and must not stay.

Three allocators are at work: the C library's (numpy), jemalloc inside polars, and Arrow's. By default each keeps what was
freed, for minutes or for ever; measured at 2^20 customers that is 150 MB (docs/benchmarks.md).
"""

from __future__ import annotations

import ctypes
import os

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h of the GNU C library
LARGE_BYTES = 1 << 20
"""Blocks from here on are mapped one by one and given back when freed. The library's own limit rises to 32 MB in use."""
ARENAS = 2


def give_back_promptly() -> None:
    """Set all three; to be called before polars and pyarrow are imported. What the environment says already stays."""
    os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:500,muzzy_decay_ms:0")
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # another C library, with other habits
        return
    for name, value in ((_M_MMAP_THRESHOLD, LARGE_BYTES), (_M_TRIM_THRESHOLD, LARGE_BYTES), (_M_ARENA_MAX, ARENAS)):
        mallopt(name, value)

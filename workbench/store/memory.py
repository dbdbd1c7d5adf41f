"""Giving memory back at once after a large table has passed through the process.

The settings of workbench/node/memory.py return large blocks as they are freed; smaller ones stay with the C library until
somebody asks. Measured at 2^20 customers: 90 MB after grants and matches were forgotten.
"""

from __future__ import annotations

import ctypes


def give_back_now() -> None:
    """Return what the C library keeps of freed memory to the system. Cost: about 10 ms. Elsewhere it does nothing."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)

"""How this package compiles its loops: once, kept in numba's cache where there is one that can be written.

The cache lies in NUMBA_CACHE_DIR, else beside the source, else in the user's cache folder. Whoever can write there can
run code in this process: the program that starts the process names a folder of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

_Function = TypeVar("_Function", bound=Callable[..., Any])


def compiled(function: _Function) -> _Function:
    """The function as machine code, compiled on its first call for each kind of arguments; without bounds checks."""
    try:
        made = njit(nogil=True, boundscheck=False, error_model="numpy", cache=True)(function)
    except RuntimeError as error:
        # Raised where no cache can be written: then the code is compiled anew in every process.
        if "no locator available" not in str(error):
            raise
        made = njit(nogil=True, boundscheck=False, error_model="numpy")(function)
    return cast("_Function", made)

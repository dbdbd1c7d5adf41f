"""An engine for tests: answers as `extractive` by words, and holds its card for as long as its image says, without a processor's time.

It stands for a model on a card of its own: on a machine of few cores the card's time is then what cards add, not the processor's.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from workbench_sandbox.corpus.types import Sources
from workbench_sandbox.engines.contract import Stop
from workbench_sandbox.engines.extractive import Extractive
from workbench_sandbox.formats.asking import Ask, Record


class Paced(Extractive):
    """weights/pause.txt of the image: seconds of card time, at least, of one answer."""

    name = "paced"

    def load(self, weights: Mapping[str, Path], *, threads: int) -> None:
        self._pause_s = float(weights["weights/pause.txt"].read_text("ascii"))

    def answer(self, ask: Ask, sources: Sources, stop: Stop) -> Iterator[Record]:
        ends = time.monotonic() + self._pause_s
        yield from super().answer(ask, sources, stop)
        while (left := ends - time.monotonic()) > 0 and not stop():
            time.sleep(min(left, 0.05))

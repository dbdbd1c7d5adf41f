"""What an engine is: it loads once, before the sandbox closes, and then answers from sources, as records, until stopped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

from workbench_sandbox.corpus.types import Sources
from workbench_sandbox.formats.asking import END_CODES, Ask, Record


class EngineFailed(Exception):
    """An engine could not answer. code: one of formats.asking.END_CODES; no text of a question or answer is kept in it."""

    def __init__(self, code: str) -> None:
        if code not in END_CODES or not code:
            raise ValueError("no code of an answer's end")
        super().__init__(code)
        self.code = code


class Stop(Protocol):
    """True once the tenant stopped, or the deadline or the lease's end came; cheap, asked at least every 50 ms."""

    def __call__(self) -> bool: ...


class AnswerEngine(Protocol):
    """One engine in one sandbox. kind: "extractive" | "generator" | "upstream"; place: "inside" | "behind".

    Found through entry points `workbench_sandbox.engines`; made without arguments.
    """

    name: str
    kind: str
    version: str
    place: str

    def load(self, weights: Mapping[str, Path], *, threads: int) -> None:
        """Read everything that answering needs. Afterwards no file, program or socket can be opened. weights: path of the
        manifest -> file; threads: the most that may be started, all of them here."""

    def answer(self, ask: Ask, sources: Sources, stop: Stop) -> Iterator[Record]:
        """The records of one answer, `Open` first, without the end; ends early when `stop` says so, within 100 ms.

        An abstention is a stream without a `Cite`. Raises EngineFailed.
        """

    def close(self) -> None:
        """Let go of what was loaded; called once."""

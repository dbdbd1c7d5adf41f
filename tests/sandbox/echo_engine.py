"""An engine for tests: it answers with the question, one piece a character, and does on demand what engines must not."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from workbench_sandbox.corpus.types import Sources
from workbench_sandbox.engines.contract import EngineFailed, Stop
from workbench_sandbox.formats.asking import Ask, Cite, Open, Record, Text


class Echo:
    """`!slow`: a piece every 20 ms until stopped; `!long`: more than any limit; `!fail`, `!fault`: ends badly; `!memory`: takes all of
    it; `!write TEXT`: leaves it in scratch and goes on; `!scratch`: names of what is there; `!look PATHS`: what it sees of others."""

    name = "echo"
    kind = "extractive"
    version = "1"
    place = "inside"

    def load(self, weights: Mapping[str, Path], *, threads: int) -> None:
        self._greeting = "".join(path.read_text("utf-8") for path in weights.values())

    def answer(self, ask: Ask, sources: Sources, stop: Stop) -> Iterator[Record]:
        yield Open(self.name, self.kind, self.version, self.place, ask.watermark)
        if ask.question == "!slow":
            while not stop():
                yield Text("·")
                time.sleep(0.02)
            return
        if ask.question == "!long":
            while not stop():
                yield Text("长" * 1000)
        if ask.question == "!fail":
            raise EngineFailed("ENGINE_FAILED")
        if ask.question == "!fault":
            raise RuntimeError(ask.question)
        if ask.question == "!memory":
            held = []
            while True:
                held.append(bytearray(16 << 20))
                held[-1][:: 4096] = b"1" * len(held[-1][:: 4096])
        if ask.question.startswith("!write "):
            Path("/scratch/kept").write_text(ask.question, "utf-8")
            while not stop():
                yield Text("写")
                time.sleep(0.02)
        if ask.question == "!scratch":
            yield Text("".join(one.name for one in Path("/scratch").iterdir()) or "空")
            return
        if ask.question.startswith("!look "):
            seen = {
                "processes": [int(one.name) for one in Path("/proc").iterdir() if one.name.isdigit()],
                "scratch": [one.name for one in Path("/scratch").iterdir()], "shared": [one.name for one in Path("/dev/shm").iterdir()],
                "segments": len(Path("/proc/sysvipc/shm").read_text().splitlines()) - 1,
                "sockets": [line.split()[7] for line in Path("/proc/net/unix").read_text().splitlines()[1:] if len(line.split()) > 7],
                "paths": [one for one in ask.question.split()[1:] if Path(one).exists()],
            }  # fmt: skip
            yield Text(json.dumps(seen))
            return
        for piece in ask.question:
            yield Text(piece)
        for document in sources.documents(kinds=ask.kinds, ids=ask.ids, until_ms=ask.until_ms):
            yield Text(document.title)
        yield Cite(1, "greeting", "1", 0, len(self._greeting) or 1, "0" * 64, "1" * 64)

    def close(self) -> None:
        pass

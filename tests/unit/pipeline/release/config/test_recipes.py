"""Recipes and the settings they bring."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from common.errors import InvalidRequest, NotFound
from pipeline.learning.item_graphs.builders import BUILDERS
from pipeline.release.config.build_settings import BuildSettings
from pipeline.release.config.recipe import Recipe
from pipeline.release.config.recipes import BASKETS, RECIPES, SEQUENCES, default_recipe, find_recipe


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda recipe: recipe.name)
def test_recipe_is_whole(recipe: Recipe):
    """Features are distinct, graphs have makers, non-increasing features exist, and it can be written as JSON."""
    assert len(set(recipe.features)) == len(recipe.features)
    assert {spec.kind for spec in recipe.graphs.values()} <= set(BUILDERS)
    assert recipe.non_increasing_features <= set(recipe.features)
    assert json.loads(json.dumps(recipe.as_json()))["name"] == recipe.name


def test_graphs_of_texts_and_of_repeats_say_so():
    """No graph of words claims to be what users with a similar history chose."""
    expected = {"repeat": "repeat", "again": "repeat", "text": "similar", "alike": "similar"}
    for recipe in RECIPES.values():
        for name, spec in recipe.graphs.items():
            if name in recipe.sources:
                assert recipe.sources[name]["evidence"] == expected.get(spec.kind, "behaviour")
    assert BASKETS.sources["repeat"]["evidence"] == "repeat"


def test_settings_are_the_recipes_unless_told_otherwise():
    """A recipe sets what it needs, a change given wins, and baskets change nothing."""
    assert BuildSettings.from_recipe(SEQUENCES.name).candidates == SEQUENCES.settings["candidates"]
    assert BuildSettings.from_recipe(SEQUENCES.name, candidates=50).candidates == 50
    assert BuildSettings.from_recipe(BASKETS.name) == BuildSettings()


def test_unknown_recipe_lists_the_known_ones():
    """The message names what there is."""
    with pytest.raises(NotFound, match="baskets, catalogue, searches, seasons, sequences"):
        find_recipe("soup")


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ({"lexical": {"k1": 1.2}}, r"sources\.lexical\.k1: Extra inputs"),
        ({"lexical": {"popularity": 3}}, r"sources\.lexical\.popularity: is no option of the kind lexical"),
        ({"exploration": {"recent": 3}}, r"sources\.exploration\.recent: is no option .* which has popularity"),
        ({"exploration": {"popularity": -1}}, r"sources\.exploration\.popularity: Input should be greater"),
        ({"magic": {}}, r"sources\.magic: has no kind"),
    ],
)
def test_a_recipe_with_options_that_are_none_is_refused(sources: dict[str, Any], message: str):
    """Before anything is trained, a message names the source and the option that it does not have."""
    with pytest.raises(InvalidRequest, match=rf"recipe baskets: .*{message}"):
        replace(BASKETS, sources={**BASKETS.sources, **sources})


def test_features_of_prices_and_times_can_be_added():
    """Each is added once, free of the recipe's order; others are refused with the known ones."""
    made = BuildSettings.from_recipe(BASKETS.name, added_features=("price_level", "category_affinity", "price_level"))
    assert made.resolve_recipe().features == (*BASKETS.features, "price_level")
    with pytest.raises(InvalidRequest, match="added_features: 'shoe_size' cannot be added; choose from price, price_l"):
        BuildSettings.from_recipe(BASKETS.name, added_features=("shoe_size",)).resolve_recipe()


def test_sources_of_words_and_of_chance_can_be_used():
    """A recipe may list them with their options, and a build may add them to any recipe's own."""
    listed = replace(BASKETS, sources={"lexical": {"kind": "lexical"}, "exploration": {"popularity": 5.0}})
    assert set(listed.sources) == {"lexical", "exploration"}
    made = BuildSettings.from_recipe(BASKETS.name, added_sources=("exploration", "lexical")).resolve_recipe()
    assert made.sources == {**BASKETS.sources, "exploration": {"kind": "exploration"}, "lexical": {"kind": "lexical"}}
    assert BuildSettings.from_recipe(BASKETS.name).resolve_recipe() == BASKETS
    with pytest.raises(InvalidRequest, match="added_sources: 'semantic' cannot be added; choose from lexical, explor"):
        BuildSettings.from_recipe(BASKETS.name, added_sources=("semantic",)).resolve_recipe()


@pytest.mark.parametrize(
    ("events", "times", "judgements", "expected"),
    [
        (True, True, True, "baskets"),
        (True, False, False, "sequences"),
        (False, True, True, "searches"),
        (False, True, False, "catalogue"),
    ],
)
def test_the_default_recipe_fits_the_data(events: bool, times: bool, judgements: bool, expected: str):
    """Without events, judgements decide; with events, their times do."""
    recipe = default_recipe(events=events, times=times, judgements=judgements)
    assert (recipe.name, recipe.needs_events) == (expected, events)

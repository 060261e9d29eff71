"""Recipes: what a release is made of, as data. A build reads a recipe and knows no shop by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from common.errors import NotFound
from pipeline.release.config.recipe import GraphSpec, Recipe
from pipeline.release.config.training_settings import CrossEncoderTraining, EncoderTraining, LateTraining

# What a graph goes by, by the kind of graph; every other kind goes by behaviour.
_GRAPH_EVIDENCE: Final = {"repeat": "repeat", "again": "repeat", "text": "similar", "alike": "similar"}


def _graph_source(name: str, graphs: Mapping[str, GraphSpec]) -> dict[str, str]:
    """Return the settings of the source that searches the graph ``name``."""
    return {"kind": "graph", "evidence": _GRAPH_EVIDENCE.get(graphs[name].kind, "behaviour")}


# No feature identifies an item: trees would memorise what sold in the weeks of training.
BASKETS: Final = Recipe(
    name="baskets",
    description="users who buy again and again, with times: groceries",
    sources={
        "repeat": {"kind": "graph", "evidence": "repeat"},
        "follow": {"kind": "graph"},
        "popular": {"kind": "popular"},
        "semantic": {"kind": "semantic"},
        "similar": {"kind": "similar"},
        "lexical": {"kind": "lexical"},
    },
    features=(
        *("history_events", "history_items", "has_query"),
        *("repeat_count", "repeat_share", "last_age", "first_age", "mean_gap", "due", "decayed_long", "decayed_short"),
        *("category_affinity", "category_count", "category_last_age", "category_loyalty", "category_due"),
        *("similarity_max", "similarity_mean"),
        *("relative_repeat", "relative_follow", "relative_popular", "relative_semantic", "relative_similar"),
        "relative_lexical",
        *("source_semantic", "fused", "fused_rank"),
    ),
    logit_features=("logit", "logit_rank", "logit_deviation"),
)
_BEHAVIOUR_GRAPHS: Final = {
    "both": GraphSpec("cooccurrence", {"decay": 0.6, "back": 0.5, "power": 0.5}),
    "step": GraphSpec("cooccurrence", {"decay": 0.0, "prior": 1.0}),
    "forward": GraphSpec("cooccurrence", {"decay": 0.6, "prior": 1.0}),
    "backward": GraphSpec("cooccurrence", {"decay": 0.6, "forward": 0.0, "back": 1.0, "prior": 1.0}),
    "flat": GraphSpec("cooccurrence", {"decay": 1.0, "back": 1.0, "power": 0.0}),
    "lift": GraphSpec("cooccurrence", {"decay": 1.0, "back": 1.0, "prior": 1.0, "power": 0.5, "damp": 0.5}),
    "ease": GraphSpec("ease", {"l2": 150.0}),
    "ease_words": GraphSpec("ease", {"l2": 150.0, "words": 40.0}),
    "ridge": GraphSpec("ridge", {"l2": 10.0, "decay": 0.6}),
    "svd": GraphSpec("svd", {"width": 128}),
    "walk": GraphSpec("walk", {"decay": 0.6, "back": 0.5}),
    "spread_from": GraphSpec("smoothed", {"kernel": "near50", "sides": "from"}),
    "spread_to": GraphSpec("smoothed", {"kernel": "near50", "sides": "to"}),
    "spread": GraphSpec("smoothed", {"kernel": "near50", "sides": "both"}),
    "spread_near": GraphSpec("smoothed", {"kernel": "near10", "sides": "both"}),
    "spread_wide": GraphSpec("smoothed", {"kernel": "near100", "sides": "both"}),
    "spread_words": GraphSpec("smoothed", {"kernel": "words", "sides": "both"}),
    "clusters60": GraphSpec("groups", {"by": "clusters60"}),
    "clusters120": GraphSpec("groups", {"by": "clusters120"}),
    "clusters250": GraphSpec("groups", {"by": "clusters250"}),
    "clusters500": GraphSpec("groups", {"by": "clusters500"}),
    "brands": GraphSpec("groups", {"by": "brand"}),
}
_TEXT_GRAPHS: Final = {
    "words": GraphSpec("text", {"of": "words"}),
    "characters": GraphSpec("text", {"of": "characters"}),
    "numbers": GraphSpec("text", {"of": "numbers"}),
    "meaning": GraphSpec("text", {"of": "vectors"}),
}
_STATISTICS: Final = ("repeat_rate", "first_share", "last_share", "followers", "followed", "near_popularity")
_SEQUENCE_SOURCES: Final = (
    *("both", "ease_words", "svd", "spread", "spread_near", "spread_words", "clusters60", "clusters250"),
    *("words", "characters", "meaning"),
)
_PLAIN: Final = (
    *("fused_rank", "history_events", "history_items", "popularity", "popularity_rank"),
    *(f"item_{name}" for name in _STATISTICS),
    *("repeat_count", "last_age", "brand_affinity", "brand_count", "brand_last_age"),
)
SEQUENCES: Final = Recipe(
    name="sequences",
    description="short sequences of which only the order is known: the next item",
    graphs={**_BEHAVIOUR_GRAPHS, **_TEXT_GRAPHS},
    sources={name: _graph_source(name, {**_BEHAVIOUR_GRAPHS, **_TEXT_GRAPHS}) for name in _SEQUENCE_SOURCES}
    | {"popular": {"kind": "popular"}, "semantic": {"kind": "semantic"}, "similar": {"kind": "similar"}},
    features=(
        *_PLAIN,
        "fused",
        *(f"relative_{name}" for name in _SEQUENCE_SOURCES),
        *(f"graph_{name}_{life}" for name in (*_BEHAVIOUR_GRAPHS, *_TEXT_GRAPHS) for life in ("long", "short", "last")),
        *("similarity_max", "similarity_mean", "similarity_last"),
    ),
    non_increasing_features=frozenset(_PLAIN),
    late_features=("late_score", "late_deviation"),
    windows=False,
    half_life_long=5.0,
    half_life_short=1.36,
    settings={
        "history_half_life": 1.36,
        "candidates": 300,
        "query_share": 0.0,
        "min_buyers": 0,
    },
)
_SEASON_GRAPHS: Final = {
    "repeat": GraphSpec("repeat"),
    "repeat_lately": GraphSpec("repeat", {"half_life": 60.0}),
    "again": GraphSpec("again", {"half_life": 14.0}),
    "follow": GraphSpec("follow", {"half_life": 60.0}),
    "together": GraphSpec("basket_ease", {"l2": 200.0, "half_life": 60.0}),
    "words": GraphSpec("alike", {"kernel": "words"}),
}
_DEMAND: Final = (
    *("sold_3", "sold_7", "sold_14", "sold_30", "sold_90", "trend_short", "trend_long"),
    *("on_sale", "last_sold", "bought_again"),
)
_SEASON_FEATURES: Final = (
    *("fused", "fused_rank", "history_events", "history_items", "variety", "has_query"),
    *("repeat_count", "repeat_share", "last_age", "first_age", "mean_gap", "due", "last_share"),
    *("decayed_long", "decayed_short", "popularity_rank"),
    *(f"item_{name}" for name in _DEMAND),
    *(f"relative_{name}" for name in (*_SEASON_GRAPHS, "semantic", "similar", "lexical")),
    "source_semantic",
    *(f"graph_{name}_{life}" for name in _SEASON_GRAPHS for life in ("long", "short")),
    *("similarity_max", "similarity_mean"),
)
SEASONS: Final = Recipe(
    name="seasons",
    description="users who buy again, with times, in a shop whose demand moves by the week: gifts, wholesale",
    graphs=_SEASON_GRAPHS,
    sources={name: _graph_source(name, _SEASON_GRAPHS) for name in _SEASON_GRAPHS}
    | {"lately": {"kind": "popular", "statistic": "sold_7"}}
    | {"popular": {"kind": "popular"}, "semantic": {"kind": "semantic"}, "similar": {"kind": "similar"}}
    | {"lexical": {"kind": "lexical"}},
    features=_SEASON_FEATURES,
    non_increasing_features=frozenset(_SEASON_FEATURES),
    late_features=("late_score", "late_deviation"),
    half_life_short=50.0,
    ranked_candidates=300,
    lightgbm_params={
        "extra_trees": False,
        "lambdarank_truncation_level": 30,
        "min_data_in_leaf": 100,
        "lambda_l2": 10.0,
    },
    settings={
        "candidates": 300,
        "min_buyers": 1,
        "query_share": 0.15,
        "training_requests": 6_000,
        "valid_users": 250,
        "trees": 150,
        "boosters": 2,
    },
)
_LEXICAL: Final = (
    *("words", "rarity", "rarest", "unknown", "exact", "near", "near_count", "missed", "head", "subject"),
    *("subject_head", "subject_place", "item_subject", "subjects", "first", "last", "opening", "brand_missed"),
    *("numbers", "order", "place", "item_words", "item_share", "bm25", "bm25_relative"),
)
SEARCHES: Final = Recipe(
    name="searches",
    description="searches whose results were judged; needs no events",
    sources={"semantic": {"kind": "semantic"}, "similar": {"kind": "similar"}, "popular": {"kind": "popular"}},
    features=(
        *(f"query_{name}" for name in _LEXICAL),
        # No ranks: a judged list holds a handful of items, a served one a hundred.
        *("source_semantic", "deviation_semantic"),
    ),
    late_features=("late_score", "late_deviation"),
    judged=True,
    windows=False,
    settings={
        "context_tokens": 32,
        "item_tokens": 48,
        "cross_encoder_depth": 100,
        # Judged lists have a handful of items: they show less of what reading a hundred gains.
        "min_gain_per_ms": 1e-5,
        "min_buyers": 0,
        "boosters": 2,
        "trees": 300,
        "encoder": EncoderTraining(epochs=1),
        "late": LateTraining(epochs=2),
        "cross_encoder": CrossEncoderTraining(
            layers=6, learning_rate=1e-4, head_learning_rate=5e-4, epochs=2, warm_up_steps=100
        ),
    },
)
CATALOGUE: Final = Recipe(
    name="catalogue",
    description="items alone, without events and judgements: searches and similar items",
    sources={
        "semantic": {"kind": "semantic"},
        "similar": {"kind": "similar"},
        "lexical": {"kind": "lexical"},
        "popular": {"kind": "popular"},
        "exploration": {"kind": "exploration"},
    },
    features=SEARCHES.features,
    late_features=SEARCHES.late_features,
    windows=False,
    settings={
        "context_tokens": 32,
        "item_tokens": 48,
        "cross_encoder_depth": 0,
        "min_buyers": 0,
        "training_requests": 300,
        "boosters": 2,
        "trees": 150,
        "late": LateTraining(epochs=2),
        "cross_encoder": CrossEncoderTraining(
            layers=3, learning_rate=1e-4, head_learning_rate=5e-4, epochs=1, warm_up_steps=20
        ),
    },
)
RECIPES: Final = {recipe.name: recipe for recipe in (BASKETS, SEQUENCES, SEASONS, SEARCHES, CATALOGUE)}


def default_recipe(*, events: bool, times: bool, judgements: bool) -> Recipe:
    """Return the recipe for a dataset if the user names none.

    Args:
        events: Whether it has events.
        times: Whether their times are known, and not only their order.
        judgements: Whether it has judged searches.
    """
    if not events:
        return SEARCHES if judgements else CATALOGUE
    return BASKETS if times else SEQUENCES


def find_recipe(name: str) -> Recipe:
    """Return the recipe called ``name``; raises NotFound listing the known ones."""
    if name not in RECIPES:
        raise NotFound(f"there is no recipe {name!r}; the known ones are {', '.join(sorted(RECIPES))}")
    return RECIPES[name]

"""The staged first stage: its settings, its source weights, and opening it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

from common.release import layout
from pipeline.build.context import BuildContext
from pipeline.data.dataset.training_requests import ShopRequest
from pipeline.learning.examples.labelled_candidates import label_candidates, learn_source_weights, with_semantic_floor
from services.retrieval.candidates.first_stage import FirstStage


def open_first_stage(context: BuildContext) -> closing[FirstStage]:
    """Load the staged release's first stage, to be used in a ``with`` statement."""
    return closing(FirstStage.load(context.staging.release()))


def write_retrieval_settings(
    context: BuildContext,
    weights: Mapping[str, Mapping[str, float]],
    sources: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Write the first stage's settings.

    Args:
        context: The build.
        weights: Weights of the sources by kind of query; empty for equal weights.
        sources: The sources; by default the recipe's.
    """
    settings = context.settings
    context.staging.write_json(
        layout.RETRIEVAL_SETTINGS,
        {
            "sources": context.recipe.sources if sources is None else sources,
            "weights": weights,
            "decay": 0.5 ** (1 / settings.history_half_life),
            "query_prefix": settings.query_prefix,
            "item_prefix": settings.item_prefix,
            "events": context.event_weights.model_dump(),
        },
    )


def learn_first_stage_weights(context: BuildContext, requests: Sequence[ShopRequest], candidates: int) -> None:
    """Learn the sources' weights from requests, and write them.

    Args:
        context: The build.
        requests: The requests.
        candidates: How many candidates of each to learn from.
    """
    with (
        open_first_stage(context) as first_stage,
        context.report.step("Fitting the weights of candidate sources", len(requests)) as step,
    ):
        drawn = label_candidates(first_stage, requests, candidates, step)
        learned = learn_source_weights(drawn, first_stage.sources)
        write_retrieval_settings(context, with_semantic_floor(learned, first_stage.settings.kind_of))

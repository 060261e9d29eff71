"""The recipe `catalogue`: items alone. The second stage learns from searches made of their titles."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from common.errors import InvalidRequest
from pipeline.build.completion.learned import Learned
from pipeline.build.context import BuildContext
from pipeline.build.recipes.searches import learn_from_queries, refuse_unchecked
from pipeline.build.steps.catalogue import write_catalogue
from pipeline.gate.questions import questions_of_queries
from pipeline.learning.examples.judged_queries import hold_out_queries
from pipeline.learning.examples.title_queries import title_queries

_DATA: Final = "searches made of titles, which no user typed"


def build_catalogue(context: BuildContext) -> Learned:
    """Build a release from items alone; events and judgements are not used.

    Raises:
        InvalidRequest: There are too few items with different titles, or the settings ask for what the
            recipe cannot check, or for a fine-tuned encoder.
    """
    settings = context.settings
    refuse_unchecked(context)
    if settings.encoder.epochs:
        raise InvalidRequest(f"the recipe {context.recipe.name} knows no real searches: leave encoder_epochs at 0")
    catalogue = write_catalogue(context, context.dataset.items)
    titles = catalogue.table["title"].to_pylist()
    queries = title_queries(titles, count=settings.training_requests, list_size=settings.list_size, seed=settings.seed)
    if len(queries) < settings.folds:
        raise InvalidRequest(
            f"{len(titles)} items have {len(queries)} different titles; give {settings.folds} at least"
        )
    queries, held_out = hold_out_queries(queries, settings.test_users)
    learned = learn_from_queries(context, catalogue, queries, _DATA)
    return replace(learned, questions=questions_of_queries(held_out, catalogue, "searches made of titles, held out"))

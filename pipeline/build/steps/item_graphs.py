"""Item graphs of the recipes that make their own."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from common.release import layout
from common.release.catalogue import Catalogue
from pipeline.build.context import BuildContext
from pipeline.learning.item_graphs.builders import TEXT_KINDS, GraphInputs, item_graphs
from pipeline.learning.item_graphs.sequences import Sequences
from pipeline.learning.item_graphs.text_similarity import ItemTexts
from pipeline.release.config.recipe import GraphSpec, Recipe


def read_item_texts(context: BuildContext, catalogue: Catalogue) -> ItemTexts:
    """Return the items' texts with their staged embeddings."""
    staging = context.staging
    vectors = np.load(staging.file(layout.VECTORS))[np.load(staging.file(layout.VECTOR_OF_ITEM))]
    titles, brands = (catalogue.table[name].to_pylist() for name in ("title", "brand"))
    return ItemTexts(titles, [brand or "" for brand in brands], vectors, context.settings.seed)


def write_text_graphs(context: BuildContext, texts: ItemTexts) -> None:
    """Compute and write the recipe's graphs of texts alone: events do not change them."""
    nobody = Sequences.of([], len(texts.titles))
    specs = {name: spec for name, spec in context.recipe.graphs.items() if spec.kind in TEXT_KINDS}
    _write_graphs(context, specs, GraphInputs(nobody, texts), "Comparing texts")


def write_event_graphs(context: BuildContext, evidence: GraphInputs, title: str) -> None:
    """Compute the recipe's graphs of events, and write them in place of earlier ones.

    Args:
        context: The build.
        evidence: The events, and the texts.
        title: The progress step's title.
    """
    _write_graphs(context, event_graphs(context.recipe), evidence, title)


def event_graphs(recipe: Recipe) -> dict[str, GraphSpec]:
    """Return a recipe's graphs that events change."""
    return {name: spec for name, spec in recipe.graphs.items() if spec.kind not in TEXT_KINDS}


def _write_graphs(context: BuildContext, specs: Mapping[str, GraphSpec], evidence: GraphInputs, title: str) -> None:
    with context.report.step(title, len(specs)) as step:
        for name, graph in item_graphs(specs, evidence, context.recipe.neighbours):
            graph.save(context.staging.path, name)
            step.advance()

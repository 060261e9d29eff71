"""The recipe `seasons`: tables as they were known at each moment that is learned at."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Final

import numpy as np
import polars as pl

from common.errors import InvalidRequest
from common.release import layout
from common.release.catalogue import Catalogue
from pipeline.build.context import BuildContext
from pipeline.build.second_stage.ranking_fusion import fit_ranking_fusion, refuse_trimming
from pipeline.build.steps.catalogue import (
    items_with_buyers,
    require_events,
    titles_by_item,
    write_catalogue,
)
from pipeline.build.steps.encoder import export_base_encoder, write_index
from pipeline.build.steps.first_stage import write_retrieval_settings
from pipeline.build.steps.item_graphs import read_item_texts, write_event_graphs, write_text_graphs
from pipeline.build.steps.model_card import write_model_card
from pipeline.build.steps.purchase_encoder import train_purchase_encoder
from pipeline.build.steps.ranking_examples import RankingExamples, learn_weights_from_sample, make_ranking_examples
from pipeline.build.steps.staged_release import write_array
from pipeline.data.dataset.training_requests import (
    TrainingSnapshot,
    Windows,
    sample_training_snapshots,
    simulate_cold_start,
)
from pipeline.learning.examples.fusion import calibration_error, ndcg_by_kind
from pipeline.learning.examples.labelled_candidates import LabelledCandidates
from pipeline.learning.fusion.lambdamart import RankedExamples
from pipeline.learning.fusion.trees import FusionTrees
from pipeline.learning.item_graphs.builders import GraphInputs
from pipeline.learning.item_graphs.demand import demand
from pipeline.learning.item_graphs.purchases import Purchases, popularity
from pipeline.learning.item_graphs.sequences import Sequences
from pipeline.learning.item_graphs.text_similarity import ItemTexts

# Moments to learn at before validation, each a window after the one before.
MOMENTS: Final = 5
# Share of users left out of the tables at each moment: the fusion meets them as new users.
LEFT_OUT_SHARE: Final = 1 / 3


def build_seasons(context: BuildContext) -> None:
    """Build a release from purchases with times in a shop whose demand moves.

    Tables that end before everything that is learned from would be months old when they are served. So they are
    counted at each moment from the events before it, and finally from the events before the test.

    Raises:
        InvalidRequest: There are no events, no room for the moments, or nobody to learn from; or the settings ask for
            a trimmed vocabulary.
        CompressionRefused: A smaller cross-encoder loses more than the settings allow.
    """
    refuse_trimming(context)
    require_events(context)
    windows = Windows.of(context.dataset.events, context.settings.window_days, MOMENTS)
    data = f"what users bought before {windows.test:%Y-%m-%d}"
    items = items_with_buyers(context.dataset, windows.test, context.settings.min_buyers)
    catalogue = write_catalogue(context, items)
    export_base_encoder(context)
    write_index(context, catalogue)
    train_purchase_encoder(context, catalogue, windows)
    texts = read_item_texts(context, catalogue)
    write_text_graphs(context, texts)
    write_retrieval_settings(context, {})
    examples = _make_examples(context, catalogue, texts, windows)
    probability = fit_ranking_fusion(context, catalogue, examples, partial(_measure, examples.valid_requests), data)
    _write_tables(context, catalogue, texts, windows.test)
    write_model_card(context.staging, catalogue, examples.valid_requests, probability)


def _make_examples(context: BuildContext, catalogue: Catalogue, texts: ItemTexts, windows: Windows) -> RankingExamples:
    """Make examples moment by moment; the last moment is validation."""
    settings, parts = context.settings, []
    titles = titles_by_item(catalogue)
    for number, snapshot in enumerate(_draw_snapshots(context, windows)):
        requests = simulate_cold_start(
            snapshot.requests,
            titles,
            searches=settings.query_share,
            newcomers=settings.newcomer_share,
            seed=settings.seed + number,
        )
        _write_tables(context, catalogue, texts, snapshot.moment, snapshot.left_out)
        if number == 0:
            learn_weights_from_sample(context, requests)
        title = f"Retrieving candidates of {snapshot.moment:%Y-%m-%d}"
        parts.append(make_ranking_examples(context, catalogue, requests, snapshot.checked, title))
    examples = RankingExamples.join(parts)
    if not examples.train or not examples.valid:
        raise InvalidRequest("the events leave nobody to learn from; choose other windows")
    return examples


def _draw_snapshots(context: BuildContext, windows: Windows) -> Sequence[TrainingSnapshot]:
    settings = context.settings
    with context.report.step("Sampling users for training"):
        return sample_training_snapshots(
            context.dataset.events,
            windows,
            requests=settings.training_requests,
            valid=settings.valid_users,
            test=settings.test_users,
            left_out=LEFT_OUT_SHARE,
            seed=settings.seed,
        )


def _write_tables(
    context: BuildContext, catalogue: Catalogue, texts: ItemTexts, moment: datetime, left_out: Collection[str] = ()
) -> None:
    """Write graphs, statistics and popularity of the events before a moment, in place of earlier ones.

    Args:
        context: The build.
        catalogue: The items.
        texts: Their texts.
        moment: Events from this moment on do not count.
        left_out: Users whose events do not count.
    """
    time, user_id = pl.col("timestamp"), pl.col("user_id")
    past = context.dataset.events.filter((time < moment) & ~user_id.is_in(sorted(left_out)))
    purchases, items = Purchases.of(past, catalogue, moment), len(catalogue)
    evidence = GraphInputs(Sequences.of([], items), texts, purchases.baskets(items))
    write_event_graphs(context, evidence, f"Counting what was known on {moment:%Y-%m-%d}")
    for name, values in demand(purchases, items).items():
        write_array(context.staging, layout.statistic_file(name), values)
    write_array(context.staging, layout.POPULARITY, popularity(purchases, items).buyers)


def _measure(
    requests: Sequence[LabelledCandidates], valid: RankedExamples, fusion: FusionTrees
) -> Mapping[str, Mapping[str, float]]:
    """Return NDCG@10 of both stages by what is known of a user, and the calibration."""
    probability = fusion.probability(valid.features)
    ends = np.cumsum(valid.sizes)[:-1]
    first = [-np.arange(size, dtype=np.float64) for size in valid.sizes.tolist()]
    return {
        "first stage": ndcg_by_kind(requests, first),
        "fusion": ndcg_by_kind(requests, np.split(probability, ends)),
        "calibration": {"expected calibration error": calibration_error(probability, valid.labels)},
    }

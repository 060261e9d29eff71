"""The recipe `seasons`: tables as they were known at each moment that is learned at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

import numpy as np

from common.errors import InvalidRequest
from common.release.catalogue import Catalogue
from pipeline.build.completion.learned import Learned, record_learned_until
from pipeline.build.context import BuildContext
from pipeline.build.second_stage.ranking_fusion import fit_ranking_fusion, refuse_trimming
from pipeline.build.second_stage.text_tiers import staged_tiers
from pipeline.build.steps.catalogue import (
    require_events,
    write_catalogue,
)
from pipeline.build.steps.encoder import export_base_encoder, write_index
from pipeline.build.steps.first_stage import write_retrieval_settings
from pipeline.build.steps.judged_searches import draw_searches, judged_searches
from pipeline.build.steps.purchase_encoder import train_purchase_encoder
from pipeline.build.steps.ranking_examples import RankingExamples, learn_weights_from_sample, make_ranking_examples
from pipeline.build.steps.tables import table_writer
from pipeline.data.dataset.training_requests import (
    TrainingSnapshot,
    Windows,
    sample_training_snapshots,
)
from pipeline.learning.examples.fusion import calibration_error, ndcg_by_kind
from pipeline.learning.examples.labelled_candidates import LabelledCandidates
from pipeline.learning.examples.typed_searches import ItemWords
from pipeline.learning.fusion.lambdamart import RankedExamples
from pipeline.learning.fusion.trees import FusionTrees
from pipeline.tables.table_writer import TableWriter

# Moments to learn at before validation, each a window after the one before.
MOMENTS: Final = 5
# Share of users left out of the tables at each moment: the fusion meets them as new users.
LEFT_OUT_SHARE: Final = 1 / 3


def build_seasons(context: BuildContext) -> Learned:
    """Build a release from purchases with times in a shop whose demand moves.

    Tables that end before everything that is learned from would be months old when they are served. So they are
    counted at each moment from the events before it, and finally from all events.

    Raises:
        InvalidRequest: There are no events, no room for the moments, or nobody to learn from; or the settings ask for
            a trimmed vocabulary.
        CompressionRefused: A smaller cross-encoder loses more than the settings allow.
    """
    refuse_trimming(context)
    require_events(context)
    windows = Windows.of(context.dataset.events, context.settings.window_days, MOMENTS)
    data = f"what users bought before {windows.test:%Y-%m-%d}"
    catalogue = write_catalogue(context, context.dataset.items)
    export_base_encoder(context)
    write_index(context, catalogue)
    train_purchase_encoder(context, catalogue, windows)
    tables = table_writer(context, catalogue, windows.test)
    tables.write_text_graphs()
    write_retrieval_settings(context, {})
    examples = _make_examples(context, catalogue, tables, windows)
    probability = fit_ranking_fusion(context, catalogue, examples, partial(_measure, examples.valid_requests), data)
    record_learned_until(context, windows.test, "weights", "fusion", *staged_tiers(context))
    return Learned(catalogue, examples.valid_requests, probability, windows)


def _make_examples(
    context: BuildContext, catalogue: Catalogue, tables: TableWriter, windows: Windows
) -> RankingExamples:
    """Make examples moment by moment; the last moment is validation."""
    settings, parts = context.settings, []
    words, searches = ItemWords.of(context.dataset.items), judged_searches(context, catalogue)
    for number, snapshot in enumerate(_draw_snapshots(context, windows)):
        requests = draw_searches(settings, snapshot.requests, words, settings.seed + number)
        tables.write_counts(context.dataset.events, snapshot.moment, snapshot.left_out)
        if number == 0:
            learn_weights_from_sample(context, requests, searches.train)
        title = f"Retrieving candidates of {snapshot.moment:%Y-%m-%d}"
        parts.append(make_ranking_examples(context, catalogue, requests, snapshot.checked, title))
    if searches.train:
        title = "Retrieving candidates of judged searches"
        parts.append(make_ranking_examples(context, catalogue, searches.train, [False] * len(searches.train), title))
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

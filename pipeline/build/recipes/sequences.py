"""The recipe `sequences`: item graphs of sequences, and examples by cross-fitting."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from common.errors import InvalidRequest
from common.release.catalogue import Catalogue
from pipeline.build.completion.learned import WHOLE_SEQUENCES, Learned, record_learned_until
from pipeline.build.context import BuildContext
from pipeline.build.second_stage.ranking_fusion import fit_ranking_fusion, refuse_trimming
from pipeline.build.second_stage.text_tiers import staged_tiers
from pipeline.build.steps.catalogue import require_events, write_catalogue
from pipeline.build.steps.encoder import export_base_encoder, write_index
from pipeline.build.steps.first_stage import write_retrieval_settings
from pipeline.build.steps.ranking_examples import RankingExamples, learn_weights_from_sample, make_ranking_examples
from pipeline.build.steps.tables import table_writer
from pipeline.gate.questions import GateQuestions, questions_of_next_items
from pipeline.learning.examples.fusion import calibration_error
from pipeline.learning.fusion.lambdamart import RankedExamples
from pipeline.learning.fusion.trees import FusionTrees
from pipeline.learning.item_graphs.cross_fitting import (
    Fold,
    SequenceSplit,
    cross_fit,
    hold_out_ends,
    requests_after_split,
    sample_held_out_users,
    split_sequences,
)
from pipeline.tables.table_writer import TableWriter

_FOLDS: Final = 5
_MAX_HISTORY: Final = 10
_VALIDATION_SHARE: Final = 0.2
_DATA: Final = "next items of cross-fitted sequences"


def build_sequences(context: BuildContext) -> Learned:
    """Build a release from sequences; only the order of events needs to be known.

    Raises:
        InvalidRequest: There are no events, or the sequences are too short; or the settings ask for a trimmed
            vocabulary or a fine-tuned encoder.
        CompressionRefused: A smaller cross-encoder loses more than the settings allow.
    """
    refuse_trimming(context)
    _refuse_encoder_training(context)
    require_events(context)
    # Every item is in the catalogue: one without events is found by its text.
    catalogue = write_catalogue(context, context.dataset.items)
    export_base_encoder(context)
    write_index(context, catalogue)
    tables = table_writer(context, catalogue)
    tables.write_text_graphs()
    write_retrieval_settings(context, {})
    split, ends = learned_sequences(context)
    examples = _make_examples(context, catalogue, tables, split)
    probability = fit_ranking_fusion(context, catalogue, examples, _measure, _DATA)
    record_learned_until(context, WHOLE_SEQUENCES, "weights", "fusion", *staged_tiers(context))
    questions = questions_of_next_items(ends.requests, ends.users)
    return Learned(catalogue, examples.valid_requests, probability, questions=questions)


def learned_sequences(context: BuildContext) -> tuple[SequenceSplit, Fold]:
    """Return the sequences that are learned from, and the requests of the users that are held out for the gate."""
    return hold_out_ends(split_sequences(context.dataset.events), context.settings.test_users, _MAX_HISTORY)


def write_tables_of_ends(context: BuildContext, catalogue: Catalogue) -> GateQuestions:
    """Write the tables of what came before the validation period; return the requests of the users held out."""
    split, ends = learned_sequences(context)
    before = requests_after_split(split, _MAX_HISTORY)
    table_writer(context, catalogue).write_sequences(before.sequences, before.weighed)
    return questions_of_next_items(ends.requests, ends.users)


def _refuse_encoder_training(context: BuildContext) -> None:
    """Raise InvalidRequest if the encoder is to be fine-tuned.

    Without times there is no past that all users share. The fusion learns from every fold of the sequences, and would
    read similarities of items that the encoder was trained on.
    """
    if context.settings.encoder.epochs:
        raise InvalidRequest(f"the recipe {context.recipe.name} knows no times: leave encoder_epochs at 0")


def _make_examples(
    context: BuildContext, catalogue: Catalogue, tables: TableWriter, split: SequenceSplit
) -> RankingExamples:
    """Make examples fold by fold; some users of the last fold are the validation users."""
    parts = []
    for number, fold in enumerate(sequence_folds(tables, split, context.settings.seed)):
        if number == 0:
            learn_weights_from_sample(context, fold.requests)
        is_last = number == _FOLDS
        valid = sample_held_out_users(fold.users, _VALIDATION_SHARE, context.settings.seed) if is_last else frozenset()
        is_validation = [user in valid for user in fold.users]
        parts.append(make_ranking_examples(context, catalogue, fold.requests, is_validation))
    return RankingExamples.join(parts)


def sequence_folds(tables: TableWriter, split: SequenceSplit, seed: int) -> Iterator[Fold]:
    """Write the tables of each fold in turn, and yield the requests that may be asked of them.

    Args:
        tables: Writes the tables.
        split: The sequences.
        seed: Seed of the folds.

    Yields:
        The folds of cross-fitting, then the requests of the validation period, with tables of what came before it.

    Raises:
        InvalidRequest: A fold has no requests.
    """
    folds = cross_fit(split, _FOLDS, _MAX_HISTORY, seed)
    for fold in (*folds, requests_after_split(split, _MAX_HISTORY)):
        if not fold.requests:
            raise InvalidRequest("the sequences are too short to learn the next item from; give longer ones")
        tables.write_sequences(fold.sequences, fold.weighed)
        yield fold


def _measure(valid: RankedExamples, fusion: FusionTrees) -> Mapping[str, Mapping[str, float]]:
    """Return NDCG@10 and HR@10 of both stages, and the calibration; a target that was not found counts as missed."""
    probability = fusion.probability(valid.features)
    ends = np.cumsum(valid.sizes)[:-1]
    labels = np.split(valid.labels, ends)
    first = [np.flatnonzero(found) for found in labels]
    second = [
        np.flatnonzero(found[np.argsort(-values, kind="stable")])
        for found, values in zip(labels, np.split(probability, ends), strict=True)
    ]
    error = calibration_error(probability, valid.labels)
    return {
        "first stage": _at_ten(first),
        "fusion": _at_ten(second),
        "calibration": {"expected calibration error": error},
    }


def _at_ten(positions: Sequence[npt.NDArray[Any]]) -> dict[str, float]:
    """Return NDCG@10 and HR@10 of requests with one target each, from its position; empty if it was not found."""
    ranks = np.array([found[0] if len(found) else np.inf for found in positions])
    return {
        "ndcg@10": float(np.where(ranks < 10, 1 / np.log2(ranks + 2), 0.0).mean()),  # noqa: PLR2004 - at ten
        "hr@10": float((ranks < 10).mean()),  # noqa: PLR2004 - at ten
    }

"""What late interaction learns from: labelled candidates, and the logits of a cross-encoder that did not see them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.progress import Step
from pipeline.train.candidates import Labelled
from pipeline.train.late_interaction import LateExample
from pipeline.train.pair_examples import choose_candidates, pairs_of, score_pairs
from services.ranking.cross_encoder import CrossEncoder
from services.ranking.pair_texts import PairTexts

Chosen = tuple[Labelled, npt.NDArray[np.int64]]


def late_lists(drawn: Sequence[Labelled], texts: PairTexts, *, lists: int, size: int, seed: int) -> list[Chosen]:
    """Choose lists to learn from, as `training_lists` does: with the same seed and size the first ones are the same."""
    generator = np.random.default_rng(seed)
    found = [example for example in drawn if example.labels.any()]
    return [(example, choose_candidates(example, texts, size, generator)) for example in found[:lists]]


def taught(
    chosen: Sequence[Chosen], texts: PairTexts, cross_encoder: CrossEncoder, learnt: int, step: Step
) -> list[LateExample]:
    """Return lists as examples, with the cross-encoder's logits from list ``learnt`` on."""
    pairs = [pairs_of(example, places, texts) for example, places in chosen[learnt:]]
    step.at(0, sum(map(len, pairs)))
    logits = score_pairs(cross_encoder, pairs, step) if pairs else []
    unknown = [np.full(len(places), np.nan, np.float32) for _, places in chosen[:learnt]]
    return [_example(*one, texts, teacher) for one, teacher in zip(chosen, [*unknown, *logits], strict=True)]


def _example(
    example: Labelled, places: npt.NDArray[np.int64], texts: PairTexts, teacher: npt.NDArray[np.float32]
) -> LateExample:
    context = texts.context(example.person.query, texts.context_items(example.person.history))
    items, _ = texts.items(example.candidates.rows[places], {})
    return LateExample(context, items, example.labels[places], teacher)

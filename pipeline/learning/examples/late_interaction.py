"""What late interaction learns from: labelled candidates, and the logits of a cross-encoder that did not see them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from common.arrays import Float32Array, TokenIds
from common.ragged import TokenRows
from pipeline.learning.examples.labelled_candidates import LabelledCandidates
from pipeline.learning.examples.text_pairs import choose_candidates, pairs_of, score_pairs
from pipeline.progress import ProgressStep
from services.ranking.cross_encoder.model import CrossEncoder
from services.ranking.pairs.pair_tokenizer import PairTokenizer

Chosen = tuple[LabelledCandidates, npt.NDArray[np.int64]]


def late_lists(
    labelled: Sequence[LabelledCandidates], texts: PairTokenizer, *, lists: int, size: int, seed: int
) -> list[Chosen]:
    """Choose lists to learn from, as `training_lists` does: with the same seed and size the first ones are the same."""
    generator = np.random.default_rng(seed)
    found = [example for example in labelled if example.labels.any()]
    return [(example, choose_candidates(example, texts, size, generator)) for example in found[:lists]]


def distilled(
    chosen: Sequence[Chosen],
    texts: PairTokenizer,
    cross_encoder: CrossEncoder | None,
    first_with_logits: int,
    step: ProgressStep,
) -> list[LateExample]:
    """Return lists as examples, with the cross-encoder's logits from list ``first_with_logits`` on, if there is one."""
    if cross_encoder is None:
        first_with_logits = len(chosen)
    pairs = [pairs_of(example, places, texts) for example, places in chosen[first_with_logits:]]
    step.at(0, sum(map(len, pairs)))
    logits = score_pairs(cross_encoder, pairs, step) if pairs and cross_encoder is not None else []
    unknown = [np.full(len(places), np.nan, np.float32) for _, places in chosen[:first_with_logits]]
    return [_example(*one, texts, teacher) for one, teacher in zip(chosen, [*unknown, *logits], strict=True)]


def _example(
    example: LabelledCandidates, places: npt.NDArray[np.int64], texts: PairTokenizer, teacher: npt.NDArray[np.float32]
) -> LateExample:
    context = texts.context(example.user.query, texts.context_items(example.user.history))
    items, _ = texts.items(example.candidates.rows[places], {})
    return LateExample(context, items, example.labels[places], teacher)


@dataclass(frozen=True)
class LateExample:
    """One user and some candidates.

    Attributes:
        context: The user context's token ids, without special tokens.
        items: The candidates' likewise.
        labels: 1 if bought, or a graded relevance from 0 to 1; NaN if unknown; float32 [candidates].
        teacher: The cross-encoder's logits, NaN if unknown; float32 [candidates].
        others: Further contexts that the cross-encoder scored the candidates with; as many in every example.
        others_teacher: Its logits of those; float32 [others, candidates].
    """

    context: TokenIds
    items: TokenRows
    labels: Float32Array
    teacher: Float32Array
    others: TokenRows = field(default_factory=lambda: TokenRows.from_rows([]))
    others_teacher: Float32Array | None = None

    @property
    def contexts(self) -> list[TokenIds]:
        """All contexts, the user's first."""
        return [self.context, *self.others]

    @property
    def logits(self) -> Float32Array:
        """The cross-encoder's logits with each of them; float32 [candidates, contexts]."""
        further = [] if self.others_teacher is None else [*self.others_teacher]
        return np.stack([self.teacher, *further], axis=1)

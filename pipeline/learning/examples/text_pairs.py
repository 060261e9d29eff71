"""Pairs of labelled candidates for the cross-encoder: training lists, and logits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

import numpy as np
import numpy.typing as npt

from common.ragged import TokenRows
from pipeline.learning.examples.labelled_candidates import LabelledCandidates
from pipeline.learning.examples.ranking_lists import RankingExample
from pipeline.progress import ProgressStep
from services.ranking.cross_encoder.model import CrossEncoder
from services.ranking.pairs.pair_tokenizer import PairTokenizer
from services.ranking.pairs.pair_tokens import ModelInputs, TokenPairs

_POSITIVES: Final = 4
_PADDED_TOKENS: Final = 4_096


def training_lists(
    labelled: Sequence[LabelledCandidates], texts: PairTokenizer, *, lists: int, size: int, seed: int
) -> Iterator[RankingExample]:
    """Yield training lists: up to four bought candidates, and candidates that were not bought.

    Candidates with the same text as a bought one are left out, since the cross-encoder cannot distinguish them.
    """
    generator = np.random.default_rng(seed)
    for example in islice((one for one in labelled if one.labels.any()), lists):
        places = choose_candidates(example, texts, size, generator)
        yield RankingExample(pairs_of(example, places, texts), example.labels[places])


def pairs_of(example: LabelledCandidates, places: npt.NDArray[np.int64], texts: PairTokenizer) -> TokenPairs:
    """Join the user's context with some of the candidates, as the ranking service does."""
    context = texts.context(example.user.query, texts.context_items(example.user.history))
    items, _ = texts.items(example.candidates.rows[places], {})
    return texts.template.join(TokenRows.from_rows([context]), np.zeros(len(places), np.int64), items)


def score_pairs(
    model: CrossEncoder, all_pairs: Sequence[TokenPairs], step: ProgressStep
) -> list[npt.NDArray[np.float32]]:
    """Score pairs in batches of similar lengths; returns the logits of each of ``all_pairs``."""
    lengths = np.concatenate([pairs.lengths for pairs in all_pairs])
    owner = np.repeat(np.arange(len(all_pairs)), [len(pairs) for pairs in all_pairs])
    place = np.concatenate([np.arange(len(pairs)) for pairs in all_pairs])
    logits = np.empty(len(lengths), np.float32)
    order = np.argsort(lengths, kind="stable")
    start = 0
    while start < len(order):
        stop = _batch_end(lengths, order, start)
        rows = order[start:stop]
        inputs = ModelInputs.from_pairs(*(all_pairs[owner[row]].part(place[row], place[row] + 1) for row in rows))
        logits[rows] = model(inputs.input_ids, inputs.attention_mask, inputs.token_type_ids)
        step.advance(len(rows))
        start = stop
    return np.split(logits, np.cumsum([len(pairs) for pairs in all_pairs])[:-1])


def _batch_end(lengths: npt.NDArray[np.int64], order: npt.NDArray[np.int64], start: int) -> int:
    """Return where a batch that begins at ``start`` ends, so that rows times the longest stay within the budget."""
    stop = start + 1
    while stop < len(order) and (stop + 1 - start) * lengths[order[stop]] <= _PADDED_TOKENS:
        stop += 1
    return stop


def choose_candidates(
    example: LabelledCandidates, texts: PairTokenizer, size: int, generator: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Sample up to four bought candidates, and others with different texts; returns their positions."""
    bought = np.flatnonzero(example.labels)
    bought = generator.permutation(bought)[:_POSITIVES]
    bought_texts = {texts.item_text(int(row)) for row in example.candidates.rows[np.flatnonzero(example.labels)]}
    others = [
        place
        for place in np.flatnonzero(example.labels == 0)
        if texts.item_text(int(example.candidates.rows[place])) not in bought_texts
    ]
    negatives = generator.permutation(np.array(others, np.int64))[: size - len(bought)]
    return np.concatenate([bought, negatives]).astype(np.int64)

"""Fuses the scores of several sources into one score per candidate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

import numpy as np

from common.arrays import Float32Array, Float64Array, RowIndices
from services.retrieval.catalogue.scored_items import ScoredItems
from services.retrieval.sources.user_context import Situation


class LinearFusion:
    """A weighted sum of the sources' normalised scores, with weights for each situation.

    Args:
        weights: The weight of each source in each situation. A missing situation weighs all sources equally; a missing
            source has weight 0.
    """

    def __init__(self, weights: Mapping[Situation, Mapping[str, float]]) -> None:
        self._weights = weights
        self._cached_weights: dict[tuple[Situation, tuple[str, ...]], Float64Array] = {}

    def weights(self, situation: Situation, sources: Sequence[str]) -> Float64Array:
        """Return the weights of ``sources``; equal ones if the situation gives none of them any weight."""
        key = situation, tuple(sources)
        if key not in self._cached_weights:
            given = self._weights.get(situation, {})
            weights = np.array([given.get(source, 0.0) for source in sources])
            self._cached_weights[key] = weights if weights.any() else np.ones(len(sources))
        return self._cached_weights[key]

    def fuse(
        self, scores: Float32Array, counts: Sequence[int], situations: Sequence[Situation], sources: Sequence[str]
    ) -> Float64Array:
        """Return the fused score of each candidate of several requests.

        Args:
            scores: Each source's scores, NaN for candidates that it did not find, one request's candidates after the
                other's; shape [candidates, sources].
            counts: How many of the candidates each request has.
            situations: The situation of each request.
            sources: The sources' names; shape [sources].
        """
        weights = np.array([self.weights(situation, sources) for situation in situations])
        scaled = _scaled(scores, counts)
        scaled *= _spread(weights.T, counts)
        fused: Float64Array = scaled[0] if len(sources) == 1 else np.add.reduce(np.ascontiguousarray(scaled.T), axis=1)
        return fused


def normalised(scores: Float32Array, counts: Sequence[int] | None = None) -> Float64Array:
    """Scale each source's scores to 0 to 1 by its highest score in a request; items that it did not find get 0.

    The square root lifts small scores: counts of repeated purchases fall off steeply. Negative scores (cosines of
    unlike texts) shift all scores of that source up until none is negative.

    Args:
        scores: One request's candidates after the other's; shape [candidates, sources].
        counts: How many candidates each request has; None if there is one request.
    """
    return np.ascontiguousarray(_scaled(scores, [len(scores)] if counts is None else counts).T)


def _scaled(scores: Float32Array, counts: Sequence[int]) -> Float64Array:
    """Return the transpose of `normalised`, since numpy reduces along rows; shape [sources, candidates]."""
    wide = scores.T.astype(np.float64, order="C")
    sizes = [count for count in counts if count]  # a request without candidates has nothing to reduce
    if not sizes:
        return wide
    starts = [0, *accumulate(sizes[:-1])]
    lowest = np.fmin(np.fmin.reduceat(wide, starts, axis=1), 0.0)  # fmin ignores NaN
    wide -= _spread(lowest, sizes)
    np.fmax(wide, 0.0, out=wide)  # replaces NaN; no score is below 0
    highest = np.maximum.reduceat(wide, starts, axis=1)
    highest[highest <= 0.0] = 1.0
    wide /= _spread(highest, sizes)
    return np.sqrt(wide, out=wide)


def _spread(values: Float64Array, counts: Sequence[int]) -> Float64Array:
    """Repeat each request's column for each of its candidates; a single request's column is broadcast."""
    return values if len(counts) == 1 else values.repeat(counts, axis=1)


def unions(requests: Sequence[Sequence[ScoredItems]]) -> tuple[RowIndices, Float32Array, list[int]]:
    """Join what the sources found for each of several requests.

    Args:
        requests: What each source found for each request, each row at most once.

    Returns:
        The distinct rows of one request after the other's, unordered within each, shape [n]; each source's score of
        each row, NaN if it did not find it, shape [n, sources]; and how many rows each request has.
    """
    if all(len(results) == 1 for results in requests):  # a source finds no row twice
        single = [results[0] for results in requests]
        scores = np.concatenate([result.scores for result in single])[:, np.newaxis]
        return np.concatenate([result.rows for result in single]), scores, [len(result.rows) for result in single]
    joined = [_union(results) for results in requests]
    rows, tables = (np.concatenate(parts) for parts in zip(*joined, strict=True))
    return rows, tables, [len(rows) for rows, _ in joined]


def _union(results: Sequence[ScoredItems]) -> tuple[RowIndices, Float32Array]:
    rows = np.unique(np.concatenate([result.rows for result in results]))
    scores = np.full((len(rows), len(results)), np.nan, dtype=np.float32)
    for column, result in enumerate(results):
        scores[np.searchsorted(rows, result.rows), column] = result.scores
    return rows, scores

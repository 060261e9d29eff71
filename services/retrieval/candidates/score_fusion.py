"""How the sources' scores become one."""

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
        weights: What each source weighs in each situation. Situations left out weigh all sources alike; sources left
            out weigh nothing.
    """

    def __init__(self, weights: Mapping[Situation, Mapping[str, float]]) -> None:
        self._weights = weights
        self._known: dict[tuple[Situation, tuple[str, ...]], Float64Array] = {}

    def weights(self, situation: Situation, sources: Sequence[str]) -> Float64Array:
        """Return what each of ``sources`` weighs; all alike where the situation gives them no weight at all."""
        key = situation, tuple(sources)
        if key not in self._known:
            given = self._weights.get(situation, {})
            weights = np.array([given.get(source, 0.0) for source in sources])
            self._known[key] = weights if weights.any() else np.ones(len(sources))
        return self._known[key]

    def fuse(
        self, scores: Float32Array, counts: Sequence[int], situations: Sequence[Situation], sources: Sequence[str]
    ) -> Float64Array:
        """Return the fused score of each candidate of several requests, whose candidates follow one another.

        Args:
            scores: What each source said, NaN where it did not find the candidate; shape [candidates, sources].
            counts: How many of the candidates each request has.
            situations: What is known of each request's user.
            sources: The sources' names; shape [sources].
        """
        weights = np.array([self.weights(situation, sources) for situation in situations])
        scaled = _scaled(scores, counts)
        scaled *= _spread(weights.T, counts)
        fused: Float64Array = scaled[0] if len(sources) == 1 else np.add.reduce(np.ascontiguousarray(scaled.T), axis=1)
        return fused


def normalised(scores: Float32Array, counts: Sequence[int] | None = None) -> Float64Array:
    """Scale each source's scores to 0 to 1 by its highest score in a request; what it did not find has 0.

    The square root keeps a source's many small scores above another's few large ones: counts of what users buy again
    fall off steeply. Negative scores (cosines of unlike texts) shift a source's scores up until none is.

    Args:
        scores: Those of one request's candidates after the other's; shape [candidates, sources].
        counts: How many candidates each request has; None where all are one's.
    """
    return np.ascontiguousarray(_scaled(scores, [len(scores)] if counts is None else counts).T)


def _scaled(scores: Float32Array, counts: Sequence[int]) -> Float64Array:
    """Return what `normalised` does, turned: numpy reduces along rows; shape [sources, candidates]."""
    wide = scores.T.astype(np.float64, order="C")
    sizes = [count for count in counts if count]  # a request without candidates has no part to reduce
    if not sizes:
        return wide
    starts = [0, *accumulate(sizes[:-1])]
    lowest = np.fmin(np.fmin.reduceat(wide, starts, axis=1), 0.0)  # fmin passes over NaN
    wide -= _spread(lowest, sizes)
    np.fmax(wide, 0.0, out=wide)  # none is below: this takes NaN away
    highest = np.maximum.reduceat(wide, starts, axis=1)
    highest[highest <= 0.0] = 1.0
    wide /= _spread(highest, sizes)
    return np.sqrt(wide, out=wide)


def _spread(values: Float64Array, counts: Sequence[int]) -> Float64Array:
    """Return each request's column once for each of its candidates, or once for all where there is one request."""
    return values if len(counts) == 1 else values.repeat(counts, axis=1)


def unions(requests: Sequence[Sequence[ScoredItems]]) -> tuple[RowIndices, Float32Array, list[int]]:
    """Join what the sources found for each of several requests.

    Args:
        requests: What each source found for each of them, each row at most once.

    Returns:
        The distinct rows of one request after the other's, of each in any order, shape [n]; each source's score of each
        row, NaN where it did not find it, shape [n, sources]; and how many rows each request has.
    """
    if all(len(founds) == 1 for founds in requests):  # whose rows are distinct already
        only = [founds[0] for founds in requests]
        scores = np.concatenate([found.scores for found in only])[:, np.newaxis]
        return np.concatenate([found.rows for found in only]), scores, [len(found.rows) for found in only]
    joined = [_union(founds) for founds in requests]
    rows, tables = (np.concatenate(parts) for parts in zip(*joined, strict=True))
    return rows, tables, [len(rows) for rows, _ in joined]


def _union(founds: Sequence[ScoredItems]) -> tuple[RowIndices, Float32Array]:
    rows = np.unique(np.concatenate([found.rows for found in founds]))
    scores = np.full((len(rows), len(founds)), np.nan, dtype=np.float32)
    for column, found in enumerate(founds):
        scores[np.searchsorted(rows, found.rows), column] = found.scores
    return rows, scores

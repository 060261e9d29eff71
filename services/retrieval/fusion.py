"""How the sources' scores become one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from services.retrieval.person import Situation
from services.retrieval.vector_index import Floats

Doubles = npt.NDArray[np.float64]


class LinearFusion:
    """A weighted sum of the sources' normalised scores, with weights for each situation.

    Args:
        weights: What each source weighs in each situation. Situations left out weigh all sources alike; sources left
            out weigh nothing.
    """

    def __init__(self, weights: Mapping[Situation, Mapping[str, float]]) -> None:
        self._weights = weights
        self._known: dict[tuple[Situation, tuple[str, ...]], Doubles] = {}

    def weights(self, situation: Situation, sources: Sequence[str]) -> Doubles:
        """Return what each of ``sources`` weighs; all alike where the situation gives them no weight at all."""
        key = situation, tuple(sources)
        if key not in self._known:
            given = self._weights.get(situation, {})
            weights = np.array([given.get(source, 0.0) for source in sources])
            self._known[key] = weights if weights.any() else np.ones(len(sources))
        return self._known[key]

    def fuse(self, scores: Floats, situation: Situation, sources: Sequence[str]) -> Doubles:
        """Return the fused score of each candidate.

        Args:
            scores: What each source said, NaN where it did not find the candidate; shape [candidates, sources].
            situation: What is known of the person.
            sources: The sources' names; shape [sources].
        """
        fused: Doubles = normalised(scores) @ self.weights(situation, sources)
        return fused


def normalised(scores: Floats) -> Doubles:
    """Scale each source's scores to 0 to 1 by its highest score in this request; what it did not find has 0.

    The square root keeps a source's many small scores above another's few large ones: counts of what people buy again
    fall off steeply. Negative scores (cosines of unlike texts) shift a source's scores up until none is. Shape
    [candidates, sources].
    """
    wide = scores.astype(np.float64)
    lowest = np.minimum.reduce(wide, axis=0, initial=0.0)  # NaN where a source did not find everything
    if np.isnan(lowest).any():
        lowest = np.fmin.reduce(wide, axis=0, initial=0.0)
        wide[np.isnan(wide)] = -np.inf
    wide -= lowest
    np.maximum(wide, 0.0, out=wide)
    highest = np.maximum.reduce(wide, axis=0, initial=0.0)
    wide /= np.where(highest > 0, highest, 1.0)
    return np.sqrt(wide, out=wide)

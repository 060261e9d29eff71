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

    def weights(self, situation: Situation, sources: Sequence[str]) -> Doubles:
        """Return what each of ``sources`` weighs; all alike where the situation gives them no weight at all."""
        given = self._weights.get(situation, {})
        weights = np.array([given.get(source, 0.0) for source in sources])
        return weights if weights.any() else np.ones(len(sources))

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
    silent = np.isnan(wide)
    if silent.any():
        wide -= np.fmin.reduce(wide, axis=0, initial=0.0)
        wide[silent] = 0.0
    else:
        wide -= wide.min(axis=0, initial=0.0)
    highest = wide.max(axis=0, initial=0.0)
    wide /= np.where(highest > 0, highest, 1.0)
    return np.sqrt(wide, out=wide)

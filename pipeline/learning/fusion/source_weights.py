"""The first stage's weights of the candidate sources, fitted to what users bought next."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from common.arrays import Float64Array

_PENALTY: Final = 1e-3
_ITERATIONS: Final = 200


def fit_source_weights(
    scores: npt.NDArray[np.float32], labels: npt.NDArray[np.float32], sizes: npt.NDArray[np.int64]
) -> Float64Array:
    """Fit non-negative weights by the listwise likelihood of what was bought (ListNet; Cao et al., ICML 2007).

    Args:
        scores: Normalised score of each candidate by source, 0 if the source did not find it; [rows, sources].
        labels: 1 if the user bought the candidate next; [rows].
        sizes: Number of candidates of each request; they sum to the number of rows.

    Returns:
        One weight for each source, the largest 1; all equal if nothing was bought.
    """
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    request = np.repeat(np.arange(len(sizes)), sizes)
    bought = np.bincount(request, labels, len(sizes))
    share = labels / np.maximum(bought, 1)[request]
    weight = (bought > 0).astype(np.float64)
    if not weight.any():
        return np.ones(scores.shape[1])

    def loss(weights: Float64Array) -> tuple[float, Float64Array]:
        total = scores @ weights
        total = total - np.maximum.reduceat(total, starts)[request]
        powers = np.exp(total)
        sums = np.add.reduceat(powers, starts)[request]
        value = -(share * (total - np.log(sums))).sum() / weight.sum() + _PENALTY * weights @ weights
        slope = scores.T @ ((powers / sums - share) * weight[request]) / weight.sum() + 2 * _PENALTY * weights
        return float(value), slope

    count = scores.shape[1]
    found = minimize(loss, np.ones(count), jac=True, bounds=[(0, None)] * count, options={"maxiter": _ITERATIONS})
    largest = found.x.max()
    return np.asarray(found.x / largest if largest > 0 else np.ones(count))

"""Item graphs of baskets, weighted by recency if a half-life is given."""

from __future__ import annotations

import math

import numpy as np
import scipy.sparse as sp

from common.arrays import Float32Array
from pipeline.learning.item_graphs.purchases import Baskets, follow_table, transition_table


def repeat(baskets: Baskets, *, half_life: float = math.inf) -> sp.csr_matrix:
    """Repeat purchases: the diagonal of the transitions between purchases; see `transition_table`."""
    repeated = transition_table(baskets.purchases, half_life).diagonal()
    return sp.diags(repeated, format="csr", dtype=np.float32)


def follow(baskets: Baskets, *, half_life: float = math.inf) -> sp.csr_matrix:
    """Purchases after the item: the transitions without repeat purchases; see `follow_table`."""
    return follow_table(baskets, half_life)


def again(baskets: Baskets, *, half_life: float) -> sp.csr_matrix:
    """Recent popularity of items that a user bought before: log(1 + baskets) on the diagonal."""
    recent = np.asarray(baskets.held.T @ baskets.weights(half_life)).ravel()
    return sp.diags(np.log1p(recent), format="csr", dtype=np.float32)


def basket_ease(baskets: Baskets, *, l2: float, half_life: float = math.inf) -> Float32Array:
    """EASE (Steck, WWW 2019) over baskets instead of users, recent baskets weighted more: items bought together."""
    held = sp.diags(np.sqrt(baskets.weights(half_life))) @ baskets.held
    return ease_weights((held.T @ held).toarray(), l2)


def ease_weights(gram: Float32Array, l2: float) -> Float32Array:
    """Return EASE's weights in closed form: -P_ij / P_jj of the regularised inverse P, the diagonal 0."""
    gram[np.diag_indices_from(gram)] += l2
    inverse = np.linalg.inv(gram)
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    return np.asarray(weights, np.float32)

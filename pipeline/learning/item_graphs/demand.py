"""Item statistics of demand over time, as known at a given time; features use them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from common.arrays import Float32Array, RowIndices
from pipeline.learning.item_graphs.purchases import Purchases

HALF_LIVES: Final = (3, 7, 14, 30, 90)
# Of a share of baskets, so that an item nobody bought has a trend near 1: about one basket in 10,000.
_PRIOR: Final = 1e-4
_SHRINK: Final = 5.0


def demand(purchases: Purchases, items: int) -> Mapping[str, Float32Array]:
    """Say how each item sells; float32[items] each.

    Every figure is a share of the baskets, an age or a ratio, so that it means the same whenever it is counted and
    however many users are left out.

    Args:
        purchases: Events with their ages.
        items: How many items the catalogue has.

    Returns:
        ``sold_H`` for half-lives of 3, 7, 14, 30 and 90 days (share of the baskets with the item, recent ones weighing
        more, and baskets without a purchase less), ``trend_short`` and ``trend_long`` (log ratio of the shares by 3 and
        14 days, and by 14 and 90), ``on_sale`` and ``last_sold`` (days since the first and the last purchase, NaN for
        none), ``bought_again`` (share of its baskets with a purchase that were not their user's first).
    """
    baskets = purchases.baskets(items)
    # A basket of views alone counts what its strongest view does.
    most = np.asarray(baskets.held.max(axis=1).todense()).ravel() if purchases.has_kinds else np.float32(1)
    found: dict[str, Float32Array] = {}
    for life in HALF_LIVES:
        weights = baskets.weights(life)
        total = max(float((weights * most).sum()), 1e-9)
        found[f"sold_{life}"] = np.asarray(baskets.held.T @ weights / total, np.float32)
    found["trend_short"] = _trend(found["sold_3"], found["sold_14"])
    found["trend_long"] = _trend(found["sold_14"], found["sold_90"])
    bought = purchases.is_target
    users, rows = purchases.users[bought], purchases.rows[bought]
    found["on_sale"], found["last_sold"] = _first_and_last(rows, purchases.ages[bought], items)
    sold = np.asarray(baskets.sold.sum(axis=0)).ravel()
    buyers = np.bincount(np.unique(users * items + rows) % items, minlength=items)
    found["bought_again"] = ((sold - buyers) / (sold + _SHRINK)).astype(np.float32)
    return found


def _trend(short: Float32Array, long: Float32Array) -> Float32Array:
    return np.asarray(np.log((short + _PRIOR) / (long + _PRIOR)), np.float32)


def _first_and_last(rows: RowIndices, ages: Float32Array, items: int) -> tuple[Float32Array, Float32Array]:
    first, last = np.full(items, -np.inf, np.float32), np.full(items, np.inf, np.float32)
    np.maximum.at(first, rows, ages)
    np.minimum.at(last, rows, ages)
    return np.where(np.isfinite(first), first, np.nan), np.where(np.isfinite(last), last, np.nan)

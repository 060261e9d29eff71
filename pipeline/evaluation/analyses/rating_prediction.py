"""How well ratings are foretold, where the data has some."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from common.arrays import Float64Array
from pipeline.learning.baselines.matrix_factorisation import fit_ratings
from pipeline.measurement.metrics.baseline_result import RatingFigures

_RATING: Final = "rating"


def rating_figures(before: pl.DataFrame, later: pl.DataFrame) -> RatingFigures | None:
    """Foretell later ratings from those before; None where there are none to learn from or to foretell.

    Args:
        before: Events to learn from; ratings are events of the kind ``rating`` with a ``value``.
        later: Events to foretell.
    """
    learnt, asked = _ratings(before), _ratings(later)
    if learnt.is_empty() or asked.is_empty():
        return None
    users, items = (_numbers(learnt[column]) for column in ("user_id", "item_id"))
    values = learnt["value"].to_numpy().astype(np.float64)
    model = fit_ratings(
        np.array([users[user] for user in learnt["user_id"]]),
        np.array([items[item] for item in learnt["item_id"]]),
        values,
    )
    foretold = model.predict(
        np.array([users.get(user, -1) for user in asked["user_id"]]),
        np.array([items.get(item, -1) for item in asked["item_id"]]),
    )
    truth = asked["value"].to_numpy().astype(np.float64)
    by_item = model.predict(np.full(len(truth), -1), np.array([items.get(item, -1) for item in asked["item_id"]]))
    return RatingFigures(
        ratings=len(truth),
        rmse=_rmse(foretold - truth),
        mae=float(np.abs(foretold - truth).mean()),
        rmse_by_item=_rmse(by_item - truth),
        rmse_mean=_rmse(model.mean - truth),
    )


def _ratings(events: pl.DataFrame) -> pl.DataFrame:
    if "value" not in events.columns:
        return events.clear()
    return events.filter((pl.col("event") == _RATING) & pl.col("value").is_not_null())


def _numbers(column: pl.Series) -> dict[str, int]:
    return {value: number for number, value in enumerate(column.unique().sort().to_list())}


def _rmse(errors: Float64Array) -> float:
    return float(np.sqrt((errors**2).mean()))

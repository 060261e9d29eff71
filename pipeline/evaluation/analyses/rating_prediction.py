"""Errors of rating prediction, for data with ratings."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from common.arrays import Float64Array
from pipeline.learning.baselines.matrix_factorisation import fit_ratings
from pipeline.measurement.metrics.baseline_result import RatingErrors

_RATING: Final = "rating"


def rating_errors(before: pl.DataFrame, after: pl.DataFrame) -> RatingErrors | None:
    """Predict later ratings from earlier ones; None if there are no ratings to learn from or to predict.

    Args:
        before: Events to learn from; ratings are events of the kind ``rating`` with a ``value``.
        after: Events to predict.
    """
    known, later = _ratings(before), _ratings(after)
    if known.is_empty() or later.is_empty():
        return None
    users, items = (_numbers(known[column]) for column in ("user_id", "item_id"))
    values = known["value"].to_numpy().astype(np.float64)
    model = fit_ratings(
        np.array([users[user] for user in known["user_id"]]),
        np.array([items[item] for item in known["item_id"]]),
        values,
    )
    predicted = model.predict(
        np.array([users.get(user, -1) for user in later["user_id"]]),
        np.array([items.get(item, -1) for item in later["item_id"]]),
    )
    truth = later["value"].to_numpy().astype(np.float64)
    by_item = model.predict(np.full(len(truth), -1), np.array([items.get(item, -1) for item in later["item_id"]]))
    return RatingErrors(
        ratings=len(truth),
        rmse=_rmse(predicted - truth),
        mae=float(np.abs(predicted - truth).mean()),
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

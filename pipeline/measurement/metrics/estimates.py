"""Means and differences with their intervals, as parts of an evaluation."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict

from common.arrays import Float64Array
from pipeline.measurement.metrics.ranking_metrics import Interval, bootstrap_interval, paired_bootstrap, paired_p_value


class ResultModel(BaseModel):
    """A part of an evaluation, as it is written to JSON."""

    model_config = ConfigDict(frozen=True)


class Estimate(ResultModel):
    """A mean with its 95 % bootstrap interval over questions."""

    mean: float
    low: float
    high: float

    @classmethod
    def from_scores(cls, scores: Float64Array, seed: int) -> Self:
        """Estimate the mean of scores, shape [questions]."""
        return cls(**_fields(bootstrap_interval(scores, seed=seed)))


class Difference(Estimate):
    """A paired difference of means with its interval, and the p-value of the sign-flip test, two-sided."""

    p: float

    @classmethod
    def between(cls, scores: Float64Array, baseline: Float64Array, seed: int) -> Self:
        """Compare two systems on the same questions, both of shape [questions]."""
        interval = paired_bootstrap(scores, baseline, seed=seed)
        return cls(**_fields(interval), p=paired_p_value(scores, baseline, seed=seed))


class Latency(ResultModel):
    """Milliseconds of a stage: median and 95th percentile over answers."""

    p50: float
    p95: float


def _fields(interval: Interval) -> dict[str, float]:
    return {"mean": interval.mean, "low": interval.low, "high": interval.high}

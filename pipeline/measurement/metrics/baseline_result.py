"""What an evaluation found of single methods and of the long tail."""

from __future__ import annotations

from pipeline.measurement.metrics.estimates import Difference, Estimate, ResultModel


class DemandBin(ResultModel):
    """Items of like expected demand: the means over them of what was expected and of what was sold."""

    expected: float
    sold: float
    items: int


class Demand(ResultModel):
    """What was expected to be taken by the users asked, against what they took.

    Attributes:
        users: How many were asked.
        correlation: Spearman's, over all items.
        bins: From the least expected up, each with the same sum of expected demand.
        bands: By band the sums over its items: expected, and sold.
    """

    users: int
    correlation: float
    bins: list[DemandBin]
    bands: dict[str, tuple[float, float]]


class SteeringPoint(ResultModel):
    """What a least share of the tail does.

    Attributes:
        kept: The least share of the first ten.
        long_tail_share: Share of the first ten that is of the tail then, as foretold from answers without it.
        quality: NDCG@10, likewise.
        cost: The paired difference in NDCG@10 to asking for none, likewise.
        served_tail_share: The share where it was asked for; None where it was not.
        served_cost: The paired difference in NDCG@10 where it was asked for.
    """

    kept: float
    long_tail_share: float
    quality: Estimate
    cost: Difference
    served_tail_share: float | None = None
    served_cost: Difference | None = None


class BaselineFigures(ResultModel):
    """One method alone.

    Attributes:
        measures: Means over questions; the tail's recall over those that wanted something of it.
        two_stages_over: The paired differences of two stages to it.
        fit_s: Seconds of learning.
        answer_ms: Median milliseconds of an answer.
    """

    measures: dict[str, Estimate]
    two_stages_over: dict[str, Difference]
    fit_s: float
    answer_ms: float


class RatingFigures(ResultModel):
    """How well ratings are foretold: root mean squared errors, and the mean absolute one.

    Attributes:
        ratings: How many were foretold.
        rmse: By explicit matrix factorisation.
        mae: Likewise.
        rmse_by_item: By the item's mean alone.
        rmse_mean: By the mean of all ratings.
    """

    ratings: int
    rmse: float
    mae: float
    rmse_by_item: float
    rmse_mean: float


class Baselines(ResultModel):
    """Single methods beside the two stages.

    Attributes:
        best: The one with the highest NDCG@10.
        tail_questions: How many questions wanted something of the tail.
        by_name: Each one's figures.
        two_stages: The two stages' own, in the same measures.
        ratings: Explicit matrix factorisation, where there are ratings.
    """

    best: str
    tail_questions: int
    by_name: dict[str, BaselineFigures]
    two_stages: dict[str, Estimate]
    ratings: RatingFigures | None

"""Results of single methods and of the long tail, as parts of an evaluation."""

from __future__ import annotations

from pipeline.measurement.metrics.estimates import Difference, Estimate, ResultModel


class DemandBin(ResultModel):
    """Items of similar expected demand: the means of expected buyers and of actual buyers."""

    expected: float
    sold: float
    items: int


class Demand(ResultModel):
    """Expected demand against actual demand.

    Attributes:
        users: Number of users in the test.
        correlation: Spearman's rank correlation over all items.
        bins: From the least expected demand up, each with the same sum of expected demand.
        bands: For each band the sums over its items: expected, and sold.
    """

    users: int
    correlation: float
    bins: list[DemandBin]
    bands: dict[str, tuple[float, float]]


class LongTailPoint(ResultModel):
    """The effect of a minimum long-tail share of the first ten.

    Attributes:
        min_share: The minimum share.
        long_tail_share: The share reached, computed by applying the policy to answers without it.
        quality: NDCG@10, computed likewise.
        cost: The paired difference in NDCG@10 to no minimum, computed likewise.
        served_long_tail_share: The share when the release was asked for the minimum; None if it was not.
        served_cost: The paired difference in NDCG@10 when the release was asked for the minimum.
    """

    min_share: float
    long_tail_share: float
    quality: Estimate
    cost: Difference
    served_long_tail_share: float | None = None
    served_cost: Difference | None = None


class BaselineResult(ResultModel):
    """The figures of one single method.

    Attributes:
        measures: Means over questions; the tail's recall over questions with a relevant item of the tail.
        two_stages_over: Paired differences of two stages to the method.
        fit_s: Seconds to fit it.
        answer_ms: Median milliseconds of an answer.
    """

    measures: dict[str, Estimate]
    two_stages_over: dict[str, Difference]
    fit_s: float
    answer_ms: float


class RatingErrors(ResultModel):
    """Errors of rating prediction: root mean squared errors, and the mean absolute error.

    Attributes:
        ratings: Number of predicted ratings.
        rmse: Of explicit matrix factorisation.
        mae: Of explicit matrix factorisation.
        rmse_by_item: Of predicting the item's mean.
        rmse_mean: Of predicting the mean of all ratings.
    """

    ratings: int
    rmse: float
    mae: float
    rmse_by_item: float
    rmse_mean: float


class BaselineComparison(ResultModel):
    """Single methods compared with the two stages.

    Attributes:
        best: The method with the highest NDCG@10.
        tail_questions: Number of questions with a relevant item of the tail.
        by_name: The figures of each method.
        two_stages: The same measures of the two stages.
        ratings: Errors of explicit matrix factorisation, if the data has ratings.
    """

    best: str
    tail_questions: int
    by_name: dict[str, BaselineResult]
    two_stages: dict[str, Estimate]
    ratings: RatingErrors | None

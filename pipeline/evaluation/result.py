"""What an evaluation found, as it is written to JSON and read by the report."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict

from pipeline.evaluation.probabilities import Probabilities
from pipeline.metrics import Interval, Scores, bootstrap_interval, paired_bootstrap, paired_p_value
from pipeline.train.learning_curve import LearningCurve


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class Estimate(_Part):
    """A mean with its 95 % bootstrap interval over questions."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, scores: Scores, seed: int) -> Self:
        """Estimate the mean of scores, shape [questions]."""
        return cls(**_fields(bootstrap_interval(scores, seed=seed)))


class Difference(Estimate):
    """A paired difference of means with its interval, and the p-value of the sign-flip test, two-sided."""

    p: float

    @classmethod
    def between(cls, scores: Scores, baseline: Scores, seed: int) -> Self:
        """Compare two systems on the same questions, both of shape [questions]."""
        interval = paired_bootstrap(scores, baseline, seed=seed)
        return cls(**_fields(interval), p=paired_p_value(scores, baseline, seed=seed))


class Latency(_Part):
    """Milliseconds of a stage: median and 95th percentile over answers."""

    p50: float
    p95: float


class Mode(_Part):
    """The figures of one way to answer.

    Attributes:
        measures: Means over questions.
        over: For each mode before it, the paired differences to that one, by measure.
        coverage: Share of the catalogue in somebody's first ten.
        gini: Concentration of the first ten on few items, 0 to 1.
        shares: Share of the first ten that falls on head, middle and tail.
        concentration: Points (share of items, the least popular first; share of the first ten that they get).
        latency: By stage.
        degraded: How many answers were degraded.
        probabilities: Calibration and decisions; None where the mode has no probabilities.
    """

    measures: dict[str, Estimate]
    over: dict[str, dict[str, Difference]]
    coverage: float
    gini: float
    shares: dict[str, float]
    concentration: list[tuple[float, float]]
    latency: dict[str, Latency]
    degraded: int
    probabilities: Probabilities | None


class Slice(_Part):
    """A part of the questions, or of what was wanted.

    Attributes:
        kind: What it is a slice by.
        name: Which slice.
        questions: How many questions have a part in it.
        modes: By mode the measures.
    """

    kind: str
    name: str
    questions: int
    modes: dict[str, dict[str, Estimate]]


class SourceShare(_Part):
    """What one source does for the first stage.

    Attributes:
        hits: Share of the wanted items in the first stage's list that this source found.
        only: Share of them that no other source found.
        alone: Measures of the first stage with this source alone.
        loss: What is lost without this source: paired differences of all sources to all others.
    """

    hits: float
    only: float
    alone: dict[str, Estimate]
    loss: dict[str, Difference]


class Depth(_Part):
    """Both stages with the cross-encoder reading so many candidates.

    Attributes:
        read: How many candidates of a question it reads at most.
        measures: Means over questions.
        over_none: The paired differences to reading none.
        latency: Of the whole answer.
    """

    read: int
    measures: dict[str, Estimate]
    over_none: dict[str, Difference]
    latency: Latency


class Hidden(_Part):
    """What is lost where the fusion is not shown a group of its features.

    Attributes:
        features: How many features the group has.
        loss: Paired differences, all features to all others.
    """

    features: int
    loss: dict[str, Difference]


class DemandBin(_Part):
    """Items of like expected demand: the means over them of what was expected and of what was sold."""

    expected: float
    sold: float
    items: int


class Demand(_Part):
    """What was expected to be taken by the people asked, against what they took.

    Attributes:
        people: How many were asked.
        correlation: Spearman's, over all items.
        bins: From the least expected up, each with the same sum of expected demand.
        bands: By band the sums over its items: expected, and sold.
    """

    people: int
    correlation: float
    bins: list[DemandBin]
    bands: dict[str, tuple[float, float]]


class SteeringPoint(_Part):
    """What keeping places for the tail does.

    Attributes:
        kept: Share of the first ten kept for the tail.
        tail_share: Share of the first ten that is of the tail then.
        quality: NDCG@10.
        cost: The paired difference in NDCG@10 to keeping none.
    """

    kept: float
    tail_share: float
    quality: Estimate
    cost: Difference


class BaselineFigures(_Part):
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


class RatingFigures(_Part):
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


class Baselines(_Part):
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


class Folds(_Part):
    """Cross-validation.

    Attributes:
        by: What is never parted between folds.
        measure: The measure.
        what: By way to order the candidates, what was learned in each fold.
        folds: By way, the mean of each fold.
        overall: By way, the estimate over all questions, each answered by what its fold did not see.
        over_served: By way, the paired difference to the order as served.
    """

    by: str
    measure: str
    what: dict[str, str]
    folds: dict[str, list[float]]
    overall: dict[str, Estimate]
    over_served: dict[str, Difference]


class Cost(_Part):
    """What the figures cost.

    Attributes:
        release_mb: Size of the release in MB.
        memory_mb: Peak memory of this process with the engines loaded, in MB; None where a gateway answered.
        build_s: Seconds of each step of the build, where the release tells.
    """

    release_mb: float
    memory_mb: float | None
    build_s: dict[str, float]


class Evaluation(_Part):
    """An evaluation.

    Attributes:
        release_id: The release.
        source: Its data.
        licence: The terms of that data.
        protocol: How the questions were made, a word.
        description: The same in a sentence.
        asked: What answered.
        questions: How many questions.
        items: Items of the catalogue.
        limit: How many items each answer had at most.
        seed: Of everything drawn.
        notes: What a reader should know.
        modes: The figures by mode, in the order of the claim.
        sales: Points as `Mode.concentration`, of what people had bought when the release was built.
        slices: The figures by slice.
        sources: By source; None where a gateway answered.
        depths: By how many candidates the cross-encoder reads; empty where it takes no part, or a gateway answered.
        hidden: By group of features; empty where a gateway answered.
        folds: Cross-validation; None where it was not asked for.
        training: How the models' training went, where the release tells.
        cost: What it cost.
        demand: Expected demand against what was sold; None without probabilities.
        steering: What more of the tail costs, from none kept for it up.
        baselines: Single methods; None where they were not asked for.
    """

    release_id: str
    source: str
    licence: str
    protocol: str
    description: str
    asked: str
    questions: int
    items: int
    limit: int
    seed: int
    notes: list[str]
    modes: dict[str, Mode]
    sales: list[tuple[float, float]]
    slices: list[Slice]
    sources: dict[str, SourceShare] | None
    depths: list[Depth]
    hidden: dict[str, Hidden]
    folds: Folds | None
    training: dict[str, LearningCurve]
    cost: Cost
    demand: Demand | None = None
    steering: list[SteeringPoint] = []
    baselines: Baselines | None = None


def _fields(interval: Interval) -> dict[str, float]:
    return {"mean": interval.mean, "low": interval.low, "high": interval.high}

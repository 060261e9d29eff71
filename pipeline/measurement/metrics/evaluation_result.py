"""What an evaluation found, as it is written to JSON and read by the report."""

from __future__ import annotations

from pipeline.measurement.metrics.baseline_result import Baselines, Demand, SteeringPoint
from pipeline.measurement.metrics.calibration import Probabilities
from pipeline.measurement.metrics.estimates import Difference, Estimate, Latency, ResultModel
from pipeline.measurement.metrics.learning_curve import LearningCurve


class Mode(ResultModel):
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


class Slice(ResultModel):
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


class SourceShare(ResultModel):
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


class Depth(ResultModel):
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


class Ablation(ResultModel):
    """What is lost where the fusion is not shown a group of its features.

    Attributes:
        features: How many features the group has.
        loss: Paired differences, all features to all others.
    """

    features: int
    loss: dict[str, Difference]


class Folds(ResultModel):
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


class Cost(ResultModel):
    """What the figures cost.

    Attributes:
        release_mb: Size of the release in MB.
        memory_mb: Peak memory of this process with the engines loaded, in MB; None where a gateway answered.
        build_s: Seconds of each step of the build, where the release tells.
    """

    release_mb: float
    memory_mb: float | None
    build_s: dict[str, float]


class Evaluation(ResultModel):
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
        sales: Points as `Mode.concentration`, of what users had bought when the release was built.
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
    hidden: dict[str, Ablation]
    folds: Folds | None
    training: dict[str, LearningCurve]
    cost: Cost
    demand: Demand | None
    steering: list[SteeringPoint]
    baselines: Baselines | None

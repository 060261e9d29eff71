"""The result of an evaluation, as it is written to JSON and read by the report."""

from __future__ import annotations

from pipeline.measurement.metrics.baseline_result import BaselineComparison, Demand, LongTailPoint
from pipeline.measurement.metrics.calibration import ProbabilityMetrics
from pipeline.measurement.metrics.estimates import Difference, Estimate, Latency, ResultModel
from pipeline.measurement.metrics.learning_curve import LearningCurve


class ModeResult(ResultModel):
    """The figures of one mode of answering.

    Attributes:
        measures: Means over questions.
        over: For each earlier mode the paired differences to it, by measure.
        coverage: Share of the catalogue in at least one first ten.
        gini: Concentration of the first ten on few items, 0 to 1.
        shares: Share of the first ten that falls on head, middle and tail.
        concentration: Points (share of items, the least popular first; their share of the first ten).
        latency: By stage.
        degraded: Number of degraded answers.
        probabilities: Calibration and decisions; None if the mode has no probabilities.
    """

    measures: dict[str, Estimate]
    over: dict[str, dict[str, Difference]]
    coverage: float
    gini: float
    shares: dict[str, float]
    concentration: list[tuple[float, float]]
    latency: dict[str, Latency]
    degraded: int
    probabilities: ProbabilityMetrics | None


class Slice(ResultModel):
    """A subset of the questions, or of their relevant items.

    Attributes:
        kind: What the slices are by, such as users or language.
        name: The slice.
        questions: Number of questions in it.
        modes: Measures by mode.
    """

    kind: str
    name: str
    questions: int
    modes: dict[str, dict[str, Estimate]]


class SourceContribution(ResultModel):
    """What one candidate source contributes to the first stage.

    Attributes:
        hit_share: Share of the relevant items in the first stage's list that this source found.
        exclusive_hit_share: Share of them that no other source found.
        alone: Measures of the first stage with this source alone.
        loss: Paired differences between all sources and all others.
    """

    hit_share: float
    exclusive_hit_share: float
    alone: dict[str, Estimate]
    loss: dict[str, Difference]


class DepthResult(ResultModel):
    """Both stages, with the cross-encoder scoring at most a given number of candidates.

    Attributes:
        cross_encoder_depth: That number, for each question.
        measures: Means over questions.
        over_none: Paired differences to depth 0.
        latency: Of the whole answer.
    """

    cross_encoder_depth: int
    measures: dict[str, Estimate]
    over_none: dict[str, Difference]
    latency: Latency


class Ablation(ResultModel):
    """What the fusion loses without a group of its features.

    Attributes:
        features: Number of features in the group.
        loss: Paired differences between all features and all others.
    """

    features: int
    loss: dict[str, Difference]


class CrossValidation(ResultModel):
    """Cross-validation of the orders of the first stage's candidates.

    Attributes:
        by: What is never split between folds: user or query.
        measure: The measure.
        learned: For each order, what each fold learns.
        folds: For each order, the mean of each fold.
        overall: For each order, the estimate over all questions; each is answered by a fold that did not see it.
        over_served: For each order, the paired difference to the order as served.
    """

    by: str
    measure: str
    learned: dict[str, str]
    folds: dict[str, list[float]]
    overall: dict[str, Estimate]
    over_served: dict[str, Difference]


class Cost(ResultModel):
    """What a release costs.

    Attributes:
        release_mb: Size of the release in MB.
        memory_mb: Peak memory of this process with the engines loaded, in MB; None if a gateway answered.
        build_s: Seconds of each step of the build, if the release recorded them.
    """

    release_mb: float
    memory_mb: float | None
    build_s: dict[str, float]


class Evaluation(ResultModel):
    """The evaluation of a release.

    Attributes:
        release_id: The release.
        source: Name of its data.
        licence: Terms of that data.
        protocol: Name of the evaluation protocol.
        description: The protocol in one sentence.
        answered_by: The engines in this process, or a gateway.
        questions: Number of questions.
        items: Number of items in the catalogue.
        limit: Maximum number of items in an answer.
        seed: Random seed.
        notes: What a reader should know.
        modes: Figures by mode; each mode should beat those before it.
        sales: Points as in `ModeResult.concentration`, of what users had bought when the release was built.
        slices: Figures by slice.
        sources: By candidate source; None if a gateway answered.
        depths: By cross-encoder depth; empty if the fusion does not use the cross-encoder, or a gateway answered.
        ablations: By group of features; empty if a gateway answered.
        cross_validation: None if it was not requested.
        training: Learning curves by model, if the release recorded them.
        cost: What the release costs.
        demand: Expected demand against sales; None without probabilities.
        long_tail: The cost of a minimum long-tail share, from 0 up.
        baselines: Comparison with single methods; None if it was not requested.
    """

    release_id: str
    source: str
    licence: str
    protocol: str
    description: str
    answered_by: str
    questions: int
    items: int
    limit: int
    seed: int
    notes: list[str]
    modes: dict[str, ModeResult]
    sales: list[tuple[float, float]]
    slices: list[Slice]
    sources: dict[str, SourceContribution] | None
    depths: list[DepthResult]
    ablations: dict[str, Ablation]
    cross_validation: CrossValidation | None
    training: dict[str, LearningCurve]
    cost: Cost
    demand: Demand | None
    long_tail: list[LongTailPoint]
    baselines: BaselineComparison | None

"""From a release and questions to an evaluation."""

from __future__ import annotations

import resource
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from common.arrays import Float64Array
from common.errors import InvalidRequest
from common.release.store import Release
from pipeline.evaluation.analyses.baselines import ask_baselines, compare_baselines
from pipeline.evaluation.analyses.cross_validation import cross_validate
from pipeline.evaluation.analyses.long_tail import STEERED, expected_demand, steering
from pipeline.evaluation.analyses.second_stage import DEPTHS, by_depth, by_hidden, reads_logits, some
from pipeline.evaluation.analyses.slices import slices_of
from pipeline.evaluation.analyses.source_contribution import source_shares
from pipeline.measurement.metrics.baseline_result import Baselines
from pipeline.measurement.metrics.beyond_accuracy import K, concentration, exposure, gini, measure
from pipeline.measurement.metrics.calibration import assess, outcomes
from pipeline.measurement.metrics.estimates import Difference, Estimate, Latency
from pipeline.measurement.metrics.evaluation_result import Ablation, Cost, Depth, Evaluation, Folds, Mode, SourceShare
from pipeline.measurement.metrics.item_popularity import BANDS, ItemPopularity
from pipeline.measurement.questions.answers import BOTH, MODES, Answer
from pipeline.measurement.questions.gateway_runner import Gateway
from pipeline.measurement.questions.local_runner import Engines, engines
from pipeline.measurement.questions.protocols import Questions
from pipeline.progress import ProgressReport

_MB: Final = 1_000_000


_DEEPEST: Final = 100  # of the measures


@dataclass(frozen=True)
class EvaluationSettings:
    """How a release is evaluated.

    Attributes:
        limit: How many items each answer has.
        threshold: From which probability on a candidate is said to be wanted.
        folds: Folds of the cross-validation; 0 for none.
        gateway: Address of a gateway to ask; empty for the engines in this process.
        baselines: Whether to fit single methods to what was known and ask them too.
        steer: Whether to ask with each least share of the tail too, for ten items.
        seed: Of intervals, tests and folds.
    """

    limit: int = 100
    threshold: float = 0.5
    folds: int = 0
    gateway: str = ""
    baselines: bool = False
    steer: bool = False
    seed: int = 7


def evaluate_release(
    release: Release, questions: Questions, how: EvaluationSettings, report: ProgressReport
) -> Evaluation:
    """Ask a release every question in every mode, and measure.

    Args:
        release: The release; with a gateway, the one that it serves.
        questions: The questions.
        how: The settings.
        report: Told of each step.

    Raises:
        InvalidRequest: The gateway serves another release, or the folds can't be made.
        NotReady: The gateway does not answer.
        BadRelease: The engines can't serve the release.
    """
    if how.gateway and how.folds:
        raise InvalidRequest("folds need the engines, since something is learned in each: leave out --gateway")
    if how.gateway:
        answering = Gateway(how.gateway, release.id)
        answers = _asked(answering, questions, how, report)
        steered = _steered(answering, questions, how, report)
        return _Measuring(release, questions, how, report).result(answers, _Inside(), steered)
    with engines(release) as local:
        answers = _asked(local, questions, how, report)
        inside = _Inside(
            _shares(local, questions, answers[MODES[1]], how, report),
            _depths(local, questions, how, report),
            _hidden(local, questions, how, report),
            _folds(local, questions, how, report),
        )
        steered = _steered(local, questions, how, report)
        return _Measuring(release, questions, how, report).result(answers, inside, steered)


def _asked(
    answering: Engines | Gateway, questions: Questions, how: EvaluationSettings, report: ProgressReport
) -> dict[str, dict[str, Answer]]:
    everyone = [*questions.asked, *questions.new_users]
    answers = {}
    for mode in MODES:
        with report.step(f"Asking for {len(everyone):,}: {mode}", len(everyone)) as step:
            answers[mode] = answering.ask(everyone, mode, how.limit, step)
    return answers


def _steered(
    answering: Engines | Gateway, questions: Questions, how: EvaluationSettings, report: ProgressReport
) -> dict[float, dict[str, Answer]]:
    if not how.steer:
        return {}
    asked = questions.asked
    with report.step("Asking with more and more of the tail", len(STEERED) * len(asked)) as step:
        return {share: answering.ask(asked, BOTH, K, step, share) for share in STEERED}


def _shares(
    local: Engines, questions: Questions, first: Mapping[str, Answer], how: EvaluationSettings, report: ProgressReport
) -> dict[str, SourceShare]:
    total = 2 * len(local.first.sources) * len(questions.asked)
    with report.step("Asking with each source alone, and without it", total) as step:
        return source_shares(local, questions.asked, first, how.limit, how.seed, step)


def _folds(local: Engines, questions: Questions, how: EvaluationSettings, report: ProgressReport) -> Folds | None:
    if not how.folds:
        return None
    with report.step(f"Cross-validating in {how.folds} folds", len(questions.asked)) as step:
        return cross_validate(local, questions.asked, how.folds, how.seed, step)


def _depths(local: Engines, questions: Questions, how: EvaluationSettings, report: ProgressReport) -> list[Depth]:
    if not reads_logits(local):
        return []
    asked = some(questions.asked)
    with report.step("Asking with the cross-encoder reading more and more", len(DEPTHS) * len(asked)) as step:
        return by_depth(local, asked, how.limit, how.seed, step)


def _hidden(
    local: Engines, questions: Questions, how: EvaluationSettings, report: ProgressReport
) -> dict[str, Ablation]:
    with report.step("Hiding features from the fusion", len(questions.asked)) as step:
        return by_hidden(local, questions.asked, how.limit, how.seed, step)


@dataclass(frozen=True)
class _Inside:
    """What only the engines tell, not a gateway; see `Evaluation`."""

    sources: dict[str, SourceShare] | None = None
    depths: list[Depth] = field(default_factory=list)
    hidden: dict[str, Ablation] = field(default_factory=dict)
    folds: Folds | None = None


class _Measuring:
    """Turns answers into figures."""

    def __init__(self, release: Release, questions: Questions, how: EvaluationSettings, report: ProgressReport) -> None:
        self._release = release
        self._questions = questions
        self._how = how
        self._report = report
        self._facts = ItemPopularity.load(release)

    def result(
        self,
        answers: Mapping[str, Mapping[str, Answer]],
        inside: _Inside,
        steered: Mapping[float, Mapping[str, Answer]],
    ) -> Evaluation:
        """Measure answers by mode and question, and those by the least share of the tail."""
        questions, manifest = self._questions, self._release.manifest
        asked, two_stages = questions.asked, answers[BOTH]
        with self._report.step("Measuring"):
            modes = self._modes(answers)
            slices = slices_of(questions, answers, self._facts, self._how.seed)
        return Evaluation(
            release_id=manifest.release_id,
            source=manifest.data.source,
            licence=manifest.data.licence,
            protocol=questions.protocol,
            description=questions.description,
            asked=f"the gateway at {self._how.gateway}" if self._how.gateway else "the serving engines in process",
            questions=len(questions.asked),
            items=len(self._facts),
            limit=self._how.limit,
            seed=self._how.seed,
            notes=[*questions.notes, *_short(self._how.limit)],
            modes=modes,
            sales=concentration(self._facts.popularity.astype(np.int64), self._facts.popularity),
            slices=slices,
            sources=inside.sources,
            depths=inside.depths,
            hidden=inside.hidden,
            folds=inside.folds,
            training=manifest.metrics.get("training", {}),
            cost=self._cost(),
            demand=None if questions.judged else expected_demand(asked, two_stages, self._facts),
            steering=steering(asked, two_stages, self._facts, self._how.seed, steered),
            baselines=self._baselines(two_stages),
        )

    def _baselines(self, two_stages: Mapping[str, Answer]) -> Baselines | None:
        if not self._how.baselines:
            return None
        how = self._how
        asked = ask_baselines(self._questions, self._facts, how.limit, how.seed, self._report)
        return compare_baselines(self._questions, asked, two_stages, self._facts, how.seed)

    def _modes(self, answers: Mapping[str, Mapping[str, Answer]]) -> dict[str, Mode]:
        modes: dict[str, Mode] = {}
        scores: dict[str, dict[str, Float64Array]] = {}
        for name, given in answers.items():
            own = {question.key: given[question.key] for question in self._questions.asked}
            scores[name] = measure(self._questions.asked, own, self._facts, judged=self._questions.judged)
            modes[name] = self._mode(name, own, scores)
        return modes

    def _mode(self, name: str, answers: Mapping[str, Answer], scores: Mapping[str, dict[str, Float64Array]]) -> Mode:
        seed = self._how.seed
        own = scores[name]
        shown = exposure(answers, self._facts, K)
        total = max(int(shown.sum()), 1)
        probability, wanted = outcomes(self._questions.asked, answers, judged=self._questions.judged)
        return Mode(
            measures={kind: Estimate.of(values, seed) for kind, values in own.items()},
            over={
                other: {kind: Difference.between(own[kind], values[kind], seed) for kind in own}
                for other, values in scores.items()
                if other != name
            },
            coverage=float((shown > 0).mean()),
            gini=gini(shown),
            shares={band: float(shown[self._facts.band == n].sum() / total) for n, band in enumerate(BANDS)},
            concentration=concentration(shown, self._facts.popularity),
            latency=_latency(answers),
            degraded=sum(answer.degraded for answer in answers.values()),
            probabilities=assess(probability, wanted, self._how.threshold),
        )

    def _cost(self) -> Cost:
        manifest = self._release.manifest
        peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kilobytes on Linux
        return Cost(
            release_mb=sum(entry.bytes for entry in manifest.files.values()) / _MB,
            memory_mb=None if self._how.gateway else peak_kb / 1_000,
            build_s=manifest.metrics.get("build_seconds", {}),
        )


def _short(limit: int) -> list[str]:
    return [f"Answers have {limit} items at most, so measures at 100 are of {limit}."] if limit < _DEEPEST else []


def _latency(answers: Mapping[str, Answer]) -> dict[str, Latency]:
    stages = dict.fromkeys(stage for answer in answers.values() for stage in answer.ms)
    found = {}
    for stage in stages:
        values = [answer.ms[stage] for answer in answers.values() if stage in answer.ms]
        found[stage] = Latency(p50=float(np.median(values)), p95=float(np.quantile(values, 0.95)))
    return found

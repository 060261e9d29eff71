"""Evaluates a release on the questions of a protocol."""

from __future__ import annotations

import resource
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from common.arrays import Float64Array
from common.errors import InvalidRequest
from common.release.store import Release
from common.server.access.channel_security import ChannelSecurity
from pipeline.evaluation.analyses.baselines import answer_by_baselines, compare_baselines
from pipeline.evaluation.analyses.cross_validation import cross_validate
from pipeline.evaluation.analyses.long_tail import LONG_TAIL_SHARES, expected_demand, long_tail_cost
from pipeline.evaluation.analyses.second_stage import DEPTHS, ablations, depth_results, reads_logits, sample_evenly
from pipeline.evaluation.analyses.slices import measure_slices
from pipeline.evaluation.analyses.source_contribution import source_contributions
from pipeline.measurement.metrics.baseline_result import BaselineComparison
from pipeline.measurement.metrics.beyond_accuracy import K, concentration, exposure, gini, measure_answers
from pipeline.measurement.metrics.calibration import outcomes, probability_metrics
from pipeline.measurement.metrics.estimates import Difference, Estimate, Latency
from pipeline.measurement.metrics.evaluation_result import (
    Ablation,
    Cost,
    CrossValidation,
    DepthResult,
    Evaluation,
    ModeResult,
    SourceContribution,
)
from pipeline.measurement.metrics.item_popularity import BANDS, ItemPopularity
from pipeline.measurement.questions.answers import BOTH, FIRST, MODES, Answer
from pipeline.measurement.questions.gateway_runner import GatewayRunner
from pipeline.measurement.questions.local_runner import LocalRunner, local_runner
from pipeline.measurement.questions.protocols import Questions
from pipeline.progress import ProgressReport

_MB: Final = 1_000_000
_MAX_CUTOFF: Final = 100  # of the measures


@dataclass(frozen=True)
class EvaluationSettings:
    """How a release is evaluated.

    Attributes:
        limit: Number of items in each answer.
        threshold: Lowest probability of a candidate that is predicted to be relevant.
        folds: Number of folds of the cross-validation; 0 for none.
        gateway: Address of a gateway; empty for the engines in this process.
        gateway_security: TLS, certificates and token of the connection to it; None for neither.
        baselines: Whether to compare with single methods, fitted to the events before the questions.
        long_tail_shares: Whether to request answers with each minimum long-tail share, of ten items.
        seed: Seed of intervals, tests and folds.
    """

    limit: int = 100
    threshold: float = 0.5
    folds: int = 0
    gateway: str = ""
    gateway_security: ChannelSecurity | None = None
    baselines: bool = False
    long_tail_shares: bool = False
    seed: int = 7


def evaluate_release(
    release: Release, questions: Questions, settings: EvaluationSettings, report: ProgressReport
) -> Evaluation:
    """Answer every question in every mode, and measure the answers.

    Args:
        release: The release; with a gateway, the one that it serves.
        questions: The questions.
        settings: The settings.
        report: Receives each step.

    Raises:
        InvalidRequest: The gateway serves another release, or the number of folds is impossible.
        NotReady: The gateway does not answer.
        BadRelease: The engines cannot serve the release.
    """
    evaluator = _Evaluator(release, questions, settings, report)
    if settings.gateway and settings.folds:
        raise InvalidRequest("cross-validation needs the engines in this process: leave out --gateway or --folds")
    if settings.gateway:
        gateway = GatewayRunner(settings.gateway, release.id, settings.gateway_security)
        answers = evaluator.answer_in_each_mode(gateway)
        return evaluator.evaluation(answers, evaluator.answer_with_long_tail_shares(gateway), _LocalAnalyses())
    with local_runner(release) as runner:
        answers = evaluator.answer_in_each_mode(runner)
        local = evaluator.local_analyses(runner, answers[FIRST])
        return evaluator.evaluation(answers, evaluator.answer_with_long_tail_shares(runner), local)


@dataclass(frozen=True)
class _LocalAnalyses:
    """What only the engines can tell; for the fields see `Evaluation`."""

    sources: dict[str, SourceContribution] | None = None
    depths: list[DepthResult] = field(default_factory=list)
    ablations: dict[str, Ablation] = field(default_factory=dict)
    cross_validation: CrossValidation | None = None


class _Evaluator:
    """Answers the questions by a runner, and turns the answers into figures."""

    def __init__(
        self, release: Release, questions: Questions, settings: EvaluationSettings, report: ProgressReport
    ) -> None:
        self._release = release
        self._questions = questions
        self._settings = settings
        self._report = report
        self._items = ItemPopularity.load(release)

    def answer_in_each_mode(self, runner: LocalRunner | GatewayRunner) -> dict[str, dict[str, Answer]]:
        """Return the answers by mode and question, those for new users and judged searches included."""
        questions = [*self._questions.main, *self._questions.new_users, *self._questions.searches]
        answers = {}
        for mode in MODES:
            with self._report.step(f"Answering {len(questions):,} questions: {mode}", len(questions)) as step:
                answers[mode] = runner.answer_questions(questions, mode, self._settings.limit, step)
        return answers

    def answer_with_long_tail_shares(self, runner: LocalRunner | GatewayRunner) -> dict[float, dict[str, Answer]]:
        """Return the first ten items by minimum long-tail share and question; empty if not requested."""
        if not self._settings.long_tail_shares:
            return {}
        questions = self._questions.main
        with self._report.step("Answering with a minimum long-tail share", len(LONG_TAIL_SHARES) * len(questions)) as s:
            return {share: runner.answer_questions(questions, BOTH, K, s, share) for share in LONG_TAIL_SHARES}

    def local_analyses(self, runner: LocalRunner, first_stage: Mapping[str, Answer]) -> _LocalAnalyses:
        """Return the analyses that need the engines; ``first_stage`` has the first stage's own answers."""
        return _LocalAnalyses(
            self._source_contributions(runner, first_stage),
            self._depths(runner),
            self._ablations(runner),
            self._cross_validation(runner),
        )

    def evaluation(
        self,
        answers: Mapping[str, Mapping[str, Answer]],
        long_tail_answers: Mapping[float, Mapping[str, Answer]],
        local: _LocalAnalyses,
    ) -> Evaluation:
        """Measure the answers."""
        questions, manifest, settings = self._questions, self._release.manifest, self._settings
        two_stages = answers[BOTH]
        with self._report.step("Measuring"):
            modes = self._modes(answers)
            slices = measure_slices(questions, answers, self._items, settings.seed)
        return Evaluation(
            release_id=manifest.release_id,
            source=manifest.data.source,
            licence=manifest.data.licence,
            protocol=questions.protocol,
            description=questions.description,
            answered_by=f"the gateway at {settings.gateway}" if settings.gateway else "the serving engines in process",
            questions=len(questions.main),
            items=len(self._items),
            limit=settings.limit,
            seed=settings.seed,
            notes=[*questions.notes, *_limit_notes(settings.limit)],
            modes=modes,
            sales=concentration(self._items.popularity.astype(np.int64), self._items.popularity),
            slices=slices,
            sources=local.sources,
            depths=local.depths,
            ablations=local.ablations,
            cross_validation=local.cross_validation,
            training=manifest.metrics.get("training", {}),
            cost=self._cost(),
            demand=None if questions.judged else expected_demand(questions.main, two_stages, self._items),
            long_tail=long_tail_cost(questions.main, two_stages, self._items, settings.seed, long_tail_answers),
            baselines=self._baselines(two_stages),
        )

    def _source_contributions(
        self, runner: LocalRunner, first_stage: Mapping[str, Answer]
    ) -> dict[str, SourceContribution]:
        questions, settings = self._questions.main, self._settings
        total = 2 * len(runner.first_stage.sources) * len(questions)
        with self._report.step("Answering with each source alone, and without it", total) as step:
            return source_contributions(runner, questions, first_stage, settings.limit, settings.seed, step)

    def _depths(self, runner: LocalRunner) -> list[DepthResult]:
        if not reads_logits(runner):
            return []
        questions, settings = sample_evenly(self._questions.main), self._settings
        with self._report.step("Answering at each cross-encoder depth", len(DEPTHS) * len(questions)) as step:
            return depth_results(runner, questions, settings.limit, settings.seed, step)

    def _ablations(self, runner: LocalRunner) -> dict[str, Ablation]:
        questions, settings = self._questions.main, self._settings
        with self._report.step("Ablating the fusion's features", len(questions)) as step:
            return ablations(runner, questions, settings.limit, settings.seed, step)

    def _cross_validation(self, runner: LocalRunner) -> CrossValidation | None:
        questions, settings = self._questions.main, self._settings
        if not settings.folds:
            return None
        with self._report.step(f"Cross-validating in {settings.folds} folds", len(questions)) as step:
            return cross_validate(runner, questions, settings.folds, settings.seed, step)

    def _baselines(self, two_stages: Mapping[str, Answer]) -> BaselineComparison | None:
        if not self._settings.baselines:
            return None
        limit, seed = self._settings.limit, self._settings.seed
        answers = answer_by_baselines(self._questions, self._items, limit, seed, self._report)
        return compare_baselines(self._questions, answers, two_stages, self._items, seed)

    def _modes(self, answers: Mapping[str, Mapping[str, Answer]]) -> dict[str, ModeResult]:
        modes: dict[str, ModeResult] = {}
        scores: dict[str, dict[str, Float64Array]] = {}
        for name, of_mode in answers.items():
            main = {question.key: of_mode[question.key] for question in self._questions.main}
            scores[name] = measure_answers(self._questions.main, main, self._items, judged=self._questions.judged)
            modes[name] = self._mode(name, main, scores)
        return modes

    def _mode(
        self, name: str, answers: Mapping[str, Answer], scores: Mapping[str, dict[str, Float64Array]]
    ) -> ModeResult:
        seed = self._settings.seed
        own = scores[name]
        shown = exposure(answers, self._items, K)
        total = max(int(shown.sum()), 1)
        probability, relevant = outcomes(self._questions.main, answers, judged=self._questions.judged)
        return ModeResult(
            measures={measure: Estimate.from_scores(values, seed) for measure, values in own.items()},
            over={
                other: {measure: Difference.between(own[measure], values[measure], seed) for measure in own}
                for other, values in scores.items()
                if other != name
            },
            coverage=float((shown > 0).mean()),
            gini=gini(shown),
            shares={band: float(shown[self._items.band == n].sum() / total) for n, band in enumerate(BANDS)},
            concentration=concentration(shown, self._items.popularity),
            latency=_latency(answers),
            degraded=sum(answer.degraded for answer in answers.values()),
            probabilities=probability_metrics(probability, relevant, self._settings.threshold),
        )

    def _cost(self) -> Cost:
        manifest = self._release.manifest
        peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kilobytes on Linux
        return Cost(
            release_mb=sum(entry.bytes for entry in manifest.files.values()) / _MB,
            memory_mb=None if self._settings.gateway else peak_kb / 1_000,
            build_s=manifest.metrics.get("build_seconds", {}),
        )


def _limit_notes(limit: int) -> list[str]:
    return [f"Answers have at most {limit} items, so measures at 100 are at {limit}."] if limit < _MAX_CUTOFF else []


def _latency(answers: Mapping[str, Answer]) -> dict[str, Latency]:
    stages = dict.fromkeys(stage for answer in answers.values() for stage in answer.ms)
    by_stage = {}
    for stage in stages:
        values = [answer.ms[stage] for answer in answers.values() if stage in answer.ms]
        by_stage[stage] = Latency(p50=float(np.median(values)), p95=float(np.quantile(values, 0.95)))
    return by_stage

"""Answers requests by the variants that their users are assigned."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from common.errors import InvalidRequest
from services.gateway.answers.answer_cache import AnswerCache
from services.gateway.experiments.experiment import Experiment
from services.gateway.experiments.guard_rails import GuardedVariant
from services.gateway.recommendation.recommender import Recommender
from services.gateway.recommendation.request import RecommendRequest
from services.gateway.recommendation.result import RecommendResult


class ShownVariant(NamedTuple):
    """A user's variant of an experiment; ``stopped`` if the control answered in its place."""

    experiment: str
    variant: str
    stopped: bool = False


class Answered(NamedTuple):
    """An answer, the request with what the variants changed, and the variants."""

    result: RecommendResult
    request: RecommendRequest
    variants: Sequence[ShownVariant]


class Experiments:
    """Runs experiments side by side; each user has one variant of each.

    Args:
        recommender: Answers, unless a variant has services of its own.
        experiments: The experiments.
        recommenders: The recommenders of variants with services of their own, by experiment and variant.
        answers: What identical requests share; None if each is computed.

    Attributes:
        variants: The variants, by experiment and variant.
    """

    def __init__(
        self,
        recommender: Recommender,
        experiments: Sequence[Experiment] = (),
        recommenders: Mapping[tuple[str, str], Recommender] | None = None,
        answers: AnswerCache | None = None,
    ) -> None:
        self._answers = answers
        self._recommender = recommender
        self._experiments = experiments
        self._recommenders = recommenders or {}
        self.variants = {
            (experiment.name, variant.name): GuardedVariant(experiment, variant, is_control=number == 0)
            for experiment in experiments
            for number, variant in enumerate(experiment.variants)
        }

    async def recommend(self, request: RecommendRequest, remaining_s: float | None) -> Answered:
        """Answer a request by its user's variants; raises as `Recommender.recommend` does."""
        shown, used, recommender = [], [], self._recommender
        for experiment in self._experiments:
            assigned = experiment.assign(request.user_id)
            if assigned is None:
                continue
            guarded = self.variants[experiment.name, assigned.name]
            shown.append(ShownVariant(experiment.name, assigned.name, bool(guarded.stopped)))
            if guarded.stopped:
                guarded = self.variants[experiment.name, experiment.variants[0].name]
            else:
                used.append(guarded)
            request = guarded.variant.apply(request)
            recommender = self._recommenders.get((experiment.name, guarded.variant.name), recommender)
        began_s = time.monotonic()
        try:
            if self._answers is None:
                result = await recommender.recommend(request, remaining_s)
            else:
                result = await self._answers.recommend(recommender, request, shown, remaining_s)
        except InvalidRequest:
            raise
        except BaseException:  # also a call that its caller cancelled, which is late
            self._observe(used, (time.monotonic() - began_s) * 1e3, is_bad=True)
            raise
        self._observe(used, result.timings_ms["total"], is_bad=bool(result.degradations))
        return Answered(result, request, shown)

    @staticmethod
    def _observe(used: Sequence[GuardedVariant], total_ms: float, *, is_bad: bool) -> None:
        for guarded in used:
            guarded.observe(total_ms, is_bad=is_bad)

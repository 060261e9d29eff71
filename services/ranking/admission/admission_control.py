"""Admission control: calls that could not be answered in time are refused before they are parsed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from common.errors import Overloaded
from services.ranking.admission.time_budget import StepTimes, TimeBudget
from services.ranking.cross_encoder.pair_scorer import PairScorer
from services.ranking.request import CallContext

# Waiting for other calls' features may take at most this share of a call's time, or none would be left for reading.
_MAX_WAIT_SHARE: Final = 0.25


class AdmissionControl:
    """Admits calls by the time that they have and the work that waits; lives on one event loop.

    Args:
        threads: How many calls' features are computed at a time.
        times: How long the steps of a call take.
        scorer: Knows how much time there is for reading pairs; None if the release has no cross-encoder.
    """

    def __init__(self, threads: int, times: StepTimes, scorer: PairScorer | None) -> None:
        self._threads = threads
        self._times = times
        self._scorer = scorer
        self._in_features: list[CallContext] = []

    def admit(self, candidates: int, call: CallContext) -> TimeBudget:
        """Admit a call and return its time budget.

        Args:
            candidates: How many candidates it ranks.
            call: By when and for whom.

        Raises:
            DeadlineTooShort: There is no time for the features of the candidates, even without other calls.
            Overloaded: Other calls leave no time for the features, or for the pairs that the call needs.
        """
        budget = self._times.budget(call.deadline, candidates, candidates)
        budget.require_features(candidates)
        waiting = len(self._in_features)
        wait_s = budget.features_s * (waiting // self._threads)
        if wait_s > _MAX_WAIT_SHARE * budget.left_s:
            raise Overloaded(f"{waiting} calls wait already; try again later", retry_after_s=wait_s)
        if call.min_pairs and self._scorer is not None:
            urgency = call.priority, call.deadline
            promised = sum(one.min_pairs for one in self._in_features if (one.priority, one.deadline) <= urgency)
            # Reading can start only after the call's own features.
            reading = replace(call, deadline=budget.reading_ends_at - budget.features_s)
            self._scorer.check_room(reading, promised)
        return budget

    @contextmanager
    def computing_features(self, call: CallContext) -> Iterator[None]:
        """Count a call as waiting for its features while the body runs, and the pairs that it needs as promised.

        Otherwise calls that arrive meanwhile would be admitted for the same pairs, and refused after their features.
        """
        self._in_features.append(call)
        try:
            yield
        finally:
            self._in_features.remove(call)

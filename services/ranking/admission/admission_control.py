"""The door: calls that could not be answered in time are turned away before they are looked at."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from common.errors import DeadlineTooShort, Overloaded
from common.latency import LatencyEstimate
from services.ranking.batching.job import CallContext
from services.ranking.cross_encoder.pair_scorer import PairScorer

# Calls that want features must not eat up the time in which pairs are to be read.
_MOST_WAITING: Final = 0.25


class AdmissionControl:
    """Knows how many calls wait for their features and how long these take; used on one event loop.

    Args:
        threads: How many calls' features are computed at a time.
        pace: How long features take.
        reader: Reads pairs.
    """

    def __init__(self, threads: int, pace: LatencyEstimate, reader: PairScorer) -> None:
        self._threads = threads
        self._pace = pace
        self._reader = reader
        self._passing: list[CallContext] = []

    def check(self, candidates: int, terms: CallContext, kept_back_s: float) -> None:
        """Let a call in, or not.

        Args:
            candidates: How many it has.
            terms: By when and for whom.
            kept_back_s: What is kept back of its time for what comes after reading.

        Raises:
            DeadlineTooShort: There is no time for the features of so many candidates, even without other calls.
            Overloaded: Other calls leave no time for them, or for the pairs that the call insists on.
        """
        left_s = terms.deadline - time.monotonic()
        own_s = self._pace.expected_s(candidates)
        if left_s < own_s:
            raise DeadlineTooShort(
                f"{candidates} candidates cannot be ranked within {max(left_s, 0.0):.3f} s, even without the "
                "cross-encoder; allow more time or rank fewer"
            )
        waiting = len(self._passing)
        others_s = own_s * (waiting // self._threads)
        if others_s > _MOST_WAITING * left_s:
            raise Overloaded(f"{waiting} calls wait already; try again later", retry_after_s=others_s)
        if terms.least:
            turn = terms.priority, terms.deadline
            promised = sum(other.least for other in self._passing if (other.priority, other.deadline) <= turn)
            self._reader.check_room(replace(terms, deadline=terms.deadline - own_s - kept_back_s), promised)

    @contextmanager
    def passing(self, terms: CallContext) -> Iterator[None]:
        """Count a call as waiting for its features while the body runs, and the pairs that it insists on as promised.

        Calls that come meanwhile would else be let in for the same pairs, and turned away with their features done.
        """
        self._passing.append(terms)
        try:
            yield
        finally:
            self._passing.remove(terms)

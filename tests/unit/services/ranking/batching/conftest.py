"""Fixtures of the batching tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from services.ranking.batching.batch_queue import BatchQueue
from services.ranking.batching.job import Job
from services.ranking.pairs.pair_tokens import TokenPairs
from services.ranking.request import CallContext, Priority

FAR = 1e6


@pytest.fixture
def put(pairs_of: Callable[..., TokenPairs]):
    """Queue pairs of given lengths for a caller."""

    def queue_up(
        queue: BatchQueue,
        lengths: list[int],
        *,
        deadline: float = FAR,
        caller: str = "",
        now: float = 0.0,
        priority: Priority = Priority.INTERACTIVE,
    ) -> Job:
        call = CallContext(deadline, priority, caller)
        job = queue.make_job(pairs_of(lengths), call, now=now, complete=lambda _error: None)
        queue.admit(job, now)
        return job

    return queue_up

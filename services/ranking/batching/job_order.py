"""The order in which jobs are served."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator

from services.ranking.batching.job import BUCKETS, Job, OrderKey


class JobOrder:
    """Jobs sorted by one key: all of them, and those with pairs in each length bucket.

    The first job is found at once, a job's position in O(log jobs).
    """

    def __init__(self, key: Callable[[Job], OrderKey]) -> None:
        self._key = key
        self._all: list[Job] = []
        self._buckets: list[list[Job]] = [[] for _ in range(BUCKETS)]

    def __iter__(self) -> Iterator[Job]:
        return iter(self._all)

    def add(self, job: Job) -> None:
        """Insert a job."""
        for jobs in (self._all, *(self._buckets[bucket] for bucket in job.runs)):
            bisect.insort(jobs, job, key=self._key)

    def remove(self, job: Job) -> None:
        """Remove a job."""
        self._remove(self._all, job)
        for bucket in job.runs:
            self._remove(self._buckets[bucket], job)

    def remove_from_bucket(self, job: Job, bucket: int) -> None:
        """Remove a job from one bucket."""
        self._remove(self._buckets[bucket], job)

    def first(self, bucket: int | None = None) -> Job | None:
        """Return the first job of all, or of a bucket; None if there is none."""
        jobs = self._all if bucket is None else self._buckets[bucket]
        return jobs[0] if jobs else None

    def _remove(self, jobs: list[Job], job: Job) -> None:
        del jobs[bisect.bisect_left(jobs, self._key(job), key=self._key)]


class FairShareClock:
    """The virtual finish times of fair queueing (Demers, Keshav and Shenker, 1989), by caller.

    Attributes:
        finish_times: The last finish time of each caller; those that have passed are forgotten on the next call.
    """

    def __init__(self) -> None:
        self.finish_times: dict[str, float] = {}

    def advance(self, caller: str, seconds: float, now: float) -> float:
        """Return when work of ``seconds`` would be done if its caller had the workers alone."""
        finish_time = max(now, self.finish_times.get(caller, now)) + seconds
        self.finish_times = {other: time for other, time in self.finish_times.items() if time > now}
        self.finish_times[caller] = finish_time
        return finish_time

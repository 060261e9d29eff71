"""Jobs in one order, and whose turn it is."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator

from services.ranking.batching.job import BUCKETS, Job

Key = tuple[int, float, int]


class JobOrder:
    """Jobs in one order, all of them and by length bucket; finding one is O(log jobs)."""

    def __init__(self, key: Callable[[Job], Key]) -> None:
        self._key = key
        self._all: list[Job] = []
        self._buckets: list[list[Job]] = [[] for _ in range(BUCKETS)]

    def __iter__(self) -> Iterator[Job]:
        return iter(self._all)

    def join(self, job: Job) -> None:
        """Put a job into its place."""
        for jobs in (self._all, *(self._buckets[bucket] for bucket in job.runs)):
            bisect.insort(jobs, job, key=self._key)

    def leave(self, job: Job) -> None:
        """Take a job out."""
        self._remove(self._all, job)
        for bucket in job.runs:
            self._remove(self._buckets[bucket], job)

    def leave_bucket(self, job: Job, bucket: int) -> None:
        """Take a job out of one bucket."""
        self._remove(self._buckets[bucket], job)

    def first(self, bucket: int | None = None) -> Job | None:
        """Return the job that comes first, of all or of a bucket."""
        jobs = self._all if bucket is None else self._buckets[bucket]
        return jobs[0] if jobs else None

    def _remove(self, jobs: list[Job], job: Job) -> None:
        del jobs[bisect.bisect_left(jobs, self._key(job), key=self._key)]


class FairShareClock:
    """When callers had their last turn; those whose turn has passed are forgotten."""

    def __init__(self) -> None:
        self.last: dict[str, float] = {}

    def turn(self, owner: str, seconds: float, now: float) -> float:
        """Return when work of so many seconds would be done if its owner had the workers alone."""
        turn = max(now, self.last.get(owner, now)) + seconds
        self.last = {other: last for other, last in self.last.items() if last > now}
        self.last[owner] = turn
        return turn

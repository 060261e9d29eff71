"""A release that is being served, and a count of the engines of each release.

What a release's index keeps outside of the process, such as a Milvus collection, is removed with the release's last
engine.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from common.release.store import Release
from services.retrieval.candidates.first_stage import FirstStage
from services.retrieval.server.search_batcher import SearchBatcher
from services.retrieval.server.search_worker import SearchRequest


class EngineRefCount:
    """Counts the open engines of each release. Safe for threads.

    A release that was replaced may be activated again while its old engine still closes. Opening an engine therefore
    waits for one that is closing.
    """

    def __init__(self) -> None:
        self._count: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._shutting_down = False

    def shut_down(self) -> None:
        """Keep external resources from now on: the process ends, and its releases are not replaced."""
        self._shutting_down = True

    @contextmanager
    def opening(self, release_id: str) -> Iterator[None]:
        """Count the engine that the body opens, unless the body fails."""
        with self._lock:
            self._count[release_id] += 1
        try:
            yield
        except BaseException:
            with self._lock:
                self._count[release_id] -= 1
            raise

    @contextmanager
    def closing(self, release_id: str) -> Iterator[bool]:
        """Uncount the engine that the body closes; yields whether to remove the release's external resources."""
        with self._lock:
            self._count[release_id] -= 1
            yield self._count[release_id] == 0 and not self._shutting_down


@dataclass(frozen=True)
class LoadedRelease:
    """A release, its first stage, the batcher of its searches, and the count of open engines."""

    release: Release
    stage: FirstStage
    batcher: SearchBatcher[SearchRequest, bytes]
    engines: EngineRefCount

    def close(self) -> None:
        """Close the first stage; if this was the release's last engine, remove its external resources."""
        with self.engines.closing(self.release.id) as discard:
            self.stage.close(discard=discard)

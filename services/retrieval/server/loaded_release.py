"""Which releases have engines in this process: what one keeps outside of it goes with the last of its engines."""

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
    """Counts each release's engines. Safe for threads.

    A release that was replaced may be activated again while its old engine still closes, so one that opens waits for
    one that closes.
    """

    def __init__(self) -> None:
        self._count: Counter[str] = Counter()
        self._one_at_a_time = threading.Lock()
        self._ending = False

    def end(self) -> None:
        """Note that the process ends: engines that close from now on were not replaced."""
        self._ending = True

    @contextmanager
    def opening(self, release_id: str) -> Iterator[None]:
        """Count an engine that the body opens; one that fails to open is not counted."""
        with self._one_at_a_time:
            self._count[release_id] += 1
        try:
            yield
        except BaseException:
            with self._one_at_a_time:
                self._count[release_id] -= 1
            raise

    @contextmanager
    def closing(self, release_id: str) -> Iterator[bool]:
        """Close an engine in the body, which is told whether it was replaced for good: it was the release's last."""
        with self._one_at_a_time:
            self._count[release_id] -= 1
            yield self._count[release_id] == 0 and not self._ending


@dataclass(frozen=True)
class LoadedRelease:
    """A release, the first stage made of it, the queue of its searches, and what engines are open besides."""

    release: Release
    stage: FirstStage
    queue: SearchBatcher[SearchRequest, bytes]
    engines: EngineRefCount

    def close(self) -> None:
        """Let go of the first stage, and of what its index keeps elsewhere if the release was replaced for good."""
        with self.engines.closing(self.release.id) as replaced:
            self.stage.close(discard=replaced)

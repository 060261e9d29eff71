"""A release as it is served: searched, and answered in bytes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from common.release import Release
from services.retrieval.catalogue_view import CatalogueView
from services.retrieval.effort import Effort
from services.retrieval.engines_open import EnginesOpen
from services.retrieval.first_stage import FirstStage
from services.retrieval.messages import write_response
from services.retrieval.request import Candidates, Request
from services.retrieval.search_queue import SearchQueue
from services.retrieval.wire import candidate_fragments, id_fragments, write_candidates, write_columns


class Asked(NamedTuple):
    """A request that waits to be searched.

    Attributes:
        request: What is asked, with its query's embedding in place.
        view: The state of the catalogue that answers it.
        columns: Whether the answer is wanted in columns.
        began: When it arrived, by `time.perf_counter`.
        encode_s: How long its embedding took, in seconds.
    """

    request: Request
    view: CatalogueView
    columns: bool
    began: float
    encode_s: float


class Answers:
    """Searches a first stage and writes the answers; in a thread, since writing takes long too.

    Args:
        release_id: The release that answers.
        stage: Its first stage.
        effort: Told how long answers took.
        observe: Told what was found.
        kept: How many items are kept as they are written.
    """

    def __init__(
        self,
        release_id: str,
        stage: FirstStage,
        effort: Effort,
        observe: Callable[[Sequence[Candidates]], None],
        kept: int,
    ) -> None:
        self._release_id = release_id
        self._stage = stage
        self._effort = effort
        self._observe = observe
        self._items, self._ids = candidate_fragments(kept, stage.tail), id_fragments(kept)

    def write(self, asked: Sequence[Asked]) -> list[bytes]:
        """Answer requests, each as a serialised `RetrieveResponse`; those in one state of the catalogue together."""
        found: list[Candidates] = []
        for view, together in groupby(asked, key=attrgetter("view")):
            found += self._stage.search([each.request for each in together], view)
        self._observe(found)
        return [self._write(each, candidates) for each, candidates in zip(asked, found, strict=True)]

    def _write(self, asked: Asked, candidates: Candidates) -> bytes:
        total_s = time.perf_counter() - asked.began
        self._effort.observe(total_s - asked.encode_s)
        written = write_columns(candidates, self._ids) if asked.columns else write_candidates(candidates, self._items)
        return write_response(candidates, written, self._release_id, asked.encode_s, total_s)


@dataclass(frozen=True)
class Served:
    """A release, the first stage made of it, the queue of its searches, and what engines are open besides."""

    release: Release
    stage: FirstStage
    queue: SearchQueue[Asked, bytes]
    engines: EnginesOpen

    def close(self) -> None:
        """Let go of the first stage, and of what its index keeps elsewhere if the release was replaced for good."""
        with self.engines.closing(self.release.id) as replaced:
            self.stage.close(discard=replaced)

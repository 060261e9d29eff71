"""What the service does on the event loop and what on threads; tests/integration/retrieval has its methods."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any
from unittest.mock import Mock

import pytest

from services.retrieval.candidates.request import Request
from services.retrieval.server.service import RetrievalService


class _Stage:
    """Knows every word, and notes on which threads it was asked."""

    snapshot = None

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self.pool = pool
        self.asked_on: set[int] = set()

    def needs_repair(self, request: Request, snapshot: Any) -> bool:
        del request, snapshot
        self.asked_on.add(threading.get_ident())
        return False

    def corrected(self, request: Request, snapshot: Any) -> Request:
        del snapshot
        self.asked_on.add(threading.get_ident())
        return request


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Return a pool of one thread."""
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.mark.parametrize(("query", "count", "on_loop"), [("oat milk", 1, True), ("milk " * 200, 256, False)])
async def test_words_of_many_long_queries_are_not_looked_up_on_the_event_loop(
    pool: ThreadPoolExecutor, query: str, count: int, on_loop: bool
):
    """A batch of long queries would keep all other calls waiting; a short query is not worth a thread."""
    metrics = Mock()
    metrics.repairing = nullcontext
    stage: Any = _Stage(pool)
    requests = [Request(query=query)] * count
    service = RetrievalService(Mock(), Mock(), metrics, Mock())
    assert list(await service._corrected(stage, requests)) == requests
    assert (stage.asked_on == {threading.get_ident()}) == on_loop
    assert (threading.get_ident() in stage.asked_on) == on_loop

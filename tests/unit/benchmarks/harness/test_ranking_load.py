"""The load generator of the ranking benchmarks, on a small real release."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.harness.ranking_load import closed_loop, open_loop, rank_request
from benchmarks.harness.servers import ranking_service
from common.release.catalogue import Catalogue
from common.release.layout import CATALOGUE
from common.release.store import open_release
from testing.local_server import LocalServer


@pytest.fixture(scope="module")
def served(tiny_release: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    with ranking_service(tiny_release, tmp_path_factory.mktemp("load") / "ranking.log") as running:
        yield running


@pytest.fixture(scope="module")
def item_ids(tiny_release: Path) -> list[str]:
    return Catalogue.open(open_release(str(tiny_release)).file(CATALOGUE)).item_ids


async def test_closed_loop_counts_scored_pairs(served: LocalServer, item_ids: list[str]):
    """Every call scores all its distinct texts, since none is cached."""
    answers = await closed_loop(served.target, [rank_request("milk", item_ids[:30])], callers=2, seconds=0.2)
    assert answers.pairs == 30 * len(answers.latencies_ms) > 0
    assert answers.tokens > answers.pairs
    assert not answers.refused_ms
    assert served.memory_bytes() > 10e6
    assert served.cpu_s() > 0


async def test_calls_without_a_scored_pair_are_counted_apart(served: LocalServer, item_ids: list[str]):
    """A call whose deadline leaves no time is no scored call and adds no pairs."""
    answers = await open_loop(
        served.target, [rank_request("milk", item_ids)], per_s=50, seconds=0.2, deadline_s=0.003, seed=0
    )
    assert answers.pairs == 0
    assert answers.latencies_ms == []
    assert len(answers.refused_ms) + len(answers.unread_ms) + answers.expired == 10

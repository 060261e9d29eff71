"""What the retrieval service counts."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from common.server.telemetry import Metrics
from services.retrieval.candidates.first_stage import FirstStage
from services.retrieval.candidates.request import Request
from services.retrieval.catalogue.live_catalogue import ChangeCounts
from services.retrieval.server.metrics import RetrievalMetrics

Value = Callable[..., float | None]


@pytest.fixture
def registry() -> Metrics:
    """Return the metrics that every server has."""
    return Metrics("retrieval")


@pytest.fixture
def metrics(registry: Metrics) -> RetrievalMetrics:
    """Return the metrics of a retrieval server."""
    return RetrievalMetrics(registry)


@pytest.fixture
def value(registry: Metrics) -> Value:
    """Return how a metric is read."""

    def read(name: str, **labels: str) -> float | None:
        return registry.registry.get_sample_value(f"shortlist_retrieval_{name}", labels)

    return read


def test_candidates_are_counted_by_source(shop: FirstStage, metrics: RetrievalMetrics, value: Value):
    """Candidates count for each source that found them, and the padding apart; unknown history items are counted."""
    requests = [
        Request(history_item_ids=["bread", "unheard of"], sources=["behaviour"], limit=5),
        Request(sources=["popular"], limit=3),
    ]
    metrics.observe(shop.retrieve(requests))
    assert value("candidates_total", source="behaviour") == 2
    assert value("candidates_total", source="popular") == 3
    assert value("padded_candidates_total") == 3
    assert value("ignored_history_items_total") == 1
    assert value("stage_seconds_count", stage="search") == value("stage_seconds_count", stage="fuse") == 1


def test_repaired_queries_are_counted(shop: FirstStage, metrics: RetrievalMetrics, value: Value):
    """Of two queries, the one that was repaired counts, and so does the time of the repair."""
    found = shop.retrieve([Request(query="milk"), Request(query="bread")])
    found[1].is_corrected = True
    metrics.observe(found)
    with metrics.repairing():
        pass
    assert value("corrected_queries_total") == 1
    assert value("stage_seconds_count", stage="repair") == 1


def test_searches_are_counted_by_path(shop: FirstStage, metrics: RetrievalMetrics, value: Value):
    """Exact searches and searches of cached neighbours count apart, by source; other sources search no vectors."""
    request = Request(query="milk", history_item_ids=["bread"], limit=1)
    metrics.observe(shop.retrieve([request, request]))
    assert value("searches_total", source="semantic", path="exact") == 2
    assert value("searches_total", source="similar", path="cached") == 2
    assert value("searches_total", source="popular", path="exact") is None


def test_recall_is_the_mean_of_the_samples(metrics: RetrievalMetrics, value: Value):
    """Without samples the recall is NaN; then it is their mean, over the last 200."""
    assert math.isnan(value("recall") or 0)
    for recall in (1.0, 0.5):
        metrics.observe_recall(recall)
    assert (value("recall"), value("recall_samples_total")) == (0.75, 2)
    for _ in range(200):
        metrics.observe_recall(0.9)
    assert value("recall") == pytest.approx(0.9)


def test_changes_are_counted_by_kind(metrics: RetrievalMetrics, value: Value):
    """Items inserted, replaced and deleted are counted; missing ones are no change."""
    metrics.observe_change(ChangeCounts(inserted=3, replaced=2, deleted=1, missing=9))
    kinds = ("inserted", "replaced", "deleted")
    assert [value("changes_total", kind=kind) for kind in kinds] == [3, 2, 1]


def test_gauges_follow_what_they_watch(metrics: RetrievalMetrics, value: Value):
    """Items and audit are read when scraped; the other gauges hold what was set last."""
    items = [5]
    metrics.watch_items(lambda: items[0])
    metrics.watch_audit(lambda: 2, lambda: 7)
    items[0] = 6
    metrics.set_ef_search(120)
    metrics.set_connected(True)
    metrics.set_index("hnsw")
    names = ("items", "unreachable_vectors", "audit_pending_vectors", "ef_search", "change_stream_connected")
    assert [value(name) for name in names] == [6, 2, 7, 120, 1]
    assert value("index_info", type="hnsw") == 1

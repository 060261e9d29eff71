"""What the retrieval service counts, beside what every server does."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final

from prometheus_client import Counter, Gauge, Histogram

from common.telemetry import Metrics
from services.retrieval.live_catalogue import Applied
from services.retrieval.request import Candidates

_BATCHES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class RetrievalMetrics:
    """Candidates by source, how the index searched, the live catalogue, and the encoder's batches."""

    def __init__(self, metrics: Metrics) -> None:
        names: dict[str, Any] = {"namespace": metrics.namespace, "registry": metrics.registry}
        self._stages = metrics.stage_seconds
        self._candidates = Counter(
            "candidates", "Candidates answered, by each source that found them.", ["source"], **names
        )
        self._filled = Counter("filled", "Candidates answered that no source found.", **names)
        self._searches = Counter(
            "searches",
            "Vector searches by source, and whether the graph, exact search or memory answered.",
            ["source", "path"],
            **names,
        )
        self._ignored = Counter(
            "ignored_history_items", "Items of histories that the catalogue does not know.", **names
        )
        self._changes = Counter(
            "changes", "Items changed by calls to this server, by what became of them.", ["kind"], **names
        )
        self._items = Gauge("items", "Items of the live catalogue.", **names)
        self._connected = Gauge(
            "changes_connected", "Whether the stream of changes can be followed; 0 also without one.", **names
        )
        self._batches = Histogram(
            "encode_batch_queries", "Queries that one encoder pass embedded.", buckets=_BATCHES, **names
        )

    def observe(self, candidates: Candidates) -> None:
        """Count one answer."""
        found = candidates.source_scores == candidates.source_scores
        for source, count in zip(candidates.sources, found.sum(axis=0).tolist(), strict=True):
            self._candidates.labels(source=source).inc(count)
        self._filled.inc(int((~found.any(axis=1)).sum()))
        for source, path in candidates.paths.items():
            self._searches.labels(source=source, path=path).inc()
        self._ignored.inc(candidates.ignored_history)
        self._stages.labels(stage="search").observe(candidates.search_s)
        self._stages.labels(stage="fuse").observe(candidates.fuse_s)

    def encoding(self) -> AbstractContextManager[Any]:
        """Return a context manager that observes how long a call waits for the embeddings of its queries."""
        return self._stages.labels(stage="encode").time()

    def observe_batch(self, queries: int) -> None:
        """Record one pass of the encoder."""
        self._batches.observe(queries)

    def observe_change(self, applied: Applied) -> None:
        """Count a change that this server was asked for."""
        for kind in ("inserted", "replaced", "deleted"):
            self._changes.labels(kind=kind).inc(getattr(applied, kind))

    def watch_items(self, items: Callable[[], int]) -> None:
        """Tell how the items of the live catalogue are counted, whoever changes it."""
        self._items.set_function(items)

    def set_connected(self, connected: bool) -> None:
        """Tell whether the stream of changes can be followed."""
        self._connected.set(connected)

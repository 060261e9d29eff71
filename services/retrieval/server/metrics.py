"""The metrics of the retrieval service, in addition to those of every server."""

from __future__ import annotations

from collections import Counter as Counts
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final

import numpy as np
from prometheus_client import Counter, Gauge, Histogram, Info

from common.server.telemetry import Metrics
from services.retrieval.ann.ann_index import IndexType
from services.retrieval.candidates.candidates import Candidates
from services.retrieval.catalogue.live_catalogue import ChangeCounts
from services.retrieval.suggestions.live_suggestions import Suggestion

# The recall is the mean of this many samples.
_RECALL_WINDOW: Final = 200
_BATCH_BUCKETS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class RetrievalMetrics:
    """Candidates by source, the paths of searches, the live catalogue, the index, and the encoder's batches."""

    def __init__(self, metrics: Metrics) -> None:
        names: dict[str, Any] = {"namespace": metrics.namespace, "registry": metrics.registry}
        self._stages = metrics.stage_seconds
        self._candidates = Counter(
            "candidates", "Candidates returned, by each source that found them.", ["source"], **names
        )
        self._padded = Counter("padded_candidates", "Candidates returned that no source found.", **names)
        self._corrected = Counter("corrected_queries", "Queries whose spelling was repaired.", **names)
        self._searches = Counter(
            "searches",
            "Vector searches by source and path: the approximate index, exact search or the neighbour cache.",
            ["source", "path"],
            **names,
        )
        self._ignored = Counter(
            "ignored_history_items", "Items of histories that the catalogue does not know.", **names
        )
        self._changes = Counter(
            "changes", "Items inserted, replaced or deleted by calls to this server.", ["kind"], **names
        )
        self._items = Gauge("items", "Items in the live catalogue.", **names)
        self._connected = Gauge(
            "change_stream_connected",
            "1 while the Redis stream of changes can be followed; 0 otherwise, and without a stream.",
            **names,
        )
        self._losses = Counter(
            "change_stream_losses",
            "How often the Redis stream had lost changes, and whether they were restored.",
            ["restored"],
            **names,
        )
        self._recall = Gauge(
            "recall",
            "Recall of the approximate index against exact search: the mean of the last samples.",
            **names,
        )
        self._recall.set(float("nan"))
        self._recall_samples = Counter("recall_samples", "Searches that were also run exactly.", **names)
        self._recent_recalls: deque[float] = deque(maxlen=_RECALL_WINDOW)
        self._unreachable = Gauge(
            "unreachable_vectors", "Vectors that no link of an HNSW graph leads to; they are searched exactly.", **names
        )
        self._audit_pending = Gauge(
            "audit_pending_vectors", "Vectors that the reachability audit has yet to check.", **names
        )
        self._index = Info("index", "The type of the index over the release's vectors.", **names)
        self._ef_search = Gauge("ef_search", "HNSW's present `ef_search`.", **names)
        self._suggestions = Counter(
            "suggestions",
            "Suggestions of Complete, by what they are and whether a word was corrected.",
            ["kind", "corrected"],
            **names,
        )
        self._without_suggestion = Counter(
            "texts_without_suggestion", "Texts that Complete found nothing for.", **names
        )
        self._batches = Histogram(
            "encode_batch_queries", "Queries embedded in one encoder pass.", buckets=_BATCH_BUCKETS, **names
        )

    def observe(self, results: Sequence[Candidates]) -> None:
        """Count the candidates of one batch of searches."""
        counts: Counts[tuple[Counter, tuple[str, ...]]] = Counts()
        for candidates in results:
            missing = np.add.reduce(np.isnan(candidates.source_scores), axis=0).tolist()
            for source, count in zip(candidates.sources, missing, strict=True):
                counts[self._candidates, (source,)] += len(candidates) - count
            for source_and_path in candidates.paths.items():
                counts[self._searches, source_and_path] += 1
            counts[self._padded, ()] += candidates.padded
            counts[self._ignored, ()] += candidates.ignored_history
            counts[self._corrected, ()] += candidates.is_corrected
        for (counter, labels), count in counts.items():
            (counter.labels(*labels) if labels else counter).inc(count)
        self._stages.labels(stage="search").observe(max(candidates.search_s for candidates in results))
        self._stages.labels(stage="fuse").observe(sum(candidates.fuse_s for candidates in results))

    def repairing(self) -> AbstractContextManager[Any]:
        """Return a context manager that observes how long the repair of a call's queries takes."""
        return self._stages.labels(stage="repair").time()

    def encoding(self) -> AbstractContextManager[Any]:
        """Return a context manager that observes how long a call waits for its queries' embeddings."""
        return self._stages.labels(stage="encode").time()

    def observe_recall(self, recall: float) -> None:
        """Record the recall of one search that was also run exactly."""
        self._recent_recalls.append(recall)
        self._recall.set(sum(self._recent_recalls) / len(self._recent_recalls))
        self._recall_samples.inc()

    def set_index(self, index_type: IndexType) -> None:
        """Set the type of the index being served."""
        self._index.info({"type": index_type})

    def set_ef_search(self, ef_search: int) -> None:
        """Set HNSW's present `ef_search`."""
        self._ef_search.set(ef_search)

    def observe_batch(self, queries: int) -> None:
        """Record the number of queries in one encoder pass."""
        self._batches.observe(queries)

    def observe_change(self, counts: ChangeCounts) -> None:
        """Count the items that a call to this server changed."""
        for kind in ("inserted", "replaced", "deleted"):
            self._changes.labels(kind=kind).inc(getattr(counts, kind))

    def observe_suggestions(self, suggestions: Sequence[Suggestion]) -> None:
        """Count the suggestions of one completed text, or that there was none."""
        for suggestion in suggestions:
            self._suggestions.labels(kind=suggestion.kind, corrected=str(suggestion.corrected_words > 0).lower()).inc()
        self._without_suggestion.inc(not suggestions)

    def watch_items(self, items: Callable[[], int]) -> None:
        """Set the function that counts the items of the live catalogue."""
        self._items.set_function(items)

    def watch_audit(self, unreachable: Callable[[], int], pending: Callable[[], int]) -> None:
        """Set the functions that count unreachable vectors, and vectors that are yet to be audited."""
        self._unreachable.set_function(unreachable)
        self._audit_pending.set_function(pending)

    def count_loss(self, restored: bool) -> None:
        """Count that the stream of changes had lost entries, and whether they were restored; safe for threads."""
        self._losses.labels(restored=str(restored).lower()).inc()

    def set_connected(self, connected: bool) -> None:
        """Set whether the stream of changes can be followed."""
        self._connected.set(connected)

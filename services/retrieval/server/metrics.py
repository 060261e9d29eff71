"""What the retrieval service counts, beside what every server does."""

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

# Samples that the recall is the mean of.
_RECENT: Final = 200


_BATCHES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class RetrievalMetrics:
    """Candidates by source, how the index searched, the live catalogue, and the encoder's batches."""

    def __init__(self, metrics: Metrics) -> None:
        names: dict[str, Any] = {"namespace": metrics.namespace, "registry": metrics.registry}
        self._stages = metrics.stage_seconds
        self._candidates = Counter(
            "candidates", "Candidates answered, by each source that found them.", ["source"], **names
        )
        self._filled = Counter("padded_candidates", "Candidates answered that no source found.", **names)
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
        self._recall = Gauge(
            "recall",
            "Share of the nearest items that searches through the graph found: the mean of the last samples.",
            **names,
        )
        self._recall.set(float("nan"))
        self._samples = Counter("recall_samples", "Searches that were answered exactly as well.", **names)
        self._recent: deque[float] = deque(maxlen=_RECENT)
        self._unreachable = Gauge(
            "unreachable_vectors", "Vectors that no link of the graph leads to; they are compared one by one.", **names
        )
        self._audit_due = Gauge("audit_due_vectors", "Vectors yet to be searched for by the audit.", **names)
        self._index = Info("index", "What searches the release's vectors.", **names)
        self._ef_search = Gauge("ef_search", "Length of HNSW's candidate list in force.", **names)
        self._batches = Histogram(
            "encode_batch_queries", "Queries that one encoder pass embedded.", buckets=_BATCHES, **names
        )

    def observe(self, answers: Sequence[Candidates]) -> None:
        """Count answers that were searched in one turn."""
        counted: Counts[tuple[Counter, tuple[str, ...]]] = Counts()
        for candidates in answers:
            silent = np.add.reduce(np.isnan(candidates.source_scores), axis=0).tolist()
            for source, missed in zip(candidates.sources, silent, strict=True):
                counted[self._candidates, (source,)] += len(candidates) - missed
            for path in candidates.paths.items():
                counted[self._searches, path] += 1
            counted[self._filled, ()] += candidates.filled
            counted[self._ignored, ()] += candidates.ignored_history
        for (counter, labels), count in counted.items():
            (counter.labels(*labels) if labels else counter).inc(count)
        self._stages.labels(stage="search").observe(max(candidates.search_s for candidates in answers))
        self._stages.labels(stage="fuse").observe(sum(candidates.fuse_s for candidates in answers))

    def encoding(self) -> AbstractContextManager[Any]:
        """Return a context manager that observes how long a call waits for the embeddings of its queries."""
        return self._stages.labels(stage="encode").time()

    def observe_recall(self, recall: float) -> None:
        """Take note of one search that was answered exactly as well."""
        self._recent.append(recall)
        self._recall.set(sum(self._recent) / len(self._recent))
        self._samples.inc()

    def set_index(self, index_type: IndexType) -> None:
        """Report what searches the vectors of the release being served."""
        self._index.info({"type": index_type})

    def set_ef_search(self, ef_search: int) -> None:
        """Tell the length of HNSW's candidate list."""
        self._ef_search.set(ef_search)

    def observe_batch(self, queries: int) -> None:
        """Record one pass of the encoder."""
        self._batches.observe(queries)

    def observe_change(self, applied: ChangeCounts) -> None:
        """Count a change that this server was asked for."""
        for kind in ("inserted", "replaced", "deleted"):
            self._changes.labels(kind=kind).inc(getattr(applied, kind))

    def watch_items(self, items: Callable[[], int]) -> None:
        """Tell how the items of the live catalogue are counted, whoever changes it."""
        self._items.set_function(items)

    def watch_audit(self, unreachable: Callable[[], int], due: Callable[[], int]) -> None:
        """Tell how the audit of the graphs stands: vectors they do not lead to, and vectors yet to be audited."""
        self._unreachable.set_function(unreachable)
        self._audit_due.set_function(due)

    def set_connected(self, connected: bool) -> None:
        """Tell whether the stream of changes can be followed."""
        self._connected.set(connected)

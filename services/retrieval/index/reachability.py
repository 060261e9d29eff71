"""The audit for unreachable vectors: those that an HNSW graph has no links to any more, so that no search finds them.

hnswlib prunes links as it inserts, and more so as it replaces (Xiao et al. 2024, "Enhancing HNSW Index for Real-Time
Updates: Addressing Unreachable Points and Performance Degradation", https://arxiv.org/abs/2407.07871). No error is
raised. The audit searches for each vector by itself. Those that are not found are compared with every query from then
on.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from common.arrays import BoolMask, Float32Array, RowIndices
from common.cache import IdentityCache
from services.retrieval.ann.ann_index import AnnIndex
from services.retrieval.index.scoring import rescore
from services.retrieval.index.vector_index import Hits
from services.retrieval.index.vector_storage import VectorStorage

# Inner products of the same vectors differ by up to this between libraries.
TIE: Final = 1e-5
_NO_LABELS: Final[RowIndices] = np.empty(0, dtype=np.int64)


class AuditState(NamedTuple):
    """How far an audit is. Immutable, so that searches read it while the audit runs.

    Attributes:
        next_row: The row where the audit of older rows continues.
        pending: How many rows from there on, in rotation, are still to be audited.
        unreachable: Labels that were not found; shape [unreachable].
        pending_new: How many of the last rows are new, and are audited first.
    """

    next_row: int = 0
    pending: int = 0
    unreachable: RowIndices = _NO_LABELS
    pending_new: int = 0

    def extended(self, rows: int, added: int) -> AuditState:
        """Return the state after insertions, of ``rows``: the ``added`` ones and as many older ones are pending."""
        return self._replace(pending=min(rows, self.pending + added), pending_new=min(rows, self.pending_new + added))

    def next_rows(self, count: int, rows: int) -> RowIndices:
        """Return up to ``count`` pending rows of a table of ``rows``."""
        if self.pending_new:
            return rows - self.pending_new + np.arange(min(count, self.pending_new))
        return (self.next_row + np.arange(min(count, self.pending))) % max(1, rows)

    def after(self, audited: RowIndices, unreachable: RowIndices, rows: int) -> AuditState:
        """Return the state after the rows of `next_rows` were audited, of which ``unreachable`` were not found."""
        known = np.union1d(np.setdiff1d(self.unreachable, audited), unreachable)
        if self.pending_new:
            return self._replace(unreachable=known, pending_new=self.pending_new - len(audited))
        return AuditState((self.next_row + len(audited)) % max(1, rows), self.pending - len(audited), known)


class ReachabilityAudit:
    """Audits one index and adds the unreachable vectors to what its searches find.

    The caller holds the index's lock: for reading in `run` and `add_unreachable`, for writing in `extend`. One thread
    at a time may call `run`.

    Args:
        ann: The index to audit; one that is no graph has nothing to audit.
        storage: Its vectors.
        state: How far the audit is; None if it has to begin.
    """

    def __init__(self, ann: AnnIndex, storage: VectorStorage, state: AuditState | None = None) -> None:
        self._ann = ann
        self._storage = storage
        self.state = state or AuditState(pending=storage.row_count if ann.is_graph else 0)
        self._vectors: IdentityCache[RowIndices, Float32Array] = IdentityCache(1)

    @property
    def pending(self) -> int:
        """How many rows are still to be audited."""
        return self.state.pending + self.state.pending_new

    @property
    def unreachable(self) -> int:
        """How many vectors were not found."""
        return len(self.state.unreachable)

    def extend(self, added: int) -> None:
        """Audit vectors that were added or replaced, and as many older ones."""
        self._vectors = IdentityCache(1)  # it may hold vectors that were replaced
        if self._ann.is_graph:
            self.state = self.state.extended(self._storage.row_count, added)

    def run(self, count: int, ef_search: int) -> RowIndices:
        """Search for the next ``count`` vectors by themselves; returns the labels of those that were not found."""
        rows = self.state.next_rows(count, self._storage.row_count)
        labels = rows[self._storage.is_live(rows)]
        missed = self._search_for(labels, ef_search) if len(labels) else labels
        self.state = self.state.after(rows, missed, self._storage.row_count)
        return missed

    def add_unreachable(self, hits: Hits, queries: Float32Array, mask: BoolMask | None) -> Hits:
        """Return hits, with unreachable vectors in place of worse ones; ``mask`` tells which labels are allowed."""
        labels = self.state.unreachable
        if not len(labels):
            return hits
        table = self._vectors.get_or_make(labels, self._storage.vectors_of)
        if mask is not None:
            allowed = mask[labels]
            labels, table = labels[allowed], table[allowed]
        return merge_unreachable(hits, labels, queries @ table.T)

    def _search_for(self, labels: RowIndices, ef_search: int) -> RowIndices:
        vectors = self._storage.vectors_of(labels)
        own_scores = np.einsum("ij,ij->i", vectors, vectors)
        for k in (min(ef_search, len(self._storage)), 1):  # as many as are walked through anyway, else the nearest
            found = self._ann.search(vectors, k)
            if found is not None:  # k can be reached
                found_labels, scores = found
                if scores is None:
                    found_labels, scores = rescore(self._storage.table, vectors, found_labels, k)
                return not_found(labels, own_scores, found_labels, scores)
        return labels


def not_found(labels: RowIndices, own_scores: Float32Array, found: RowIndices, scores: Float32Array) -> RowIndices:
    """Return which labels a search for their own vectors did not find.

    Args:
        labels: What was searched for; shape [n].
        own_scores: The inner product of each vector with itself; shape [n].
        found: The labels found; shape [n, k].
        scores: Their inner products, falling along each row; shape [n, k].
    """
    is_found = (found == labels[:, np.newaxis]).any(axis=1)
    # If all k are as near as the vector itself, duplicates took its place.
    is_crowded_out = scores[:, -1] >= own_scores - TIE
    missed: RowIndices = labels[~is_found & ~is_crowded_out]
    return missed


def merge_unreachable(hits: Hits, labels: RowIndices, scores: Float32Array) -> Hits:
    """Return as many hits, with unreachable vectors in place of worse ones.

    Args:
        hits: What the graph found.
        labels: Labels of unreachable vectors; a search may find some of them all the same.
        scores: Their inner products with each query; shape [queries, labels].
    """
    if not hits.labels.shape[1] or not (scores >= hits.scores[:, -1:]).any():
        return hits
    is_known = (hits.labels[:, :, np.newaxis] == labels).any(axis=1)
    all_labels = np.concatenate([hits.labels, np.broadcast_to(labels, scores.shape)], axis=1)
    all_scores = np.concatenate([hits.scores, np.where(is_known, -np.inf, scores)], axis=1)
    best = np.argsort(-all_scores, axis=1, kind="stable")[:, : hits.labels.shape[1]]
    return Hits(np.take_along_axis(all_labels, best, axis=1), np.take_along_axis(all_scores, best, axis=1), hits.method)

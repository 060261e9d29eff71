"""Which vectors a graph still leads to. One that a search for itself does not find is lost to every other search too.

hnswlib prunes links as it inserts, and more so as it replaces, until some vectors have none left that lead to them
(Xiao et al. 2024, "Enhancing HNSW Index for Real-Time Updates: Addressing Unreachable Points and Performance
Degradation", https://arxiv.org/abs/2407.07871). Nothing tells: searches go on and answer without them.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from common.arrays import Float32Array, RowIndices
from services.retrieval.index.vector_index import Hits

# Inner products of the same vectors differ by so much from one library to another.
TIE: Final = 1e-5
_NOTHING: Final[RowIndices] = np.empty(0, dtype=np.int64)


class AuditState(NamedTuple):
    """How much of a graph was searched for by its own vectors, and what was not found.

    Attributes:
        at: The row where the audit of all goes on.
        due: How many rows are yet to be audited from there on, in rotation.
        lost: Labels that the graph did not lead to; shape [lost].
        fresh: How many rows at the end came since, and are audited first.
    """

    at: int = 0
    due: int = 0
    lost: RowIndices = _NOTHING
    fresh: int = 0

    def grown(self, rows: int, by: int) -> AuditState:
        """Return what is due once ``by`` rows came to a graph that now has ``rows``: those, and as many older ones."""
        return self._replace(due=min(rows, self.due + by), fresh=min(rows, self.fresh + by))

    def next(self, count: int, rows: int) -> RowIndices:
        """Return the next ``count`` of a table's ``rows`` that are due."""
        if self.fresh:
            return rows - self.fresh + np.arange(min(count, self.fresh))
        return (self.at + np.arange(min(count, self.due))) % max(1, rows)

    def after(self, audited: RowIndices, lost: RowIndices, rows: int) -> AuditState:
        """Return the state once the rows of `next` were audited, of which ``lost`` were not found."""
        known = np.union1d(np.setdiff1d(self.lost, audited), lost)
        if self.fresh:
            return self._replace(lost=known, fresh=self.fresh - len(audited))
        return AuditState((self.at + len(audited)) % max(1, rows), self.due - len(audited), known)


def not_found(labels: RowIndices, own_scores: Float32Array, found: RowIndices, scores: Float32Array) -> RowIndices:
    """Return which labels a search for their own vectors did not find.

    Args:
        labels: What was searched for; shape [n].
        own_scores: Each one's inner product with itself; shape [n].
        found: The labels found; shape [n, k].
        scores: Their inner products, falling along each row; shape [n, k].
    """
    is_there = (found == labels[:, np.newaxis]).any(axis=1)
    # Where all that was found is as near as the vector itself, its equals took its place.
    crowded = scores[:, -1] >= own_scores - TIE
    lost: RowIndices = labels[~is_there & ~crowded]
    return lost


def with_lost(hits: Hits, lost: RowIndices, scores: Float32Array) -> Hits:
    """Return hits, as many as they were, with lost vectors in their places.

    Args:
        hits: What the graph found.
        lost: Labels that the graph does not lead to; other searches may have come across them all the same.
        scores: Their inner products with each query; shape [queries, lost].
    """
    if not hits.labels.shape[1] or not (scores >= hits.scores[:, -1:]).any():
        return hits
    known = (hits.labels[:, :, np.newaxis] == lost).any(axis=1)
    labels = np.concatenate([hits.labels, np.broadcast_to(lost, scores.shape)], axis=1)
    together = np.concatenate([hits.scores, np.where(known, -np.inf, scores)], axis=1)
    best = np.argsort(-together, axis=1, kind="stable")[:, : hits.labels.shape[1]]
    return Hits(np.take_along_axis(labels, best, axis=1), np.take_along_axis(together, best, axis=1), hits.method)

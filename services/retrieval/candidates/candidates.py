"""Candidates: the result of the first stage."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from common.arrays import Float32Array, RowIndices
from services.retrieval.catalogue.snapshot import Snapshot
from services.retrieval.search.item_search import Path


@dataclass(eq=False)
class Candidates:
    """The candidates for one request, best first: by falling score, ties by item id.

    Attributes:
        snapshot: The catalogue that was searched.
        rows: The candidates' rows in that snapshot; shape [n].
        scores: Their fused scores; padding has negative ones. Shape [n].
        sources: Names of the sources used, in alphabetical order.
        source_scores: Each source's score, NaN if it did not find the item; shape [n, sources].
        ignored_history: How many items of the history are unknown to the catalogue.
        padded: How many at the end no source found.
        paths: How each source that searches vectors did so.
        search_s: How long the sources took, in seconds.
        fuse_s: How long filtering, fusing and sorting took, in seconds.
        query: The query that was searched for, in normal form and with its spelling repaired; empty without one.
        is_corrected: Whether its spelling was repaired.
    """

    snapshot: Snapshot
    rows: RowIndices
    scores: npt.NDArray[np.float64]
    sources: tuple[str, ...]
    source_scores: Float32Array
    ignored_history: int
    padded: int = 0
    paths: dict[str, Path] = field(default_factory=dict)
    search_s: float = 0.0
    fuse_s: float = 0.0
    query: str = ""
    is_corrected: bool = False

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def item_ids(self) -> list[str]:
        """The candidates' ids."""
        return self.snapshot.item_ids(self.rows)

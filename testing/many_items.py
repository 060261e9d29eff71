"""A release of thousands of items that differ in their vectors only, and the recall of what is found of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from common.arrays import BoolMask, Float32Array, RowIndices
from common.release.catalogue import SCHEMA, Catalogue
from services.retrieval.candidates.artifacts import ReleaseArtifacts
from services.retrieval.candidates.candidates import Candidates
from services.retrieval.candidates.release_settings import FirstStageSettings
from services.retrieval.catalogue.snapshot import Snapshot
from services.retrieval.encoding.text_encoder import TextEncoder
from services.retrieval.index.reachability import TIE
from services.retrieval.index.vector_index import VectorIndex


def many_items(
    index: VectorIndex,
    vectors: Float32Array,
    encoder: TextEncoder,
    vector_of_item: RowIndices | None = None,
    sources: Sequence[str] = ("semantic",),
) -> ReleaseArtifacts:
    """Return a release of the items ``item-0``, ``item-1``, …, whose prices are their numbers.

    Args:
        index: Over the vectors.
        vectors: Shape [vectors, dimension].
        encoder: Embeds queries.
        vector_of_item: The row of each item's vector, shape [items]; None for one item per vector.
        sources: The candidate sources.
    """
    owners = np.arange(len(vectors)) if vector_of_item is None else vector_of_item
    names = [f"item-{number}" for number in range(len(owners))]
    columns: dict[str, list[Any]] = {name: [None] * len(names) for name in SCHEMA.names}
    columns |= dict.fromkeys(("item_id", "title", "text"), names)
    columns |= {"price": [float(number) for number in range(len(names))], "available": [True] * len(names)}
    columns["token_ids"] = [[1]] * len(names)
    return ReleaseArtifacts(
        catalogue=Catalogue(pa.table(columns, schema=SCHEMA)),
        vectors=vectors,
        vector_of_item=owners,
        index=index,
        popularity=np.zeros(len(names), np.float32),
        graphs={},
        settings=FirstStageSettings.model_validate({"sources": {name: {} for name in sources}}),
        encoder=encoder,
        encoder_id="words",
    )


def recall_of(
    artifacts: ReleaseArtifacts, candidates: Candidates, query: Float32Array, allowed: BoolMask | None = None
) -> float:
    """Return which share of the nearest live items was found, and check that only such items were found, once each.

    Args:
        artifacts: The release's.
        candidates: What one source found.
        query: A unit vector; shape [dimension].
        allowed: Which rows of the snapshot may be found, shape [rows]; None for all.
    """
    snapshot, rows = candidates.snapshot, candidates.rows
    scores = row_scores(artifacts, snapshot, query)
    if allowed is not None:
        scores[~allowed] = -np.inf
    if not np.isfinite(scores[rows]).all() or len(set(rows.tolist())) < len(rows):
        raise AssertionError("an item was found twice, or is not live or not allowed")
    worst = np.partition(scores, -len(rows))[-len(rows)]
    return float((scores[rows] >= worst - TIE).mean())


def row_scores(artifacts: ReleaseArtifacts, snapshot: Snapshot, query: Float32Array) -> Float32Array:
    """Return each row's inner product with a query, -inf if the row is not live; shape [rows]."""
    of_release = (artifacts.vectors @ query)[artifacts.vector_of_item]
    scores: Float32Array = np.concatenate([of_release, snapshot.delta.vectors @ query])
    scores[~snapshot.is_live] = -np.inf
    return scores

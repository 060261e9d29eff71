"""Which index is built, and loaded, for a release's vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from common.arrays import Float32Array, unit_vectors
from common.release.layout import HNSW_INDEX, PQ_INDEX
from services.retrieval.ann.ann_index import AnnKind, IndexOptions
from services.retrieval.index.factory import build_index, load_index

DIMENSION = 128
QUICK = 20


def spread(rows: int) -> Float32Array:
    """Return unit vectors that differ as embeddings of different texts do."""
    noise = np.random.default_rng(6).standard_normal((rows, DIMENSION))
    return unit_vectors((noise * np.geomspace(4, 0.2, DIMENSION)).astype(np.float32))


def near_duplicates(rows: int) -> Float32Array:
    """Return unit vectors in two clusters of near-duplicates."""
    generator = np.random.default_rng(6)
    centres = generator.standard_normal((2, DIMENSION)).repeat(rows // 2, axis=0)
    return unit_vectors((centres + 0.02 * generator.standard_normal((rows, DIMENSION))).astype(np.float32))


@pytest.mark.parametrize(
    ("rows", "kind", "index_type", "file"),
    [
        (4_999, "hnsw", "exact", None),
        (5_000, "hnsw", "hnsw", HNSW_INDEX),
        (900, "pq", "pq", PQ_INDEX),
    ],
)
def test_the_index_follows_size_and_choice(rows: int, kind: AnnKind, index_type: str, file: str | None, tmp_path: Path):
    """HNSW is built from 5,000 vectors on, exact search serves fewer, and PQ is built whenever it is asked for."""
    warnings: list[str] = []
    vectors = spread(rows)
    built = build_index(vectors, IndexOptions(ef_construction=QUICK, kind=kind), warnings.append)
    built.save(tmp_path)
    loaded = load_index(tmp_path)
    assert (built.index_type, loaded.index_type, len(loaded)) == (index_type, index_type, rows)
    assert [name for name in (HNSW_INDEX, PQ_INDEX) if (tmp_path / name).exists()] == ([] if file is None else [file])
    assert (loaded.search(vectors[:20], 1).labels[:, 0] == np.arange(20)).all()
    assert warnings == []


@pytest.mark.parametrize(("rows", "index_type"), [(5_000, "hnsw"), (4_000, "exact")])
def test_near_duplicates_get_no_pq_index(rows: int, index_type: str):
    """If PQ was asked for and can't tell a sample of the vectors apart, another index is built, with a warning."""
    warnings: list[str] = []
    options = IndexOptions(ef_construction=QUICK, kind="pq")
    assert build_index(near_duplicates(rows), options, warnings.append).index_type == index_type
    assert len(warnings) == 1
    assert "PQ finds only 0." in warnings[0]

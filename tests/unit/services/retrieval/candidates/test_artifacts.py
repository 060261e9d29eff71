"""Parts of a release that do not fit together."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from common.errors import BadRelease
from common.release.item_graph import ItemGraph
from services.retrieval.candidates.artifacts import ReleaseArtifacts
from services.retrieval.encoding.text_encoder import TextEncoder
from services.retrieval.index.hybrid_index import HybridIndex

NewEncoder = Callable[..., TextEncoder]
EMPTY_GRAPH = ItemGraph(np.zeros(3, dtype=np.int64), np.empty(0, dtype=np.int32), np.empty(0, dtype=np.float32))


def test_parts_that_fit(artifacts: ReleaseArtifacts):
    """The shop's artifacts pass the check."""
    artifacts.check("r1")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda _: {"vector_of_item": np.zeros(3, dtype=np.int64)},
            "vector_of_item.npy has not one entry for each of 8",
        ),
        (lambda _: {"vector_of_item": np.full(8, 6)}, "vector_of_item.npy names vectors that index/vectors.npy lacks"),
        (
            lambda artifacts: {"index": HybridIndex.build(artifacts.vectors[:2])},
            "the index and index/vectors.npy differ in size",
        ),
        (
            lambda _: {"popularity": np.zeros(9, dtype=np.float32)},
            "popularity.npy has not one entry for each of 8 items",
        ),
        (lambda _: {"graphs": {"behaviour": EMPTY_GRAPH}}, "graph of the source behaviour has not one row"),
        (
            lambda _: {"statistics": {"lately": np.zeros(9)}},
            "statistic of the source lately has not one entry for each",
        ),
    ],
)
def test_parts_that_do_not_fit(
    artifacts: ReleaseArtifacts, change: Callable[[ReleaseArtifacts], dict[str, object]], message: str
):
    """Parts that do not fit make a bad release, with every fault named."""
    with pytest.raises(BadRelease, match=rf"release r1 does not fit together: .*{message}.*; build it again"):
        dataclasses.replace(artifacts, **change(artifacts)).check("r1")  # type: ignore[arg-type]


def test_an_encoder_of_another_dimension(artifacts: ReleaseArtifacts, new_encoder: NewEncoder):
    """An encoder whose embeddings can't be compared with the index's is named."""
    with pytest.raises(BadRelease, match=r"encoder and index/vectors\.npy differ in dimension"):
        dataclasses.replace(artifacts, encoder=new_encoder(dimension=5)).check("r1")

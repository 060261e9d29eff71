"""Rebuilds of the release's index, and the audit for unreachable vectors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from common.arrays import Float32Array, unit_vectors
from services.retrieval.ann.ann_index import IndexOptions
from services.retrieval.ann.hnswlib_hnsw import HnswlibHnsw
from services.retrieval.catalogue.item import Item
from services.retrieval.encoding.text_encoder import TextEncoder
from services.retrieval.index import delta_index
from services.retrieval.index.flat_index import FlatIndex
from services.retrieval.index.hybrid_index import HybridIndex
from services.retrieval.index.vector_index import VectorIndex
from services.retrieval.maintenance.index_maintenance import IndexMaintenanceOptions
from testing.lossy_index import LossyHnsw, lossy_index
from testing.maintained_catalogue import MaintainedCatalogue
from testing.many_items import many_items

ITEMS, DIMENSION = 4_000, 24
OPTIONS = IndexOptions(ef_construction=80, ef_search=60)
LOST = range(1_000, 1_200)
Maintain = Callable[..., MaintainedCatalogue]


@pytest.fixture(scope="module")
def vectors() -> Float32Array:
    """Return random unit vectors."""
    return unit_vectors(np.random.default_rng(8).standard_normal((ITEMS, DIMENSION)).astype(np.float32))


@pytest.fixture
def maintain(vectors: Float32Array, new_encoder: Callable[..., TextEncoder]) -> Maintain:
    """Return how a catalogue with an item per vector is made, searched by an index."""

    def make(index: VectorIndex, options: IndexMaintenanceOptions | None = None) -> MaintainedCatalogue:
        return MaintainedCatalogue(many_items(index, vectors, new_encoder()), index_maintenance=options)

    return make


def names(numbers: range) -> list[str]:
    """Return the ids of items of the release."""
    return [f"item-{number}" for number in numbers]


def test_a_few_unreachable_vectors_are_compared_exactly(maintain: Maintain, vectors: Float32Array):
    """Unreachable vectors are counted and found after the audit; for a few of them nothing is rebuilt."""
    few = range(40, 43)
    index = lossy_index(vectors, few, OPTIONS)
    shop = maintain(index)
    assert not set(shop.nearest(vectors[few])) & set(names(few))
    assert shop.index_maintenance.audit_pending == ITEMS
    shop.audit_all()
    assert (shop.index_maintenance.unreachable, shop.index_maintenance.audit_pending) == (3, 0)
    assert shop.nearest(vectors[few]) == names(few)
    assert shop.search.index is index


def test_cached_neighbours_are_dropped_if_they_lacked_a_vector(maintain: Maintain, vectors: Float32Array):
    """Neighbours that were cached before the audit found a vector unreachable are searched again."""
    shop = maintain(lossy_index(vectors, range(40, 43), OPTIONS))
    assert "item-40" not in shop.around("item-40", 5)
    shop.audit_all()
    assert shop.around("item-40", 5)[0] == "item-40"


def test_many_unreachable_vectors_cause_a_rebuild(maintain: Maintain, vectors: Float32Array):
    """A fresh graph replaces one that lost many vectors, and is audited too."""
    index = lossy_index(vectors, LOST, OPTIONS)
    shop = maintain(index)
    shop.audit_all()
    assert shop.search.index is not index
    assert (shop.index_maintenance.unreachable, shop.index_maintenance.audit_pending) == (0, 0)
    assert shop.nearest(vectors[LOST]) == names(LOST)


def test_a_rebuild_that_does_not_help_is_not_repeated(
    maintain: Maintain, vectors: Float32Array, capsys: pytest.CaptureFixture[str]
):
    """If the fresh graph lost as many vectors, it stays, and they are compared exactly."""
    shop = maintain(lossy_index(vectors, LOST, OPTIONS, stays_lossy=True))
    shop.audit_all()
    rebuilt = shop.search.index
    shop.audit_all()
    assert shop.search.index is rebuilt
    assert shop.index_maintenance.unreachable == len(LOST)
    assert shop.nearest(vectors[LOST]) == names(LOST)
    log = capsys.readouterr().out
    assert log.count("index rebuilt") == 1
    assert "the index has unreachable vectors" in log


@pytest.mark.parametrize(("kind", "kept", "rebuilt_from"), [("hnsw", 1_200, 1_201), ("pq", 2_000, 2_001)])
def test_an_index_is_rebuilt_when_many_of_its_items_are_gone(
    maintain: Maintain, vectors: Float32Array, kind: str, kept: int, rebuilt_from: int
):
    """HNSW is rebuilt when three tenths of its vectors have no items any more, PQ when half of them have none."""
    index = HybridIndex.build(vectors, IndexOptions(ef_construction=80, kind=kind))  # type: ignore[arg-type]
    shop = maintain(index)
    shop.delete(0, kept)
    assert not shop.index_maintenance.run_if_due()
    shop.delete(kept, rebuilt_from)
    while shop.index_maintenance.run_if_due():
        pass
    assert len(shop.search.index) == ITEMS - rebuilt_from
    assert shop.search.index.index_type == kind
    left = range(rebuilt_from, rebuilt_from + 20)
    assert shop.nearest(vectors[left]) == names(left)


def test_a_rebuild_goes_in_steps_between_which_added_items_are_indexed(maintain: Maintain, vectors: Float32Array):
    """Items added during a rebuild get into the delta's index between its steps, and searches use the old index."""
    shop = maintain(HybridIndex.build(vectors, OPTIONS))
    before = shop.search.index
    shop.delete(0, 1_400)
    assert shop.index_maintenance.run_if_due()
    shop.search.set_ef_search(77, shop.catalogue.snapshot)
    moved = unit_vectors(-vectors[:1_000])
    shop.upsert("new", moved)
    assert shop.compaction.run_if_due()
    assert shop.search.delta_index_of(shop.catalogue.snapshot.delta).covered_rows == 1_000
    assert shop.search.index is before
    assert shop.nearest(moved[5:6]) == ["new-5"]
    while shop.index_maintenance.run_if_due():
        pass
    assert isinstance(shop.search.index, HybridIndex)
    assert (len(shop.search.index), shop.search.index.ef_search) == (2_600, 77)
    assert shop.nearest(moved[5:6]) == ["new-5"]


def test_a_rebuild_that_fails_begins_again(maintain: Maintain, vectors: Float32Array, monkeypatch: pytest.MonkeyPatch):
    """After an error the old index goes on to be searched, and the next run rebuilds it from the start."""
    shop = maintain(HybridIndex.build(vectors, OPTIONS))
    shop.delete(0, 1_400)
    assert shop.index_maintenance.run_if_due()
    with monkeypatch.context() as failing:
        failing.setattr(HnswlibHnsw, "add", None)
        with pytest.raises(TypeError):
            shop.index_maintenance.run_if_due()
    assert shop.nearest(vectors[2_000:2_001]) == ["item-2000"]
    while shop.index_maintenance.run_if_due():
        pass
    assert len(shop.search.index) == 2_600


def test_an_item_that_comes_back_after_a_rebuild_is_found(maintain: Maintain, vectors: Float32Array):
    """A deleted item's vector leaves the index; an item that returns with it has a vector of its own."""
    options = IndexMaintenanceOptions(max_removed_share=0, min_removed=0)
    shop = maintain(HybridIndex.build(vectors, OPTIONS), options)
    shop.delete(7, 8)
    while shop.index_maintenance.run_if_due():
        pass
    assert len(shop.search.index) == ITEMS - 1
    shop.catalogue.apply([Item("item-7", "back again")], vectors[7:8], [])
    assert shop.nearest(vectors[7:8]) == ["item-7"]


def test_the_delta_is_audited_too(maintain: Maintain, vectors: Float32Array, monkeypatch: pytest.MonkeyPatch):
    """Added items that the graph of the delta lost are found after the audit."""

    class LossyLibrary:
        """Makes graphs that lose one label."""

        @staticmethod
        def empty(dimension: int, capacity: int, options: IndexOptions) -> LossyHnsw:
            """Return an empty graph."""
            return LossyHnsw(HnswlibHnsw.empty(dimension, capacity, options), [77])

    monkeypatch.setattr(delta_index, "HnswlibHnsw", LossyLibrary)
    shop = maintain(FlatIndex(vectors))
    moved = unit_vectors(-vectors[:2_000])
    shop.upsert("new", moved)
    assert shop.compaction.run_if_due()
    shop.search.set_ef_search(120, shop.catalogue.snapshot)
    assert shop.nearest(moved[76:79]) != ["new-76", "new-77", "new-78"]
    shop.audit_all()
    assert shop.index_maintenance.unreachable == 1
    assert shop.nearest(moved[76:79]) == ["new-76", "new-77", "new-78"]


def test_exact_search_needs_no_maintenance(maintain: Maintain, vectors: Float32Array):
    """A flat index is never rebuilt and never audited."""
    shop = maintain(FlatIndex(vectors), IndexMaintenanceOptions(max_removed_share=0, min_removed=0))
    shop.delete(0, 3_000)
    assert not shop.index_maintenance.run_if_due()
    assert not shop.index_maintenance.audit()
    assert len(shop.search.index) == ITEMS

"""Item graphs of tiny sequences and texts, against definitions written out."""

from __future__ import annotations

import numpy as np
import pytest

from common.errors import InvalidRequest
from common.release.item_graph import ItemGraph
from pipeline.learning.item_graphs.builders import MAX_ITEMS, GraphInputs, item_graphs, strongest
from pipeline.learning.item_graphs.sequences import Sequences
from pipeline.learning.item_graphs.text_similarity import ItemTexts
from pipeline.release.config.recipe import GraphSpec
from pipeline.release.config.recipes import SEQUENCES

TITLES = ["red pen 10", "red pen 12", "blue ink", "desk"]
BRANDS = ["Acme", "acme", "", ""]


@pytest.fixture
def texts() -> ItemTexts:
    """Two pens, ink and a desk; the pens' vectors are near each other."""
    vectors = np.array([[1, 0, 0], [0.8, 0.6, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    return ItemTexts(TITLES, BRANDS, vectors, seed=1)


@pytest.fixture
def evidence(texts: ItemTexts) -> GraphInputs:
    """After the first pen comes ink, twice."""
    return GraphInputs(Sequences.of([np.array([0, 2]), np.array([0, 2, 3])], 4), texts)


def _dense(evidence: GraphInputs, kind: str, **options: float | str) -> np.ndarray:
    (_, graph), *_ = item_graphs({"it": GraphSpec(kind, options)}, evidence, neighbours=4)
    return np.array([graph.weighted_sum(np.array([row]), np.ones(1, np.float32)) for row in range(4)])


def test_every_graph_of_the_recipe_is_computed(evidence: GraphInputs):
    """Each kind and each option that the recipe names exists, and gives a table of the catalogue's size."""
    names = dict(item_graphs(SEQUENCES.graphs, evidence, neighbours=3))
    assert set(names) == set(SEQUENCES.graphs)
    assert all(graph.items == 4 for graph in names.values())
    assert all(np.isfinite(graph.weights).all() and (graph.weights > 0).all() for graph in names.values())


def test_cooccurrence_is_counts_over_a_power_of_the_row(evidence: GraphInputs):
    """Forward counts and half the backward ones, over the square root of their sum."""
    table = _dense(evidence, "cooccurrence", decay=0.5, back=0.5, power=0.5)
    row = np.array([0, 0, 2, 0.5])
    assert table[0] == pytest.approx(row / np.sqrt(row.sum()))
    assert table[2, 0] == pytest.approx(1.0 / np.sqrt(2.0))


def test_ease_is_its_closed_form(evidence: GraphInputs):
    """Weights are -P_ij / P_jj of the regularised Gram matrix' inverse, the diagonal and negative ones left out."""
    taken = np.array([[1, 0, 1, 0], [1, 0, 1, 1]], float)
    inverse = np.linalg.inv(taken.T @ taken + 2 * np.eye(4))
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0)
    assert _dense(evidence, "ease", l2=2.0) == pytest.approx(np.maximum(expected, 0), abs=1e-6)


def test_ridge_learns_what_comes_next_and_not_what_came_before(evidence: GraphInputs):
    """Ink follows the pen: the pen leads to ink, ink does not lead back."""
    table = _dense(evidence, "ridge", l2=1.0, decay=0.5)
    assert table[0].argmax() == 2
    assert table[2, 0] == 0


def test_smoothing_reaches_items_that_nobody_took(evidence: GraphInputs):
    """The second pen has no transitions; its neighbour's lead it to ink."""
    assert _dense(evidence, "cooccurrence", decay=0.5)[1].sum() == 0
    assert _dense(evidence, "smoothed", kernel="near10", sides="from")[1].argmax() == 2


def test_groups_lead_from_brand_to_brand(evidence: GraphInputs):
    """Brands are compared without case: what follows the first pen follows the second."""
    table = _dense(evidence, "groups", by="brand")
    assert table[1] == pytest.approx(table[0])
    assert table[0].argmax() == 2


def test_numbers_tell_sizes_apart(evidence: GraphInputs):
    """Pens that differ in their number share no number; each shares its own."""
    assert _dense(evidence, "text", of="numbers")[:2, :2].tolist() == [[1, 0], [0, 1]]


def test_strongest_keeps_the_largest_above_zero():
    """Of each row the two largest stay, and nothing that is not above 0."""
    graph = strongest(np.array([[1.0, 3.0, 2.0], [0.0, -1.0, 4.0]], np.float32), 2)
    assert graph.indptr.tolist() == [0, 2, 3]
    assert graph.indices.tolist() == [1, 2, 2]
    assert isinstance(graph, ItemGraph)


def test_catalogue_too_large_for_all_pairs_is_refused(texts: ItemTexts):
    """The message says what to do."""
    huge = GraphInputs(Sequences.of([], MAX_ITEMS + 1), texts)
    with pytest.raises(InvalidRequest, match="recipe baskets"):
        next(item_graphs(SEQUENCES.graphs, huge, 3))

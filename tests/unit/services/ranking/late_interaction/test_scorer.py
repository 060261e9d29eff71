"""The scores of late interaction against a plain computation, and texts that the release does not have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.onnx_session import OnnxModel, SessionOptions
from common.ragged import TokenRows
from pipeline.release.export.late_interaction import fitted_codec, products_graph
from services.ranking.late_interaction.item_vectors import LateItemRows, LateItemVectors
from services.ranking.late_interaction.scorer import ContextVectors, LateInteractionOptions, LateInteractionScorer
from services.ranking.late_interaction.tower import Role, TextVectors
from services.ranking.late_interaction.vector_codec import Bits

WIDTH = 16
LateOf = Callable[..., LateInteractionScorer]


class WordVectors:
    """A tower whose vectors are drawn by token id; counts what it read."""

    provider = "fake"

    def __init__(self) -> None:
        self.read: list[int] = []

    def __call__(self, texts: TokenRows, role: Role) -> TextVectors:
        """Return a vector for [CLS] (token 0 here) and for each token."""
        self.read.append(len(texts))
        rows = [np.concatenate([[0], row]) for row in texts]
        vectors = np.concatenate([_unit(_drawn(row)) for row in rows]).astype(np.float32)
        pooled = np.stack([_unit(_drawn(row).sum(0)[None])[0] for row in rows]).astype(np.float32)
        lengths = np.array([len(row) for row in rows])
        weights = np.concatenate([np.full(len(row), 3 / len(row)) for row in rows]).astype(np.float32)
        prior = np.array([0.1 * len(row) + role for row in rows], np.float32)
        return TextVectors(vectors, lengths, weights, pooled, prior)


def _drawn(tokens: np.ndarray) -> np.ndarray:
    return np.stack([np.random.default_rng(token).normal(size=WIDTH) for token in tokens.tolist()])


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


@pytest.fixture(scope="session")
def products(tmp_path_factory: pytest.TempPathFactory) -> OnnxModel:
    """The joint step's product."""
    file = tmp_path_factory.mktemp("products") / "products.onnx"
    onnx.save(products_graph(WIDTH), str(file))
    return OnnxModel(file, SessionOptions(threads=1))


@pytest.fixture
def late_of(products: OnnxModel) -> Callable[..., LateInteractionScorer]:
    """Make late interaction over items given by their tokens."""

    def make(texts: TokenRows, bits: int = 8, **options: int) -> LateInteractionScorer:
        tower = WordVectors()
        vectors = tower(texts, Role.ITEM)
        codec, pooled = fitted_codec(vectors.vectors, bits), fitted_codec(vectors.pooled, 8)
        items = LateItemVectors(codec, pooled, LateItemRows.from_vectors(vectors, codec, pooled), np.arange(len(texts)))
        tower.read.clear()
        return LateInteractionScorer(tower, tower, products, items, LateInteractionOptions(**options))

    return make


def _plain(context: TextVectors, items: TextVectors) -> np.ndarray:
    """Score every item with loops and exact vectors."""
    scores, start = [], 0
    for place, length in enumerate(items.lengths.tolist()):
        vectors = items.vectors[start : start + length]
        match = sum(
            w * max(float(v @ u) for u in vectors) for w, v in zip(context.weights, context.vectors, strict=True)
        )
        scores.append(match + float(context.pooled[0] @ items.pooled[place]) + items.prior[place] + context.prior[0])
        start += length
    return np.array(scores)


texts_of = st.lists(st.lists(st.integers(1, 400), max_size=9), min_size=1, max_size=30)


@settings(max_examples=40, deadline=None)
@given(texts=texts_of, context_tokens=st.lists(st.integers(1, 400), max_size=70), data=st.data())
def test_scores_are_those_of_the_plain_way(
    texts: list[list[int]], context_tokens: list[int], data: st.DataObject, products: OnnxModel
):
    """Every item's score is that of loops over exact vectors, up to what 8 bits lose, in any order and number."""
    rows = TokenRows.from_rows(texts)
    tower = WordVectors()
    vectors = tower(rows, Role.ITEM)
    codec, pooled = fitted_codec(vectors.vectors, 8), fitted_codec(vectors.pooled, 8)
    items = LateItemVectors(codec, pooled, LateItemRows.from_vectors(vectors, codec, pooled), np.arange(len(rows)))
    late = LateInteractionScorer(tower, tower, products, items, LateInteractionOptions())
    chosen = np.array(data.draw(st.lists(st.integers(0, len(texts) - 1), min_size=1, max_size=60)))
    scores = late.score_rows(late.context_vectors(np.array(context_tokens, np.int32)), chosen)
    expected = _plain(tower(TokenRows.from_rows([context_tokens]), Role.CONTEXT), tower(rows.take(chosen), Role.ITEM))
    np.testing.assert_allclose(scores, expected, atol=0.15)


def test_scores_do_not_depend_on_chunks(late_of: LateOf):
    """Items get the same scores all at once as one at a time, to the last bit."""
    texts = TokenRows.from_rows([list(range(1, 2 + number % 13)) for number in range(80)])
    whole, chunked = (
        late.score_rows(late.context_vectors(np.arange(1, 40, dtype=np.int32)), np.arange(80))
        for late in (late_of(texts), late_of(texts, chunk_sums=1))
    )
    np.testing.assert_array_equal(chunked, whole)


@pytest.mark.parametrize("bits", [4, 8])
def test_a_text_scores_as_the_item_that_has_it(late_of: LateOf, bits: Bits):
    """A text that comes with the request gets the very score of a release's item with that text."""
    texts = [[5, 6, 7], [8], [], [9, 9, 10, 11]]
    late = late_of(TokenRows.from_rows(texts), bits)
    context = late.context_vectors(np.array([5, 10], np.int32))
    given_texts = [np.array(text, np.int32) for text in (*texts, texts[0])]
    expected = late.score_rows(context, np.array([0, 1, 2, 3, 0]))
    np.testing.assert_array_equal(late.score_texts(context, given_texts), expected)
    assert late.score_texts(context, []).shape == (0,)


def test_texts_and_contexts_are_read_once(late_of: LateOf):
    """The tower reads each distinct text once, all new ones of a request together, and forgets the oldest."""
    late = late_of(TokenRows.from_rows([[1]]), text_cache_size=2, context_cache_size=1)
    tower = late._tower
    context = late.context_vectors(np.array([3], np.int32))
    assert late.context_vectors(np.array([3], np.int32)) is context
    one, two, three = (np.array([number], np.int32) for number in (1, 2, 3))
    late.score_texts(context, [one, two, one])
    assert tower.read == [1, 2]
    assert late.count_unknown([one, two, three]) == 1
    late.score_texts(context, [one, three])
    assert tower.read == [1, 2, 1]
    assert late.count_unknown([two]) == 1
    late.context_vectors(np.array([4], np.int32))
    assert not late.knows_context(np.array([3], np.int32))


def test_memory_is_bounded_at_nothing(late_of: LateOf):
    """With a cache of size 0 everything is read again, with the same scores."""
    late = late_of(TokenRows.from_rows([[1], [2]]), text_cache_size=0, context_cache_size=0)
    texts = [np.array([1], np.int32), np.array([2], np.int32)]
    first = late.score_texts(late.context_vectors(texts[0]), texts)
    np.testing.assert_array_equal(late.score_texts(late.context_vectors(texts[0]), texts), first)
    assert late._tower.read == [1, 2, 1, 2]


def _context(late: LateInteractionScorer, tokens: list[int]) -> ContextVectors:
    return late.context_vectors(np.array(tokens, np.int32))


def test_items_that_share_a_text_share_its_vectors(products: OnnxModel, tmp_path: Path):
    """Two items with one text have one row of vectors and one score."""
    del tmp_path
    tower = WordVectors()
    vectors = tower(TokenRows.from_rows([[1, 2], [3]]), Role.ITEM)
    codec, pooled = fitted_codec(vectors.vectors, 8), fitted_codec(vectors.pooled, 8)
    items = LateItemVectors(codec, pooled, LateItemRows.from_vectors(vectors, codec, pooled), np.array([1, 0, 1]))
    late = LateInteractionScorer(tower, tower, products, items, LateInteractionOptions())
    scores = late.score_rows(_context(late, [3]), np.arange(3))
    assert scores[0] == scores[2] != scores[1]

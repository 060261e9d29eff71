"""What the texts of a catalogue say of which items are alike: words, characters, vectors, clusters, brands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from sklearn.cluster import MiniBatchKMeans
from sklearn.feature_extraction.text import TfidfVectorizer

from common.arrays import Float32Array
from common.text import folded

# Neighbours and temperature of softmax(cosine / temperature) over the nearest.
_NEAR: Final = {"near10": (10, 0.05), "near50": (50, 0.1), "near100": (100, 0.15)}
_WORD: Final = r"\w+"
_NUMBER: Final = r"\w*\d\w*"
_WORD_NEIGHBOURS: Final = 30


@dataclass(frozen=True, eq=False)
class ItemTexts:
    """The texts of a catalogue, each view of them computed once.

    Attributes:
        titles: By catalogue row.
        brands: By catalogue row, empty if there is none.
        vectors: Unit vectors of the items' texts; float32[items, width].
        seed: Seed of the clusters.
    """

    titles: Sequence[str]
    brands: Sequence[str]
    vectors: Float32Array
    seed: int

    def __len__(self) -> int:
        """Return how many items there are."""
        return len(self.titles)

    @cached_property
    def words(self) -> sp.csr_matrix:
        """Unit tf-idf rows over the words of brand and title."""
        texts = [f"{brand} {title}" for brand, title in zip(self.brands, self.titles, strict=True)]
        return _tfidf(texts, _WORD, sublinear_tf=True)

    @cached_property
    def characters(self) -> sp.csr_matrix:
        """Unit tf-idf rows over three to five characters within the words of titles."""
        return _tfidf(self.titles, analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True)

    @cached_property
    def numbers(self) -> sp.csr_matrix:
        """Unit tf-idf rows over words with a digit: pack sizes, models."""
        return _tfidf(self.titles, _NUMBER)

    def cosines(self, of: str) -> Float32Array:
        """Return how alike items are by ``words``, ``characters``, ``numbers`` or ``vectors``; shape [items, items]."""
        if of == "vectors":
            return np.asarray(self.vectors @ self.vectors.T)
        rows: sp.csr_matrix = getattr(self, of)
        return np.asarray((rows @ rows.T).toarray(), np.float32)

    @cached_property
    def kernels(self) -> Mapping[str, sp.csr_matrix]:
        """Row-stochastic weights of each item's nearest: knowledge of an item is smoothed over similar items."""
        cosines = self.cosines("vectors")
        near = {name: _nearest(np.exp((cosines - 1) / warmth), count) for name, (count, warmth) in _NEAR.items()}
        return {**near, "words": _nearest(self.cosines("words") ** 2, _WORD_NEIGHBOURS)}

    @cached_property
    def groups(self) -> dict[str, sp.csr_matrix]:
        """Memberships computed so far, by name."""
        return {}

    def group(self, name: str) -> sp.csr_matrix:
        """Return 0/1 membership in ``brand`` or in k-means clusters (``clusters60``); shape [items, groups].

        An item without a brand is its own group.
        """
        if name not in self.groups:
            self.groups[name] = _membership(self._brand_codes() if name == "brand" else self._clusters(name))
        return self.groups[name]

    def _brand_codes(self) -> npt.NDArray[np.int64]:
        names = [folded(brand) or f"\0{row}" for row, brand in enumerate(self.brands)]
        return np.asarray(np.unique(names, return_inverse=True)[1], np.int64)

    def _clusters(self, name: str) -> npt.NDArray[np.int64]:
        count = min(int(name.removeprefix("clusters")), len(self))
        means = MiniBatchKMeans(count, random_state=self.seed, n_init=3, batch_size=1024)
        return np.asarray(means.fit_predict(self.vectors), np.int64)


def _tfidf(texts: Sequence[str], pattern: str = "", **options: object) -> sp.csr_matrix:
    """Return unit tf-idf rows over matches of ``pattern``; no columns if nothing matches."""
    vectorizer = TfidfVectorizer(dtype=np.float32, preprocessor=folded, token_pattern=pattern or None, **options)
    try:
        return vectorizer.fit_transform(texts)
    except ValueError:  # "empty vocabulary"
        return sp.csr_matrix((len(texts), 1), dtype=np.float32)


def _nearest(weights: Float32Array, count: int) -> sp.csr_matrix:
    """Keep each row's ``count`` largest weights, scaled to sum to 1; a row of zeros stays."""
    items, count = len(weights), min(count, len(weights))
    near = np.argpartition(-weights, count - 1, axis=1)[:, :count]
    kept = np.take_along_axis(weights, near, axis=1)
    kept = kept / np.maximum(kept.sum(axis=1, keepdims=True), 1e-9)
    return sp.csr_matrix((kept.ravel(), (np.repeat(np.arange(items), count), near.ravel())), (items, items))


def _membership(codes: npt.NDArray[np.int64]) -> sp.csr_matrix:
    ones = np.ones(len(codes), np.float32)
    return sp.csr_matrix((ones, (np.arange(len(codes)), codes)), (len(codes), int(codes.max()) + 1))

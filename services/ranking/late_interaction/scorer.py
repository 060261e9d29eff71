"""Late interaction: scores hundreds of items for a user context by vectors that were computed for each side alone.

An item's score is the weighted sum of each context token's best match among the item's tokens (MaxSim; Khattab and
Zaharia, 2020), plus the dot product of the pooled vectors, plus a prior of each side; see
`pipeline.release.models.late_interaction_tower`. Items' vectors come from the release, or from the tower for texts that
the release does not have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from common.arrays import Float32Array, Int32Array, Int64Array, TokenIds, UInt8Array
from common.cache import LruCache
from common.errors import BadRelease
from common.onnx_session import OnnxModel, SessionOptions
from common.ragged import TokenRows, offsets_from_lengths
from common.release.layout import LATE_CONTEXT_TOWER, LATE_PRODUCTS, LATE_TOWER
from common.release.store import Release
from services.ranking.late_interaction.item_vectors import LateItemRows, LateItemVectors
from services.ranking.late_interaction.settings import LateInteractionSettings
from services.ranking.late_interaction.tower import LateInteractionTower, Role
from services.ranking.late_interaction.vector_codec import QueryVectors
from services.ranking.pairs.pair_tokens import PairTemplate


@dataclass(frozen=True)
class LateInteractionOptions:
    """How late interaction runs.

    Attributes:
        context_cache_size: How many user contexts' vectors are kept: 1 KB for a query, 10 KB for a long history.
        text_cache_size: How many new texts' vectors are kept; about 2 KB each.
        chunk_sums: How many products of an item token and a context token are computed at a time: by default as many
            as fit a core's own cache.
    """

    context_cache_size: int = 10_000
    text_cache_size: int = 10_000
    chunk_sums: int = 1 << 17


@dataclass(frozen=True, eq=False)
class ContextVectors:
    """A user context, ready to be scored against items.

    Attributes:
        tokens: Its token vectors.
        weights: The tokens' weights; float32[tokens].
        pooled: Its pooled vector.
        prior: Added to every score.
    """

    tokens: QueryVectors
    weights: Float32Array
    pooled: QueryVectors
    prior: float


class LateInteractionScorer:
    """Scores items for a user context; safe to share between threads.

    Args:
        tower: Reads items' texts.
        context_tower: Reads user contexts; faster than ``tower``, since a call waits for each.
        products: Multiplies levels and context vectors in integers.
        items: The release's vectors.
        options: How to run.

    Attributes:
        provider: The execution provider of the tower.
        items: The release's vectors.
    """

    def __init__(
        self,
        tower: LateInteractionTower,
        context_tower: LateInteractionTower,
        products: OnnxModel,
        items: LateItemVectors,
        options: LateInteractionOptions = LateInteractionOptions(),
    ) -> None:
        self.provider = tower.provider
        self.items = items
        self._tower = tower
        self._context_tower = context_tower
        self._products = products
        self._chunk_sums = options.chunk_sums
        self._contexts: LruCache[bytes, ContextVectors] = LruCache(options.context_cache_size)
        self._texts: LruCache[bytes, LateItemRows] = LruCache(options.text_cache_size)

    @classmethod
    def load(
        cls,
        release: Release,
        items: int,
        template: PairTemplate,
        options: LateInteractionOptions = LateInteractionOptions(),
    ) -> Self:
        """Load the late-interaction tier of a release.

        Args:
            release: The release; see `has_late_interaction`.
            items: How many items its catalogue has.
            template: The special tokens.
            options: How to run.

        Raises:
            BadRelease: Names the file that cannot be used.
        """
        settings = LateInteractionSettings.load(release)
        vectors = LateItemVectors.load(release, settings, items)
        # One thread: several requests are scored at a time, and waking a second thread costs more than it saves.
        session = SessionOptions(threads=1)
        tower, context_tower, products = (
            OnnxModel(release.file(name), session) for name in (LATE_TOWER, LATE_CONTEXT_TOWER, LATE_PRODUCTS)
        )
        scorer = cls(
            LateInteractionTower(tower, template),
            LateInteractionTower(context_tower, template),
            products,
            vectors,
            options,
        )
        scorer._check(release)
        return scorer

    def context_vectors(self, tokens: TokenIds) -> ContextVectors:
        """Return a user context's vectors, from the cache or else from the tower."""
        key = tokens.tobytes()
        if (known := self._contexts.get(key)) is None:
            known = self._read_context(tokens)
            self._contexts.put(key, known)
        return known

    def knows_context(self, tokens: TokenIds) -> bool:
        """Return whether a context's vectors are in the cache."""
        return self._contexts.get(tokens.tobytes()) is not None

    def count_unknown(self, texts: Sequence[TokenIds]) -> int:
        """Return how many of the texts, given by their tokens, the tower would have to read."""
        return sum(self._texts.get(text.tobytes()) is None for text in texts)

    def score_rows(self, context: ContextVectors, rows: Int64Array) -> Float32Array:
        """Score items of the release by catalogue row; float32[items]."""
        return self._score(context, self.items.vectors_of(rows))

    def score_texts(self, context: ContextVectors, texts: Sequence[TokenIds]) -> Float32Array:
        """Score items given by the tokens of their texts; float32[texts]."""
        if not texts:
            return np.empty(0, dtype=np.float32)
        return self._score(context, LateItemRows.concatenate(self._vectors_of_texts(texts)))

    def _vectors_of_texts(self, texts: Sequence[TokenIds]) -> list[LateItemRows]:
        keys = [text.tobytes() for text in texts]
        vectors = {key: known for key in keys if (known := self._texts.get(key)) is not None}
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in vectors}
        if missing:
            read = self._tower(TokenRows.from_rows(list(missing.values())), Role.ITEM)
            encoded = LateItemRows.from_vectors(read, self.items.tokens, self.items.pooled)
            for index, key in enumerate(missing):
                vectors[key] = encoded.row(index)
                self._texts.put(key, vectors[key])
        return [vectors[key] for key in keys]

    def _read_context(self, tokens: TokenIds) -> ContextVectors:
        read = self._context_tower(TokenRows.from_rows([tokens]), Role.CONTEXT)
        return ContextVectors(
            self.items.tokens.prepare_query(read.vectors),
            read.weights,
            self.items.pooled.prepare_query(read.pooled),
            float(read.prior[0]),
        )

    def _score(self, context: ContextVectors, items: LateItemRows) -> Float32Array:
        """Score items, a chunk at a time."""
        offsets = offsets_from_lengths(items.lengths)
        chunk = max(self._chunk_sums // max(len(context.tokens), 1), 1)
        match = np.empty((len(items), len(context.tokens)), dtype=np.int32)
        start = 0
        while start < len(items):
            stop = max(int(np.searchsorted(offsets, offsets[start] + chunk, side="right")) - 1, start + 1)
            codes = items.codes[offsets[start] : offsets[stop]]
            products = self._products_of(self.items.tokens.levels(codes), context.tokens)
            match[start:stop] = np.maximum.reduceat(products, offsets[start:stop] - offsets[start], axis=0)
            start = stop
        pooled = context.pooled.dot_products(self._products_of(items.pooled, context.pooled))[:, 0]
        scores: Float32Array = (
            context.tokens.dot_products(match) @ context.weights + pooled + items.prior + context.prior
        )
        return scores.astype(np.float32)

    def _products_of(self, levels: UInt8Array, context: QueryVectors) -> Int32Array:
        """Return integer dot products; int32[rows, context vectors]."""
        inputs = {"levels": np.ascontiguousarray(levels), "context": context.codes}
        return self._products.run_all(inputs)[0]

    def _check(self, release: Release) -> None:
        """Score once: refuses a release whose files do not fit, and loads everything before the first call."""
        try:
            context = self._read_context(np.empty(0, np.int32))
            items = self.items.vectors_of(np.zeros(2, np.int64))
            scores = self._score(context, items)
            expected = _reference_score(context, items, self.items)
        except Exception as error:
            raise BadRelease(f"release {release.id}: the files below late/ do not fit together: {error}") from error
        if not np.allclose(scores, expected, atol=1e-3):
            raise BadRelease(f"release {release.id}: {LATE_PRODUCTS} returns wrong products; build it again")


def has_late_interaction(release: Release) -> bool:
    """Return whether a release has the tier: its manifest lists the tower among the models."""
    return "late_interaction" in release.manifest.models


def _reference_score(context: ContextVectors, items: LateItemRows, vectors: LateItemVectors) -> Float32Array:
    """Score items with numpy instead of the ONNX model."""
    levels = vectors.tokens.levels(items.codes).astype(np.int32)
    dots = context.tokens.dot_products(levels @ context.tokens.codes.astype(np.int32))
    parts = np.split(dots, np.cumsum(items.lengths)[:-1])
    match = np.array([part.max(axis=0) @ context.weights for part in parts], dtype=np.float32)
    pooled = items.pooled.astype(np.int32) @ context.pooled.codes.astype(np.int32)
    scores: Float32Array = match + context.pooled.dot_products(pooled)[:, 0] + items.prior + context.prior
    return scores

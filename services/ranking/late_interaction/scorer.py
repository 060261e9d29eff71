"""Late interaction: a user context beside hundreds of items at once, by vectors that were computed for each alone.

The score of an item is each context token's best match among the item's tokens (MaxSim), weighed and summed, plus the
dot product of the pooled vectors, plus a prior of each side; see `pipeline.release.models.late_interaction_tower`.
Items' vectors come from the release, or from the tower for texts that the release does not have.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Generic, Self, TypeVar

import numpy as np

from common.arrays import Float32Array, Int64Array, TokenIds, UInt8Array
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

K = TypeVar("K")


V = TypeVar("V")


# The sums that a chunk of items makes, one for each item token and context token: they stay in a core's own cache.
_CHUNK_SUMS: Final = 1 << 17


@dataclass(frozen=True)
class LateInteractionOptions:
    """How late interaction runs.

    Attributes:
        context_cache_size: User contexts whose vectors are kept; about 1 KB for a query, 10 KB for a long history.
        text_cache_size: Vectors kept of texts that the release does not have; about 2 KB each.
    """

    context_cache_size: int = 10_000
    text_cache_size: int = 10_000


@dataclass(frozen=True, eq=False)
class ContextVectors:
    """A user context, ready for the joint step.

    Attributes:
        tokens: Its token vectors.
        weights: How much each counts; float32[tokens].
        pooled: Its one pooled vector.
        prior: What it adds to every score.
    """

    tokens: QueryVectors
    weights: Float32Array
    pooled: QueryVectors
    prior: float


class LateInteractionScorer:
    """Scores items beside a user context; safe to share between threads.

    Args:
        tower: Reads items' texts.
        context_tower: Reads user contexts; faster, since somebody waits for each.
        products: Multiplies levels and context vectors in whole numbers.
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
        self._contexts: _Recent[bytes, ContextVectors] = _Recent(options.context_cache_size)
        self._texts: _Recent[bytes, LateItemRows] = _Recent(options.text_cache_size)

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
            BadRelease: Naming the file that can't be used.
        """
        settings = LateInteractionSettings.load(release)
        vectors = LateItemVectors.load(release, settings, items)
        # One thread: several requests are scored at a time, and waking a second thread takes longer than it saves.
        session = SessionOptions(threads=1)
        tower, context_tower, products = (
            OnnxModel(release.file(name), session) for name in (LATE_TOWER, LATE_CONTEXT_TOWER, LATE_PRODUCTS)
        )
        made = cls(
            LateInteractionTower(tower, template),
            LateInteractionTower(context_tower, template),
            products,
            vectors,
            options,
        )
        made._check(release)
        return made

    def context(self, tokens: TokenIds) -> ContextVectors:
        """Return a user context's vectors, from the tower where they are not known yet."""
        key = tokens.tobytes()
        if (known := self._contexts.find(key)) is None:
            known = self._read_context(tokens)
            self._contexts.keep(key, known)
        return known

    def knows_context(self, tokens: TokenIds) -> bool:
        """Tell whether a context costs nothing."""
        return self._contexts.find(tokens.tobytes()) is not None

    def unknown(self, texts: Sequence[TokenIds]) -> int:
        """Return how many of the texts, given in tokens, the tower would have to read."""
        return sum(self._texts.find(text.tobytes()) is None for text in texts)

    def scores(self, context: ContextVectors, rows: Int64Array) -> Float32Array:
        """Score items of the release by catalogue row; float32[items]."""
        return self._joint(context, self.items.take(rows))

    def scores_of_texts(self, context: ContextVectors, texts: Sequence[TokenIds]) -> Float32Array:
        """Score items given by the tokens of their texts; float32[texts]."""
        if not texts:
            return np.empty(0, dtype=np.float32)
        return self._joint(context, LateItemRows.join(self._rows_of(texts)))

    def _rows_of(self, texts: Sequence[TokenIds]) -> list[LateItemRows]:
        keys = [text.tobytes() for text in texts]
        rows = {key: found for key in keys if (found := self._texts.find(key)) is not None}
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in rows}
        if missing:
            read = self._tower(TokenRows.from_rows(list(missing.values())), Role.ITEM)
            encoded = LateItemRows.of(read, self.items.tokens, self.items.pooled)
            for place, key in enumerate(missing):
                rows[key] = encoded.row(place)
                self._texts.keep(key, rows[key])
        return [rows[key] for key in keys]

    def _read_context(self, tokens: TokenIds) -> ContextVectors:
        read = self._context_tower(TokenRows.from_rows([tokens]), Role.CONTEXT)
        return ContextVectors(
            self.items.tokens.ask(read.vectors),
            read.weights,
            self.items.pooled.ask(read.pooled),
            float(read.prior[0]),
        )

    def _joint(self, context: ContextVectors, items: LateItemRows) -> Float32Array:
        """Score items, a chunk at a time."""
        offsets = offsets_from_lengths(items.lengths)
        chunk = max(_CHUNK_SUMS // max(len(context.tokens), 1), 1)
        match = np.empty((len(items), len(context.tokens)), dtype=np.int32)
        start = 0
        while start < len(items):
            stop = max(int(np.searchsorted(offsets, offsets[start] + chunk, side="right")) - 1, start + 1)
            codes = items.codes[offsets[start] : offsets[stop]]
            sums = self._sums(self.items.tokens.levels(codes), context.tokens)
            match[start:stop] = np.maximum.reduceat(sums, offsets[start:stop] - offsets[start], axis=0)
            start = stop
        likeness = context.pooled.products(self._sums(items.pooled, context.pooled))[:, 0]
        scores: Float32Array = context.tokens.products(match) @ context.weights + likeness + items.prior + context.prior
        return scores.astype(np.float32)

    def _sums(self, levels: UInt8Array, context: QueryVectors) -> Ints32:
        """Return whole-number products; int32[rows, context vectors]."""
        inputs = {"levels": np.ascontiguousarray(levels), "context": context.codes}
        return self._products.run_all(inputs)[0]

    def _check(self, release: Release) -> None:
        """Score once, so that a release whose parts don't fit is refused, and the first caller finds all loaded."""
        try:
            context = self._read_context(np.empty(0, np.int32))
            few = self.items.take(np.zeros(2, np.int64))
            scores = self._joint(context, few)
            expected = _plain_score(context, few, self.items)
        except Exception as error:
            raise BadRelease(f"release {release.id}: the files below late/ don't fit together: {error}") from error
        if not np.allclose(scores, expected, atol=1e-3):
            raise BadRelease(f"release {release.id}: {LATE_PRODUCTS} does not multiply; build it again")


def has_late_interaction(release: Release) -> bool:
    """Tell whether a release has the tier: its manifest lists the tower among the models."""
    return "late_interaction" in release.manifest.models


Ints32 = np.ndarray[tuple[int, ...], np.dtype[np.int32]]


def _plain_score(context: ContextVectors, items: LateItemRows, vectors: LateItemVectors) -> Float32Array:
    """Score items the plain way: every dot product by itself."""
    levels = vectors.tokens.levels(items.codes).astype(np.int32)
    dots = context.tokens.products(levels @ context.tokens.codes.astype(np.int32))
    parts = np.split(dots, np.cumsum(items.lengths)[:-1])
    match = np.array([part.max(axis=0) @ context.weights for part in parts], dtype=np.float32)
    pooled = items.pooled.astype(np.int32) @ context.pooled.codes.astype(np.int32)
    scores: Float32Array = match + context.pooled.products(pooled)[:, 0] + items.prior + context.prior
    return scores


class _Recent(Generic[K, V]):
    """A bounded memory, least recently used first out; safe to share between threads."""

    def __init__(self, entries: int) -> None:
        self._entries = entries
        self._kept: OrderedDict[K, V] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, key: K) -> V | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def keep(self, key: K, value: V) -> None:
        with self._lock:
            self._kept[key] = value
            while len(self._kept) > self._entries:
                self._kept.popitem(last=False)

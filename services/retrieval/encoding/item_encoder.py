"""Embeds items that change: their vector is given, known from the release, or computed from their text."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from common.arrays import Float32Array, RowIndices, unit_vectors
from common.cpu import lower_thread_priority
from common.release.catalogue import Catalogue
from services.retrieval.catalogue.item import Item
from services.retrieval.encoding.text_encoder import TextEncoder


class ItemEncoder:
    """Embeds items with one release's encoder, on one thread of a lower priority than the searches.

    Args:
        encoder: The release's encoder.
        prefix: Text put before each item's text, if the model was trained with one.
        catalogue: The release's items.
        vectors: The vectors of the release's distinct texts; shape [texts, dimension].
        vector_of_item: The row in ``vectors`` of each item of the release; shape [items].
    """

    def __init__(
        self,
        encoder: TextEncoder,
        prefix: str,
        catalogue: Catalogue,
        vectors: Float32Array,
        vector_of_item: RowIndices,
    ) -> None:
        self._encoder = encoder
        self._prefix = prefix
        self._catalogue = catalogue
        self._vectors = vectors
        self._vector_of_item = vector_of_item
        self._thread = ThreadPoolExecutor(1, "item-encoder", initializer=lower_thread_priority)

    def encode_items(self, items: Sequence[Item]) -> Float32Array:
        """Return unit vectors, shape [items, dimension].

        An item's own vector is used if it has one, then the release's if the item's text is the same there; other
        texts are embedded.
        """
        vectors = np.empty((len(items), self._vectors.shape[1]), dtype=np.float32)
        unknown = []
        for number, item in enumerate(items):
            vector = item.vector if item.vector is not None else self._released_vector(item)
            if vector is None:
                unknown.append(number)
            else:
                vectors[number] = unit_vectors(vector)
        vectors[unknown] = self.encode_texts([items[number].text for number in unknown])
        return vectors

    def encode_texts(self, texts: Sequence[str]) -> Float32Array:
        """Return the embeddings of items' texts; shape [texts, dimension]."""
        prefixed = [self._prefix + text for text in texts]
        if not prefixed:
            return np.empty((0, self._vectors.shape[1]), dtype=np.float32)
        return self._thread.submit(self._encoder.encode, prefixed).result()

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown()

    def _released_vector(self, item: Item) -> Float32Array | None:
        row = self._catalogue.row_of(item.item_id)
        if row is None or self._catalogue.text(row) != item.text:
            return None
        vector: Float32Array = self._vectors[self._vector_of_item[row]]
        return vector

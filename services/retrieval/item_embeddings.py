"""The vectors of items that change: given, known from the release, or embedded here."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from services.retrieval.background import step_back
from services.retrieval.items import Item
from services.retrieval.parts import Parts
from services.retrieval.vector_index import Floats, unit


class ItemEmbeddings:
    """Embeds items by one release's encoder, on a thread that searches come before: whoever changes items waits for it.

    Args:
        parts: The release's encoder, catalogue and vectors.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._thread = ThreadPoolExecutor(1, "item-encoder", initializer=step_back)

    def of(self, items: Sequence[Item]) -> Floats:
        """Return unit vectors: those given, the release's where the text is the same, or new ones; [items, width]."""
        vectors = np.empty((len(items), self._parts.index.dimension), dtype=np.float32)
        unknown = []
        for number, item in enumerate(items):
            vector = item.vector if item.vector is not None else self._known(item)
            if vector is None:
                unknown.append(number)
            else:
                vectors[number] = unit(vector)
        vectors[unknown] = self.of_texts([items[number].text for number in unknown])
        return vectors

    def of_texts(self, texts: Sequence[str]) -> Floats:
        """Return the embeddings of items' texts; [texts, width]."""
        prefixed = [self._parts.settings.item_prefix + text for text in texts]
        if not prefixed:
            return np.empty((0, self._parts.index.dimension), dtype=np.float32)
        return self._thread.submit(self._parts.encoder.encode, prefixed).result()

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown()

    def _known(self, item: Item) -> Floats | None:
        row = self._parts.catalogue.row_of(item.item_id)
        if row is None or self._parts.catalogue.text(row) != item.text:
            return None
        vector: Floats = self._parts.vectors[self._parts.vector_of_item[row]]
        return vector

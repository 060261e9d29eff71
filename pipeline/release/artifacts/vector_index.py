"""The vectors of a release: one for each distinct text, and the graph over them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from common.release.catalogue import Catalogue
from common.release.layout import VECTOR_OF_ITEM
from pipeline.progress import ProgressStep
from services.retrieval.ann.ann_index import HnswOptions
from services.retrieval.encoding.text_encoder import TextEncoder
from services.retrieval.index.hybrid_index import HybridIndex

_CHUNK_TEXTS: Final = 512


def build_index(
    catalogue: Catalogue, encoder: TextEncoder, prefix: str, folder: Path, options: HnswOptions, step: ProgressStep
) -> None:
    """Embed the catalogue's distinct texts and write vectors, item mapping and graph into a release's folder.

    Products that share a text share a vector: as points of their own they would be islands of equal points, which a
    search cannot leave.

    Args:
        catalogue: The items.
        encoder: Embeds their texts.
        prefix: Goes before each text, where the encoder was trained with one.
        folder: The release's folder.
        options: How the graph is built.
        step: Told how many texts are embedded.
    """
    texts, vector_of_item = np.unique(np.array(catalogue.table["text"].to_pylist(), dtype=object), return_inverse=True)
    step.at(0, len(texts))
    vectors = np.empty((len(texts), encoder.dimension), np.float32)
    # Texts of like length go together, so that little is padding.
    order = np.argsort([len(text) for text in texts], kind="stable")
    for start in range(0, len(order), _CHUNK_TEXTS):
        chunk = order[start : start + _CHUNK_TEXTS]
        vectors[chunk] = encoder.encode([prefix + str(texts[row]) for row in chunk])
        step.advance(len(chunk))
    HybridIndex.build(vectors, options).save(folder)
    np.save(folder / VECTOR_OF_ITEM, vector_of_item.astype(np.int32))

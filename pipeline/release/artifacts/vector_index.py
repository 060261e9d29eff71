"""The vectors of a release, one for each distinct text, and the index over them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from common.release.catalogue import Catalogue
from common.release.layout import VECTOR_OF_ITEM
from pipeline.progress import ProgressStep
from services.retrieval.ann.ann_index import IndexOptions
from services.retrieval.encoding.text_encoder import TextEncoder
from services.retrieval.index.factory import build_index

_CHUNK_TEXTS: Final = 512


def build_vector_index(
    catalogue: Catalogue,
    encoder: TextEncoder,
    prefix: str,
    folder: Path,
    options: IndexOptions,
    step: ProgressStep,
    warn: Callable[[str], object],
) -> None:
    """Embed the catalogue's distinct texts and write vectors, item mapping and index into a release's folder.

    Items with the same text share a vector. With a vector each, duplicates would link only to one another in an HNSW
    graph, and a search could not leave them.

    Args:
        catalogue: The items.
        encoder: Embeds their texts.
        prefix: Is put before each text, if the encoder was trained with a prefix.
        folder: The release's folder.
        options: How the index is built.
        step: Counts the texts embedded.
        warn: Is called with a sentence if another index than the one asked for is built.
    """
    texts, vector_of_item = np.unique(np.array(catalogue.table["text"].to_pylist(), dtype=object), return_inverse=True)
    step.at(0, len(texts))
    vectors = np.empty((len(texts), encoder.dimension), np.float32)
    # Texts of similar length form a batch, which needs less padding.
    order = np.argsort([len(text) for text in texts], kind="stable")
    for start in range(0, len(order), _CHUNK_TEXTS):
        chunk = order[start : start + _CHUNK_TEXTS]
        vectors[chunk] = encoder.encode([prefix + str(texts[row]) for row in chunk])
        step.advance(len(chunk))
    build_index(vectors, options, warn).save(folder)
    np.save(folder / VECTOR_OF_ITEM, vector_of_item.astype(np.int32))

"""Vectors and index of an updated catalogue: texts that the release has keep their vectors, new ones are embedded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from common.arrays import Float32Array, Int64Array
from common.onnx_session import SessionOptions
from common.release import layout
from common.release.catalogue import Catalogue
from common.release.store import Release
from pipeline.build.context import BuildContext
from pipeline.build.steps.encoder import index_options
from services.retrieval.encoding.text_encoder import OnnxTextEncoder
from services.retrieval.index.factory import build_index, load_index
from services.retrieval.index.hybrid_index import HybridIndex
from services.retrieval.index.vector_index import VectorIndex

# Vectors whose texts are gone stay in the index until they are this share of it.
_MAX_UNUSED_SHARE: Final = 0.1
_INDEX_FILES: Final = (layout.VECTORS, layout.HNSW_INDEX, layout.PQ_INDEX)


def update_vectors(context: BuildContext, before: Release, catalogue: Catalogue) -> int:
    """Write the vectors and the index of a catalogue into the staged copy of a release.

    Args:
        context: The build, whose staged release is a copy of ``before``.
        before: The release.
        catalogue: The new catalogue.

    Returns:
        The number of texts that were embedded.
    """
    texts = catalogue.table["text"].to_pylist()
    row_of = _rows_of_texts(before)
    known = np.load(before.file(layout.VECTORS))
    missing = sorted({text for text in texts if text not in row_of})
    row_of |= {text: len(known) + number for number, text in enumerate(missing)}
    vector_of_item = np.array([row_of[text] for text in texts], np.int64)
    used = np.unique(vector_of_item)
    vectors = np.concatenate([known, _embed(context, missing)]) if missing else known
    if len(vectors) - len(used) > _MAX_UNUSED_SHARE * len(vectors):
        vectors, vector_of_item = vectors[used], np.searchsorted(used, vector_of_item)
        _write_index(context, build_index(vectors, index_options(context), context.report.warn))
    elif missing:
        _write_index(context, _extended(context, before, vectors))
    _replace(context.staging.file(layout.VECTOR_OF_ITEM), vector_of_item.astype(np.int32))
    return len(missing)


def _rows_of_texts(release: Release) -> dict[str, int]:
    """Return the vector's row of each text of a release."""
    texts = Catalogue.open(release.file(layout.CATALOGUE)).table["text"].to_pylist()
    rows: Int64Array = np.load(release.file(layout.VECTOR_OF_ITEM)).astype(np.int64)
    return dict(zip(texts, rows.tolist(), strict=True))


def _embed(context: BuildContext, texts: Sequence[str]) -> Float32Array:
    encoder = OnnxTextEncoder.load(context.staging.release(), SessionOptions())
    with context.report.step(f"Embedding {len(texts):,} new texts", len(texts)) as step:
        vectors = encoder.encode([context.settings.item_prefix + text for text in texts])
        step.advance(len(texts))
        return vectors


def _extended(context: BuildContext, before: Release, vectors: Float32Array) -> VectorIndex:
    index = load_index(before.path)
    if isinstance(index, HybridIndex):
        return index.extended(vectors, np.ones(len(vectors), np.bool_))
    return build_index(vectors, index_options(context), context.report.warn)


def _write_index(context: BuildContext, index: VectorIndex) -> None:
    for name in _INDEX_FILES:  # links to the release's own files: writing into them would change it
        (context.staging.path / name).unlink(missing_ok=True)
    index.save(context.staging.path)


def _replace(file: Path, values: npt.NDArray[np.int32]) -> None:
    file.unlink(missing_ok=True)
    np.save(file, values)

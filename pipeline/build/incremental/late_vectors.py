"""Late interaction's vectors of an updated catalogue: known texts keep theirs, new ones are encoded."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from common.arrays import Int64Array
from common.onnx_session import OnnxModel, SessionOptions
from common.ragged import offsets_from_lengths, ragged_indices
from common.release import layout
from common.release.catalogue import Catalogue
from common.release.store import Release
from pipeline.build.context import BuildContext
from pipeline.release.export.late_interaction import Codecs, distinct_texts, encoded_texts
from services.ranking.late_interaction.item_vectors import LateItemRows
from services.ranking.late_interaction.settings import LateInteractionSettings
from services.ranking.late_interaction.tower import LateInteractionTower
from services.ranking.late_interaction.vector_codec import VectorCodec
from services.ranking.pairs.pair_tokenizer import PairTokenizer


def update_late_vectors(context: BuildContext, before: Release, catalogue: Catalogue) -> None:
    """Write late interaction's vectors of a catalogue into the staged copy of a release that has the tier.

    Args:
        context: The build, whose staged release is a copy of ``before``.
        before: The release.
        catalogue: The new catalogue.
    """
    staged = context.staging.release()
    texts = PairTokenizer.load(staged, catalogue)
    tokens, text_of_item = distinct_texts(catalogue, texts)
    row_of = _rows_of_tokens(before)
    rows = np.array([row_of.get(text.tobytes(), -1) for text in tokens], np.int64)
    missing = np.flatnonzero(rows < 0)
    known = _known_rows(before)
    if len(missing):
        tower = LateInteractionTower(OnnxModel(staged.file(layout.LATE_TOWER), SessionOptions()), texts.template)
        title = f"Encoding {len(missing):,} new texts for late interaction"
        with context.report.step(title, len(missing)) as step:
            known = LateItemRows.concatenate([known, encoded_texts(tower, tokens.take(missing), _codecs(before), step)])
        rows[missing] = len(known) - len(missing) + np.arange(len(missing))
    _write(context, _taken(known, rows), text_of_item)


def _rows_of_tokens(release: Release) -> dict[bytes, int]:
    """Return the row of each text of a release, by its tokens."""
    catalogue = Catalogue.open(release.file(layout.CATALOGUE))
    tokens, _ = PairTokenizer.load(release, catalogue).items(np.arange(len(catalogue)), {})
    rows = np.load(release.file(layout.LATE_TEXT_OF_ITEM)).tolist()
    return {text.tobytes(): row for text, row in zip(tokens, rows, strict=True)}


def _known_rows(release: Release) -> LateItemRows:
    names = (layout.LATE_TOKENS, layout.LATE_LENGTHS, layout.LATE_POOLED, layout.LATE_PRIOR)
    codes, lengths, pooled, prior = (np.load(release.file(name)) for name in names)
    return LateItemRows(codes, lengths.astype(np.int64), pooled, prior)


def _codecs(release: Release) -> Codecs:
    steps = np.load(release.file(layout.LATE_STEPS))
    settings = LateInteractionSettings.load(release)
    return Codecs(VectorCodec(steps[0], settings.bits), VectorCodec(steps[1], 8))


def _taken(texts: LateItemRows, rows: Int64Array) -> LateItemRows:
    """Return some rows, in their order."""
    starts, lengths = offsets_from_lengths(texts.lengths)[:-1][rows], texts.lengths[rows]
    return LateItemRows(texts.codes[ragged_indices(starts, lengths)], lengths, texts.pooled[rows], texts.prior[rows])


def _write(context: BuildContext, rows: LateItemRows, text_of_item: Int64Array) -> None:
    arrays: dict[str, npt.NDArray[Any]] = {
        layout.LATE_TOKENS: rows.codes,
        layout.LATE_LENGTHS: rows.lengths.astype(np.uint16),
        layout.LATE_POOLED: rows.pooled,
        layout.LATE_PRIOR: rows.prior,
        layout.LATE_TEXT_OF_ITEM: text_of_item.astype(np.int32),
    }
    for name, array in arrays.items():
        file = context.staging.file(name)
        file.unlink(missing_ok=True)  # a link to the release's own file: writing into it would change it
        np.save(file, array)

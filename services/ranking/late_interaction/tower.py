"""The late-interaction tower: computes the vectors of a user context or an item alone, run by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from common.arrays import Float32Array
from common.errors import BadRelease
from common.onnx_session import OnnxModel
from common.ragged import TokenRows, ragged_indices
from services.ranking.pairs.pair_tokens import PairTemplate

_INPUTS: Final = ("input_ids", "role")
_OUTPUTS: Final = ("vectors", "weights", "pooled", "prior")
# The padded tokens of a batch: bounds memory and keeps a layer in the processor's cache.
_MAX_BATCH_TOKENS: Final = 512


class Role(IntEnum):
    """The side of a text."""

    CONTEXT = 0
    ITEM = 1


@dataclass(frozen=True)
class TextVectors:
    """The tower's vectors of texts, [CLS] first and without [SEP].

    Attributes:
        vectors: The texts' token vectors, concatenated; float32[tokens, width].
        lengths: How many token vectors each text has, at least one; int64[texts].
        weights: Each token's weight in a user context; float32[tokens].
        pooled: One vector a text; float32[texts, width].
        prior: Added to each text's score; float32[texts].
    """

    vectors: Float32Array
    lengths: npt.NDArray[np.int64]
    weights: Float32Array
    pooled: Float32Array
    prior: Float32Array

    @classmethod
    def concatenate(cls, parts: Sequence[TextVectors]) -> TextVectors:
        """Concatenate texts."""
        if len(parts) == 1:
            return parts[0]
        names = ("vectors", "lengths", "weights", "pooled", "prior")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


class LateInteractionTower:
    """Maps tokens to vectors; safe to call from several threads at a time.

    Args:
        model: The exported tower.
        template: The special tokens around a text.

    Raises:
        BadRelease: The model has other inputs or outputs.
    """

    def __init__(self, model: OnnxModel, template: PairTemplate) -> None:
        if tuple(model.input_names) != _INPUTS or tuple(model.output_names) != _OUTPUTS:
            raise BadRelease(
                f"{model.file} reads {', '.join(model.input_names)} and returns {', '.join(model.output_names)} "
                f"instead of {', '.join(_INPUTS)} and {', '.join(_OUTPUTS)}"
            )
        self.provider = model.provider
        self._model = model
        self._template = template

    def __call__(self, texts: TokenRows, role: Role) -> TextVectors:
        """Read texts, in batches of similar lengths; at least one.

        Args:
            texts: Token ids without special tokens.
            role: The side of the texts.
        """
        order = np.argsort(texts.lengths, kind="stable")
        batches = [self._read(texts.take(rows), role) for rows in _batches(texts.lengths[order] + 2, order)]
        vectors = TextVectors.concatenate(batches)
        return vectors if len(batches) == 1 and _is_sorted(order) else _original_order(vectors, order)

    def _read(self, texts: TokenRows, role: Role) -> TextVectors:
        roles = np.full(len(texts), role, dtype=np.int32)
        outputs = self._model.run_all({"input_ids": padded(texts, self._template), "role": roles})
        vectors, weights, pooled, prior = outputs
        lengths = texts.lengths + 1
        inside = np.arange(vectors.shape[1]) < lengths[:, None]
        return TextVectors(vectors[inside], lengths, weights[inside], pooled, prior)


def padded(texts: TokenRows, template: PairTemplate) -> npt.NDArray[np.int32]:
    """Return ``[CLS] text [SEP]`` of each text, padded with 0 to the longest; int32[texts, longest + 2]."""
    lengths = texts.lengths
    ids = np.zeros((len(texts), int(lengths.max(initial=0)) + 2), dtype=np.int32)
    ids[:, 0] = template.cls_id
    ids[:, 1:-1][np.arange(ids.shape[1] - 2) < lengths[:, None]] = texts.tokens[: texts.offsets[-1]]
    ids[np.arange(len(texts)), lengths + 1] = template.sep_id
    return ids


def _batches(lengths: npt.NDArray[np.int64], order: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    """Cut texts sorted by length into batches of at most `_MAX_BATCH_TOKENS` padded tokens, but at least one text."""
    batches, start = [], 0
    while start < len(order):
        stop = start + 1
        while stop < len(order) and (stop + 1 - start) * lengths[stop] <= _MAX_BATCH_TOKENS:
            stop += 1
        batches.append(order[start:stop])
        start = stop
    return batches


def _is_sorted(order: npt.NDArray[np.int64]) -> bool:
    return bool((np.diff(order) > 0).all())


def _original_order(texts: TextVectors, order: npt.NDArray[np.int64]) -> TextVectors:
    """Return texts that were read in ``order`` in their original order."""
    rows = np.argsort(order)
    starts = np.cumsum(texts.lengths) - texts.lengths
    tokens = ragged_indices(starts[rows], texts.lengths[rows])
    return TextVectors(
        texts.vectors[tokens], texts.lengths[rows], texts.weights[tokens], texts.pooled[rows], texts.prior[rows]
    )

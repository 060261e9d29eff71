"""The late-interaction tower: reads a user context or an item alone and gives its vectors, run by ONNX Runtime."""

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


# Texts are read so many padded tokens at a time, which bounds memory and keeps a layer in the cache.
_PADDED_TOKENS: Final = 512


class Role(IntEnum):
    """What a text is."""

    CONTEXT = 0
    ITEM = 1


@dataclass(frozen=True)
class TextVectors:
    """Texts as the tower gives them, [CLS] first and without [SEP].

    Attributes:
        vectors: The texts' token vectors one after the other; float32[tokens, width].
        lengths: How many of them each text has, at least one; int64[texts].
        weights: How much each token counts as a context's; float32[tokens].
        pooled: float32[texts, width].
        prior: float32[texts].
    """

    vectors: Float32Array
    lengths: npt.NDArray[np.int64]
    weights: Float32Array
    pooled: Float32Array
    prior: Float32Array

    @classmethod
    def join(cls, parts: Sequence[TextVectors]) -> TextVectors:
        """Lay texts one after the other."""
        if len(parts) == 1:
            return parts[0]
        names = ("vectors", "lengths", "weights", "pooled", "prior")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


class LateInteractionTower:
    """Texts in tokens to vectors; safe to call from several threads at a time.

    Args:
        model: The exported tower.
        template: The special tokens around a text.

    Raises:
        BadRelease: The model has other inputs or outputs.
    """

    def __init__(self, model: OnnxModel, template: PairTemplate) -> None:
        if tuple(model.input_names) != _INPUTS or tuple(model.output_names) != _OUTPUTS:
            raise BadRelease(
                f"{model.file} reads {', '.join(model.input_names)} and gives {', '.join(model.output_names)} instead "
                f"of {', '.join(_INPUTS)} and {', '.join(_OUTPUTS)}"
            )
        self.provider = model.provider
        self._model = model
        self._template = template

    def __call__(self, texts: TokenRows, role: Role) -> TextVectors:
        """Read texts, in batches of like lengths; at least one.

        Args:
            texts: Token ids without special tokens.
            role: What the texts are.
        """
        order = np.argsort(texts.lengths, kind="stable")
        batches = [self._batch(texts.take(part), role) for part in _parts(texts.lengths[order] + 2, order)]
        found = TextVectors.join(batches)
        return found if len(batches) == 1 and _is_sorted(order) else _reordered(found, order)

    def _batch(self, texts: TokenRows, role: Role) -> TextVectors:
        roles = np.full(len(texts), role, dtype=np.int32)
        outputs = self._model.run_all({"input_ids": padded(texts, self._template), "role": roles})
        vectors, weights, pooled, prior = outputs
        lengths = texts.lengths + 1
        kept = np.arange(vectors.shape[1]) < lengths[:, None]
        return TextVectors(vectors[kept], lengths, weights[kept], pooled, prior)


def padded(texts: TokenRows, template: PairTemplate) -> npt.NDArray[np.int32]:
    """Return ``[CLS] text [SEP]`` of each text, padded with 0 to the longest; int32[texts, longest + 2]."""
    lengths = texts.lengths
    ids = np.zeros((len(texts), int(lengths.max(initial=0)) + 2), dtype=np.int32)
    ids[:, 0] = template.cls_id
    ids[:, 1:-1][np.arange(ids.shape[1] - 2) < lengths[:, None]] = texts.tokens[: texts.offsets[-1]]
    ids[np.arange(len(texts)), lengths + 1] = template.sep_id
    return ids


def _parts(lengths: npt.NDArray[np.int64], order: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    """Cut texts sorted by length into batches within the budget of padded tokens, one text at least."""
    parts, start = [], 0
    while start < len(order):
        stop = start + 1
        while stop < len(order) and (stop + 1 - start) * lengths[stop] <= _PADDED_TOKENS:
            stop += 1
        parts.append(order[start:stop])
        start = stop
    return parts


def _is_sorted(order: npt.NDArray[np.int64]) -> bool:
    return bool((np.diff(order) > 0).all())


def _reordered(found: TextVectors, order: npt.NDArray[np.int64]) -> TextVectors:
    """Put texts that were read in ``order`` back where they came from."""
    place = np.argsort(order)
    starts = np.cumsum(found.lengths) - found.lengths
    tokens = ragged_indices(starts[place], found.lengths[place])
    return TextVectors(
        found.vectors[tokens], found.lengths[place], found.weights[tokens], found.pooled[place], found.prior[place]
    )

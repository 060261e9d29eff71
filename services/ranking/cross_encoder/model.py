"""The cross-encoder: a BERT that reads user context and item together and returns one logit, run by ONNX Runtime."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np
import numpy.typing as npt

from common.arrays import Int64Array
from common.errors import BadRelease
from common.onnx_session import OnnxModel, SessionOptions
from common.release.layout import CROSS_ENCODER
from common.release.store import Release
from services.ranking.batching.capacity import BatchLimits
from services.ranking.batching.cost_model import CostModel, Measurement

_INPUTS: Final = ("input_ids", "attention_mask", "token_type_ids")
_REPEATS: Final = 2


class CrossEncoder:
    """Reads padded pairs; safe to call from several threads at a time."""

    def __init__(self, model: OnnxModel) -> None:
        if set(model.input_names) != set(_INPUTS):
            raise BadRelease(
                f"{model.file} has the inputs {', '.join(model.input_names)} instead of {', '.join(_INPUTS)}"
            )
        self.provider = model.provider
        self._model = model

    @classmethod
    def load(cls, release: Release, options: SessionOptions) -> CrossEncoder:
        """Load the cross-encoder of a release."""
        return cls(OnnxModel(release.file(CROSS_ENCODER), options))

    def __call__(
        self, input_ids: Int64Array, attention_mask: Int64Array, token_type_ids: Int64Array
    ) -> npt.NDArray[np.float32]:
        """Return the logit of each pair: int64[rows, tokens] three times in, float32[rows] out."""
        return self._model.run(dict(zip(_INPUTS, (input_ids, attention_mask, token_type_ids), strict=True)))

    def warm_up(self, limits: BatchLimits, max_tokens: int) -> CostModel:
        """Run batches of several shapes, as many at a time as there will be workers, and fit their cost.

        Args:
            limits: The bounds of batches.
            max_tokens: The length of the longest pair.
        """
        with ThreadPoolExecutor(limits.workers) as workers:
            return CostModel.fit([self._measure(workers, limits, *shape) for shape in _shapes(limits, max_tokens)])

    def _measure(self, workers: ThreadPoolExecutor, limits: BatchLimits, rows: int, tokens: int) -> Measurement:
        ones = np.ones((rows, tokens), dtype=np.int64)
        times_ms = []
        for _ in range(_REPEATS):
            began = time.perf_counter()
            list(workers.map(lambda _: self(ones, ones, 0 * ones), range(limits.workers)))
            times_ms.append((time.perf_counter() - began) * 1e3)
        return Measurement(rows, tokens, min(times_ms))


def has_cross_encoder(release: Release) -> bool:
    """Return whether a release has the tier: its manifest lists the cross-encoder among the models."""
    return "cross_encoder" in release.manifest.models


def _shapes(limits: BatchLimits, max_tokens: int) -> Iterator[tuple[int, int]]:
    """Yield rows and tokens, from one short row to full batches of the longest."""
    lengths = sorted({max(max_tokens // divisor, 3) for divisor in (4, 2, 1)})
    for tokens, share in itertools.product(lengths, (0.0, 0.25, 1.0)):
        yield max(int(share * limits.padded_tokens / tokens), 1), tokens

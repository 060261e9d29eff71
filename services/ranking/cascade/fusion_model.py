"""The fusion: a small ONNX model that maps features to a calibrated probability."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from common.arrays import FloatArray
from common.errors import BadRelease
from common.onnx_session import OnnxModel, SessionOptions
from common.release.layout import FUSION
from common.release.store import Release


class FusionModel:
    """Maps features to probability. A missing feature is NaN, as in training."""

    def __init__(self, model: OnnxModel, features: int) -> None:
        self.provider = model.provider
        self._model = model
        self._input = model.input_names[0]
        self._check(features)

    @classmethod
    def load(cls, release: Release, features: int) -> FusionModel:
        """Load the fusion of a release; raises BadRelease if it does not read ``features`` features.

        It always runs on the CPU: its trees take microseconds, less than a transfer to another device.
        """
        return cls(OnnxModel(release.file(FUSION), SessionOptions(threads=1)), features)

    def probability(self, matrix: FloatArray) -> npt.NDArray[np.float32]:
        """Return the probability of each row of float32[rows, features]; float32[rows]."""
        if not len(matrix):
            return np.empty(0, dtype=np.float32)
        return self._model.run({self._input: np.ascontiguousarray(matrix, dtype=np.float32)}).reshape(len(matrix))

    def _check(self, features: int) -> None:
        try:
            answer = self.probability(np.full((2, features), np.nan, dtype=np.float32))
        except Exception as error:
            raise BadRelease(
                f"{self._model.file} can't read the {features} features of fusion.json: {error}"
            ) from error
        if not ((answer >= 0) & (answer <= 1)).all():
            raise BadRelease(
                f"{self._model.file} returns {answer.tolist()}, which are no probabilities; build it again"
            )

"""How many milliseconds the cross-encoder takes: fitted at warm-up, corrected while serving."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np

from common.arrays import Float64Array, Int64Array

Tokens = TypeVar("Tokens", float, Float64Array)
# The weight of earlier batches falls by this factor with each batch: to half after 14 batches.
_DECAY: Final = 0.95
# The weight of the fit at warm-up against later batches, in milliseconds of work.
_FIT_WEIGHT_MS: Final = 200.0


@dataclass(frozen=True)
class Measurement:
    """A batch of ``rows`` by ``tokens`` took ``ms``."""

    rows: int
    tokens: int
    ms: float


class CostModel:
    """``ms = correction * (batch_ms + rows * (token_ms * tokens + square_ms * tokens ** 2))``.

    The terms are a batch's overhead, the layers' matrices and attention.

    Attributes:
        batch_ms: A batch's overhead.
        token_ms: What a token costs in the layers' matrices.
        square_ms: What a pair of tokens costs in attention.
        correction: How many times longer recent batches took than the fit expects. It covers what warm-up cannot know,
            such as padding and busy neighbours.
    """

    def __init__(self, batch_ms: float, token_ms: float, square_ms: float = 0.0) -> None:
        self.batch_ms = batch_ms
        self.token_ms = token_ms
        self.square_ms = square_ms
        self.correction = 1.0
        self._expected_ms = self._observed_ms = _FIT_WEIGHT_MS

    @classmethod
    def fit(cls, measurements: Sequence[Measurement]) -> CostModel:
        """Fit the three terms by least squares on relative errors, none of them below zero."""
        ms = np.array([one.ms for one in measurements])
        terms = np.array([[1.0, one.rows * one.tokens, one.rows * one.tokens**2] for one in measurements])
        return cls(*_non_negative(terms / ms[:, None]).tolist())

    def rows_ms(self, tokens: Tokens) -> Tokens:
        """Return what a row of ``tokens`` tokens costs, or each of several; uncorrected, without batch overhead."""
        return self.token_ms * tokens + self.square_ms * tokens**2

    def pairs_ms(self, lengths: Int64Array, batch_tokens: int) -> Float64Array:
        """Return what each pair costs with its share of the overhead of a batch of ``batch_tokens``; uncorrected."""
        share = np.minimum(lengths / batch_tokens, 1.0)
        return self.rows_ms(lengths.astype(np.float64)) + self.batch_ms * share

    def observe(self, expected_ms: float, observed_ms: float) -> None:
        """Learn how long a batch took against its uncorrected cost."""
        self._expected_ms = _DECAY * self._expected_ms + expected_ms
        self._observed_ms = _DECAY * self._observed_ms + observed_ms
        self.correction = self._observed_ms / self._expected_ms


def _non_negative(terms: Float64Array) -> Float64Array:
    """Solve ``terms @ x = 1`` by least squares; drops terms with a negative solution, the most negative first."""
    kept = list(range(terms.shape[1]))
    while True:
        solved = np.linalg.lstsq(terms[:, kept], np.ones(len(terms)), rcond=None)[0]
        if solved.min() >= 0 or len(kept) == 1:
            break
        kept.pop(int(solved.argmin()))
    solution = np.zeros(terms.shape[1])
    solution[kept] = np.maximum(solved, 0.0)
    return solution

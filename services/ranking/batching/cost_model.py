"""How many milliseconds the cross-encoder takes: fitted at warm-up, corrected while running."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from common.arrays import Float64Array

Tokens = TypeVar("Tokens", float, Float64Array)


# Of the work observed so far, how much still counts after one more batch: half of it after 14 batches.
_KEPT = 0.95


# How much work the fit at warm-up counts for against what is observed later, in milliseconds.
_FIT_WEIGHT_MS = 200.0


@dataclass(frozen=True)
class Measurement:
    """A batch of ``rows`` by ``tokens`` took ``ms``."""

    rows: int
    tokens: int
    ms: float


class CostModel:
    """``ms = correction * (batch_ms + rows * (token_ms * tokens + square_ms * tokens ** 2))``.

    The terms are a call's overhead, the layers' matrices and attention. ``correction`` is the work observed lately
    over the work expected: it takes in what warm-up cannot know, such as padding and busy neighbours.
    """

    def __init__(self, batch_ms: float, token_ms: float, square_ms: float = 0.0) -> None:
        self.batch_ms = batch_ms
        self.token_ms = token_ms
        self.square_ms = square_ms
        self._expected_ms = self._observed_ms = _FIT_WEIGHT_MS

    @classmethod
    def fit(cls, measurements: Sequence[Measurement]) -> CostModel:
        """Fit the three terms by least squares on relative errors, none of them below zero."""
        ms = np.array([one.ms for one in measurements])
        terms = np.array([[1.0, one.rows * one.tokens, one.rows * one.tokens**2] for one in measurements])
        return cls(*_non_negative(terms / ms[:, None]).tolist())

    @property
    def correction(self) -> float:
        """How many times longer work takes than the fit says."""
        return self._observed_ms / self._expected_ms

    def rows_ms(self, tokens: Tokens) -> Tokens:
        """Return what a row of so many tokens costs, or each of many; uncorrected, without the batch's overhead."""
        return self.token_ms * tokens + self.square_ms * tokens**2

    def observe(self, expected_ms: float, observed_ms: float) -> None:
        """Correct the model by a batch that was expected to take so long, uncorrected, and took so long."""
        self._expected_ms = _KEPT * self._expected_ms + expected_ms
        self._observed_ms = _KEPT * self._observed_ms + observed_ms


def _non_negative(terms: Float64Array) -> Float64Array:
    """Solve ``terms @ x = 1`` by least squares, leaving out the terms that come out negative, the worst first."""
    kept = list(range(terms.shape[1]))
    while True:
        found = np.linalg.lstsq(terms[:, kept], np.ones(len(terms)), rcond=None)[0]
        if found.min() >= 0 or len(kept) == 1:
            break
        kept.pop(int(found.argmin()))
    solution = np.zeros(terms.shape[1])
    solution[kept] = np.maximum(found, 0.0)
    return solution

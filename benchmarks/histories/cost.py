"""The cost of a request by text ranker: processor time of one thread, in turns on the same requests."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.histories.models import INT8, load_cross_encoder
from benchmarks.histories.requests import CANDIDATES, Requests
from benchmarks.histories.scores import HistoryLateInteraction, context_tokens
from common.onnx_session import SessionOptions
from pipeline.learning.examples.labelled_candidates import LabelledCandidates
from pipeline.learning.examples.text_pairs import pairs_of, score_pairs
from pipeline.progress import ProgressReport, ProgressStep
from pipeline.release.export.cached_export import exported_cross_encoder
from services.ranking.cross_encoder.model import CrossEncoder
from services.ranking.late_interaction.vector_codec import Bits

LONG_CONTEXT: Final = 64


def cost_ms(
    requests: Requests, cross_encoder: Path, late: HistoryLateInteraction, count: int, report: ProgressReport
) -> dict[str, float]:
    """Return the median processor milliseconds of a request by ranker; no context is cached.

    Args:
        requests: Requests; the first ones with contexts of at least `LONG_CONTEXT` tokens are timed.
        cross_encoder: The folder of the cross-encoder.
        late: Late interaction.
        count: The number of requests.
        report: Shows each request.
    """
    one_thread = SessionOptions(threads=1)
    long = [one for one in requests.labelled() if len(context_tokens(late.texts, one.user.history)) >= LONG_CONTEXT]
    rankers: dict[str, Callable[[LabelledCandidates], object]] = {
        "late interaction, 8 bits": _late(late, 8),
        "late interaction, 4 bits": _late(late, 4),
        "cross-encoder, int8": _cross_encoder(load_cross_encoder(cross_encoder / INT8, one_thread), late),
        "cross-encoder, float32": _cross_encoder(
            load_cross_encoder(exported_cross_encoder(cross_encoder), one_thread), late
        ),
    }
    measured_ms: dict[str, list[float]] = {name: [] for name in rankers}
    with report.step("Timing the rankers in turns", count + 1) as step:
        for turn, one in enumerate(long[: count + 1]):
            for name, ranker in rankers.items():
                began = time.thread_time()
                ranker(one)
                if turn:  # the first warms up
                    measured_ms[name].append((time.thread_time() - began) * 1e3)
            step.advance()
    return {name: float(np.median(times)) for name, times in measured_ms.items()}


def _late(late: HistoryLateInteraction, bits: Bits) -> Callable[[LabelledCandidates], object]:
    tier = late.served(bits)

    def score(one: LabelledCandidates) -> object:
        return tier.score_rows(tier.context_vectors(context_tokens(late.texts, one.user.history)), one.candidates.rows)

    return score


def _cross_encoder(model: CrossEncoder, late: HistoryLateInteraction) -> Callable[[LabelledCandidates], object]:
    rows, silent = np.arange(CANDIDATES), ProgressStep(None, "", None)
    return lambda one: score_pairs(model, [pairs_of(one, rows[: len(one.labels)], late.texts)], silent)

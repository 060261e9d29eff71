"""ONNX Runtime in a loop without a server: the baseline of the served engine."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from common.cpu import usable_cores
from common.onnx_session import OnnxModel, SessionOptions
from services.ranking.cross_encoder.model import CrossEncoder
from services.ranking.pairs.pair_tokens import ModelInputs, TokenPairs

_BATCH_ROWS: Final = (8, 12, 16, 32, 64)
_TRIAL_S: Final = 1.5
_SESSION: Final = SessionOptions()


@dataclass(frozen=True)
class LoopOptions:
    """How the loop runs.

    Attributes:
        rows: Rows of a batch.
        workers: Batches at a time.
        threads: Threads of a batch.
    """

    rows: int
    workers: int
    threads: int


@dataclass(frozen=True)
class LoopRun:
    """One run of the loop.

    Attributes:
        pairs: How many pairs it scored.
        seconds: How long it ran.
        processor_s: Its processor time, which other processes do not affect.
    """

    pairs: int
    seconds: float
    processor_s: float

    @property
    def pairs_per_s(self) -> float:
        """Pairs a second."""
        return self.pairs / self.seconds

    @property
    def pairs_per_processor_s(self) -> float:
        """Pairs a second of one core."""
        return self.pairs / self.processor_s


class BareLoop:
    """Scores the same pairs again and again: tokenised and padded in advance, sorted by length over all requests.

    Args:
        file: The model.
        all_pairs: The pairs of each request.
        session: Options of the session; its threads are those of the loop.
    """

    def __init__(self, file: Path, all_pairs: Sequence[TokenPairs], session: SessionOptions = _SESSION) -> None:
        self._file = file
        self._session = session
        self._all_pairs = all_pairs
        self._inputs: list[ModelInputs] = []
        self._model: CrossEncoder | None = None
        self.options = LoopOptions(0, 0, 0)

    def choose(self) -> LoopOptions:
        """Try batch sizes, with one worker of many threads and many workers of one; keep the fastest."""
        cores = usable_cores()
        shapes = sorted({(cores, 1), (1, cores)})
        variants = [LoopOptions(rows, *shape) for shape, rows in itertools.product(shapes, _BATCH_ROWS)]
        speeds = {}
        for one in variants:
            self.prepare(one)
            speeds[one] = self.run(_TRIAL_S).pairs_per_s
        self.prepare(max(speeds, key=lambda one: speeds[one]))
        return self.options

    def prepare(self, options: LoopOptions) -> None:
        """Pad the batches and open a session."""
        self.options = options
        self._inputs = _batches(self._all_pairs, options.rows)
        self._model = CrossEncoder(OnnxModel(self._file, replace(self._session, threads=options.threads)))
        self._read(self._inputs[0])

    def run(self, seconds: float) -> LoopRun:
        """Score batches in a random order for about ``seconds``, each equally often but for the last round."""
        order = itertools.cycle(np.random.default_rng(0).permutation(len(self._inputs)).tolist())
        began, processor = time.perf_counter(), time.process_time()
        with ThreadPoolExecutor(self.options.workers) as workers:
            pairs = sum(workers.map(lambda _: self._until(began + seconds, order), range(self.options.workers)))
        return LoopRun(pairs, time.perf_counter() - began, time.process_time() - processor)

    def _until(self, ends: float, order: itertools.cycle[int]) -> int:
        read = 0
        while time.perf_counter() < ends:
            inputs = self._inputs[next(order)]
            self._read(inputs)
            read += len(inputs)
        return read

    def _read(self, inputs: ModelInputs) -> None:
        if self._model is not None:
            self._model(inputs.input_ids, inputs.attention_mask, inputs.token_type_ids)


def _batches(all_pairs: Sequence[TokenPairs], rows: int) -> list[ModelInputs]:
    """Cut the pairs into batches of similar lengths."""
    lengths = np.concatenate([pairs.lengths for pairs in all_pairs])
    owner = np.repeat(np.arange(len(all_pairs)), [len(pairs) for pairs in all_pairs])
    place = np.concatenate([np.arange(len(pairs)) for pairs in all_pairs])
    order = np.argsort(lengths, kind="stable")
    batches = []
    for start in range(0, len(order), rows):
        chosen = order[start : start + rows]
        batches.append(
            ModelInputs.from_pairs(*(all_pairs[owner[row]].part(place[row], place[row] + 1) for row in chosen))
        )
    return batches

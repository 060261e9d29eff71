"""What ONNX Runtime does in a loop without a server: the yardstick of the served engine."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from common.cpu import usable_cores
from common.onnx_session import OnnxModel, SessionOptions
from services.ranking.cross_encoder.model import CrossEncoder
from services.ranking.pairs.pair_tokens import ModelInputs, TokenPairs

_ROWS = (8, 12, 16, 32, 64)
_TRIAL_S = 1.5
_OPTIONS = SessionOptions()


@dataclass(frozen=True)
class Variant:
    """How the loop runs: batches of so many rows, so many at a time, each on so many threads."""

    rows: int
    workers: int
    threads: int


@dataclass(frozen=True)
class Run:
    """What the loop did.

    Attributes:
        pairs: How many it read.
        seconds: How long it ran.
        processor_s: The processor time that it took, which busy neighbours do not touch.
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
    """Reads the same pairs over and over, sorted by length over all of them, tokenised and padded beforehand.

    Args:
        file: The model.
        all_pairs: What to read, request by request.
        options: How sessions are made, but for their threads.
    """

    def __init__(self, file: Path, all_pairs: Sequence[TokenPairs], options: SessionOptions = _OPTIONS) -> None:
        self._file = file
        self._options = options
        self._all_pairs = all_pairs
        self._inputs: list[ModelInputs] = []
        self._model: CrossEncoder | None = None
        self.way = Variant(0, 0, 0)

    def choose(self) -> Variant:
        """Try batch sizes, and workers against threads, a moment each; keep the fastest."""
        cores = usable_cores()
        shapes = sorted({(cores, 1), (1, cores)})
        ways = [Variant(rows, *shape) for shape, rows in itertools.product(shapes, _ROWS)]
        speeds = {}
        for way in ways:
            self.prepare(way)
            speeds[way] = self.run(_TRIAL_S).pairs_per_s
        self.prepare(max(speeds, key=lambda way: speeds[way]))
        return self.way

    def prepare(self, way: Variant) -> None:
        """Pad the batches and open a session for a way of running."""
        self.way = way
        self._inputs = _batches(self._all_pairs, way.rows)
        self._model = CrossEncoder(OnnxModel(self._file, replace(self._options, threads=way.threads)))
        self._read(self._inputs[0])

    def run(self, seconds: float) -> Run:
        """Read for about so long, batches in a drawn order, each as often as the others but for the last round."""
        todo = itertools.cycle(np.random.default_rng(0).permutation(len(self._inputs)).tolist())
        began, processor = time.perf_counter(), time.process_time()
        with ThreadPoolExecutor(self.way.workers) as workers:
            pairs = sum(workers.map(lambda _: self._until(began + seconds, todo), range(self.way.workers)))
        return Run(pairs, time.perf_counter() - began, time.process_time() - processor)

    def _until(self, ends: float, todo: itertools.cycle[int]) -> int:
        read = 0
        while time.perf_counter() < ends:
            inputs = self._inputs[next(todo)]
            self._read(inputs)
            read += len(inputs)
        return read

    def _read(self, inputs: ModelInputs) -> None:
        if self._model is not None:
            self._model(inputs.input_ids, inputs.attention_mask, inputs.token_type_ids)


def _batches(all_pairs: Sequence[TokenPairs], rows: int) -> list[ModelInputs]:
    """Cut the pairs into batches of like lengths."""
    lengths = np.concatenate([pairs.lengths for pairs in all_pairs])
    owner = np.repeat(np.arange(len(all_pairs)), [len(pairs) for pairs in all_pairs])
    place = np.concatenate([np.arange(len(pairs)) for pairs in all_pairs])
    order = np.argsort(lengths, kind="stable")
    batches = []
    for start in range(0, len(order), rows):
        chosen = order[start : start + rows]
        batches.append(ModelInputs.of(*(all_pairs[owner[row]].part(place[row], place[row] + 1) for row in chosen)))
    return batches

"""What does compressing the cross-encoder save, and what does it cost? Size, pairs a second, quality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.bare_onnx import BareLoop, Run, Way
from benchmarks.compressed import PRECISIONS, Compared, compare_precisions, judged_examples, lost
from benchmarks.home_depot.data import HomeDepot
from benchmarks.home_depot.model import trained_model
from benchmarks.record import Finding, at_least, at_most
from common.onnx_session import usable_cores
from pipeline.build_settings import Precision
from pipeline.compress import MAX_BATCH_DEPENDENCE
from pipeline.progress import ProgressReport
from services.ranking.pairs import Pairs

_MAX_NDCG_LOSS: Final = 0.01
_LEAST_GAIN: Final = 1.7
_ROWS: Final = 32


def run(quick: bool, console: Console) -> Finding:
    """Score Home Depot's test part and time both precisions in turns; quick takes fewer queries and turns."""
    data, report = HomeDepot.find(), ProgressReport(console)
    model = trained_model(data, console)
    examples = judged_examples(data, model, quick=quick)
    compared = compare_precisions(data, model, examples, report)
    rounds, seconds = (5, 1.0) if quick else (12, 3.0)
    with report.step("Timing in turns"):
        speed = _speeds(compared, [example.pairs for example in examples], rounds, seconds)
    ndcg_loss, spearman_loss = lost(compared)
    turns = list(zip(speed["fp32"], speed["int8"], strict=True))
    gain = float(np.median([small.pairs_per_s / full.pairs_per_s for full, small in turns]))
    by_work = float(np.median([small.pairs_per_processor_s / full.pairs_per_processor_s for full, small in turns]))
    bars = [
        at_most("int8: share of NDCG@10 lost", _MAX_NDCG_LOSS, ndcg_loss.mean),
        at_least("int8: pairs/s over fp32, median of turns", _LEAST_GAIN, gain),
        at_most(
            "int8: largest difference of alone and in a batch, probability",
            MAX_BATCH_DEPENDENCE,
            compared["int8"].batch_dependence,
        ),
    ]
    figures: dict[str, Any] = {name: _figures(found, speed[name]) for name, found in compared.items()}
    figures |= {
        "gain in pairs/s": gain,
        "gain by processor time": by_work,
        "ndcg@10 loss, share": ndcg_loss._asdict(),
        "spearman loss": spearman_loss,
    }
    return Finding(figures, bars, [_table(figures)])


def _speeds(
    compared: Mapping[Precision, Compared], all_pairs: Sequence[Pairs], rounds: int, seconds: float
) -> dict[Precision, list[Run]]:
    """Time bare loops in the order A B A B, so that a busy machine hits both."""
    loops = {name: BareLoop(compared[name].file, all_pairs) for name in PRECISIONS}
    for loop in loops.values():
        loop.prepare(Way(_ROWS, usable_cores(), 1))
    speeds: dict[Precision, list[Run]] = {name: [] for name in loops}
    for _ in range(rounds):
        for name, loop in loops.items():
            speeds[name].append(loop.run(seconds))
    return speeds


def _figures(found: Compared, speeds: Sequence[Run]) -> dict[str, Any]:
    return {
        "megabytes": found.file.stat().st_size / 1e6,
        "pairs/s": float(np.median([run.pairs_per_s for run in speeds])),
        "pairs/s by turn": [run.pairs_per_s for run in speeds],
        "pairs/s of processor time": float(np.median([run.pairs_per_processor_s for run in speeds])),
        "ndcg@10": float(found.ndcg.mean()),
        "spearman": found.spearman,
        "batch dependence": found.batch_dependence,
    }


def _table(figures: Mapping[str, Any]) -> Table:
    table = Table("precision", "MB", "pairs/s", "NDCG@10", "Spearman", "alone against batch", title="Compression")
    for name in PRECISIONS:
        found = figures[name]
        quality = (f"{found['ndcg@10']:.4f}", f"{found['spearman']:.4f}", f"{found['batch dependence']:.1e}")
        table.add_row(name, f"{found['megabytes']:.0f}", f"{found['pairs/s']:,.0f}", *quality)
    return table

"""What does compressing the cross-encoder save, and what does it cost? Size, pairs a second, quality, in every form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.data.home_depot import HomeDepot
from benchmarks.data.home_depot_model import shallow_model, trained_model, trimmed_model
from benchmarks.harness.bare_onnx import BareLoop, Run, Variant
from benchmarks.harness.rank_correlation import spearman_difference
from benchmarks.harness.record import Result, at_least, at_most
from benchmarks.ranking.precisions import Compared, Form, compare_forms, ndcg_lost, precisions
from common.cpu import usable_cores
from common.onnx_session import SessionOptions
from pipeline.build.compression.gate import MAX_BATCH_DEPENDENCE
from pipeline.measurement.metrics.ranking_metrics import paired_bootstrap
from pipeline.progress import ProgressReport

_MAX_NDCG_LOSS: Final = 0.01
_LEAST_GAIN: Final = 1.7
_STUDENT_LAYERS: Final = 3
_ROWS: Final = 32


def run(quick: bool, console: Console) -> Result:
    """Score Home Depot's test part and time every form in turns; quick takes fewer queries and turns."""
    data, report = HomeDepot.find(), ProgressReport(console)
    compared = compare_forms(data, _forms(data, console), report, quick=quick)
    rounds, seconds = (3, 0.5) if quick else (10, 2.0)
    with report.step("Timing in turns", rounds):
        speed = _speeds(compared, rounds, seconds)
    full, small = compared["fp32"], compared["int8"]
    turns = list(zip(speed["fp32"], speed["int8"], strict=True))
    by_work = float(np.median([after.pairs_per_processor_s / before.pairs_per_processor_s for before, after in turns]))
    gain, ndcg_loss = _gain(speed["int8"], speed["fp32"]), ndcg_lost(full, small)
    bars = [
        at_most("int8: share of NDCG@10 lost", _MAX_NDCG_LOSS, ndcg_loss.mean),
        at_least("int8: pairs/s over fp32, median of turns", _LEAST_GAIN, gain),
        at_most(
            "int8: largest difference of alone and in a batch, probability",
            MAX_BATCH_DEPENDENCE,
            small.batch_dependence,
        ),
    ]
    forms = {
        name: _quality(found, full) | _speed(speed[name], speed["fp32"]) | {"megabytes": _megabytes(found)}
        for name, found in compared.items()
    }
    figures = {
        **forms,
        "gain in pairs/s": gain,
        "gain by processor time": by_work,
        "ndcg@10 loss, share": ndcg_loss._asdict(),
        "spearman loss": full.spearman - small.spearman,
    }
    return Result(figures, bars, [_table(forms)])


def _forms(data: HomeDepot, console: Console) -> dict[str, Form]:
    model = trained_model(data, console)
    student, trimmed = shallow_model(data, _STUDENT_LAYERS, console), trimmed_model(data, model)
    shallow = f"{_STUDENT_LAYERS} layers"
    return precisions(model) | {
        "fp32, graph not optimised": Form(model, options=SessionOptions(optimised=False)),
        "fp16": Form(model, "fp16"),
        "fp32, trimmed": Form(trimmed),
        "int8, trimmed": Form(trimmed, "int8"),
        shallow: Form(student),
        f"{shallow}, int8": Form(student, "int8"),
        f"{shallow}, int8, trimmed": Form(trimmed_model(data, student), "int8"),
    }


def _speeds(compared: Mapping[str, Compared], rounds: int, seconds: float) -> dict[str, list[Run]]:
    """Time bare loops in the order A B C A B C, so that a busy machine hits all of them."""
    loops = {name: BareLoop(found.file, found.pairs, found.form.options) for name, found in compared.items()}
    for loop in loops.values():
        loop.prepare(Variant(_ROWS, usable_cores(), 1))
    speeds: dict[str, list[Run]] = {name: [] for name in loops}
    for _ in range(rounds):
        for name, loop in loops.items():
            speeds[name].append(loop.run(seconds))
    return speeds


def _gain(speeds: Sequence[Run], others: Sequence[Run]) -> float:
    """Return how many times as many pairs a second the first ones read, at the median of turns."""
    return float(np.median([one.pairs_per_s / other.pairs_per_s for one, other in zip(speeds, others, strict=True)]))


def _quality(found: Compared, full: Compared) -> dict[str, Any]:
    """Return how good a form's orders are, by themselves and less those in float32, with 95 % intervals."""
    pairs = zip(found.logits, full.logits, strict=True)
    tokens = zip(found.pairs, full.pairs, strict=True)
    return {
        "ndcg@10": float(found.ndcg.mean()),
        "ndcg@10 less fp32's": paired_bootstrap(found.ndcg, full.ndcg, seed=0)._asdict(),
        "spearman": found.spearman,
        "spearman less fp32's": spearman_difference(full.examples, found.logits, full.logits)._asdict(),
        "largest difference in a logit": max(float(np.abs(one - other).max()) for one, other in pairs),
        "queries read in more tokens": sum(bool((one.lengths > other.lengths).any()) for one, other in tokens),
        "batch dependence": found.batch_dependence,
    }


def _speed(runs: Sequence[Run], full: Sequence[Run]) -> dict[str, Any]:
    return {
        "pairs/s": float(np.median([run.pairs_per_s for run in runs])),
        "pairs/s by turn": [run.pairs_per_s for run in runs],
        "pairs/s of processor time": float(np.median([run.pairs_per_processor_s for run in runs])),
        "times fp32": _gain(runs, full),
    }


def _megabytes(found: Compared) -> float:
    return found.file.stat().st_size / 1e6


def _table(forms: Mapping[str, Mapping[str, Any]]) -> Table:
    columns = (
        "form",
        "MB",
        "pairs/s",
        "times fp32",
        "NDCG@10",
        "less fp32's",
        "Spearman",
        "less fp32's",
        "alone/batch",
    )
    table = Table(*columns, title="Compression")
    for name, found in forms.items():
        table.add_row(
            name,
            f"{found['megabytes']:.1f}",
            f"{found['pairs/s']:,.0f}",
            f"{found['times fp32']:.2f}",
            f"{found['ndcg@10']:.4f}",
            _interval(found["ndcg@10 less fp32's"]),
            f"{found['spearman']:.4f}",
            _interval(found["spearman less fp32's"]),
            f"{found['batch dependence']:.1e}",
        )
    return table


def _interval(found: Mapping[str, float]) -> str:
    return f"{found['mean']:+.4f} [{found['low']:+.4f}, {found['high']:+.4f}]"

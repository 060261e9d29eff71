"""What does compressing the cross-encoder save, and what does it cost? Size, throughput and quality of each variant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.data.home_depot import HomeDepot
from benchmarks.data.home_depot_model import shallow_model, trained_model, trimmed_model
from benchmarks.harness.bare_onnx import BareLoop, LoopOptions, LoopRun
from benchmarks.harness.rank_correlation import spearman_difference
from benchmarks.harness.record import Result, at_least, at_most
from benchmarks.ranking.precisions import ModelVariant, VariantScores, ndcg_loss_share, precisions, score_variants
from common.cpu import usable_cores
from common.onnx_session import SessionOptions
from pipeline.build.compression.gate import MAX_BATCH_DEPENDENCE
from pipeline.measurement.metrics.ranking_metrics import paired_bootstrap
from pipeline.progress import ProgressReport

_MAX_NDCG_LOSS: Final = 0.01
_MIN_SPEED_UP: Final = 1.7
_STUDENT_LAYERS: Final = 3
_ROWS: Final = 32


def run(quick: bool, console: Console) -> Result:
    """Score Home Depot's test part and time each variant in turns; quick takes fewer queries and turns."""
    data, report = HomeDepot.find(), ProgressReport(console)
    scored = score_variants(data, _variants(data, console), report, quick=quick)
    rounds, seconds = (3, 0.5) if quick else (10, 2.0)
    with report.step("Timing in turns", rounds):
        speed = _speeds(scored, rounds, seconds)
    full, small = scored["fp32"], scored["int8"]
    turns = list(zip(speed["fp32"], speed["int8"], strict=True))
    by_processor_time = float(
        np.median([after.pairs_per_processor_s / before.pairs_per_processor_s for before, after in turns])
    )
    speed_up, ndcg_loss = _speed_up(speed["int8"], speed["fp32"]), ndcg_loss_share(full, small)
    thresholds = [
        at_most("int8: share of NDCG@10 lost", _MAX_NDCG_LOSS, ndcg_loss.mean),
        at_least("int8: pairs/s over fp32's, median of turns", _MIN_SPEED_UP, speed_up),
        at_most(
            "int8: largest difference of probabilities, alone and in a batch",
            MAX_BATCH_DEPENDENCE,
            small.batch_dependence,
        ),
    ]
    variants = {
        name: _quality(found, full) | _speed(speed[name], speed["fp32"]) | {"megabytes": _megabytes(found)}
        for name, found in scored.items()
    }
    figures = {
        **variants,
        "gain in pairs/s": speed_up,
        "gain by processor time": by_processor_time,
        "ndcg@10 loss, share": ndcg_loss._asdict(),
        "spearman loss": full.spearman - small.spearman,
    }
    return Result(figures, thresholds, [_table(variants)])


def _variants(data: HomeDepot, console: Console) -> dict[str, ModelVariant]:
    model = trained_model(data, console)
    student, trimmed = shallow_model(data, _STUDENT_LAYERS, console), trimmed_model(data, model)
    shallow = f"{_STUDENT_LAYERS} layers"
    return precisions(model) | {
        "fp32, graph not optimised": ModelVariant(model, options=SessionOptions(optimised=False)),
        "fp16": ModelVariant(model, "fp16"),
        "fp32, trimmed": ModelVariant(trimmed),
        "int8, trimmed": ModelVariant(trimmed, "int8"),
        shallow: ModelVariant(student),
        f"{shallow}, int8": ModelVariant(student, "int8"),
        f"{shallow}, int8, trimmed": ModelVariant(trimmed_model(data, student), "int8"),
    }


def _speeds(scored: Mapping[str, VariantScores], rounds: int, seconds: float) -> dict[str, list[LoopRun]]:
    """Time bare loops in the order A B C A B C, so that other work on the machine affects all of them."""
    loops = {name: BareLoop(found.file, found.pairs, found.variant.options) for name, found in scored.items()}
    for loop in loops.values():
        loop.prepare(LoopOptions(_ROWS, usable_cores(), 1))
    speeds: dict[str, list[LoopRun]] = {name: [] for name in loops}
    for _ in range(rounds):
        for name, loop in loops.items():
            speeds[name].append(loop.run(seconds))
    return speeds


def _speed_up(speeds: Sequence[LoopRun], others: Sequence[LoopRun]) -> float:
    """Return the ratio of pairs per second, at the median of turns."""
    return float(np.median([one.pairs_per_s / other.pairs_per_s for one, other in zip(speeds, others, strict=True)]))


def _quality(found: VariantScores, full: VariantScores) -> dict[str, Any]:
    """Return the quality of a variant, and its difference to float32 with 95 % intervals."""
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


def _speed(runs: Sequence[LoopRun], full: Sequence[LoopRun]) -> dict[str, Any]:
    return {
        "pairs/s": float(np.median([run.pairs_per_s for run in runs])),
        "pairs/s by turn": [run.pairs_per_s for run in runs],
        "pairs/s of processor time": float(np.median([run.pairs_per_processor_s for run in runs])),
        "times fp32": _speed_up(runs, full),
    }


def _megabytes(found: VariantScores) -> float:
    return found.file.stat().st_size / 1e6


def _table(variants: Mapping[str, Mapping[str, Any]]) -> Table:
    columns = (
        "variant",
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
    for name, found in variants.items():
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

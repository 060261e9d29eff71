"""What do the tiers gain if a user is known by a history? Next items of Office Products, official test rows.

Contexts hold the titles of the last items, 64 tokens or more for most users. Each tier orders the best 100 candidates
of the first stage by its score alone, and the recipe's trees read its score together with behaviour. Models and trees
learn from cross-fitted requests of the training part. Test rows are scored once. A target outside the 100 is missed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from benchmarks.data.amazon_office import office_data, office_release, training_dataset
from benchmarks.data.home_depot import HomeDepot
from benchmarks.data.home_depot_model import MODELS, trained_model
from benchmarks.harness.record import Result, Threshold, at_least
from benchmarks.histories.cost import LONG_CONTEXT, cost_ms
from benchmarks.histories.fusions import (
    FUSIONS,
    NO_TEXT,
    WITH_CROSS_ENCODER,
    WITH_LATE,
    TextFeatures,
    TextScores,
    fitted_fusions,
    fusion_scores,
)
from benchmarks.histories.models import CONTEXT, HistoryModels, load_cross_encoder
from benchmarks.histories.quality import MeasuresAtTen, measures_at_ten, random_measures_at_ten
from benchmarks.histories.requests import Requests, TrainingSplit, test_requests, training_requests
from benchmarks.histories.scores import HistoryLateInteraction, cached_logits, context_tokens, score_requests
from common.release.store import Release
from pipeline.learning.trainers.model_cache import ModelCache
from pipeline.measurement.metrics.ranking_metrics import Interval
from pipeline.progress import ProgressReport
from pipeline.release.config.build_settings import BuildSettings
from pipeline.release.config.recipes import SEQUENCES
from pipeline.release.export.cached_export import exported_cross_encoder
from pipeline.release.models.base_model import resolve_base_model
from services.ranking.pairs.pair_tokenizer import PairTokenizer

_ROWS: Final = 500
_QUICK_ROWS: Final = 40
_FUSED: Final = 300  # requests that the fusions learn from
_PRECISION_ROWS: Final = 6
_TIMED: Final = 8
_QUICK_TIMED: Final = 2
_FUSION: Final = "fusion with"
_CROSS_ENCODER: Final = "cross-encoder"
_LATE: Final = "late interaction, 8 bits"
_COMPARED: Final = {_LATE: _CROSS_ENCODER, f"{_FUSION} {WITH_LATE}": f"{_FUSION} {WITH_CROSS_ENCODER}"}


@dataclass(frozen=True, eq=False)
class _Trained:
    """The models learnt from the training part."""

    release: Release
    data: Path
    parts: TrainingSplit
    texts: PairTokenizer
    cross_encoder: Path
    late: HistoryLateInteraction
    settings: BuildSettings
    kept: ModelCache


def run(quick: bool, console: Console) -> Result:
    """Train or reuse the models, and score test rows; quick scores fewer rows."""
    report = ProgressReport(console)
    trained = _trained(report, console)
    rows = test_requests(trained.data, trained.release, _QUICK_ROWS if quick else _ROWS, report)
    measured, is_long = _measured(trained, rows, report)
    ms = cost_ms(rows, trained.cross_encoder, trained.late, _QUICK_TIMED if quick else _TIMED, report)
    figures: dict[str, Any] = {
        "rows": len(rows),
        "target among the candidates": len(rows.with_target()) / len(rows),
        "context tokens": _context_tokens(trained.texts, rows),
        "quality": _quality(measured),
        f"quality, contexts of {LONG_CONTEXT} tokens and more": {
            "rows": int(is_long.sum()),
            **_quality({name: one.of(is_long) for name, one in measured.items()}),
        },
        "ms a request of 100 candidates, one thread": ms,
        "NDCG@10 gained a ms, inside the fusion": _gain_per_ms(measured, ms),
        "correlation of int8's logits with float32's": _precision(trained, rows, report, quick=quick),
    }
    return Result(figures, _thresholds(measured), _tables(figures))


def _trained(report: ProgressReport, console: Console) -> _Trained:
    data = office_data()
    dataset = training_dataset(data)
    release = office_release(dataset, report)
    settings = BuildSettings.from_recipe(SEQUENCES.name)
    base = resolve_base_model(settings.base_model)
    kept = ModelCache(MODELS, base.path)
    parts = training_requests(dataset, release, settings, kept, report)
    models = HistoryModels(dataset, base, kept, report)
    cross_encoder = models.cross_encoder(parts.text_rankers, trained_model(HomeDepot.find(), console).torch)
    late = HistoryLateInteraction.read(models.tower(parts.text_rankers, cross_encoder), models, report)
    return _Trained(release, data, parts, models.texts, cross_encoder, late, settings, kept)


def _measured(
    trained: _Trained, rows: Requests, report: ProgressReport
) -> tuple[dict[str, MeasuresAtTen], npt.NDArray[np.bool_]]:
    """Return the measures of each order, and which rows have long contexts, both in the same order of rows."""
    found, missed = rows.select(rows.with_target()), np.setdiff1d(np.arange(len(rows)), rows.with_target())
    text, columns = _text_scores(trained, found, report), TextFeatures(trained.release)
    learnt = trained.parts.fusions.select(np.arange(min(_FUSED, len(trained.parts.fusions))))
    with_text = columns.with_text(learnt, _text_scores(trained, learnt, report))
    fusions = fitted_fusions(with_text, trained.settings, trained.kept, report)
    examples = columns.with_text(found, text)
    orders: dict[str, npt.NDArray[np.floating[Any]]] = {
        "first stage": -np.arange(len(found.rows), dtype=np.float64),
        _CROSS_ENCODER: text.logits,
        "late interaction, float32": trained.late.exact_scores(found),
        _LATE: text.late,
        "late interaction, 4 bits": trained.late.scores(found, 4),
        **{f"{_FUSION} {name}": fusion_scores(name, boosters, examples) for name, boosters in fusions.items()},
    }
    sizes = found.examples.sizes
    measured = {
        name: measures_at_ten(found.examples.labels, sizes, scores, len(rows)) for name, scores in orders.items()
    }
    lengths = _lengths(trained.texts, rows)
    is_long = lengths[np.concatenate([rows.with_target(), missed])] >= LONG_CONTEXT
    return {"random": random_measures_at_ten(sizes, len(rows)), **measured}, is_long


def _text_scores(trained: _Trained, requests: Requests, report: ProgressReport) -> TextScores:
    logits = cached_logits(trained.cross_encoder, trained.texts, requests, report)
    return TextScores(trained.late.scores(requests, 8), logits)


def _quality(measured: Mapping[str, MeasuresAtTen]) -> dict[str, Any]:
    pairs = [
        *_COMPARED.items(),
        *((f"{_FUSION} {name}", f"{_FUSION} {NO_TEXT}") for name in FUSIONS if name != NO_TEXT),
    ]
    return {
        "orders": {name: one.as_json(measured["random"]) for name, one in measured.items()},
        "differences": {f"{one} less {other}": _as_json(measured[one].less(measured[other])) for one, other in pairs},
    }


def _as_json(intervals: Mapping[str, Interval]) -> dict[str, Any]:
    return {measure: interval._asdict() for measure, interval in intervals.items()}


def _gain_per_ms(measured: Mapping[str, MeasuresAtTen], ms: Mapping[str, float]) -> dict[str, float]:
    took = {WITH_LATE: ms[_LATE], WITH_CROSS_ENCODER: ms["cross-encoder, int8"]}
    without = measured[f"{_FUSION} {NO_TEXT}"].ndcg.mean()
    return {name: float(measured[f"{_FUSION} {name}"].ndcg.mean() - without) / took[name] for name in took}


def _context_tokens(texts: PairTokenizer, rows: Requests) -> dict[str, float]:
    lengths = _lengths(texts, rows)
    quantiles = {f"{share:.0%}": float(np.quantile(lengths, share)) for share in (0.1, 0.25, 0.5, 0.75, 0.9)}
    share = {f"share of {LONG_CONTEXT} and more": float((lengths >= LONG_CONTEXT).mean())}
    return {"mean": float(lengths.mean()), **quantiles, **share, "at most": float(CONTEXT.context_tokens)}


def _lengths(texts: PairTokenizer, rows: Requests) -> npt.NDArray[np.int64]:
    return np.array([len(context_tokens(texts, history)) for history in rows.histories])


def _precision(trained: _Trained, rows: Requests, report: ProgressReport, *, quick: bool) -> float:
    """Return the correlation of the logits in int8, which are used here, and in float32."""
    few = rows.select(rows.with_target()[: 2 if quick else _PRECISION_ROWS])
    with report.step("Scoring a few rows in float32") as step:
        full = score_requests(
            load_cross_encoder(exported_cross_encoder(trained.cross_encoder)), trained.texts, few, step
        )
    return float(np.corrcoef(full, cached_logits(trained.cross_encoder, trained.texts, few, report))[0, 1])


def _thresholds(measured: Mapping[str, MeasuresAtTen]) -> list[Threshold]:
    ends = {one: measured[one].less(measured[other])["NDCG@10"].high for one, other in _COMPARED.items()}
    return [
        at_least(f"{one}: NDCG@10 less that of {_COMPARED[one]}, upper end of the 95 % interval", 0.0, end)
        for one, end in ends.items()
    ]


def _tables(figures: Mapping[str, Any]) -> list[Table]:
    quality = figures["quality"]
    orders = Table("order by", "NDCG@10", "95 %", "over random", "HR@10", title=f"{figures['rows']:,} test rows")
    for name, one in quality["orders"].items():
        mean, low, high = one["ndcg@10"].values()
        orders.add_row(
            name, f"{mean:.4f}", f"{low:.4f} to {high:.4f}", f"{one['ndcg@10 over random']:.4f}", f"{one['hr@10']:.4f}"
        )
    paired = Table("difference in NDCG@10", "mean", "95 %")
    for name, one in quality["differences"].items():
        mean, low, high = one["NDCG@10"].values()
        paired.add_row(name, f"{mean:+.4f}", f"{low:+.4f} to {high:+.4f}")
    cost = Table("tier", "ms per request", title="100 candidates, contexts of 64 tokens or more, one thread")
    for name, took in figures["ms a request of 100 candidates, one thread"].items():
        cost.add_row(name, f"{took:,.1f}")
    for name, gain in figures["NDCG@10 gained a ms, inside the fusion"].items():
        cost.add_row(f"NDCG@10 per ms, {name}", f"{gain:+.6f}")
    return [orders, paired, cost]

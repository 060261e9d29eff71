"""What does each kind of evidence add? The fusion is fitted without it, and compared on users that no fit saw."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from rich.table import Table

from common.arrays import Float64Array
from pipeline.learning.fusion.lambdamart import RankedExamples, fit_ranking
from pipeline.learning.fusion.trees import raw_score
from pipeline.measurement.metrics.ranking_metrics import Interval, bootstrap_interval, paired_bootstrap
from pipeline.progress import ProgressReport
from pipeline.release.config.build_settings import BuildSettings
from pipeline.release.config.recipe import Recipe
from pipeline.release.config.recipes import find_recipe

# The kinds of graphs of each; see `pipeline.release.config.recipes`.
_KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "co-occurrence": ("cooccurrence",),
    "EASE": ("ease",),
    "next-item ridge": ("ridge",),
    "PPMI-SVD": ("svd",),
    "two-step walk": ("walk",),
    "transitions spread over similar items": ("smoothed",),
    "clusters and brands": ("groups",),
    "text rankers (words, characters, numbers, vectors)": ("text",),
}
_SIMILARITIES: Final = ("similarity_max", "similarity_mean", "similarity_last", "relative_semantic", "relative_similar")


def ablation(examples: Path, settings: BuildSettings, report: ProgressReport) -> dict[str, Any]:
    """Fit one booster without each kind of evidence.

    The first stage is unchanged: its candidates and its fused score include every source.

    Args:
        examples: The folder of the build's examples.
        settings: The settings of the build.
        report: Shows each fit.

    Returns:
        ``all``: NDCG@10 with all evidence; ``without``: by kind, the paired difference in NDCG@10 (below 0 if the kind
        helps); ``alone``: NDCG@10 of each source's own order; each with its 95 % interval.
    """
    recipe, training, validation = find_recipe(settings.recipe), *_examples(examples)
    every = _fitted(training, validation, recipe, settings, set(), report, "everything")
    found: dict[str, Any] = {"all": bootstrap_interval(every, seed=settings.seed)._asdict(), "without": {}}
    for kind, makers in _KINDS.items():
        dropped = features_of_kinds(recipe, makers)
        scores = _fitted(training, validation, recipe, settings, dropped, report, f"without {kind}")
        found["without"][kind] = paired_bootstrap(scores, every, seed=settings.seed)._asdict()
    found["alone"] = {
        name.removeprefix("relative_"): bootstrap_interval(_alone(validation, column), seed=settings.seed)._asdict()
        for column, name in enumerate(recipe.features)
        if name.startswith("relative_")
    }
    return found


def features_of_kinds(recipe: Recipe, kinds: tuple[str, ...]) -> set[str]:
    """Return the features that come from graphs of some kinds; similarities come from text too."""
    graphs = {name for name, spec in recipe.graphs.items() if spec.kind in kinds}
    named = {f"graph_{name}_{life}" for name in graphs for life in ("long", "short", "last")}
    return named | {f"relative_{name}" for name in graphs} | (set(_SIMILARITIES) if "text" in kinds else set())


def ablation_table(found: Mapping[str, Any]) -> Table:
    """Return the ablation as a table."""
    table = Table("evidence", "NDCG@10", "95 %", title="Ablation on held-out validation users")
    if not found:
        return table
    table.add_row("everything", *_cells(Interval(**found["all"])))
    for kind, change in found["without"].items():
        table.add_row(f"without {kind}", *_cells(Interval(**change), sign="+"))
    table.add_section()
    for name, alone in found["alone"].items():
        table.add_row(f"source {name} alone", *_cells(Interval(**alone)))
    return table


def _examples(folder: Path) -> tuple[RankedExamples, RankedExamples]:
    return RankedExamples.load(folder / "learnt.npz"), RankedExamples.load(folder / "checked.npz")


def _fitted(
    training: RankedExamples,
    validation: RankedExamples,
    recipe: Recipe,
    settings: BuildSettings,
    dropped: set[str],
    report: ProgressReport,
    title: str,
) -> Float64Array:
    columns = [column for column, name in enumerate(recipe.features) if name not in dropped]
    names = [recipe.features[column] for column in columns]
    with report.step(f"Fitting with {title}" if title == "everything" else f"Fitting {title}") as step:
        boosters = fit_ranking(
            training.columns(columns),
            names,
            recipe.non_increasing_features,
            seeds=[settings.seed],
            trees=settings.trees,
            step=step,
        )
    return _ndcg(validation, raw_score(boosters, validation.columns(columns).features))


def _alone(validation: RankedExamples, column: int) -> Float64Array:
    return _ndcg(validation, np.nan_to_num(validation.features[:, column], nan=-np.inf))


def _ndcg(validation: RankedExamples, scores: npt.NDArray[Any]) -> Float64Array:
    """Return NDCG@10 of each request by the rank of its one target; 0 if the target is not a candidate."""
    ends = np.cumsum(validation.sizes)[:-1]
    values = np.zeros(len(validation.sizes))
    for number, (labels, its) in enumerate(zip(np.split(validation.labels, ends), np.split(scores, ends), strict=True)):
        rank = np.flatnonzero(labels[np.argsort(-its, kind="stable")[:10]])
        if len(rank):
            values[number] = 1 / np.log2(rank[0] + 2)
    return values


def _cells(value: Interval, sign: str = "") -> tuple[str, str]:
    mean, low, high = (format(number, f"{sign}.4f") for number in value)
    return mean, f"{low} to {high}"

"""How much an event of each kind counts in a build: as stated, else learned, else by default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from common.release.event_weights import EventWeights
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.event_kinds import TARGET, kinds_to_learn, left_out, read_weights, weigh_events, weights_for
from pipeline.learning.item_graphs.event_weights import learn_event_weights
from pipeline.progress import ProgressReport
from pipeline.release.config.build_settings import BuildSettings
from pipeline.release.config.recipe import Recipe


@dataclass(frozen=True)
class WeighedData:
    """A build's data and settings once the kinds of event have their weights.

    Attributes:
        dataset: The data with the events that count; see `pipeline.data.dataset.event_kinds.weigh_events`.
        settings: The settings, with the weight of every kind.
        recipe: The recipe, with features of events that are no purchases if there are such.
        weights: The weights.
    """

    dataset: Dataset
    settings: BuildSettings
    recipe: Recipe
    weights: EventWeights


def weigh_by_kind(dataset: Dataset, settings: BuildSettings, recipe: Recipe, report: ProgressReport) -> WeighedData:
    """Weigh the events of a build, and say what counts how much and what is left out.

    Raises:
        InvalidRequest: The events leave no room for the windows.
    """
    stated = {**dataset.report.event_weights, **read_weights(settings.event_weights)}
    learned = kinds_to_learn(dataset.events, stated) if recipe.needs_events else []
    if learned:
        with report.step(f"Learning how much events count: {', '.join(learned)}"):
            days = settings.window_days if recipe.windows else None
            stated = learn_event_weights(dataset, stated, days, settings.seed)
    kinds = set(dataset.events["event"].unique())
    weights = weights_for(kinds, stated)
    weighed = weigh_events(dataset, weights)
    if recipe.needs_events:
        _say(dataset, weights, learned, stated, report)
    counted = {kind: weights.weights[kind] for kind in weights.weights if kind in kinds or kind in stated}
    return WeighedData(
        weighed,
        replace(settings, event_weights=tuple(f"{kind}={weight:g}" for kind, weight in counted.items())),
        recipe.with_interest() if TARGET in weighed.events.columns else recipe,
        weights,
    )


def _say(
    dataset: Dataset, weights: EventWeights, learned: list[str], stated: Mapping[str, float], report: ProgressReport
) -> None:
    kinds = set(dataset.events["event"].unique())
    counted = [
        f"{kind} {weight:g}{_origin(kind, weights, learned, stated)}"
        for kind, weight in weights.weights.items()
        if kind in kinds and weight
    ]
    if len(counted) > 1:
        report.console.print(f"What events count: {', '.join(counted)}")
    if not_counted := left_out(dataset, weights):
        named = ", ".join(f"{kind} ({rows:,})" for kind, rows in not_counted.items())
        report.console.print(f"Events that do not count are left out: {named}")


def _origin(kind: str, weights: EventWeights, learned: list[str], stated: Mapping[str, float]) -> str:
    if kind in weights.targets:
        return " (what is predicted)"
    return " (learned)" if kind in learned else " (as set)" if kind in stated else " (by default)"

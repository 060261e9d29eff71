"""Events weighed by their kinds: what is predicted, what counts for less, and what is left out."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Final

import polars as pl

from common.errors import InvalidRequest
from common.release.event_weights import HISTORY_KINDS, EventWeights
from pipeline.data.dataset.dataset import Dataset

# What an event counts if neither the data nor the settings say it and it cannot be learned.
DEFAULT_WEIGHTS: Final[Mapping[str, float]] = {
    "view": 0.1,
    "favourite": 0.3,
    "cart": 0.3,
    "rating": 0.5,
    "purchase": 1.0,
}
# Kinds that never count: an impression was not chosen, and a refund has taken its purchase back.
WITHOUT_WEIGHT: Final = ("impression", "refund")
# Columns of weighed events; names that no column of a shop has.
WEIGHT: Final = "\0weight"
TARGET: Final = "\0target"
KIND: Final = "\0kind"
# The column of a dataset that weighs each event on its own.
_OWN: Final = "event_weight"

_NUMBERS: Final = {kind.word: int(kind) for kind in HISTORY_KINDS}
_STRENGTH: Final = tuple(_NUMBERS)


def read_weights(pairs: Collection[str]) -> dict[str, float]:
    """Read weights as `--event-weight` gives them, such as ``view=0.1``; raises InvalidRequest."""
    weights = {}
    for pair in pairs:
        kind, _, number = pair.partition("=")
        try:
            weights[kind.strip()] = float(number)
        except ValueError:
            raise InvalidRequest(f"event_weights: {pair!r} is no kind and number, such as view=0.1") from None
    check_weights(weights)
    return weights


def check_weights(weights: Mapping[str, float]) -> None:
    """Raise InvalidRequest, naming the kind, if a weight is given to an unknown kind or is out of bounds."""
    known = (*_STRENGTH, *WITHOUT_WEIGHT)
    for kind, weight in weights.items():
        if kind not in known:
            raise InvalidRequest(f"event_weights: {kind!r} is no kind of event; the kinds are {', '.join(known)}")
        if not 0 <= weight < math.inf:
            raise InvalidRequest(f"event_weights: {kind} must be 0 or more and finite, is {weight}")
        if kind in WITHOUT_WEIGHT and weight:
            raise InvalidRequest(
                f"event_weights: {kind} must be 0: an impression is no choice, a refund takes one back"
            )
        if kind == "purchase" and weight != 1:
            raise InvalidRequest("event_weights: purchase must be 1; weigh the other kinds against it")


def weights_for(kinds: Collection[str], stated: Mapping[str, float]) -> EventWeights:
    """Return the weights of the kinds that a dataset has.

    Args:
        kinds: The kinds in the data.
        stated: Weights by kind; `DEFAULT_WEIGHTS` are used for the others.

    Returns:
        The target is purchases if there are any, else the strongest kind that there is; it and stronger kinds count 1.
    """
    strongest = next((kind for kind in reversed(_STRENGTH) if kind in kinds), _STRENGTH[0])
    targets = _STRENGTH[_STRENGTH.index(strongest) :]
    weights = {kind: 1.0 if kind in targets else {**DEFAULT_WEIGHTS, **stated}[kind] for kind in _STRENGTH}
    return EventWeights(weights=weights, targets=targets)


def kinds_to_learn(events: pl.DataFrame, stated: Collection[str]) -> list[str]:
    """Return the kinds whose weights are neither stated nor fixed, if the data has them besides the target."""
    present = set(events["event"].unique())
    targets = weights_for(present, {}).targets
    return [kind for kind in _STRENGTH if kind in present and kind not in targets and kind not in stated]


def weigh_events(dataset: Dataset, weights: EventWeights) -> Dataset:
    """Return the dataset with the events that count, in columns WEIGHT, TARGET and KIND if they are of several kinds.

    What an event counts is its kind's weight, times its own `event_weight` if the data has one. Data of one known kind,
    or of none, without weights of its own is returned without these columns: each event counts 1 and is of the target.
    """
    kind, known = pl.col("event"), set(dataset.events["event"].unique()) & set(_STRENGTH)
    events = dataset.events.filter(~kind.is_in(list(WITHOUT_WEIGHT)))
    if known:
        counted = [word for word in _STRENGTH if weights.weights.get(word, 1.0) > 0]
        events = events.filter(kind.is_in(counted))
    is_weighed = _OWN in events.columns and bool(known)
    if events.height == dataset.events.height and len(known) < 2 and not is_weighed:  # noqa: PLR2004 - several kinds
        return dataset
    if is_weighed or (events["event"].n_unique() > 1 and known):
        own = pl.col(_OWN).fill_null(1.0) if is_weighed else 1.0
        by_kind = {word: weights.weights.get(word, 1.0) for word in _STRENGTH}
        events = events.with_columns(
            (kind.replace_strict(by_kind, return_dtype=pl.Float32) * own).cast(pl.Float32).alias(WEIGHT),
            kind.is_in(list(weights.targets)).alias(TARGET),
            kind.replace_strict(_NUMBERS, return_dtype=pl.Int8).alias(KIND),
        )
    return Dataset(dataset.items, events, dataset.judgements, dataset.report)


def weigh_as_stated(dataset: Dataset, pairs: Collection[str]) -> Dataset:
    """Weigh events as `weigh_events` does, by the weights of a build's settings, such as ``view=0.1``."""
    return weigh_events(dataset, weights_for(set(dataset.events["event"].unique()), read_weights(pairs)))


def left_out(dataset: Dataset, weights: EventWeights) -> dict[str, int]:
    """Return the number of events of each kind that do not count, the most frequent first."""
    counts = dataset.events["event"].value_counts(sort=True).sort(["count", "event"], descending=[True, False])
    kept = set(weigh_events(dataset, weights).events["event"].unique())
    return {kind: rows for kind, rows in counts.iter_rows() if kind not in kept}


def target_events(events: pl.DataFrame) -> pl.DataFrame:
    """Return the events of the target: purchases, or the strongest kind that there is."""
    return events.filter(TARGET) if TARGET in events.columns else events

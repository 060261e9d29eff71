"""Recipe, windows and least buyers that fit a shop's data, where the user names none."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

import polars as pl

from common.errors import InvalidRequest
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.event_kinds import target_events, weigh_as_stated
from pipeline.data.dataset.training_requests import Windows, sample_users
from pipeline.release.config.build_settings import BuildSettings
from pipeline.release.config.recipes import BASKETS, CATALOGUE, default_recipe

_MAX_EVENTS: Final = 1_000_000  # more are learned from as the options say, without a look at them first
_WINDOW_DAYS: Final = (14.0, 7.0, 3.0, 1.0)
_MIN_BUYERS: Final = (5, 2, 1)
_MIN_ITEMS: Final = 50
_MIN_VALID_USERS: Final = 10
_MIN_TRAINING_REQUESTS: Final = 50
_OWN: Final = ("window_days", "min_buyers")


def fitting_options(dataset: Dataset, given: Collection[str]) -> tuple[str, Mapping[str, Any], str | None]:
    """Return recipe, options and a sentence on what differs from the usual; None if nothing does.

    A small shop has too few users or days for windows of 14 days: shorter windows are tried, and items with fewer
    buyers kept. If no window leaves enough to learn from, the release knows the items' texts alone.

    Args:
        dataset: The shop's data.
        given: Names of options that the user gave; if windows or buyers are among them, they are not changed.
    """
    events, judgements = not dataset.events.is_empty(), dataset.judgements is not None
    recipe = default_recipe(events=events, times=dataset.order_column == "timestamp", judgements=judgements)
    usual = f"Recipe {recipe.name}, for {recipe.description}; --recipe names another"
    if recipe.name != BASKETS.name:
        return recipe.name, {}, usual
    if set(_OWN) & set(given) or dataset.events.height > _MAX_EVENTS:
        return recipe.name, {}, None
    stated = [f"{kind}={weight}" for kind, weight in dataset.report.event_weights.items()]
    usable = weigh_as_stated(dataset, stated).events
    for days in _WINDOW_DAYS:
        windows = _windows(usable, days)
        if windows is None:
            continue
        buyers = _fitting_buyers(usable, windows)
        if days == BuildSettings.window_days and buyers == BuildSettings.min_buyers:
            return recipe.name, {}, None
        why = f"The shop is small: windows of {days:g} days, and items from {buyers} buyers on"
        return recipe.name, {"window_days": days, "min_buyers": buyers}, f"{why} (--window-days, --min-buyers)"
    why = (
        f"{dataset.events.height:,} events of {dataset.events['user_id'].n_unique():,} users are too few to learn from"
    )
    return CATALOGUE.name, {}, f"{why}: the release knows the items' texts alone (--recipe names another)"


def _windows(events: pl.DataFrame, days: float) -> Windows | None:
    """Return windows of a length if enough users are active in them to learn from and to calibrate with."""
    usual = BuildSettings()
    try:
        windows = Windows.of(events, days)
    except InvalidRequest:
        return None
    sample = sample_users(
        events,
        windows,
        train=usual.training_requests,
        valid=usual.valid_users,
        test=usual.test_users,
        seed=usual.seed,
    )
    enough = len(sample.valid) >= _MIN_VALID_USERS and len(sample.train) >= _MIN_TRAINING_REQUESTS
    return windows if enough else None


def _fitting_buyers(events: pl.DataFrame, windows: Windows) -> int:
    """Return the largest number of buyers that leaves fifty items, or half of the items that were bought."""
    bought = target_events(events).filter(pl.col("timestamp") < windows.tables)
    counts = bought.group_by("item_id").agg(pl.col("user_id").n_unique().alias("buyers"))["buyers"]
    needed = min(_MIN_ITEMS, len(counts) // 2)
    return next((least for least in _MIN_BUYERS if int((counts >= least).sum()) >= needed), 1)

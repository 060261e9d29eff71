"""Cross-fitting of next-item requests: no request's target is in the tables that it is evaluated with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import polars as pl

from common.release.event_weights import WeighedEvents
from pipeline.data.dataset.event_kinds import KIND, TARGET, WEIGHT
from pipeline.data.dataset.training_requests import ShopRequest

# Share of each sequence's end for validation, if the data has no split.
VALID_SHARE: Final = 0.15


@dataclass(frozen=True)
class Fold:
    """Sequences for the tables, and requests to evaluate them with.

    Attributes:
        sequences: Item ids of each user's known events, oldest first.
        requests: Next-item requests whose targets are in none of the sequences.
        users: User of each request.
        weighed: What each of these events counts; empty if every event counts 1.
    """

    sequences: list[list[str]]
    requests: list[ShopRequest]
    users: list[str]
    weighed: list[WeighedEvents] = field(default_factory=list)


@dataclass(frozen=True)
class SequenceSplit:
    """Sequences by user: the events before validation, and all events.

    Attributes:
        before: Item ids before validation.
        whole: All item ids.
        kinds: What each of all events was, by number; empty if all are of the target.
        weighed: What each of them counts, and whether it is of the target; empty if each counts 1.
    """

    before: Mapping[str, list[str]]
    whole: Mapping[str, list[str]]
    kinds: Mapping[str, list[int]] = field(default_factory=dict)
    weighed: Mapping[str, WeighedEvents] = field(default_factory=dict)


def split_sequences(events: pl.DataFrame) -> SequenceSplit:
    """Split events by their column ``split`` (``valid`` is later than all else), else by the end of each sequence."""
    later = _later(events)
    before, whole = _sequences(events.filter(~later)), _sequences(events)
    if KIND not in events.columns:
        return SequenceSplit(before, whole)
    weights, targets = _sequences(events, WEIGHT), _sequences(events, TARGET)
    weighed = {
        user: WeighedEvents(np.array(weights[user], np.float32), np.array(targets[user], np.bool_)) for user in whole
    }
    return SequenceSplit(before, whole, _sequences(events, KIND), weighed)


def cross_fit(split: SequenceSplit, folds: int, longest: int, seed: int) -> Iterator[Fold]:
    """Hold out the end of each user's whole sequence once.

    A held-out user's sequence is cut at random: the tables have the part before the cut, as for a returning user, and
    each later item of the target is a request with everything before it as history.

    Args:
        split: The sequences.
        folds: Number of folds.
        longest: Maximum history of a request.
        seed: Seed of folds and cuts.
    """
    generator = np.random.default_rng(seed)
    sequences = split.whole
    users = list(sequences)
    fold_of = generator.permutation(len(users)) % folds
    for fold in range(folds):
        cuts = {
            user: int(generator.integers(1, len(sequences[user])))
            for user, its in zip(users, fold_of.tolist(), strict=True)
            if its == fold and len(sequences[user]) > 1
        }
        yield _fold(split, {user: cuts.get(user, len(sequences[user])) for user in users}, cuts, longest)


def requests_after_split(split: SequenceSplit, longest: int, users: Sequence[str] | None = None) -> Fold:
    """Return requests for the items after the split, with tables of the events before it, as in serving.

    Args:
        split: The sequences.
        longest: Maximum history of a request.
        users: Users to ask about; None for all.
    """
    asked = split.whole if users is None else users
    starts = {user: len(split.before[user]) for user in asked if split.before.get(user)}
    known = {user: len(items) for user, items in split.before.items()}
    return _fold(split, known, starts, longest)


def hold_out_ends(split: SequenceSplit, count: int, longest: int) -> tuple[SequenceSplit, Fold]:
    """Take the validation period of some users out of a split, and return the requests for its items.

    A hash of the name draws the users, so that they are the same in every build, and no fusion has learned from what
    they took last. At most ``count`` users are held out, and at most a tenth.

    Args:
        split: The sequences.
        count: Maximum number of users.
        longest: Maximum history of a request.
    """
    drawn = sorted(filter(split.before.get, split.whole), key=lambda user: hashlib.sha256(user.encode()).digest())
    held_out = frozenset(drawn[: min(count, len(drawn) // 10)])
    whole = {user: split.before[user] if user in held_out else items for user, items in split.whole.items()}
    asked = [user for user in drawn if user in held_out]
    return replace(split, whole=whole), requests_after_split(split, longest, asked)


def _fold(split: SequenceSplit, known: Mapping[str, int], starts: Mapping[str, int], longest: int) -> Fold:
    """Make a fold.

    Args:
        split: The sequences.
        known: How many of each user's events the tables have.
        starts: For each user that is asked about, the place from which on events are asked for.
        longest: Maximum history of a request.
    """
    asked = [
        (user, place)
        for user, start in starts.items()
        for place in range(start, len(split.whole[user]))
        if not split.weighed or split.weighed[user].targets[place]
    ]
    sequences = [split.whole[user][:count] for user, count in known.items()]
    weighed = [split.weighed[user].until(count) for user, count in known.items()] if split.weighed else []
    requests = [_request(split, user, place, longest) for user, place in asked]
    return Fold(sequences, requests, [user for user, _ in asked], weighed)


def _request(split: SequenceSplit, user: str, place: int, longest: int) -> ShopRequest:
    items, first = split.whole[user], max(0, place - longest)
    kinds = split.kinds[user][first:place] if split.kinds else ()
    return ShopRequest(items[first:place], "", frozenset([items[place]]), kinds)


def _sequences(events: pl.DataFrame, column: str = "item_id") -> dict[str, list[Any]]:
    """Return a column of the events by user, oldest first."""
    order = "timestamp" if "timestamp" in events.columns else "position"
    grouped = events.sort("user_id", order, maintain_order=True).group_by("user_id", maintain_order=True)
    return dict(grouped.agg(column).iter_rows())


def _later(events: pl.DataFrame) -> pl.Series:
    if "split" in events.columns:
        return (events["split"] == "valid").fill_null(value=False)
    order = "timestamp" if "timestamp" in events.columns else "position"
    place, count = pl.col(order).rank("ordinal").over("user_id"), pl.len().over("user_id")
    later = (place > 1) & (place > count - (count * VALID_SHARE).ceil())
    return events.select(later.alias("later")).to_series()


def sample_held_out_users(users: Sequence[str], share: float, seed: int) -> frozenset[str]:
    """Sample a share of the distinct users."""
    distinct = sorted(set(users))
    chosen = np.random.default_rng(seed).permutation(len(distinct))[: max(1, round(share * len(distinct)))]
    return frozenset(distinct[place] for place in chosen)

"""Next-item examples, none of which stands in the tables it is judged by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from pipeline.data.dataset.training_requests import ShopRequest

# Where the data does not say what is for validation: this share of each sequence's end.
VALID_SHARE: Final = 0.15


@dataclass(frozen=True)
class Fold:
    """What tables are made of, and what may be asked of them.

    Attributes:
        sequences: Item ids of each user's known events, oldest first.
        requests: Next-item requests whose targets are in none of the sequences.
        users: Whose each request is.
    """

    sequences: list[list[str]]
    requests: list[ShopRequest]
    users: list[str]


@dataclass(frozen=True)
class SequenceSplit:
    """Sequences by user, parted in what came before validation and all of them."""

    before: Mapping[str, list[str]]
    whole: Mapping[str, list[str]]


def split_sequences(events: pl.DataFrame) -> SequenceSplit:
    """Part events by their column ``split`` (``valid`` is later than all else), else by the end of each sequence."""
    later = _later(events)
    return SequenceSplit(_sequences(events.filter(~later)), _sequences(events))


def cross_fit(sequences: Mapping[str, list[str]], folds: int, longest: int, seed: int) -> Iterator[Fold]:
    """Hold out the ends of each user's sequence once.

    A user held out keeps a random beginning in the tables, as a known user met again does; what follows is asked
    for with everything before it as history.

    Args:
        sequences: Item ids by user, oldest first.
        folds: In how many folds.
        longest: How much history a request carries.
        seed: Of folds and cuts.
    """
    generator = np.random.default_rng(seed)
    users = list(sequences)
    fold_of = generator.permutation(len(users)) % folds
    for fold in range(folds):
        cuts = {
            user: int(generator.integers(1, len(sequences[user])))
            for user, its in zip(users, fold_of.tolist(), strict=True)
            if its == fold and len(sequences[user]) > 1
        }
        known = [sequences[user][: cuts.get(user)] for user in users]
        yield _fold(known, sequences, cuts, longest)


def requests_after_split(split: SequenceSplit, longest: int) -> Fold:
    """Ask for what came after the split, of tables of what came before it: as it is in serving."""
    starts = {user: len(split.before.get(user, ())) for user in split.whole if split.before.get(user)}
    return _fold(list(split.before.values()), split.whole, starts, longest)


def _fold(known: list[list[str]], sequences: Mapping[str, list[str]], starts: Mapping[str, int], longest: int) -> Fold:
    asked = [(user, place) for user, start in starts.items() for place in range(start, len(sequences[user]))]
    requests = [
        ShopRequest(sequences[user][max(0, place - longest) : place], "", frozenset([sequences[user][place]]))
        for user, place in asked
    ]
    return Fold(known, requests, [user for user, _ in asked])


def _sequences(events: pl.DataFrame) -> dict[str, list[str]]:
    order = "timestamp" if "timestamp" in events.columns else "position"
    grouped = events.sort("user_id", order, maintain_order=True).group_by("user_id", maintain_order=True)
    return dict(grouped.agg("item_id").iter_rows())


def _later(events: pl.DataFrame) -> pl.Series:
    if "split" in events.columns:
        return (events["split"] == "valid").fill_null(value=False)
    order = "timestamp" if "timestamp" in events.columns else "position"
    place, count = pl.col(order).rank("ordinal").over("user_id"), pl.len().over("user_id")
    later = (place > 1) & (place > count - (count * VALID_SHARE).ceil())
    return events.select(later.alias("later")).to_series()


def sample_held_out_users(users: Sequence[str], share: float, seed: int) -> frozenset[str]:
    """Draw a share of the distinct users."""
    distinct = sorted(set(users))
    chosen = np.random.default_rng(seed).permutation(len(distinct))[: max(1, round(share * len(distinct)))]
    return frozenset(distinct[place] for place in chosen)

"""Cross-fitting: no request's target is in the tables that it is evaluated with."""

from __future__ import annotations

from collections import Counter
from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.dataset.event_kinds import KIND, TARGET, WEIGHT
from pipeline.learning.item_graphs.cross_fitting import (
    SequenceSplit,
    cross_fit,
    hold_out_ends,
    requests_after_split,
    sample_held_out_users,
    split_sequences,
)

SHOPS = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=3),
    st.lists(st.integers(0, 9), min_size=1, max_size=12),
    min_size=3,
    max_size=9,
)


@given(SHOPS, st.integers(0, 5))
def test_tables_and_targets_together_are_what_is_known(shop: dict[str, list[int]], seed: int):
    """In each fold, the sequences and the targets are every event once: nothing is both known and asked for."""
    sequences = {user: [str(item) for item in items] for user, items in shop.items()}
    everything = Counter(item for items in sequences.values() for item in items)
    for fold in cross_fit(SequenceSplit({}, sequences), 3, 5, seed):
        known = Counter(item for items in fold.sequences for item in items)
        asked = Counter(item for request in fold.requests for item in request.bought)
        assert known + asked == everything


@given(SHOPS)
def test_everybody_with_two_events_is_asked_about_once(shop: dict[str, list[int]]):
    """Over all folds each sequence's last event is a target exactly once, with a history no longer than allowed."""
    sequences = {user: [f"{user}-{place}" for place in range(len(items))] for user, items in shop.items()}
    requests = [request for fold in cross_fit(SequenceSplit({}, sequences), 3, 4, 1) for request in fold.requests]
    targets = [item for request in requests for item in request.bought]
    assert len(targets) == len(set(targets))
    assert {items[-1] for items in sequences.values() if len(items) > 1} <= set(targets)
    assert all(1 <= len(request.history) <= 4 for request in requests)


def _events(**more: list[Any]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "user_id": ["u", "u", "u", "v"],
            "item_id": list("abcd"),
            "event": ["rating"] * 4,
            "position": [2, 0, 1, 0],
            **more,
        }
    )


def test_the_datas_own_split_is_kept():
    """Events marked valid are asked for, of tables of the others; users without any other are not."""
    split = split_sequences(_events(split=["valid", "train", "train", "valid"]))
    fold = requests_after_split(split, 10)
    assert split.whole == {"u": ["b", "c", "a"], "v": ["d"]}
    assert fold.sequences == [["b", "c"]]
    assert [(list(request.history), set(request.bought)) for request in fold.requests] == [(["b", "c"], {"a"})]
    assert fold.users == ["u"]


def test_views_are_known_and_never_asked_for():
    """With kinds, requests ask for purchases alone; histories and tables have the views, with their kinds."""
    kinds = {KIND: [3, 1, 1, 3], TARGET: [True, False, False, True], WEIGHT: [1.0, 0.1, 0.1, 1.0]}
    split = split_sequences(_events(**kinds))
    assert split.whole["u"] == ["b", "c", "a"]
    folds = list(cross_fit(split, 2, 10, 1))
    asked = [(list(one.history), set(one.bought), list(one.history_kinds)) for fold in folds for one in fold.requests]
    assert [bought for _, bought, _ in asked] == [{"a"}]
    assert asked[0][2] == [1, 1]
    assert all([len(items) for items in fold.sequences] == [len(one.weights) for one in fold.weighed] for fold in folds)


def test_without_a_split_the_end_of_each_sequence_is_asked_for():
    """A sequence's last part is later, a single event never."""
    assert split_sequences(_events()).before == {"u": ["b", "c"], "v": ["d"]}


def test_held_out_ends_are_asked_for_beside_what_everybody_did_before():
    """The ends of a tenth of the users leave the split; their requests come with the tables of all users."""
    before = {f"u{number}": ["a", "b"] for number in range(20)}
    split = SequenceSplit(before, {user: [*items, "c"] for user, items in before.items()})
    rest, ends = hold_out_ends(split, 5, 10)
    assert len(ends.users) == 2
    assert ends.sequences == list(before.values())
    assert [(list(one.history), set(one.bought)) for one in ends.requests] == [(["a", "b"], {"c"})] * 2
    assert {user for user, items in rest.whole.items() if len(items) == 2} == set(ends.users)


def test_held_out_users_are_a_share_and_the_same_each_time():
    """A fifth of ten users are two, whoever is listed how often."""
    users = [f"p{number % 10}" for number in range(50)]
    chosen = sample_held_out_users(users, 0.2, 3)
    assert len(chosen) == 2
    assert chosen == sample_held_out_users(users[::-1], 0.2, 3)


def test_the_ends_of_some_users_are_learned_from_by_nobody():
    """Their validation period is in the gate's requests alone; tables and training have what came before it."""
    whole = {f"u{number}": [f"a{number}", f"b{number}", f"c{number}"] for number in range(40)}
    split = SequenceSplit({user: items[:2] for user, items in whole.items()}, whole)
    rest, ends = hold_out_ends(split, 3, 10)
    assert len(ends.users) == len(set(ends.users)) == 3
    targets = {item for request in ends.requests for item in request.bought}
    assert targets == {whole[user][2] for user in ends.users}
    assert ends.sequences == [items[:2] for items in whole.values()]
    learned = {item for fold in cross_fit(rest, 4, 10, 1) for request in fold.requests for item in request.bought}
    learned |= {item for request in requests_after_split(rest, 10).requests for item in request.bought}
    assert not targets & learned
    assert {items[2] for items in whole.values()} - targets <= learned
    assert hold_out_ends(split, 3, 10)[1].users == ends.users

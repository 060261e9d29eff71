"""Nothing that a model learns from is later than what it is measured on."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from common.errors import InvalidRequest
from pipeline.split import examples, examples_between, temporal_split

START = datetime(2024, 1, 1)  # noqa: DTZ001 - datasets have no zone
DAY = timedelta(days=1)
days = st.lists(st.tuples(st.sampled_from("pqr"), st.integers(0, 40)), min_size=5, max_size=60)
lengths = st.one_of(st.floats(0.05, 0.45), st.integers(1, 15).map(lambda count: count * DAY))


def purchases(rows: list[tuple[str, str, int]]) -> pl.DataFrame:
    """Return events of (person, item, day), in that order."""
    users, items, when = zip(*rows, strict=True)
    stamps = [START + day * DAY for day in when]
    return pl.DataFrame({"user_id": users, "item_id": items, "event": "purchase", "timestamp": stamps})


@given(rows=days, valid=lengths, test=lengths)
def test_training_precedes_validation_precedes_test(
    rows: list[tuple[str, int]], valid: float | timedelta, test: float | timedelta
):
    """For any events the three parts are strictly apart in time, together all events, and none is empty."""
    events = purchases([(user, "i", day) for user, day in rows])
    try:
        split = temporal_split(events, valid=valid, test=test)
    except InvalidRequest:
        assume(False)
    latest, earliest = (lambda part: part["timestamp"].max()), (lambda part: part["timestamp"].min())
    assert latest(split.train) < split.valid_from <= earliest(split.valid)
    assert latest(split.valid) < split.test_from <= earliest(split.test)
    assert split.train.height + split.valid.height + split.test.height == events.height


@given(counts=st.lists(st.integers(1, 12), min_size=1, max_size=5), share=st.floats(0.05, 0.4))
def test_by_position_each_person_is_cut_in_order(counts: list[int], share: float):
    """Without times each person's training positions are below the validation and those below the test positions."""
    rows = [(f"u{user}", position) for user, count in enumerate(counts) for position in range(count)]
    events = pl.DataFrame(rows, schema=["user_id", "position"], orient="row").with_columns(item_id=pl.lit("i"))
    try:
        split = temporal_split(events, valid=share, test=share)
    except InvalidRequest:
        assume(False)
    for user, count in enumerate(counts):
        parts = [
            part.filter(user_id=f"u{user}")["position"].to_list() for part in (split.train, split.valid, split.test)
        ]
        assert [position for part in parts for position in part] == list(range(count))
        assert parts[2], "everyone's last event is in the test"


def test_equal_positions_stay_together():
    """Events at one position of a person, such as a basket, fall in the same part."""
    events = pl.DataFrame({"user_id": "u", "item_id": "i", "position": [0, 1, 2, 3, 4, 4, 4]})
    split = temporal_split(events, valid=0.2, test=0.2)
    assert [part["position"].to_list() for part in (split.train, split.valid, split.test)] == [
        [0, 1, 2],
        [3],
        [4, 4, 4],
    ]


def test_windows_of_time_end_with_the_last_event():
    """A test of two days holds the last two days, the validation the three days before."""
    split = temporal_split(purchases([("u", "i", day) for day in range(10)]), valid=3 * DAY, test=2 * DAY)
    assert split.test["timestamp"].to_list() == [START + 8 * DAY, START + 9 * DAY]
    assert split.valid["timestamp"].to_list() == [START + day * DAY for day in (5, 6, 7)]


def test_equal_times_stay_together():
    """A basket is never cut in two, even where the share would."""
    split = temporal_split(purchases([("u", "i", day) for day in (1, 2, 3, 4, 5, 5, 5, 5)]), valid=0.2, test=0.2)
    assert split.test["timestamp"].to_list() == [START + 5 * DAY] * 4


@pytest.mark.parametrize(
    ("days_of_events", "valid", "test", "message"),
    [
        ([1, 2, 3], 0.5, 0.5, "no events in train"),
        ([1, 2, 3], 60 * DAY, DAY, "no events in train"),
        ([1, 2, 9], DAY, DAY, "no events in valid"),
        ([1, 1, 1], 0.1, 0.1, "no events left to split"),
        ([1, 2, 3], 0.1, 1.5, "between 0 and 1, it is 1.5"),
    ],
)
def test_lengths_that_leave_a_part_empty_are_refused(
    days_of_events: list[int], valid: float | timedelta, test: float | timedelta, message: str
):
    """The message says which part would be empty."""
    with pytest.raises(InvalidRequest, match=message):
        temporal_split(purchases([("u", "i", day) for day in days_of_events]), valid=valid, test=test)


def test_a_length_of_time_needs_times():
    """Where only positions are known, a window of days is refused with the way out."""
    events = pl.DataFrame({"user_id": ["u"], "item_id": ["i"], "position": [0]})
    with pytest.raises(InvalidRequest, match="give valid and test as shares"):
        temporal_split(events, valid=DAY, test=0.1)


def test_an_example_holds_the_history_oldest_first_and_the_window_after_the_cut():
    """The cut's own moment belongs to the future, the window's end does not; people without a future are left out."""
    events = purchases(
        [("u", "c", 3), ("u", "a", 1), ("u", "b", 2), ("u", "d", 5), ("u", "a", 6), ("u", "z", 8), ("v", "a", 1)]
    )
    (example,) = examples(events, START + 5 * DAY, 3 * DAY)
    assert example == ("u", ["a", "b", "c"], {"d", "a"})


def test_people_with_a_short_history_are_left_out():
    """min_history counts events before the cut."""
    events = purchases([("u", "a", 1), ("u", "b", 2), ("u", "c", 9), ("v", "a", 1), ("v", "b", 9)])
    assert [found.user_id for found in examples(events, START + 5 * DAY, 9 * DAY, min_history=2)] == ["u"]


def test_a_sample_of_people_depends_on_its_seed_alone():
    """The same seed draws the same people, another seed others, whatever the order of events."""
    events = purchases([(f"u{user}", "i", day) for user in range(50) for day in (1, 9)])

    def drawn(frame: pl.DataFrame, seed: int) -> list[str]:
        return [found.user_id for found in examples(frame, START + 5 * DAY, 9 * DAY, users=5, seed=seed)]

    assert len(drawn(events, 1)) == 5
    assert drawn(events, 1) == drawn(events.reverse(), 1)
    assert drawn(events, 1) != drawn(events, 2)


def test_guests_are_no_examples():
    """Events that name no person are not taken for a person's history."""
    rows = [("u", "a", 1), ("u", "b", 9), ("guest", "a", 1), ("guest", "b", 9)]
    events = purchases(rows).with_columns(known_user=pl.col("user_id") == "u")
    assert [found.user_id for found in examples(events, START + 5 * DAY, 9 * DAY)] == ["u"]


def test_examples_between_parts_of_a_split_follow_positions():
    """Where only positions are known, history and future are two parts of a split."""
    past = pl.DataFrame({"user_id": ["u", "u"], "item_id": ["b", "a"], "position": [1, 0]})
    future = pl.DataFrame({"user_id": ["u"], "item_id": ["c"], "position": [2]})
    assert examples_between(past, future) == [("u", ["a", "b"], {"c"})]

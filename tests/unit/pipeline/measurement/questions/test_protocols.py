"""Each protocol makes the questions that it describes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import polars as pl
import pytest

from common.errors import InvalidRequest
from common.release.store import Release
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.training_requests import Windows, sample_test_users
from pipeline.data.ingest.row_filter import no_events
from pipeline.measurement.questions.protocols import Question, Questions, discovery, make_questions

START = datetime(2026, 1, 1)  # noqa: DTZ001 - datasets have no zone


def shop(rows: list[tuple[str, str, int]], make: Callable[..., Dataset]) -> Dataset:
    """Return a dataset of (user, item, day)."""
    events = pl.DataFrame(
        {
            "user_id": [user for user, _, _ in rows],
            "item_id": [item for _, item, _ in rows],
            "event": ["purchase"] * len(rows),
            "timestamp": [START + timedelta(days=day) for _, _, day in rows],
        }
    )
    return make(events=events)


def test_temporal_asks_the_users_that_the_release_held_out(
    temporal: Questions, release: Release, tiny_dataset: Dataset
):
    """The users, time and window are those of the build's settings."""
    settings = release.manifest.settings
    windows = Windows.of(tiny_dataset.events, settings["window_days"])
    drawn = sample_test_users(tiny_dataset.events, windows, settings["test_users"], settings["seed"])
    assert [question.key for question in temporal.main] == [example.user_id for example in drawn]
    assert [set(question.relevant) for question in temporal.main] == [example.held_out for example in drawn]
    assert all(len(question.history) >= 3 for question in temporal.main)
    assert "2026-04-" in temporal.description
    assert temporal.notes == []


def test_users_whose_first_event_is_in_the_window_are_new(make_dataset: Callable[..., Dataset]):
    """New users have no history, and all their items in the window are relevant."""
    old = [(user, item, day) for user in "pq" for day, item in enumerate("abcabcabcabc")]
    dataset = shop([*old, ("p", "b", 20), ("q", "b", 20), ("n", "a", 19), ("n", "c", 20)], make_dataset)
    found = make_questions(dataset, {"window_days": 2, "test_users": 1, "seed": 1}, "temporal", users=None, seed=1)
    assert [(q.history, q.relevant) for q in found.new_users] == [((), {"a": 1.0, "c": 1.0})]
    assert {q.key for q in found.new_users}.isdisjoint(q.key for q in found.main)


def test_asking_more_users_than_were_held_out_is_noted(tiny_dataset: Dataset, release: Release):
    """Users beyond those held out may have taught the release at earlier moments."""
    found = make_questions(tiny_dataset, release.manifest.settings, "temporal", users=20, seed=7)
    assert len(found.main) > release.manifest.settings["test_users"]
    assert any("it learned from the others" in note for note in found.notes)


def test_leave_last_out_asks_for_the_last_event(make_dataset: Callable[..., Dataset]):
    """History is all that came before, one event is the answer, users with one event are left out."""
    dataset = shop([("p", "a", 1), ("p", "b", 2), ("p", "a", 3), ("q", "c", 1)], make_dataset)
    found = make_questions(dataset, {}, "leave-last-out", users=None, seed=1)
    assert [(q.group, list(q.history), q.relevant) for q in found.main] == [("p", ["a", "b"], {"a": 1.0})]
    assert "has seen the answers" in found.notes[0]


def test_leave_last_out_goes_by_position_where_no_time_is_known(make_dataset: Callable[..., Dataset]):
    """The highest position is the last."""
    events = pl.DataFrame({"user_id": ["p"] * 3, "item_id": ["c", "b", "a"], "event": ["r"] * 3, "position": [2, 0, 1]})
    found = make_questions(make_dataset(events=events), {}, "leave-last-out", users=None, seed=1)
    assert (list(found.main[0].history), found.main[0].relevant) == (["b", "a"], {"c": 1.0})


def test_judged_asks_the_test_split(make_dataset: Callable[..., Dataset]):
    """Queries of the test split with their grades; one without anything relevant is left out and noted."""
    judgements = pl.DataFrame(
        {
            "query": ["pen", "pen", "tape", "ink"],
            "item_id": ["a", "b", "a", "a"],
            "relevance": [2.0, 0.0, 0.0, 1.0],
            "split": ["test", "test", "test", "train"],
        }
    )
    found = make_questions(make_dataset(judgements=judgements), {}, "judged", users=None, seed=1)
    assert [(q.query, q.relevant) for q in found.main] == [("pen", {"a": 2.0, "b": 0.0})]
    assert found.judged
    assert any("1 queries without a relevant item" in note for note in found.notes)


def test_a_query_in_two_languages_is_two_questions(make_dataset: Callable[..., Dataset]):
    """The same words in another language want other items."""
    judgements = pl.DataFrame(
        {"query": ["pen"] * 2, "item_id": ["a", "b"], "relevance": [1.0, 1.0], "language": ["en", "es"]}
    )
    found = make_questions(make_dataset(judgements=judgements), {}, "judged", users=None, seed=1)
    assert [(q.group, q.relevant) for q in found.main] == [("pen", {"a": 1.0}), ("pen", {"b": 1.0})]
    assert len({q.key for q in found.main}) == 2


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        ("random", "no protocol 'random'; the known ones are temporal, leave-last-out, judged"),
        ("judged", "has no judgements"),
        ("temporal", "no window_days"),
    ],
)
def test_impossible_protocols_are_refused(make_dataset: Callable[..., Dataset], protocol: str, message: str):
    """The message says what is missing and what to choose."""
    with pytest.raises(InvalidRequest, match=message):
        make_questions(make_dataset(), {}, protocol, users=None, seed=1)


def test_a_sample_is_the_same_for_the_same_seed(make_dataset: Callable[..., Dataset]):
    """A sample of fewer users is reproducible."""
    dataset = shop([(f"p{number}", item, day) for number in range(9) for day, item in enumerate("ab")], make_dataset)
    drawn = [make_questions(dataset, {}, "leave-last-out", users=4, seed=seed).main for seed in (3, 3, 4)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(drawn[0]) == 4


@pytest.mark.parametrize("protocol", ["temporal", "leave-last-out"])
def test_data_without_events_is_pointed_to_judgements(make_dataset: Callable[..., Dataset], protocol: str):
    """Search data has no users to ask for."""
    dataset = make_dataset(events=no_events())
    with pytest.raises(InvalidRequest, match="use --protocol judged"):
        make_questions(dataset, {"window_days": 1}, protocol, users=None, seed=1)


def test_discovery_asks_for_what_is_not_in_the_history():
    """Bought-again items are no answers and not relevant; who bought nothing else is not asked."""
    main = [
        Question("a", "a", ("x", "y"), "", {"x": 1.0, "z": 1.0}),
        Question("b", "b", ("x",), "", {"x": 1.0}),
    ]
    found = discovery(Questions("temporal", "all", main, main))
    assert [(one.key, dict(one.relevant), one.exclude_history) for one in found.main] == [("a", {"z": 1.0}, True)]
    assert (found.protocol, found.new_users) == ("discovery", ())


def test_judged_searches_held_out_are_asked_apart(make_dataset: Callable[..., Dataset]):
    """Those of the split `test` are measured apart from users; without a split none is known to be held out."""
    shown = {"query": ["pen", "ink"], "item_id": ["a", "b"], "relevance": [1.0, 1.0]}
    rows = [("p", item, day) for day, item in enumerate("abcabcabcabc")] + [("q", "a", day) for day in range(12)]
    events = shop(rows, make_dataset).events
    for split, keys in ((["test", "train"], ["search pen"]), (None, [])):
        judgements = pl.DataFrame(shown | ({"split": split} if split else {}))
        dataset = make_dataset(events=events, judgements=judgements)
        found = make_questions(dataset, {"window_days": 1}, "temporal", users=None, seed=1)
        assert [one.key for one in found.searches] == keys
        assert not discovery(found).searches

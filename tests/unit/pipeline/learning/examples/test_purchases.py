"""What the encoder learns from events, and that none of it comes from the future."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.release.layout import VECTOR_OF_ITEM, VECTORS
from common.release.store import Release, open_release
from pipeline.learning.examples.purchases import EventTexts, Purchase, draw_purchases
from pipeline.progress import ProgressStep
from services.retrieval.candidates.first_stage import FirstStage
from services.retrieval.candidates.request import Request

DAY = timedelta(days=1)
START = datetime(2026, 1, 1)  # noqa: DTZ001 - shops' files carry no zone
UNTIL = START + 40 * DAY
WINDOW = 5 * DAY
TITLES = {item: f"{word} {kind}" for item, word, kind in zip("abcdef", ("milk", "tea") * 3, "uvwxyz", strict=True)}
STEP = ProgressStep(None, "", None)


def _events(rows: Sequence[tuple[str, str, int]]) -> pl.DataFrame:
    users, items, days = zip(*rows, strict=True) if rows else ((), (), ())
    return pl.DataFrame(
        {"user_id": users, "item_id": items, "timestamp": [START + day * DAY for day in days]},
        schema={"user_id": pl.String, "item_id": pl.String, "timestamp": pl.Datetime("us")},
    )


def _drawn(rows: Sequence[tuple[str, str, int]], searches: float = 0.5) -> list[Purchase]:
    found = draw_purchases(_events(rows), TITLES, until=UNTIL, window=WINDOW, count=60, searches=searches, seed=3)
    return sorted(found, key=lambda one: (one.moment, one.target, one.query, tuple(one.history)))


_ROWS = st.lists(
    st.tuples(st.sampled_from("pqrs"), st.sampled_from("abcdefx"), st.integers(0, 60)), min_size=20, max_size=120
)


@settings(max_examples=15, deadline=None)  # six groupings each: milliseconds, but many
@given(_ROWS, _ROWS, st.integers(0, 60))
def test_the_future_changes_no_example(rows: list[tuple[str, str, int]], others: list[tuple[str, str, int]], day: int):
    """Whatever happens from a moment on, examples whose window ended by then have the same user and target.

    And what happens after the tables end changes nothing at all, not even what counts as a negative.
    """
    cut = START + day * DAY
    before = [row for row in rows if row[2] < day]
    changed = before + [row for row in others if row[2] >= day]
    over = [
        [(one.moment, one.history, one.query, one.target) for one in _drawn(kept) if one.moment + WINDOW <= cut]
        for kept in (rows, changed, before)
    ]
    assert over[0] == over[1] == over[2]
    if cut >= UNTIL:
        assert _drawn(rows) == _drawn(changed)


@settings(max_examples=15, deadline=None)
@given(_ROWS, st.sampled_from([0.0, 0.5, 1.0]))
def test_an_example_is_a_user_as_known_then_and_what_came_next(rows: list[tuple[str, str, int]], searches: float):
    """The history is somebody's before the moment, the target of their window after it, and nothing taken is missed."""
    for one in _drawn(rows, searches):
        day = (one.moment - START) // DAY
        owners = [
            user
            for user in "pqrs"
            if frozenset(item for who, item, when in rows if who == user and when < (UNTIL - START) // DAY) == one.taken
            and any(row[0] == user and row[1] == one.target and day <= row[2] < day + 5 for row in rows)
        ]
        assert owners
        if one.history:
            assert any(
                Counter(one.history) == Counter(item for who, item, when in rows if who == user and when < day)
                for user in owners
            )
        assert one.query or one.history
        assert set(one.query.split()) <= set(TITLES[one.target].split())


def test_each_moment_gives_its_share():
    """Of many users as many are drawn at each moment, the same ones each time."""
    rows = [(f"u{user}", item, day) for user in range(40) for item, day in zip("abcd" * 10, range(40), strict=True)]
    drawn = _drawn(rows)
    assert set(Counter(one.moment for one in drawn).values()) == {10}
    assert drawn == _drawn(rows)
    assert max(one.moment for one in drawn) + WINDOW == UNTIL


@pytest.fixture(scope="module")
def release(tiny_release: Path) -> Release:
    return open_release(str(tiny_release))


@pytest.fixture(scope="module")
def first_stage(release: Release) -> Iterator[FirstStage]:
    with closing(FirstStage.load(release)) as found:
        yield found


@pytest.fixture(scope="module")
def texts(release: Release, first_stage: FirstStage) -> EventTexts:
    """Return the tiny shop's texts."""
    of_item = np.load(release.file(VECTOR_OF_ITEM)).astype(np.int64)
    return EventTexts(of_item, first_stage, {"red milk": np.array([7], np.int32)})


def _purchase(first_stage: FirstStage, rows: Sequence[int], query: str = "") -> Purchase:
    items = first_stage.snapshot.base.item_ids
    history = [items[row] for row in rows]
    return Purchase(START, history, query, items[200], frozenset([*history, items[200], items[230]]))


def test_a_short_history_is_the_vector_that_is_served(release: Release, first_stage: FirstStage, texts: EventTexts):
    """The weighted texts of a user make the vector that the source `semantic` searches around."""
    purchase = _purchase(first_stage, [0, 60, 61, 0, 120, 180, 0])
    (example,) = texts.examples([purchase], mined=0, mined_from=0, seed=1, step=STEP)
    vectors = np.load(release.file(VECTORS))
    user = example.weights @ vectors[example.context]
    cosines = vectors @ (user / np.linalg.norm(user))
    served = first_stage.retrieve([Request(history_item_ids=purchase.history, sources=["semantic"], limit=20)])[0]
    of_item = np.load(release.file(VECTOR_OF_ITEM))
    np.testing.assert_allclose(served.source_scores[:, 0], cosines[of_item[served.rows]], atol=1e-5)
    assert example.weights.sum() == pytest.approx(1.0)


def test_a_long_history_is_sampled_as_it_weighs(first_stage: FirstStage, texts: EventTexts):
    """On average over many draws each text weighs what it weighs in the served vector."""
    purchase = _purchase(first_stage, list(range(0, 200, 2)))
    drawn = texts.examples([purchase] * 400, mined=0, mined_from=0, seed=1, step=STEP)
    assert max(len(example.context) for example in drawn) <= 16
    mean = np.zeros(int(texts.of_item.max()) + 1)
    for example in drawn:
        mean[example.context] += example.weights / len(drawn)
    of_item = texts.of_item
    expected = np.zeros(int(texts.of_item.max()) + 1)
    decay = first_stage.settings.decay
    np.add.at(expected, of_item[list(range(0, 200, 2))], decay ** np.arange(99, -1, -1))
    assert np.abs(mean - expected / expected.sum()).max() < 0.01


def test_mined_items_are_near_and_were_never_taken(first_stage: FirstStage, texts: EventTexts):
    """Negatives come from the first stage's order for this user, after those passed over, without what was taken."""
    purchase = _purchase(first_stage, [0, 3, 6])
    near, far = (texts.examples([purchase], mined=4, mined_from=start, seed=1, step=STEP)[0] for start in (0, 4))
    taken = {int(text) for text in texts.of_item[[0, 3, 6, 200, 230]]}
    assert near.taken == taken
    assert near.items[0] == texts.of_item[200]
    assert len(near.items) == len(far.items) == 5
    assert not taken & {*near.items[1:].tolist(), *far.items[1:].tolist()}
    assert not set(near.items[1:].tolist()) & set(far.items[1:].tolist())
    found = first_stage.retrieve([Request(history_item_ids=purchase.history, limit=600)])[0]
    order = list(dict.fromkeys(texts.of_item[found.rows].tolist()))
    assert [text for text in order if text not in taken][:8] == [*near.items[1:].tolist(), *far.items[1:].tolist()]


def test_a_search_is_read_without_the_history(first_stage: FirstStage, texts: EventTexts):
    """With a query the served vector is the query's alone; a user of whom nothing is known teaches nothing."""
    searched = _purchase(first_stage, [0, 3, 6], "red milk")
    unknown = Purchase(START, ["never heard of"], "", searched.target, frozenset())
    (example,) = texts.examples([unknown, searched], mined=2, mined_from=0, seed=1, step=STEP)
    assert example.query is not None
    assert example.query.tolist() == [7]
    assert len(example.context) == 0

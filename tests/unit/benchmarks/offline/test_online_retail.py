"""Who is held out and who is asked."""

from __future__ import annotations

import polars as pl
import pytest

from benchmarks.offline.online_retail import KNOWN, UNSEEN, CustomerSplit, split_customers
from pipeline.data.dataset.dataset import Dataset


@pytest.fixture
def shop(tiny_dataset: Dataset) -> Dataset:
    """Return the tiny shop, one of whose sixty customers is a guest."""
    events = tiny_dataset.events.with_columns(known_user=pl.col("user_id") != "u7")
    return Dataset(tiny_dataset.items, events, None, tiny_dataset.report)


@pytest.fixture
def parted(shop: Dataset) -> CustomerSplit:
    return split_customers(shop, days=10, seed=7)


def test_nothing_of_those_held_out_is_known(shop: Dataset, parted: CustomerSplit):
    """A third of the customers is in no event that may be learned from, and in no baseline's; guests stay."""
    kept = set(parted.kept.events["user_id"])
    assert len(set(shop.events["user_id"]) - kept) == round(59 / 3)
    assert "u7" in kept
    for questions in parted.groups.values():
        assert questions.event_split is not None
        assert set(questions.event_split.before["user_id"]) <= kept
        assert questions.event_split.before["timestamp"].max() < questions.event_split.time


def test_everybody_who_buys_is_asked_with_what_came_before(shop: Dataset, parted: CustomerSplit):
    """Known customers are kept, unseen ones held out; histories end where what is wanted begins."""
    kept = set(parted.kept.events["user_id"])
    assert all(question.group in kept for question in parted.groups[KNOWN].asked)
    assert not any(question.group in kept for question in parted.groups[UNSEEN].asked)
    moment = parted.groups[KNOWN].before.moment  # type: ignore[union-attr]  # the test above asserts that it is there
    events = shop.events.filter(pl.col("known_user"))
    later = events.filter(pl.col("timestamp") >= moment)
    asked = [question for questions in parted.groups.values() for question in questions.main]
    assert {question.group for question in asked} == set(later["user_id"])
    one = asked[0]
    its = later.filter(pl.col("user_id") == one.group)
    assert set(one.relevant) == set(its["item_id"])
    assert len(one.history) == len(events.filter((pl.col("user_id") == one.group) & (pl.col("timestamp") < moment)))


def test_few_users_are_asked_when_told_so(shop: Dataset):
    """A quick run asks as many of each group."""
    assert [len(questions.main) for questions in split_customers(shop, 10, 7, users=3).groups.values()] == [3, 3]

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
def split(shop: Dataset) -> CustomerSplit:
    return split_customers(shop, days=10, seed=7)


def test_held_out_customers_are_in_no_training_data(shop: Dataset, split: CustomerSplit):
    """Neither the release nor a baseline learns from a third of the customers; guests stay."""
    known = set(split.training.events["user_id"])
    assert len(set(shop.events["user_id"]) - known) == round(59 / 3)
    assert "u7" in known
    for questions in split.groups.values():
        assert questions.event_split is not None
        assert set(questions.event_split.before["user_id"]) <= known
        assert questions.event_split.before["timestamp"].max() < questions.event_split.time


def test_every_customer_who_buys_is_a_question(shop: Dataset, split: CustomerSplit):
    """Known customers are in the training data, unseen ones are not; histories end where the test window begins."""
    known = set(split.training.events["user_id"])
    assert all(question.group in known for question in split.groups[KNOWN].main)
    assert not any(question.group in known for question in split.groups[UNSEEN].main)
    event_split = split.groups[KNOWN].event_split
    assert event_split is not None
    events = shop.events.filter(pl.col("known_user"))
    later = events.filter(pl.col("timestamp") >= event_split.time)
    questions = [question for group in split.groups.values() for question in group.main]
    assert {question.group for question in questions} == set(later["user_id"])
    one = questions[0]
    its = later.filter(pl.col("user_id") == one.group)
    assert set(one.relevant) == set(its["item_id"])
    assert len(one.history) == len(
        events.filter((pl.col("user_id") == one.group) & (pl.col("timestamp") < event_split.time))
    )


def test_the_number_of_users_is_limited(shop: Dataset):
    """Each group has at most the given number of users."""
    assert [len(questions.main) for questions in split_customers(shop, 10, 7, users=3).groups.values()] == [3, 3]

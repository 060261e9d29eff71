"""A shop with purchases and judged searches: both have a part in its release."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from common.release.store import Release
from pipeline.build.builder import build
from pipeline.build.steps.judged_searches import draw_searches
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.training_requests import ShopRequest
from pipeline.gate.questions import JUDGED
from pipeline.learning.examples.typed_searches import ItemWords
from pipeline.progress import ProgressReport
from pipeline.release.config.build_settings import BuildSettings

WORDS = ("milk", "cheese", "butter", "bread", "bagel", "muffin", "apple", "banana", "grape", "soap", "towel", "candle")


@pytest.fixture(scope="module")
def judged_shop(tiny_dataset: Dataset) -> Dataset:
    """The tiny shop with twelve judged searches, one for each of some words; the last four are of the test."""
    rows = [
        (f"some {word}", item_id, 2.0 if "fresh" in item_id else 1.0, "test" if number >= 8 else "train")
        for number, word in enumerate(WORDS)
        for item_id in tiny_dataset.items["item_id"].to_list()
        if f"-{word}-" in item_id
    ]
    judgements = pl.DataFrame(rows, ["query", "item_id", "relevance", "split"], orient="row")
    return Dataset(tiny_dataset.items, tiny_dataset.events, judgements, tiny_dataset.report)


@pytest.fixture(scope="module")
def release(judged_shop: Dataset, tiny_settings: BuildSettings, tmp_path_factory: pytest.TempPathFactory) -> Release:
    """A release of the shop."""
    store = tmp_path_factory.mktemp("judged")
    return build(judged_shop, store, tiny_settings, ProgressReport(Console(quiet=True)), force=True)


def test_searches_held_out_are_an_occasion_of_the_gate(release: Release):
    """Those of the split `test`, and no others."""
    gate = release.manifest.metrics["gate"]
    assert gate["occasions"][JUDGED]["requests"] == 4
    assert "judged queries are those held out" in gate["origin"]


def test_tiers_are_planned_by_judged_searches_and_for_new_items(release: Release):
    """A third of the searches to learn from is for the plan; searches stand for those of new items too."""
    measured = release.manifest.metrics["tiers"]
    assert measured["query"][0]["requests"] >= 2
    assert measured["new_items"][0]["requests"] >= measured["query"][0]["requests"]


def test_the_recipe_seasons_learns_from_both_too(
    judged_shop: Dataset, tiny_settings: BuildSettings, tmp_path: Path, tiny_dataset: Dataset
):
    """Its sources have other weights for searches than those learned from purchases alone."""
    changes = {"recipe": "seasons", "cross_encoder_depth": 0, "trees": 5, "boosters": 1, "valid_users": 20}
    settings = dataclasses.replace(tiny_settings, training_requests=200, **changes)
    quiet = ProgressReport(Console(quiet=True))
    files = []
    for name, dataset in (("both", judged_shop), ("events", tiny_dataset)):
        built = build(dataset, tmp_path / name, settings, quiet, force=True)
        files.append(built.file("retrieval.json").read_bytes())
        assert (JUDGED in built.manifest.metrics["gate"]["occasions"]) == (name == "both")
    assert files[0] != files[1]


def test_half_of_the_searches_are_as_people_type_them(tiny_dataset: Dataset, tiny_settings: BuildSettings):
    """The others are words of titles; shares of searches and of new users are those of the settings."""
    words = ItemWords.of(tiny_dataset.items)
    bought = np.random.default_rng(0).permutation(tiny_dataset.items["item_id"].to_list())
    requests = [ShopRequest(("x",), "", frozenset(bought[start : start + 3])) for start in range(200)]
    drawn = draw_searches(dataclasses.replace(tiny_settings, query_share=1.0, newcomer_share=0.0), requests, words, 1)
    titled = sum(
        any(set(one.query.split()) <= set(words.titles[item].split()) for item in request.bought)
        for one, request in zip(drawn, requests, strict=True)
    )
    assert all(one.query for one in drawn)
    assert 80 < titled < 180

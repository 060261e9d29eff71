"""Fixtures shared by all tests: a tiny shop, a tiny BERT, and a real release built from them."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from hypothesis import settings
from rich.console import Console

from pipeline.data.dataset.dataset import Dataset
from pipeline.progress import ProgressReport
from pipeline.release.config.build_settings import BuildSettings
from pipeline.release.config.training_settings import LateTraining
from testing import tiny_shop
from testing.redis_server import RedisServer, is_installed

# The suite draws the same examples each time: a new counterexample belongs into `make test-random`, where it is looked
# for, and not into somebody's unrelated change.
# A busy machine is no failure, so an example has no deadline.
settings.register_profile("shortlist", derandomize="SHORTLIST_RANDOM" not in os.environ, deadline=None)
settings.load_profile("shortlist")

# Servers of tests wait for a busy machine; tests of timeouts set their own.
os.environ.setdefault("SHORTLIST_RETRIEVAL_REQUEST_TIMEOUT_S", "60")
os.environ.setdefault("SHORTLIST_RANKING_REQUEST_TIMEOUT_S", "60")


def pytest_runtest_setup() -> None:
    """Let torch compute on one thread: tiny models lose more by waiting for a second core than they gain."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


def _build(dataset: Dataset, store: Path, settings: BuildSettings) -> None:
    from pipeline.build.builder import build  # noqa: PLC0415 - torch takes seconds to import, and most tests do without

    sys.modules["torch"].set_num_threads(1)
    build(dataset, store, settings, ProgressReport(Console(quiet=True)), force=True)


@pytest.fixture(scope="session")
def tiny_items() -> pl.DataFrame:
    """Return 240 items: three products of each kind, two of which share a text."""
    return tiny_shop.tiny_items()


@pytest.fixture(scope="session")
def tiny_events(tiny_items: pl.DataFrame) -> pl.DataFrame:
    """Return purchases of 60 users, each of whom buys from one category, some items repeatedly."""
    return tiny_shop.tiny_events(tiny_items)


@pytest.fixture(scope="session")
def tiny_base_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a BERT of two layers, 32 wide, with seeded random weights, and its tokenizer."""
    return tiny_shop.tiny_base_model(tmp_path_factory.mktemp("base-model"))


@pytest.fixture(scope="session")
def tiny_settings(tiny_base_model: Path) -> BuildSettings:
    """Return settings that build a release of the tiny shop in a few seconds."""
    return tiny_shop.tiny_settings(tiny_base_model)


@pytest.fixture(scope="session")
def tiny_dataset(tiny_items: pl.DataFrame, tiny_events: pl.DataFrame) -> Dataset:
    """Return the tiny shop as a dataset."""
    return tiny_shop.tiny_dataset(tiny_items, tiny_events)


@pytest.fixture(scope="session")
def tiny_release(tiny_dataset: Dataset, tiny_settings: BuildSettings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store with a release of the tiny shop, built by the real pipeline. Copy it before altering it.

    It is current whatever its gate says: its base model has random weights, and every tier reads.
    """
    store = tmp_path_factory.mktemp("releases") / "tiny"
    _build(tiny_dataset, store, tiny_settings)
    return store


@pytest.fixture(scope="session")
def late_shop(tiny_dataset: Dataset, tiny_settings: BuildSettings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store with a release of the tiny shop that has late interaction, built by the real pipeline."""
    store = tmp_path_factory.mktemp("late-releases") / "tiny"
    late = LateTraining(layers=2, width=8, requests_per_step=8, epochs=2)
    settings = replace(tiny_settings, late_bits=8, late_lists=30, late=late)
    _build(tiny_dataset, store, settings)
    return store


@pytest.fixture(scope="session")
def _redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    if not is_installed():
        pytest.skip("redis-server is not installed; make test installs it as root through apt-get")
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.close()


@pytest.fixture
def redis(_redis: RedisServer) -> Iterator[RedisServer]:
    """Return an empty Redis server; a test may kill or suspend it."""
    _redis.client.flushall()
    yield _redis
    _redis.signal(signal.SIGCONT)
    _redis.start()

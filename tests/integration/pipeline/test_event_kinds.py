"""A shop with views, carts and purchases, from its events to the features of a call."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from rich.console import Console
from shortlist.ranking.v1 import ranking_pb2
from shortlist.ranking.v1.ranking_pb2_grpc import RankingServiceStub

from common.release import layout
from common.release.catalogue import Catalogue
from common.release.event_weights import EventKind
from common.release.item_graph import ItemGraph
from common.release.store import Release
from common.server.channel import open_channel
from pipeline.build.builder import build
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.temporal_split import UserSplit
from pipeline.data.dataset.training_requests import ShopRequest
from pipeline.learning.examples.labelled_candidates import label_candidates
from pipeline.measurement.questions.protocols import Questions, make_questions
from pipeline.progress import ProgressReport
from pipeline.release.config.build_settings import BuildSettings
from services.gateway.backends.grpc_clients import GrpcRanking
from services.gateway.backends.replicas.replica import Replica
from services.gateway.backends.replicas.replica_set import ReplicaSet
from services.gateway.candidates import Candidate
from services.gateway.profiles.profile_store import Event
from services.gateway.profiles.sqlite_store import SqliteProfileStore
from services.gateway.recommendation.request import RecommendRequest
from services.gateway.recommendation.user_input import join_history
from services.ranking.features.feature_set import FeatureSet
from services.ranking.features.item_tables import ItemTables
from services.ranking.features.settings import FusionSettings
from services.ranking.server.request_messages import parse_user
from services.retrieval.candidates.first_stage import FirstStage
from testing.gateway_backends import Backends

_SHELF_OF_VIEWS = "household"


@pytest.fixture(scope="module")
def mixed(tiny_dataset: Dataset) -> Dataset:
    """Return the tiny shop, where each purchase is preceded by a cart and by a view of one household item."""
    bought = tiny_dataset.events
    shelf = tiny_dataset.items.filter(pl.col("category") == _SHELF_OF_VIEWS)["item_id"].head(1).item()
    views = _earlier(bought, "view", 2).with_columns(pl.lit(shelf).alias("item_id"))
    events = pl.concat([bought, views, _earlier(bought, "cart", 1)])
    return Dataset(tiny_dataset.items, events, None, tiny_dataset.report)


def _earlier(events: pl.DataFrame, kind: str, hours: int) -> pl.DataFrame:
    return events.with_columns(
        pl.lit(kind).alias("event"),
        (pl.lit(kind) + pl.col("event_id")).alias("event_id"),
        pl.col("timestamp") - timedelta(hours=hours),
    )


@pytest.fixture(scope="module")
def console() -> Console:
    """Return what the build prints."""
    return Console(record=True, width=200)


@pytest.fixture(scope="module")
def mixed_release(
    mixed: Dataset, tiny_settings: BuildSettings, console: Console, tmp_path_factory: pytest.TempPathFactory
) -> Release:
    """Return its release, in which a view counts a tenth and what a cart counts is learned."""
    settings = replace(tiny_settings, event_weights=("view=0.1",))
    return build(mixed, tmp_path_factory.mktemp("mixed"), settings, ProgressReport(console))


def _questions(mixed: Dataset, release: Release) -> Questions:
    return make_questions(mixed, release.manifest.settings, "temporal", users=None, seed=7)


def test_the_build_says_what_events_count(mixed_release: Release, console: Console):
    """Set and learned weights are printed, and are in the manifest and in what both stages read."""
    printed = console.export_text(clear=False)
    assert "What events count: view 0.1 (as set), cart" in printed
    assert "purchase 1 (what is predicted)" in printed
    stated = dict(pair.split("=") for pair in mixed_release.manifest.settings["event_weights"])
    assert stated.keys() == {"view", "cart", "purchase"}
    weights = FusionSettings.load(mixed_release).events
    assert weights.targets == ("purchase",)
    assert {kind: weights.weights[kind] for kind in stated} == {kind: float(value) for kind, value in stated.items()}
    with closing(FirstStage.load(mixed_release)) as first_stage:
        assert first_stage.settings.events == weights


def test_a_view_is_no_purchase_in_the_tables(mixed: Dataset, mixed_release: Release):
    """The item that everybody views is not the most popular, and nobody who viewed it twice bought it again."""
    catalogue = Catalogue.open(mixed_release.file(layout.CATALOGUE))
    viewed = mixed.events.filter(pl.col("event") == "view")["item_id"].first()
    assert isinstance(viewed, str)
    row = int(catalogue.rows_of([viewed])[0])
    popularity = np.load(mixed_release.file(layout.POPULARITY))
    buyers = mixed.events.filter((pl.col("event") == "purchase") & (pl.col("item_id") == viewed))["user_id"].n_unique()
    users = mixed.events["user_id"].n_unique()
    assert popularity[row] <= buyers + 0.1 * users
    repeat = ItemGraph.from_release(mixed_release, "repeat")
    weights = repeat.weights[repeat.indptr[row] : repeat.indptr[row + 1]]
    assert weights.max(initial=0.0) < repeat.weights.max()


def test_views_are_never_the_answer_to_a_question(mixed: Dataset, mixed_release: Release):
    """What is relevant was bought; the histories have views, and say so."""
    bought = mixed.events.filter(pl.col("event") == "purchase").select("user_id", "item_id").unique()
    pairs = set(bought.iter_rows())
    questions = _questions(mixed, mixed_release).main
    assert questions
    assert all((question.group, item) in pairs for question in questions for item in question.relevant)
    assert {kind for question in questions for kind in question.history_kinds} == {1, 2, 3}


@pytest.fixture
async def told(tmp_path: Path, mixed: Dataset, mixed_release: Release) -> tuple[UserSplit, Any]:
    """Return a user of the questions, and the user context that ranking receives if its events were recorded."""
    questions = _questions(mixed, mixed_release)
    assert questions.event_split is not None
    question, time = questions.main[0], questions.event_split.time
    moment_us = _micros(time)
    events = mixed.events.filter((pl.col("user_id") == question.group) & (pl.col("timestamp") < time))
    profiles = SqliteProfileStore(tmp_path / "profiles.sqlite3")
    await profiles.record_events(
        [
            Event(event_id, question.group, EventKind.from_word(kind), _micros(at), item_id)
            for event_id, kind, at, item_id in events.sort("timestamp", maintain_order=True)
            .select("event_id", "event", "timestamp", "item_id")
            .iter_rows()
        ]
    )
    profile = await profiles.read_profile(question.group, 1_000)
    await profiles.close()
    user = join_history("", profile, RecommendRequest(user_id=question.group), moment_us)
    backends = Backends()
    await backends.start()
    try:
        async with open_channel(backends.ranking_target) as channel:
            replicas = ReplicaSet("ranking", [Replica("ranking", "here", channel, RankingServiceStub)])
            await GrpcRanking(replicas).rank(user, [Candidate("i", 1.0)], "r", 60.0)
    finally:
        await backends.stop()
    split = UserSplit(
        question.group, list(question.history), set(question.relevant), question.history_kinds, question.history_ages_s
    )
    return split, backends.ranking.requests[0].user


def _micros(time: datetime) -> int:
    return round((time.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1))


async def test_features_of_recorded_events_are_those_of_training(
    told: tuple[UserSplit, ranking_pb2.UserContext], mixed_release: Release
):
    """The same events, through the profile store and the contract or through the dataset, give the same bits."""
    split, message = told
    asked = [ShopRequest(split.history, "", frozenset(split.held_out), split.kinds, split.ages_s)]
    with closing(FirstStage.load(mixed_release)) as first_stage:
        step = ProgressReport(Console(quiet=True))
        with step.step("", 1) as progress:
            (example,) = label_candidates(first_stage, asked, 30, progress)
    settings = FusionSettings.load(mixed_release)
    catalogue = Catalogue.open(mixed_release.file(layout.CATALOGUE))
    features = FeatureSet(settings.features, ItemTables(mixed_release, catalogue))
    served = parse_user(ranking_pb2.UserContext.FromString(message.SerializeToString()), catalogue, settings.events)
    assert served.rows.history.tolist() == example.user.history.tolist()
    online = features.matrix(served.rows, example.candidates)
    assert online.tobytes() == features.matrix(example.user, example.candidates).tobytes()
    used = _columns(features.names, online, "interest_events", "interest_weight", "repeat_count")
    assert (used["interest_events"] > 0).all()
    assert used["repeat_count"].max() <= sum(kind == EventKind.PURCHASE for kind in split.kinds)


def _columns(names: Sequence[str], matrix: Any, *wanted: str) -> dict[str, Any]:
    return {name: matrix[:, names.index(name)] for name in wanted}

"""A release with a cross-encoder of fewer bits, layers and tokens, built by the pipeline and served."""

from __future__ import annotations

import dataclasses

import polars as pl
import pytest
from rich.console import Console
from shortlist.ranking.v1 import ranking_pb2, ranking_pb2_grpc
from shortlist.release.v1 import release_pb2, release_pb2_grpc

from common.release.catalogue import Catalogue
from common.release.layout import CATALOGUE, CROSS_ENCODER_TOKENIZER, ENCODER_TOKENIZER
from common.release.store import Release
from common.server.channel import open_channel
from common.server.server import running
from common.server.telemetry import Metrics
from pipeline.build.builder import build
from pipeline.data.dataset.dataset import Dataset
from pipeline.progress import ProgressReport
from pipeline.release.config.build_settings import BuildSettings
from pipeline.release.models.tokenizer import plain_tokenizer
from services.ranking.server.server import RankingServer
from services.ranking.settings import Settings

TIMEOUT_S = 20.0


@pytest.fixture(scope="module")
def food(tiny_dataset: Dataset) -> Dataset:
    """Return the tiny shop without one category, whose words only the base model knows."""
    items = tiny_dataset.items.filter(pl.col("category") != "household")
    events = tiny_dataset.events.join(items.select("item_id"), on="item_id", how="semi")
    return Dataset(items, events, None, tiny_dataset.report)


@pytest.fixture(scope="module")
def compressed(food: Dataset, tiny_settings: BuildSettings, tmp_path_factory: pytest.TempPathFactory) -> Release:
    # The tiny shop's cross-encoder has learnt little, so that half of its layers and a swap may cost much.
    settings = dataclasses.replace(
        tiny_settings, precision="int8", student_layers=1, trim_vocabulary=True, max_ndcg_loss=0.5
    )
    return build(food, tmp_path_factory.mktemp("compressed"), settings, ProgressReport(Console(quiet=True)))


def test_the_release_tells_what_compressing_cost(compressed: Release):
    """The manifest has precision, sizes and NDCG before and after, and the origin of the model."""
    card, found = compressed.manifest.models["cross_encoder"], compressed.manifest.metrics["compression"]
    assert set(found) == {"trimmed vocabulary", "student", "int8"}
    assert card.precision == "int8"
    assert "vocabulary trimmed to " in card.base_model_origin
    assert "by a cross-encoder of 2 layers" in card.trained_on
    assert found["int8"]["batch_dependence"] <= 1e-5
    assert found["int8"]["bytes"] == compressed.manifest.files["ranker/model.onnx"].bytes
    assert found["int8"]["bytes"] < found["student"]["bytes"] < found["student"]["bytes_before"]


def test_a_trimmed_vocabulary_changes_no_score_of_what_is_sold(compressed: Release):
    """The order on validation is that of the full vocabulary, and the model is smaller."""
    found = compressed.manifest.metrics["compression"]["trimmed vocabulary"]
    assert found["ndcg"] == found["ndcg_before"]
    assert found["logit_error"] < 1e-5
    assert found["bytes"] < found["bytes_before"]


def test_every_model_of_the_release_reads_the_same_tokens(compressed: Release):
    """Encoder, cross-encoder and the catalogue's tokens have the same trimmed vocabulary."""
    read, embedded = (
        plain_tokenizer(str(compressed.file(name))) for name in (CROSS_ENCODER_TOKENIZER, ENCODER_TOKENIZER)
    )
    assert read.get_vocab() == embedded.get_vocab()
    assert "milk" in read.get_vocab()
    assert "soap" not in read.get_vocab()
    catalogue = Catalogue.open(compressed.file(CATALOGUE))
    row = int(catalogue.rows_of(["dairy-milk-red-0"])[0])
    tokens = catalogue.tokens[catalogue.token_offsets[row] : catalogue.token_offsets[row + 1]]
    assert [read.id_to_token(token) for token in tokens] == ["red", "milk", ".", "acme", ".", "dairy"]


async def test_served_scores_do_not_depend_on_batch_mates(compressed: Release):
    """GetRelease has int8, and a candidate has the same logit alone and among forty others."""
    settings = Settings(release=str(compressed.path), port=0, metrics_port=0, score_cache_size=0, request_timeout_s=60)
    metrics = Metrics("ranking")
    ids = Catalogue.open(compressed.file(CATALOGUE)).item_ids[:40]
    async with (
        running(RankingServer(settings, metrics), settings, metrics) as ports,
        open_channel(f"127.0.0.1:{ports.port}") as channel,
    ):
        answer = await release_pb2_grpc.ReleaseServiceStub(channel).GetRelease(release_pb2.GetReleaseRequest())
        assert {model.name: model.precision for model in answer.release.models}["cross_encoder"] == "int8"
        together = await _logits(channel, ids)
        alone = [(await _logits(channel, [item_id]))[0] for item_id in ids[:5]]
    assert together[:5] == pytest.approx(alone, abs=1e-5)


async def _logits(channel: object, ids: list[str]) -> list[float]:
    request = ranking_pb2.RankRequest(
        user=ranking_pb2.UserContext(query="fresh milk"),
        candidates=[ranking_pb2.RankCandidate(item_id=item_id) for item_id in ids],
        cross_encoder_depth=len(ids),
    )
    answer = await ranking_pb2_grpc.RankingServiceStub(channel).Rank(request, timeout=TIMEOUT_S)
    return [item.cross_encoder_logit for item in answer.items]

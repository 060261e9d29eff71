"""A release with an int8 cross-encoder, built by the pipeline and served."""

from __future__ import annotations

import dataclasses

import pytest
from rich.console import Console
from shortlist.ranking.v1 import ranking_pb2, ranking_pb2_grpc
from shortlist.release.v1 import release_pb2, release_pb2_grpc

from common.catalogue import Catalogue
from common.channel import open_channel
from common.layout import CATALOGUE
from common.release import Release
from common.server import running
from common.telemetry import Metrics
from pipeline.build import build
from pipeline.build_settings import BuildSettings
from pipeline.dataset import Dataset
from pipeline.progress import ProgressReport
from services.ranking.service import RankingServer
from services.ranking.settings import Settings

TIMEOUT_S = 20.0


@pytest.fixture(scope="module")
def int8_release(
    tiny_dataset: Dataset, tiny_settings: BuildSettings, tmp_path_factory: pytest.TempPathFactory
) -> Release:
    # The tiny shop's cross-encoder has learnt little, so a swap of two candidates may cost more than a percent.
    settings = dataclasses.replace(tiny_settings, precision="int8", max_ndcg_loss=0.2)
    return build(tiny_dataset, tmp_path_factory.mktemp("int8"), settings, ProgressReport(Console(quiet=True)))


def test_the_release_tells_what_int8_cost(int8_release: Release):
    """The manifest holds precision, sizes and NDCG before and after."""
    manifest = int8_release.manifest
    assert manifest.models["cross_encoder"].precision == "int8"
    assert manifest.metrics["compression"]["batch_dependence"] <= 1e-5
    assert manifest.metrics["compression"]["bytes"] == manifest.files["ranker/model.onnx"].bytes


async def test_served_scores_do_not_depend_on_batch_mates(int8_release: Release):
    """GetRelease says int8, and a candidate's logit is the same alone as among forty others."""
    settings = Settings(release=str(int8_release.path), port=0, metrics_port=0, cached_scores=0, request_timeout_s=60)
    metrics = Metrics("ranking")
    ids = Catalogue.open(int8_release.file(CATALOGUE)).item_ids[:40]
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
        person=ranking_pb2.PersonContext(query="fresh milk"),
        candidates=[ranking_pb2.RankCandidate(item_id=item_id) for item_id in ids],
        cross_encoder_depth=len(ids),
    )
    answer = await ranking_pb2_grpc.RankingServiceStub(channel).Rank(request, timeout=TIMEOUT_S)
    return [item.cross_encoder_logit for item in answer.items]

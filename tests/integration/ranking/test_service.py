"""The ranking service over the wire, on a small real release."""

from __future__ import annotations

import asyncio
import json
import shutil
import urllib.request
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from shortlist.ranking.v1 import ranking_pb2, ranking_pb2_grpc
from shortlist.release.v1 import release_pb2
from shortlist.retrieval.v1 import retrieval_pb2

from common.errors import BadRelease
from common.release.layout import RANKER_SETTINGS
from common.release.manifest import compute_release_id, describe_files
from common.release.store import open_release, publish
from common.server.channel import open_channel
from common.server.server import running
from common.server.telemetry import Metrics
from services.ranking.server.server import RankingServer
from services.ranking.server.service import NAME
from services.ranking.settings import Settings

TIMEOUT_S = 20.0


def _candidate(item_id: Any, **fields: Any) -> Any:
    return ranking_pb2.RankCandidate(item_id=item_id, **fields)


def _metrics(service: Any) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{service.metrics_port}/metrics") as answer:
        return answer.read().decode()


def _user(history: list[int] = (), query: str = "") -> Any:
    return ranking_pb2.UserContext(query=query, history_item_ids=history)


async def test_answers_come_in_the_order_of_the_request(service: Any, ids: list[str]):
    """Each candidate has its index, id, probability and logit; timings have pairs, tokens and milliseconds."""
    asked = ids[30:10:-1]
    response = await service.rank(asked, user=_user(ids[:3]))
    assert [item.item_id for item in response.items] == asked
    assert [item.index for item in response.items] == list(range(20))
    assert all(0 < item.probability < 1 for item in response.items)
    assert all(item.HasField("cross_encoder_logit") for item in response.items)
    assert response.release_id == service.server._live.current_id
    assert response.timings.pairs == 20
    assert response.timings.padded_tokens > 0
    assert response.timings.total_ms >= response.timings.fuse_ms > 0


async def test_columns_are_ranked_as_candidates_are(service: Any, ids: list[str]):
    """The same items with the same scores have the same probabilities, whichever form they are given in."""
    scores = [0.5, 0.25, float("nan"), 1.0]
    column = retrieval_pb2.SourceColumn(source="semantic", scores=scores)
    first_stage = [4.0, 3.0, 2.0, 1.0]
    columns = ranking_pb2.CandidateColumns(
        item_ids=ids[:4], first_stage_scores=first_stage, sources=[column], texts=["", "soap", "", ""]
    )
    candidates = [
        _candidate(
            item_id,
            first_stage_score=fused,
            text=text or None,
            sources=[retrieval_pb2.SourceScore(source="semantic", score=score)] if score == score else [],  # noqa: PLR0124
        )
        for item_id, fused, text, score in zip(ids[:4], first_stage, columns.texts, scores, strict=True)
    ]
    user = _user(ids[:3], "bread")
    plain = await service.rank(candidates, user=user)
    answer = await service.ranking.Rank(ranking_pb2.RankRequest(user=user, columns=columns), timeout=TIMEOUT_S)
    assert list(answer.columns.probabilities) == pytest.approx([item.probability for item in plain.items], abs=1e-6)
    assert list(answer.columns.tiers) == [item.tier for item in plain.items]
    assert not answer.items


async def test_the_default_depth_is_the_releases(tiny_release: Path, ids: list[str]):
    """If neither request nor settings have a depth, the release's depth applies."""
    settings, metrics = Settings(release=str(tiny_release), port=0, metrics_port=0), Metrics("ranking")
    server = RankingServer(settings, metrics)
    async with running(server, settings, metrics) as ports, open_channel(f"127.0.0.1:{ports.port}") as channel:
        response = await ranking_pb2_grpc.RankingServiceStub(channel).Rank(
            ranking_pb2.RankRequest(candidates=[_candidate(item_id) for item_id in ids[:30]]), timeout=TIMEOUT_S
        )
    depth = json.loads(open_release(str(tiny_release)).file(RANKER_SETTINGS).read_text())["depth"]
    assert sum(item.HasField("cross_encoder_logit") for item in response.items) == depth < 30


async def test_an_item_may_have_another_text(service: Any, ids: list[str]):
    """An item with another text keeps its behaviour features, and the cross-encoder scores that text."""
    user = _user([ids[0], ids[0]], "bread")
    plain, other = [await service.rank([_candidate(ids[0], **text)], user=user) for text in ({}, {"text": "soap"})]
    explained = [
        await service.ranking.Explain(ranking_pb2.ExplainRequest(user=user, candidate=_candidate(ids[0], **text)))
        for text in ({}, {"text": "soap"})
    ]
    assert plain.items[0].item_id == other.items[0].item_id == ids[0]
    assert plain.items[0].cross_encoder_logit != other.items[0].cross_encoder_logit
    counts = [{one.name: one.value for one in answer.features}["repeat_count"] for answer in explained]
    assert counts == [2.0, 2.0]


async def test_answers_are_sorted_on_request(service: Any, ids: list[str]):
    """With `sort`, the same items are sorted by probability and keep their index."""
    plain = await service.rank(ids[:30], user=_user(ids[:3], "milk"))
    best = await service.rank(ids[:30], user=_user(ids[:3], "milk"), sort=True)
    probabilities = [item.probability for item in best.items]
    assert probabilities == sorted(probabilities, reverse=True)
    assert {item.index: item.item_id for item in best.items} == {item.index: item.item_id for item in plain.items}


async def test_the_requests_depth_limits_the_cross_encoder(service: Any, ids: list[str]):
    """At most the request's depth has a logit, 0 included."""
    response = await service.rank(ids[:30], cross_encoder_depth=5)
    assert sum(item.HasField("cross_encoder_logit") for item in response.items) == 5
    response = await service.rank(ids[:30], cross_encoder_depth=0)
    assert not any(item.HasField("cross_encoder_logit") for item in response.items)
    assert response.timings.pairs == 0


async def test_the_answer_says_what_was_planned_and_done(service: Any, ids: list[str]):
    """The cross-encoder's planned and scored candidates are in the answer and counted; late interaction is not."""
    (use,) = (await service.rank(ids[:30], cross_encoder_depth=5)).tiers
    assert use == ranking_pb2.TierUse(tier=ranking_pb2.TIER_CROSS_ENCODER, planned_items=5, scored_items=5)
    assert not (await service.rank(ids[:30], cross_encoder_depth=0)).tiers
    exported = await asyncio.to_thread(_metrics, service)
    assert 'shortlist_ranking_tier_items_total{outcome="scored",tier="cross_encoder"} 5.0' in exported
    assert 'shortlist_ranking_tier_items_total{outcome="left_out",tier="cross_encoder"} 0.0' in exported


async def test_texts_and_items_are_ranked_together(service: Any, ids: list[str]):
    """A candidate without an id is ranked by its text."""
    response = await service.rank([ids[0], ranking_pb2.RankCandidate(text="fresh butter. acme")])
    assert response.items[1].item_id == ""
    assert response.items[1].HasField("cross_encoder_logit")


async def test_any_first_stage_scores_are_accepted(service: Any, ids: list[str]):
    """Scores of known and unknown sources, infinite and missing scores are accepted."""
    sources = [
        retrieval_pb2.SourceScore(source="semantic", score=0.7),
        retrieval_pb2.SourceScore(source="unheard_of", score=1.0),
        retrieval_pb2.SourceScore(source="popular", score=float("inf")),
    ]
    response = await service.rank([_candidate(ids[0], sources=sources, first_stage_score=1e300), ids[1]])
    assert all(np.isfinite(item.probability) for item in response.items)


async def test_unknown_history_items_are_counted(service: Any, ids: list[str]):
    """History items that the release does not have change only the count."""
    with_unknown = await service.rank(ids[:5], user=_user(["gone", *ids[:3], "gone too"]))
    without = await service.rank(ids[:5], user=_user(ids[:3]))
    assert with_unknown.ignored_history_items == 2
    assert [item.probability for item in with_unknown.items] == [item.probability for item in without.items]


async def test_an_explanation_has_words_items_and_features(service: Any, ids: list[str]):
    """Explain returns words of item and query, history items and features, with the probability of Rank."""
    request = ranking_pb2.ExplainRequest(
        user=_user([ids[5], ids[7], ids[5]], "fresh milk"), candidate=_candidate(ids[0])
    )
    response = await service.ranking.Explain(request, timeout=TIMEOUT_S)
    ranked = await service.rank([ids[0]], user=request.user)
    assert response.probability == pytest.approx(ranked.items[0].probability, abs=1e-5)
    assert response.cross_encoder_logit == pytest.approx(ranked.items[0].cross_encoder_logit, abs=1e-5)
    assert [one.part for one in response.query_words] == ["fresh", "milk"]
    assert [one.part for one in response.history_items] == [ids[5], ids[7]]
    assert len(response.item_words) >= 2
    assert [one.name for one in response.features] == sorted(one.name for one in response.features)


async def test_explaining_nothing_is_refused(service: Any):
    """A candidate is required."""
    await service.refused(
        service.ranking.Explain(ranking_pb2.ExplainRequest(), timeout=TIMEOUT_S),
        grpc.StatusCode.INVALID_ARGUMENT,
        "candidate: required",
    )


async def test_the_served_release_is_described(service: Any):
    """GetRelease has models, precision, provider and limits; health is SERVING."""
    info = (await service.release.GetRelease(release_pb2.GetReleaseRequest(), timeout=TIMEOUT_S)).release
    assert info.service == "ranking"
    assert {(model.name, model.precision, model.execution_provider) for model in info.models} == {
        ("cross_encoder", "fp32", "CPUExecutionProvider"),
        ("fusion", "fp32", "CPUExecutionProvider"),
    }
    assert info.limits["candidates"] == 2_000
    health = health_pb2_grpc.HealthStub(service.channel)
    answer = await health.Check(health_pb2.HealthCheckRequest(service=NAME), timeout=TIMEOUT_S)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_a_swap_keeps_the_previous_release(service: Any, ids: list[str], tiny_release: Path, tmp_path: Path):
    """After a swap the new release answers, and the old one for calls that name it."""
    old = open_release(str(tiny_release))
    new = _republished(old, tmp_path)
    await service.release.ActivateRelease(release_pb2.ActivateReleaseRequest(location=str(new)), timeout=TIMEOUT_S)
    current = await service.rank(ids[:3])
    previous = await service.rank(ids[:3], release_id=old.id)
    assert current.release_id != previous.release_id == old.id
    await service.refused(service.rank(ids[:3], release_id="another"), grpc.StatusCode.NOT_FOUND, "another")


def _republished(release: Any, tmp_path: Path) -> Any:
    """Publish the same files as a release with another id."""
    shutil.copytree(release.path, tmp_path / "staging")
    (tmp_path / "staging" / "manifest.json").unlink()
    files = describe_files(tmp_path / "staging")
    settings = {**release.manifest.settings, "again": True}
    named = compute_release_id(files, release.manifest.data, settings, release.manifest.models)
    update = {"release_id": named, "files": files, "settings": settings}
    publish(tmp_path / "staging", tmp_path / "store", release.manifest.model_copy(update=update))
    return tmp_path / "store"


async def test_a_bad_release_does_not_start(tmp_path: Path):
    """Without a release the server does not start, and the error names the folder."""
    settings, metrics = Settings(release=str(tmp_path), port=0, metrics_port=0), Metrics("ranking")
    with pytest.raises(BadRelease, match="has no release"):
        async with running(RankingServer(settings, metrics), settings, metrics):
            pass


async def test_metrics_are_exported(service: Any, ids: list[str]):
    """Metrics have queue, batches, padding, outcomes, refusals, stages and models."""
    await service.rank(ids[:50], user=_user(["gone"]))
    await service.rank(ids[:50], user=_user(["gone"]))
    with pytest.raises(grpc.aio.AioRpcError):
        await service.rank(ids[:1], wait_s=0.0019)
    text = await asyncio.to_thread(_metrics, service)
    for line in (
        "shortlist_ranking_queued_pairs 0.0",
        'shortlist_ranking_pairs_total{outcome="read"} 50.0',
        'shortlist_ranking_pairs_total{outcome="reused"} 50.0',
        "shortlist_ranking_ignored_history_items_total 2.0",
        'shortlist_ranking_refused_total{reason="queue_full"} 0.0',
        'cross_encoder_provider="CPUExecutionProvider"',
        'shortlist_ranking_stage_seconds_count{stage="tokenise"}',
        "shortlist_ranking_batch_tokens_count",
        "shortlist_ranking_padding_tokens_total",
    ):
        assert line in text

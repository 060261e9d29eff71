"""Ranking and explaining over the wire, on a small real release."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shortlist.ranking.v1 import ranking_pb2
from shortlist.retrieval.v1 import retrieval_pb2

from common.release.layout import RANKER_SETTINGS
from common.release.store import open_release

TIMEOUT_S = 20.0


def candidate(item_id: Any, **fields: Any) -> Any:
    """Return a candidate by its id."""
    return ranking_pb2.RankCandidate(item_id=item_id, **fields)


def user_context(history: Any = (), query: str = "") -> Any:
    """Return a user."""
    return ranking_pb2.UserContext(query=query, history_item_ids=history)


async def test_answers_come_in_the_order_of_the_request(service: Any, ids: list[str]):
    """Each candidate has its place, id, probability and logit; the timings say what was done."""
    asked = ids[30:10:-1]
    response = await service.rank(asked, user=user_context(ids[:3]))
    assert [item.item_id for item in response.items] == asked
    assert [item.index for item in response.items] == list(range(20))
    assert all(0 < item.probability < 1 for item in response.items)
    assert all(item.HasField("cross_encoder_logit") for item in response.items)
    assert response.release_id == service.server._live.current_id
    assert response.timings.pairs == 20
    assert response.timings.padded_tokens > 0
    assert response.timings.total_ms >= response.timings.fuse_ms > 0


async def test_the_release_decides_the_depth_if_nobody_else_does(
    serve: Callable[..., Any], tiny_release: Path, ids: list[str]
):
    """If neither request nor server sets a depth, the cross-encoder reads as many as the release says."""
    response = await (await serve(cross_encoder_depth=None)).rank(ids[:30])
    depth = json.loads(open_release(str(tiny_release)).file(RANKER_SETTINGS).read_text())["depth"]
    assert sum(item.HasField("cross_encoder_logit") for item in response.items) == depth < 30


async def test_another_text_of_an_item_is_read_beside_its_id(service: Any, ids: list[str]):
    """An item of the release given with another text keeps its behaviour, and the cross-encoder reads that text."""
    user = user_context([ids[0], ids[0]], "bread")
    plain, other = [await service.rank([candidate(ids[0], **text)], user=user) for text in ({}, {"text": "soap"})]
    explained = [
        await service.ranking.Explain(ranking_pb2.ExplainRequest(user=user, candidate=candidate(ids[0], **text)))
        for text in ({}, {"text": "soap"})
    ]
    assert plain.items[0].item_id == other.items[0].item_id == ids[0]
    assert plain.items[0].cross_encoder_logit != other.items[0].cross_encoder_logit
    counts = [{one.name: one.value for one in answer.features}["repeat_count"] for answer in explained]
    assert counts == [2.0, 2.0]


async def test_best_first_on_demand(service: Any, ids: list[str]):
    """With `sort`, the same items come by falling probability and keep their index."""
    plain = await service.rank(ids[:30], user=user_context(ids[:3], "milk"))
    best = await service.rank(ids[:30], user=user_context(ids[:3], "milk"), sort=True)
    probabilities = [item.probability for item in best.items]
    assert probabilities == sorted(probabilities, reverse=True)
    assert {item.index: item.item_id for item in best.items} == {item.index: item.item_id for item in plain.items}


async def test_depth_bounds_what_the_cross_encoder_reads(service: Any, ids: list[str]):
    """The request's depth counts, 0 too; what was not read has no logit."""
    response = await service.rank(ids[:30], cross_encoder_depth=5)
    assert sum(item.HasField("cross_encoder_logit") for item in response.items) == 5
    response = await service.rank(ids[:30], cross_encoder_depth=0)
    assert not any(item.HasField("cross_encoder_logit") for item in response.items)
    assert response.timings.pairs == 0


async def test_texts_are_ranked_beside_items(service: Any, ids: list[str]):
    """A candidate given by its text has no id and a probability."""
    response = await service.rank([ids[0], ranking_pb2.RankCandidate(text="fresh butter. acme")])
    assert response.items[1].item_id == ""
    assert response.items[1].HasField("cross_encoder_logit")


async def test_the_first_stages_scores_are_taken(service: Any, ids: list[str]):
    """Scores of known and unknown sources, infinite ones and none at all are all fine."""
    sources = [
        retrieval_pb2.SourceScore(source="semantic", score=0.7),
        retrieval_pb2.SourceScore(source="unheard_of", score=1.0),
        retrieval_pb2.SourceScore(source="popular", score=float("inf")),
    ]
    response = await service.rank([candidate(ids[0], sources=sources, first_stage_score=1e300), ids[1]])
    assert all(np.isfinite(item.probability) for item in response.items)


async def test_unknown_history_items_are_counted(service: Any, ids: list[str]):
    """Items that the release does not know change nothing but the count."""
    with_unknown = await service.rank(ids[:5], user=user_context(["gone", *ids[:3], "gone too"]))
    without = await service.rank(ids[:5], user=user_context(ids[:3]))
    assert with_unknown.ignored_history_items == 2
    assert [item.probability for item in with_unknown.items] == [item.probability for item in without.items]


async def test_the_largest_request_is_answered(service: Any, ids: list[str]):
    """2,000 candidates with repeats and 10,000 history items are within the limits."""
    response = await service.rank((ids * 10)[:2_000], user=user_context((ids * 50)[:10_000], "milk"), priority=2)
    assert len(response.items) == 2_000


async def test_explanations_name_the_parts(service: Any, ids: list[str]):
    """Words of item and query, history items and features come with the probability that Rank gives."""
    request = ranking_pb2.ExplainRequest(
        user=user_context([ids[5], ids[7], ids[5]], "fresh milk"), candidate=candidate(ids[0])
    )
    response = await service.ranking.Explain(request, timeout=TIMEOUT_S)
    ranked = await service.rank([ids[0]], user=request.user)
    assert response.probability == pytest.approx(ranked.items[0].probability, abs=1e-5)
    assert response.cross_encoder_logit == pytest.approx(ranked.items[0].cross_encoder_logit, abs=1e-5)
    assert [one.part for one in response.query_words] == ["fresh", "milk"]
    assert [one.part for one in response.history_items] == [ids[5], ids[7]]
    assert len(response.item_words) >= 2
    assert [one.name for one in response.features] == sorted(one.name for one in response.features)

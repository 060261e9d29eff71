"""The second stage on a small real release."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from common.errors import DeadlineTooShort
from common.latency import LatencyEstimate
from common.release import layout
from common.release.store import Release
from services.ranking.batching.capacity import BatchLimits
from services.ranking.cascade.results import Ranking, RequestedDepths, Tier, TierUse
from services.ranking.cascade.second_stage import SecondStage, SecondStageOptions
from services.ranking.cascade.tiers import PreparedRequest
from services.ranking.request import CallContext, CandidateRows, UserRows

HISTORY = UserRows(np.array([3, 9, 3, 50, 120, 3]), "fresh milk")


@pytest.fixture
def stage_of(ranking_release: Release):
    """Load second stages that are closed at the end."""
    made = []

    def load(release: Release = ranking_release, **options: Any) -> SecondStage:
        made.append(SecondStage.load(release, SecondStageOptions(**options)))
        return made[-1]

    yield load
    for stage in made:
        stage.close()


@pytest.fixture
def stage(stage_of: Callable[..., SecondStage]):
    """A second stage without a cache."""
    return stage_of(score_cache_size=0)


def _candidates(rows: Any) -> Any:
    generator = np.random.default_rng(4)
    scores = generator.random((3, len(rows))).astype(np.float32)
    return CandidateRows(np.array(rows), scores[0], {"semantic": scores[1], "behaviour": scores[2]})


def _call(seconds: float = 30.0) -> Any:
    return CallContext(time.monotonic() + seconds)


async def _rank(
    stage: SecondStage,
    candidates: CandidateRows,
    *,
    depth: int = 1_000,
    texts: dict[int, str] | None = None,
    user: UserRows = HISTORY,
    seconds: float = 30.0,
) -> Ranking:
    return await stage.rank(user, candidates, texts or {}, RequestedDepths(cross_encoder=depth), _call(seconds))


async def test_every_candidate_gets_a_probability(stage: SecondStage):
    """With enough depth the cross-encoder reads all, and each probability lies between 0 and 1."""
    ranking = await _rank(stage, _candidates(range(40)))
    assert ((ranking.probability > 0) & (ranking.probability < 1)).all()
    assert np.isfinite(ranking.logit).all()
    assert (ranking.pairs.read, ranking.pairs.skipped) == (40, 0)
    assert ranking.total_ms >= ranking.tokenise_ms > 0
    assert ranking.pairs.scores.padded_tokens > 40


async def test_only_the_most_promising_are_read(stage: SecondStage):
    """The cross-encoder reads the most probable candidates by the features; the others keep their probability."""
    blind = await _rank(stage, _candidates(range(40)), depth=0)
    ranking = await _rank(stage, _candidates(range(40)), depth=7)
    read = np.flatnonzero(np.isfinite(ranking.logit))
    assert set(read) == set(np.argsort(-blind.probability, kind="stable")[:7])
    assert np.isnan(blind.logit).all()
    unread = np.isnan(ranking.logit)
    np.testing.assert_array_equal(ranking.probability[unread], blind.probability[unread])


async def test_logits_move_the_probability_as_the_fusion_weighs_them(
    stage: SecondStage, fusion_weights: dict[str, float]
):
    """A read candidate's log odds change by the weighted logit and its rank among the candidates that were read."""
    candidates = _candidates(range(30))
    blind = await _rank(stage, candidates, depth=0)
    ranking = await _rank(stage, candidates, depth=12)
    read = np.flatnonzero(np.isfinite(ranking.logit))
    assert len(read) == 12
    logit = ranking.logit[read].astype(np.float64)
    rank = [(logit > one).sum() + (logit[:index] == one).sum() for index, one in enumerate(logit)]
    moved = fusion_weights["logit"] * logit + fusion_weights["logit_rank"] * np.array(rank)
    np.testing.assert_allclose(_log_odds(ranking)[read], _log_odds(blind)[read] + moved, atol=1e-5)


async def test_features_move_the_probability_as_the_fusion_weighs_them(
    stage: SecondStage, fusion_weights: dict[str, float]
):
    """A request with another score of a candidate source changes the log odds by the weight of that feature alone."""
    candidates = CandidateRows(np.arange(5), np.zeros(5, np.float32), {"semantic": np.zeros(5, np.float32)})
    scores = np.linspace(-1, 1, 5, dtype=np.float32)
    plain = await _rank(stage, candidates, depth=0)
    scored = await _rank(stage, replace(candidates, sources={"semantic": scores}), depth=0)
    moved = fusion_weights["source_semantic"] * scores
    np.testing.assert_allclose(_log_odds(scored) - _log_odds(plain), moved, atol=1e-5)


def _log_odds(ranking: Ranking) -> Any:
    probability = ranking.probability.astype(np.float64)
    return np.log(probability / (1 - probability))


async def test_scores_do_not_depend_on_company(stage_of: Callable[..., SecondStage]):
    """A pair's logit is the same alone, among others, in any order and padding, to 1e-5."""
    stage = stage_of(score_cache_size=0, limits=BatchLimits(padded_tokens=300, workers=2))
    rows = np.random.default_rng(2).permutation(240)[:60]
    together = await _rank(stage, _candidates(rows))
    backwards = await _rank(stage, _candidates(rows[::-1]))
    alone = [(await _rank(stage, _candidates([row]))).logit[0] for row in rows]
    np.testing.assert_allclose(together.logit, alone, atol=1e-5)
    np.testing.assert_allclose(together.logit, backwards.logit[::-1], atol=1e-5)
    assert np.ptp(together.logit) > 0.01


async def test_a_text_is_read_like_the_item_that_has_it(stage: SecondStage):
    """A candidate given by an item's text gets that item's logit; what it has no row for is missing."""
    text = stage.catalogue.text(17)
    ranking = await _rank(stage, _candidates([17, -1, 20]), texts={1: text})
    assert ranking.logit[1] == pytest.approx(ranking.logit[0], abs=1e-5)
    assert ranking.logit[2] != pytest.approx(ranking.logit[0], abs=1e-5)


async def test_the_same_item_twice_is_read_once(stage_of: Callable[..., SecondStage]):
    """Duplicates are answered each, and cost nothing."""
    ranking = await _rank(stage_of(), _candidates([5, 6, 5, 5]))
    assert ranking.pairs.read == 2
    assert ranking.logit[0] == ranking.logit[2] == ranking.logit[3]


async def test_a_second_reading_comes_from_the_cache(stage_of: Callable[..., SecondStage]):
    """The same user and items again cost no inference and give the same answer; another query does not share it."""
    stage = stage_of()
    first = await _rank(stage, _candidates(range(20)))
    second = await _rank(stage, _candidates(range(20)))
    assert (second.pairs.read, second.pairs.reused) == (0, 20)
    np.testing.assert_array_equal(first.probability, second.probability)
    other = await _rank(stage, _candidates(range(20)), user=replace(HISTORY, query="bread"))
    assert other.pairs.read == 20


async def test_candidates_of_an_unknown_user_are_ranked(stage: SecondStage):
    """Without query and history the features are missing, and there is an answer."""
    ranking = await _rank(stage, CandidateRows.from_rows(np.arange(5)), user=UserRows(np.empty(0, np.int64)))
    assert np.isfinite(ranking.probability).all()


async def test_fewer_pairs_are_read_if_time_is_short(
    stage_of: Callable[..., SecondStage], monkeypatch: pytest.MonkeyPatch
):
    """The depth falls to what there is time for, down to nothing, and every candidate has a probability."""
    stage = stage_of(score_cache_size=0, limits=BatchLimits(workers=1))
    monkeypatch.setattr(stage._batcher._queue.cost, "token_ms", 100.0)
    ranking = await _rank(stage, _candidates(range(40)), seconds=20.0)
    assert 0 < ranking.pairs.read < 40
    assert ranking.pairs.skipped == 40 - ranking.pairs.read
    assert np.isfinite(ranking.probability).all()
    monkeypatch.setattr(stage._batcher._queue.cost, "token_ms", 1e6)
    unread = await _rank(stage, _candidates(range(40)))
    assert unread.pairs.read == 0
    assert unread.uses == [TierUse(Tier.CROSS_ENCODER, planned=40, scored=0)]
    assert unread.uses[0].left_out == 40


async def test_without_a_cross_encoder_features_rank(
    stage_of: Callable[..., SecondStage], release_of: Callable[..., Release], stage: SecondStage
):
    """A release without the tier answers as one with it does at depth 0, whatever depth is asked for."""
    without = stage_of(release_of(lambda folder: (folder / layout.CROSS_ENCODER).unlink()))
    ranking = await _rank(without, _candidates(range(40)), depth=20)
    blind = await _rank(stage, _candidates(range(40)), depth=0)
    np.testing.assert_array_equal(ranking.probability, blind.probability)
    assert np.isnan(ranking.logit).all()
    assert not ranking.uses
    assert (without.depth, without.queued_pairs) == (0, 0)


async def test_no_time_at_all_is_refused(stage: SecondStage):
    """If not even the features fit, the call is refused at once."""
    with pytest.raises(DeadlineTooShort, match="even without the cross-encoder"):
        stage.admit(5, _call(0.0))
    with pytest.raises(DeadlineTooShort, match="even without the cross-encoder"):
        await _rank(stage, _candidates(range(5)), seconds=0.0)


async def test_there_is_time_to_read_however_long_answers_took(stage: SecondStage):
    """The reserve for the answer is at most a share of a call's time."""
    stage.times.after_reading.observe(1_000.0)

    ranking = await _rank(stage, _candidates(range(20)))

    assert ranking.pairs.read == 20


async def test_requests_side_by_side_get_their_own_answers(stage_of: Callable[..., SecondStage]):
    """Many requests at a time are answered as one after the other."""
    stage = stage_of(score_cache_size=0, limits=BatchLimits(padded_tokens=256, workers=2))
    requests = [_candidates(range(start, start + 30)) for start in range(0, 200, 20)]
    together = await asyncio.gather(*(_rank(stage, request) for request in requests))
    for request, ranking in zip(requests, together, strict=True):
        np.testing.assert_allclose(ranking.logit, (await _rank(stage, request)).logit, atol=1e-5)


async def test_identical_pairs_under_way_are_read_once(stage_of: Callable[..., SecondStage]):
    """Calls for the same pairs at the same time share one reading."""
    stage = stage_of()
    rankings = await asyncio.gather(*(_rank(stage, _candidates(range(30))) for _ in range(6)))
    assert sum(ranking.pairs.read for ranking in rankings) < 60
    for ranking in rankings:
        np.testing.assert_array_equal(ranking.probability, rankings[0].probability)


@pytest.mark.parametrize(
    ("texts", "history", "there"), [({}, 3, True), ({1: "whole milk"}, 3, False), ({}, 200, False)]
)
async def test_long_work_is_not_done_on_the_event_loop(
    stage: SecondStage, monkeypatch: pytest.MonkeyPatch, texts: dict[int, str], history: int, *, there: bool
):
    """Candidates by id are prepared on the event loop; texts and long histories in a thread."""
    monkeypatch.setattr(LatencyEstimate, "expected_s", lambda _self, _rows: 0.0)
    prepare, used = stage._cascade.prepare, []

    def watched(*arguments: Any) -> PreparedRequest:
        used.append(threading.get_ident())
        return prepare(*arguments)

    monkeypatch.setattr(stage._cascade, "prepare", watched)
    await _rank(stage, _candidates([3, 7, 9]), texts=texts, user=UserRows(np.arange(history)))
    assert (used == [threading.get_ident()]) is there

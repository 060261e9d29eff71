"""Explanations of a candidate's probability, on small real releases."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np
import pytest

from common.release import layout
from common.release.store import Release
from services.ranking.cascade.results import ExplainedProbability, Ranking, RequestedDepths, Tier
from services.ranking.cascade.second_stage import SecondStage, SecondStageOptions
from services.ranking.request import CallContext, CandidateRows, UserRows

USER = UserRows(np.array([3, 9, 3, 50, 120, 3]), "fresh milk")
ROWS = np.array([17, 3, 40, 9, 200, 121])
NO_TEXTS: Mapping[int, str] = {}


@pytest.fixture
def stage_of() -> Iterator[Callable[[Release], SecondStage]]:
    """Load second stages that are closed at the end."""
    loaded: list[SecondStage] = []

    def load(release: Release) -> SecondStage:
        loaded.append(SecondStage.load(release, SecondStageOptions(score_cache_size=0)))
        return loaded[-1]

    yield load
    for stage in loaded:
        stage.close()


def _call() -> CallContext:
    return CallContext(time.monotonic() + 30.0)


def _candidates(rows: np.ndarray = ROWS) -> CandidateRows:
    scores = np.linspace(1.0, 0.5, len(rows), dtype=np.float32)
    return CandidateRows(rows, scores, {"semantic": scores, "behaviour": scores[::-1].copy()})


async def _rank(
    stage: SecondStage, depths: RequestedDepths, user: UserRows = USER, texts: Mapping[int, str] = NO_TEXTS
) -> Ranking:
    return await stage.rank(user, _candidates(), texts, depths, _call())


async def _explain(
    stage: SecondStage, index: int, depths: RequestedDepths, texts: Mapping[int, str] = NO_TEXTS
) -> ExplainedProbability:
    return await stage.explain(USER, _candidates(), texts, index, depths, _call())


@pytest.mark.parametrize("depth", [0, 2, 6])
async def test_what_is_explained_is_what_rank_answers(
    ranking_release: Release, stage_of: Callable[[Release], SecondStage], depth: int
):
    """Every candidate has the probability, tier and position that ranking gives it among the others."""
    stage, depths = stage_of(ranking_release), RequestedDepths(cross_encoder=depth)
    ranking = await _rank(stage, depths)
    order = np.argsort(-ranking.probability, kind="stable").tolist()
    for index in range(len(ROWS)):
        explained = await _explain(stage, index, depths)
        assert explained.probability == pytest.approx(ranking.probability[index], abs=1e-6)
        assert explained.tier == ranking.tiers[index]
        assert explained.rank == order.index(index) + 1
        odds = explained.probability / (1 - explained.probability)
        assert explained.log_odds == pytest.approx(np.log(odds), abs=1e-4)
        total = sum(feature.contribution for feature in explained.features) + explained.missing_contribution
        assert explained.base_log_odds + total == pytest.approx(explained.log_odds, abs=1e-4)


async def test_features_have_exact_contributions_in_a_linear_fusion(
    ranking_release: Release, stage_of: Callable[[Release], SecondStage], fusion_weights: dict[str, float]
):
    """The fusion of this release is linear: a contribution is a weight times the distance from the other candidates."""
    stage, depths = stage_of(ranking_release), RequestedDepths(cross_encoder=6)
    explained = [await _explain(stage, index, depths) for index in range(len(ROWS))]
    values = [{feature.name: feature.value for feature in each.features} for each in explained]
    for index, each in enumerate(explained):
        assert [feature.name for feature in each.features] == sorted(values[index])
        for feature in each.features:
            others = [of.get(feature.name, 0.0) for at, of in enumerate(values) if at != index]
            expected = fusion_weights[feature.name] * (feature.value - np.mean(others))
            assert feature.contribution == pytest.approx(expected, abs=1e-4)


async def test_words_and_history_items_act_through_the_logit(
    ranking_release: Release, stage_of: Callable[[Release], SecondStage], fusion_weights: dict[str, float]
):
    """A part's log-odds are what its logit and the rank of that logit add; the logit is that of ranking without it."""
    stage, depths = stage_of(ranking_release), RequestedDepths(cross_encoder=6)
    ranking, explained = await _rank(stage, depths), (await _explain(stage, 0, depths))
    parts = explained.explanation
    assert parts.logit == pytest.approx(ranking.logit[0], abs=1e-5)
    assert [one.part for one in parts.item_words] == stage.catalogue.text(17).split()
    assert [one.part for one in parts.query_words] == ["fresh", "milk"]
    assert [one.part for one in parts.history_items] == [3, 120, 50, 9]
    without = await _rank(stage, depths, replace(USER, query="milk"))
    assert parts.query_words[0].logit == pytest.approx(ranking.logit[0] - without.logit[0], abs=1e-4)
    for part in (*parts.item_words, *parts.query_words, *parts.history_items):
        logit = ranking.logit[0] - part.logit
        rank_gain = int((ranking.logit > ranking.logit[0]).sum()) - int((ranking.logit[1:] > logit).sum())
        expected = fusion_weights["logit"] * part.logit + fusion_weights["logit_rank"] * rank_gain
        assert part.log_odds == pytest.approx(expected, abs=1e-4)


async def test_a_logit_that_was_not_used_decided_nothing(
    ranking_release: Release, stage_of: Callable[[Release], SecondStage]
):
    """With depth 0 the parts still have logits, but nothing of them is in the log-odds."""
    explained = await _explain(stage_of(ranking_release), 0, RequestedDepths(cross_encoder=0))
    parts = explained.explanation
    assert explained.tier is Tier.FEATURES
    assert any(part.logit for part in parts.item_words)
    assert not any(part.log_odds for part in (*parts.item_words, *parts.query_words, *parts.history_items))
    assert "logit" not in {feature.name for feature in explained.features}


async def test_words_act_through_late_interaction(late_release: Release, stage_of: Callable[[Release], SecondStage]):
    """Of an item that only late interaction scored, for an item of the release and for a text."""
    stage, depths = stage_of(late_release), RequestedDepths(cross_encoder=0)
    for texts in ({}, {0: stage.catalogue.text(17)}):
        ranking = await _rank(stage, depths, texts=texts)
        explained = await _explain(stage, 0, depths, texts)
        assert explained.tier is Tier.LATE_INTERACTION
        assert explained.late_score == pytest.approx(ranking.late_score[0], abs=1e-5)
        assert any(part.log_odds for part in explained.explanation.item_words)
        shorter = await _rank(stage, depths, replace(USER, query="milk"), texts)
        change = _log_odds(ranking, 0) - _log_odds(shorter, 0)
        only_late = change - _other_scores_change(ranking, shorter)
        assert explained.explanation.query_words[0].log_odds == pytest.approx(only_late, abs=2e-3)


def _log_odds(ranking: Ranking, index: int) -> float:
    probability = float(ranking.probability[index])
    return float(np.log(probability) - np.log1p(-probability))


def _other_scores_change(ranking: Ranking, shorter: Ranking) -> float:
    """Return what the other candidates' late scores, which an occluded pair keeps, did to the first one's features."""
    late, other = ranking.late_score, shorter.late_score
    kept = np.concatenate([other[:1], late[1:]])
    rank = int((other[1:] > other[0]).sum()) - int((kept[1:] > kept[0]).sum())
    deviation = (other[0] - other.mean()) - (kept[0] - kept.mean())
    return -(-0.01 * rank + 0.2 * float(deviation))


async def test_an_item_explained_alone_is_compared_with_nothing(
    ranking_release: Release, stage_of: Callable[[Release], SecondStage], fusion_weights: dict[str, float]
):
    """Without others the base is an item of which every feature is missing: in this fusion, log-odds of 0."""
    stage = stage_of(ranking_release)
    alone = CandidateRows.from_rows(ROWS[:1])
    explained = await stage.explain(USER, alone, {}, 0, RequestedDepths(cross_encoder=1), _call())
    assert (explained.rank, explained.base_log_odds) == (1, pytest.approx(0.0, abs=1e-6))
    for feature in explained.features:
        assert feature.contribution == pytest.approx(fusion_weights[feature.name] * feature.value, abs=1e-4)


async def test_without_a_cross_encoder_the_parts_have_no_logit(
    release_of: Callable[..., Release], stage_of: Callable[[Release], SecondStage]
):
    """The probability is that of ranking, and no part changes a logit."""
    stage = stage_of(release_of(lambda folder: (folder / layout.CROSS_ENCODER).unlink()))
    depths = RequestedDepths(cross_encoder=6)
    explained = await _explain(stage, 0, depths)
    parts = explained.explanation
    assert explained.probability == pytest.approx((await _rank(stage, depths)).probability[0], abs=1e-6)
    assert (explained.tier, parts.logit) == (Tier.FEATURES, 0.0)
    assert not any(part.logit or part.log_odds for part in (*parts.item_words, *parts.query_words))
    assert {"repeat_count"} <= {feature.name for feature in explained.features}

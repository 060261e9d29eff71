"""Explanations of a candidate's probability, on small real releases."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from common.release import layout
from common.release.store import Release
from services.ranking.cascade.results import Ranking, RequestedDepths
from services.ranking.cascade.second_stage import SecondStage, SecondStageOptions
from services.ranking.request import CallContext, CandidateRows, UserRows

HISTORY = UserRows(np.array([3, 9, 3, 50, 120, 3]), "fresh milk")


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


async def _rank(stage: SecondStage, row: int, user: UserRows = HISTORY) -> Ranking:
    candidates = CandidateRows.from_rows(np.array([row]))
    return await stage.rank(user, candidates, {}, RequestedDepths(cross_encoder=1), _call())


async def test_an_explanation_adds_up(ranking_release: Release, stage_of: Callable[[Release], SecondStage]):
    """Contributions are differences to the whole logit, and the probability is that of ranking."""
    stage = stage_of(ranking_release)
    explained = await stage.explain(HISTORY, CandidateRows.from_rows(np.array([17])), "", _call())
    ranking = await _rank(stage, 17)
    explanation = explained.explanation
    assert explanation.logit == pytest.approx(ranking.logit[0], abs=1e-5)
    assert explained.probability == pytest.approx(ranking.probability[0], abs=1e-5)
    assert [one.part for one in explanation.item_words] == stage.catalogue.text(17).split()
    assert [one.part for one in explanation.query_words] == ["fresh", "milk"]
    assert [one.part for one in explanation.history_items] == [3, 120, 50, 9]
    without = await _rank(stage, 17, replace(HISTORY, query="milk"))
    expected = ranking.logit[0] - without.logit[0]
    assert explanation.query_words[0].logit == pytest.approx(expected, abs=1e-4)
    assert list(explained.features) == sorted(explained.features)
    assert "logit" in explained.features


async def test_without_a_cross_encoder_there_are_features_alone(
    release_of: Callable[..., Release], stage_of: Callable[[Release], SecondStage]
):
    """The probability is that of ranking, and no part of a logit is explained."""
    stage = stage_of(release_of(lambda folder: (folder / layout.CROSS_ENCODER).unlink()))
    explained = await stage.explain(HISTORY, CandidateRows.from_rows(np.array([17])), "", _call())
    assert explained.explanation is None
    assert explained.probability == pytest.approx((await _rank(stage, 17)).probability[0], abs=1e-6)
    assert "repeat_count" in explained.features
    assert "logit" not in explained.features


async def test_an_explanation_names_the_late_score(late_release: Release, stage_of: Callable[[Release], SecondStage]):
    """The features of an explanation include late interaction's score, for an item and for a text."""
    stage = stage_of(late_release)
    scored = float((await _rank(stage, 17)).late_score[0])
    cases: list[tuple[int, Any]] = [(17, ""), (-1, stage.catalogue.text(17))]
    for row, text in cases:
        explained = await stage.explain(HISTORY, CandidateRows.from_rows(np.array([row])), text, _call())
        assert explained.features["late_score"] == pytest.approx(scored, abs=1e-5)

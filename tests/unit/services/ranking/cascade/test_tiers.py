"""The tiers together, on a small real release with late interaction."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.onnx_session import SessionOptions
from common.release import layout
from common.release.store import Release
from services.ranking.admission.time_budget import StepTimes
from services.ranking.cascade.models import RankingModels
from services.ranking.cascade.results import Ranking, RequestedDepths, Tier
from services.ranking.cascade.second_stage import SecondStage, SecondStageOptions
from services.ranking.cascade.tiers import Cascade, PreparedRequest, occasion
from services.ranking.late_interaction.scorer import LateInteractionOptions
from services.ranking.release_settings import TierDepths
from services.ranking.request import CallContext, CandidateRows, UserRows

HISTORY = UserRows(np.array([3, 9, 3, 50, 120, 3]), "fresh milk")
NOBODY = UserRows(np.empty(0, np.int64))


@pytest.fixture
def stage_of(late_release: Release):
    """Load second stages that are closed at the end."""
    made = []

    def load(release: Release = late_release, **options: Any) -> SecondStage:
        made.append(SecondStage.load(release, SecondStageOptions(score_cache_size=0, **options)))
        return made[-1]

    yield load
    for stage in made:
        stage.close()


async def _rank(
    stage: SecondStage,
    rows: Any,
    late: int | None = None,
    cross_encoder: int | None = None,
    *,
    texts: dict[int, str] | None = None,
    user: UserRows = HISTORY,
    seconds: float = 30.0,
) -> Ranking:
    call = CallContext(time.monotonic() + seconds)
    candidates = CandidateRows.from_rows(np.array(rows))
    return await stage.rank(user, candidates, texts or {}, RequestedDepths(late, cross_encoder), call)


async def test_each_tier_takes_the_best_of_the_one_before(stage_of: Callable[..., SecondStage]):
    """Late interaction scores the most probable by features, the cross-encoder reads the most probable by both."""
    stage = stage_of()
    by_features = await _rank(stage, range(60), late=0, cross_encoder=0)
    by_late = await _rank(stage, range(60), late=25, cross_encoder=0)
    ranking = await _rank(stage, range(60), late=25, cross_encoder=6)
    scored = np.flatnonzero(~np.isnan(ranking.late_score))
    read = np.flatnonzero(~np.isnan(ranking.logit))
    assert set(scored) == set(np.argsort(-by_features.probability, kind="stable")[:25])
    assert set(read) == set(np.argsort(-by_late.probability, kind="stable")[:6])
    assert np.bincount(ranking.tiers, minlength=4).tolist() == [
        0,
        *(60 - len(set(scored) | set(read)), len(set(scored) - set(read)), 6),
    ]
    assert set(np.flatnonzero(ranking.tiers == Tier.CROSS_ENCODER)) == set(read)


async def test_late_scores_move_the_probability_as_the_fusion_weighs_them(
    stage_of: Callable[..., SecondStage], late_fusion_weights: dict[str, float]
):
    """The log odds change by the weighted late score, its rank, and its distance from the request's mean."""
    stage, weight = stage_of(), late_fusion_weights
    without = await _rank(stage, range(40), late=0, cross_encoder=0)
    ranking = await _rank(stage, range(40), cross_encoder=0)
    late = ranking.late_score.astype(np.float64)
    rank = np.array([(late > one).sum() + (late[:index] == one).sum() for index, one in enumerate(late)])
    moved = weight["late_score"] * late + weight["late_rank"] * rank + weight["late_deviation"] * (late - late.mean())
    np.testing.assert_allclose(_log_odds(ranking) - _log_odds(without), moved, atol=1e-4)


def _log_odds(ranking: Ranking) -> Any:
    probability = ranking.probability.astype(np.float64)
    return np.log(probability / (1 - probability))


async def test_a_candidate_given_by_its_text_is_scored_like_the_item_that_has_it(stage_of: Callable[..., SecondStage]):
    """A new item's vectors are computed when it is met, and its score is that of the release's item of that text."""
    stage = stage_of()
    texts = {1: stage.catalogue.text(17), 2: stage.catalogue.text(90)}
    ranking = await _rank(stage, [17, -1, 20], texts=texts, cross_encoder=0)
    plain = await _rank(stage, [17, 90], cross_encoder=0)
    assert ranking.late_score[1] == pytest.approx(plain.late_score[0], abs=1e-5)
    assert ranking.late_score[2] == pytest.approx(plain.late_score[1], abs=1e-5)
    assert ranking.late_score[0] == plain.late_score[0]


async def test_scores_do_not_depend_on_company(stage_of: Callable[..., SecondStage]):
    """An item's late score is the same alone as among others, with vectors remembered or not."""
    stage, forgetful = stage_of(), stage_of(late=LateInteractionOptions(0, 0))
    together = await _rank(stage, range(100), cross_encoder=0)
    for row in (0, 41, 99):
        for one in (stage, forgetful):
            alone = await _rank(one, [row], cross_encoder=0)
            assert alone.late_score[0] == pytest.approx(together.late_score[row], abs=1e-5)


def _prepare(release: Release, end_at: float) -> PreparedRequest:
    models = RankingModels.load(release, SessionOptions(threads=1), LateInteractionOptions())
    cascade = Cascade(models.features, models.fusion, models.late, models.tokenizer, StepTimes())
    depths = TierDepths(late_interaction=40, cross_encoder=6)
    return cascade.prepare(HISTORY, CandidateRows.from_rows(np.arange(40)), {}, depths, end_at)


def test_without_time_for_a_tier_the_cheaper_ones_rank(late_release: Release):
    """Past the end of its time late interaction scores nothing, and every candidate still has a probability."""
    late = _prepare(late_release, time.monotonic() - 1.0)
    assert np.isnan(late.late.scores).all()
    assert np.isfinite(late.probability).all()
    assert len(late.chosen) == 6
    assert np.isfinite(_prepare(late_release, time.monotonic() + 60.0).late.scores).all()


async def test_depths_are_the_requests_else_the_plans(
    late_release_of: Callable[..., Release], stage_of: Callable[..., SecondStage]
):
    """The release's plan says how deep the tiers go on each occasion, unless the request does."""
    plan = {
        "both": {"late_interaction": 30, "cross_encoder": 4},
        "new_user": {"late_interaction": 0, "cross_encoder": 9},
    }
    stage = stage_of(late_release_of(_edit(layout.RANKER_SETTINGS, lambda settings: settings.update(plan=plan))))

    async def depths(user: UserRows, *wanted: int | None) -> tuple[int, int]:
        ranking = await _rank(stage, range(120), *wanted, user=user)
        return int(np.isfinite(ranking.late_score).sum()), int(np.isfinite(ranking.logit).sum())

    assert await depths(HISTORY) == (30, 4)
    assert await depths(NOBODY) == (0, 9)
    assert await depths(HISTORY, 11, 0) == (11, 0)
    assert await depths(HISTORY, 2**32 - 1, 2**32 - 1) == (120, 120)
    assert await depths(replace(HISTORY, query="")) == (120, 100)


async def test_a_release_without_the_tier_ranks_without(ranking_release: Release, stage_of: Callable[..., SecondStage]):
    """Late interaction is no release's duty: without it the other tiers rank as ever."""
    stage = stage_of(ranking_release)
    ranking = await _rank(stage, range(30), cross_encoder=5)
    assert not stage.has_late_interaction
    assert np.isnan(ranking.late_score).all()
    assert set(ranking.tiers.tolist()) == {Tier.FEATURES, Tier.CROSS_ENCODER}


def test_occasions():
    """A request is about what is known of the user, or about new items if they are half of the candidates."""
    some, new = CandidateRows.from_rows(np.array([1, 2, -1])), CandidateRows.from_rows(np.array([1, -1]))
    assert occasion(HISTORY, some) == "both"
    assert occasion(replace(HISTORY, query="  "), some) == "history"
    assert occasion(replace(NOBODY, query="milk"), some) == "query"
    assert occasion(NOBODY, some) == "new_user"
    assert occasion(HISTORY, new) == "new_items"


def _edit(name: str, change: Callable[[Any], object]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        settings = json.loads((folder / name).read_text())
        change(settings)
        (folder / name).write_text(json.dumps(settings))

    return edit

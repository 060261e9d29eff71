"""The tiers together, on a small real release with late interaction."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import BadRelease
from common.release import layout
from common.release.store import Release
from services.ranking.batching.job import CallContext
from services.ranking.cascade.results import Depths, Ranking, Tier
from services.ranking.cascade.second_stage import SecondStage, SecondStageOptions
from services.ranking.cascade.tiers import occasion
from services.ranking.late_interaction.scorer import LateInteractionOptions
from services.ranking.request import CandidateRows, UserRows

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
    terms = CallContext(time.monotonic() + seconds)
    candidates = CandidateRows.of(np.array(rows))
    return await stage.rank(user, candidates, texts or {}, Depths(late, cross_encoder), terms)


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


async def test_the_probability_is_the_fusion_of_what_the_tiers_said(stage_of: Callable[..., SecondStage]):
    """Filling late scores and logits in afterwards gives what the fusion says of all features at once."""
    stage = stage_of()
    ranking = await _rank(stage, range(40), cross_encoder=10)
    matrix = stage._features.matrix(HISTORY, CandidateRows.of(np.arange(40)), ranking.logit)
    matrix = stage._features.with_late(matrix, ranking.late_score)
    assert np.isfinite(ranking.late_score).all()
    np.testing.assert_allclose(ranking.probability, stage._fusion.probability(matrix), atol=1e-6)


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


async def test_without_time_for_a_tier_the_cheaper_ones_answer(
    stage_of: Callable[..., SecondStage], monkeypatch: pytest.MonkeyPatch
):
    """Where the joint step would come too late nothing is scored by it, and every candidate has a probability."""
    stage = stage_of()
    monkeypatch.setattr(stage._late._joint, "expected_s", lambda _: 100.0)
    ranking = await _rank(stage, range(40), cross_encoder=0)
    assert (ranking.tiers == Tier.FEATURES).all()
    assert np.isfinite(ranking.probability).all()


async def test_texts_that_there_is_no_time_for_are_left_to_the_features(
    stage_of: Callable[..., SecondStage], monkeypatch: pytest.MonkeyPatch
):
    """Of new texts as many are scored as the time allows; items of the release are scored all the same."""
    stage = stage_of()
    monkeypatch.setattr(stage._late._new_texts, "expected_s", lambda texts: 100.0 * (texts > 2))
    texts = {place: f"fresh butter {place}" for place in range(2, 8)}
    ranking = await _rank(stage, [5, 6, *[-1] * 6], texts=texts, cross_encoder=0)
    assert np.isfinite(ranking.late_score[:2]).all()
    assert 0 < np.isfinite(ranking.late_score[2:]).sum() <= 2


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
    assert await depths(replace(HISTORY, query="")) == (120, 100)


async def test_an_explanation_names_the_late_score(stage_of: Callable[..., SecondStage]):
    """What the fusion read of an item includes late interaction's score, for an item and for a text."""
    stage = stage_of()
    scored = float((await _rank(stage, [17], cross_encoder=1)).late_score[0])
    terms = CallContext(time.monotonic() + 30.0)
    for row, text in ((17, ""), (-1, stage.catalogue.text(17))):
        explained = await stage.explain(HISTORY, CandidateRows.of(np.array([row])), text, terms)
        assert explained.features["late_score"] == pytest.approx(scored, abs=1e-5)


async def test_a_release_without_the_tier_ranks_without(ranking_release: Release, stage_of: Callable[..., SecondStage]):
    """Late interaction is no release's duty: without it the other tiers rank as ever."""
    stage = stage_of(ranking_release)
    ranking = await _rank(stage, range(30), cross_encoder=5)
    assert not stage.has_late_interaction
    assert np.isnan(ranking.late_score).all()
    assert set(ranking.tiers.tolist()) == {Tier.FEATURES, Tier.CROSS_ENCODER}


def test_occasions():
    """A request is about what is known of the user, or about new items where they are half of the candidates."""
    some, new = CandidateRows.of(np.array([1, 2, -1])), CandidateRows.of(np.array([1, -1]))
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


def _array(name: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    return lambda folder: np.save(folder / name, change(np.load(folder / name)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_edit(layout.LATE_SETTINGS, lambda s: s.update(bits=5)), "late.json"),
        (_edit(layout.LATE_SETTINGS, lambda s: s.update(bits=4)), "late/tokens.npy is"),
        (_edit(layout.LATE_SETTINGS, lambda s: s.update(width=10)), "late/steps.npy is"),
        (lambda folder: (folder / layout.LATE_SETTINGS).unlink(), "late/late.json"),
        (lambda folder: (folder / layout.LATE_TOKENS).write_bytes(b"no array"), "late/tokens.npy is no array"),
        (_array(layout.LATE_TOKENS, lambda a: a[:-1]), "late/tokens.npy is"),
        (_array(layout.LATE_LENGTHS, lambda a: a * 0), "late/lengths.npy has texts without"),
        (_array(layout.LATE_POOLED, lambda a: a.astype(np.int16)), "late/pooled.npy is int16"),
        (_array(layout.LATE_PRIOR, lambda a: a * np.nan), "late/prior.npy has values that are no numbers"),
        (_array(layout.LATE_STEPS, lambda a: a * 0), "late/steps.npy has steps that are not above 0"),
        (_array(layout.LATE_TEXT_OF_ITEM, lambda a: a + 1_000), "late/text_of_item.npy names texts outside"),
        (lambda folder: shutil.copy(folder / layout.FUSION, folder / layout.LATE_TOWER), "late/tower.onnx reads"),
        (lambda folder: shutil.copy(folder / layout.FUSION, folder / layout.LATE_PRODUCTS), "don't fit together"),
        (_edit(layout.RANKER_SETTINGS, lambda s: s.update(plan={"monday": {}})), "ranker.json"),
    ],
)
def test_a_damaged_tier_is_refused(
    late_release_of: Callable[..., Release], change: Callable[[Path], object], message: str
):
    """The refusal names the file at fault."""
    with pytest.raises(BadRelease, match=message):
        SecondStage.load(late_release_of(change))

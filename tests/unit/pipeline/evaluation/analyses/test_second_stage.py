"""Quality by cross-encoder depth, and feature ablation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from common.release.store import Release
from pipeline.evaluation.analyses.second_stage import (
    DEPTHS,
    MAX_QUESTIONS,
    MEASURES,
    group_of,
    reads_logits,
    sample_evenly,
)
from pipeline.measurement.metrics.evaluation_result import Evaluation
from pipeline.measurement.questions.answers import BOTH
from pipeline.measurement.questions.local_runner import LocalRunner
from pipeline.measurement.questions.protocols import Questions
from pipeline.progress import ProgressStep
from pipeline.release.config.recipes import BASKETS, SEQUENCES
from services.ranking.cascade.fusion_model import FusionModel
from services.ranking.cascade.second_stage import SecondStage
from services.ranking.release_settings import RankerSettings

STEP = ProgressStep(None, "", None)


def test_served_features_make_the_served_probabilities(local: LocalRunner, release: Release, temporal: Questions):
    """The fusion gives the features exactly the probabilities that the second stage answers, in its order."""
    asked = temporal.main[:3]
    answers = local.answer_questions(asked, BOTH, 30, STEP)
    for question, served in zip(asked, local.served_features(asked, 30, STEP), strict=True):
        probability = FusionModel.load(release, served.matrix.shape[1]).probability(served.matrix)
        best = np.argsort(-probability, kind="stable")[:30]
        assert [served.item_ids[place] for place in best] == list(answers[question.key].item_ids)
        np.testing.assert_allclose(probability[best], answers[question.key].probability, atol=1e-6)


def test_the_cross_encoder_scores_as_many_candidates_as_requested(
    local: LocalRunner, release: Release, temporal: Questions, monkeypatch: pytest.MonkeyPatch
):
    """The requested number of candidates get a logit; by default the release's depth."""
    read: list[int] = []
    rank = SecondStage.rank

    async def counting(*given: Any) -> Any:
        ranked = await rank(*given)
        read.append(int((~np.isnan(ranked.logit)).sum()))
        return ranked

    monkeypatch.setattr(SecondStage, "rank", counting)
    local.answer_at_depths(temporal.main[:2], 20, (0, 5), STEP)
    local.answer_questions(temporal.main[:1], BOTH, 20, STEP)
    assert read == [0, 0, 5, 5, RankerSettings.load(release).depth]


def test_every_depth_is_measured_against_none(evaluation: Evaluation):
    """Each depth has its quality, latency and paired difference; reading more takes longer than reading none."""
    assert [one.cross_encoder_depth for one in evaluation.depths] == list(DEPTHS)
    assert evaluation.depths[0].over_none == {}
    for one in evaluation.depths[1:]:
        gain = one.measures["ndcg@10"].mean - evaluation.depths[0].measures["ndcg@10"].mean
        assert one.over_none["ndcg@10"].mean == pytest.approx(gain)
        assert 0 < one.latency.p50 <= one.latency.p95


def test_ablating_the_users_history_costs_most(evaluation: Evaluation):
    """If users buy the same items repeatedly, the user's history of an item is the most valuable group."""
    loss = {group: one.loss["ndcg@10"].mean for group, one in evaluation.ablations.items()}
    assert max(loss, key=lambda group: loss[group]) == "user's history of the item"
    assert loss["user's history of the item"] > 0
    read = BASKETS.features_with(cross_encoder=True, late_interaction=False)
    assert sum(one.features for one in evaluation.ablations.values()) == len(read)
    assert all(set(one.loss) == set(MEASURES) for one in evaluation.ablations.values())


def test_every_feature_of_a_recipe_has_a_group():
    """Nothing that a recipe reads falls among the others."""
    read = [recipe.features_with(cross_encoder=True, late_interaction=True) for recipe in (BASKETS, SEQUENCES)]
    names = [name for features in read for name in features]
    assert {group_of(name) for name in names} >= {"cross-encoder"}
    assert not [name for name in names if group_of(name) == "others"]
    assert group_of("invented") == "others"


def test_a_fusion_with_logits_is_told(local: LocalRunner):
    """The tiny shop's recipe reads the cross-encoder."""
    assert reads_logits(local)


@pytest.mark.parametrize(("given", "kept"), [(1, 1), (100, 100), (101, 51), (250, 84)])
def test_some_questions_are_spread_evenly(temporal: Questions, given: int, kept: int):
    """At most a hundred are asked, from the first to the last."""
    many = (list(temporal.main) * 30)[:given]
    assert len(sample_evenly(many)) == kept <= MAX_QUESTIONS

"""Trees over behaviour, with and without text."""

from __future__ import annotations

import numpy as np

from benchmarks.histories.fusions import (
    FUSIONS,
    NO_TEXT,
    WITH_BOTH,
    WITH_CROSS_ENCODER,
    WITH_LATE,
    TextFeatures,
    TextScores,
    fitted_fusions,
    fusion_scores,
)
from benchmarks.histories.requests import TrainingSplit
from common.release.store import Release
from pipeline.learning.trainers.model_cache import ModelCache
from pipeline.progress import ProgressReport
from pipeline.release.config.build_settings import BuildSettings
from pipeline.release.config.recipes import SEQUENCES


def test_text_features_follow_the_features_of_behaviour(release: Release, parts: TrainingSplit):
    """Scores are unchanged; ranks and deviations are those within a request."""
    requests = parts.fusions.select(np.arange(3))
    text = _random_scores(requests.rows.shape)
    examples = TextFeatures(release).with_text(requests, text)
    behaviour, columns = np.split(examples.features, [len(SEQUENCES.features)], axis=1)
    assert np.array_equal(behaviour, requests.examples.features, equal_nan=True)
    of_text = dict(zip((*SEQUENCES.late_features, "logit", "logit_rank", "logit_deviation"), columns.T, strict=True))
    assert np.array_equal(of_text["late_score"], text.late)
    assert np.array_equal(of_text["logit"], text.logits)
    first = slice(0, int(requests.examples.sizes[0]))
    assert sorted(of_text["logit_rank"][first]) == list(range(first.stop))
    assert of_text["logit_rank"][first][np.argmax(text.logits[first])] == 0
    assert abs(of_text["logit_deviation"][first].mean()) < 1e-5


def test_each_fusion_depends_on_its_own_tiers(
    release: Release, parts: TrainingSplit, settings: BuildSettings, kept: ModelCache, quiet: ProgressReport
):
    """Trees without text ignore the tiers' scores; trees with a tier depend on it."""
    requests, columns = parts.fusions, TextFeatures(release)
    knowing = TextScores(requests.examples.labels * 3, requests.examples.labels * 2)
    learnt = columns.with_text(requests, knowing)
    fusions = fitted_fusions(learnt, settings, kept, quiet)
    blank = np.zeros_like(requests.examples.labels)
    blanked = {
        WITH_LATE: columns.with_text(requests, TextScores(knowing.late, blank)),
        WITH_CROSS_ENCODER: columns.with_text(requests, TextScores(blank, knowing.logits)),
        NO_TEXT: columns.with_text(requests, TextScores(blank, blank)),
    }
    moved = {
        name: {
            tier: not np.array_equal(
                fusion_scores(name, boosters, its), fusion_scores(name, boosters, blanked[NO_TEXT])
            )
            for tier, its in blanked.items()
        }
        for name, boosters in fusions.items()
    }
    assert set(fusions) == set(FUSIONS)
    assert not any(moved[NO_TEXT].values())
    assert moved[WITH_LATE] == {WITH_LATE: True, WITH_CROSS_ENCODER: False, NO_TEXT: False}
    assert moved[WITH_CROSS_ENCODER] == {WITH_LATE: False, WITH_CROSS_ENCODER: True, NO_TEXT: False}
    scores = fusion_scores(WITH_BOTH, fusions[WITH_BOTH], learnt)
    is_target = requests.examples.labels > 0
    assert scores[is_target].mean() > scores[~is_target].mean()
    again = fitted_fusions(learnt, settings, kept, quiet)
    assert np.array_equal(fusion_scores(WITH_BOTH, again[WITH_BOTH], learnt), scores)


def _random_scores(shape: tuple[int, ...]) -> TextScores:
    generator = np.random.default_rng(0)
    return TextScores(generator.random(shape, np.float32), generator.random(shape, np.float32))

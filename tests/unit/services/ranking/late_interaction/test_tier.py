"""Late interaction within a deadline, on a small real release."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest

from common.release.catalogue import Catalogue
from common.release.layout import CATALOGUE
from common.release.store import Release
from services.ranking.late_interaction.scorer import LateInteractionScorer
from services.ranking.late_interaction.tier import LateInteractionTier, LateInteractionTimes, LateScores
from services.ranking.pairs.pair_tokenizer import PairTokenizer
from services.ranking.request import CandidateRows

CONTEXT = np.array([5, 6, 7], np.int32)


@pytest.fixture
def times() -> LateInteractionTimes:
    """Nothing is known yet of how long the steps take."""
    return LateInteractionTimes()


@pytest.fixture
def score(late_release: Release, times: LateInteractionTimes) -> Callable[..., LateScores]:
    """Score items by row, or by their texts, within seconds."""
    catalogue = Catalogue.open(late_release.file(CATALOGUE))
    tokenizer = PairTokenizer.load(late_release, catalogue)
    scorer = LateInteractionScorer.load(late_release, len(catalogue), tokenizer.template)
    tier = LateInteractionTier(scorer, tokenizer, times)

    def score(rows: list[int], seconds: float, texts: dict[int, str] | None = None) -> LateScores:
        candidates = CandidateRows.from_rows(np.array(rows))
        deadline = time.monotonic() + seconds
        return tier.score_candidates(CONTEXT, candidates, texts or {}, np.arange(len(rows)), deadline)

    return score


def test_with_time_everything_is_scored(score: Callable[..., LateScores]):
    """Items and new texts get a score, and the time it took is returned."""
    result = score([3, 4, -1], 60.0, {2: "fresh butter"})
    assert np.isfinite(result.scores).all()
    assert result.ms > 0


def test_without_time_for_the_items_nothing_is_scored(score: Callable[..., LateScores], times: LateInteractionTimes):
    """If scoring that many items usually takes longer than there is time, none is scored."""
    times.joint.observe(100, 10.0)
    assert np.isnan(score(list(range(100)), 9.0).scores).all()
    assert np.isfinite(score(list(range(60)), 9.0).scores).all()


def test_a_new_context_takes_time_too(score: Callable[..., LateScores], times: LateInteractionTimes):
    """A context that the tower must read first counts, a known one does not."""
    times.contexts.observe(1, 10.0)
    assert np.isnan(score([3], 9.0).scores).all()
    assert np.isfinite(score([3], 60.0).scores).all()
    assert np.isfinite(score([3], 9.0).scores).all()


def test_texts_without_time_are_not_scored(score: Callable[..., LateScores], times: LateInteractionTimes):
    """As many new texts are scored as there is time for, the first first; items of the release all the same."""
    times.new_texts.observe(100, 10.0)
    texts = {index: f"fresh butter {index}" for index in range(2, 202)}
    scored = np.isfinite(score([5, 6, *[-1] * 200], 12.0, texts).scores)
    assert scored[:2].all()
    assert scored[2:102].all()
    assert not scored[102:].any()

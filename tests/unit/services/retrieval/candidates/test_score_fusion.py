"""How scores of several sources become one."""

from __future__ import annotations

import numpy as np
import pytest

from services.retrieval.candidates.score_fusion import LinearFusion, normalised

NAN = np.nan
SCORES = np.array([[4, NAN], [1, 0.5], [NAN, 0.125]], dtype=np.float32)


def test_scores_are_scaled_by_each_sources_highest():
    """The best of each source has 1, a quarter of it has a half, what it did not find has 0."""
    assert normalised(SCORES).tolist() == [[1, 0], [0.5, 1], [0, 0.5]]


@pytest.mark.parametrize("column", [[-0.5, NAN, -0.25], [-0.5, 0.5, 0.0], [-1.0, -1.0, -1.0], [0.0, 0.0, NAN]])
def test_negative_scores_keep_their_order(column: list[float]):
    """Scores below 0 end up within 0 and 1 in the order they had."""
    scaled = normalised(np.array([column], dtype=np.float32).T)[:, 0]
    assert ((scaled >= 0) & (scaled <= 1)).all()
    known = [place for place, score in enumerate(column) if score == score]  # noqa: PLR0124 - NaN where unknown
    assert np.array_equal(np.argsort(scaled[known], kind="stable"), np.argsort(np.array(column)[known], kind="stable"))


def test_no_candidates():
    """Nothing fuses to nothing."""
    assert LinearFusion({}).fuse(np.empty((0, 2), np.float32), [0], ["query"], ["a", "b"]).shape == (0,)


@pytest.mark.parametrize(
    ("situation", "fused"),
    [("query", [3, 2.5, 0.5]), ("history", [0, 1, 0.5]), ("both", [1, 1.5, 0.5]), ("none", [1, 1.5, 0.5])],
)
def test_weights_by_situation(situation: str, fused: list[float]):
    """Each situation has its weights: left out sources weigh nothing, left out or empty situations all alike."""
    fusion = LinearFusion({"query": {"a": 3, "b": 1}, "history": {"b": 1}, "both": {"a": 0, "b": 0}})
    assert fusion.fuse(SCORES, [3], [situation], ["a", "b"]).tolist() == fused  # type: ignore[arg-type]


def test_sources_without_weight_alone():
    """Where only sources without weight are drawn from, they decide."""
    assert LinearFusion({"query": {"b": 1}}).fuse(SCORES[:, :1], [3], ["query"], ["a"]).tolist() == [1, 0.5, 0]


def test_requests_are_fused_as_if_each_were_alone():
    """The scores of a request do not depend on the other requests of its batch, even on one without candidates."""
    generator = np.random.default_rng(4)
    parts = [generator.standard_normal((count, 2)).astype(np.float32) for count in (3, 0, 5, 1)]
    parts[2][1:4, 1] = NAN
    parts[3][:, 0] = NAN
    fusion = LinearFusion({"query": {"a": 3, "b": 1}, "history": {"b": 1}})
    situations = ("query", "none", "history", "query")
    together = fusion.fuse(np.concatenate(parts), [3, 0, 5, 1], situations, ["a", "b"])
    alone = [
        fusion.fuse(part, [len(part)], [situation], ["a", "b"])
        for part, situation in zip(parts, situations, strict=True)
    ]
    assert together.tolist() == np.concatenate(alone).tolist()

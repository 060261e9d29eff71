"""The contribution of each candidate source to the first stage."""

from __future__ import annotations

from pipeline.measurement.metrics.evaluation_result import Evaluation
from pipeline.measurement.questions.answers import FIRST
from pipeline.measurement.questions.local_runner import LocalRunner


def test_sources_explain_the_first_stage(evaluation: Evaluation, local: LocalRunner):
    """Each source has its share of hits, its measures alone, and the loss without it."""
    assert evaluation.sources is not None
    assert sorted(evaluation.sources) == local.first_stage.sources
    for share in evaluation.sources.values():
        assert 0 <= share.exclusive_hit_share <= share.hit_share <= 1
        assert set(share.alone) == set(share.loss) == {"ndcg@10", "recall@100"}
    whole = evaluation.modes[FIRST].measures["ndcg@10"].mean
    assert evaluation.sources["popular"].alone["ndcg@10"].mean < whole

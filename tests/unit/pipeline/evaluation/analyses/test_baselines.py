"""Comparison of two stages with single methods."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from common.errors import InvalidRequest
from common.release.store import Release
from pipeline.data.dataset.dataset import Dataset
from pipeline.evaluation.analyses.baselines import TAIL_MEASURE, answer_by_baselines, compare_baselines
from pipeline.evaluation.command import EvaluationData, run_evaluation, show
from pipeline.evaluation.evaluation import EvaluationSettings
from pipeline.measurement.metrics.item_popularity import ItemPopularity
from pipeline.measurement.questions.answers import Answer
from pipeline.measurement.questions.protocols import Questions
from pipeline.progress import ProgressReport

FAST = ("popular", "own most frequent", "BM25")


def test_baselines_answer_the_same_questions(temporal: Questions, facts: ItemPopularity, quiet: ProgressReport):
    """Each answers every question with as many distinct items as asked for, and without probabilities."""
    asked = answer_by_baselines(temporal, facts, 20, 7, quiet, FAST)
    assert list(asked) == list(FAST)
    for given in asked.values():
        assert list(given.answers) == [question.key for question in temporal.main]
        assert all(len(set(answer.item_ids)) == 20 for answer in given.answers.values())
        assert all(np.isnan(answer.probability).all() for answer in given.answers.values())


def test_who_answers_what_was_wanted_beats_every_baseline(
    temporal: Questions, facts: ItemPopularity, quiet: ProgressReport
):
    """An oracle in place of the two stages is better beyond chance, the best baseline is named, and ties are ties."""
    asked = answer_by_baselines(temporal, facts, 20, 7, quiet, FAST)
    oracle = {
        question.key: Answer(list(question.relevant), np.full(len(question.relevant), np.nan), {"total": 1.0})
        for question in temporal.main
    }
    found = compare_baselines(temporal, asked, oracle, facts, 7)
    means = {name: figures.measures["ndcg@10"].mean for name, figures in found.by_name.items()}
    assert found.best == max(means, key=means.__getitem__)
    assert all(figures.two_stages_over["ndcg@10"].low > 0 for figures in found.by_name.values())
    assert found.two_stages[TAIL_MEASURE].mean == pytest.approx(1.0)
    itself = compare_baselines(temporal, asked, asked[found.best].answers, facts, 7)
    assert itself.by_name[found.best].two_stages_over["ndcg@10"].mean == 0
    assert found.ratings is None


def test_baselines_need_an_event_split(temporal: Questions, facts: ItemPopularity, quiet: ProgressReport):
    """Questions asked at different moments have no common past, and the message says which protocol has one."""
    with pytest.raises(InvalidRequest, match="--protocol temporal"):
        answer_by_baselines(dataclasses.replace(temporal, event_split=None), facts, 20, 7, quiet)


def test_who_has_nothing_to_say_answers_nothing(temporal: Questions, facts: ItemPopularity, quiet: ProgressReport):
    """Of a user of whom nothing is known, popularity speaks, and what reads histories or queries does not."""
    nobody = dataclasses.replace(temporal.main[0], history=(), query="")
    asked = answer_by_baselines(
        dataclasses.replace(temporal, main=[nobody]), facts, 20, 7, quiet, ("popular", "transitions", "BM25")
    )
    assert [len(given.answers[nobody.key].item_ids) for given in asked.values()] == [20, 0, 0]


def test_nothing_after_the_questions_is_known(temporal: Questions):
    """What baselines learn from ends where what is asked for begins."""
    split = temporal.event_split
    assert split is not None
    assert split.before["timestamp"].max() < split.time <= split.after["timestamp"].min()


def test_the_command_compares_when_asked(
    release: Release, tiny_dataset: Dataset, tmp_path: Path, quiet: ProgressReport
):
    """Report, figures and table have every baseline, the tail's demand and what steering costs."""
    tiny_dataset.save(tmp_path / "data")
    page = tmp_path / "report.html"
    how = EvaluationSettings(limit=20, baselines=True)
    found = run_evaluation(
        str(release.path.parent), EvaluationData(data=tmp_path / "data"), how, page, tmp_path / "it.json", quiet
    )
    assert found.baselines is not None
    assert found.demand is not None
    html = page.read_text()
    assert all(name in html for name in found.baselines.by_name)
    assert "Expected demand" in html
    assert "Cost of a minimum long-tail share" in html
    console = Console(record=True, width=160, quiet=True)
    with console.capture() as printed:
        console.quiet = False
        show(found, console)
    assert f"{found.baselines.best} (best)" in printed.get()

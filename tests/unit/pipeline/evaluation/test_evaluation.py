"""A release is measured through its own engines."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from rich.console import Console

from common.errors import InvalidRequest, NotReady
from common.release.store import Release
from pipeline.evaluation.analyses.cross_validation import AS_SERVED, TREES, WEIGHTS, cross_validate
from pipeline.evaluation.analyses.slices import measure_slices
from pipeline.evaluation.evaluation import EvaluationSettings, evaluate_release
from pipeline.measurement.metrics.evaluation_result import Evaluation
from pipeline.measurement.metrics.item_popularity import ItemPopularity
from pipeline.measurement.questions.answers import BOTH, FIRST, MODES, POPULAR
from pipeline.measurement.questions.gateway_runner import GatewayRunner
from pipeline.measurement.questions.local_runner import LocalRunner
from pipeline.measurement.questions.protocols import Question, Questions
from pipeline.progress import ProgressReport, ProgressStep

STEP = ProgressStep(None, "", None)


def test_every_mode_answers_every_question(local: LocalRunner, temporal: Questions):
    """As many items as asked for; probabilities in falling order, and only where both stages answer."""
    for mode in MODES:
        answers = local.answer_questions(temporal.main, mode, 10, STEP)
        assert list(answers) == [question.key for question in temporal.main]
        assert all(len(set(answer.item_ids)) == 10 for answer in answers.values())
        known = [~np.isnan(answer.probability).any() for answer in answers.values()]
        assert all(known) if mode == BOTH else not any(known)
    falling = [np.diff(answer.probability).max() <= 0 for answer in answers.values()]
    assert all(falling)


def test_popular_items_are_the_same_for_everybody(local: LocalRunner, temporal: Questions, facts: ItemPopularity):
    """Without a user in it, the answer is the items with the most buyers."""
    answers = local.answer_questions(temporal.main, POPULAR, 5, STEP)
    assert len({tuple(answer.item_ids) for answer in answers.values()}) == 1
    shown = facts.popularity[facts.rows(next(iter(answers.values())).item_ids)]
    assert shown.tolist() == sorted(facts.popularity, reverse=True)[:5]


def test_figures_are_complete_and_within_bounds(evaluation: Evaluation, temporal: Questions):
    """Each mode has every measure with its interval, differences to the others, latency and exposure."""
    assert list(evaluation.modes) == list(MODES)
    assert evaluation.questions == len(temporal.main)
    for before, mode in enumerate(evaluation.modes.values()):
        assert list(mode.over) == list(MODES[:before])
        for measure, found in mode.measures.items():
            assert found.low <= found.mean <= found.high
            assert measure.startswith("novelty") or 0 <= found.low <= found.high <= 1 + 1e-9
        assert sum(mode.shares.values()) == pytest.approx(1.0)
        assert mode.concentration[0] == (0.0, 0.0)
        assert mode.concentration[-1] == (1.0, pytest.approx(1.0))
        assert mode.latency["total"].p50 <= mode.latency["total"].p95
    assert evaluation.modes[BOTH].probabilities is not None
    assert evaluation.modes[FIRST].probabilities is None
    assert evaluation.cost.release_mb > 0
    assert "Fine-tuning the cross-encoder" in evaluation.cost.build_s
    assert evaluation.notes == ["Answers have at most 20 items, so measures at 100 are at 20."]


def test_differences_are_those_of_the_means(evaluation: Evaluation):
    """A paired difference has the difference of the means in its middle, and a p-value."""
    for mode in evaluation.modes.values():
        for other, gains in mode.over.items():
            for measure, gain in gains.items():
                expected = mode.measures[measure].mean - evaluation.modes[other].measures[measure].mean
                assert gain.mean == pytest.approx(expected)
                assert 0 < gain.p <= 1


def test_the_same_release_and_seed_give_the_same_figures(
    evaluation: Evaluation, release: Release, temporal: Questions, quiet: ProgressReport
):
    """All but what is measured in time and memory is repeatable."""
    again = evaluate_release(release, temporal, EvaluationSettings(limit=20, folds=3, threshold=0.1), quiet)

    def repeatable(found: Evaluation) -> dict[str, object]:
        figures = found.model_dump(exclude={"cost"})
        for mode in figures["modes"].values():
            del mode["latency"]
        for depth in figures["depths"]:
            del depth["latency"]
        return figures

    assert repeatable(again) == repeatable(evaluation)


def test_slices_part_users_and_items(evaluation: Evaluation, temporal: Questions):
    """Users fall into parts by history; items into bands, where only the band's items count."""
    users = [part for part in evaluation.slices if part.kind == "users" and not part.name.startswith("new")]
    assert sum(part.questions for part in users) <= len(temporal.main)
    assert {part.name for part in evaluation.slices if part.kind == "relevant items"} <= {
        *("head", "middle", "tail"),
        *("in the history: bought again", "not in the history: discovered"),
    }
    assert all(set(part.modes) == set(MODES) for part in evaluation.slices)


def test_new_users_and_languages_are_slices(local: LocalRunner, facts: ItemPopularity):
    """New users are a slice; a catalogue of two languages has a slice for each."""
    items = facts.catalogue.item_ids
    old = [Question(f"o{n}", f"o{n}", items[n : n + 1 + n % 3], "", {items[n]: 1.0, items[-1]: 1.0}) for n in range(15)]
    new = [Question(f"n{n}", f"n{n}", (), "", {items[n]: 1.0}) for n in range(5)]
    answers = {FIRST: local.answer_questions([*old, *new], FIRST, 10, STEP)}
    languages = ["en"] * (len(items) - 1) + ["es"]
    table = facts.catalogue.table.set_column(
        facts.catalogue.table.column_names.index("language"), "language", [languages]
    )
    catalogue = type(facts.catalogue)(table)
    found = measure_slices(Questions("t", "", old, new), answers, dataclasses.replace(facts, catalogue=catalogue), 1)
    by_name = {part.name: part.questions for part in found}
    assert by_name["new: no history"] == 5
    assert (by_name["en"], by_name["es"]) == (15, 15)
    assert [by_name[f"{n} to {n} events"] for n in (1, 2, 3)] == [5, 5, 5]


def test_folds_learn_from_the_others(evaluation: Evaluation):
    """Each order has a figure for each fold, and refitted orders are compared with the served one."""
    folds = evaluation.cross_validation
    assert folds is not None
    assert folds.by == "user"
    assert {name: len(values) for name, values in folds.folds.items()} == {AS_SERVED: 3, WEIGHTS: 3, TREES: 3}
    assert set(folds.over_served) == {WEIGHTS, TREES}
    assert folds.overall[WEIGHTS].mean > 0


@pytest.mark.parametrize("folds", [1, 1_000])
def test_impossible_folds_are_refused(local: LocalRunner, temporal: Questions, folds: int):
    """There are at least two folds, and at most as many as users."""
    with pytest.raises(InvalidRequest, match="choose 2 to"):
        cross_validate(local, temporal.main, folds, 1, STEP)


def test_a_query_is_never_split_between_folds(local: LocalRunner, monkeypatch: pytest.MonkeyPatch):
    """Questions of one query fall into one fold, whatever their languages."""
    from pipeline.evaluation.analyses import cross_validation as module  # noqa: PLC0415 - its parts are watched

    seen: list[tuple[set[str], set[str]]] = []
    whole = module._orders

    def watched(engines: LocalRunner, train: list[object], test: list[object], seed: int) -> object:
        seen.append(tuple({part.request.query for part in side} for side in (train, test)))  # type: ignore[attr-defined, arg-type]
        return whole(engines, train, test, seed)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_orders", watched)
    items = local.first_stage.snapshot.base.item_ids
    words = ["red milk", "white cheese", "fresh bread", "large soap"]
    questions = [Question(f"{w} {n}", w, (), w, {items[n]: 1.0}) for w in words for n in range(2)]
    found = cross_validate(local, questions, 2, 1, STEP)
    assert found.by == "query"
    assert len(seen) == 2
    assert all(train.isdisjoint(test) for train, test in seen)


def test_an_unreachable_gateway_is_an_error(release: Release, temporal: Questions):
    """The message names the address."""
    with pytest.raises(NotReady, match=r"the gateway at 127\.0\.0\.1:1 does not answer: UNAVAILABLE"):
        GatewayRunner("127.0.0.1:1", release.id).answer_questions(temporal.main[:1], POPULAR, 5, STEP)


def test_progress_names_each_step(release: Release, temporal: Questions):
    """Every long step is reported."""
    report = ProgressReport(Console(quiet=True))
    few = dataclasses.replace(temporal, main=temporal.main[:2], new_users=())
    evaluate_release(release, few, EvaluationSettings(limit=5), report)
    assert [name.split(" ")[0] for name in report.seconds] == [*["Answering"] * 5, "Ablating", "Measuring"]

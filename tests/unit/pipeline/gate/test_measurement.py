"""Measuring a release for the gate."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from pipeline.gate.measurement import collapsed, measure, score_spreads
from pipeline.gate.questions import HISTORY, QUERY, GateQuestions
from pipeline.measurement.questions.answers import BOTH, CROSS_ENCODER, FIRST, FUSION, Answer
from pipeline.measurement.questions.protocols import Question
from pipeline.progress import ProgressReport, ProgressStep

REPORT = ProgressReport(Console(file=StringIO()))
REQUESTS = 40


class FakeRunner:
    """Answers with the relevant item first in some modes, and with scores of a given spread."""

    def __init__(self, right: Sequence[str], spread: float = 5.0) -> None:
        self._right = right
        self._spread = spread

    def answer_questions(
        self, questions: Sequence[Question], mode: str, limit: int, step: ProgressStep
    ) -> dict[str, Answer]:
        """Answer every question alike."""
        step.advance(len(questions))
        items = [f"item {number}" for number in range(limit)]
        given = ["wanted", *items] if mode in self._right else [*items, "wanted"]
        scores = {CROSS_ENCODER: np.linspace(0, self._spread, 10), FUSION: np.linspace(-3, 3, 10)}
        nothing = np.full(len(given), np.nan)
        return {one.key: Answer(given, nothing, {}, tier_scores=scores if mode == BOTH else {}) for one in questions}


@pytest.fixture
def questions() -> GateQuestions:
    asked = {
        HISTORY: [Question(f"h{number}", "", ["a"], "", {"wanted": 1.0}) for number in range(REQUESTS)],
        QUERY: [Question(f"q{number}", "", (), "b", {"wanted": 1.0}) for number in range(REQUESTS)],
    }
    return GateQuestions(asked, None, "a test")


def test_two_stages_below_the_first_are_refused(questions: GateQuestions):
    """Where only the first stage finds the item, every occasion is refused; where both do, none is."""
    lost = measure(FakeRunner([FIRST]), questions, REPORT, seed=1)
    assert len(lost.faults) == 3
    assert lost.occasions[HISTORY].ndcg[FIRST].mean == 1.0
    assert measure(FakeRunner([FIRST, BOTH]), questions, REPORT, seed=1).faults == []


def test_a_release_below_the_current_one_is_refused(questions: GateQuestions):
    """The current release answered the same requests, and better."""
    current = FakeRunner([BOTH]).answer_questions(questions.all, BOTH, 50, ProgressStep(None, "", None))
    found = measure(FakeRunner([]), questions, REPORT, 1, current, "abc")
    assert found.current == "abc"
    assert len(found.faults) == 3
    assert all("current release" in fault for fault in found.faults)


def test_a_model_whose_scores_hardly_vary_is_refused(questions: GateQuestions):
    """A collapse is named with its occasion, whatever the order that comes of it."""
    found = measure(FakeRunner([FIRST, BOTH], spread=0.02), questions, REPORT, seed=1)
    assert found.spreads[HISTORY][CROSS_ENCODER] == pytest.approx(0.02)
    assert [fault.partition(" has")[0] for fault in found.faults] == [
        f"{HISTORY}: the cross-encoder",
        f"{QUERY}: the cross-encoder",
    ]
    assert [one[:2] for one in collapsed(found.spreads)] == [(HISTORY, CROSS_ENCODER), (QUERY, CROSS_ENCODER)]


def test_requests_that_a_model_did_not_score_say_nothing_of_it():
    """Unscored candidates, requests with few of them, and few requests are no collapse."""
    nothing = np.full(2, np.nan)
    one = Answer(["a", "b"], nothing, {}, tier_scores={CROSS_ENCODER: np.full(9, np.nan), FUSION: np.zeros(3)})
    assert score_spreads([one] * 100) == {}
    scored = Answer(["a"], nothing[:1], {}, tier_scores={CROSS_ENCODER: np.zeros(9)})
    assert score_spreads([scored] * 10) == {}
    assert score_spreads([scored] * 30) == {CROSS_ENCODER: 0.0}

"""The choice of a value on the validation part."""

from __future__ import annotations

import numpy as np

from benchmarks.offline.diversity import Point, choose, halves
from pipeline.measurement.questions.protocols import Question


def _point(value: float, ndcg: float, diversity: float) -> Point:
    return Point(value, np.array([ndcg, ndcg]), diversity, 0.1)


def test_the_most_different_answers_within_the_loss_are_chosen():
    """A value that loses too much is not chosen, and one that differs less than another neither."""
    points = [_point(0.0, 0.30, 0.5), _point(0.1, 0.297, 0.6), _point(0.2, 0.296, 0.7), _point(0.3, 0.25, 0.9)]
    assert choose(points, 0.02, "diversity").value == 0.2
    assert choose(points, 0.0, "diversity").value == 0.0


def test_the_parts_have_no_question_in_common():
    """Every question is in one part, always the same."""
    questions = [Question(str(at), str(at), (), "", {}) for at in range(7)]
    validation, test = halves(questions)
    assert {one.key for one in (*validation, *test)} == {str(at) for at in range(7)}
    assert len(validation) + len(test) == 7
    assert (validation, test) == halves(questions)

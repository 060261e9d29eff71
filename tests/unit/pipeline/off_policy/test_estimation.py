"""Estimates from a whole log whose truth is known, and the reasons to refuse one."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from common.errors import InvalidRequest
from pipeline.data.impressions.log_reader import ImpressionTables, read_log
from pipeline.off_policy.estimation import OffPolicyResult, estimate_value, print_result, usable_answers
from services.gateway.policy.exploration import PropensityTable
from testing.online.impression_logs import answer_record, event_record, write_log

POOL = [f"i{number}" for number in range(6)]
ATTRACTION = dict(zip(POOL, (0.1, 0.2, 0.6, 0.3, 0.5, 0.05), strict=True))
EXAMINATION = (1.0, 0.6, 0.3)
TARGET = ["i2", "i4", "i3"]
TRUTH = sum(look * ATTRACTION[item] for look, item in zip(EXAMINATION, TARGET, strict=True))
SHARE = 0.5


def _log(folder: Path, answers: int, **fields: Any) -> ImpressionTables:
    """Write a log of a gateway that orders items by their number, and of users who look and choose at random."""
    generator = np.random.default_rng(5)
    table = PropensityTable(len(POOL), len(EXAMINATION), SHARE)
    records = []
    for number in range(answers):
        places = list(range(len(POOL)))
        for position in range(len(EXAMINATION)):
            if generator.random() < SHARE:
                drawn = int(generator.integers(position, len(POOL)))
                places[position], places[drawn] = places[drawn], places[position]
        items = [POOL[place] for place in places[: len(EXAMINATION)]]
        propensities = [table.propensity(place, position) for position, place in enumerate(places[: len(items)])]
        given = {"user": f"u{number % 500}", "propensities": propensities, "pool": POOL, **fields}
        records.append(answer_record(f"r{number}", items, **given))
        for position, item in enumerate(items):
            if generator.random() < EXAMINATION[position] * ATTRACTION[item]:
                event = event_record(f"e{number}-{position}", item, request_id=f"r{number}", user=given["user"])
                records.append(event)
    return read_log([write_log(folder, records)])


def _estimate(tables: ImpressionTables, target: Sequence[str] = TARGET) -> OffPolicyResult:
    usable = usable_answers(tables, 100_000)
    return estimate_value(tables, usable, [target] * usable.answers.height, "view")


def test_estimates_are_close_to_the_truth(tmp_path: Path):
    """Each estimator's interval has the truth, which the logged reward is far from, and is within a tenth of it."""
    result = _estimate(_log(tmp_path, 12_000))
    assert not result.faults
    assert (result.answers, result.users, result.support) == (12_000, 500, 1.0)
    assert result.logged.high < 0.75 * TRUTH
    for of in result.estimates.values():
        assert of.value == pytest.approx(TRUTH, rel=0.1)
        assert of.low < TRUTH < of.high
    widths = {name: of.high - of.low for name, of in result.estimates.items()}
    assert widths["DR"] < widths["IPS"]


def test_the_logging_policy_itself_is_worth_what_it_got_without_random_positions(tmp_path: Path):
    """If the target is the policy's own order, estimates are of that order, not of the logged mixture."""
    tables = _log(tmp_path, 6_000)
    truth = sum(look * ATTRACTION[item] for look, item in zip(EXAMINATION, POOL[:3], strict=True))
    assert _estimate(tables, POOL[:3]).estimates["DR"].value == pytest.approx(truth, rel=0.1)


def test_without_support_there_is_no_estimate(tmp_path: Path):
    """A release that shows what the log never could is refused, with what to do."""
    result = _estimate(_log(tmp_path, 500), ["i2", "elsewhere", "i3"])
    assert not result.estimates
    assert "could have shown 67%" in result.faults[0]
    console = Console(file=io.StringIO(), width=300)
    print_result(result, console)
    assert "no estimate:" in console.file.getvalue()  # type: ignore[attr-defined]  # it is a StringIO


def test_a_short_log_is_refused(tmp_path: Path):
    """What was hardly ever shown says nothing."""
    assert any("log for longer" in fault for fault in _estimate(_log(tmp_path, 60)).faults)


def test_wrong_propensities_are_noticed(tmp_path: Path):
    """If weights do not add up to what the propensities promise, there is no estimate."""
    result = _estimate(_log(tmp_path, 2_000, propensities=[0.9, 0.9, 0.9]))
    assert any("away from what the propensities say" in fault for fault in result.faults)


def test_answers_that_cannot_be_used_are_counted(tmp_path: Path):
    """Answers without random positions, with slots, a filter or degraded are left out; without any, it is an error."""
    drawn = {"propensities": [1.0], "pool": ["x"]}
    records = [
        answer_record("plain", ["x"]),
        answer_record("pinned", ["p", "x"], propensities=[1.0, 1.0], pool=["x"]),
        answer_record("filtered", ["x"], filtered=True, **drawn),
        answer_record("degraded", ["x"], degradations=["RANKING_TOO_SLOW"], **drawn),
        answer_record("old", ["x"], at_us=1, **drawn),
        answer_record("used", ["x"], **drawn),
    ]
    usable = usable_answers(read_log([write_log(tmp_path / "a", records)]), 1)
    assert usable.answers["request_id"].to_list() == ["used"]
    assert list(usable.left_out.values()) == [1, 1, 1, 1, 1]
    with pytest.raises(InvalidRequest, match="--exploration-share"):
        usable_answers(read_log([write_log(tmp_path / "b", records[:1])]), 10)

"""Variants compared by a log of which the effect is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from common.errors import InvalidRequest
from pipeline.__main__ import app
from pipeline.comparison.comparison import ComparisonResult, compare_variants
from pipeline.data.impressions.log_reader import read_log
from testing.online.impression_logs import START_US, answer_record, event_record, write_log

USERS = 1_200


def _log(folder: Path, lift: float = 0.2, **fields: Any) -> Path:
    """Write three answers for each user, half of them of `b`, who choose more often; users differ in how often."""
    generator = np.random.default_rng(9)
    records = []
    for user in range(USERS):
        variant, rate = ("a", "b")[user % 2], 0.1 + 0.6 * generator.random()
        earlier = {"user": f"u{user}", "at_us": START_US - 1_000}
        records += [event_record(f"before-{user}-{number}", "x", **earlier) for number in range(int(10 * rate))]
        for number in range(3):
            request_id = f"{user}-{number}"
            given = {
                "user": f"u{user}",
                "variants": [["other", "z", False], ["e", variant, False]],
                "occasion": ("history", "query")[number % 2],
                "total_ms": 10.0 if variant == "a" else 20.0,
                **fields,
            }
            records.append(answer_record(request_id, ["x", "y"], **given))
            if generator.random() < rate + lift * (variant == "b"):
                records.append(event_record(request_id, "y", user=f"u{user}", request_id=request_id))
    return write_log(folder, records)


def _compare(folder: Path, **options: Any) -> ComparisonResult:
    return compare_variants(read_log([folder]), "e", "a", "view", **options)


def test_a_lift_is_found_and_history_narrows_it(tmp_path: Path):
    """The interval has the lift and not 0, and what users did before explains a part of the variance."""
    result = _compare(_log(tmp_path))
    both = result.slices["all"]
    assert list(both) == ["a", "b"]
    assert both["a"].difference is None
    found = both["b"].difference
    assert found is not None
    assert found.low < 0.2 < found.high
    assert found.low > 0
    assert found.p < 0.001
    assert result.variance_left < 0.8
    assert (both["a"].users, both["b"].answers, both["b"].p95_ms) == (600, 1_800, 20.0)


def test_slices_are_compared_within(tmp_path: Path):
    """Each value of a column is compared on its own."""
    result = _compare(_log(tmp_path), by=["occasion"])
    assert list(result.slices) == ["all", "occasion history", "occasion query"]
    assert result.slices["occasion history"]["b"].answers == 1_200
    assert result.slices["occasion query"]["b"].difference is not None


def test_answers_of_a_stopped_variant_are_left_out(tmp_path: Path):
    """The control gave them, so they say nothing of the variant."""
    write_log(tmp_path / "b", [answer_record("s", ["x"], user="u1", variants=[["e", "b", True]])], 2)
    _log(tmp_path / "a")
    result = _compare(tmp_path)
    assert result.notes == ["1 answers of stopped variants were left out."]


def test_users_of_a_stopped_variant_count_for_the_split(tmp_path: Path):
    """Who came after the stop was assigned the variant too: the split is as the weights say."""
    records = [
        answer_record(f"s{user}", ["x"], user=f"late{user}", variants=[["e", "ab"[user % 2], user % 2 == 1]])
        for user in range(400)
    ]
    write_log(tmp_path / "b", records, 2)
    _log(tmp_path / "a")
    result = _compare(tmp_path, weights={"a": 1, "b": 1})
    assert result.notes == ["200 answers of stopped variants were left out."]


def test_users_of_two_variants_are_left_out_and_counted(tmp_path: Path):
    """What they chose says nothing of either variant; so do lines that cannot be read, which are counted too."""
    folder = _log(tmp_path)
    expected = _compare(folder).slices
    moved = [answer_record(f"m{name}", ["x"], user="moved", variants=[["e", name, False]]) for name in "ab"]
    write_log(folder, moved, 2)
    (folder / "shown-9.jsonl").write_text("torn")
    result = _compare(folder)
    assert result.slices == expected
    assert [note.split(" ", 1)[0] for note in result.notes] == ["1", "1"]
    assert "could not be read" in result.notes[0]
    assert "1 users had more than one variant" in result.notes[1]


def test_a_wrong_split_is_said(tmp_path: Path):
    """Users who are not split by the weights are a fault of the experiment."""
    folder = _log(tmp_path)
    assert not _compare(folder, weights={"a": 1, "b": 1}).notes
    assert "not split as the weights say (a 600, b 600" in _compare(folder, weights={"a": 2, "b": 1}).notes[0]


def test_the_log_must_have_the_experiment(tmp_path: Path):
    """An unknown experiment or control is an error that says what there is."""
    tables = read_log([write_log(tmp_path, [answer_record("r", ["x"], user="u", variants=[["e", "b", False]])])])
    for experiment, found in (("e", "it has b"), ("none", "it has none")):
        with pytest.raises(InvalidRequest, match=found):
            compare_variants(tables, experiment, "a", "view")


def test_the_command_reads_names_and_weights_from_the_file(tmp_path: Path):
    """`compare` takes control and weights from the file of experiments, and writes the result."""
    (tmp_path / "e.toml").write_text(
        '[[experiment]]\nname = "e"\n[[experiment.variant]]\nname = "a"\n[[experiment.variant]]\nname = "b"\n'
    )
    log, out = _log(tmp_path / "log"), tmp_path / "result.json"
    arguments = ["compare", "--log", str(log), "--experiments", str(tmp_path / "e.toml"), "--slice", "occasion"]
    result = CliRunner().invoke(app, [*arguments, "--json", str(out)])
    assert result.exit_code == 0, result.output
    expected = _compare(log, by=["occasion"], weights={"a": 1, "b": 1})
    assert ComparisonResult.model_validate_json(out.read_text()) == expected
    refused = CliRunner().invoke(app, [*arguments[:-1], "nothing"])
    assert refused.exit_code != 0

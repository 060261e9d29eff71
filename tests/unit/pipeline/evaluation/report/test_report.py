"""The report is one self-contained page with the evaluation's figures."""

from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from common.errors import InvalidRequest
from common.release.store import open_release
from pipeline.data.dataset.dataset import Dataset
from pipeline.evaluation.command import EvaluationData, run_evaluation, show
from pipeline.evaluation.evaluation import EvaluationSettings
from pipeline.evaluation.report.report import render_report
from pipeline.evaluation.report.svg import Scale
from pipeline.measurement.metrics.estimates import Difference
from pipeline.measurement.metrics.evaluation_result import Evaluation
from pipeline.measurement.metrics.learning_curve import LearningCurve
from pipeline.measurement.questions.answers import BOTH, FIRST
from pipeline.progress import ProgressReport

VOID = {"meta", "br"}


class Nesting(HTMLParser):
    """Checks that every tag is closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open a tag."""
        del attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Pass over what closes itself."""

    def handle_endtag(self, tag: str) -> None:
        """Close it."""
        assert self.open.pop() == tag


def with_gain(evaluation: Evaluation, low: float, high: float) -> Evaluation:
    """Return an evaluation with another gain in NDCG@10."""
    gain = Difference(mean=(low + high) / 2, low=low, high=high, p=0.01)
    both = evaluation.modes[BOTH]
    over = {**both.over, FIRST: {**both.over[FIRST], "ndcg@10": gain}}
    modes = {**evaluation.modes, BOTH: both.model_copy(update={"over": over})}
    return evaluation.model_copy(update={"modes": modes})


def test_the_page_loads_nothing(evaluation: Evaluation):
    """No script, no link, no image, no font and no address."""
    page = render_report(evaluation)
    assert not re.search(r"<(script|link|img|iframe)|https?://|@import|url\(", page)


def test_the_page_is_well_nested_and_has_every_part(evaluation: Evaluation):
    """Every tag is closed in order, and every section and chart is there."""
    page = render_report(evaluation)
    nesting = Nesting()
    nesting.feed(page)
    assert nesting.open == []
    titles = re.findall(r"<h2>(.*?)</h2>", page)
    assert len(titles) == 12
    assert page.count("<svg") >= 17
    assert "nan" not in page.lower().replace("nanos", "")
    assert f"{evaluation.modes[BOTH].measures['ndcg@10'].mean:.4f}" in page


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(0.01, 0.03, "Two stages beat"), (-0.03, -0.01, "do worse"), (-0.01, 0.03, "do not differ significantly")],
)
def test_the_headline_follows_the_interval(evaluation: Evaluation, low: float, high: float, said: str):
    """Only an interval on one side of 0 is called better or worse."""
    assert said in render_report(with_gain(evaluation, low, high))


def test_what_was_not_measured_is_left_out(evaluation: Evaluation):
    """Sections without figures are left out."""
    nothing = {"sources": None, "cross_validation": None, "slices": [], "depths": [], "ablations": {}, "training": {}}
    page = render_report(evaluation.model_copy(update=nothing))
    assert "Contribution of each candidate source" not in page
    assert "Cross-validation" not in page
    assert "Slices of users and items" not in page
    assert "Cross-encoder depth" not in page
    assert "Feature ablation" not in page
    assert "<h2>Training</h2>" not in page


def test_a_training_without_validation_has_one_curve(evaluation: Evaluation):
    """Without validation lists there is a loss curve only."""
    curve = LearningCurve(loss=[(1, 0.5), (2, 0.25)], valid_loss=[], valid_ndcg=[])
    page = render_report(evaluation.model_copy(update={"training": {"cross_encoder": curve}}))
    part = page.split("<h2>Training</h2>")[1].split("</section>")[0]
    assert part.count("<svg") == 1
    assert "training, step 2: 0.2500" in part
    assert "validation, step" not in part


def test_names_are_escaped(evaluation: Evaluation):
    """A name of the data cannot become mark-up."""
    page = render_report(evaluation.model_copy(update={"source": "<b>shop & co", "notes": ["<i>"]}))
    assert "<b>shop" not in page
    assert "&lt;b&gt;shop &amp; co" in page
    assert "<i>" not in page.split("<h3>Notes</h3>")[1].split("</ul>")[0]


def test_figures_survive_json(evaluation: Evaluation):
    """An evaluation survives a round trip through JSON."""
    assert Evaluation.model_validate_json(evaluation.model_dump_json()) == evaluation


def test_the_command_writes_both_files(
    tiny_release: Path, tiny_dataset: Dataset, tmp_path: Path, quiet: ProgressReport
):
    """On a prepared dataset it measures, writes page and figures, and prints a table."""
    tiny_dataset.save(tmp_path / "data")
    out, json = tmp_path / "new/report.html", tmp_path / "report.json"
    where = EvaluationData(data=tmp_path / "data", users=4)
    found = run_evaluation(str(tiny_release), where, EvaluationSettings(limit=10), out, json, quiet)
    assert out.read_text() == render_report(found)
    assert Evaluation.model_validate_json(json.read_text()) == found
    beside = tiny_release / "evaluations" / found.release_id / "temporal.json"
    assert beside.read_text() == json.read_text()
    assert open_release(str(tiny_release)).id == found.release_id
    assert not any("built from other data" in note for note in found.notes)
    console = Console(record=True, width=160, quiet=False, file=(tmp_path / "log").open("w"))
    show(found, console)
    assert "two stages" in console.export_text()
    console.file.close()


def test_a_release_outside_a_store_gets_no_file_beside_it(
    tiny_release: Path, tiny_dataset: Dataset, tmp_path: Path, quiet: ProgressReport
):
    """A folder that is no store, such as the cache of releases from a URL, is left alone."""
    tiny_dataset.save(tmp_path / "data")
    release = open_release(str(tiny_release))
    shutil.copytree(release.path, tmp_path / "cache" / release.id)
    where = EvaluationData(data=tmp_path / "data", users=1)
    run_evaluation(str(tmp_path / "cache" / release.id), where, EvaluationSettings(limit=5), None, None, quiet)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [release.id]


def test_other_data_than_the_releases_is_noted(
    tiny_release: Path, tiny_dataset: Dataset, tmp_path: Path, quiet: ProgressReport
):
    """If the fingerprint differs, a note says so."""
    fewer = Dataset(tiny_dataset.items, tiny_dataset.events[:-1], None, tiny_dataset.report.model_copy())
    fewer.save(tmp_path / "data")
    found = run_evaluation(
        str(tiny_release),
        EvaluationData(data=tmp_path / "data", users=2),
        EvaluationSettings(limit=5),
        None,
        None,
        quiet,
    )
    assert any("built from other data" in note for note in found.notes)


def test_without_data_the_command_asks_for_it(tiny_release: Path, quiet: ProgressReport):
    """The message names the options."""
    with pytest.raises(InvalidRequest, match="--source with --data"):
        run_evaluation(str(tiny_release), EvaluationData(), EvaluationSettings(), None, None, quiet)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0.0, 1.0, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]), (-0.02, 0.02, [-0.02, -0.01, 0.0, 0.01, 0.02]), (0.0, 0.0, None)],
)
def test_ticks_are_round_and_within(low: float, high: float, ticks: list[float] | None):
    """A handful of round values between the ends; a scale without width has one."""
    found = Scale(low, high, 0, 100).ticks()
    assert found == pytest.approx(ticks if ticks is not None else [0.0])

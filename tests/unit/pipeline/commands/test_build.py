"""The options of `build`."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from common.errors import InvalidRequest
from common.release.store import Release
from pipeline.__main__ import app
from pipeline.commands.build import REFUSED
from pipeline.commands.field_options import flag_of
from pipeline.data.dataset.dataset import Dataset
from pipeline.progress import ProgressReport
from pipeline.release.config.build_settings import BuildSettings
from pipeline.release.config.field_checks import described_fields


def test_every_described_setting_has_an_option_with_help():
    """`build --help` lists every setting with its description."""
    output = CliRunner().invoke(app, ["build", "--help"], env={"COLUMNS": "400"}).output
    for name, field in described_fields(BuildSettings).items():
        assert f"{flag_of(name, field)} " in output
        assert (field.description or "")[:60] in output


def test_help_shows_the_defaults_of_recipes():
    """The default is followed by those of the recipes that have another."""
    output = CliRunner().invoke(app, ["build", "--help"], env={"COLUMNS": "400"}).output
    assert "(5; sequences: 0; seasons: 1; searches: 0; catalogue: 0)" in output
    assert "(by the data)" in output


@pytest.mark.parametrize(
    ("tables", "options", "recipe"),
    [
        ({"items": "item_id,title\n1,Tea\n"}, [], "catalogue"),
        ({"items": "item_id,title\n1,Tea\n", "judgements": "query,item_id,relevance\ntea,1,1\n"}, [], "searches"),
        (
            {"items": "item_id,title\n1,Tea\n", "events": "user_id,item_id,event,position\nu,1,buy,1\n"},
            [],
            "sequences",
        ),
        ({"items": "item_id,title\n1,Tea\n"}, ["--recipe", "baskets"], "baskets"),
    ],
)
def test_the_data_choose_a_recipe_unless_one_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tables: dict[str, str],
    options: list[str],
    recipe: str,
):
    """The settings are that recipe's, with the options that were given."""
    built: list[BuildSettings] = []

    def build(_dataset: Dataset, _store: Path, settings: BuildSettings, _report: ProgressReport, **_: bool) -> Release:
        built.append(settings)
        raise InvalidRequest("built enough")

    monkeypatch.setattr("pipeline.build.builder.build", build)
    for name, text in tables.items():
        (tmp_path / f"{name}.csv").write_text(text)
    paths = ["--data", str(tmp_path), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, ["build", "--source", "table", *paths, "--seed", "3", *options])
    assert "built enough" in str(result.exception)
    assert built == [BuildSettings.from_recipe(recipe, seed=3)]
    assert (f"Recipe {recipe}" in result.output) == (not options)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--late-bits", "5"], "late_bits: Input should be 0, 4 or 8"),
        (["--window-days", "0"], "window_days"),
        (["--event-weight", "look=1"], "'look' is no kind of event"),
    ],
)
def test_values_that_the_settings_refuse_are_errors(tmp_path: Path, option: list[str], message: str):
    """A bound that typer does not know is checked by the settings, before any data is read."""
    result = CliRunner().invoke(app, ["build", "--source", "table", "--out", str(tmp_path / "out"), *option])
    assert isinstance(result.exception, InvalidRequest)
    assert message in str(result.exception)


@pytest.mark.parametrize(("is_current", "code"), [(True, 0), (False, REFUSED)])
def test_a_demo_whose_release_is_refused_says_so(monkeypatch: pytest.MonkeyPatch, is_current: bool, code: int):
    """`demo` exits as `build` does: with 3 if the gate kept the release from being the current one."""
    monkeypatch.setattr("pipeline.demo.run_demo", lambda *_: is_current)
    assert CliRunner().invoke(app, ["demo"]).exit_code == code

"""The options of `build`."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from common.errors import InvalidRequest
from pipeline.__main__ import app
from pipeline.commands.field_options import flag_of
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
    assert "(5; sequences: 0; seasons: 1; searches: 0)" in output


@pytest.mark.parametrize(
    ("option", "message"),
    [(["--late-bits", "5"], "late_bits: Input should be 0, 4 or 8"), (["--window-days", "0"], "window_days")],
)
def test_values_that_the_settings_refuse_are_errors(tmp_path: Path, option: list[str], message: str):
    """A bound that typer does not know is checked by the settings, before any data is read."""
    result = CliRunner().invoke(app, ["build", "--source", "table", "--out", str(tmp_path / "out"), *option])
    assert isinstance(result.exception, InvalidRequest)
    assert message in str(result.exception)

"""Settings: where they come from, and what happens to mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field, ValidationError
from pydantic_settings import SettingsConfigDict

from common.server.settings import ServerSettings, load_settings


class ShopSettings(ServerSettings):
    """Serves the shop, 100% of it."""

    model_config = SettingsConfigDict(env_prefix="SHORTLIST_SHOP_")

    release: str = Field(description="Where the release lies.")
    folder: Path | None = Field(None, description="A folder.")
    share: float = Field(0.5, ge=0, le=1, description="A share, 50% by default.")
    mode: Literal["fast", "slow"] = Field("fast", description="A mode.")
    strict: bool = Field(default=False, description="Whether to be strict.")


def load(*argv: str) -> ShopSettings:
    """Load the shop's settings with its one required flag."""
    return load_settings(ShopSettings, "shop", ["--release", "r", *argv])


def refusal(capsys: pytest.CaptureFixture[str], *argv: str) -> list[str]:
    """Return the lines that refuse a command line."""
    with pytest.raises(SystemExit) as stop:
        load(*argv)
    assert stop.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


def test_flags_win_over_the_environment_over_defaults(monkeypatch: pytest.MonkeyPatch):
    """A setting comes from its flag, else its variable, else its default, in the field's own type."""
    monkeypatch.setenv("SHORTLIST_SHOP_PORT", "1")
    monkeypatch.setenv("SHORTLIST_SHOP_SHARE", "0.25")
    settings = load("--port", "2", "--folder=/data", "--strict", "true")
    assert (settings.port, settings.share, settings.mode) == (2, 0.25, "fast")
    assert (settings.folder, settings.strict) == (Path("/data"), True)


def test_settings_are_frozen():
    """Settings can't be changed once they are loaded."""
    with pytest.raises(ValidationError, match="frozen"):
        load().port = 3


def test_an_unknown_flag_names_the_nearest_one(capsys: pytest.CaptureFixture[str]):
    """A mistyped flag is refused in one line that names the flag meant; its value is not blamed."""
    assert refusal(capsys, "--prot", "1")[1:-1] == ["  --prot: unknown argument; did you mean --port?"]


def test_flags_cannot_be_abbreviated(capsys: pytest.CaptureFixture[str]):
    """The beginning of a flag is not that flag, which later releases may make ambiguous."""
    assert "--metrics-port" in refusal(capsys, "--metrics", "1")[1]


def test_a_stray_argument_is_refused(capsys: pytest.CaptureFixture[str]):
    """An argument that belongs to no flag is refused."""
    assert refusal(capsys, "stray")[1].startswith("  stray: unknown argument")


def test_an_unknown_variable_names_the_nearest_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """A mistyped variable with the service's prefix is refused in one line that names the variable meant."""
    monkeypatch.setenv("SHORTLIST_SHOP_METRIC_PORT", "1")
    (line,) = refusal(capsys)[1:-1]
    assert line.startswith("  SHORTLIST_SHOP_METRIC_PORT: unknown environment variable;")
    assert line.endswith("did you mean SHORTLIST_SHOP_METRICS_PORT?")


def test_variables_of_other_services_are_not_looked_at(monkeypatch: pytest.MonkeyPatch):
    """Services share the beginning SHORTLIST_, and one's variables are no mistakes to another."""
    monkeypatch.setenv("SHORTLIST_RANKING_NOVELTY", "1")
    monkeypatch.setenv("SHORTLIST_SHOPPING_NOVELTY", "1")
    assert load().release == "r"


def test_every_fault_is_told_at_once_and_by_name(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Bad values are told in one line each, with flag, variable and what was given, and no traceback."""
    monkeypatch.setenv("SHORTLIST_SHOP_MODE", "quick")
    lines = refusal(capsys, "--port", "many", "--share", "nan", "--drain-timeout-s", "-1")
    assert lines[0] == "shop: the settings cannot be used"
    assert lines[-1] == "`shop --help` lists all settings"
    assert [line.partition(":")[0] for line in lines[1:-1]] == [
        "  --port or SHORTLIST_SHOP_PORT",
        "  --drain-timeout-s or SHORTLIST_SHOP_DRAIN_TIMEOUT_S",
        "  --share or SHORTLIST_SHOP_SHARE",
        "  --mode or SHORTLIST_SHOP_MODE",
    ]
    assert lines[4].endswith("Input should be 'fast' or 'slow' (given: 'quick')")


def test_a_required_setting_that_is_missing_is_named(capsys: pytest.CaptureFixture[str]):
    """A required setting that nobody gave is one line with its flag and variable."""
    with pytest.raises(SystemExit) as stop:
        load_settings(ShopSettings, "shop", [])
    assert stop.value.code == 2
    assert "  --release or SHORTLIST_SHOP_RELEASE: Field required" in capsys.readouterr().err.splitlines()


def test_help_tells_everything_of_every_setting(capsys: pytest.CaptureFixture[str]):
    """Help exits 0 and lists each setting's flag, type, meaning, default and variable."""
    with pytest.raises(SystemExit) as stop:
        load("--help")
    assert stop.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for name, field in ShopSettings.model_fields.items():
        assert f"--{name.replace('_', '-')} " in text
        assert f"environment: SHORTLIST_SHOP_{name.upper()}]" in text
        assert field.description in text
    assert "--release TEXT Where the release lies. [required;" in text
    assert "--folder PATH A folder. [optional;" in text
    assert "--share NUMBER A share, 50% by default. [default: 0.5;" in text
    assert "--mode fast|slow A mode. [default: fast;" in text
    assert "Serves the shop, 100% of it." in text

"""Options from the fields of a settings dataclass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
import typer
from pydantic import Field
from typer.testing import CliRunner

from pipeline.commands.field_options import with_field_options


@dataclass(frozen=True)
class Settings:
    """Settings of a tiny command; the last field has no description, and so no option."""

    trees: Annotated[int, Field(ge=1, le=9, description="Trees of the forest.")] = 3
    added_names: Annotated[
        tuple[str, ...], Field(json_schema_extra={"flag": "--add-name"}, description="A further name.")
    ] = ()
    bits: Annotated[Literal[0, 4], Field(description="Bits.")] = 0
    kind: Annotated[Literal["oak", "elm"], Field(description="Kind of tree.")] = "oak"
    is_wild: Annotated[bool, Field(description="Whether it is wild.")] = False
    inner: object = None


@pytest.fixture
def app() -> typer.Typer:
    """Return an app whose one command prints what it gets."""
    made = typer.Typer()

    @made.command()
    @with_field_options(Settings, {"trees": "Forest", "kind": "Kinds"}, lambda name: f"the {name}")
    def grow(place: Annotated[str, typer.Option()], *, changes: dict[str, Any]) -> None:
        typer.echo(f"{place} {changes}")

    return made


def _run(app: typer.Typer, *arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "120"})
    return result.exit_code, result.output


def test_given_options_reach_the_command(app: typer.Typer):
    """The command gets its own parameters, and the fields whose options are given."""
    assert _run(app, "--place", "here") == (0, "here {}\n")
    given = ["--trees", "5", "--add-name", "a", "--add-name", "b", "--bits", "4", "--kind", "elm", "--is-wild"]
    expected = {"trees": 5, "added_names": ["a", "b"], "bits": 4, "kind": "elm", "is_wild": True}
    assert _run(app, "--place", "here", *given) == (0, f"here {expected}\n")


@pytest.mark.parametrize("wrong", [["--trees", "0"], ["--trees", "10"], ["--kind", "fir"], ["--inner", "x"]])
def test_bounds_choices_and_unknown_options_are_refused(app: typer.Typer, wrong: list[str]):
    """Values outside of the field's bounds or choices are refused, and so is an option for an undescribed field."""
    assert _run(app, "--place", "here", *wrong)[0] == 2


def test_help_has_description_default_and_panel(app: typer.Typer):
    """Each field's help is in its panel, with the default that the caller names."""
    code, output = _run(app, "--help")
    assert code == 0
    forest, kinds = output.partition("Forest")[2].split("Kinds")
    assert "--trees" in forest
    assert "Trees of the forest." in forest
    assert "the trees" in forest
    assert "--kind" in kinds
    assert "inner" not in output

"""Command-line options from the described fields of a settings dataclass: flag, help, default and bounds."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Annotated, Any, Literal, get_args, get_origin

import annotated_types
import typer
from pydantic.fields import FieldInfo

from pipeline.release.config.field_checks import described_fields


def with_field_options(
    cls: type, panels: Mapping[str, str], default_of: Callable[[str], str]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that gives a command an option for each described field of a class.

    The command needs a keyword parameter ``changes``: a dictionary of the fields whose options are given. An option
    that is not given leaves its field to the class.

    Args:
        cls: A settings dataclass; see `pipeline.release.config.field_checks`.
        panels: Titles of the groups in ``--help``, by the first field of each.
        default_of: Returns the default of a field, as ``--help`` shows it.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [one for one in inspect.signature(command, eval_str=True).parameters.values() if one.name != "changes"]
        fields = described_fields(cls)

        @wraps(command)
        def run(**given: Any) -> None:
            changes = {name: given.pop(name) for name in fields}
            command(**given, changes={name: value for name, value in changes.items() if value not in (None, [])})

        parameters = [*own, *_parameters(fields, panels, default_of)]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # typer reads it
        run.__annotations__ = {one.name: one.annotation for one in parameters}
        return run

    return decorate


def _parameters(
    fields: Mapping[str, FieldInfo], panels: Mapping[str, str], default_of: Callable[[str], str]
) -> list[inspect.Parameter]:
    parameters, panel = [], ""
    for name, field in fields.items():
        panel = panels.get(name, panel)
        option = typer.Option(
            flag_of(name, field),
            help=field.description,
            show_default=default_of(name) or False,
            rich_help_panel=panel,
            min=_bound(field, annotated_types.Ge, "ge"),
            max=_bound(field, annotated_types.Le, "le"),
        )
        kind = Annotated[_option_type(field.annotation), option]  # type: ignore[valid-type]  # made at run time
        parameters.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind))
    return parameters


def flag_of(name: str, field: FieldInfo) -> str:
    """Return the flag of a field: ``flag`` of its JSON schema extra if there is one, else made from its name."""
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    return str(extra.get("flag", "--" + name.replace("_", "-")))


def _option_type(annotation: Any) -> Any:
    """Return the type that typer parses: a list for a tuple, an integer for a choice of integers; or None."""
    if get_origin(annotation) is tuple:
        return list[str] | None
    if get_origin(annotation) is Literal and all(isinstance(one, int) for one in get_args(annotation)):
        return int | None
    return annotation | None


def _bound(field: FieldInfo, kind: type, name: str) -> float | None:
    """Return a closed bound; typer knows no open ones, which the settings check alone."""
    return next((getattr(one, name) for one in field.metadata if isinstance(one, kind)), None)

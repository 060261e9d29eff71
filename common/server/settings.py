"""Settings from flags, environment variables and defaults, in this precedence; unknown ones are errors.

A server has one frozen settings class with its own prefix (``SHORTLIST_GATEWAY_``), created once in ``__main__`` and
passed on as values. pydantic-settings ignores unknown variables, so they are checked here.

Trap: Kubernetes sets ``<SERVICE>_PORT`` and similar variables for every Service of the namespace. A Service called
``shortlist-gateway`` collides with our prefix, so pods need ``enableServiceLinks: false``.
"""

from __future__ import annotations

import argparse
import difflib
import os
import sys
import types
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NoReturn, TypeVar, Union, get_args, get_origin

from pydantic import Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from common.server.access.settings import SecuritySettings
from common.server.channel import MAX_MESSAGE_BYTES, MAX_METADATA_BYTES

LogLevel = Literal["debug", "info", "warning", "error"]
_METAVARS = {int: "INTEGER", float: "NUMBER", str: "TEXT", bool: "TRUE|FALSE"}


class ServerSettings(SecuritySettings):
    """The settings of every server."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", validate_default=True)

    port: int = Field(default=0, ge=0, le=65_535, description="Port of the gRPC server; 0 for a free one.")
    metrics_port: int = Field(
        default=0, ge=0, le=65_535, description="Port of the Prometheus metrics; 0 for a free one."
    )
    health_port: int | None = Field(
        default=None,
        ge=0,
        le=65_535,
        description="Port of health checks alone, in the clear, for probes that cannot speak TLS; 0 for a free one.",
    )
    log_level: LogLevel = Field(default="info", description="Lowest level of log lines to write.")
    log_request_texts: bool = Field(
        default=False, description="Whether log lines may quote what callers sent, such as ids and words of queries."
    )
    drain_timeout_s: float = Field(
        default=10.0,
        ge=0,
        allow_inf_nan=False,
        description="Seconds that calls in progress have to finish after SIGTERM.",
    )
    drain_delay_s: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        description="Seconds after SIGTERM in which the server is NOT_SERVING and still takes calls, until load "
        "balancers have noticed.",
    )
    max_connection_age_s: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        description="Seconds after which a connection ends without failing a call, so that clients look for new "
        "replicas; 0 for never.",
    )
    request_timeout_s: float = Field(
        default=2.0,
        gt=0,
        allow_inf_nan=False,
        description="Maximum seconds that a call may take, even if its deadline is later.",
    )
    max_open_calls: int = Field(
        default=2_000, ge=1, description="Calls that may be open at a time; more are refused with RESOURCE_EXHAUSTED."
    )
    max_message_mb: int = Field(
        default=MAX_MESSAGE_BYTES >> 20,
        ge=1,
        le=512,
        description="Megabytes of one request or answer; more are refused with RESOURCE_EXHAUSTED.",
    )
    max_metadata_kb: int = Field(
        default=MAX_METADATA_BYTES >> 10,
        ge=1,
        le=1_024,
        description="Kilobytes of a call's metadata; more are refused with RESOURCE_EXHAUSTED.",
    )
    max_unsent_mb: int = Field(
        default=128, ge=1, description="Megabytes of large answers that may wait for their callers to read them."
    )
    trace_endpoint: str = Field(
        default="",
        pattern=r"^$|^https?://[^/@\s]+:\d{1,5}$",
        description="OpenTelemetry collector that traces are sent to over OTLP/gRPC: http://host:4317, or https:// for "
        "TLS; none if empty. Needs the extra `tracing`.",
    )
    trace_share: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Share of calls that are traced; a caller that sends traceparent decides for its call itself.",
    )


S = TypeVar("S", bound=BaseSettings)


def load_settings(cls: type[S], program: str, argv: Sequence[str]) -> S:
    """Create a program's settings from its flags, the environment and the defaults, in this precedence.

    Args:
        cls: The settings class; its prefix is that of the environment variables, its descriptions are the help.
        program: The program's command, for its help and messages.
        argv: The command line without the program.

    Raises:
        SystemExit: 0 after ``--help``; 2 after unknown settings or bad values, with one line for each on stderr.
    """
    flags, leftover = _parser(cls, program).parse_known_args(argv)
    given = {name: value for name, value in vars(flags).items() if value is not None}
    faults = [*_unknown_arguments(cls, leftover), *_unknown_variables(cls)]
    try:
        settings = cls(**given)
    except ValidationError as error:
        faults += [_fault(cls, detail["loc"], detail["msg"], detail.get("input")) for detail in error.errors()]
    except SettingsError as error:
        faults.append(str(error))
    if faults:
        _refuse(program, faults)
    return settings


def flag_name(name: str) -> str:
    """Return the flag of a setting: `metrics_port` is `--metrics-port`."""
    return "--" + name.replace("_", "-")


def variable_name(cls: type[BaseSettings], name: str) -> str:
    """Return the environment variable of a setting."""
    return f"{cls.model_config.get('env_prefix', '')}{name}".upper()


def _parser(cls: type[BaseSettings], program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program,
        usage="%(prog)s [--SETTING VALUE …]",
        description=cls.__doc__,
        epilog="A flag takes precedence over its environment variable, which takes precedence over the default.",
        allow_abbrev=False,
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=36, width=120),
    )
    for name, field in cls.model_fields.items():
        parser.add_argument(
            flag_name(name), dest=name, metavar=_metavar(field.annotation), help=_help(cls, name, field)
        )
    return parser


def _help(cls: type[BaseSettings], name: str, field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True)
    fallback = "required" if field.is_required() else "optional" if default is None else f"default: {default}"
    return f"{field.description} [{fallback}; environment: {variable_name(cls, name)}]".replace("%", "%%")


def _metavar(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return "|".join(str(value) for value in get_args(annotation))
    if get_origin(annotation) in (Union, types.UnionType):
        return "|".join(_metavar(kind) for kind in get_args(annotation) if kind is not type(None))
    return _METAVARS.get(annotation) or getattr(annotation, "__name__", str(annotation)).upper()


def _unknown_arguments(cls: type[BaseSettings], leftover: Sequence[str]) -> Iterator[str]:
    known = [flag_name(name) for name in cls.model_fields]
    flags = [argument.partition("=")[0] for argument in leftover if argument.startswith("-")]
    # The values of unknown flags are left over too; name them only if there is no unknown flag.
    for argument in flags or leftover:
        yield f"{argument}: unknown argument{_nearest(argument, known)}"


def _unknown_variables(cls: type[BaseSettings]) -> Iterator[str]:
    prefix = cls.model_config.get("env_prefix", "").upper()
    known = [variable_name(cls, name) for name in cls.model_fields]
    for variable in sorted(os.environ):
        if variable.upper().startswith(prefix) and variable.upper() not in known:
            yield f"{variable}: unknown environment variable{_nearest(variable.upper(), known)}"


def _nearest(name: str, known: Sequence[str]) -> str:
    matches = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    return f"; did you mean {matches[0]}?" if matches else ""


def _fault(cls: type[BaseSettings], location: tuple[int | str, ...], message: str, value: Any) -> str:
    name = str(location[0]) if location else ""
    if name not in cls.model_fields:  # a rule about several settings
        return message
    given = "" if isinstance(value, dict) else f" (given: {value!r})"
    return f"{flag_name(name)} or {variable_name(cls, name)}: {message}{given}"


def _refuse(program: str, faults: Sequence[str]) -> NoReturn:
    lines = [f"{program}: the settings cannot be used", *faults, f"`{program} --help` lists all settings"]
    sys.stderr.write("\n  ".join(lines[:-1]) + f"\n{lines[-1]}\n")
    raise SystemExit(2)

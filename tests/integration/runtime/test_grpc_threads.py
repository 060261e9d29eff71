"""The threads of gRPC in the project's programs."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

# Appears in gRPC's trace for each end of a connection that the event engine reads and writes.
_ENDPOINT = "EventEngine::Endpoint"
_PROGRAMS = ("services.gateway", "services.retrieval", "services.ranking", "benchmarks")


@pytest.mark.parametrize("module", [f"{program}.__main__" for program in _PROGRAMS])
def test_programs_do_not_use_the_event_engine(module: str):
    """No program of the project has a connection on gRPC's event engine, on either end."""
    assert _ENDPOINT not in _trace(module)


def test_the_environment_takes_precedence():
    """The event engine of gRPC is used if the environment says so."""
    assert _ENDPOINT in _trace("common", GRPC_EXPERIMENTS="event_engine_client,event_engine_listener")


def _trace(module: str, **environment: str) -> str:
    """Return gRPC's trace of a connection in a process that imports a module first."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GRPC_")}
    tracing = {"GRPC_VERBOSITY": "debug", "GRPC_TRACE": "event_engine"}
    command = [sys.executable, "-m", "testing.grpc_connection", module]
    return subprocess.run(  # noqa: S603 - our own interpreter and module
        command, env=inherited | tracing | environment, capture_output=True, text=True, check=True, timeout=60
    ).stderr

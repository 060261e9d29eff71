"""A server without an engine, run as a process: its calls last until a file exists."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import grpc
from pydantic_settings import SettingsConfigDict
from shortlist.release.v1 import release_pb2, release_pb2_grpc

from common.errors import BadRelease
from common.process.startup import open_standard_streams
from common.server.server import run
from common.server.settings import ServerSettings, load_settings
from common.server.telemetry import Metrics, configure_logging


class FakeSettings(ServerSettings):
    """A server for tests."""

    model_config = SettingsConfigDict(env_prefix="SHORTLIST_FAKE_")

    release: str = "good"


class FakeService(release_pb2_grpc.ReleaseServiceServicer):
    """Loads `good` at once, `endless` never, and refuses `bad`."""

    names = ("shortlist.release.v1.ReleaseService",)

    def __init__(self, release: str) -> None:
        self.release = release

    def register(self, server: grpc.aio.Server) -> None:
        """Serve the release service."""
        release_pb2_grpc.add_ReleaseServiceServicer_to_server(self, server)

    async def start(self) -> None:
        """Load the release."""
        if self.release == "bad":
            raise BadRelease("release r1 is damaged: encoder/model.onnx was altered")
        if self.release == "endless":
            await asyncio.Event().wait()

    async def stop(self) -> None:
        """Do nothing."""

    async def ActivateRelease(  # noqa: N802 - the contract's name
        self, request: release_pb2.ActivateReleaseRequest, context: Any
    ) -> release_pb2.ActivateReleaseResponse:
        """Create the file `begun`, and answer when the file `finish` exists."""
        del context
        folder = Path(request.location)
        (folder / "begun").touch()
        while not (folder / "finish").exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.01)
        return release_pb2.ActivateReleaseResponse(previous_release_id="late")


if __name__ == "__main__":
    open_standard_streams()
    settings = load_settings(FakeSettings, "fake", sys.argv[1:])
    configure_logging("fake", settings.log_level)
    sys.exit(run(FakeService(settings.release), settings, Metrics("fake")))

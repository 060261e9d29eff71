"""Small releases, and a service that does whatever a test asks of it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from shortlist.release.v1 import release_pb2, release_pb2_grpc

from common.release.manifest import DataCard, Manifest, ModelCard, compute_release_id, describe_files
from common.release.store import Release, publish
from common.server.channel import open_channel
from common.server.server import RunningServer, running
from common.server.settings import ServerSettings
from common.server.telemetry import Metrics

MakeRelease = Callable[..., Release]
Behaviour = Callable[[release_pb2.ActivateReleaseRequest, Any], Awaitable[Any]]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("SHORTLIST_"):
            monkeypatch.delenv(name)


@pytest.fixture
def make_release(tmp_path: Path) -> MakeRelease:
    """Return a function that publishes a small release, whose content is ``marker``, into ``tmp_path / "store"``."""

    def make(marker: str = "a", store: Path = tmp_path / "store", **options: Any) -> Release:
        staging = tmp_path / f"staging-{marker}"
        (staging / "encoder").mkdir(parents=True)
        (staging / "encoder/model.onnx").write_text(f"model {marker}")
        (staging / "retrieval.json").write_text(f'{{"marker": "{marker}"}}')
        files = describe_files(staging)
        data = DataCard(source="test", fingerprint="f" * 64, items=3, events=5, licence="CC0-1.0")
        card = ModelCard(
            file="encoder/model.onnx",
            precision="fp32",
            base_model="tiny",
            base_model_origin="folder",
            trained_on="test",
        )
        manifest = Manifest(
            release_id=compute_release_id(files, data, {}, {"encoder": card}),
            created_at="2026-01-02T03:04:05+00:00",
            build_key="key",
            data=data,
            models={"encoder": card},
            settings={},
            metrics={},
            files=files,
        )
        return publish(staging, store, manifest, **options)

    return make


class FakeService(release_pb2_grpc.ReleaseServiceServicer):
    """Answers ActivateRelease by a given behaviour and notes what its life brings."""

    names: Sequence[str] = ("shortlist.release.v1.ReleaseService",)

    def __init__(self, behaviour: Behaviour | None = None) -> None:
        self.behaviour = behaviour
        self.seen: list[str] = []

    def register(self, server: grpc.aio.Server) -> None:
        """Serve the release service."""
        release_pb2_grpc.add_ReleaseServiceServicer_to_server(self, server)

    async def start(self) -> None:
        """Note the start."""
        self.seen.append("started")

    async def stop(self) -> None:
        """Note the stop."""
        self.seen.append("stopped")

    async def ActivateRelease(  # noqa: N802 - the contract's name
        self, request: release_pb2.ActivateReleaseRequest, context: Any
    ) -> release_pb2.ActivateReleaseResponse:
        """Do as the test says."""
        assert self.behaviour is not None
        answer = await self.behaviour(request, context)
        return answer or release_pb2.ActivateReleaseResponse()


@pytest.fixture
def fake_service() -> type[FakeService]:
    """Return the class of a service that does as it is told."""
    return FakeService


@pytest.fixture
def settings() -> ServerSettings:
    """Return settings for free ports."""
    return ServerSettings(port=0, metrics_port=0, drain_timeout_s=5)


@pytest.fixture
def metrics() -> Metrics:
    """Return the metrics of a server called `test`."""
    return Metrics("test")


Calling = Callable[[Any], AbstractAsyncContextManager[tuple[RunningServer, grpc.aio.Channel]]]


@pytest.fixture
def calling(settings: ServerSettings, metrics: Metrics) -> Calling:
    """Return a context manager that runs a service and opens a channel to it."""

    @asynccontextmanager
    async def call(service: Any) -> AsyncIterator[tuple[RunningServer, grpc.aio.Channel]]:
        async with (
            running(service, settings, metrics) as server,
            open_channel(f"127.0.0.1:{server.port}") as channel,
        ):
            yield server, channel

    return call

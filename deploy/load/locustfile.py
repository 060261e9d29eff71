"""An open-loop load test of Recommend for locust: docs/load-testing.md.

Each user of locust is a source of calls at random moments (a Poisson process). A call does not wait for earlier ones,
and its latency counts from its moment (no coordinated omission). Settings are environment variables.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from typing import Any, ClassVar

import gevent
import grpc
import grpc.experimental.gevent
from google.protobuf import json_format
from locust import User, constant, events, task
from shortlist.gateway.v1 import gateway_pb2, gateway_pb2_grpc

grpc.experimental.gevent.init_gevent()

RATE = float(os.environ.get("RATE", "50"))
SOURCES = int(os.environ.get("SOURCES", "1"))
TIMEOUT_S = float(os.environ.get("TIMEOUT_MS", "1000")) / 1_000
MAX_FAILED_SHARE = float(os.environ.get("MAX_FAILED_SHARE", "1"))
MAX_P99_MS = float(os.environ.get("MAX_P99_MS", "inf"))
REQUESTS = [
    json_format.Parse(line, gateway_pb2.RecommendRequest())
    for line in Path(os.environ["REQUESTS"]).read_text().splitlines()
]


class Shop(User):  # type: ignore[misc]  # locust's types are incomplete
    """A source of calls at random moments; run as many as `SOURCES` says."""

    wait_time = constant(0)
    channels: ClassVar[list[grpc.Channel]] = []

    def on_start(self) -> None:
        """Connect."""
        target = (self.host or os.environ.get("TARGET", "127.0.0.1:50051")).removeprefix("http://")
        authority = os.environ.get("TLS_CA")
        if authority:
            credentials = grpc.ssl_channel_credentials(Path(authority).read_bytes())
            channel = grpc.secure_channel(target, credentials)
        else:
            channel = grpc.insecure_channel(target)
        self.stub: Any = gateway_pb2_grpc.RecommendationServiceStub(channel)
        self.due_s = time.perf_counter()

    @task
    def call_later(self) -> None:
        """Wait for the next moment and begin a call there, without waiting for its answer."""
        self.due_s += random.expovariate(RATE / SOURCES)
        gevent.sleep(max(0.0, self.due_s - time.perf_counter()))
        gevent.spawn(self._call, random.choice(REQUESTS), self.due_s)

    def _call(self, request: gateway_pb2.RecommendRequest, due_s: float) -> None:
        token = os.environ.get("TOKEN")
        metadata = [("authorization", f"Bearer {token}")] if token else None
        error: Exception | None = None
        size = 0
        try:
            answer = self.stub.Recommend(request, timeout=TIMEOUT_S, metadata=metadata)
            size = answer.ByteSize()
            for one in answer.degradations:
                kind = gateway_pb2.DegradationKind.Name(one.kind).removeprefix("DEGRADATION_KIND_")
                self._report("degraded", kind, 0.0, 0, None)
        except grpc.RpcError as failure:
            error = RuntimeError(failure.code().name)  # locust counts errors by their text
        self._report("grpc", "Recommend", (time.perf_counter() - due_s) * 1e3, size, error)

    def _report(self, kind: str, name: str, ms: float, size: int, error: Exception | None) -> None:
        self.environment.events.request.fire(
            request_type=kind, name=name, response_time=ms, response_length=size, exception=error, context={}
        )


@events.quitting.add_listener
def check(environment: Any, **_: Any) -> None:
    """End with 1 if a bound is broken."""
    found = environment.stats.get("Recommend", "grpc")
    broken = found.fail_ratio > MAX_FAILED_SHARE or found.get_response_time_percentile(0.99) > MAX_P99_MS
    environment.process_exit_code = 1 if broken or found.num_requests == 0 else 0

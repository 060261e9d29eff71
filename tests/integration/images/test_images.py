"""The servers' images, run as the chart runs them: read-only, as a user, without capabilities."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
from shortlist.gateway.v1 import gateway_pb2, gateway_pb2_grpc

SERVERS = ("retrieval", "ranking", "gateway")


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def test_the_servers_answer(containers: dict[str, Any]):
    """A recommendation passes all three and is whole; events are recorded."""
    with grpc.insecure_channel(containers["gateway"].target) as channel:
        stub: Any = gateway_pb2_grpc.RecommendationServiceStub(channel)
        event = gateway_pb2.Event(
            event_id="1", user_id="ann", kind=gateway_pb2.EVENT_KIND_PURCHASE, item_id="dairy-milk-red-0"
        )
        assert stub.RecordEvents(gateway_pb2.RecordEventsRequest(events=[event]), timeout=20).recorded == 1
        answer = stub.Recommend(gateway_pb2.RecommendRequest(user_id="ann", limit=5), timeout=20)
    assert len(answer.items) == 5
    assert not answer.degradations


@pytest.mark.parametrize("service", SERVERS)
def test_a_server_has_no_rights(engine: Any, containers: dict[str, Any], service: str):
    """It is user 10001 without capabilities, cannot gain any, is filtered by seccomp and has a read-only root."""
    pid = engine.pid(containers[service])
    status = _status(pid)
    assert set(status["Uid"].split()) == set(status["Gid"].split()) == {"10001"}
    assert {int(status[name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {0}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    mounts = [line.split() for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]
    (root,) = (mount for mount in mounts if mount[4] == "/")
    assert "ro" in root[5].split(",")


def test_sizes_and_cold_starts(engine: Any, containers: dict[str, Any]):
    """They are printed; no server's image holds torch."""
    for service in SERVERS:
        size, start_s = engine.image_bytes(service) / 1e6, containers[service].start_s
        sys.stdout.write(f"\n{service:10} {size:6.0f} MB, SERVING {start_s:4.1f} s after the start of the container")
        site = Path(f"/proc/{engine.pid(containers[service])}/root/venv/lib/python3.11/site-packages")
        assert not (site / "torch").exists()
        assert (site / "grpc").exists()


@pytest.mark.parametrize("service", SERVERS[::-1])
def test_a_stopped_server_drains(engine: Any, containers: dict[str, Any], service: str):
    """SIGTERM ends it with 0."""
    assert engine.stop(containers[service]) == 0

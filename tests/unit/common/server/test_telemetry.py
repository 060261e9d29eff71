"""Logs and metrics."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from prometheus_client import generate_latest

from common.server.telemetry import BUCKETS_S, LOG, Metrics, configure_logging, request_id


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Return the log lines on stderr."""
    LOG.flush()
    captured = capfd.readouterr()
    assert captured.out == ""
    return [json.loads(line) for line in captured.err.splitlines()]


def test_log_lines_are_json_with_the_calls_id(capfd: pytest.CaptureFixture[str]):
    """A line is one JSON object on stderr with timestamp, level, service, event, the call's id and its own fields."""
    configure_logging("gateway")
    with structlog.contextvars.bound_contextvars(request_id="r-1"):
        structlog.get_logger().info("asked", candidates=3)
    (line,) = lines(capfd)
    assert line.pop("timestamp").endswith("Z")
    assert line == {"level": "info", "service": "gateway", "event": "asked", "request_id": "r-1", "candidates": 3}


def test_the_standard_librarys_lines_look_the_same(capfd: pytest.CaptureFixture[str]):
    """What libraries log carries the same fields."""
    configure_logging("ranking")
    with structlog.contextvars.bound_contextvars(request_id="r-2"):
        logging.getLogger("some.package").warning("lost %d of %d", 1, 2)
    (line,) = lines(capfd)
    assert line.pop("timestamp").endswith("Z")
    assert line == {"level": "warning", "service": "ranking", "event": "lost 1 of 2", "request_id": "r-2"}


def test_a_stack_stands_in_its_line(capfd: pytest.CaptureFixture[str]):
    """An error's stack is part of its line, and what JSON has no form for is written as text."""
    configure_logging("ranking")
    try:
        [].pop()
    except IndexError:
        structlog.get_logger().exception("failed", what={1})
    (line,) = lines(capfd)
    assert "IndexError: pop from empty list" in line["exception"]
    assert line["what"] == "{1}"


def test_lines_below_the_level_are_not_written(capfd: pytest.CaptureFixture[str]):
    """The level holds for our lines and for libraries', and gRPC's debug lines are never written."""
    configure_logging("ranking", "warning")
    structlog.get_logger().info("quiet")
    logging.getLogger("some.package").info("quiet")
    assert lines(capfd) == []
    configure_logging("ranking", "debug")
    structlog.get_logger().debug("heard")
    logging.getLogger("grpc._cython").debug("quiet")
    assert [line["event"] for line in lines(capfd)] == ["heard"]


def test_there_is_no_request_id_outside_of_a_call():
    """The call's id is known inside a call and empty outside of one."""
    assert request_id() == ""
    with structlog.contextvars.bound_contextvars(request_id="r-3"):
        assert request_id() == "r-3"


def test_metrics_are_named_after_their_service():
    """Every metric of a server carries its name, and two servers in a process share none."""
    gateway, ranking = Metrics("gateway"), Metrics("ranking")
    gateway.requests.labels(method="/a/B", code="OK").inc()
    gateway.set_release("r1")
    gateway.set_release("r2")
    with gateway.time_stage("profile"):
        pass
    text = generate_latest(gateway.registry).decode()
    assert 'shortlist_gateway_requests_total{code="OK",method="/a/B"} 1.0' in text
    assert 'shortlist_gateway_release_info{release_id="r2"} 1.0' in text
    assert "r1" not in text
    assert 'shortlist_gateway_stage_seconds_count{stage="profile"} 1.0' in text
    assert "/a/B" not in generate_latest(ranking.registry).decode()


def test_buckets_fit_what_is_measured():
    """Durations of half a millisecond to ten seconds fall into rising buckets."""
    assert (BUCKETS_S[0], BUCKETS_S[-1]) == (0.0005, 10.0)
    assert list(BUCKETS_S) == sorted(set(BUCKETS_S))

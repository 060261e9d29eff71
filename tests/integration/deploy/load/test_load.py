"""The load tests that users run, against a real gateway over fake services."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from common.server.server import running
from common.server.telemetry import Metrics
from services.gateway.server.server import GatewayServer
from services.gateway.settings import Settings
from testing.gateway_backends import Backends
from testing.gateway_client import running_gateway
from testing.security.certificates import Authority
from testing.server_process import free_port

ROOT = Path(__file__).parents[4]
K6, LOCUST = (ROOT / ".venv-load" / "bin" / name for name in ("k6", "locust"))
REQUESTS: list[dict[str, Any]] = [
    {"history_item_ids": ["item-1"]},
    {"query": "x"},
    {"history_item_ids": [], "limit": 2},
]
# So few that the callers that k6 prepares are enough on a busy machine.
RATES = (5, 10)


@pytest.fixture
async def backends() -> AsyncIterator[Backends]:
    """Return fake services."""
    running = Backends()
    await running.start()
    yield running
    await running.stop()


def _settings(backends: Backends, folder: Path, **further: Any) -> Settings:
    return Settings(
        port=free_port(),
        metrics_port=0,
        retrieval_target=backends.retrieval_target,
        ranking_target=backends.ranking_target,
        profiles=folder / "profiles.sqlite3",
        **further,
    )


@pytest.fixture
async def target(backends: Backends, tmp_path: Path) -> AsyncIterator[str]:
    """Return the address of a gateway."""
    settings = _settings(backends, tmp_path)
    async with running_gateway(settings):
        yield f"127.0.0.1:{settings.port}"


async def _run(*command: Any, **environment: Any) -> tuple[int, str]:
    if not command[0].exists():
        pytest.skip(f"{command[0]} is not installed; `make test-deploy` installs it")
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        env=os.environ | {name: str(value) for name, value in environment.items()},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return await process.wait(), output.decode()


async def _k6(target: str, folder: Path, **bounds: Any) -> tuple[int, str, dict[str, Any]]:
    """Run the scenario of k6 for two seconds at each rate."""
    (folder / "requests.jsonl").write_text("".join(json.dumps(one) + "\n" for one in REQUESTS))
    given = {
        "TARGET": target,
        "RATES": ",".join(map(str, RATES)),
        "DURATION_S": 2,
        "WARM_UP_S": 1,
        "TIMEOUT_MS": 20_000,
        "REQUESTS": folder / "requests.jsonl",
        "PROTOS": ROOT / "protos",
        "OUT": folder / "result.json",
    }
    script = ROOT / "deploy" / "load" / "recommend.js"
    code, output = await _run(K6, "run", "--no-usage-report", "--quiet", script, **given | bounds)
    result = folder / "result.json"
    return code, output, json.loads(result.read_text()) if result.exists() else {}


async def test_k6_reports_each_rate(target: str, tmp_path: Path):
    """Calls by status, degradations and latencies, of each rate by itself and without the warm-up."""
    code, output, result = await _k6(target, tmp_path, MAX_FAILED_SHARE=0, MAX_DEGRADED_SHARE=0)
    assert code == 0, output
    assert [row["calls_per_s"] for row in result["rates"]] == list(RATES)
    for row in result["rates"]:
        assert row["codes"] == {"OK": row["calls"]}
        assert row["calls"] > row["calls_per_s"]
        assert 0 < row["latency_ms"]["p(50)"] <= row["latency_ms"]["p(99)"] <= row["latency_ms"]["max"]
        assert set(row["latency_ms_by_occasion"]) == {"history", "query"}


async def test_k6_counts_degradations_and_breaks_on_them(target: str, backends: Backends, tmp_path: Path):
    """An answer without the ranking stage is an answer; beyond the bound the run ends with an error."""
    backends.ranking.status = grpc.StatusCode.INTERNAL
    code, output, result = await _k6(target, tmp_path, MAX_DEGRADED_SHARE=0.5)
    assert code != 0
    assert "BROKEN degraded_share" in output
    for row in result["rates"]:
        assert row["degradations"] == {"RANKING_UNAVAILABLE": row["calls"]}


async def test_k6_speaks_tls(backends: Backends, tmp_path: Path):
    """To a gateway whose authority it is given."""
    authority = Authority(tmp_path)
    files = authority.issue("gateway")
    settings = _settings(backends, tmp_path, tls_certificate=files.certificate, tls_key=files.key)
    metrics = Metrics("gateway")
    async with running(GatewayServer(settings, metrics), settings, metrics):
        code, output, _ = await _k6(
            f"localhost:{settings.port}", tmp_path, RATES="5", TLS_CA=authority.file, MAX_FAILED_SHARE=0
        )
    assert code == 0, output


@pytest.mark.parametrize("bounds", [{}, {"MAX_FAILED_SHARE": 0}])
async def test_k6_counts_failures_and_breaks_on_them(bounds: dict[str, Any], tmp_path: Path):
    """Nothing listens: that breaks the test even without a bound."""
    code, _, result = await _k6(f"127.0.0.1:{free_port()}", tmp_path, RATES="5", TIMEOUT_MS=500, **bounds)
    assert code != 0
    assert set(result["rates"][0]["codes"]) == {"UNAVAILABLE"}


@pytest.mark.parametrize(("bounds", "expected"), [({"MAX_FAILED_SHARE": 0}, 0), ({"MAX_P99_MS": 0}, 1)])
async def test_locust_calls_and_checks(target: str, tmp_path: Path, bounds: dict[str, Any], expected: int):
    """It ends with 1 if a bound is broken."""
    (tmp_path / "requests.jsonl").write_text("".join(json.dumps(one) + "\n" for one in REQUESTS))
    command = [LOCUST, "--headless", "--users", 1, "--run-time", "4s", "--host", target, "--only-summary"]
    given = {"REQUESTS": tmp_path / "requests.jsonl", "RATE": 20, "TIMEOUT_MS": 20_000, "PYTHONPATH": ROOT / "protos"}
    code, output = await _run(*command, "-f", ROOT / "deploy" / "load" / "locustfile.py", **given | bounds)
    assert code == expected, output

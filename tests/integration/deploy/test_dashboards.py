"""The dashboards: what Grafana is given, and whether each panel would show something."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from pathlib import Path

import pytest
from shortlist.gateway.v1 import gateway_pb2
from shortlist.retrieval.v1 import retrieval_pb2

from testing.observability.prometheus import Prometheus, is_installed, running_prometheus
from testing.observability.stack import Stack, running_stack
from testing.redis_server import RedisServer

ROOT = Path(__file__).parents[3]
FILES = ROOT / "deploy" / "helm" / "shortlist" / "files"
DASHBOARDS = {file.stem: json.loads(file.read_text()) for file in sorted((FILES / "dashboards").glob("*.json"))}
PANELS = [panel for dashboard in DASHBOARDS.values() for panel in dashboard["panels"]]
TIMEOUT_S = 120.0


def test_the_five_dashboards_are_there():
    """Each has an id of its own, its file's name, and panels that do not overlap."""
    assert set(DASHBOARDS) == {f"shortlist-{name}" for name in ("overview", "stages", "engines", "releases", "slo")}
    for name, dashboard in DASHBOARDS.items():
        assert dashboard["uid"] == name
        places = [tuple(panel["gridPos"][side] for side in "xywh") for panel in dashboard["panels"]]
        cells = [(x + dx, y) for x, y, width, _ in places for dx in range(width)]
        assert len(cells) == len(set(cells))
        assert all(panel["description"] for panel in dashboard["panels"])


def _exprs() -> dict[str, str]:
    """Return each query by the place where it stands, with Grafana's variables filled in."""
    return {
        f"{dashboard['title']} / {panel['title']} / {target['refId']}": target["expr"]
        .replace("$namespace", ".*")
        .replace("$__rate_interval", "1m")
        for dashboard in DASHBOARDS.values()
        for panel in dashboard["panels"]
        for target in panel["targets"]
    }


@pytest.mark.skipif(not (ROOT / ".venv-deploy").exists(), reason="`make test-deploy` tests dashboards on a live system")
@pytest.mark.skipif(not is_installed(), reason="prometheus, a package of the distribution, is not installed")
async def test_each_panel_shows_something(tiny_release: Path, tmp_path: Path, redis: RedisServer):
    """Every query of every panel has series while the three servers answer calls, and no query is wrong."""
    rules = sorted((FILES / "rules").glob("*.yaml"))
    async with running_stack(tiny_release, tmp_path, {}, redis.url("dashboards")) as stack:
        targets = [f"127.0.0.1:{port}" for port in stack.metrics_ports.values()]
        with running_prometheus(tmp_path, targets, rules) as prometheus:
            empty = _exprs()
            with suppress(TimeoutError):
                async with asyncio.timeout(TIMEOUT_S):
                    while empty:
                        await _call(stack)
                        found = await asyncio.to_thread(_with_series, prometheus, empty)
                        empty = {place: expr for place, expr in empty.items() if place not in found}
    assert not empty


def _with_series(prometheus: Prometheus, exprs: dict[str, str]) -> set[str]:
    return {place for place, expr in exprs.items() if prometheus.query(expr)}


async def _call(stack: Stack) -> None:
    """Make a few calls of each kind."""
    history = gateway_pb2.RecommendRequest(history_item_ids=["dairy-milk-red-0"], limit=5)
    query = gateway_pb2.RecommendRequest(query="red milk", limit=5)
    item = retrieval_pb2.Item(item_id="jam", title="plum jam")
    for _ in range(3):
        await stack.gateway.Recommend(history, timeout=TIMEOUT_S)
        await stack.gateway.Recommend(query, timeout=TIMEOUT_S)
        await stack.retrieval.UpsertItems(retrieval_pb2.UpsertItemsRequest(items=[item]), timeout=TIMEOUT_S)

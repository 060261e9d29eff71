"""The chart's objects of operators, checked against the operators' own schemas."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TOOL = Path(__file__).parents[3] / "deploy" / "tools" / "custom-resources"
KINDS = {"Certificate", "GRPCRoute", "HTTPRoute", "PodMonitor", "PrometheusRule", "ScaledObject"}
VALUES: dict[str, Any] = {
    "ranking": {"keda": {"enabled": True}},
    "tls": {"mode": "certManager", "certManager": {"issuerRef": {"name": "ca"}}},
    "monitoring": {"podMonitor": {"enabled": True, "tlsSecret": "p"}, "prometheusRule": {"enabled": True}},
    "gatewayAPI": {"enabled": True, "parentRefs": [{"name": "edge"}], "hostnames": ["shop.example"]},
}


def _faults(objects: list[dict[str, Any]]) -> list[str]:
    node = shutil.which("node")
    if node is None or not (TOOL / "node_modules").exists():
        pytest.skip("Node or the operators' schemas are not installed; `make test-deploy` installs the schemas")
    done = subprocess.run(  # noqa: S603 - our own program
        [node, "--no-warnings", str(TOOL / "validate.js")],
        input=json.dumps(objects),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == (1 if done.stdout else 0), done.stderr
    return done.stdout.splitlines()


@pytest.fixture
def objects(render: Callable[..., Any]) -> dict[str, dict[str, Any]]:
    """Return one object of each kind."""
    return {one["kind"]: one for one in render(VALUES) if one["kind"] in KINDS}


def test_operators_accept_every_object(render: Callable[..., Any]):
    """Each object fits its operator's schema and has no field that the schema lacks."""
    made = [one for one in render(VALUES) if one["kind"] in KINDS]
    assert {one["kind"] for one in made} >= {"Certificate", "GRPCRoute", "PodMonitor", "PrometheusRule", "ScaledObject"}
    assert _faults(made) == []


@pytest.mark.parametrize(
    ("kind", "path", "value", "fault"),
    [
        ("Certificate", ["spec", "dnsName"], "x", ".spec.dnsName is unknown"),
        ("Certificate", ["spec", "dnsNames"], "x", "dnsNames"),
        ("GRPCRoute", ["spec", "rules", 0, "backendRef"], [], ".spec.rules.0.backendRef is unknown"),
        ("PodMonitor", ["spec", "podMetricsEndpoints", 0, "ports"], "x", "ports is unknown"),
        ("PrometheusRule", ["spec", "groups", 0, "rules", 0, "expression"], "x", "expression is unknown"),
        ("ScaledObject", ["spec", "minReplicas"], 1, ".spec.minReplicas is unknown"),
        ("ScaledObject", ["spec", "triggers", 0, "type"], 7, "triggers"),
        ("ScaledObject", ["specs"], {}, ".specs is unknown"),
    ],
)
def test_wrong_fields_are_found(objects: dict[str, dict[str, Any]], kind: str, path: list[Any], value: Any, fault: str):
    """A field that does not exist, at any depth, and one of another type."""
    place: Any = objects[kind]
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    assert any(fault in line for line in _faults([objects[kind]]))

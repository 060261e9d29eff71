"""The chart's values: each is documented, and wrong ones are refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.gateway import settings as gateway
from services.ranking import settings as ranking
from services.retrieval import settings as retrieval

CHART = Path(__file__).parents[3] / "deploy" / "helm" / "shortlist"
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
SETTINGS = {"gateway": gateway.Settings, "retrieval": retrieval.Settings, "ranking": ranking.Settings}
# The chart sets these itself.
_OWN = {"host", "port", "metrics_port", "health_port", "insecure", "access_file"}
_OWN |= {"trace_endpoint", "trace_share"}  # of all three, under `tracing`
_OWN |= {"tls_certificate", "tls_key", "tls_client_ca"}
_FOLLOWING = {"release", "release_cache", "release_poll_s", "release_canary_share", "release_canary_pause_s"}
_FOLLOWING |= {"release_trial_s", "release_max_failed_share", "release_peers", "replica_name"}
_BACKENDS = {"backend_ca", "backend_certificate", "backend_key"}
OWN = {
    "gateway": {"retrieval_target", "ranking_target", "profiles", *_BACKENDS},
    "retrieval": {"data_dir", "change_stream", "ranking_target", *_FOLLOWING, *_BACKENDS},
    "ranking": {"change_stream", "retrieval_target", *_FOLLOWING, *_BACKENDS},
}

WRONG: list[tuple[str, Any]] = [
    ("gateway.replicas", 0),
    ("gateway.replicas", 2),
    ("gateway.replica", 1),
    ("gateway.settings.max_call", 8),
    ("gateway.settings.port", 50051),
    ("gateway.profiles.store", "postgres"),
    ("gateway.profiles.store", "redis"),
    ("gateway.profiles", {"store": "redis", "redis": {"url": "redis://db/0"}}),
    ("gateway.profiles.redis.url", "http://db"),
    ("gateway.resources.limits.memory", "1 GB"),
    ("retrieval.changes.store", "kafka"),
    ("retrieval.changes.store", "redis"),
    ("retrieval.changes.store", "volume"),
    ("ranking.gpu.count", 0),
    ("ranking.keda.maxUnreadShare", 1.5),
    ("ranking.autoscaling.targetCPUUtilization", 120),
    ("release.delivery", "ftp"),
    ("release.delivery", "image"),
    ("release.location", ""),
    ("release.follow.canaryShare", 2),
    ("release.follow.pollSeconds", 0),
    ("release.follow.canary", 0.5),
    ("release", {"delivery": "image", "image": {"reference": "r"}, "follow": {"enabled": True}}),
    ("image.pullPolicy", "Sometimes"),
    ("image.digests.ranking", "sha256:1"),
    ("redis.url", "http://redis"),
    ("tls.mode", "yes"),
    ("tls.mode", "secrets"),
    ("tls.mode", "certManager"),
    ("preStopSeconds", -1),
    ("networkPolicy.egress", [{"cidr": "10.0.0.0", "port": 1}]),
    ("monitoring.podMonitor.interval", "often"),
    ("tracing.endpoint", "collector:4317"),
    ("tracing.share", 1.5),
    ("serviceAccount.create", True),
    ("edge.cors.origins", ["*"]),
    ("edge.rateLimit.burst", 0),
    ("edge.service.type", "Ingress"),
    ("edge.timeout", 5),
]


def _nested(path: str, value: Any) -> dict[str, Any]:
    for name in reversed(path.split(".")):
        value = {name: value}
    return value


@pytest.mark.parametrize(("path", "value"), WRONG, ids=[f"{path}={value}" for path, value in WRONG])
def test_wrong_values_are_refused(render: Callable[..., Any], path: str, value: Any):
    """By the schema or by the templates, with the value's name."""
    with pytest.raises(ValueError, match="|".join(path.split("."))):
        render(_nested(path, value))


@pytest.mark.parametrize("component", SETTINGS)
def test_every_setting_of_a_server_can_be_set(component: str):
    """The schema lists the settings of the code: no more and no fewer."""
    listed = set(SCHEMA["properties"][component]["properties"]["settings"]["properties"])
    assert listed == set(SETTINGS[component].model_fields) - _OWN - OWN[component]


def _leaves(schema: dict[str, Any], path: str = "") -> Iterator[str]:
    if schema.get("$ref"):
        schema = SCHEMA["definitions"][schema["$ref"].rsplit("/", 1)[1]]
    if "properties" not in schema or path.endswith((".settings", ".resources")):
        yield path
        return
    for name, part in schema["properties"].items():
        if name != "global":
            yield from _leaves(part, f"{path}.{name}".lstrip("."))


def test_every_value_has_a_default():
    """`values.yaml` names every value that the schema knows."""
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    for path in _leaves(SCHEMA):
        place = defaults
        for name in path.split("."):
            if path.startswith("image.digests"):
                break
            assert name in place, path
            place = place[name]

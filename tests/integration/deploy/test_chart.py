"""The Helm chart, rendered by Helm 3 and 4: what Kubernetes would be given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

CHART = Path(__file__).parents[3] / "deploy" / "helm" / "shortlist"
VALUES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "everything": {
        "gateway": {"profiles": {"store": "none"}, "replicas": 2, "autoscaling": {"enabled": True}},
        "retrieval": {"changes": {"store": "redis"}, "autoscaling": {"enabled": True}},
        "ranking": {"keda": {"enabled": True}, "gpu": {"enabled": True, "runtimeClassName": "nvidia"}},
        "redis": {"existingSecret": "redis"},
        "tls": {"mode": "certManager", "certManager": {"issuerRef": {"name": "ca"}}},
        "monitoring": {
            "podMonitor": {"enabled": True, "tlsSecret": "p"},
            "prometheusRule": {"enabled": True},
            "dashboards": {"enabled": True},
        },
        "access": {"gateway": "callers", "backends": "servers"},
        "tracing": {"endpoint": "http://collector.monitoring:4317", "share": 0.05},
        "gatewayAPI": {"enabled": True, "parentRefs": [{"name": "edge"}], "hostnames": ["shop.example"]},
        "networkPolicy": {"egress": [{"cidr": "10.0.0.0/8", "port": 6379}], "callerLabels": {"app": "web"}},
        "edge": {
            "enabled": True,
            "tls": {"secret": "public"},
            "cors": {"origins": ["https://shop.example"]},
            "accessLog": True,
            "service": {"type": "LoadBalancer", "annotations": {"a": "b"}},
            "timeoutSeconds": 2.5,
            "autoscaling": {"enabled": True},
        },
    },
    "one of each, on volumes": {
        "retrieval": {"changes": {"store": "volume"}, "replicas": 1},
        "ranking": {"replicas": 1},
        "release": {"delivery": "image", "location": "demo", "image": {"reference": "r@sha256:" + "0" * 64}},
        "tls": {
            "mode": "secrets",
            "secrets": {"gateway": "g", "retrieval": "r", "ranking": "k", "edge": "e", "playground": "p"},
        },
        "playground": {"enabled": True, "callerNamespaceLabels": {"ingress": "nginx"}},
        "edge": {"enabled": True, "replicas": 1, "image": {"digest": "sha256:" + "0" * 64}},
    },
    "a playground": {
        "playground": {"enabled": True, "tokenSecret": "token", "allowedHosts": ["play.shop.example"]},
        "tls": {"mode": "certManager", "certManager": {"issuerRef": {"name": "ca"}}},
    },
    "release by URL": {"release": {"delivery": "url", "location": "s3://shop/releases"}, "tests": {"enabled": False}},
    "profiles in Redis": {
        "gateway": {
            "replicas": 3,
            "profiles": {"store": "redis", "redis": {"existingSecret": "profiles", "keySecret": "pseudonyms"}},
        },
        "networkPolicy": {"egress": [{"cidr": "10.1.0.0/16", "port": 6379}]},
    },
    "following a store": {
        "gateway": {"profiles": {"store": "none"}},
        "release": {"delivery": "url", "location": "s3://shop/releases", "follow": {"enabled": True}},
        "tls": {"mode": "certManager", "certManager": {"issuerRef": {"name": "ca"}}},
    },
}
# Kinds of operators, which Kubernetes' own schemas lack.
FOREIGN = {"Certificate", "GRPCRoute", "PodMonitor", "PrometheusRule", "ScaledObject"}


def _of(objects: list[dict[str, Any]], kind: str, component: str) -> dict[str, Any]:
    (found,) = (
        one
        for one in objects
        if one["kind"] == kind and one["metadata"]["labels"]["app.kubernetes.io/component"] == component
    )
    return found


def _workloads(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for one in objects if one["kind"] in {"Deployment", "StatefulSet"}]


def _servers(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for one in _workloads(objects) if one["metadata"]["name"] != "x-edge"]


def _environment(workload: dict[str, Any]) -> dict[str, str]:
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    return {one["name"]: one.get("value", "") for one in container["env"]}


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
@pytest.mark.parametrize("kube", ["1.29", "1.31", "1.33", "1.35", "1.37"])
def test_kubernetes_accepts_every_object(
    render: Callable[..., Any],
    tool: Callable[[str], Path],
    run: Callable[..., Any],
    values: dict[str, Any],
    kube: str,
    tmp_path: Path,
):
    """Each object fits the version's schema, unknown fields included."""
    if values.get("release", {}).get("delivery") == "image" and kube == "1.29":
        pytest.skip("image volumes came with 1.31")
    objects = [one for one in render(values, kube) if one["kind"] not in FOREIGN]
    file = tmp_path / "objects.yaml"
    file.write_text(yaml.safe_dump_all(objects))
    checked = run(tool("kubernetes-validate"), "-k", kube, "--strict", file)
    lines = (checked.stdout + checked.stderr).splitlines()
    assert [line for line in lines if not line.startswith("INFO")] == []
    assert len(lines) == len(objects)


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_pods_are_restricted(render: Callable[..., Any], values: dict[str, Any]):
    """No pod runs as root, writes to its image, gains privileges or holds a token of the cluster."""
    for workload in _workloads(render(values)):
        pod = workload["spec"]["template"]["spec"]
        assert (pod["automountServiceAccountToken"], pod["enableServiceLinks"]) == (False, False)
        assert pod["securityContext"]["runAsNonRoot"]
        for container in pod["containers"]:
            security = container["securityContext"]
            assert (security["readOnlyRootFilesystem"], security["allowPrivilegeEscalation"]) == (True, False)
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()


def test_a_pod_outlives_its_traffic_and_its_calls(render: Callable[..., Any]):
    """The grace covers the wait for endpoints, the drain and some seconds more."""
    objects = render({"preStopSeconds": 15, "ranking": {"settings": {"drain_timeout_s": 20.5}}})
    ranking = _of(objects, "Deployment", "ranking")["spec"]["template"]["spec"]
    assert ranking["terminationGracePeriodSeconds"] == 15 + 21 + 10
    assert ranking["containers"][0]["lifecycle"] == {"preStop": {"sleep": {"seconds": 15}}}
    older = _of(render({"preStopSeconds": 15}, "1.29"), "Deployment", "ranking")["spec"]["template"]["spec"]
    assert older["containers"][0]["lifecycle"] == {"preStop": {"exec": {"command": ["sleep", "15"]}}}


def test_only_components_with_replicas_have_a_budget(render: Callable[..., Any]):
    """A budget of a single pod would block every drain of its node."""
    budgets = [one for one in render() if one["kind"] == "PodDisruptionBudget"]
    assert {one["metadata"]["name"] for one in budgets} == {"x-ranking", "x-retrieval"}
    single = render({"retrieval": {"replicas": 1}, "ranking": {"replicas": 1}})
    assert [one for one in single if one["kind"] == "PodDisruptionBudget"] == []


def test_an_autoscaler_owns_the_replicas(render: Callable[..., Any]):
    """A fixed number would undo the autoscaler's at each upgrade."""
    objects = render(VALUES["everything"])
    assert all("replicas" not in one["spec"] for one in _workloads(objects))
    assert all("replicas" in one["spec"] for one in _workloads(render()))


def test_without_tls_the_servers_are_told_so(render: Callable[..., Any]):
    """A server refuses connections in the clear from other machines unless it is told to accept them."""
    for workload in _servers(render()):
        component = workload["metadata"]["labels"]["app.kubernetes.io/component"].upper()
        assert _environment(workload)[f"SHORTLIST_{component}_INSECURE"] == "true"
    for workload in _servers(render(VALUES["everything"])):
        component = workload["metadata"]["labels"]["app.kubernetes.io/component"].upper()
        environment = _environment(workload)
        assert f"SHORTLIST_{component}_INSECURE" not in environment
        assert environment[f"SHORTLIST_{component}_TLS_CERTIFICATE"] == "/tls/tls.crt"
        assert environment[f"SHORTLIST_{component}_ACCESS_FILE"] == "/access/access.toml"


def test_all_three_send_traces_if_one_value_says_so(render: Callable[..., Any]):
    """Each server has the collector's address, its pod's name for the collector, and a way through its policy."""
    for workload in _servers(render(VALUES["everything"])):
        component = workload["metadata"]["labels"]["app.kubernetes.io/component"]
        environment = _environment(workload)
        assert environment[f"SHORTLIST_{component.upper()}_TRACE_ENDPOINT"] == "http://collector.monitoring:4317"
        assert environment[f"SHORTLIST_{component.upper()}_TRACE_SHARE"] == "0.05"
        assert "service.instance.id=$(POD_NAME)" in environment["OTEL_RESOURCE_ATTRIBUTES"]
        egress = _of(render(VALUES["everything"]), "NetworkPolicy", component)["spec"]["egress"]
        assert [4317] in [[port["port"] for port in one["ports"]] for one in egress]
    assert not any("TRACE" in name for workload in _servers(render()) for name in _environment(workload))


def test_a_certificate_has_the_name_that_the_gateway_dials(render: Callable[..., Any]):
    """Otherwise every handshake fails."""
    objects = render(VALUES["everything"])
    environment = _environment(_of(objects, "Deployment", "gateway"))
    for component in ("retrieval", "ranking"):
        host = environment[f"SHORTLIST_GATEWAY_{component.upper()}_TARGET"].removeprefix("dns:///").rsplit(":", 1)[0]
        assert host in _of(objects, "Certificate", component)["spec"]["dnsNames"]


def test_a_new_release_rolls_the_pods(render: Callable[..., Any]):
    """The release is an annotation of the pods."""
    pods = [
        _of(render({"release": {"id": name}}), "Deployment", "ranking")["spec"]["template"]["metadata"]["annotations"]
        for name in ("a", "b")
    ]
    assert pods[0] != pods[1]


def test_grafana_gets_every_dashboard(render: Callable[..., Any]):
    """Each is a ConfigMap that Grafana's sidecar finds, with the file as it is."""
    maps = [one for one in render(VALUES["everything"]) if "grafana_dashboard" in one["metadata"].get("labels", {})]
    given = {name: text.strip() for one in maps for name, text in one["data"].items()}
    assert given == {file.name: file.read_text().strip() for file in (CHART / "files" / "dashboards").glob("*.json")}
    assert {one["metadata"]["annotations"]["grafana_folder"] for one in maps} == {"Shortlist"}


def test_gateways_with_profiles_in_redis_have_replicas(render: Callable[..., Any]):
    """A Deployment with a budget, the address and the key from Secrets, and a way to Redis."""
    objects = render(VALUES["profiles in Redis"])
    gateway = _of(objects, "Deployment", "gateway")
    assert gateway["spec"]["replicas"] == 3
    assert gateway["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert _of(objects, "PodDisruptionBudget", "gateway")
    environment = {one["name"]: one for one in gateway["spec"]["template"]["spec"]["containers"][0]["env"]}
    profiles = environment["SHORTLIST_GATEWAY_PROFILES"]["valueFrom"]["secretKeyRef"]
    assert profiles == {"name": "profiles", "key": "url"}
    assert environment["SHORTLIST_GATEWAY_PSEUDONYM_KEY_FILE"]["value"] == "/pseudonyms/key"
    volumes = {one["name"]: one for one in gateway["spec"]["template"]["spec"]["volumes"]}
    assert volumes["pseudonyms"]["secret"]["secretName"] == "pseudonyms"
    egress = _of(objects, "NetworkPolicy", "gateway")["spec"]["egress"]
    assert {"ports": [{"port": 6379}], "to": [{"ipBlock": {"cidr": "10.1.0.0/16"}}]} in egress


def test_prometheus_gets_every_rule_of_the_repository(render: Callable[..., Any]):
    """The object has the groups of all files, and templates of alerts as they are."""
    (rules,) = (one for one in render(VALUES["everything"]) if one["kind"] == "PrometheusRule")
    files = sorted((CHART / "files" / "rules").glob("*.yaml"))
    assert rules["spec"]["groups"] == [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]


def test_followers_of_a_store_reach_each_other(render: Callable[..., Any]):
    """Retrieval asks every pod of ranking, and each service its own pods; the policies admit that."""
    objects = render(VALUES["following a store"])
    retrieval = _environment(_of(objects, "Deployment", "retrieval"))
    ranking = _environment(_of(objects, "Deployment", "ranking"))
    assert retrieval["SHORTLIST_RETRIEVAL_RANKING_TARGET"] == "dns:///x-ranking-headless.shop:50053"
    assert retrieval["SHORTLIST_RETRIEVAL_RELEASE_PEERS"] == "dns:///x-retrieval-headless.shop:50052"
    assert ranking["SHORTLIST_RANKING_RELEASE_PEERS"] == "dns:///x-ranking-headless.shop:50053"
    assert ranking["SHORTLIST_RANKING_RELEASE_CACHE"].startswith("/tmp/")  # noqa: S108 - a volume of the pod
    assert _environment(_of(objects, "Deployment", "gateway"))["SHORTLIST_GATEWAY_RELEASE_SYNC_INTERVAL_S"] == "0"
    for caller, called in (("retrieval", "ranking"), ("retrieval", "retrieval"), ("ranking", "ranking")):
        incoming = _of(objects, "NetworkPolicy", called)["spec"]["ingress"][0]["from"]
        outgoing = _of(objects, "NetworkPolicy", caller)["spec"]["egress"][1:]
        assert caller in {one["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for one in incoming}
        assert called in {one["to"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for one in outgoing}
    assert "SHORTLIST_RANKING_RELEASE_POLL_S" not in _environment(_of(render(), "Deployment", "ranking"))


def test_backends_are_reached_from_the_gateway_alone(render: Callable[..., Any]):
    """Network policies name the gateway's pods for gRPC and the monitoring namespace for metrics."""
    for component in ("retrieval", "ranking"):
        ingress = _of(render(), "NetworkPolicy", component)["spec"]["ingress"]
        by_port = {one["ports"][0]["port"]: one["from"] for one in ingress}
        (caller,) = by_port["grpc"]
        assert caller["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "gateway"
        assert list(by_port["metrics"][0]) == ["namespaceSelector"]


@pytest.mark.parametrize("values", [{}, {"edge": {"enabled": True}}], ids=["defaults", "edge"])
def test_scanners_find_nothing(
    render: Callable[..., Any],
    tool: Callable[[str], Path],
    run: Callable[..., Any],
    values: dict[str, Any],
    tmp_path: Path,
):
    """Checkov and Trivy have no finding at the defaults, and none with Envoy."""
    (tmp_path / "chart").mkdir()
    (tmp_path / "chart" / "objects.yaml").write_text(yaml.safe_dump_all(render(values)))
    trivy = run(tool("trivy"), "config", "--skip-check-update", "--quiet", "--exit-code", "1", tmp_path / "chart")
    assert (trivy.returncode, trivy.stdout) == (0, "")
    checkov = run(
        *(tool("checkov"), "--directory", tmp_path / "chart", "--framework", "kubernetes"),
        *("--skip-download", "--compact", "--quiet"),
    )
    assert checkov.returncode == 0, checkov.stdout

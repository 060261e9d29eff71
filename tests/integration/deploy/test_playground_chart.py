"""The playground in the chart: off by default, and a caller of the gateway like any other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from services.playground.settings import Settings

ON = {"playground": {"enabled": True, "allowedHosts": ["play.shop.example", "b.example"], "tokenSecret": "token"}}
TLS = {"tls": {"mode": "certManager", "certManager": {"issuerRef": {"name": "ca"}}}}


def _of(objects: list[dict[str, Any]], component: str = "playground") -> dict[str, dict[str, Any]]:
    label = "app.kubernetes.io/component"
    return {one["kind"]: one for one in objects if one["metadata"]["labels"].get(label) == component}


def _settings(deployment: dict[str, Any]) -> Settings:
    """Return the settings that its environment gives; an unknown one is an error."""
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    prefix = "SHORTLIST_PLAYGROUND_"
    return Settings(**{one["name"].removeprefix(prefix).lower(): one["value"] for one in container["env"]})


def test_there_is_none_by_default(render: Callable[..., Any]):
    """Without `playground.enabled` no object is the playground's, and the gateway's policy does not name it."""
    assert not _of(render())
    assert "playground" not in str(render())


def test_it_asks_the_gateway_and_nobody_else(render: Callable[..., Any]):
    """Its settings are those of the program, and the policies of both sides let it reach the gateway alone."""
    objects = render(ON)
    own = _of(objects)
    settings = _settings(own["Deployment"])
    (target,) = settings.gateway_targets().values()
    assert target.startswith("dns:///x-gateway-headless.")
    assert settings.allowed_hosts == "play.shop.example,b.example"
    assert settings.admin_token_file is None
    policy = own["NetworkPolicy"]["spec"]
    assert "ingress" not in policy
    called = [one["to"][0]["podSelector"]["matchLabels"] for one in policy["egress"] if "to" in one]
    assert [labels["app.kubernetes.io/component"] for labels in called] == ["gateway"]
    assert "playground" in str(_of(objects, "gateway")["NetworkPolicy"]["spec"]["ingress"])
    assert "playground" not in str(_of(objects, "ranking")["NetworkPolicy"])


def test_with_tls_it_shows_a_certificate(render: Callable[..., Any]):
    """It checks the gateway's certificate and shows its own."""
    own = _of(render(ON | TLS))
    settings = _settings(own["Deployment"])
    assert str(settings.gateway_ca) == "/tls/ca.crt"
    assert str(settings.gateway_key) == "/tls/tls.key"
    assert own["Certificate"]["spec"]["usages"] == ["client auth"]
    volumes = own["Deployment"]["spec"]["template"]["spec"]["volumes"]
    assert {"name": "tls", "secret": {"secretName": own["Certificate"]["spec"]["secretName"]}} in volumes

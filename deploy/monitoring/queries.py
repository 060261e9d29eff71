"""What the queries of the dashboards have in common."""

from __future__ import annotations

from typing import Final

from grafana import Query

NAMESPACE: Final = 'namespace=~"$namespace"'
SERVERS: Final = ("gateway", "retrieval", "ranking")


def rate(metric: str, by: str, labels: str = "") -> str:
    """Return how often something happened a second, by labels."""
    selector = f"{NAMESPACE},{labels}" if labels else NAMESPACE
    return f"sum by ({by}) (rate({metric}{{{selector}}}[$__rate_interval]))"


def quantile(share: float, histogram: str, by: str = "", labels: str = "") -> str:
    """Return a quantile of a histogram, by labels."""
    return f"histogram_quantile({share}, {rate(f'{histogram}_bucket', f'le, {by}' if by else 'le', labels)})"


def mean(histogram: str) -> str:
    """Return the mean of a histogram."""
    return f"{rate(f'{histogram}_sum', 'namespace')} / {rate(f'{histogram}_count', 'namespace')}"


def gauge(metric: str) -> str:
    """Return a gauge of each server."""
    return f"{metric}{{{NAMESPACE}}}"


def of_servers(metric: str, legend: str = "{{instance}}") -> list[Query]:
    """Return a gauge of all three servers."""
    return [Query(gauge(f"shortlist_{server}_{metric}"), f"{server} {legend}") for server in SERVERS]

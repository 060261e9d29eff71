"""What a server's page of Prometheus metrics says of its calls, its queue and its index."""

from __future__ import annotations

import asyncio
import math
import urllib.request
from collections.abc import Iterable, Mapping
from http.client import HTTPException
from typing import Any, Final

from prometheus_client.parser import text_string_to_metric_families

_TIMEOUT_S: Final = 2.0
_QUANTILES: Final = (0.5, 0.99)
Samples = Mapping[str, list[tuple[Mapping[str, str], float]]]


async def read_page(address: str) -> dict[str, Any] | None:
    """Return the figures of a server's page of metrics; None if it does not answer, or with something else."""
    try:
        return figures(await asyncio.to_thread(_get, address))
    except (OSError, HTTPException, ValueError):  # the last: what is no page of metrics
        return None


def _get(address: str) -> str:
    # The address is a setting of the operator, always HTTP.
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=_TIMEOUT_S) as answer:  # nosec B310
        return str(answer.read().decode())


def figures(text: str) -> dict[str, Any]:
    """Return figures since the server's start.

    Returns:
        `methods`: of each method `calls`, `errors`, `p50_ms`, `p99_ms`; `gauges`: single values by name without the
        prefix `shortlist_SERVICE_`, such as `requests_in_flight`.
    """
    samples: dict[str, list[tuple[Mapping[str, str], float]]] = {}
    gauges: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            samples.setdefault(sample.name, []).append((sample.labels, sample.value))
            # Times of creation are gauges of their own in this format.
            is_own = family.name.startswith("shortlist_") and not family.name.endswith("_created")
            if family.type == "gauge" and is_own and math.isfinite(sample.value):
                name = family.name.split("_", 2)[-1]
                label = ",".join(sample.labels.values())
                gauges[f"{name} ({label})" if label else name] = sample.value
    return {"methods": _methods(samples), "gauges": gauges}


def _methods(samples: Samples) -> list[dict[str, Any]]:
    total = _ending(samples, "_requests_total")
    buckets = _ending(samples, "_request_seconds_bucket")
    rows = []
    for method in sorted({labels["method"] for labels, _ in total}):
        own = [(labels, value) for labels, value in total if labels["method"] == method]
        histogram = _cumulative((labels, value) for labels, value in buckets if labels["method"] == method)
        p50, p99 = (_quantile(histogram, share) for share in _QUANTILES)
        rows.append(
            {
                "method": method.rpartition("/")[2],
                "calls": sum(value for _, value in own),
                "errors": sum(value for labels, value in own if labels.get("code") != "OK"),
                "p50_ms": p50,
                "p99_ms": p99,
            }
        )
    return rows


def _ending(samples: Samples, suffix: str) -> list[tuple[Mapping[str, str], float]]:
    """Return the samples of methods; other counters end alike, such as those of requests that shared an answer."""
    of_names = (found for name, found in samples.items() if name.endswith(suffix))
    return [(labels, value) for found in of_names for labels, value in found if "method" in labels]


def _cumulative(samples: Iterable[tuple[Mapping[str, str], float]]) -> list[tuple[float, float]]:
    by_bound: dict[float, float] = {}
    for labels, value in samples:
        bound = float(labels["le"])
        by_bound[bound] = by_bound.get(bound, 0.0) + value
    return sorted(by_bound.items())


def _quantile(buckets: list[tuple[float, float]], share: float) -> float | None:
    """Return the upper bound of the bucket that holds a quantile, in milliseconds; None if there is none."""
    if not buckets or buckets[-1][1] <= 0:
        return None
    bound = next(bound for bound, count in buckets if count >= share * buckets[-1][1])
    return 1_000 * bound if math.isfinite(bound) else None

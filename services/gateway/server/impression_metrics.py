"""Metrics of the log of impressions."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from services.gateway.impressions.impression_log import ImpressionLog


class ImpressionCollector(Collector):
    """Reads the log's counts when metrics are collected.

    Args:
        namespace: The prefix of the metrics' names.
        log: The log.
    """

    def __init__(self, namespace: str, log: ImpressionLog) -> None:
        self._namespace = namespace
        self._log = log

    def collect(self) -> Iterator[Metric]:
        """Return the metrics."""
        records = CounterMetricFamily(
            f"{self._namespace}_impression_log_records",
            "Records of the log of impressions, by whether they were written or lost.",
            labels=("outcome",),
        )
        records.add_metric(("written",), self._log.written)
        records.add_metric(("lost",), self._log.lost)
        yield records

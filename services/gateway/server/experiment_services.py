"""Services besides the main ones: those of variants and the shadow; their names, and the metrics of experiments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from common.security.addresses import target_is_loopback
from services.gateway.backends.replicas.addresses import split_addresses
from services.gateway.backends.shadow_ranking import ShadowRanking
from services.gateway.experiments.experiment import BadExperiments, Experiment
from services.gateway.experiments.experiments import Experiments
from services.gateway.settings import Settings

SHADOW: Final = "shadow_ranking"
VARIANT_RETRIEVAL: Final = "variant_retrieval"
VARIANT_RANKING: Final = "variant_ranking"
FOR_COMPARISON: Final = frozenset({SHADOW, VARIANT_RETRIEVAL, VARIANT_RANKING})


def check_addresses(experiments: Sequence[Experiment], settings: Settings) -> None:
    """Refuse services of variants that would be called without TLS on another machine; raises BadExperiments."""
    if settings.insecure or settings.backend_ca is not None:
        return
    for variant in (variant for experiment in experiments for variant in experiment.variants):
        for target in (variant.retrieval_target, variant.ranking_target):
            if target is not None and not all(map(target_is_loopback, split_addresses(target))):
                raise BadExperiments(
                    f"{target} of the variant {variant.name!r} is another machine's, and would be called without TLS; "
                    "give --backend-ca"
                )


class ExperimentCollector(Collector):
    """Reads the counts of all variants when metrics are collected; labels are the names in the file.

    Args:
        namespace: The prefix of the metrics' names.
        experiments: The experiments.
    """

    def __init__(self, namespace: str, experiments: Experiments) -> None:
        self._namespace = namespace
        self._experiments = experiments

    def collect(self) -> Iterator[Metric]:
        """Return the metrics."""
        names = ("experiment", "variant")
        answers = CounterMetricFamily(
            f"{self._namespace}_variant_answers", "Answers of each variant, failed ones included.", labels=names
        )
        degraded = CounterMetricFamily(
            f"{self._namespace}_variant_degraded_answers",
            "Answers of each variant that were degraded or failed.",
            labels=names,
        )
        stopped = GaugeMetricFamily(
            f"{self._namespace}_variant_stopped", "1 if a guard rail stopped the variant.", labels=names
        )
        for labels, variant in self._experiments.variants.items():
            answers.add_metric(labels, variant.answers)
            degraded.add_metric(labels, variant.degraded)
            stopped.add_metric(labels, float(bool(variant.stopped)))
        return iter((answers, degraded, stopped))


class ShadowCollector(Collector):
    """Reads the counts of shadow traffic when metrics are collected.

    Args:
        namespace: The prefix of the metrics' names.
        shadow: The ranking service with its shadow.
    """

    def __init__(self, namespace: str, shadow: ShadowRanking) -> None:
        self._namespace = namespace
        self._shadow = shadow

    def collect(self) -> Iterator[Metric]:
        """Return the metrics."""
        shadow = self._shadow
        calls = CounterMetricFamily(
            f"{self._namespace}_shadow_calls", "Calls of ranking for the shadow, by outcome.", labels=("outcome",)
        )
        for outcome, count in (("answered", shadow.answered), ("failed", shadow.failed), ("dropped", shadow.dropped)):
            calls.add_metric((outcome,), count)
        same = CounterMetricFamily(
            f"{self._namespace}_shadow_same_top",
            "Share of the first ten candidates that the shadow agrees on, summed over its answers.",
            value=shadow.same_top,
        )
        seconds = CounterMetricFamily(
            f"{self._namespace}_shadow_seconds",
            "Time of the shadow's answers in seconds, summed.",
            value=shadow.seconds,
        )
        return iter((calls, same, seconds))

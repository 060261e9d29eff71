"""Metrics of the services behind the gateway: circuit breakers, retries and hedges."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from services.gateway.backends.guarded_profiles import GuardedProfiles
from services.gateway.backends.replicas.circuit_breaker import BreakerState
from services.gateway.backends.replicas.replica import Replica
from services.gateway.backends.replicas.replica_set import ReplicaSet

_LABELS = ("backend", "address")


class BackendCollector(Collector):
    """Reads the counts of all services when metrics are collected.

    Args:
        namespace: The prefix of the metrics' names.
    """

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._backends: list[ReplicaSet] = []
        self._profiles: list[GuardedProfiles] = []

    def add(self, replicas: ReplicaSet) -> None:
        """Export the replicas of one more service."""
        self._backends.append(replicas)

    def add_profiles(self, profiles: GuardedProfiles) -> None:
        """Export the profiles' circuit breaker too."""
        self._profiles.append(profiles)

    def collect(self) -> Iterator[Metric]:
        """Return the metrics."""
        yield self._states()
        yield from self._breaker_counts()
        yield from self._second_tries()

    def _peers(self) -> Sequence[Replica | GuardedProfiles]:
        return [*(replica for backend in self._backends for replica in backend.replicas), *self._profiles]

    def _states(self) -> Metric:
        states = GaugeMetricFamily(
            f"{self._namespace}_breaker_state", "1 for the state of each circuit breaker.", labels=(*_LABELS, "state")
        )
        for peer in self._peers():
            for state in BreakerState:
                states.add_metric((peer.service, peer.address, str(state)), float(peer.breaker.state is state))
        return states

    def _breaker_counts(self) -> Iterator[Metric]:
        opened = self._counter("breaker_opened", "How often a circuit breaker opened.", _LABELS)
        refused = self._counter("breaker_refused", "Calls that were not sent to a replica.", _LABELS)
        probes = self._counter("breaker_probes", "Probes of a replica that did not answer.", _LABELS)
        for peer in self._peers():
            labels = (peer.service, peer.address)
            opened.add_metric(labels, peer.breaker.opened)
            refused.add_metric(labels, peer.breaker.refused)
            probes.add_metric(labels, peer.probes)
        return iter((opened, refused, probes))

    def _second_tries(self) -> Iterator[Metric]:
        retries = self._counter("second_tries", "Retries and hedges, by outcome.", ("backend", "outcome"))
        hedges = self._counter("hedges", "Calls also sent to a second replica.", ("backend", "outcome"))
        for backend in self._backends:
            retries.add_metric((backend.service, "sent"), backend.retries.spent)
            retries.add_metric((backend.service, "over_budget"), backend.retries.denied)
            hedges.add_metric((backend.service, "won"), backend.hedges_won)
            hedges.add_metric((backend.service, "lost"), backend.hedged - backend.hedges_won)
        return iter((retries, hedges))

    def _counter(self, name: str, text: str, labels: tuple[str, ...]) -> CounterMetricFamily:
        return CounterMetricFamily(f"{self._namespace}_{name}", text, labels=labels)

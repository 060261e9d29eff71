"""How many pods a load needs: the processor time of a call, service by service, over the time that a pod has.

    pods = ⌈ calls/s · core-ms of a call / (1000 · cores of a pod · utilisation) ⌉ + 1

The pod more is for the time in which one is replaced or lost. Utilisation is the share of a pod's cores that is used at
the peak: above about 0.6 queues grow, and with them the slowest answers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

SERVICES: Final = ("gateway", "retrieval", "ranking")
CANDIDATES: Final = 100
_RELEASES_WHILE_ACTIVATING: Final = 3
_HOURS_A_MONTH: Final = 730


@dataclass(frozen=True)
class Coefficients:
    """What a call costs on a machine.

    Attributes:
        core_ms: Processor time of a call by occasion and service, in core-ms, at `CANDIDATES` and without text tiers.
        candidate_ms: What each candidate more costs, by service.
        pair_ms: What the cross-encoder costs a pair; 0 if the release has none.
        late_ms: What late interaction costs a candidate; 0 if the release has none.
        memory_mb: Resident memory by service with the release loaded.
        base_mb: Resident memory of a server without a release.
    """

    core_ms: Mapping[str, Mapping[str, float]]
    candidate_ms: Mapping[str, float]
    pair_ms: float
    late_ms: float
    memory_mb: Mapping[str, float]
    base_mb: float


@dataclass(frozen=True)
class PlannedLoad:
    """A load, and what its pods are like.

    Attributes:
        calls_per_s: Calls of Recommend a second at the peak.
        shares: The share of each occasion.
        candidates: Candidates of a call.
        pairs: Pairs that the cross-encoder reads in a call, those whose scores are cached not counted.
        late_candidates: Candidates that late interaction scores.
        items_factor: The items of the planned release over those of the measured one; memory grows with it.
        pod_cores: Cores of a pod of retrieval or ranking; a gateway is one process and uses one.
        utilisation: The share of the cores that is used at the peak.
        cpu_factor: Processor time on the planned machines over that on the measured one.
        core_hour: Price of a core for an hour.
        gb_hour: Price of a gigabyte of memory for an hour.
    """

    calls_per_s: float
    shares: Mapping[str, float]
    candidates: int = CANDIDATES
    pairs: float = 0.0
    late_candidates: float = 0.0
    items_factor: float = 1.0
    pod_cores: int = 4
    utilisation: float = 0.6
    cpu_factor: float = 1.0
    core_hour: float = 0.04
    gb_hour: float = 0.005


@dataclass(frozen=True)
class PodPlan:
    """The pods of a service.

    Attributes:
        core_ms: Processor time of a call.
        pods: How many.
        cores: Cores of all of them.
        memory_mb: Memory of one of them while it takes a new release.
        month: What they cost a month, in the currency of the prices.
    """

    core_ms: float
    pods: int
    cores: int
    memory_mb: float
    month: float


def core_ms_of(costs: Coefficients, load: PlannedLoad, service: str) -> float:
    """Return the processor time of an average call in a service, in core-ms of the measured machine."""
    total = sum(load.shares.values())
    mean = sum(share * costs.core_ms[occasion][service] for occasion, share in load.shares.items()) / total
    mean += (load.candidates - CANDIDATES) * costs.candidate_ms[service]
    if service == "ranking":
        mean += load.pairs * costs.pair_ms + load.late_candidates * costs.late_ms
    return mean


def pods_for(costs: Coefficients, load: PlannedLoad) -> dict[str, PodPlan]:
    """Return the pods of each service for a load."""
    return {service: _pods(costs, load, service) for service in SERVICES}


def saturation_per_s(costs: Coefficients, load: PlannedLoad, cores: float, client_ms: float = 0.0) -> float:
    """Return the calls a second at which all cores of one machine with the three servers are used.

    Args:
        costs: What a call costs.
        load: The mix of calls; its rate is not used.
        cores: The machine's cores.
        client_ms: What a call costs the client, if that is on the same machine.
    """
    return 1_000 * cores / (client_ms + sum(core_ms_of(costs, load, service) for service in SERVICES))


def _pods(costs: Coefficients, load: PlannedLoad, service: str) -> PodPlan:
    core_ms = core_ms_of(costs, load, service) * load.cpu_factor
    cores = 1 if service == "gateway" else load.pod_cores
    pods = math.ceil(load.calls_per_s * core_ms / (1_000 * cores * load.utilisation)) + 1
    release_mb = 0.0 if service == "gateway" else max(0.0, costs.memory_mb[service] - costs.base_mb)
    memory_mb = costs.memory_mb[service] - release_mb + _RELEASES_WHILE_ACTIVATING * release_mb * load.items_factor
    hourly = pods * (cores * load.core_hour + memory_mb / 1_000 * load.gb_hour)
    return PodPlan(core_ms, pods, pods * cores, memory_mb, hourly * _HOURS_A_MONTH)

"""What goes wrong in a chaos run: each action begins a fault, and ends it."""

from __future__ import annotations

import random
import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.reliability.chaos_cluster import Cluster

SERVERS: Final = ("retrieval-a", "retrieval-b", "ranking", "gateway")
_BEHIND: Final = ("retrieval-a", "retrieval-b", "ranking", "redis")
_HOUR_S: Final = 3_600
_SLOW_WRITE_MS: Final = 50
_SLOW_BYTES_S: Final = 0.05
Step = Callable[[Cluster], Awaitable[None]]


@dataclass(frozen=True)
class Action:
    """A fault.

    Attributes:
        name: Its name.
        begin: Begins it.
        end: Ends it; the cluster may still need time to recover.
    """

    name: str
    begin: Step
    end: Step


async def _nothing(_: Cluster) -> None:
    """Leave the cluster as it is."""


def actions(releases: Sequence[Path]) -> list[Action]:
    """Return every action once.

    Args:
        releases: The releases that are swapped.
    """
    swaps = [Action(f"swap to release {number}", _activate(path), _nothing) for number, path in enumerate(releases)]
    return [
        *(Action(f"kill -9 {name}", _kill(name), _restart(name)) for name in SERVERS),
        *(Action(f"SIGSTOP {name}", _signal(name, signal.SIGSTOP), _signal(name, signal.SIGCONT)) for name in SERVERS),
        *(Action(f"cut connections to {name}", _proxy(name, "cut"), _proxy(name, "restore")) for name in _BEHIND),
        *(Action(f"stall connections to {name}", _proxy(name, "stall"), _proxy(name, "restore")) for name in _BEHIND),
        *(Action(f"slow connections to {name}", _delay(name, _SLOW_BYTES_S), _delay(name, 0.0)) for name in _BEHIND),
        Action("SIGSTOP redis", _redis_signal(signal.SIGSTOP), _redis_signal(signal.SIGCONT)),
        Action("kill -9 redis", _redis_signal(signal.SIGKILL), _redis_start),
        Action("fail over redis", Cluster.fail_over, _nothing),
        Action("full disk of the gateway", _disk(full=True), _disk()),
        Action("slow disk of the gateway", _disk(slow_ms=_SLOW_WRITE_MS), _disk()),
        Action("clock of the gateway an hour ahead", _disk(clock_s=_HOUR_S), _disk()),
        Action("clock of the gateway an hour behind", _disk(clock_s=-_HOUR_S), _disk()),
        *swaps,
    ]


def schedule(chosen: random.Random, releases: Sequence[Path]) -> list[Action]:
    """Return all actions in a random order."""
    every = actions(releases)
    chosen.shuffle(every)
    return every


def _kill(name: str) -> Step:
    return lambda cluster: cluster.servers[name].kill()


def _restart(name: str) -> Step:
    return lambda cluster: cluster.restart(name)


def _signal(name: str, number: signal.Signals) -> Step:
    async def step(cluster: Cluster) -> None:
        cluster.servers[name].signal(number)

    return step


def _proxy(name: str, method: str) -> Step:
    async def step(cluster: Cluster) -> None:
        getattr(cluster.proxies[name], method)()

    return step


def _delay(name: str, seconds: float) -> Step:
    async def step(cluster: Cluster) -> None:
        cluster.proxies[name].delay_s = seconds

    return step


def _redis_signal(number: signal.Signals) -> Step:
    async def step(cluster: Cluster) -> None:
        cluster.redis[0].signal(number)

    return step


async def _redis_start(cluster: Cluster) -> None:
    await cluster.start_redis()


def _disk(*, full: bool = False, slow_ms: int = 0, clock_s: int = 0) -> Step:
    async def step(cluster: Cluster) -> None:
        cluster.faults.set(full=full, slow_ms=slow_ms, clock_s=clock_s)

    return step


def _activate(release: Path) -> Step:
    async def step(cluster: Cluster) -> None:
        await cluster.activate(release)

    return step

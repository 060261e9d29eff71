"""The replicas of one service: each call goes to one that answers, and a few are sent to a second one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from services.gateway.backends.replicas.circuit_breaker import BreakerState
from services.gateway.backends.replicas.hedged_call import Admitted, HedgedCall, send
from services.gateway.backends.replicas.replica import Replica
from services.gateway.backends.replicas.retry_budget import LatencyQuantile, RetryBudget
from services.gateway.backends.stages import StageTooSlow, StageUnavailable, StageUnreachable


class ReplicaSet:
    """The replicas of one service, called in turn.

    Args:
        service: The service's name, for messages.
        replicas: At least one replica.
        retry_share: Second tries for each call, at most.
        hedge_quantile: The quantile of latencies after which a repeatable call is also sent to a second replica; 1:
            never.

    Attributes:
        retries: The budget of second tries.
        hedged: How many calls were sent to a second replica because the first was slow.
        hedges_won: How many of them the second replica answered first.
    """

    def __init__(
        self, service: str, replicas: Sequence[Replica], retry_share: float = 0.1, hedge_quantile: float = 0.95
    ) -> None:
        self.service = service
        self.replicas = replicas
        self.retries = RetryBudget(retry_share)
        self.hedged = 0
        self.hedges_won = 0
        self._latency = LatencyQuantile(hedge_quantile) if len(replicas) > 1 and hedge_quantile < 1 else None
        self._turn = 0

    @property
    def answers(self) -> bool:
        """Whether the breaker of at least one replica is closed."""
        return any(replica.breaker.state is BreakerState.CLOSED for replica in self.replicas)

    async def call(self, method: str, request: Any, timeout_s: float, *, repeatable: bool = False) -> Any:
        """Make one call. A repeatable one is tried once more if a connection breaks, and hedged if an answer is slow.

        Raises:
            RequestRefused: The service refused the request as invalid.
            StageFailed: The service did not answer, or answered with an error.
        """
        if timeout_s <= 0:
            raise StageTooSlow(f"no time was left for {self.service}")
        ends_at_s = time.monotonic() + timeout_s
        self.retries.count_call()
        first = self._admit()
        if first is None:
            raise StageUnavailable(f"{self.service} is not called: its latest calls had no answer; it is being probed")
        if not repeatable:
            return await send(first, method, request, ends_at_s)
        try:
            return await self._hedged(first, method, request, ends_at_s)
        except StageUnreachable:
            if (second := self._admit_again(first[0])) is None:
                raise
        return await send(second, method, request, ends_at_s)

    async def close(self) -> None:
        """End the probing of every replica."""
        for replica in self.replicas:
            await replica.close()

    async def _hedged(self, first: Admitted, method: str, request: Any, ends_at_s: float) -> Any:
        """Make a call; if it takes longer than usual, also send it to a second replica."""
        if self._latency is None:
            return await send(first, method, request, ends_at_s)
        started_s = time.monotonic()
        call = HedgedCall(method, request, ends_at_s)
        try:
            call.send(first)
            if not await call.ends_within(self._latency.seconds):
                self._hedge(call, first[0])
            response, winner = await call.first_answer()
        finally:
            await call.end()
        self.hedges_won += winner is not first[0]
        self._latency.observe(time.monotonic() - started_s)
        return response

    def _hedge(self, call: HedgedCall, slow: Replica) -> None:
        if (second := self._admit_again(slow, others_only=True)) is not None:
            call.send(second)
            self.hedged += 1

    def _admit(self) -> Admitted | None:
        """Choose the next replica in turn whose breaker admits a call."""
        self._turn += 1
        return next(filter(None, map(_admitted, self._in_turn())), None)

    def _admit_again(self, tried: Replica, *, others_only: bool = False) -> Admitted | None:
        """Choose a replica for a second try: the one that was tried only if no other one is free."""
        others = [replica for replica in self._in_turn() if replica is not tried]
        chosen = next(filter(None, map(_admitted, others if others_only else [*others, tried])), None)
        if chosen is None or self.retries.withdraw():
            return chosen
        replica, attempt = chosen
        replica.breaker.abandon(attempt)
        return None

    def _in_turn(self) -> Sequence[Replica]:
        first = self._turn % len(self.replicas)
        return [*self.replicas[first:], *self.replicas[:first]]


def _admitted(replica: Replica) -> Admitted | None:
    attempt = replica.breaker.admit()
    return None if attempt is None else (replica, attempt)

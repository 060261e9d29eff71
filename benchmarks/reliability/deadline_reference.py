"""Calls to a server that never answers: how late the client itself notices a deadline on this machine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Final

import grpc
from shortlist.gateway.v1 import gateway_pb2, gateway_pb2_grpc

from benchmarks.reliability.recommend_load import CallRecord
from common.server.channel import open_channel
from testing.faults.tcp_proxy import TcpProxy

_INTERVAL_S: Final = 0.1
# A stall of the machine concerns the calls that end around the same time.
_WINDOW_S: Final = 1.0


class DeadlineReference:
    """Measures by how much a deadline is missed without any server.

    Args:
        deadline_s: The deadline of the measured calls.
    """

    def __init__(self, deadline_s: float) -> None:
        self._deadline_s = deadline_s
        self._late: list[tuple[float, float]] = []

    async def run(self) -> None:
        """Call until cancelled."""
        async with TcpProxy(0) as silent, open_channel(silent.address) as channel:
            silent.stall()
            stub: Any = gateway_pb2_grpc.RecommendationServiceStub(channel)
            async with asyncio.TaskGroup() as group:
                while True:
                    group.create_task(self._call(stub))
                    await asyncio.sleep(_INTERVAL_S)

    def lateness_ms(self, ended_s: float) -> float:
        """Return the largest lateness around a time."""
        return max((late for at, late in self._late if abs(at - ended_s) <= _WINDOW_S), default=0.0)

    def latest_ms(self) -> float:
        """Return the largest lateness of all."""
        return max((late for _, late in self._late), default=0.0)

    def too_late(self, calls: Sequence[CallRecord], tolerance_ms: float) -> list[CallRecord]:
        """Return the calls that passed their deadlines by more than the tolerance and this machine's own lateness."""
        return [
            call
            for call in late_calls(calls, tolerance_ms)
            if call.ms - call.deadline_ms - tolerance_ms > self.lateness_ms(call.began_s + call.ms / 1e3)
        ]

    async def _call(self, stub: Any) -> None:
        began_s = time.monotonic()
        try:
            await stub.Recommend(gateway_pb2.RecommendRequest(), timeout=self._deadline_s, wait_for_ready=True)
        except grpc.aio.AioRpcError:
            ended_s = time.monotonic()
            self._late.append((ended_s, (ended_s - began_s - self._deadline_s) * 1e3))


def late_calls(calls: Sequence[CallRecord], tolerance_ms: float) -> list[CallRecord]:
    """Return the calls that passed their deadlines by more than the tolerance, for whatever reason."""
    return [call for call in calls if call.ms > call.deadline_ms + tolerance_ms]

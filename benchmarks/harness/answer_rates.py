"""Answers a second of several gateways, which the same callers load in turns."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

import grpc
from shortlist.gateway.v1 import gateway_pb2, gateway_pb2_grpc

from common.server.access.channel_security import ChannelSecurity
from common.server.channel import open_channel
from testing.tiny_shop import USERS

CALLERS: Final = 8
_TIMEOUT_S: Final = 10.0
Target = tuple[str, ChannelSecurity | None]


async def answer_rates(targets: dict[str, Target], *, turns: int, turn_s: float) -> dict[str, list[float]]:
    """Return the answers a second of each target, by turn; the first turn of each only warms it up."""
    rates: dict[str, list[float]] = {name: [] for name in targets}
    channels = {name: open_channel(target, security) for name, (target, security) in targets.items()}
    for turn in range(turns + 1):
        # Each goes first in every other turn.
        for name in sorted(channels, reverse=turn % 2 == 1):
            rate = await _answers_a_second(channels[name], turn_s)
            if turn:
                rates[name].append(rate)
    for channel in channels.values():
        await channel.close()
    return rates


async def _answers_a_second(channel: grpc.aio.Channel, seconds: float) -> float:
    stub: Any = gateway_pb2_grpc.RecommendationServiceStub(channel)
    ends_s = time.monotonic() + seconds

    async def call_again_and_again(caller: int) -> int:
        answered = 0
        while time.monotonic() < ends_s:
            request = gateway_pb2.RecommendRequest(user_id=f"u{(caller + answered) % USERS}")
            await stub.Recommend(request, timeout=_TIMEOUT_S)
            answered += 1
        return answered

    began_s = time.monotonic()
    answers = await asyncio.gather(*map(call_again_and_again, range(CALLERS)))
    return sum(answers) / (time.monotonic() - began_s)

"""Shadow traffic: ranking's calls are also sent to a second ranking service, whose answers reach no user.

They are sent after the first service's answer, one at a time, by a task of their own. If it falls behind, calls are
dropped and counted, so that shadow traffic costs callers nothing but processor time.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Final, NamedTuple

from common.process.endless_loop import repeat
from services.gateway.backends.stages import (
    RankingBackend,
    RankingExplanation,
    RankingResult,
    StageFailed,
    UserInput,
)
from services.gateway.candidates import Candidate

_MAX_WAITING: Final = 100
_TIMEOUT_S: Final = 10.0
_TOP: Final = 10


class _Call(NamedTuple):
    user: UserInput
    candidates: Sequence[Candidate]
    release_id: str
    answer: RankingResult


class ShadowRanking:
    """A ranking service with a shadow.

    Args:
        ranking: The service whose answers count.
        shadow: The service that gets the same calls.
        share: Share of the calls that it gets.
        max_waiting: How many calls may wait for it.

    Attributes:
        answered: How many calls the shadow answered.
        failed: How many it did not.
        dropped: How many were not sent, because too many waited.
        same_top: The sum, over its answers, of the share of the first ten items that both agree on.
        seconds: The sum of its answers' times.
    """

    def __init__(
        self, ranking: RankingBackend, shadow: RankingBackend, share: float, max_waiting: int = _MAX_WAITING
    ) -> None:
        self._ranking = ranking
        self._shadow = shadow
        self._share = share
        self._waiting: asyncio.Queue[_Call] = asyncio.Queue(max_waiting)
        self.answered = 0
        self.failed = 0
        self.dropped = 0
        self.same_top = 0.0
        self.seconds = 0.0

    async def rank(
        self, user: UserInput, candidates: Sequence[Candidate], release_id: str, timeout_s: float
    ) -> RankingResult:
        """Score candidates by the service whose answers count; see RankingBackend."""
        answer = await self._ranking.rank(user, candidates, release_id, timeout_s)
        if random.random() < self._share:  # no secret is drawn  # nosec B311
            try:
                self._waiting.put_nowait(_Call(user, candidates, release_id, answer))
            except asyncio.QueueFull:
                self.dropped += 1
        return answer

    async def explain(
        self, user: UserInput, candidates: Sequence[Candidate], index: int, release_id: str, timeout_s: float
    ) -> RankingExplanation:
        """Explain by the service whose answers count; see RankingBackend."""
        return await self._ranking.explain(user, candidates, index, release_id, timeout_s)

    async def call_shadow(self) -> None:
        """Send waiting calls to the shadow, until the task is cancelled."""
        await repeat("shadow ranking", self._call_once)

    async def _call_once(self) -> None:
        call = await self._waiting.get()
        began_s = asyncio.get_running_loop().time()
        try:
            answer = await self._shadow.rank(call.user, call.candidates, call.release_id, _TIMEOUT_S)
        except StageFailed:
            self.failed += 1
            return
        self.answered += 1
        self.seconds += asyncio.get_running_loop().time() - began_s
        top, shadow_top = _top(call.answer), _top(answer)
        self.same_top += len(top & shadow_top) / len(top)


def _top(answer: RankingResult) -> set[int]:
    """Return the places of the candidates that a service ranks first."""
    places = range(len(answer.scores))
    return set(sorted(places, key=lambda place: -answer.scores[place].probability)[:_TOP])

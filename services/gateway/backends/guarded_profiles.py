"""Profiles on another machine behind a circuit breaker: while they do not answer, no call waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final, Protocol, TypeVar

import structlog

from services.gateway.backends.replicas.circuit_breaker import BreakerOptions, BreakerState, CircuitBreaker
from services.gateway.profiles.profile_store import (
    Document,
    Event,
    Profile,
    ProfileStore,
    ProfileStoreUnavailable,
    RecordedCounts,
)

_PROBE_INTERVAL_S: Final = 0.1
_PROBE_TIMEOUT_S: Final = 1.0
ResultT = TypeVar("ResultT")
_log = structlog.get_logger()


class PingedProfileStore(ProfileStore, Protocol):
    """A profile store that can be asked whether it answers."""

    async def ping(self) -> None:
        """Return if it answers; raises ProfileStoreUnavailable."""
        ...


class GuardedProfiles:
    """A profile store with a circuit breaker; for use on one event loop.

    Args:
        profiles: The store.
        address: Where it is, for messages.
        options: When the breaker opens.
        on_change: Called with whether the store answers, after each change of the breaker's state.

    Attributes:
        service: The name for metrics.
        breaker: The circuit breaker.
        probes: How many probes were sent.
    """

    service = "profiles"

    def __init__(
        self,
        profiles: PingedProfileStore,
        address: str,
        options: BreakerOptions | None = None,
        on_change: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self.address = address
        self.breaker = CircuitBreaker(options, on_change=self._state_changed)
        self.probes = 0
        self._profiles = profiles
        self._on_change = on_change
        self._probing: asyncio.Task[None] | None = None

    async def record_events(self, events: Sequence[Event]) -> RecordedCounts:
        """Record events; see ProfileStore."""
        return await self._guarded(lambda: self._profiles.record_events(events))

    async def read_profile(self, user_id: str, max_items: int) -> Profile:
        """Return a user's profile; see ProfileStore."""
        return await self._guarded(lambda: self._profiles.read_profile(user_id, max_items))

    async def forget_user(self, user_id: str) -> int:
        """Erase a user's events; see ProfileStore."""
        return await self._guarded(lambda: self._profiles.forget_user(user_id))

    async def erase_before(self, occurred_at_us: int) -> int:
        """Erase old events; see ProfileStore."""
        return await self._guarded(lambda: self._profiles.erase_before(occurred_at_us))

    async def read_document(self, name: str, known_version: int = -1) -> Document | None:
        """Return a document; see ProfileStore."""
        return await self._guarded(lambda: self._profiles.read_document(name, known_version))

    async def write_document(self, name: str, content: bytes, expected_version: int) -> int | None:
        """Replace a document; see ProfileStore."""
        return await self._guarded(lambda: self._profiles.write_document(name, content, expected_version))

    async def close(self) -> None:
        """End the probing and close the store."""
        if self._probing is not None:
            self._probing.cancel()
            with suppress(asyncio.CancelledError):
                await self._probing
        await self._profiles.close()

    async def _guarded(self, call: Callable[[], Awaitable[ResultT]]) -> ResultT:
        attempt = self.breaker.admit()
        if attempt is None:
            raise ProfileStoreUnavailable("the profiles are not called: their latest calls had no answer")
        try:
            result = await call()
        except ProfileStoreUnavailable:
            self.breaker.unreachable(attempt)
            raise
        except asyncio.CancelledError:  # above all, the time for it was over
            self.breaker.gave_up(attempt)
            raise
        except BaseException:
            self.breaker.abandon(attempt)
            raise
        self.breaker.answered(attempt)
        return result

    def _state_changed(self, state: BreakerState) -> None:
        _log.warning("circuit breaker", backend=self.service, address=self.address, state=str(state))
        if state is BreakerState.OPEN and (self._probing is None or self._probing.done()):
            self._probing = asyncio.get_running_loop().create_task(self._probe())
        self._on_change(state is BreakerState.CLOSED)

    async def _probe(self) -> None:
        """Probe until an answer makes the breaker half open."""
        while self.breaker.state is BreakerState.OPEN:
            await asyncio.sleep(_PROBE_INTERVAL_S)
            self.probes += 1
            with suppress(ProfileStoreUnavailable, TimeoutError):
                async with asyncio.timeout(_PROBE_TIMEOUT_S):
                    await self._profiles.ping()
                self.breaker.probe_answered()

"""Follows the pointer of a release store: takes each new release in its turn, and takes a bad one back.

The rules keep every answer of a fleet within one release:

- Retrieval names a release in its answer, and ranking must have it. So retrieval takes a release only when every
  replica of ranking that answers has it, as its current or its previous release.
- Each server holds two releases. It takes a third only when one of the two is not called any more.
- A server that starts during a roll-out loads the release before too.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, NamedTuple

import structlog

from common.errors import BadRelease
from common.process.endless_loop import repeat
from common.release.pointer import Pointer, read_pointer
from common.server.live_release import Answered, E, LiveRelease
from common.server.rollout.replicas import Replicas
from common.server.rollout.stages import RolloutOptions

# For how long after a change of the pointer other servers may still serve the release before.
_OVERLAP_S: Final = 3_600.0
# The first pause after a release could not be loaded, and the longest: a storage may be down for a while.
_RETRY_S: Final = (10.0, 600.0)
_MIN_CALLS: Final = 20
# A release that is not called for so long, while the one before is, is not going to be.
_SETTLED_S: Final = 60.0
_JITTER: Final = 0.2
_log = structlog.get_logger()


class Refusal(NamedTuple):
    """A release that is named by the store and not served, and why."""

    release_id: str
    reason: str


class Status(NamedTuple):
    """How a server follows its store.

    Attributes:
        wanted_id: The release that the store names.
        waits_for: Why it is not served yet; empty if it is served or refused.
        refusal: Why it is not served at all, if so.
        taken_back: How many releases were taken back after they had been served.
    """

    wanted_id: str = ""
    waits_for: str = ""
    refusal: Refusal | None = None
    taken_back: int = 0


class _Failed(NamedTuple):
    reason: str
    attempts: int
    retry_at_s: float


class ReleaseFollower(Generic[E]):
    """Follows a store; for use on one event loop.

    Args:
        live: The release that is served.
        store: The store.
        options: How it is followed.
        first: The replicas that must have a release before this server takes it; None for none.
        peers: The replicas of this service, whose refusals hold for this one too; None for none.
        on_status: Called with the status after each look.
        clock: Seconds since 1970.

    Attributes:
        status: The status after the last look.
    """

    def __init__(
        self,
        live: LiveRelease[E],
        store: str,
        options: RolloutOptions,
        first: Replicas | None = None,
        peers: Replicas | None = None,
        on_status: Callable[[Status], None] = lambda _: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.status = Status()
        self.store = store
        self._live = live
        self._options = options
        self._first = first
        self._peers = peers
        self._on_status = on_status
        self._clock = clock
        self._pointer = Pointer("")
        self._ready_at_s: float | None = None
        self._failed: _Failed | None = None
        self._taken_at_s = self._trial_ends_s = float("-inf")
        self._before = Answered()
        self._taken_back = 0

    async def start(self) -> None:
        """Serve the pointer's release, or the one before if it is not yet this server's turn or cannot be loaded.

        Raises:
            BadRelease: There is no release that can be served.
        """
        pointer = self._pointer = await asyncio.to_thread(read_pointer, self.store)
        loaded = ""
        for release_id in await self._starting_with(pointer):
            try:
                loaded = await self._live.activate(self._location(release_id))
            except BadRelease as error:
                if release_id == pointer.release_id:
                    if not (loaded or pointer.previous_id):
                        raise
                    self._fail(str(error))
                else:
                    _log.warning("the release before cannot be loaded", release_id=release_id, reason=str(error))
        if not loaded:
            await self._live.activate(self._location(pointer.previous_id or pointer.release_id))
        self._report("" if pointer.release_id == self._live.current_id else "its turn")

    async def follow(self) -> None:
        """Look at the pointer for ever, and do what it asks."""
        await repeat("release follower", self._wait_and_look)

    async def look(self) -> None:
        """Look at the pointer once, and do what it asks; raises BadRelease if it cannot be read."""
        pointer = await asyncio.to_thread(read_pointer, self.store)
        if pointer[:3] != self._pointer[:3]:
            _log.info(
                "the store names a release", release_id=pointer.release_id, previous_release_id=pointer.previous_id
            )
            self._ready_at_s = self._failed = None
        self._pointer = pointer
        if pointer.release_id == self._live.current_id:
            waits_for = await self._watch_trial()
        else:
            waits_for = await self._advance()
        self._report(waits_for)

    async def _wait_and_look(self) -> None:
        jitter = random.uniform(1 - _JITTER, 1 + _JITTER)  # spreads load, no secret  # nosec B311
        await asyncio.sleep(self._options.poll_s * jitter)
        await self.look()

    async def _starting_with(self, pointer: Pointer) -> Sequence[str]:
        """Return what to load at the start, in order; the last one is served."""
        is_young = pointer.paused or self._clock() - (pointer.set_at_s or 0.0) < _OVERLAP_S
        if not pointer.previous_id or not (is_young or self._first is not None):
            return [pointer.release_id]
        if self._first is None:  # other servers may name either release
            return [pointer.previous_id, pointer.release_id]
        answers = await self._first.releases()
        is_turn = not pointer.paused and self._clock() - (pointer.set_at_s or 0.0) >= self._options.wait_s
        if is_turn and answers and not _missing(answers, pointer.release_id):
            return [pointer.release_id]
        return [pointer.previous_id] if is_young or answers else [pointer.release_id]

    async def _advance(self) -> str:
        """Take the pointer's release if it is its turn; returns what it waits for."""
        release_id = self._pointer.release_id
        if self._pointer.paused:
            return "roll-outs are paused"
        if self._failed is not None and self._clock() < self._failed.retry_at_s:
            return ""
        if (waits_for := await self._others_say(release_id)) or (waits_for := self._stage()):
            return waits_for
        if release_id not in (self._live.current_id, self._live.previous_id) and (waits_for := await self._make_room()):
            return waits_for
        await self._take(release_id)
        return ""

    async def _make_room(self) -> str:
        """Have the release that is called be the current one, which stays; returns what is waited for."""
        current, previous = self._live.current_id, self._live.previous_id
        within_s = 3 * self._options.poll_s
        if not previous or not self._live.is_called(previous, within_s):
            return ""
        # A release that was just taken may not have been called yet, because retrieval takes it later.
        if self._live.is_called(current, within_s) or self._clock() - self._taken_at_s < _SETTLED_S:
            return f"calls that name {previous}; finish that roll-out, or take it back first"
        await self._live.activate(self._location(previous))
        return ""

    async def _others_say(self, release_id: str) -> str:
        """Return what the other servers are waited for; empty if nothing speaks against the release."""
        first = [] if self._first is None else await self._first.releases()
        # A replica that failed tries again whatever its peers say, else two of them would wait for each other.
        peers = [] if self._peers is None or self._failed is not None else await self._peers.releases()
        for answer in (*first, *peers):
            if answer.refused_release_id == release_id:
                return f"{answer.release.service}, which refuses it: {answer.refusal}"
        if self._first is not None and (not first or (missing := _missing(first, release_id))):
            return (
                f"{missing} replicas that do not have it" if first else "an answer of the replicas that take it first"
            )
        return ""

    def _stage(self) -> str:
        """Return which stage this replica waits for; empty if it is its turn."""
        if self._ready_at_s is None:
            # Of the first service the time of the pointer, so that all of its replicas agree.
            self._ready_at_s = (self._pointer.set_at_s if self._first is None else None) or self._clock()
        left_s = self._ready_at_s + self._options.wait_s - self._clock()
        return f"the canaries, {left_s:.0f} s" if left_s > 0 else ""

    async def _take(self, release_id: str) -> None:
        before = self._live.answered(self._live.current_id)
        try:
            await self._live.activate(self._location(release_id))
        except BadRelease as error:
            self._fail(str(error))
            return
        self._failed, self._before = None, before
        self._taken_at_s = self._clock()
        self._trial_ends_s = self._taken_at_s + self._options.trial_s

    async def _watch_trial(self) -> str:
        """Take the release back if its calls fail, or if a server that has to have it refuses it."""
        self._failed = None
        if self._clock() >= self._trial_ends_s or not self._live.previous_id:
            return ""
        if not (fault := self._fault() or await self._others_refuse()):
            return ""
        release_id, before = self._live.current_id, self._live.previous_id
        await self._live.activate(self._location(before))
        self._trial_ends_s = float("-inf")
        self._taken_back += 1
        self._failed = _Failed(fault, 1, float("inf"))  # until the pointer changes
        _log.error("release taken back", release_id=release_id, serves=before, reason=fault)
        return ""

    def _fault(self) -> str:
        answered = self._live.answered(self._live.current_id)
        share, before = _failed_share(answered), _failed_share(self._before)
        if answered.calls < _MIN_CALLS or share <= before + self._options.max_failed_share:
            return ""
        return f"{answered.failed} of {answered.calls} calls failed with it; before, {before:.1%} did"

    async def _others_refuse(self) -> str:
        if self._first is None:
            return ""
        current = self._live.current_id
        refusals = [one for one in await self._first.releases() if one.refused_release_id == current]
        return f"{refusals[0].release.service} refuses it: {refusals[0].refusal}" if refusals else ""

    def _fail(self, reason: str) -> None:
        attempts = 1 if self._failed is None else self._failed.attempts + 1
        least_s, most_s = _RETRY_S
        self._failed = _Failed(reason, attempts, self._clock() + min(most_s, least_s * 2 ** min(attempts - 1, 16)))
        _log.error("the store's release is refused", release_id=self._pointer.release_id, reason=reason)

    def _report(self, waits_for: str) -> None:
        wanted = self._pointer.release_id
        refusal = None if self._failed is None else Refusal(wanted, self._failed.reason)
        status = Status(wanted, waits_for, refusal, self._taken_back)
        if waits_for and (waits_for != self.status.waits_for or wanted != self.status.wanted_id):
            _log.info("the store's release is waited with", release_id=wanted, waits_for=waits_for)
        self.status = status
        self._on_status(status)

    def _location(self, release_id: str) -> str:
        return f"{self.store.rstrip('/')}/{release_id}"


def _missing(answers: Sequence[Any], release_id: str) -> int:
    """Return how many replicas do not have a release."""
    return sum(release_id not in (one.release.release_id, one.previous_release_id) for one in answers)


def _failed_share(answered: Answered) -> float:
    return answered.failed / answered.calls if answered.calls else 0.0

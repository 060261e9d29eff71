"""The release that is served, and its replacement without losing a call."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import structlog

from common.errors import BadRelease, InvalidRequest, NotFound, NotReady
from common.gc_freeze import refreeze_heap
from common.process.memory import return_freed_memory
from common.release.store import Release, open_release
from common.server.telemetry import Metrics

_log = structlog.get_logger()


class Engine(Protocol):
    """What a service computes with; created from one release."""

    def close(self) -> None:
        """Release threads, files and memory; called once, in a thread, when no call holds a lease.

        Trap: a cancelled call may have left work running in a thread, so wait for the engine's own threads.
        """


E = TypeVar("E", bound=Engine)


class Answered(NamedTuple):
    """How the calls ended that one release answered.

    Attributes:
        calls: How many ended.
        failed: How many of them failed, or were cancelled before they were answered. Invalid requests did not.
    """

    calls: int = 0
    failed: int = 0


@dataclass
class _Slot(Generic[E]):
    release_id: str
    engine: E
    created_s: float = math.nan
    leases: int = 0
    retired: bool = False
    calls: int = 0
    failed: int = 0
    called_at_s: float = float("-inf")


class LiveRelease(Generic[E]):
    """The engines of the current and the previous release, each kept until the last call that uses it has ended.

    All methods run on the event loop; only loading and closing run in threads.

    Args:
        load: Creates an engine from a verified release and warms it up; runs in a thread.
        metrics: Exports which release is served.
        opener: Opens and verifies the releases.
    """

    def __init__(
        self, load: Callable[[Release], E], metrics: Metrics, opener: Callable[[str], Release] = open_release
    ) -> None:
        self._load = load
        self._metrics = metrics
        self._open = opener
        self._current: _Slot[E] | None = None
        self._previous: _Slot[E] | None = None
        self._one_at_a_time = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def current_id(self) -> str:
        """The id of the release that is served; empty before the first."""
        return self._current.release_id if self._current else ""

    @property
    def previous_id(self) -> str:
        """The id of the previous release, which still answers calls that name it; empty if there is none."""
        return self._previous.release_id if self._previous else ""

    def answered(self, release_id: str) -> Answered:
        """Return how the calls ended that a loaded release answered since it was loaded."""
        slot = self._loaded(release_id)
        return Answered() if slot is None else Answered(slot.calls, slot.failed)

    def is_called(self, release_id: str, within_s: float) -> bool:
        """Return whether a loaded release answers a call now, or began one in the last ``within_s`` seconds."""
        slot = self._loaded(release_id)
        return slot is not None and (slot.leases > 0 or time.monotonic() - slot.called_at_s < within_s)

    async def activate(self, location: str) -> str:
        """Verify and load the release at ``location``, switch to it, and return its id; a no-op if served already.

        It completes even if the caller cancels. Activations run one after the other.

        Raises:
            BadRelease: The release cannot be served; nothing changes.
        """
        return await asyncio.shield(self._spawn(self._activate(location)))

    @contextmanager
    def lease(self, release_id: str = "", *, is_call: bool = True) -> Iterator[E]:
        """Keep an engine open while the body uses it.

        Args:
            release_id: The current or the previous release; empty for the current one.
            is_call: Whether the body answers a call, which `answered` and `is_called` count.

        Raises:
            NotReady: No release is loaded.
            NotFound: The id is neither that of the current nor of the previous release.
        """
        slot = self._find(release_id)
        slot.leases += 1
        try:
            with _counted(slot) if is_call else nullcontext():
                yield slot.engine
        finally:
            slot.leases -= 1
            self._close_when_idle(slot)

    async def close(self) -> None:
        """Close every engine once its calls have ended; waits for an activation in progress."""
        async with self._one_at_a_time:
            self._retire(self._previous)
            self._retire(self._current)
            self._current = self._previous = None
        await asyncio.gather(*self._tasks)

    async def _activate(self, location: str) -> str:
        async with self._one_at_a_time:
            slot = await asyncio.to_thread(self._prepare, location)
            if slot is not None:
                self._swap(slot)
            return self.current_id

    def _prepare(self, location: str) -> _Slot[E] | None:
        """Load the release at ``location``; None if it is served already. Runs in a thread."""
        try:
            release = self._open(location)
            if release.id == self.current_id:
                return None
            return _Slot(release.id, self._load(release), _created_s(release))
        except BadRelease:
            raise
        except Exception as error:
            raise BadRelease(f"the release at {location} cannot be loaded: {error}") from error

    def _swap(self, slot: _Slot[E]) -> None:
        if (reloaded := self._loaded(slot.release_id)) is not None:
            slot.called_at_s = reloaded.called_at_s
        self._retire(self._previous)
        self._previous, self._current = self._current, slot
        self._metrics.set_release(slot.release_id, slot.created_s)
        _log.info("release activated", release_id=slot.release_id, previous_release_id=self.previous_id)

    def _loaded(self, release_id: str) -> _Slot[E] | None:
        slots = (self._current, self._previous)
        return next((slot for slot in slots if slot is not None and slot.release_id == release_id), None)

    def _find(self, release_id: str) -> _Slot[E]:
        if self._current is None:
            raise NotReady("no release is loaded; call again when the health check says SERVING")
        slot = self._loaded(release_id or self._current.release_id)
        if slot is not None:
            return slot
        raise NotFound(
            f"release_id: release {release_id!r} is not served, {self.current_id!r} is; leave it empty for the current "
            "release"
        )

    def _retire(self, slot: _Slot[E] | None) -> None:
        if slot is not None:
            slot.retired = True
            self._close_when_idle(slot)

    def _close_when_idle(self, slot: _Slot[E]) -> None:
        if slot.retired and slot.leases == 0:
            self._spawn(_close(slot.engine, slot.release_id))

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task)  # the event loop itself holds tasks weakly
        task.add_done_callback(self._tasks.discard)
        return task


def _created_s(release: Release) -> float:
    return datetime.fromisoformat(release.manifest.created_at).timestamp()


@contextmanager
def _counted(slot: _Slot[Any]) -> Iterator[None]:
    """Count a call, and whether it failed."""
    slot.called_at_s = time.monotonic()
    try:
        yield
    except (InvalidRequest, NotFound):  # the caller's fault
        raise
    except BaseException:
        slot.failed += 1
        raise
    finally:
        slot.calls += 1


async def _close(engine: Engine, release_id: str) -> None:
    held = [engine]
    del engine
    try:
        # If a thread still referenced the engine when the heap is frozen again, the engine would never be collected.
        await asyncio.to_thread(lambda: held.pop().close())
    except Exception:  # noqa: BLE001 - logged, since nobody awaits this task
        _log.exception("an engine could not be closed", release_id=release_id)
    refreeze_heap()
    await asyncio.to_thread(return_freed_memory)

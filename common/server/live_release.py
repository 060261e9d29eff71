"""The release being served, swapped for another without losing a call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import structlog

from common.errors import BadRelease, NotFound, NotReady
from common.gc_freeze import refreeze_heap
from common.release.store import Release, open_release
from common.server.telemetry import Metrics

_log = structlog.get_logger()


class Engine(Protocol):
    """What a service computes with; made from one release."""

    def close(self) -> None:
        """Let go of threads, files and memory; called once, in a thread, when no call holds a lease.

        Trap: work that a cancelled call left behind in a thread may still run, so wait for the engine's own threads.
        """


E = TypeVar("E", bound=Engine)


@dataclass
class _Slot(Generic[E]):
    release_id: str
    engine: E
    leases: int = 0
    retired: bool = False


class LiveRelease(Generic[E]):
    """The current release's engine and the one before it, each kept until the last call that uses it is done.

    Everything here runs on the event loop; only loading and closing leave it.

    Args:
        load: Makes an engine of a verified release, warmed up; runs in a thread.
        metrics: Told which release is served.
        cache: Where remote releases are kept.
    """

    def __init__(self, load: Callable[[Release], E], metrics: Metrics, cache: Path | None = None) -> None:
        self._load = load
        self._metrics = metrics
        self._cache = cache
        self._current: _Slot[E] | None = None
        self._previous: _Slot[E] | None = None
        self._one_at_a_time = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def current_id(self) -> str:
        """The id of the release being served; empty before the first."""
        return self._current.release_id if self._current else ""

    @property
    def previous_id(self) -> str:
        """The id of the release served before, still answering calls that name it; empty where there is none."""
        return self._previous.release_id if self._previous else ""

    async def activate(self, location: str) -> str:
        """Verify, load and swap to the release at ``location``, and return its id; a no-op where it is being served.

        Once begun it ends even when its caller goes away. Activations are done one after the other.

        Raises:
            BadRelease: The release cannot be served; everything stays as it was.
        """
        return await asyncio.shield(self._spawn(self._activate(location)))

    def current(self) -> AbstractContextManager[E]:
        """Lease the current release's engine; see `lease`."""
        return self.lease()

    @contextmanager
    def lease(self, release_id: str = "") -> Iterator[E]:
        """Keep an engine alive while the body uses it.

        Args:
            release_id: The release meant, the current or the previous one; empty for the current one.

        Raises:
            NotReady: No release is loaded.
            NotFound: Neither the current nor the previous release is meant.
        """
        slot = self._find(release_id)
        slot.leases += 1
        try:
            yield slot.engine
        finally:
            slot.leases -= 1
            self._close_when_idle(slot)

    async def close(self) -> None:
        """Close every engine once its calls are done; waits for an activation under way."""
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
        """Load the release at ``location``; None where it is being served already. Runs in a thread."""
        try:
            release = open_release(location, self._cache)
            return None if release.id == self.current_id else _Slot(release.id, self._load(release))
        except BadRelease:
            raise
        except Exception as error:
            raise BadRelease(f"the release at {location} cannot be loaded: {error}") from error

    def _swap(self, slot: _Slot[E]) -> None:
        self._retire(self._previous)
        self._previous, self._current = self._current, slot
        self._metrics.set_release(slot.release_id)
        _log.info("release activated", release_id=slot.release_id, previous_release_id=self.previous_id)

    def _find(self, release_id: str) -> _Slot[E]:
        if self._current is None:
            raise NotReady("no release is loaded; call again when the health check says SERVING")
        for slot in (self._current, self._previous):
            if slot is not None and release_id in ("", slot.release_id):
                return slot
        raise NotFound(
            f"release_id: release {release_id!r} is not served here, {self.current_id!r} is; leave it empty to be "
            "answered by that one"
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


async def _close(engine: Engine, release_id: str) -> None:
    held = [engine]
    del engine
    try:
        # A thread that still held the engine when the heap is settled would keep it as garbage.
        await asyncio.to_thread(lambda: held.pop().close())
    except Exception:  # noqa: BLE001 - it is logged, and nobody waits for it
        _log.exception("an engine could not be closed", release_id=release_id)
    refreeze_heap()

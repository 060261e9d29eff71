"""Which objects are excluded from garbage collection, and that they are still freed."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable, Iterator

import pytest

from common import gc_freeze
from common.gc_freeze import freeze_heap, freeze_new_objects, refreeze_heap
from common.release.store import Release
from common.server.live_release import LiveRelease
from common.server.telemetry import Metrics


class Engine:
    """References itself, like an engine whose components call it."""

    def __init__(self, _: Release) -> None:
        self.itself = self

    def close(self) -> None:
        """Nothing to do."""


@pytest.fixture(autouse=True)
def _never_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start each test with nothing frozen, like a new process."""
    monkeypatch.setattr(gc_freeze, "_frozen", threading.Event())


@pytest.fixture
def frozen() -> Iterator[None]:
    """Freeze the heap for a test."""
    freeze_heap()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("frozen")
async def test_a_replaced_release_is_freed(metrics: Metrics, make_release: Callable[..., Release]):
    """A frozen engine that only a garbage collection can free is freed after it was replaced."""
    live = LiveRelease(Engine, metrics)
    await live.activate(str(make_release("a").path))
    with live.lease() as engine:
        first = weakref.ref(engine)
    del engine
    freeze_heap()
    for marker in ("b", "c"):
        await live.activate(str(make_release(marker).path))
    await asyncio.gather(*live._tasks)
    assert first() is None
    await live.close()
    assert gc.get_freeze_count()


def test_refreezing_needs_an_earlier_freeze():
    """Without an earlier freeze, nothing is frozen."""
    refreeze_heap()
    assert not gc.get_freeze_count()


@pytest.mark.usefixtures("frozen")
def test_new_objects_are_frozen_too():
    """After a freeze, new objects are frozen too; young garbage is collected first."""
    added, garbage = [[number] for number in range(5_000)], Engine.__new__(Engine)
    garbage.itself = garbage
    collected = weakref.ref(garbage)
    del garbage
    before = gc.get_freeze_count()
    freeze_new_objects()
    assert collected() is None
    assert gc.get_freeze_count() >= before + len(added)


def test_freezing_new_objects_needs_an_earlier_freeze():
    """Without an earlier freeze, new objects are not frozen."""
    freeze_new_objects()
    assert gc.get_freeze_count() == 0

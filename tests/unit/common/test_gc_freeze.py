"""What is kept out of garbage collection, and what is not kept for ever by it."""

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
    """Refers to itself, as engines do whose parts call them back."""

    def __init__(self, _: Release) -> None:
        self.itself = self

    def close(self) -> None:
        """Nothing to do."""


@pytest.fixture(autouse=True)
def _as_never_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each test begin as a process does."""
    monkeypatch.setattr(gc_freeze, "_frozen", threading.Event())


@pytest.fixture
def settled() -> Iterator[None]:
    """Settle the heap for a test."""
    freeze_heap()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("settled")
async def test_a_replaced_release_is_let_go_of(metrics: Metrics, make_release: Callable[..., Release]):
    """An engine that was there when the heap was settled, and that only a collection can free, is freed after swaps."""
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


def test_a_heap_that_was_never_settled_is_left_alone():
    """A process that did not ask for it collects as ever."""
    refreeze_heap()
    assert not gc.get_freeze_count()


@pytest.mark.usefixtures("settled")
def test_what_came_since_is_left_alone_too():
    """Once something was left alone, what stays is added to it; young garbage is collected before."""
    came, garbage = [[number] for number in range(5_000)], Engine.__new__(Engine)
    garbage.itself = garbage
    gone = weakref.ref(garbage)
    del garbage
    before = gc.get_freeze_count()
    freeze_new_objects()
    assert gone() is None
    assert gc.get_freeze_count() >= before + len(came)


def test_nothing_is_left_alone_where_nothing_was():
    """A process that is no server collects its garbage as ever."""
    freeze_new_objects()
    assert gc.get_freeze_count() == 0

"""The release being served, swapped while calls run."""

from __future__ import annotations

import asyncio
import gc
import math
import threading
import weakref
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

from common.errors import BadRelease, NotFound, NotReady
from common.release.store import Release
from common.server.live_release import LiveRelease
from common.server.telemetry import Metrics

MakeRelease = Callable[..., Release]


class Engine:
    """Notes whether it was closed, and fails whoever uses it after that."""

    def __init__(self, release: Release) -> None:
        self.release_id = release.id
        self.closed = threading.Event()

    def answer(self) -> str:
        """Return the release's id."""
        assert not self.closed.is_set(), "used after it was closed"
        return self.release_id

    def close(self) -> None:
        """Note the end."""
        assert not self.closed.is_set(), "closed twice"
        self.closed.set()


@pytest.fixture
def live(metrics: Metrics) -> LiveRelease[Engine]:
    """Return a live release that loads `Engine`s."""
    return LiveRelease(Engine, metrics)


def answer(live: LiveRelease[Engine], release_id: str = "") -> str:
    """Lease an engine and return its answer."""
    with live.lease(release_id) as engine:
        return engine.answer()


async def test_nothing_is_served_before_the_first_release(live: LiveRelease[Engine]):
    """Before the first activation a lease is NotReady, and there are no ids."""
    assert (live.current_id, live.previous_id) == ("", "")
    with pytest.raises(NotReady), live.lease():
        pass


async def test_the_current_and_the_previous_release_answer(live: LiveRelease[Engine], make_release: MakeRelease):
    """After a swap both releases answer by their ids, the new one by default, and any other id is NotFound."""
    first, second = make_release("a"), make_release("b")
    assert await live.activate(str(first.path)) == first.id
    assert (live.current_id, live.previous_id) == (first.id, "")
    assert await live.activate(str(second.path)) == second.id
    assert (live.current_id, live.previous_id) == (second.id, first.id)
    assert [answer(live, name) for name in ("", second.id, first.id)] == [second.id, second.id, first.id]
    with pytest.raises(NotFound, match=f"'zzz'.*{second.id}"):
        answer(live, "zzz")
    await live.close()


async def test_the_release_served_is_in_the_metrics(
    live: LiveRelease[Engine], make_release: MakeRelease, metrics: Metrics
):
    """The metrics tell the current release and when it was built; before that they tell neither."""
    created = "shortlist_test_release_created_timestamp_seconds"
    assert math.isnan(metrics.registry.get_sample_value(created) or 0.0)
    release = make_release()
    await live.activate(str(release.path))
    assert metrics.registry.get_sample_value("shortlist_test_release_info", {"release_id": release.id}) == 1
    assert metrics.registry.get_sample_value(created) == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()
    await live.close()


async def test_activating_what_is_served_changes_nothing(metrics: Metrics, make_release: MakeRelease):
    """The same release again is answered with its id, loads nothing and keeps the previous one."""
    loaded: list[str] = []

    def load(release: Release) -> Engine:
        loaded.append(release.id)
        return Engine(release)

    live = LiveRelease(load, metrics)
    first, second = make_release("a"), make_release("b")
    for release in (first, second, second):
        assert await live.activate(str(release.path)) == release.id
    assert loaded == [first.id, second.id]
    assert live.previous_id == first.id
    await live.close()


async def test_the_release_before_the_previous_is_let_go(live: LiveRelease[Engine], make_release: MakeRelease):
    """Two swaps later an engine is closed and its memory released, but not while a call still uses it."""
    releases = [make_release(marker) for marker in "abc"]
    await live.activate(str(releases[0].path))
    with live.lease() as engine:
        for release in releases[1:]:
            await live.activate(str(release.path))
        with pytest.raises(NotFound):
            answer(live, releases[0].id)
        assert engine.answer() == releases[0].id
    closed, left = engine.closed, weakref.ref(engine)
    del engine
    await asyncio.to_thread(closed.wait, 30)
    await live.close()
    gc.collect()
    assert left() is None


async def test_rolling_back_is_activating_the_earlier_one(live: LiveRelease[Engine], make_release: MakeRelease):
    """The previous release can be made current again, and what was current becomes the previous one."""
    first, second = make_release("a"), make_release("b")
    for release in (first, second, first):
        await live.activate(str(release.path))
    assert (live.current_id, live.previous_id) == (first.id, second.id)
    assert answer(live) == first.id
    await live.close()


def damaged(make_release: MakeRelease) -> str:
    """Return the path of a release with an altered file."""
    release = make_release("damaged")
    (release.path / "retrieval.json").write_text("altered")
    return str(release.path)


def not_there(make_release: MakeRelease) -> str:
    """Return a path where nothing is."""
    return str(make_release("elsewhere").path / "nowhere")


def unloadable(make_release: MakeRelease) -> str:
    """Return the path of a sound release that the loading function chokes on."""
    return str(make_release("unloadable").path)


@pytest.mark.parametrize("bad", [damaged, not_there, unloadable])
async def test_a_bad_release_changes_nothing(metrics: Metrics, make_release: MakeRelease, bad: Any):
    """A release that is altered, missing or cannot be loaded is BadRelease, and both releases stay as they were."""

    def load(release: Release) -> Engine:
        if "unloadable" in release.file("retrieval.json").read_text():
            raise RuntimeError("no such operator")
        return Engine(release)

    live = LiveRelease(load, metrics)
    first, second = make_release("a"), make_release("b")
    await live.activate(str(first.path))
    await live.activate(str(second.path))
    with pytest.raises(BadRelease):
        await live.activate(bad(make_release))
    assert (live.current_id, live.previous_id) == (second.id, first.id)
    assert [answer(live, name) for name in (first.id, second.id)] == [first.id, second.id]
    await live.close()


async def test_activations_are_done_one_after_the_other(metrics: Metrics, make_release: MakeRelease):
    """Activations at the same time never load side by side, and the last one asked for is served."""
    loading = threading.Lock()

    def load(release: Release) -> Engine:
        assert loading.acquire(blocking=False), "two releases were loaded at once"
        try:
            return Engine(release)
        finally:
            loading.release()

    live = LiveRelease(load, metrics)
    releases = [make_release(marker) for marker in "abcd"]
    await asyncio.gather(*(live.activate(str(release.path)) for release in releases))
    assert (live.current_id, live.previous_id) == (releases[3].id, releases[2].id)
    await live.close()


async def test_an_activation_outlives_its_caller(metrics: Metrics, make_release: MakeRelease):
    """A caller that goes away while a release loads does not stop it, and no engine is lost."""
    begun, go_on = threading.Event(), threading.Event()
    engines: list[Engine] = []

    def load(release: Release) -> Engine:
        begun.set()
        assert go_on.wait(30)
        engines.append(Engine(release))
        return engines[0]

    live = LiveRelease(load, metrics)
    activating = asyncio.create_task(live.activate(str(make_release().path)))
    await asyncio.to_thread(begun.wait, 30)
    activating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await activating
    closing = asyncio.create_task(live.close())
    go_on.set()
    await closing
    assert [engine.closed.is_set() for engine in engines] == [True]
    with pytest.raises(NotReady):
        answer(live)


async def test_an_engine_that_fails_to_close_harms_nobody(metrics: Metrics, make_release: MakeRelease):
    """An error while closing is logged, and the next release is served."""

    class Stubborn(Engine):
        def close(self) -> None:
            raise RuntimeError("stuck")

    live: LiveRelease[Stubborn] = LiveRelease(Stubborn, metrics)
    with capture_logs() as logs:
        await live.activate(str(make_release().path))
        await live.close()
    assert [line["log_level"] for line in logs if "closed" in line["event"]] == ["error"]


async def test_calls_run_through_swaps_without_loss(metrics: Metrics, make_release: MakeRelease):
    """Calls that hold engines across swaps are answered by the release they leased; all but two engines are closed."""
    engines: list[Engine] = []

    def load(release: Release) -> Engine:
        engines.append(Engine(release))
        return engines[-1]

    live = LiveRelease(load, metrics)
    releases = [make_release(marker) for marker in "abc"]
    await live.activate(str(releases[0].path))
    done = asyncio.Event()
    answered = 0

    async def caller(holds: int) -> None:
        nonlocal answered
        while not done.is_set():
            with live.lease() as engine:
                expected = engine.answer()
                for _ in range(holds):
                    await asyncio.sleep(0)
                assert await asyncio.to_thread(engine.answer) == expected
            answered += 1

    callers = [asyncio.create_task(caller(holds)) for holds in range(0, 40, 5)]
    for swap in range(1, 20):
        await live.activate(str(releases[swap % 3].path))
    done.set()
    await asyncio.gather(*callers)
    assert answered >= len(callers)
    assert len(engines) == 20
    await asyncio.gather(*(asyncio.to_thread(engine.closed.wait, 30) for engine in engines[:-2]))
    assert [engine.closed.is_set() for engine in engines] == [True] * 18 + [False] * 2
    await live.close()
    assert all(engine.closed.is_set() for engine in engines)

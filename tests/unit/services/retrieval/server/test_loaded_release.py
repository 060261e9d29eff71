"""What belongs to a release goes with the last engine of a release that was replaced."""

from __future__ import annotations

import threading

import pytest

from services.retrieval.server.loaded_release import EngineRefCount


def open_one(engines: EngineRefCount, release_id: str) -> None:
    """Open an engine."""
    with engines.opening(release_id):
        pass


def closed(engines: EngineRefCount, release_id: str) -> bool:
    """Close an engine; returns whether its release was replaced for good."""
    with engines.closing(release_id) as replaced:
        return replaced


def test_the_last_engine_of_a_release_takes_it_along():
    """A release that was activated again while its old engine still answered stays."""
    engines = EngineRefCount()
    for release_id in ("one", "two", "one"):
        open_one(engines, release_id)
    assert not closed(engines, "one")
    assert closed(engines, "two")
    assert closed(engines, "one")


def test_what_failed_to_open_holds_nothing():
    """An engine that could not be opened counts for nothing."""
    engines = EngineRefCount()
    open_one(engines, "one")
    with pytest.raises(RuntimeError), engines.opening("one"):
        raise RuntimeError("no luck")
    assert closed(engines, "one")


def test_the_end_of_the_process_replaces_nothing():
    """Servers that stop keep what their release has elsewhere, for their next start."""
    engines = EngineRefCount()
    open_one(engines, "one")
    engines.end()
    assert not closed(engines, "one")


def test_opening_waits_for_closing():
    """A release that is activated again is opened once all of it is gone."""
    engines, opened = EngineRefCount(), threading.Event()
    open_one(engines, "one")

    def again() -> None:
        open_one(engines, "one")
        opened.set()

    thread = threading.Thread(target=again)
    with engines.closing("one") as replaced:
        thread.start()
        assert replaced
        assert not opened.wait(0.05)
    assert opened.wait(10)
    thread.join()

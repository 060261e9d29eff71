"""External resources of a release are removed with the last engine of a release that was replaced."""

from __future__ import annotations

import threading

import pytest

from services.retrieval.server.loaded_release import EngineRefCount


def open_engine(engines: EngineRefCount, release_id: str) -> None:
    """Open an engine."""
    with engines.opening(release_id):
        pass


def close_engine(engines: EngineRefCount, release_id: str) -> bool:
    """Close an engine; returns whether the release's external resources are to be removed."""
    with engines.closing(release_id) as discard:
        return discard


def test_only_the_last_engine_of_a_release_discards():
    """A release that was activated again while its old engine was open keeps its resources."""
    engines = EngineRefCount()
    for release_id in ("one", "two", "one"):
        open_engine(engines, release_id)
    assert not close_engine(engines, "one")
    assert close_engine(engines, "two")
    assert close_engine(engines, "one")


def test_an_engine_that_failed_to_open_is_not_counted():
    """An engine that raised while it was opened does not keep the release's resources."""
    engines = EngineRefCount()
    open_engine(engines, "one")
    with pytest.raises(RuntimeError), engines.opening("one"):
        raise RuntimeError("no luck")
    assert close_engine(engines, "one")


def test_a_server_that_stops_discards_nothing():
    """After shutdown began, resources stay for the next start."""
    engines = EngineRefCount()
    open_engine(engines, "one")
    engines.shut_down()
    assert not close_engine(engines, "one")


def test_opening_waits_for_closing():
    """A release that is activated again opens only once its old engine is closed."""
    engines, opened = EngineRefCount(), threading.Event()
    open_engine(engines, "one")

    def open_again() -> None:
        open_engine(engines, "one")
        opened.set()

    thread = threading.Thread(target=open_again)
    with engines.closing("one") as discard:
        thread.start()
        assert discard
        assert not opened.wait(0.05)
    assert opened.wait(10)
    thread.join()

"""The port of change feeds: they make changes durable and apply them to every loaded release."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from services.retrieval.catalogue.live_catalogue import ChangeCounts
from services.retrieval.changes.change import Change


class ChangeListener(Protocol):
    """Receives changes: the first stage of a loaded release."""

    def apply(self, change: Change) -> ChangeCounts:
        """Make a change visible to every search from now on, and count what it did."""
        ...


@runtime_checkable
class HoldsChanges(Protocol):
    """A listener that can say what the changes so far came to."""

    def changes_since_release(self) -> Iterable[Change]:
        """Return changes that lead from the release to the catalogue of now."""
        ...


class ChangeFeed(Protocol):
    """Delivers changes of the catalogue to its listeners, in one order. Safe for threads.

    A change holds the complete state of its items, so it applies to any release. A release that is activated, or rolled
    back to, receives every change ever made, in order. Once changes are part of the releases' data, drop them by
    starting a new log or stream.
    """

    def subscribe(self, listener: ChangeListener) -> int:
        """Deliver every change made so far to ``listener``, then each new one; returns how many there were so far.

        Raises:
            NotReady: The changes can't be read.
        """
        ...

    def unsubscribe(self, listener: ChangeListener) -> None:
        """Deliver nothing more to ``listener``; does nothing if it is not subscribed."""
        ...

    def commit(self, change: Change, listener: ChangeListener) -> ChangeCounts:
        """Make a change durable, apply it to all listeners, and return what it did to ``listener``.

        Args:
            change: The change.
            listener: A subscribed listener.

        Raises:
            NotReady: The change can't be stored, or it is unknown whether it was.
        """
        ...

    def close(self) -> None:
        """Release files and connections; nothing can be committed any more."""
        ...

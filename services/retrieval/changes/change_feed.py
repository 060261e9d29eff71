"""The port of changes: how they become durable and reach every release that is loaded."""

from __future__ import annotations

from typing import Protocol

from services.retrieval.catalogue.live_catalogue import ChangeCounts
from services.retrieval.changes.change import Change


class ChangeListener(Protocol):
    """What changes are carried to."""

    def apply(self, change: Change) -> ChangeCounts:
        """Show a change to every search from now on."""
        ...


class ChangeFeed(Protocol):
    """Carries changes of the catalogue to the releases loaded, in one order. Safe for threads.

    A change says what an item is from now on, or that it is gone, so it holds on top of any release: a release that
    is activated gets every change that was ever made, in order, and so does one that is rolled back to. Changes that
    have found their way into the releases' data are dropped by starting with a new log or stream.
    """

    def attach(self, follower: ChangeListener) -> int:
        """Carry every change made so far to ``follower``, and from now on each new one; returns how many there were.

        Raises:
            NotReady: The changes can't be read.
        """
        ...

    def detach(self, follower: ChangeListener) -> None:
        """Carry nothing more to ``follower``; it need not be attached."""
        ...

    def commit(self, change: Change, asker: ChangeListener) -> ChangeCounts:
        """Make a change durable, show it to all followers, and return what it did to ``asker``, which is attached.

        Raises:
            NotReady: The change can't be stored, or nobody can say whether it was.
        """
        ...

    def close(self) -> None:
        """Let go of files and connections; nothing can be committed any more."""
        ...

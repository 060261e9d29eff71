"""The port to users' profiles: events are durable once acknowledged, and can be erased per user.

Implementations: :mod:`services.gateway.profiles.sqlite_store` and
:mod:`services.gateway.profiles.redis_store`. ``tests/contract/test_profiles.py`` checks them against
this contract.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from common.errors import NotReady, ShortlistError
from common.release.event_weights import EventKind


class ProfileStoreUnavailable(NotReady):
    """The profiles cannot be read or written; nothing of the call was recorded."""


class BadProfileStore(ShortlistError):  # noqa: N818 - named for what it is, like the errors of common.errors
    """A store that is damaged, belongs to another program or key, or would lose events; the message names it."""

    status = "FAILED_PRECONDITION"


@dataclass(frozen=True)
class Event:
    """What a user did at a time (microseconds since 1970, UTC); ``item_id`` is empty only for a search.

    ``request_id`` is that of the answer that the event follows from, which a store need not keep.
    """

    event_id: str
    user_id: str
    kind: EventKind
    occurred_at_us: int
    item_id: str = ""
    query: str = ""
    value: float | None = None
    request_id: str = ""


class RecordedCounts(NamedTuple):
    """How many events of a call were new, and how many had a known id."""

    recorded: int
    duplicates: int


@dataclass(frozen=True)
class Search:
    """What a user searched for, at a time (microseconds since 1970, UTC)."""

    query: str
    occurred_at_us: int


@dataclass(frozen=True)
class Profile:
    """What a user did with items, oldest first with repeats, and the latest search if there is one.

    A refund is not part of it, nor is the purchase that it takes back: the user's latest one of the item before it.

    Attributes:
        item_ids: The items.
        last_search: The latest search.
        kinds: What the user did with each item.
        occurred_at_us: When, in microseconds since 1970, UTC.
    """

    item_ids: Sequence[str] = ()
    last_search: Search | None = None
    kinds: Sequence[EventKind] = ()
    occurred_at_us: Sequence[int] = ()


@dataclass(frozen=True)
class Document:
    """A named text that gateways share, such as the rules; version 0 and no content if it was never written."""

    version: int = 0
    content: bytes = b""


class ProfileStore(Protocol):
    """Profiles of users. Every method may be called concurrently, and raises ProfileStoreUnavailable if it fails."""

    async def record_events(self, events: Sequence[Event]) -> RecordedCounts:
        """Record all of the events or none; they are durable on return. An event with a known id changes nothing."""
        ...

    async def read_profile(self, user_id: str, max_items: int) -> Profile:
        """Return a user's profile with the last ``max_items`` items, ordered by time, then by arrival.

        An unknown user has an empty profile.
        """
        ...

    async def forget_user(self, user_id: str) -> int:
        """Erase a user's events so that they cannot be recovered from the store; return how many there were.

        An event that arrives again afterwards is new.
        """
        ...

    async def erase_before(self, occurred_at_us: int) -> int:
        """Erase all events that happened before a time, like `forget_user`; return how many there were."""
        ...

    async def read_document(self, name: str, known_version: int = -1) -> Document | None:
        """Return a document; None if it still has the version that is known."""
        ...

    async def write_document(self, name: str, content: bytes, expected_version: int) -> int | None:
        """Replace a document durably; return its new version, or None if it does not have the expected one any more."""
        ...

    async def close(self) -> None:
        """Finish the calls in progress and close the store."""
        ...

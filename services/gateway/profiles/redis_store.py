"""Profiles in Redis or Valkey, which several gateways share.

Reading a profile is one round trip, and so is recording events. Each change is one script, so others see all of it or
nothing. An event is acknowledged when Redis has acknowledged it, so it is as durable as Redis is configured to be. That
is checked before the first use.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ReadOnlyError, RedisError

from common.release.event_weights import HISTORY_KINDS, EventKind
from services.gateway.profiles.event_codec import pack_event, unpack_event
from services.gateway.profiles.history import profile_of
from services.gateway.profiles.profile_store import (
    BadProfileStore,
    Document,
    Event,
    Profile,
    ProfileStoreUnavailable,
    RecordedCounts,
    Search,
)
from services.gateway.profiles.pseudonyms import BadPseudonymKey, Pseudonyms, read_key, read_or_make_key
from services.gateway.profiles.redis_address import RedisAddress
from services.gateway.profiles.redis_durability import check_durability, rewrite_file
from services.gateway.profiles.redis_scripts import ERASE, RECORD, WRITE_DOCUMENT

_TIMEOUT_S: Final = 2.0
_CONNECTIONS: Final = 64
_USERS_AT_A_TIME: Final = 1_000
_ALL_KINDS: Final = tuple(kind.word for kind in EventKind)

ResultT = TypeVar("ResultT")
_log = structlog.get_logger()


class RedisProfileStore:
    """Profiles in Redis; for use on one event loop.

    While Redis does not answer, every call is ProfileStoreUnavailable at once or after two seconds.

    Args:
        address: Where they are.
        key_file: The key of the pseudonyms, which all gateways need; made if there are no profiles yet.
        kinds: The kinds of event that a history consists of.
    """

    def __init__(self, address: RedisAddress, key_file: Path, kinds: Sequence[EventKind] = HISTORY_KINDS) -> None:
        self.address = address
        self._key_file = key_file
        self._kinds = (*kinds, EventKind.REFUND)
        self._pseudonyms: Pseudonyms | None = None
        self._opening = asyncio.Lock()
        self._closed = False
        # No retry by the client, which could hide how long Redis is silent; a call may be repeated by its caller.
        pool = BlockingConnectionPool.from_url(
            address.url,
            max_connections=_CONNECTIONS,
            timeout=_TIMEOUT_S,
            protocol=2,
            socket_timeout=_TIMEOUT_S,
            socket_connect_timeout=_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )
        self._redis: Any = Redis(connection_pool=pool)  # Any: the client's types also cover its blocking variant

    async def open(self) -> None:
        """Check Redis and the key, before the first use or as a part of it.

        Raises:
            BadProfileStore: Redis would lose acknowledged events, or holds profiles of another key.
            BadPseudonymKey: The key cannot be read or made.
            ProfileStoreUnavailable: Redis does not answer.
        """
        await self._attempt("opened", self._open)

    async def record_events(self, events: Sequence[Event]) -> RecordedCounts:
        """Record all of the events or none, durably; see ProfileStore."""

        async def record() -> RecordedCounts:
            pseudonyms = await self._ready()
            arguments: list[Any] = [self.address.prefix]
            for event in events:
                event_id = bytes.fromhex(pseudonyms.of_event(event.event_id))
                user = pseudonyms.of_user(event.user_id)
                arguments += [event_id, user, event.kind.word, event.occurred_at_us, pack_event(event)]
            recorded = await self._change(RECORD, arguments)
            return RecordedCounts(recorded, len(events) - recorded)

        return await self._attempt("written", record)

    async def read_profile(self, user_id: str, max_items: int) -> Profile:
        """Return a user's profile, in one round trip; see ProfileStore."""

        async def read() -> Profile:
            user = (await self._ready()).of_user(user_id)
            commands = self._redis.pipeline(transaction=True)
            for kind in self._kinds:
                commands.zrevrange(self._key("user", user, kind.word), 0, max_items - 1)
            commands.zrevrange(self._key("user", user, EventKind.SEARCH.word), 0, 0)
            *histories, searches = await commands.execute()
            return _profile(self._kinds, histories, searches, max_items)

        return await self._attempt("read", read)

    async def forget_user(self, user_id: str) -> int:
        """Erase a user's events from memory and from the append-only file; see ProfileStore.

        Redis writes the file again, in time proportional to all that it holds; other calls go on meanwhile.
        """

        async def forget() -> int:
            erased = await self._erase((await self._ready()).of_user(user_id), "+inf")
            await rewrite_file(self._redis, self.address)
            return erased

        return await self._attempt("erased", forget)

    async def erase_before(self, occurred_at_us: int) -> int:
        """Erase old events like `forget_user`; see ProfileStore. Each user's are erased as a whole."""

        async def erase() -> int:
            await self._ready()
            erased, found = 0, True
            while found:
                users = await self._redis.zrangebyscore(
                    self._key("oldest"), "-inf", f"({occurred_at_us}", start=0, num=_USERS_AT_A_TIME
                )
                for user in users:
                    erased += await self._erase(user.decode(), str(occurred_at_us))
                found = bool(users)
            if erased:
                await rewrite_file(self._redis, self.address)
            return erased

        return await self._attempt("erased", erase)

    async def read_document(self, name: str, known_version: int = -1) -> Document | None:
        """Return a document, None if its version is known; see ProfileStore."""

        async def read() -> Document | None:
            key = self._key("document", name)
            if int(await self._redis.hget(key, "version") or 0) == known_version:
                return None
            version, content = await self._redis.hmget(key, "version", "content")
            return Document(int(version or 0), content or b"")

        return await self._attempt("read", read)

    async def write_document(self, name: str, content: bytes, expected_version: int) -> int | None:
        """Replace a document, None if another version is there; see ProfileStore."""

        async def write() -> int | None:
            await self._ready()
            written = await self._change(WRITE_DOCUMENT, [self._key("document", name), expected_version, content])
            return expected_version + 1 if written else None

        return await self._attempt("written", write)

    async def ping(self) -> None:
        """Return if Redis answers; raises ProfileStoreUnavailable."""
        await self._attempt("reached", self._redis.ping)

    async def close(self) -> None:
        """Close every connection."""
        self._closed = True
        with suppress(RedisError, OSError):
            await self._redis.aclose()
            await self._redis.connection_pool.disconnect()

    async def _ready(self) -> Pseudonyms:
        """Return the pseudonyms; a call that finds a bad store has no other way to say so than a failure."""
        try:
            return await self._open()
        except (BadProfileStore, BadPseudonymKey) as error:
            raise ProfileStoreUnavailable(str(error)) from error

    async def _open(self) -> Pseudonyms:
        if self._pseudonyms is not None:
            return self._pseudonyms
        async with self._opening:
            if self._pseudonyms is None:
                await check_durability(self._redis, self.address)
                self._pseudonyms = await self._checked_key()
            return self._pseudonyms

    async def _checked_key(self) -> Pseudonyms:
        """Return the key; several gateways that begin with an empty Redis agree on the first one's."""
        known = await self._redis.get(self._key("key"))
        # Profiles are lost without their key; making another one would hide that.
        pseudonyms = await asyncio.to_thread(read_or_make_key if known is None else read_key, self._key_file)
        await self._redis.set(self._key("key"), pseudonyms.key_check(), nx=True)
        if (await self._redis.get(self._key("key"))).decode() != pseudonyms.key_check():
            raise BadProfileStore(
                f"the profiles in {self.address} were written with another key than that in {self._key_file}; give all "
                "gateways the same key"
            )
        return pseudonyms

    async def _erase(self, user: str, before: str) -> int:
        return await self._change(ERASE, [self.address.prefix, user, before, *_ALL_KINDS])

    async def _change(self, script: str, arguments: Sequence[Any]) -> int:
        """Run a script, and wait until enough replicas have its changes."""
        commands = self._redis.pipeline(transaction=False)  # WAIT is about the writes of its own connection
        commands.eval(script, 0, *arguments)
        wait = self.address.wait
        if wait:
            commands.execute_command("WAIT", wait, round(1_000 * _TIMEOUT_S / 2))
        result, *copies = await commands.execute()
        if wait and copies[0] < wait:
            raise ProfileStoreUnavailable(
                f"the change is in {self.address}, but only {copies[0]} of {wait} replicas of Redis have it; repeat it"
            )
        return int(result)

    async def _attempt(self, action: str, work: Callable[[], Awaitable[ResultT]]) -> ResultT:
        try:
            if self._closed:
                raise ProfileStoreUnavailable(f"the profiles in {self.address} cannot be {action}: closed")
            return await work()
        except ReadOnlyError as error:  # after a fail-over these connections lead to a replica
            await self._redis.connection_pool.disconnect()
            raise self._unavailable(action, "it has become a read-only replica; connecting again") from error
        except (RedisError, OSError) as error:
            # What is before it quotes the command with what is in it.
            raise self._unavailable(action, str(error).rpartition(" caused error: ")[2]) from error

    def _unavailable(self, action: str, reason: str) -> ProfileStoreUnavailable:
        return ProfileStoreUnavailable(f"the profiles in {self.address} cannot be {action}: {reason}")

    def _key(self, *parts: str) -> str:
        return ":".join((self.address.prefix, *parts))


def _profile(
    kinds: Sequence[EventKind], histories: Sequence[Sequence[bytes]], searches: Sequence[bytes], max_items: int
) -> Profile:
    """Return the profile of the latest events of each kind and of the latest search."""
    events = [
        (event.occurred_at_us, event.arrival, event.item_id, kind)
        for kind, members in zip(kinds, histories, strict=True)
        for event in map(unpack_event, members)
    ]
    latest = sorted(events, key=lambda event: event[:2])[-max_items:]
    search = unpack_event(searches[0]) if searches else None
    return profile_of(
        [(item_id, kind, at_us) for at_us, _, item_id, kind in latest],
        None if search is None else Search(search.query, search.occurred_at_us),
    )

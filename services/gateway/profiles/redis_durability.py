"""Checks of a Redis that holds profiles, and the erasure of what was deleted from its file."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import structlog
from redis.exceptions import NoPermissionError, ResponseError

from services.gateway.profiles.profile_store import BadProfileStore
from services.gateway.profiles.redis_address import Durability, RedisAddress

_POLL_S: Final = 0.02
_log = structlog.get_logger()


async def check_durability(redis: Any, address: RedisAddress) -> None:
    """Check that Redis keeps what it acknowledges, as the address asks.

    Raises:
        BadProfileStore: It does not, or does not tell.
    """
    if address.durability is Durability.UNCHECKED:
        _log.warning("it is not checked whether Redis keeps what it acknowledges", profiles=str(address))
        return
    has_file = bool((await redis.info("persistence")).get("aof_enabled"))
    policy, eviction = await _configured(redis, "appendfsync"), await _configured(redis, "maxmemory-policy")
    faults = []
    if not has_file:
        faults.append("it has no append-only file (set appendonly yes)")
    if policy != "always" and (address.durability is Durability.ALWAYS or policy != "everysec"):
        faults.append(f"appendfsync is {policy} (set it to {address.durability})")
    if eviction != "noeviction":
        faults.append(f"maxmemory-policy is {eviction} (set it to noeviction, or users' events disappear)")
    if faults:
        raise BadProfileStore(
            f"the profiles in {address} would lose acknowledged events: {'; '.join(faults)}. To accept less, add "
            f"?durability={Durability.EVERYSEC} or {Durability.UNCHECKED} to the address"
        )


async def rewrite_file(redis: Any, address: RedisAddress) -> None:
    """Have Redis write its append-only file again without what was deleted, and wait until it has.

    Takes time in proportion to all that Redis holds.

    Raises:
        RedisError: It could not be written, or may not be with this user and durability is checked.
    """
    try:
        state = await redis.info("persistence")
        if not state.get("aof_enabled"):
            return
        await _await_rewrite(redis)  # one that began before the deletion may hold what was deleted
        while not await _begin_rewrite(redis):
            await _await_rewrite(redis)
        state = await _await_rewrite(redis)
    except (NoPermissionError, ResponseError) as error:
        if address.durability is not Durability.UNCHECKED:
            raise
        _log.warning("the file of Redis may hold erased events", profiles=str(address), reason=str(error))
        return
    if state.get("aof_last_bgrewrite_status") != "ok":
        raise ResponseError("the append-only file could not be rewritten; see the log of Redis")


async def _begin_rewrite(redis: Any) -> bool:
    """Begin to write the file again; False if another client was faster."""
    try:
        await redis.bgrewriteaof()
    except ResponseError as error:
        if "in progress" in str(error):
            return False
        raise
    return True


async def _await_rewrite(redis: Any) -> dict[str, Any]:
    """Wait until the file is not being written; returns the state of persistence."""
    state: dict[str, Any] = await redis.info("persistence")
    while state.get("aof_rewrite_in_progress") or state.get("aof_rewrite_scheduled"):
        await asyncio.sleep(_POLL_S)
        state = await redis.info("persistence")
    return state


async def _configured(redis: Any, name: str) -> str:
    try:
        return str((await redis.config_get(name)).get(name))
    except ResponseError:  # hosted Redis may refuse CONFIG
        return "unknown"

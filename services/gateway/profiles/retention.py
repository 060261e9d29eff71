"""Erases events that are older than they may become."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

import structlog

from common.process.endless_loop import repeat
from services.gateway.profiles.profile_store import ProfileStore, ProfileStoreUnavailable

_INTERVAL_S: Final = 3_600.0
_log = structlog.get_logger()


async def erase_old_events(
    profiles: ProfileStore, max_age_s: float, interval_s: float = _INTERVAL_S, now_s: Callable[[], float] = time.time
) -> None:
    """Erase, now and at each interval for ever, the events that happened longer ago than ``max_age_s``.

    Args:
        profiles: The store.
        max_age_s: Age in seconds.
        interval_s: Seconds between two looks.
        now_s: Seconds since 1970.
    """

    async def look() -> None:
        try:
            erased = await profiles.erase_before(round((now_s() - max_age_s) * 1e6))
        except ProfileStoreUnavailable as error:
            _log.warning("old events were not erased; it is tried again", reason=str(error))
        else:
            if erased:
                _log.info("old events were erased", events=erased)
        await asyncio.sleep(interval_s)

    await repeat("profile retention", look)

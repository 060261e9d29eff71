"""Keeps retrieval and ranking on one release, also after one of them restarts with another one."""

from __future__ import annotations

import asyncio

import structlog

from common.errors import ShortlistError
from common.process.endless_loop import repeat
from services.gateway.backends.release_coordinator import ReleaseCoordinator

_log = structlog.get_logger()


async def align_releases(releases: ReleaseCoordinator, interval_s: float) -> None:
    """Check for ever, at each interval, that both services serve the same release, and correct it if they do not.

    A service that does not answer is checked again at the next interval. A service that refuses the release stays on
    its own; the log and the degradations of the answers report it.
    """

    async def check() -> None:
        await asyncio.sleep(interval_s)
        try:
            change = await releases.align()
        except (ShortlistError, RuntimeError) as error:  # RuntimeError: a status without a ShortlistError
            _log.warning("the services' releases could not be aligned", reason=str(error))
            return
        if change:
            _log.warning("releases aligned", change=change)

    await repeat("release alignment", check)

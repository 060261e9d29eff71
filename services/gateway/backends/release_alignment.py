"""Keeps retrieval and ranking on one release, also after one of them died and came back on another."""

from __future__ import annotations

import asyncio

import structlog

from common.errors import ShortlistError
from services.gateway.backends.releases import Releases

_log = structlog.get_logger()


async def align_releases(releases: Releases, every_s: float) -> None:
    """Look for ever, each ``every_s`` seconds, whether both serve the same release, and see to it that they do.

    A service that does not answer is looked at again the next time; one that refuses the release stays as it is, which
    the log and the answers' degradations tell.
    """
    while True:
        await asyncio.sleep(every_s)
        try:
            done = await releases.align()
        except (ShortlistError, RuntimeError) as error:  # RuntimeError: a status that no ShortlistError has
            _log.warning("the services' releases could not be aligned", reason=str(error))
            continue
        if done:
            _log.warning("releases aligned", done=done)

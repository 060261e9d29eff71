"""``python -m testing.event_recorder FILE``: records events for ever, and prints the acknowledged ids."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from common.release.event_weights import EventKind
from services.gateway.profiles.profile_store import Event
from services.gateway.profiles.sqlite_store import SqliteProfileStore

_CONCURRENT_CALLS = 4


async def _record(profiles: SqliteProfileStore, caller: int) -> None:
    number = 0
    while True:
        ids = [f"{caller}-{number}-a", f"{caller}-{number}-b"]
        await profiles.record_events([Event(event_id, "ann", EventKind.VIEW, 0, event_id) for event_id in ids])
        sys.stdout.write(" ".join(ids) + "\n")
        sys.stdout.flush()
        number += 1


async def _main() -> None:
    profiles = SqliteProfileStore(Path(sys.argv[1]))
    await asyncio.gather(*(_record(profiles, caller) for caller in range(_CONCURRENT_CALLS)))


if __name__ == "__main__":
    asyncio.run(_main())

"""Makes the blocking client from the one for asyncio, so that both have the same methods: ``make client``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

_FOLDER: Final = Path(__file__).parent / "shortlist" / "client"
_REPLACED: Final = (
    (
        r"The client for asyncio\. `sync_client\.py` is made from this file: `make client`\.",
        "The blocking client, made from `async_client.py`: `make client`.",
    ),
    (r"import asyncio\nimport os\n", "import os\nimport time\n"),
    (r"asyncio\.sleep", "time.sleep"),
    (r"A client of a gateway, for asyncio\.", "A client of a gateway."),
    (r"any number of tasks", "any number of threads"),
    (r"\bAsyncClient\b", "Client"),
    (r"async def __a(enter|exit)__", r"def __\1__"),
    (r"\basync def\b", "def"),
    (r"\bawait ", ""),
    (r"\bgrpc\.aio\.", "grpc."),
)


def sync_client(source: str) -> str:
    """Return the blocking client's source, before formatting."""
    for pattern, replacement in _REPLACED:
        source, count = re.subn(pattern, replacement, source)
        if not count:
            raise ValueError(f"async_client.py has nothing like {pattern}")
    return source


if __name__ == "__main__":
    (_FOLDER / "sync_client.py").write_text(sync_client((_FOLDER / "async_client.py").read_text()))

"""Makes the blocking client from the one for asyncio, so that both have the same methods: ``make client``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

_FOLDER: Final = Path(__file__).parent / "shortlist" / "client"
# What is made, from what.
_MADE: Final = {
    "sync_client.py": "async_client.py",
    "methods/sync_methods.py": "methods/async_methods.py",
}
_REPLACED: Final = (
    (
        r"The client for asyncio\. `sync_client\.py` is made from this file: `make client`\.",
        "The blocking client, made from `async_client.py`: `make client`.",
    ),
    (
        r"Further methods of the client for asyncio\. `sync_methods\.py` is made from this file: `make client`\.",
        "Further methods of the blocking client, made from `async_methods.py`: `make client`.",
    ),
    (r"Methods of the client for asyncio other than", "Methods of the blocking client other than"),
    (r"import asyncio\nimport os\n", "import os\nimport time\n"),
    (r"asyncio\.sleep", "time.sleep"),
    (r"A client of a gateway, for asyncio\.", "A client of a gateway."),
    (r"any number of tasks", "any number of threads"),
    (r"\bAsyncClient\b", "Client"),
    (r"\basync_methods\b", "sync_methods"),
    (r"\bAsyncMethods\b", "Methods"),
    (r"async def __a(enter|exit)__", r"def __\1__"),
    (r"\basync (def|for)\b", r"\1"),
    (r"import AsyncIterator, Callable, Iterable\n", "import Callable, Iterable, Iterator\n"),
    (r"\bAsyncIterator\b", "Iterator"),
    (r"\bawait ", ""),
    (r"\bgrpc\.aio\.", "grpc."),
)


def made_sources(folder: Path = _FOLDER) -> dict[Path, str]:
    """Return the source of each file that is made, unformatted; raises ValueError for a replacement of nothing."""
    sources = {folder / made: (folder / source).read_text() for made, source in _MADE.items()}
    for pattern, replacement in _REPLACED:
        found = [file for file, source in sources.items() if re.search(pattern, source)]
        if not found:
            raise ValueError(f"no file for asyncio has anything like {pattern}")
        for file in found:
            sources[file] = re.sub(pattern, replacement, sources[file])
    return sources


if __name__ == "__main__":
    for made, text in made_sources().items():
        made.write_text(text)

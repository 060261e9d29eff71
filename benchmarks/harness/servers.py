"""The services as benchmarks run them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

from testing.local_server import LocalServer, local_server

_REQUEST_TIMEOUT_S: Final = 60.0


def retrieval_service(release: Path, folder: Path) -> AbstractContextManager[LocalServer]:
    """Run a retrieval service with its log and its catalogue changes in a folder; raises NotReady."""
    return local_server("retrieval", {"release": release, "data-dir": folder / "changes"}, folder / "retrieval.log")


def ranking_service(
    release: Path, log: Path, settings: Mapping[str, Any] | None = None
) -> AbstractContextManager[LocalServer]:
    """Run a ranking service that caches no scores; raises NotReady."""
    fixed = {"release": release, "score-cache-size": 0, "request-timeout-s": _REQUEST_TIMEOUT_S}
    return local_server("ranking", fixed | dict(settings or {}), log)

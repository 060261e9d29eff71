"""The program `python -m services.retrieval`: settings, log and metrics, then the server."""

from __future__ import annotations

import sys
from typing import Final

from threadpoolctl import threadpool_limits

from common.server.server import run
from common.server.settings import load_settings
from common.server.telemetry import Metrics, configure_logging
from services.retrieval.server.server import RetrievalServer
from services.retrieval.settings import Settings

# How long a thread may keep the interpreter while others wait. With Python's default of 5 ms, every search would wait
# that long while a large upsert is read.
_SWITCH_INTERVAL_S: Final = 0.0005


def main() -> int:
    """Run the retrieval service; returns the exit code."""
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    settings = load_settings(Settings, "python -m services.retrieval", sys.argv[1:])
    configure_logging("retrieval", settings.log_level, request_texts=settings.log_request_texts)
    metrics = Metrics("retrieval")
    # Each search already has a thread. More threads for one matrix product would take cores from other searches.
    with threadpool_limits(1, user_api="blas"):
        return run(RetrievalServer(settings, metrics), settings, metrics)

"""``python -m services.retrieval``: wires the retrieval service and runs it."""

from __future__ import annotations

import sys
from typing import Final

from threadpoolctl import threadpool_limits

from common.server.server import run
from common.server.settings import load_settings
from common.server.telemetry import Metrics, configure_logging
from services.retrieval.server.server import RetrievalServer
from services.retrieval.settings import Settings

# How long a thread may hold the interpreter while others wait, in seconds: reading a large upsert must not make every
# search wait for Python's five milliseconds.
_SWITCH_S: Final = 0.0005


def main() -> int:
    """Run the retrieval service; returns the exit code."""
    sys.setswitchinterval(_SWITCH_S)
    settings = load_settings(Settings, "python -m services.retrieval", sys.argv[1:])
    configure_logging("retrieval", settings.log_level)
    metrics = Metrics("retrieval")
    # Each search has its thread already; more of them for one product would spin where others wait for the processor.
    with threadpool_limits(1, user_api="blas"):
        return run(RetrievalServer(settings, metrics), settings, metrics)


if __name__ == "__main__":
    sys.exit(main())

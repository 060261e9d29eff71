"""The program `python -m services.ranking`: settings, log and metrics, then the server."""

from __future__ import annotations

import sys

from threadpoolctl import threadpool_limits

from common.server.server import run
from common.server.settings import load_settings
from common.server.telemetry import Metrics, configure_logging
from services.ranking.server.server import RankingServer
from services.ranking.settings import Settings


def main() -> int:
    """Run the ranking service; returns the exit code."""
    settings = load_settings(Settings, "python -m services.ranking", sys.argv[1:])
    configure_logging("ranking", settings.log_level, request_texts=settings.log_request_texts)
    metrics = Metrics("ranking")
    # Features and late interaction have threads of their own, see `services/ranking/__init__.py`.
    with threadpool_limits(1, user_api="blas"):
        return run(RankingServer(settings, metrics), settings, metrics)

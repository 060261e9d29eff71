"""The program `python -m services.gateway`: settings, log and metrics, then the server."""

from __future__ import annotations

import sys

from common.server.server import run
from common.server.settings import load_settings
from common.server.telemetry import Metrics, configure_logging
from services.gateway.server.server import GatewayServer
from services.gateway.settings import Settings


def main() -> int:
    """Run the gateway; returns the exit code."""
    settings = load_settings(Settings, "python -m services.gateway", sys.argv[1:])
    configure_logging("gateway", settings.log_level, request_texts=settings.log_request_texts)
    metrics = Metrics("gateway")
    return run(GatewayServer(settings, metrics), settings, metrics)

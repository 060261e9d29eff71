"""The HTTP port of the Prometheus metrics."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

from common.server.access.server_tls import ServerTls

# A connection that sends nothing for this long is closed.
_IDLE_S: Final = 10.0


class _MetricsServer(ThreadingMixIn, WSGIServer):
    """Answers each connection on a thread of its own, where its TLS handshake happens too.

    A handshake in the accepting thread would let one silent connection keep all others waiting.
    """

    daemon_threads = True
    tls: ServerTls | None = None

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Answer a connection."""
        request.settimeout(_IDLE_S)
        if self.tls is None:
            super().finish_request(request, client_address)
            return
        with self.tls.ssl_context().wrap_socket(request, server_side=True) as secured:
            super().finish_request(secured, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Drop a connection that broke, was silent or failed its handshake."""


class _IPv6MetricsServer(_MetricsServer):
    address_family = socket.AF_INET6


class _SilentHandler(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Write nothing: the log has one JSON object a line."""


@contextmanager
def metrics_server(host: str, port: int, registry: CollectorRegistry, tls: ServerTls | None) -> Iterator[int]:
    """Serve the metrics while the body runs, and yield the port.

    Raises:
        OSError: The port is taken, or the host is not an address of this machine.
    """
    kind = _IPv6MetricsServer if ":" in host else _MetricsServer
    http = make_server(host, port, make_wsgi_app(registry), kind, handler_class=_SilentHandler)
    http.tls = tls
    thread = threading.Thread(target=http.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield http.server_port
    finally:
        http.shutdown()
        http.server_close()
        thread.join()

"""The HTTP port of the Prometheus metrics."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

from common.process.endless_loop import start_thread
from common.server.access.server_tls import ServerTls

# A connection that sends nothing for this long is closed.
_IDLE_S: Final = 10.0
# More connections are closed at once: each has a thread and a file descriptor.
_MAX_CONNECTIONS: Final = 32
_RETRY_S: Final = 0.1


class _MetricsServer(ThreadingMixIn, WSGIServer):
    """Answers each connection on a thread of its own, where its TLS handshake happens too.

    A handshake in the accepting thread would let one silent connection keep all others waiting.
    """

    daemon_threads = True
    tls: ServerTls | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._connections = threading.BoundedSemaphore(_MAX_CONNECTIONS)
        super().__init__(*arguments, **options)

    def get_request(self) -> tuple[Any, Any]:
        """Accept a connection; waits a moment if that fails, since the connection is still there to be accepted."""
        try:
            return super().get_request()
        except OSError:  # no file descriptor is left
            time.sleep(_RETRY_S)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer a connection on a thread, or close it if too many are open."""
        if self._connections.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer a connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._connections.release()

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
    stopped = threading.Event()
    thread = start_thread("metrics", http.serve_forever, stopped.is_set)
    try:
        yield http.server_port
    finally:
        stopped.set()
        http.shutdown()
        http.server_close()
        thread.join()

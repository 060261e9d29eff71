"""TLS of a server's ports, tested with real certificates."""

from __future__ import annotations

import asyncio
import socket
import ssl
import urllib.error
import urllib.request
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from shortlist.release.v1 import release_pb2, release_pb2_grpc

from common.security.certificates import BadCertificate, TlsFiles
from common.server.channel import open_channel
from common.server.server import RunningServer, running
from common.server.settings import ServerSettings
from common.server.telemetry import Metrics
from testing.security.certificates import Authority

REQUEST = release_pb2.ActivateReleaseRequest()
PORTS = ("port", "metrics_port")


async def _call(server: RunningServer, security: Any) -> grpc.StatusCode:
    async with open_channel(f"127.0.0.1:{server.port}", security) as channel:
        stub: Any = release_pb2_grpc.ReleaseServiceStub(channel)
        try:
            await stub.ActivateRelease(REQUEST, timeout=30)
        except grpc.aio.AioRpcError as error:
            return error.code()
    return grpc.StatusCode.OK


def _scrape(server: RunningServer, context: ssl.SSLContext | None) -> str:
    scheme = "http" if context is None else "https"
    url = f"{scheme}://127.0.0.1:{server.metrics_port}/metrics"
    with urllib.request.urlopen(url, context=context, timeout=30) as answer:  # noqa: S310 - a loopback address
        return str(answer.read().decode())


def _context(authority: Authority, client: TlsFiles | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.file)
    if client is not None and client.certificate is not None:
        context.load_cert_chain(client.certificate, client.key)
    return context


def _serial(server: RunningServer, authority: Authority, port: str) -> int:
    """Return the serial number of the certificate that a new connection is shown."""
    context = _context(authority)
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection(("127.0.0.1", getattr(server, port)), timeout=30) as raw,
        context.wrap_socket(raw, server_hostname="127.0.0.1") as secured,
    ):
        shown = secured.getpeercert(binary_form=True)
    assert shown is not None
    return x509.load_der_x509_certificate(shown).serial_number


def _issued(files: TlsFiles) -> int:
    assert files.certificate is not None
    return x509.load_pem_x509_certificate(files.certificate.read_bytes()).serial_number


async def test_both_ports_speak_tls_and_nothing_else(serving: Any, authority: Authority):
    """A client that trusts the authority is answered on both ports; one in the clear is not."""
    async with serving() as server:
        assert await _call(server, authority.client()) == grpc.StatusCode.OK
        assert await _call(server, None) == grpc.StatusCode.UNAVAILABLE
        assert "shortlist_test_requests_total" in await asyncio.to_thread(_scrape, server, _context(authority))
        with pytest.raises(OSError, match=r"closed|reset|Remote"):
            await asyncio.to_thread(_scrape, server, None)


async def test_a_client_refuses_a_stranger(serving: Any, tmp_path: Path):
    """A server with a certificate of another authority, or for another name, is not called."""
    (tmp_path / "elsewhere").mkdir()
    stranger = Authority(tmp_path / "elsewhere")
    async with serving() as server:
        assert await _call(server, stranger.client()) == grpc.StatusCode.UNAVAILABLE
        with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
            await asyncio.to_thread(_scrape, server, _context(stranger))


async def test_mutual_tls_needs_a_certificate_on_both_ports(serving: Any, authority: Authority, tmp_path: Path):
    """With authorities for clients, a client without a certificate of theirs is refused on both ports."""
    (tmp_path / "elsewhere").mkdir()
    stranger = Authority(tmp_path / "elsewhere").issue("client")
    async with serving(tls_client_ca=authority.file) as server:
        assert await _call(server, authority.client("client")) == grpc.StatusCode.OK
        assert await _call(server, authority.client()) == grpc.StatusCode.UNAVAILABLE
        trusted = _context(authority, authority.issue("scraper"))
        assert "shortlist_test" in await asyncio.to_thread(_scrape, server, trusted)
        for context in (_context(authority), _context(authority, stranger)):
            with pytest.raises(OSError, match=r"alert|closed|reset|EOF|certificate"):
                await asyncio.to_thread(_scrape, server, context)


async def test_a_new_certificate_is_shown_and_no_call_is_lost(
    serving: Any, authority: Authority, certificate: TlsFiles, metrics: Metrics
):
    """After the files changed, new connections see the new certificate; calls on open ones are all answered."""
    stop = asyncio.Event()

    async def keep_calling(channel: grpc.aio.Channel) -> int:
        stub: Any = release_pb2_grpc.ReleaseServiceStub(channel)
        answered = 0
        while not stop.is_set():
            await stub.ActivateRelease(REQUEST, timeout=30)
            answered += 1
        return answered

    async with serving() as server, AsyncExitStack() as channels:
        before = _issued(certificate)
        assert [await asyncio.to_thread(_serial, server, authority, port) for port in PORTS] == [before, before]
        target = f"127.0.0.1:{server.port}"
        opened = [await channels.enter_async_context(open_channel(target, authority.client())) for _ in range(4)]
        callers = [asyncio.create_task(keep_calling(channel)) for channel in opened]
        after = _issued(authority.issue("server", days=9))
        assert after != before
        assert [await asyncio.to_thread(_serial, server, authority, port) for port in PORTS] == [after, after]
        assert await _call(server, authority.client()) == grpc.StatusCode.OK
        stop.set()
        assert all(await asyncio.gather(*callers))
        expiry = metrics.registry.get_sample_value("shortlist_test_certificate_expiry_timestamp_seconds")
    assert expiry is not None
    assert metrics.registry.get_sample_value("process_start_time_seconds") < expiry  # type: ignore[operator]


async def test_a_certificate_that_cannot_be_used_changes_nothing(
    serving: Any, authority: Authority, certificate: TlsFiles
):
    """While only half of a pair was replaced, new connections see the old pair."""
    async with serving() as server:
        before = _issued(certificate)
        assert certificate.key is not None
        certificate.key.write_text("half a key")
        assert [await asyncio.to_thread(_serial, server, authority, port) for port in PORTS] == [before, before]


async def test_a_bad_certificate_ends_the_start(fake_service: Any, authority: Authority):
    """A server with an expired certificate does not start, and says why."""
    files = authority.issue("old", days=-1)
    settings = ServerSettings(port=0, metrics_port=0, tls_certificate=files.certificate, tls_key=files.key)
    with pytest.raises(BadCertificate, match=r"old\.pem expired"):
        async with running(fake_service(), settings, Metrics("test")):
            pass

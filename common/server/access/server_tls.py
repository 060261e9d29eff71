"""TLS of a server's ports, with certificates that can be replaced while it serves."""

from __future__ import annotations

import ssl

import grpc

from common.security.certificates import TlsFiles, TlsMaterial
from common.security.reloaded import Reloaded


class ServerTls:
    """The certificate of a server's ports, read again at the first handshake after the files changed.

    Connections that are open keep going. If authorities are given, every client needs a certificate of theirs.

    Args:
        files: Certificate, key, and the authorities of client certificates.

    Raises:
        BadCertificate: The files cannot be used.
    """

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._material: Reloaded[TlsMaterial] = files.reloaded()
        self._context = Reloaded(files.present(), self._load_context, check_interval_s=0.0)

    def not_after_s(self) -> float:
        """Return when the certificate expires, in seconds since 1970."""
        not_after = self._material.get().not_after
        return 0.0 if not_after is None else not_after.timestamp()

    def grpc_credentials(self) -> grpc.ServerCredentials:
        """Return the credentials of a gRPC port."""
        used = self._material.get()

        def fetch() -> grpc.ServerCertificateConfiguration | None:
            """Return the configuration of the next handshakes; None if nothing changed. gRPC's own threads call it."""
            nonlocal used
            current = self._material.get()
            if current is used:
                return None
            used = current
            return _configuration(current)

        return grpc.dynamic_ssl_server_credentials(
            _configuration(used),
            fetch,  # type: ignore[arg-type]  # the stubs forget that None means unchanged
            require_client_authentication=self._files.authorities is not None,
        )

    def ssl_context(self) -> ssl.SSLContext:
        """Return the context of the next connection of an HTTP port."""
        return self._context.get()

    def _load_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self._files.certificate is not None:
            context.load_cert_chain(self._files.certificate, self._files.key)
        if self._files.authorities is not None:
            context.load_verify_locations(self._files.authorities)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


def _configuration(material: TlsMaterial) -> grpc.ServerCertificateConfiguration:
    if material.key_and_certificate is None:
        raise ValueError("a server needs a certificate and its key")
    return grpc.ssl_server_certificate_configuration(
        [material.key_and_certificate], root_certificates=material.authorities
    )

"""Certificates of a test: an authority, and certificates that it signs."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from common.security.certificates import TlsFiles
from common.server.access.channel_security import ChannelSecurity


class Authority:
    """An authority whose files are in a folder.

    Attributes:
        file: Its certificate.
    """

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        certificate = (
            _builder(self._name, self._name, self._key.public_key(), days=30)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, *, days: float = 7, dns: str = "localhost") -> TlsFiles:
        """Write a certificate for ``name`` and 127.0.0.1, valid for ``days``, and its key; replaces earlier ones."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.DNSName(dns), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        certificate = (
            _builder(_name(name), self._name, key.public_key(), days=days)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        files = TlsFiles(self._folder / f"{name}.pem", self._folder / f"{name}.key.pem", self.file)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        _replace(files.key, private)
        _replace(files.certificate, certificate.public_bytes(serialization.Encoding.PEM))
        return files

    def client(self, name: str = "", token_file: Path | None = None) -> ChannelSecurity:
        """Return how a client that trusts this authority connects; with a certificate of its own if it is named."""
        files = self.issue(name, dns=name) if name else TlsFiles()
        return ChannelSecurity.of(
            authorities=self.file, certificate=files.certificate, key=files.key, token_file=token_file
        )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, *, days: float
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=10))
        .not_valid_after(now + timedelta(days=days))
    )


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _replace(file: Path | None, content: bytes) -> None:
    if file is not None:
        temporary = file.with_suffix(".new")
        temporary.write_bytes(content)
        temporary.replace(file)

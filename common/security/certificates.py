"""Certificates and keys for TLS: read from PEM files and checked before they are used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes

from common.errors import ShortlistError
from common.security.reloaded import Reloaded


class BadCertificate(ShortlistError):  # noqa: N818 - named for what it is, like the errors of common.errors
    """A certificate, key or authority that cannot be used; the message names the file and what to do."""

    status = "FAILED_PRECONDITION"


@dataclass(frozen=True)
class TlsFiles:
    """The PEM files of one end of a connection.

    Attributes:
        certificate: The certificate, followed by intermediate ones; None for a client without one.
        key: The certificate's private key, not encrypted.
        authorities: The authorities that the other end's certificate must come from; None for a server that takes any
            client, or for a client that trusts the authorities of the system.
    """

    certificate: Path | None = None
    key: Path | None = None
    authorities: Path | None = None

    def present(self) -> Sequence[Path]:
        """Return the files that are set."""
        return [file for file in (self.certificate, self.key, self.authorities) if file is not None]

    def reloaded(self) -> Reloaded[TlsMaterial]:
        """Return the content, read again when the files change; raises BadCertificate if it cannot be used now."""
        return Reloaded(self.present(), lambda: read_material(self), check_interval_s=0.0)


@dataclass(frozen=True)
class TlsMaterial:
    """The content of TlsFiles.

    Attributes:
        key_and_certificate: Both in PEM; None without a certificate.
        authorities: PEM, or None.
        not_after: When the certificate expires; None without one.
    """

    key_and_certificate: tuple[bytes, bytes] | None
    authorities: bytes | None
    not_after: datetime | None


def read_material(files: TlsFiles) -> TlsMaterial:
    """Read and check the files.

    Raises:
        BadCertificate: A file cannot be read, the key is not that of the certificate, or the certificate has expired.
    """
    authorities = None if files.authorities is None else _read(files.authorities)
    if files.authorities is not None and authorities is not None:
        _certificates(files.authorities, authorities)
    if files.certificate is None or files.key is None:
        return TlsMaterial(None, authorities, None)
    certificate, key = _read(files.certificate), _read(files.key)
    leaf = _certificates(files.certificate, certificate)[0]
    if _public_bytes(leaf.public_key()) != _public_bytes(_private_key(files.key, key).public_key()):
        raise BadCertificate(f"{files.key} is not the key of the certificate in {files.certificate}; give one pair")
    if leaf.not_valid_after_utc <= datetime.now(UTC):
        raise BadCertificate(f"the certificate in {files.certificate} expired at {leaf.not_valid_after_utc}; renew it")
    return TlsMaterial((key, certificate), authorities, leaf.not_valid_after_utc)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise BadCertificate(f"{file} cannot be read: {error.strerror}; name a PEM file") from error


def _certificates(file: Path, content: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError as error:
        raise BadCertificate(f"{file} has no certificate that can be read; it must be in PEM") from error


def _private_key(file: Path, content: bytes) -> PrivateKeyTypes:
    try:
        return serialization.load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:  # TypeError: encrypted
        raise BadCertificate(f"{file} has no private key that can be read; give it in PEM, not encrypted") from error


def _public_bytes(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)

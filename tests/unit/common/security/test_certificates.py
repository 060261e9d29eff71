"""Certificates and keys are checked before they are used."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from common.security.certificates import BadCertificate, TlsFiles, read_material
from testing.security.certificates import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Return an authority."""
    return Authority(tmp_path)


def test_a_pair_is_read_with_its_expiry(authority: Authority):
    """Certificate, key and authorities are read as they are, and it is known when the certificate expires."""
    files = authority.issue("server", days=7)
    material = read_material(files)
    assert files.key is not None
    assert files.certificate is not None
    assert material.key_and_certificate == (files.key.read_bytes(), files.certificate.read_bytes())
    assert material.authorities == authority.file.read_bytes()
    assert material.not_after is not None
    assert timedelta(days=6) < material.not_after - datetime.now(UTC) < timedelta(days=8)


def test_a_client_needs_no_certificate(authority: Authority):
    """Authorities alone are enough to check a server."""
    assert read_material(TlsFiles(authorities=authority.file)).key_and_certificate is None


def test_anothers_key_is_refused(authority: Authority):
    """A key that is not the certificate's is refused with the names of both files."""
    files = authority.issue("server")
    with pytest.raises(BadCertificate, match=r"other\.key\.pem is not the key .*server\.pem"):
        read_material(replace(files, key=authority.issue("other").key))


def test_an_expired_certificate_is_refused(authority: Authority):
    """A certificate past its end is refused with its end."""
    with pytest.raises(BadCertificate, match=r"server\.pem expired at .*renew it"):
        read_material(authority.issue("server", days=-1))


@pytest.mark.parametrize("part", ["certificate", "key", "authorities"])
def test_a_file_that_is_none_is_named(authority: Authority, part: str, tmp_path: Path):
    """A missing file, and one with other content, are refused by name."""
    files = authority.issue("server")
    with pytest.raises(BadCertificate, match=r"nothing\.pem cannot be read"):
        read_material(replace(files, **{part: tmp_path / "nothing.pem"}))
    (tmp_path / "text.pem").write_text("words")
    with pytest.raises(BadCertificate, match=r"text\.pem has no .* PEM"):
        read_material(replace(files, **{part: tmp_path / "text.pem"}))


def test_an_encrypted_key_is_refused(authority: Authority, tmp_path: Path):
    """A key with a pass phrase is refused: nobody is there to type it."""
    file = tmp_path / "locked.pem"
    encryption = serialization.BestAvailableEncryption(b"phrase")
    key = ec.generate_private_key(ec.SECP256R1())
    file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption))
    with pytest.raises(BadCertificate, match="not encrypted"):
        read_material(replace(authority.issue("server"), key=file))

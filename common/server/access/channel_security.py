"""What a client shows and checks when it connects: TLS, a certificate of its own, a token."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import grpc

from common.errors import ShortlistError
from common.security.certificates import TlsFiles, TlsMaterial
from common.security.reloaded import Reloaded

Metadata = tuple[tuple[str, str], ...]
AUTHORIZATION: Final = "authorization"


class BadTokenFile(ShortlistError):  # noqa: N818 - named for what it is, like the errors of common.errors
    """The file with a client's token cannot be used; the message names it."""

    status = "FAILED_PRECONDITION"


@dataclass(frozen=True)
class ChannelSecurity:
    """How a client secures its connections; by default not at all, which only loopback should see.

    Attributes:
        tls: Whether to speak TLS.
        files: The authorities of the server's certificate, and the client's certificate and key.
        server_name: The name that the server's certificate must have, if it is not the host of the target.
        token_file: File with the token that every call carries.
    """

    tls: bool = False
    files: TlsFiles = field(default_factory=TlsFiles)
    server_name: str = ""
    token_file: Path | None = None

    @classmethod
    def of(
        cls,
        *,
        authorities: Path | None = None,
        certificate: Path | None = None,
        key: Path | None = None,
        server_name: str = "",
        token_file: Path | None = None,
    ) -> ChannelSecurity:
        """Return the security that optional settings describe: TLS if authorities are given."""
        return cls(authorities is not None, TlsFiles(certificate, key, authorities), server_name, token_file)

    @property
    def is_plain(self) -> bool:
        """Whether there is neither TLS nor a token."""
        return not self.tls and self.token_file is None

    def open_token(self) -> Reloaded[Metadata]:
        """Return the metadata of calls, read again when the token's file changes; raises BadTokenFile."""
        files = [] if self.token_file is None else [self.token_file]
        return Reloaded(files, self._read_token)

    def _read_token(self) -> Metadata:
        if self.token_file is None:
            return ()
        try:
            token = self.token_file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise BadTokenFile(f"the token in {self.token_file} cannot be read: {error}") from error
        if not token or not token.isprintable() or " " in token:
            raise BadTokenFile(f"{self.token_file} must hold one token and nothing else")
        return ((AUTHORIZATION, f"Bearer {token}"),)


def channel_credentials(material: TlsMaterial) -> grpc.ChannelCredentials:
    """Return the credentials of connections that show and trust the given certificates."""
    key, certificate = material.key_and_certificate or (None, None)
    return grpc.ssl_channel_credentials(material.authorities, key, certificate)

"""The settings that say who may reach a server, and how."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings

from common.security.addresses import is_loopback
from common.security.callers import CallerLimits, Scope, read_callers
from common.security.certificates import TlsFiles
from common.security.json_web_tokens import JwtVerifier, open_key_set
from common.security.reloaded import Reloaded
from common.server.access.access_control import AccessControl


class SecuritySettings(BaseSettings):
    """Address and TLS of every server."""

    host: str = Field(default="127.0.0.1", description="Address to listen on; 0.0.0.0 for all interfaces.")
    tls_certificate: Path | None = Field(
        default=None, description="PEM file of the server's certificate chain; read again when it changes."
    )
    tls_key: Path | None = Field(default=None, description="PEM file of the certificate's private key, not encrypted.")
    tls_client_ca: Path | None = Field(
        default=None,
        description="PEM file of authorities; every client then needs a certificate of theirs (mutual TLS).",
    )
    insecure: bool = Field(
        default=False, description="Allow connections without TLS to and from other machines, where anybody can read."
    )

    access_file: Path | None = Field(
        default=None,
        description="TOML file of callers: hashes of their tokens, names in their certificates, their scopes and "
        "limits; read again when it changes.",
    )
    jwt_keys: str | None = Field(
        default=None,
        min_length=1,
        description="JWK set that JSON web tokens are checked against: a file, or an https URL. Needs jwt_issuer and "
        "jwt_audience.",
    )
    jwt_issuer: str | None = Field(default=None, min_length=1, description="Issuer (`iss`) of accepted tokens.")
    jwt_audience: str | None = Field(default=None, min_length=1, description="Audience (`aud`) of accepted tokens.")
    anonymous_scopes: str | None = Field(
        default=None,
        description="What callers without credentials may do, separated by commas: recommend, record, read, "
        "administer. Unset: nothing with access_file or jwt_keys; else everything on loopback, and everything but "
        "administer beyond it. Empty: nothing.",
    )
    caller_calls_per_s: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        description="Calls a second of each caller; more are RESOURCE_EXHAUSTED. 0 is no limit.",
    )
    caller_burst: int = Field(
        default=0, ge=0, description="Calls at once that a caller may make after a pause; 0 for those of a second."
    )
    caller_max_calls: int = Field(
        default=0, ge=0, description="Calls in progress of each caller; more are RESOURCE_EXHAUSTED. 0 is no limit."
    )
    max_streams: int = Field(
        default=5_000,
        ge=1,
        le=1 << 20,
        description="Calls at a time on one connection; further ones wait at the client, unseen by the server.",
    )
    reflection: bool = Field(default=True, description="Serve reflection, by which tools learn the contract.")

    @model_validator(mode="after")
    def _tokens_are_checked_whole(self) -> Self:
        given = [self.jwt_keys is None, self.jwt_issuer is None, self.jwt_audience is None]
        if len(set(given)) > 1:
            raise ValueError("--jwt-keys, --jwt-issuer and --jwt-audience: give all three or none")
        if self.jwt_keys is not None and self.jwt_keys.startswith("http://"):
            raise ValueError("--jwt-keys: keys over http could be anybody's; give an https URL or a file")
        return self

    @model_validator(mode="after")
    def _strangers_do_not_administer(self) -> Self:
        if self.anonymous_scopes is None:
            return self
        words = {word.strip() for word in self.anonymous_scopes.split(",")} - {""}
        unknown = sorted(words - set(Scope))
        if unknown:
            raise ValueError(f"--anonymous-scopes: {unknown[0]!r} is not one of {', '.join(Scope)}")
        if Scope.ADMINISTER in words and not is_loopback(self.host):
            raise ValueError(
                f"--anonymous-scopes: {Scope.ADMINISTER} needs credentials beyond loopback; give --access-file"
            )
        return self

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("--tls-certificate and --tls-key: give both or neither")
        if self.tls_client_ca is not None and self.tls_certificate is None:
            raise ValueError("--tls-client-ca: client certificates need TLS; give --tls-certificate and --tls-key")
        return self

    @model_validator(mode="after")
    def _in_the_clear_only_on_loopback(self) -> Self:
        if self.tls_certificate is None and not self.insecure and not is_loopback(self.host):
            raise ValueError(
                f"--host {self.host} can be reached from other machines, and the ports have no TLS; give "
                "--tls-certificate and --tls-key, or accept connections that anybody can read with --insecure true"
            )
        return self

    def tls(self) -> TlsFiles | None:
        """Return the files of the ports' TLS; None if connections are in the clear."""
        if self.tls_certificate is None:
            return None
        return TlsFiles(self.tls_certificate, self.tls_key, self.tls_client_ca)

    def access_control(self) -> AccessControl:
        """Return who may call the server.

        Raises:
            BadAccessFile: The file of callers cannot be used.
            BadKeySet: The file of keys cannot be used.
        """
        file = self.access_file
        callers = None if file is None else Reloaded([file], lambda: read_callers(file))
        tokens = None
        if self.jwt_keys is not None:
            tokens = JwtVerifier(open_key_set(self.jwt_keys), self.jwt_issuer or "", self.jwt_audience or "")
        limits = CallerLimits(self.caller_calls_per_s, self.caller_burst, self.caller_max_calls)
        return AccessControl(callers, tokens, self._scopes_of_strangers(), limits)

    def _scopes_of_strangers(self) -> frozenset[Scope]:
        if self.anonymous_scopes is not None:
            return frozenset(Scope(word.strip()) for word in self.anonymous_scopes.split(",") if word.strip())
        if self.access_file is not None or self.jwt_keys is not None:
            return frozenset()
        return frozenset(Scope) - (frozenset() if is_loopback(self.host) else {Scope.ADMINISTER})

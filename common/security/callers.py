"""Callers: programs that call the API, what they may do, and the file that lists them."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from common.errors import ShortlistError

# 32 random bytes: nobody guesses them, so a hash without salt and repetitions keeps them as well as any.
_TOKEN_BYTES: Final = 32
# Lets scanners of repositories and logs recognise a token that leaked.
_TOKEN_PREFIX: Final = "shortlist_"  # noqa: S105 - not a secret, the same for all
K = TypeVar("K")
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class BadAccessFile(ShortlistError):  # noqa: N818 - named for what it is, like the errors of common.errors
    """The file of the callers cannot be used; the message names it and the entry."""

    status = "FAILED_PRECONDITION"


class Scope(StrEnum):
    """What a caller may do."""

    RECOMMEND = "recommend"
    RECORD = "record"
    READ = "read"
    ADMINISTER = "administer"


@dataclass(frozen=True)
class CallerLimits:
    """How much a caller may call; 0 is no limit.

    Attributes:
        calls_per_s: Calls a second, in the long run.
        burst: Calls at once after a pause.
        max_calls: Calls in progress.
    """

    calls_per_s: float = 0.0
    burst: int = 0
    max_calls: int = 0


@dataclass(frozen=True)
class Caller:
    """A program that was recognised, or the unknown one.

    Attributes:
        name: For limits and the log; empty if the caller is unknown.
        scopes: What it may do.
        limits: Its own limits; None for the server's.
    """

    name: str
    scopes: frozenset[Scope]
    limits: CallerLimits | None = None


class _Entry(BaseModel):
    """One caller of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scopes: list[Scope] = Field(min_length=1)
    token_sha256: list[Sha256] = []
    certificate_names: list[str] = []
    calls_per_s: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    burst: int = Field(default=0, ge=0)
    max_calls: int = Field(default=0, ge=0)


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    callers: dict[str, _Entry] = {}


class Callers:
    """The callers of a file, found by a token or by the name in a certificate.

    Args:
        by_token: Callers by the SHA-256 of a token.
        by_certificate: Callers by a name in their certificate.
    """

    def __init__(self, by_token: Sequence[tuple[bytes, Caller]], by_certificate: Mapping[str, Caller]) -> None:
        self._by_token = tuple(by_token)
        self._by_certificate = dict(by_certificate)

    def with_token(self, token: str) -> Caller | None:
        """Return the caller with a token; compared with every hash, so that time tells nothing about them."""
        digest, found = hashlib.sha256(token.encode()).digest(), None
        for known, caller in self._by_token:
            if hmac.compare_digest(known, digest):
                found = caller
        return found

    def with_certificate(self, names: Iterable[str]) -> Caller | None:
        """Return the caller whose verified certificate has one of the names."""
        return next((self._by_certificate[name] for name in names if name in self._by_certificate), None)


def read_callers(file: Path) -> Callers:
    """Read the callers of a TOML file; see docs/security.md.

    Raises:
        BadAccessFile: It cannot be read, has unknown keys, or a token or name belongs to two callers.
    """
    try:
        entries = _File.model_validate(tomllib.loads(file.read_text())).callers
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise BadAccessFile(f"{file} cannot be used: {faults}") from error
    except (OSError, ValueError) as error:
        raise BadAccessFile(f"{file} cannot be read as TOML: {error}") from error
    by_token: dict[bytes, Caller] = {}
    by_certificate: dict[str, Caller] = {}
    for name, entry in entries.items():
        caller = Caller(name, frozenset(entry.scopes), _limits(entry))
        for digest in entry.token_sha256:
            _add(by_token, bytes.fromhex(digest), caller, file, "token")
        for certificate in entry.certificate_names:
            _add(by_certificate, certificate, caller, file, "certificate name")
    return Callers(list(by_token.items()), by_certificate)


def new_token() -> tuple[str, str]:
    """Return a new token and its SHA-256 in hex, which is all that a server needs to know of it."""
    token = _TOKEN_PREFIX + secrets.token_urlsafe(_TOKEN_BYTES)
    return token, hashlib.sha256(token.encode()).hexdigest()


def _limits(entry: _Entry) -> CallerLimits | None:
    limits = CallerLimits(entry.calls_per_s, entry.burst, entry.max_calls)
    return None if limits == CallerLimits() else limits


def _add(known: dict[K, Caller], key: K, caller: Caller, file: Path, what: str) -> None:
    if key in known:
        raise BadAccessFile(f"{file}: {known[key].name} and {caller.name} have the same {what}; give each its own")
    known[key] = caller

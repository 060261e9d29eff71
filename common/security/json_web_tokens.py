"""JSON web tokens (RFC 7519), checked against the keys of their issuer (a JWK set, RFC 7517)."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import ssl
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import jwt
import structlog

from common.cache import LruCache
from common.errors import ShortlistError
from common.security.callers import Caller, Scope
from common.security.reloaded import Reloaded

# Asymmetric algorithms only: with HS256, whoever knows the public key could sign (RFC 8725, 2.1).
_ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
_LEEWAY_S: Final = 10.0  # between the clocks of issuer and server
_MAX_TOKEN_CHARACTERS: Final = 8_192
# A token is checked again after this time, so that a key that was withdrawn does not live on in the cache.
_VERIFIED_S: Final = 60.0
_MAX_VERIFIED: Final = 10_000
_FRESH_S: Final = 300.0
_MAX_AGE_S: Final = 3_600.0
# Tokens name their key before anything of them is checked, so strangers could have the keys fetched at each call.
_COOLDOWN_S: Final = 30.0
_FETCH_TIMEOUT_S: Final = 5.0
_MAX_JWKS_BYTES: Final = 1 << 20
Keys = Mapping[str, jwt.PyJWK]
_log = structlog.get_logger()


class BadKeySet(ShortlistError):  # noqa: N818 - named for what it is, like the errors of common.errors
    """The issuer's keys cannot be read."""

    status = "FAILED_PRECONDITION"


class KeySet(Protocol):
    """The keys of an issuer."""

    async def find(self, key_id: str) -> jwt.PyJWK | None:
        """Return the key with an id."""


class FileKeySet:
    """The keys of a JWK set in a file, read again when it changes; raises BadKeySet if it cannot be used."""

    def __init__(self, file: Path) -> None:
        self._keys: Reloaded[Keys] = Reloaded([file], lambda: _parse(_read(file), str(file)))

    async def find(self, key_id: str) -> jwt.PyJWK | None:
        """Return the key with an id."""
        return self._keys.get().get(key_id)


class UrlKeySet:
    """The keys of a JWK set at an https URL, fetched when first needed, and every five minutes from then on.

    While they cannot be fetched, those known are used for up to an hour. An unknown key id has them fetched at most
    every 30 seconds.

    Args:
        url: The URL; proxies and redirections are not followed.
        fetch: Returns the content of the URL, in a thread.
        clock: Monotonic seconds.
    """

    def __init__(
        self, url: str, fetch: Callable[[str], bytes] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._url = url
        self._fetch = fetch or _fetch
        self._clock = clock
        self._keys: Keys = {}
        self._fetched_at_s = -_MAX_AGE_S
        self._tried_at_s = -_MAX_AGE_S
        self._refreshing: asyncio.Task[None] | None = None

    async def find(self, key_id: str) -> jwt.PyJWK | None:
        """Return the key with an id; fetches the keys if it is unknown or they are old."""
        is_fresh = self._clock() - self._fetched_at_s < _FRESH_S
        is_wanted = key_id not in self._keys or not is_fresh
        if is_wanted and self._refreshing is None and self._clock() - self._tried_at_s >= _COOLDOWN_S:
            self._tried_at_s = self._clock()
            self._refreshing = asyncio.create_task(self._refresh())
        if self._refreshing is not None and key_id not in self._keys:
            await asyncio.shield(self._refreshing)
        is_usable = self._clock() - self._fetched_at_s < _MAX_AGE_S
        return self._keys.get(key_id) if is_usable else None

    async def _refresh(self) -> None:
        try:
            content = await asyncio.to_thread(self._fetch, self._url)
            self._keys = _parse(content, self._url)
            self._fetched_at_s = self._clock()
        except Exception as error:  # noqa: BLE001 - the known keys stay, whatever is wrong with the issuer
            _log.warning("the issuer's keys could not be fetched", url=self._url, reason=str(error))
        finally:
            self._refreshing = None


class JwtVerifier:
    """Recognises callers by tokens of one issuer.

    A token's scopes are the words of its claim `scope` (or the list `scp`); the caller is `client_id`, `azp` or `sub`.

    Args:
        keys: The issuer's keys.
        issuer: What `iss` must be.
        audience: What `aud` must contain.
    """

    def __init__(self, keys: KeySet, issuer: str, audience: str) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._verified: LruCache[bytes, tuple[Caller, float]] = LruCache(_MAX_VERIFIED)

    async def verify(self, token: str) -> Caller | None:
        """Return the caller of a token; None if the token is not valid, for whatever reason."""
        if len(token) > _MAX_TOKEN_CHARACTERS:
            return None
        digest = hashlib.sha256(token.encode()).digest()
        known = self._verified.get(digest)
        if known is not None and time.time() < known[1]:
            return known[0]
        try:
            claims = await self._claims(token)
        except jwt.PyJWTError:
            return None
        caller = Caller(_name(claims), _scopes(claims))
        self._verified.put(digest, (caller, min(float(claims["exp"]) + _LEEWAY_S, time.time() + _VERIFIED_S)))
        return caller

    async def _claims(self, token: str) -> dict[str, Any]:
        key = await self._keys.find(str(jwt.get_unverified_header(token).get("kid", "")))
        if key is None:
            raise jwt.InvalidTokenError("no such key")
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=list(_ALGORITHMS),
            audience=self._audience,
            issuer=self._issuer,
            leeway=_LEEWAY_S,
            options={"require": ["exp", "iss", "aud"]},
        )
        return claims


def open_key_set(source: str) -> KeySet:
    """Return the keys of a file or an https URL; raises BadKeySet if the file cannot be used."""
    return UrlKeySet(source) if source.startswith("https://") else FileKeySet(Path(source))


def _parse(content: bytes, origin: str) -> Keys:
    try:
        keys = jwt.PyJWKSet.from_json(content.decode()).keys
    except (ValueError, TypeError, AttributeError, jwt.PyJWTError) as error:  # the library expects an object
        raise BadKeySet(f"{origin} is no JWK set that can be used: {error}") from error
    usable = [key for key in keys if key.public_key_use in (None, "sig") and key.algorithm_name in _ALGORITHMS]
    if not usable:
        raise BadKeySet(f"{origin} has no key of an asymmetric signature")
    return {key.key_id or "": key for key in usable}


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise BadKeySet(f"{file} cannot be read: {error.strerror}; name a JWK set or its https URL") from error


def _fetch(url: str) -> bytes:
    parts = urlsplit(url)
    connection = http.client.HTTPSConnection(
        parts.hostname or "", parts.port, timeout=_FETCH_TIMEOUT_S, context=ssl.create_default_context()
    )
    try:
        connection.request("GET", parts.path + (f"?{parts.query}" if parts.query else ""))
        answer = connection.getresponse()
        content = answer.read(_MAX_JWKS_BYTES + 1)
    finally:
        connection.close()
    if answer.status != http.client.OK or len(content) > _MAX_JWKS_BYTES:
        raise BadKeySet(f"{url} answered {answer.status} with {len(content)} bytes")
    return content


def _name(claims: Mapping[str, Any]) -> str:
    return f"jwt:{claims.get('client_id') or claims.get('azp') or claims.get('sub') or ''}"


def _scopes(claims: Mapping[str, Any]) -> frozenset[Scope]:
    """Return the scopes that we know; an issuer may give others for other programs."""
    given = claims.get("scope") or claims.get("scp") or ()
    words = given.split() if isinstance(given, str) else [str(word) for word in given]
    return frozenset(Scope(word) for word in words if word in set(Scope))

"""Decides for every call who makes it, whether that caller may, and whether it is within its limits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import unquote

import structlog

from common.errors import PermissionDenied, Unauthenticated
from common.security.callers import Caller, CallerLimits, Callers, Scope
from common.security.json_web_tokens import JwtVerifier
from common.security.rate_limit import CallerLimiter
from common.security.reloaded import Reloaded
from common.server.access.channel_security import AUTHORIZATION
from common.server.access.method_scopes import scope_of

_BEARER: Final = "bearer "
# The same words for every bad credential, so that nobody learns which tokens exist.
_REFUSED: Final = "the credentials of the call are not valid; send `authorization: Bearer TOKEN` with a valid token"


class AccessControl:
    """Who may make a call. Health checks are open to all.

    A call that carries a token is judged by the token alone. Otherwise its verified client certificate names the
    caller; without one that is listed, it is anonymous.

    Args:
        callers: The listed callers; None if there is no list.
        tokens: Recognises callers by JSON web tokens; None if there is no issuer.
        anonymous: What callers without credentials may do.
        limits: The limits of callers that have none of their own.
    """

    def __init__(
        self,
        callers: Reloaded[Callers] | None,
        tokens: JwtVerifier | None,
        anonymous: frozenset[Scope],
        limits: CallerLimits,
    ) -> None:
        self._callers = callers
        self._tokens = tokens
        self._anonymous = Caller("", anonymous)
        self._limits = limits
        self._limiter = CallerLimiter()
        self._has_limits = limits != CallerLimits()
        self._is_open = callers is None and tokens is None and anonymous == frozenset(Scope) and not self._has_limits

    @asynccontextmanager
    async def admitted(self, method: str, context: Any) -> AsyncIterator[None]:
        """Run the body as a call that was admitted.

        Raises:
            Unauthenticated: There are no credentials and the method needs some, or they are not valid.
            PermissionDenied: The caller has not the scope that the method needs.
            Overloaded: The caller exceeds its limits.
        """
        needed = scope_of(method)
        if needed is None or self._is_open:
            yield
            return
        caller = await self._caller(context)
        _require(caller, needed)
        if caller.name and not caller.name.startswith("jwt:"):  # the subject of a web token may be a person
            structlog.contextvars.bind_contextvars(caller=caller.name)
        limits = caller.limits or self._limits
        with self._limiter.admit(caller.name or _address(context.peer()), limits):
            yield

    async def _caller(self, context: Any) -> Caller:
        token = _bearer_token(context.invocation_metadata() or ())
        if token is not None:
            return await self._with_token(token)
        caller = None if self._callers is None else self._callers.get().with_certificate(_certificate_names(context))
        return caller or self._anonymous

    async def _with_token(self, token: str) -> Caller:
        caller = None if self._callers is None else self._callers.get().with_token(token)
        if caller is None and self._tokens is not None:
            caller = await self._tokens.verify(token)
        if caller is None:
            raise Unauthenticated(_REFUSED)
        return caller


def _require(caller: Caller, needed: Scope) -> None:
    if needed in caller.scopes:
        return
    if not caller.name:
        raise Unauthenticated(
            f"this method needs the scope {needed}; send `authorization: Bearer TOKEN`, or a certificate"
        )
    raise PermissionDenied(f"the caller has not the scope {needed}, which this method needs")


def _bearer_token(metadata: Sequence[tuple[str, Any]]) -> str | None:
    """Return the token of a call; empty, which no caller has, if there are several or it is of another kind."""
    given = [value for key, value in metadata if key == AUTHORIZATION]
    if not given:
        return None
    value = given[0] if len(given) == 1 and isinstance(given[0], str) else ""
    return value[len(_BEARER) :].strip() if value.lower().startswith(_BEARER) else ""


def _certificate_names(context: Any) -> list[str]:
    """Return the alternative names of the verified client certificate; its common name if it has none (RFC 6125)."""
    properties = context.auth_context()
    names = properties.get("x509_subject_alternative_name") or properties.get("x509_common_name") or ()
    return [name.decode(errors="replace") for name in names]


def _address(peer: str) -> str:
    """Return the address of a gRPC peer without its port, as `ipv4:127.0.0.1`."""
    return unquote(peer).rpartition(":")[0]

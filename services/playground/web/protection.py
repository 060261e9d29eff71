"""What protects the page: a strict policy for its content, names of hosts, the admin token."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.errors import InvalidRequest
from common.security.addresses import is_loopback

MAX_BODY_BYTES: Final = 1 << 20
_MIN_TOKEN_LENGTH: Final = 16


# Everything from here, nothing inline. Answers have no pictures: the page draws one of an item's first letters.
CONTENT_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
    "trusted-types 'none'"
)


class Protection:
    """ASGI middleware: refuses foreign names of hosts and pages, large bodies; sets the headers of security.

    A name that is not allowed is how a foreign page would reach a server on this machine (DNS rebinding).

    Args:
        app: What is protected.
        allowed_hosts: Names besides those of the loopback interface.
    """

    def __init__(self, app: ASGIApp, allowed_hosts: Sequence[str] = ()) -> None:
        self._app = app
        self._allowed_hosts = frozenset(host.lower() for host in allowed_hosts)
        self._headers = {
            "content-security-policy": CONTENT_POLICY,
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
            "cross-origin-opener-policy": "same-origin",
            "cross-origin-resource-policy": "same-origin",
            "permissions-policy": "camera=(), geolocation=(), microphone=()",
            "cache-control": "no-cache",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = self._refusal(Headers(scope=scope), scope)
        if refusal is not None:
            await refusal(scope, receive, send_protected)
            return
        await self._app(scope, receive, send_protected)

    def _refusal(self, headers: Headers, scope: Scope) -> PlainTextResponse | None:
        host = _host_name(headers.get("host", ""))
        # A kubelet's probe names the pod by its address.
        if scope["path"] != "/health" and not is_loopback(host) and host not in self._allowed_hosts:
            return PlainTextResponse(f"{host or 'no host'} is not in --allowed-hosts of the playground\n", 421)
        if headers.get("sec-fetch-site", "none") not in {"none", "same-origin"} and scope["method"] != "GET":
            return PlainTextResponse("another site's page may not call the playground\n", 403)
        if scope["method"] == "POST":
            if headers.get("content-type", "").partition(";")[0] != "application/json":
                return PlainTextResponse("the body must be application/json\n", 415)
            if not headers.get("content-length", "").isdigit():
                return PlainTextResponse("the body must have its length\n", 411)
            if int(headers["content-length"]) > MAX_BODY_BYTES:
                return PlainTextResponse(f"the body has more than {MAX_BODY_BYTES} bytes\n", 413)
        return None


def _host_name(host: str) -> str:
    """Return the name of a Host header without its port."""
    name = host.rpartition(":")[0] if ":" in host and not host.endswith("]") else host
    return name.lower().strip("[]")


class AdminToken:
    """The token that allows to change something; without one, nobody may.

    Args:
        token: The token; empty for none.
    """

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    @classmethod
    def read(cls, file: Path | None) -> AdminToken:
        """Read the token; raises InvalidRequest if the file cannot be read or the token is short."""
        if file is None:
            return cls("")
        try:
            token = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidRequest(f"--admin-token-file {file} cannot be read: {error}") from error
        if len(token) < _MIN_TOKEN_LENGTH:
            raise InvalidRequest(f"--admin-token-file {file}: the token needs at least {_MIN_TOKEN_LENGTH} characters")
        return cls(token)

    @property
    def is_set(self) -> bool:
        """Whether there is a token at all."""
        return bool(self._token)

    def admits(self, request: Request) -> bool:
        """Return whether a request carries the token."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        return self.is_set and scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self._token)

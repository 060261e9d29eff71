"""Calls of an ASGI application in this process, without a port."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message


@dataclass(frozen=True)
class WebAnswer:
    """An answer.

    Attributes:
        status: The HTTP status.
        headers: The headers, in lower case.
        body: The body.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body as a value."""
        return json.loads(self.body)


async def call(
    app: ASGIApp, url: str, value: Any = None, headers: Mapping[str, str] | None = None, method: str | None = None
) -> WebAnswer:
    """Ask an application: POST with ``value`` as JSON if it is given, else GET.

    Args:
        app: The application.
        url: Path and query.
        value: The body.
        headers: Further headers, which win over the usual ones.
        method: Another method.
    """
    content = b"" if value is None else json.dumps(value).encode()
    usual = {"host": "127.0.0.1:8080"}
    if value is not None:
        usual |= {"content-type": "application/json", "content-length": str(len(content))}
    given = usual | dict(headers or {})
    parts = urlsplit(url)
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method or ("GET" if value is None else "POST"),
        "scheme": "http",
        "path": parts.path,
        "raw_path": parts.path.encode(),
        "query_string": parts.query.encode(),
        "root_path": "",
        "headers": [(name.encode(), text.encode()) for name, text in given.items() if text],
        "server": ("127.0.0.1", 8080),
        "client": ("127.0.0.1", 1),
    }
    sent: list[Message] = []

    asked: list[Message] = [{"type": "http.request", "body": content, "more_body": False}]

    async def receive() -> Message:
        if asked:
            return asked.pop()
        await asyncio.Event().wait()  # the caller stays
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start = sent[0]
    names = {name.decode().lower(): text.decode() for name, text in start["headers"]}
    return WebAnswer(start["status"], names, b"".join(message.get("body", b"") for message in sent[1:]))

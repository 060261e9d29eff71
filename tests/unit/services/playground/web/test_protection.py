"""What protects the page."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from common.errors import InvalidRequest
from services.playground.web.protection import MAX_BODY_BYTES, AdminToken, Protection
from testing.web.asgi_call import call


async def _ok(request: Request) -> PlainTextResponse:
    del request
    return PlainTextResponse("ok")


ROUTES = [Route(path, _ok, methods=["GET", "POST"]) for path in ("/", "/health")]
APP = Protection(Starlette(routes=ROUTES), ["play.example.com"])


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8080", "[::1]:8080", "[::1]", "Play.Example.com:443"])
async def test_known_hosts_are_answered(host: str):
    """Names of the loopback interface and those allowed are answered."""
    assert (await call(APP, "/", headers={"host": host})).status == 200


@pytest.mark.parametrize("host", ["", "evil.example.com", "10.0.0.7:8080", "localhost.evil.example.com"])
async def test_foreign_hosts_are_refused(host: str):
    """Another name is refused, since a foreign page could lead here by it; a probe of the health is not."""
    assert (await call(APP, "/", headers={"host": host})).status == 421
    assert (await call(APP, "/health", headers={"host": host})).status == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"content-type": "text/plain"}, 415),
        ({"content-length": ""}, 411),
        ({"content-length": str(MAX_BODY_BYTES + 1)}, 413),
    ],
)
async def test_posts_come_from_the_page_alone(headers: dict[str, str], status: int):
    """Forms and scripts of other sites, and large bodies, are refused."""
    assert (await call(APP, "/", {}, headers)).status == status


async def test_every_answer_has_the_headers():
    """Refusals too have the policy, which allows nothing inline and nothing from elsewhere."""
    for answer in (await call(APP, "/"), await call(APP, "/", headers={"host": "evil.example.com"})):
        policy = answer.headers["content-security-policy"]
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy
        assert "img-src 'self';" in policy
        assert "http" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"


def _request(authorization: str) -> Request:
    return Request({"type": "http", "headers": [(b"authorization", authorization.encode())]})


def test_the_token_admits(tmp_path: Path):
    """Whoever has the token is admitted; without a token nobody is."""
    file = tmp_path / "token"
    file.write_text("0123456789abcdef\n")
    token = AdminToken.read(file)
    assert token.admits(_request("Bearer 0123456789abcdef"))
    assert not token.admits(_request("Bearer 0123456789abcdeg"))
    assert not token.admits(_request("Basic 0123456789abcdef"))
    assert not AdminToken.read(None).admits(_request("Bearer "))
    assert not AdminToken.read(None).is_set


def test_a_short_token_is_refused(tmp_path: Path):
    """A token that can be guessed, and a missing file, are errors."""
    file = tmp_path / "token"
    file.write_text("short")
    with pytest.raises(InvalidRequest, match="at least 16"):
        AdminToken.read(file)
    with pytest.raises(InvalidRequest, match="cannot be read"):
        AdminToken.read(tmp_path / "none")

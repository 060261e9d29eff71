"""The issuer's keys at a URL: fetched when needed, and not more often."""

from __future__ import annotations

import asyncio
import http.server
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.security import json_web_tokens
from common.security.json_web_tokens import BadKeySet, UrlKeySet
from testing.security.certificates import Authority
from testing.security.web_tokens import Issuer


class Site:
    """A site with a key set that can be changed and fail."""

    def __init__(self) -> None:
        self.content = Issuer().key_set().encode()
        self.fetched = 0
        self.now_s = 0.0
        self.fails = False

    def fetch(self, _: str) -> bytes:
        """Return the content."""
        self.fetched += 1
        if self.fails:
            raise OSError("down")
        return self.content

    def keys(self) -> UrlKeySet:
        """Return the key set of the site."""
        return UrlKeySet("https://login.example/keys", self.fetch, lambda: self.now_s)


async def test_keys_are_fetched_once_and_again_when_old():
    """The first token has the keys fetched, and after five minutes they are fetched again while the old ones serve."""
    site = Site()
    keys = site.keys()
    assert [await keys.find("RS256") is not None for _ in range(5)] == [True] * 5
    assert site.fetched == 1
    site.now_s += 301
    assert await keys.find("RS256") is not None
    while keys._refreshing is not None:
        await keys._refreshing
    assert site.fetched == 2


async def test_unknown_keys_have_them_fetched_twice_a_minute_at_most():
    """Tokens with made-up keys do not make us call the issuer each time; a new key is found after half a minute."""
    site = Site()
    keys = site.keys()
    assert [await keys.find(f"made up {number}") for number in range(50)] == [None] * 50
    assert site.fetched == 1
    site.content = Issuer("-new").key_set().encode()
    site.now_s += 31
    assert await keys.find("RS256-new") is not None
    assert await keys.find("RS256") is None
    assert site.fetched == 2


async def test_calls_at_the_same_time_share_a_fetch():
    """Many first calls wait for one fetch."""
    site = Site()
    keys = site.keys()
    assert None not in await asyncio.gather(*(keys.find("RS256") for _ in range(20)))
    assert site.fetched == 1


async def test_known_keys_outlive_an_outage_by_an_hour():
    """While the issuer is down the known keys serve; after an hour they do not, until it is back."""
    site = Site()
    keys = site.keys()
    assert await keys.find("RS256") is not None
    site.fails = True
    for later_s, known in ((3_599, True), (3_700, False)):
        site.now_s = later_s
        assert (await keys.find("RS256") is not None) == known
        while keys._refreshing is not None:
            await keys._refreshing
    site.fails = False
    site.now_s += 31
    await keys.find("RS256")
    while keys._refreshing is not None:
        await keys._refreshing
    assert await keys.find("RS256") is not None


@pytest.fixture
def https_site(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Return the address of an https server whose ``/keys`` has keys and ``/moved`` leads there; and its authority."""
    content = Issuer().key_set().encode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/keys" else 302)
            self.send_header("Location", "/keys")
            self.end_headers()
            self.wfile.write(content if self.path == "/keys" else b"")

        def log_message(self, *_: object) -> None:
            return

    authority = Authority(tmp_path)
    files = authority.issue("login")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    assert files.certificate is not None
    context.load_cert_chain(files.certificate, files.key)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"https://127.0.0.1:{server.server_port}", authority.file
    server.shutdown()
    thread.join()
    server.server_close()


async def test_keys_come_over_checked_https_alone(https_site: tuple[str, Path], monkeypatch: pytest.MonkeyPatch):
    """A server of a trusted authority is read; an unknown authority and a redirection are refused."""
    site, authority = https_site
    assert await UrlKeySet(f"{site}/keys").find("RS256") is None
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    assert await UrlKeySet(f"{site}/keys").find("RS256") is not None
    with pytest.raises(BadKeySet, match="302"):
        await asyncio.to_thread(json_web_tokens._fetch, f"{site}/moved")

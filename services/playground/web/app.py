"""The ASGI application of the playground."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from services.playground.web import api, workbench
from services.playground.web.protection import Protection
from services.playground.web.site import Site

_STATIC: Final = Path(__file__).parent / "static"
PAGES: Final = ("/", "/many", "/release", "/servers")


def application(site: Site, allowed_hosts: Sequence[str] = ()) -> Protection:
    """Return the application.

    Args:
        site: The parts it works with.
        allowed_hosts: Names of hosts besides those of the loopback interface.
    """
    reads = {"config": api.config, "users": api.users, "votes": workbench.votes, "servers": workbench.servers}
    reads |= {"release": workbench.release, "complete": api.complete}
    asks = {"recommend": api.recommend, "explain": api.explain, "items": api.items, "many-users": api.many_users}
    changes = {"judgements": workbench.judge, "votes": workbench.vote, "servers": workbench.switch}
    routes = [
        *(Route(f"/api/{name}", api.endpoint(site, method), methods=["GET"]) for name, method in reads.items()),
        *(
            Route(f"/api/{name}", api.endpoint(site, method), methods=["POST"])
            for name, method in (asks | changes).items()
        ),
        Route("/health", _health, methods=["GET"]),
        Mount("/static", StaticFiles(directory=_STATIC)),
        *(Route(path, _page, methods=["GET"]) for path in PAGES),
    ]
    return Protection(Starlette(routes=routes), allowed_hosts)


async def _page(request: Request) -> Response:
    del request
    return FileResponse(_STATIC / "index.html", media_type="text/html")


async def _health(request: Request) -> Response:
    del request
    return PlainTextResponse("ok\n")

"""The JSON methods of the page that change something or show the servers; changes need the admin token."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict
from starlette.requests import Request

from services.playground.comparison.judgements import Judgement, Judgements, Vote
from services.playground.servers.release_files import release_files
from services.playground.web.api import Refused, body
from services.playground.web.site import Site


class Switch(BaseModel):
    """A server to stop or to start."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    server: Literal["retrieval", "ranking", "gateway"]
    running: bool


async def votes(site: Site, request: Request) -> dict[str, Any]:
    """Return how many votes and judgements there are."""
    del request
    kept = _kept(site)
    return {"wins": kept.wins(), "judgements": kept.count()}


async def judge(site: Site, request: Request) -> dict[str, Any]:
    """Keep how well an item answers a search."""
    _require_admin(site, request)
    kept, judgement = _kept(site), await body(request, Judgement)
    kept.judge(judgement)
    return {"grades": kept.grades(judgement.query), "judgements": kept.count()}


async def vote(site: Site, request: Request) -> dict[str, Any]:
    """Keep which of two answers was better."""
    _require_admin(site, request)
    kept = _kept(site)
    kept.vote(await body(request, Vote))
    return {"wins": kept.wins(), "judgements": kept.count()}


async def servers(site: Site, request: Request) -> dict[str, Any]:
    """Return the state of every server; `running` says of those started here whether they were stopped."""
    del request
    states = await site.servers.states()
    local = site.local
    if local is not None:
        states = [{**state, "running": local.is_running(state["name"])} for state in states]
    return {"servers": states, "local": local is not None}


async def switch(site: Site, request: Request) -> dict[str, Any]:
    """Stop or start a server that the playground started."""
    _require_admin(site, request)
    asked = await body(request, Switch)
    if site.local is None:
        raise Refused(409, "not_local", "the playground did not start the servers, so it cannot stop them")
    if asked.running:
        await site.local.start(asked.server)
    else:
        await site.local.stop(asked.server)
    return {"server": asked.server, "running": site.local.is_running(asked.server)}


async def release(site: Site, request: Request) -> dict[str, Any]:
    """Return the release of a gateway, and what its files say if they can be read here."""
    name = request.query_params.get("gateway", "")
    found = await site.gateways.release(name)
    if "failure" in found:
        return found
    served = found["release"]
    files = await asyncio.to_thread(release_files, served["location"], served["release_id"])
    return {**found, "files": files}


def _kept(site: Site) -> Judgements:
    if site.judgements is None:
        raise Refused(409, "no_votes", "the playground was started without --judgements, so it keeps no votes")
    return site.judgements


def _require_admin(site: Site, request: Request) -> None:
    if not site.admin.admits(request):
        raise Refused(403, "read_only", "this needs the admin token of the playground (--admin-token-file)")

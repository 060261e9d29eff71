"""The methods that change something."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.types import ASGIApp

from services.playground.gateways.gateways import Gateways
from services.playground.web.app import application
from testing.web.asgi_call import call

JUDGEMENT = {"query": "oat milk", "item_id": "milk", "relevance": 3}
VOTE = {"left": {}, "right": {"gateway": "b"}, "winner": "right"}
SWITCH = {"server": "ranking", "running": False}


@pytest.mark.parametrize(("name", "value"), [("judgements", JUDGEMENT), ("votes", VOTE), ("servers", SWITCH)])
async def test_nothing_changes_without_the_token(app: ASGIApp, name: str, value: Any):
    """Each change needs the token, and a wrong one is none."""
    for headers in ({}, {"authorization": "Bearer wrong"}):
        answer = await call(app, f"/api/{name}", value, headers)
        assert answer.status == 403
        assert answer.json()["failure"]["kind"] == "read_only"
    assert (await call(app, "/api/votes")).json() == {"wins": {"left": 0, "right": 0, "tie": 0}, "judgements": 0}


async def test_votes_and_judgements_are_kept(app: ASGIApp, admin: dict[str, str]):
    """A judgement is shown with the next answer to its search; votes are counted."""
    assert (await call(app, "/api/judgements", JUDGEMENT, admin)).json()["grades"] == {"milk": 3}
    assert (await call(app, "/api/votes", VOTE, admin)).json()["wins"]["right"] == 1
    found = (await call(app, "/api/recommend", {"sides": [{"query": "oat milk"}]})).json()
    assert found["grades"] == {"milk": 3}


async def test_servers_of_others_are_not_stopped(app: ASGIApp, admin: dict[str, str]):
    """Only servers that the playground started can be stopped."""
    answer = await call(app, "/api/servers", SWITCH, admin)
    assert (answer.status, answer.json()["failure"]["kind"]) == (409, "not_local")


async def test_without_a_folder_no_votes_are_kept(gateways: Gateways, admin: dict[str, str], site_of: Any):
    """The answer says which setting is missing."""
    async with site_of(gateways) as site:
        answer = await call(application(site), "/api/votes", VOTE, admin)
    assert answer.status == 409
    assert "--judgements" in answer.json()["failure"]["details"]


async def test_the_state_of_servers_is_shown(app: ASGIApp):
    """A server without health checks is not said to serve."""
    found = (await call(app, "/api/servers")).json()
    assert [(server["name"], server["health"]) for server in found["servers"]] == [
        ("a", "unreachable"),
        ("b", "unreachable"),
    ]
    assert not found["local"]


async def test_an_old_gateway_has_no_release_to_show(app: ASGIApp):
    """The failure is passed on."""
    answer = await call(app, "/api/release")
    assert answer.json()["failure"]["kind"] == "too_old"

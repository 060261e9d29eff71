"""The JSON methods of the page that ask gateways."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse

from services.playground.comparison.many_users import MAX_USERS, compare_users
from services.playground.comparison.overlap import absence, moves
from services.playground.comparison.users import found_users
from services.playground.gateways.failures import STATUSES, refusal
from services.playground.gateways.gateways import UnknownGateway
from services.playground.gateways.request import AskedRequest, ItemId, Rules
from services.playground.gateways.snippets import snippets
from services.playground.web.site import Site

Method = Callable[[Site, Request], Awaitable[Any]]
M = TypeVar("M", bound=BaseModel)
_SHOWN_USERS: Final = 50
_SHOWN_ITEMS: Final = 20
_SUGGESTIONS: Final = 8


class Refused(Exception):  # noqa: N818 - named for what it is, like the errors of common.errors
    """A request that the playground does not answer.

    Attributes:
        status: The HTTP status.
        kind: What the page calls it.
    """

    def __init__(self, status: int, kind: str, details: str) -> None:
        self.status = status
        self.kind = kind
        super().__init__(details)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Sides(_Strict):
    """One or two requests, to show next to each other."""

    sides: Annotated[tuple[AskedRequest, ...], Field(min_length=1, max_length=2)]


class Explained(_Strict):
    """An item of an answer to explain."""

    request: AskedRequest
    item_id: ItemId


class Searched(_Strict):
    """Items to find for a history, or ids to find the titles of."""

    query: Annotated[str, Field(max_length=1_000)] = ""
    gateway: str = ""
    item_ids: Annotated[tuple[ItemId, ...], Field(max_length=1_000)] = ()


class ManyUsers(_Strict):
    """Two requests to compare over the first users of the list."""

    left: AskedRequest
    right: AskedRequest
    users: Annotated[int, Field(ge=1, le=MAX_USERS)] = MAX_USERS


def endpoint(site: Site, method: Method) -> Callable[[Request], Awaitable[JSONResponse]]:
    """Return a method as an endpoint: errors of the request are answered in the form of a failed call."""

    async def answer(request: Request) -> JSONResponse:
        try:
            found = await method(site, request)
        except Refused as error:
            return JSONResponse({"failure": refusal(error.kind, str(error))}, error.status)
        except UnknownGateway as error:
            return JSONResponse({"failure": refusal("not_found", str(error))}, 404)
        failed = found.get("failure")
        return JSONResponse(found, 200 if failed is None else STATUSES.get(failed["kind"], 502))

    return answer


async def body(request: Request, model: type[M]) -> M:
    """Return the body as a value; raises Refused with every fault."""
    try:
        return model.model_validate_json(await request.body())
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc'])) or 'body'}: {fault['msg']}" for fault in error.errors()]
        raise Refused(400, "invalid", "; ".join(faults)) from error


async def config(site: Site, request: Request) -> dict[str, Any]:
    """Return what the page can offer: gateways, users, whether servers can be stopped and votes kept."""
    return {
        "gateways": list(site.gateways.targets),
        "users": len(site.users),
        "local": site.local is not None,
        "votes": site.judgements is not None,
        "admin_is_possible": site.admin.is_set,
        "is_admin": site.admin.admits(request),
        "default_rules": json.loads(Rules().model_dump_json()),
    }


async def recommend(site: Site, request: Request) -> dict[str, Any]:
    """Answer one or two requests; of two, what moved and why an item of the left answer is not in the right one."""
    sides = (await body(request, Sides)).sides
    answers = await asyncio.gather(*(site.gateways.recommend(side) for side in sides))
    tls = site.gateways.uses_tls
    codes = [snippets(side, site.gateways.targets[site.gateways.name_of(side.gateway)], tls=tls) for side in sides]
    found: dict[str, Any] = {"answers": answers, "snippets": codes, "comparison": None}
    if len(sides) > 1 and not any("failure" in answer for answer in answers):
        found["comparison"] = _comparison(sides, answers)
    if site.judgements is not None and sides[0].query:
        found["grades"] = site.judgements.grades(sides[0].query)
    return found


def _comparison(sides: Sequence[AskedRequest], answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    left, right = answers[0]["items"], answers[1]["items"]
    found = moves(left, right)
    rules = sides[1].rules.model_dump()
    absent = [item for item in left if found["places"][item["item_id"]]["right"] is None]
    return {**found, "absent": {item["item_id"]: absence(item, right, rules, sides[1]) for item in absent}}


async def explain(site: Site, request: Request) -> dict[str, Any]:
    """Answer why an item has its place."""
    asked = await body(request, Explained)
    return await site.gateways.explain(asked.request, asked.item_id)


async def items(site: Site, request: Request) -> dict[str, Any]:
    """Return items that a search finds, or the titles of known ids."""
    asked = await body(request, Searched)
    if asked.item_ids:
        titles = await site.servers.titles(list(asked.item_ids))
        return {"items": [{"item_id": item, "title": titles.get(item, "")} for item in asked.item_ids]}
    search = AskedRequest(
        gateway=asked.gateway,
        query=asked.query,
        limit=_SHOWN_ITEMS,
        rules=Rules(stages="first" if asked.query else "popular"),
    )
    answer = await site.gateways.recommend(search, explain=False)
    if "failure" in answer:
        return answer
    return {"items": [{name: item[name] for name in ("item_id", "title", "brand")} for item in answer["items"]]}


async def complete(site: Site, request: Request) -> dict[str, Any]:
    """Return searches that begin with what is typed."""
    asked = request.query_params
    return {"texts": await site.gateways.complete(asked.get("gateway", ""), asked.get("text", "")[:200], _SUGGESTIONS)}


async def users(site: Site, request: Request) -> dict[str, Any]:
    """Return users of the list whose id contains a text."""
    found = found_users(site.users, request.query_params.get("search", "")[:256], _SHOWN_USERS)
    return {
        "users": [{"user_id": user.user_id, "history": user.history} for user in found],
        "of": len(site.users),
    }


async def many_users(site: Site, request: Request) -> dict[str, Any]:
    """Compare two requests over up to a hundred users of the list."""
    asked = await body(request, ManyUsers)
    if not site.users:
        raise Refused(409, "no_users", "the playground was started without --users")
    return await compare_users(site.gateways, asked.left, asked.right, site.users[: asked.users])

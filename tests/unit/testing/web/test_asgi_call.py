"""Calls of an ASGI application in this process."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from testing.web.asgi_call import call


async def _echo(request: Request) -> JSONResponse:
    body = await request.body()
    return JSONResponse({"query": request.url.query, "body": body.decode(), "host": request.headers["host"]}, 201)


async def test_the_application_gets_the_request_and_its_answer_comes_back():
    """Path, query, body and headers reach the application; status, headers and body come back."""
    app = Starlette(routes=[Route("/echo", _echo, methods=["GET", "POST"])])
    answer = await call(app, "/echo?a=1", {"x": 2}, {"host": "other"})
    assert (answer.status, answer.headers["content-type"]) == (201, "application/json")
    assert answer.json() == {"query": "a=1", "body": '{"x": 2}', "host": "other"}
    assert (await call(app, "/none")).status == 404

"""The gateways by name, each asked through the project's client."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from shortlist.client import AsyncClient, ShortlistClientError, Tls
from shortlist.client.connection import Token

from services.playground.gateways.answer import fields
from services.playground.gateways.failures import failure
from services.playground.gateways.request import AskedRequest


class UnknownGateway(LookupError):  # noqa: N818 - named for what it is, like the errors of common.errors
    """A request names a gateway that the playground was not started with."""


class Gateways:
    """Asks gateways.

    Args:
        targets: Their addresses by name; the first is asked if a request names none.
        timeout_s: The time of a call, in seconds.
        tls: TLS of the connections; None for none.
        token: The token of the calls.
    """

    def __init__(
        self, targets: Mapping[str, str], timeout_s: float, tls: Tls | None = None, token: Token | None = None
    ) -> None:
        self.targets = dict(targets)
        self.uses_tls = tls is not None
        self._clients = {
            name: AsyncClient(target, timeout_s=timeout_s, tls=tls, token=token) for name, target in targets.items()
        }

    def name_of(self, asked: str) -> str:
        """Return the name of the gateway to ask; raises UnknownGateway."""
        if not asked:
            return next(iter(self.targets))
        if asked not in self.targets:
            raise UnknownGateway(f"there is no gateway {asked}; there are {', '.join(self.targets)}")
        return asked

    async def recommend(self, asked: AskedRequest, *, explain: bool = True) -> dict[str, Any]:
        """Return an answer of Recommend, with `took_ms` as seen from here; or `failure` in place of the answer.

        Raises:
            UnknownGateway: There is no such gateway.
        """
        name = self.name_of(asked.gateway)
        began = time.perf_counter()
        try:
            answer = await self._clients[name].recommend(**asked.arguments(), explain=explain)
        except ShortlistClientError as error:
            return {"gateway": name, "failure": failure(error, name)}
        took_ms = 1_000 * (time.perf_counter() - began)
        return {"gateway": name, "took_ms": took_ms, **_placed(fields(answer.message))}

    async def explain(self, asked: AskedRequest, item_id: str) -> dict[str, Any]:
        """Return why an item has its place, or `failure`; raises UnknownGateway."""
        name = self.name_of(asked.gateway)
        arguments = {key: value for key, value in asked.arguments().items() if key != "limit"}
        try:
            return fields(await self._clients[name].explain(item_id, **arguments))
        except ShortlistClientError as error:
            return {"failure": failure(error, name)}

    async def complete(self, name: str, text: str, limit: int) -> list[str]:
        """Return searches that begin with a text; none if the gateway has none or fails. Raises UnknownGateway."""
        try:
            found = await self._clients[self.name_of(name)].complete(text, limit=limit)
        except ShortlistClientError:  # what is typed is answered all the same
            return []
        return [suggestion.text for suggestion in found]

    async def release(self, name: str) -> dict[str, Any]:
        """Return the release that a gateway serves, or `failure`; raises UnknownGateway."""
        name = self.name_of(name)
        try:
            return fields(await self._clients[name].release())
        except ShortlistClientError as error:
            return {"failure": failure(error, name)}

    async def close(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            await client.close()


def _placed(answer: dict[str, Any]) -> dict[str, Any]:
    """Return an answer whose items have their place, from 1."""
    items = [{**item, "place": place} for place, item in enumerate(answer["items"], 1)]
    return {**answer, "items": items}

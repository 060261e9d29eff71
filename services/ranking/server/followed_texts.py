"""Texts of items that were added or replaced since the release, read from a retrieval server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import grpc
import structlog
from shortlist.retrieval.v1 import retrieval_pb2, retrieval_pb2_grpc

from common.process.endless_loop import repeat
from common.server.access.channel_security import ChannelSecurity
from common.server.channel import open_channel

_WAIT_S: Final = 2.0  # a retrieval server that drains waits for its calls
_ANSWER_S: Final = 10.0
_RETRY_S: Final = 0.2
_log = structlog.get_logger()


class FollowedTexts:
    """Follows the changes of a retrieval server. Use it on one event loop.

    The server's order holds: the last text of an item wins. Nothing is kept on this machine. A start reads everything
    from the beginning, and so does the first answer of a server that restarted; what was known before is replaced at
    once when all is read. While the server does not answer, the texts known so far are used.

    Args:
        target: The server's address.
        security: How to connect to it.
        on_connection: Called with whether the server is followed, when that changes.

    Attributes:
        texts: The texts of added and replaced items that were not deleted, by item id.
    """

    def __init__(self, target: str, security: ChannelSecurity, on_connection: Callable[[bool], None]) -> None:
        self.texts: Mapping[str, str] = {}
        self._target = target
        self._on_connection = on_connection
        self._channel = open_channel(target, security)
        self._stub: Any = retrieval_pb2_grpc.RetrievalServiceStub(self._channel)
        self._followed = asyncio.Event()
        self._read: dict[str, str] = {}
        self._request = retrieval_pb2.ReadItemTextsRequest(wait_s=_WAIT_S)
        self._following = asyncio.create_task(repeat("followed texts", self._follow, retry_s=_RETRY_S))

    async def wait_until_followed(self, timeout_s: float) -> None:
        """Wait until every change so far is known; log a warning if that takes longer than ``timeout_s``."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._followed.wait()
        except TimeoutError:
            _log.warning("texts of changed items are not known yet; the release's are used", retrieval=self._target)

    async def close(self) -> None:
        """Stop following and close the connection."""
        self._following.cancel()
        with suppress(asyncio.CancelledError):
            await self._following
        await self._channel.close()

    async def _follow(self) -> None:
        """Ask for the next changes once, and apply them."""
        request = self._request
        try:
            answer = await self._stub.ReadItemTexts(request, timeout=_WAIT_S + _ANSWER_S)
        except grpc.aio.AioRpcError as error:
            self._set_followed(False, reason=f"{error.code().name}: {error.details()}")
            await asyncio.sleep(_RETRY_S)
            return
        if answer.log_id != request.log_id:
            self._read = {}
        for item in answer.items:
            if item.HasField("text"):
                self._read[item.item_id] = item.text
            else:
                self._read.pop(item.item_id, None)
        request.log_id, request.position = answer.log_id, answer.position
        if not answer.more:
            self.texts = self._read
            self._set_followed(True)

    def _set_followed(self, followed: bool, reason: str = "") -> None:
        if followed != self._followed.is_set():
            self._on_connection(followed)
            if followed:
                self._followed.set()
                _log.info("follows the texts of changed items", retrieval=self._target, texts=len(self.texts))
            else:
                self._followed.clear()
                _log.warning("lost the texts of changed items", retrieval=self._target, reason=reason)

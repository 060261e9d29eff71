"""The retrieval service: protobuf in, protobuf out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any, TypeVar

import structlog
from shortlist.retrieval.v1 import retrieval_pb2

from common.errors import Overloaded
from common.server.channel import remaining_s
from common.server.live_release import LiveRelease
from services.retrieval.candidates.first_stage import FirstStage
from services.retrieval.candidates.request import Request
from services.retrieval.catalogue.live_catalogue import ChangeCounts
from services.retrieval.server.loaded_release import LoadedRelease
from services.retrieval.server.metrics import RetrievalMetrics
from services.retrieval.server.request_messages import read_batch, read_items, read_request
from services.retrieval.server.response_encoding import write_batch
from services.retrieval.server.response_messages import write_item
from services.retrieval.server.search_batcher import MAX_BATCH
from services.retrieval.server.search_worker import SearchRequest
from services.retrieval.settings import Settings

T = TypeVar("T")


log = structlog.get_logger()


class RetrievalService:
    """Reads messages, leaves the event loop to search, and writes messages, candidates as bytes."""

    def __init__(self, live: LiveRelease[LoadedRelease], settings: Settings, metrics: RetrievalMetrics) -> None:
        self._live = live
        self._settings = settings
        self._metrics = metrics
        self._calls = 0

    async def Retrieve(  # noqa: N802 - the contract's name
        self, request: retrieval_pb2.RetrieveRequest, context: Any
    ) -> bytes:
        """Find candidates for one user."""
        with self._call() as served:
            asked = read_request(request)
            served.stage.check(asked)
            return (await self._answer(served, [asked], [request.columns], context))[0]

    async def BatchRetrieve(  # noqa: N802
        self, request: retrieval_pb2.BatchRetrieveRequest, context: Any
    ) -> bytes:
        """Find candidates for several users."""
        with self._call() as served:
            asked = read_batch(request.requests, served.stage.check)
            columns = [each.columns for each in request.requests]
            return write_batch(await self._answer(served, asked, columns, context))

    async def UpsertItems(  # noqa: N802
        self, request: retrieval_pb2.UpsertItemsRequest, context: Any
    ) -> retrieval_pb2.UpsertItemsResponse:
        """Add items or replace them whole."""
        del context
        with self._call() as served:
            applied = await self._change(served.stage, lambda: served.stage.writer.upsert(read_items(request.items)))
            return retrieval_pb2.UpsertItemsResponse(inserted=applied.inserted, replaced=applied.replaced)

    async def DeleteItems(  # noqa: N802
        self, request: retrieval_pb2.DeleteItemsRequest, context: Any
    ) -> retrieval_pb2.DeleteItemsResponse:
        """Remove items."""
        del context
        with self._call() as served:
            applied = await self._change(served.stage, lambda: served.stage.writer.delete(request.item_ids))
            return retrieval_pb2.DeleteItemsResponse(deleted=applied.deleted, missing=applied.missing)

    async def GetItems(  # noqa: N802
        self, request: retrieval_pb2.GetItemsRequest, context: Any
    ) -> retrieval_pb2.GetItemsResponse:
        """Read items."""
        del context
        with self._call() as served:
            found = await _on(served.stage.pool, lambda: served.stage.get_items(request.item_ids))
            return retrieval_pb2.GetItemsResponse(
                items=[write_item(item) for item in found if item is not None],
                missing_item_ids=[
                    item_id for item_id, item in zip(request.item_ids, found, strict=True) if item is None
                ],
            )

    @contextmanager
    def _call(self) -> Iterator[LoadedRelease]:
        """Lease the current release for a call, where there is room for one more."""
        if self._calls >= self._settings.max_calls:
            raise Overloaded(f"{self._calls} calls are under way; call again later")
        self._calls += 1
        try:
            with self._live.current() as served:
                yield served
        finally:
            self._calls -= 1

    async def _answer(
        self, served: LoadedRelease, asked: Sequence[Request], columns: Sequence[bool], context: Any
    ) -> list[bytes]:
        """Answer requests, each with columns or with candidates."""
        began = time.perf_counter()
        async with asyncio.timeout(remaining_s(context, self._settings.request_timeout_s)):
            ready = await self._embed(served.stage, asked)
            encode_s = time.perf_counter() - began
            snapshot = served.stage.snapshot
            waiting = [
                SearchRequest(request, snapshot, in_columns, began, encode_s)
                for request, in_columns in zip(ready, columns, strict=True)
            ]
            if len(waiting) <= MAX_BATCH:
                return await served.queue.ask(waiting)
            # As many parts at a time as there are threads, so that other calls get their turn between them.
            turns = asyncio.Semaphore(served.stage.threads)
            starts = range(0, len(waiting), MAX_BATCH)
            answers = await asyncio.gather(*(_in_turn(turns, served, waiting[at : at + MAX_BATCH]) for at in starts))
        return [response for part in answers for response in part]

    async def _embed(self, stage: FirstStage, asked: Sequence[Request]) -> list[Request]:
        """Put the queries' embeddings in place."""
        texts = [request.text for request in asked if request.has_text]
        if not texts:
            return list(asked)
        with self._metrics.encoding():
            vectors = iter(await asyncio.gather(*map(asyncio.wrap_future, stage.query_encoder.submit(texts))))
        return [request.embedded(next(vectors)) if request.has_text else request for request in asked]

    async def _change(self, stage: FirstStage, change: Callable[[], ChangeCounts]) -> ChangeCounts:
        """Make a change; once begun it is finished, whether or not its caller still waits."""
        applied = await _on(stage.writer.pool, change)
        self._metrics.observe_change(applied)
        return applied


async def _in_turn(turns: asyncio.Semaphore, served: LoadedRelease, asked: Sequence[SearchRequest]) -> list[bytes]:
    async with turns:
        return await served.queue.ask(asked)


async def _on(pool: Executor, work: Callable[[], T]) -> T:
    """Run work on other threads."""
    return await asyncio.get_running_loop().run_in_executor(pool, work)

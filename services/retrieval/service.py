"""The retrieval service: protobuf in, protobuf out."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import grpc
import structlog
from shortlist.release.v1 import release_pb2, release_pb2_grpc
from shortlist.retrieval.v1 import retrieval_pb2

from common.change_stream import StreamAddress
from common.channel import remaining_s
from common.errors import Overloaded
from common.filters import MAX_CONDITIONS
from common.live_release import LiveRelease
from common.release import Release
from common.release_service import NAME as RELEASE_NAME
from common.release_service import ReleaseService, release_info
from common.telemetry import Metrics
from services.retrieval import items, request
from services.retrieval.change_feed import ChangeFeed
from services.retrieval.effort import Effort
from services.retrieval.engines_open import EnginesOpen
from services.retrieval.first_stage import FirstStage
from services.retrieval.handlers import NAME, handlers
from services.retrieval.live_catalogue import Applied
from services.retrieval.log_feed import LogFeed
from services.retrieval.messages import read_batch, read_items, read_request, write_item
from services.retrieval.metrics import RetrievalMetrics
from services.retrieval.redis_feed import RedisFeed
from services.retrieval.request import MAX_BATCH_CANDIDATES, MAX_REQUESTS, Request
from services.retrieval.search_queue import MOST, SearchQueue
from services.retrieval.served import Answers, Asked, Served
from services.retrieval.settings import Settings
from services.retrieval.wire import write_batch

_LIMITS: Final = {
    "candidates": request.MAX_LIMIT,
    "history_items": request.MAX_HISTORY,
    "excluded_items": request.MAX_EXCLUDED,
    "requests": MAX_REQUESTS,
    "batch_candidates": MAX_BATCH_CANDIDATES,
    "items_a_call": items.MAX_ITEMS,
    "filter_conditions": MAX_CONDITIONS,
}
T = TypeVar("T")

_log = structlog.get_logger()


class RetrievalService:
    """Reads messages, leaves the event loop to search, and writes messages, candidates as bytes."""

    def __init__(self, live: LiveRelease[Served], settings: Settings, metrics: RetrievalMetrics) -> None:
        self._live = live
        self._settings = settings
        self._metrics = metrics
        self._calls = 0

    async def Retrieve(  # noqa: N802 - the contract's name
        self, request: retrieval_pb2.RetrieveRequest, context: Any
    ) -> bytes:
        """Find candidates for one person."""
        with self._call() as served:
            asked = read_request(request)
            served.stage.check(asked)
            return (await self._answer(served, [asked], [request.columns], context))[0]

    async def BatchRetrieve(  # noqa: N802
        self, request: retrieval_pb2.BatchRetrieveRequest, context: Any
    ) -> bytes:
        """Find candidates for several people."""
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
            applied = await self._change(served.stage, lambda: served.stage.upsert(read_items(request.items)))
            return retrieval_pb2.UpsertItemsResponse(inserted=applied.inserted, replaced=applied.replaced)

    async def DeleteItems(  # noqa: N802
        self, request: retrieval_pb2.DeleteItemsRequest, context: Any
    ) -> retrieval_pb2.DeleteItemsResponse:
        """Remove items."""
        del context
        with self._call() as served:
            applied = await self._change(served.stage, lambda: served.stage.delete(request.item_ids))
            return retrieval_pb2.DeleteItemsResponse(deleted=applied.deleted, missing=applied.missing)

    async def GetItems(  # noqa: N802
        self, request: retrieval_pb2.GetItemsRequest, context: Any
    ) -> retrieval_pb2.GetItemsResponse:
        """Read items."""
        del context
        with self._call() as served:
            found = await _on(served.stage.pool, lambda: served.stage.read(request.item_ids))
            return retrieval_pb2.GetItemsResponse(
                items=[write_item(item) for item in found if item is not None],
                missing_item_ids=[
                    item_id for item_id, item in zip(request.item_ids, found, strict=True) if item is None
                ],
            )

    @contextmanager
    def _call(self) -> Iterator[Served]:
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
        self, served: Served, asked: Sequence[Request], columns: Sequence[bool], context: Any
    ) -> list[bytes]:
        """Answer requests, each with columns or with candidates."""
        began = time.perf_counter()
        async with asyncio.timeout(remaining_s(context, self._settings.request_timeout_s)):
            ready = await self._embed(served.stage, asked)
            encode_s = time.perf_counter() - began
            view = served.stage.view
            waiting = [
                Asked(request, view, in_columns, began, encode_s)
                for request, in_columns in zip(ready, columns, strict=True)
            ]
            if len(waiting) <= MOST:
                return await served.queue.ask(waiting)
            # As many parts at a time as there are threads, so that other calls get their turn between them.
            turns = asyncio.Semaphore(served.stage.threads)
            starts = range(0, len(waiting), MOST)
            answers = await asyncio.gather(*(_in_turn(turns, served, waiting[at : at + MOST]) for at in starts))
        return [response for part in answers for response in part]

    async def _embed(self, stage: FirstStage, asked: Sequence[Request]) -> list[Request]:
        """Put the queries' embeddings in place."""
        texts = [request.text for request in asked if request.has_text]
        if not texts:
            return list(asked)
        with self._metrics.encoding():
            vectors = iter(await asyncio.gather(*map(asyncio.wrap_future, stage.queries.submit(texts))))
        return [request.embedded(next(vectors)) if request.has_text else request for request in asked]

    async def _change(self, stage: FirstStage, change: Callable[[], Applied]) -> Applied:
        """Make a change; once begun it is finished, whether or not its caller still waits."""
        applied = await _on(stage.writer, change)
        self._metrics.observe_change(applied)
        return applied


class RetrievalServer:
    """The retrieval service as `common.server` runs it."""

    names: Sequence[str] = (NAME, RELEASE_NAME)

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = RetrievalMetrics(metrics)
        self._feed: ChangeFeed | None = None
        self._engines = EnginesOpen()
        self._live: LiveRelease[Served] = LiveRelease(self._load, metrics)

    def register(self, server: grpc.aio.Server) -> None:
        """Add both services to a server."""
        service = RetrievalService(self._live, self._settings, self._metrics)
        server.add_generic_rpc_handlers((handlers(service),))
        release_pb2_grpc.add_ReleaseServiceServicer_to_server(ReleaseService(self._live, describe), server)

    async def start(self) -> None:
        """Recover the changes of the catalogue and load the release.

        Raises:
            NotReady: The changes can't be read or written.
            BadRelease: The release can't be served.
        """
        self._feed = await asyncio.to_thread(self._open_feed)
        await self._live.activate(self._settings.release)

    async def stop(self) -> None:
        """Let go of releases and of the changes."""
        self._engines.end()
        await self._live.close()
        if self._feed is not None:
            self._feed.close()

    def _open_feed(self) -> ChangeFeed:
        if self._settings.changes is None:
            return LogFeed(self._settings.data_dir)
        return RedisFeed(StreamAddress.parse(self._settings.changes), self._metrics.set_connected)

    def _load(self, release: Release) -> Served:
        with self._engines.opening(release.id):
            return self._open(release)

    def _open(self, release: Release) -> Served:
        options = dataclasses.replace(
            self._settings.first_stage_options(),
            on_batch=self._metrics.observe_batch,
            on_recall=self._metrics.observe_recall,
        )
        stage = FirstStage.load(release, options, self._feed)
        self._metrics.watch_items(lambda: stage.view.items)
        self._metrics.watch_audit(lambda: stage.unreachable, lambda: stage.audit_due)
        self._metrics.set_index(stage.numbers)
        _log.info(
            "first stage loaded",
            release_id=release.id,
            provider=stage.provider,
            index_vectors=stage.numbers,
            changes=stage.replayed,
        )
        answers = Answers(release.id, stage, self._effort(stage), self._metrics.observe, self._settings.candidate_cache)
        return Served(release, stage, SearchQueue(answers.write, stage.pool, stage.threads), self._engines)

    def _effort(self, stage: FirstStage) -> Effort:
        def apply(ef_search: int) -> None:
            stage.search_with(ef_search)
            self._metrics.set_ef_search(ef_search)

        settings = self._settings
        self._metrics.set_ef_search(settings.ef_search)
        target_s = settings.latency_target_ms / 1e3 or math.inf
        return Effort(settings.ef_search, settings.least_ef_search, target_s, apply)


def describe(served: Served) -> release_pb2.ReleaseInfo:
    """Tell what is being served."""
    info = release_info("retrieval", served.release, {"encoder": served.stage.provider})
    info.items = served.stage.view.items
    info.sources.extend(served.stage.sources)
    info.index_vectors = served.stage.numbers
    info.limits.update(_LIMITS)
    return info


async def _in_turn(turns: asyncio.Semaphore, served: Served, asked: Sequence[Asked]) -> list[bytes]:
    async with turns:
        return await served.queue.ask(asked)


async def _on(pool: Executor, work: Callable[[], T]) -> T:
    """Run work on other threads."""
    return await asyncio.get_running_loop().run_in_executor(pool, work)

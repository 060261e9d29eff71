"""The retrieval service: protobuf in, protobuf out."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from functools import partial
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
from services.retrieval.catalogue_view import CatalogueView
from services.retrieval.change_feed import ChangeFeed
from services.retrieval.effort import Effort
from services.retrieval.first_stage import FirstStage, embedded
from services.retrieval.handlers import NAME, handlers
from services.retrieval.live_catalogue import Applied
from services.retrieval.log_feed import LogFeed
from services.retrieval.messages import read_batch, read_items, read_request, write_item, write_response
from services.retrieval.metrics import RetrievalMetrics
from services.retrieval.redis_feed import RedisFeed
from services.retrieval.request import MAX_BATCH_CANDIDATES, MAX_REQUESTS, Candidates, Request
from services.retrieval.settings import Settings
from services.retrieval.wire import candidate_fragments, id_fragments, write_batch, write_candidates, write_columns

_LIMITS: Final = {
    "candidates": request.MAX_LIMIT,
    "history_items": request.MAX_HISTORY,
    "excluded_items": request.MAX_EXCLUDED,
    "requests": MAX_REQUESTS,
    "batch_candidates": MAX_BATCH_CANDIDATES,
    "items_a_call": items.MAX_ITEMS,
    "filter_conditions": MAX_CONDITIONS,
}
# Requests of a batch that one thread answers in a row.
_PART: Final = 16

T = TypeVar("T")

_log = structlog.get_logger()


@dataclasses.dataclass(frozen=True)
class Served:
    """A release, the first stage made of it, how its answers are written, and how hard it searches."""

    release: Release
    stage: FirstStage
    candidates: Callable[[Candidates], bytes]
    columns: Callable[[Candidates], bytes]
    effort: Effort

    def close(self) -> None:
        """Let go of the first stage."""
        self.stage.close()


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
            respond = partial(self._respond, served, served.stage.view, began, time.perf_counter() - began)
            if len(ready) <= _PART:
                return await _on(served.stage.pool, partial(respond, ready, columns))
            starts = range(0, len(ready), _PART)
            parts = [partial(respond, ready[at : at + _PART], columns[at : at + _PART]) for at in starts]
            # As many parts at a time as there are threads, so that other calls get their turn between them.
            turns = asyncio.Semaphore(served.stage.threads)
            answers = await asyncio.gather(*(_in_turn(turns, served.stage, part) for part in parts))
        return [response for part in answers for response in part]

    async def _embed(self, stage: FirstStage, asked: Sequence[Request]) -> list[Request]:
        """Put the queries' embeddings in place."""
        texts = [request.text for request in asked if request.has_text]
        if not texts:
            return list(asked)
        with self._metrics.encoding():
            vectors = iter(await asyncio.gather(*map(asyncio.wrap_future, stage.queries.submit(texts))))
        return [embedded(request, next(vectors)) if request.has_text else request for request in asked]

    def _respond(
        self,
        served: Served,
        view: CatalogueView,
        began: float,
        encode_s: float,
        asked: Sequence[Request],
        columns: Sequence[bool],
    ) -> list[bytes]:
        """Search and write the answers; in a thread, since a batch's answers take long to write too."""
        responses = []
        answers = served.stage.search(asked, view)
        self._metrics.observe(answers)
        for candidates, in_columns in zip(answers, columns, strict=True):
            total_s = time.perf_counter() - began
            served.effort.observe(total_s - encode_s)
            written = served.columns(candidates) if in_columns else served.candidates(candidates)
            responses.append(write_response(candidates, written, served.release.id, encode_s, total_s))
        return responses

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
        await self._live.close()
        if self._feed is not None:
            self._feed.close()

    def _open_feed(self) -> ChangeFeed:
        if self._settings.changes is None:
            return LogFeed(self._settings.data_dir)
        return RedisFeed(StreamAddress.parse(self._settings.changes), self._metrics.set_connected)

    def _load(self, release: Release) -> Served:
        options = dataclasses.replace(
            self._settings.first_stage_options(),
            on_batch=self._metrics.observe_batch,
            on_recall=self._metrics.observe_recall,
        )
        stage = FirstStage.load(release, options, self._feed)
        self._metrics.watch_items(lambda: stage.view.items)
        _log.info("first stage loaded", release_id=release.id, provider=stage.provider, changes=stage.replayed)
        kept = self._settings.candidate_cache
        return Served(
            release=release,
            stage=stage,
            candidates=partial(write_candidates, fragments=candidate_fragments(kept, stage.tail)),
            columns=partial(write_columns, fragments=id_fragments(kept)),
            effort=self._effort(stage),
        )

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
    info.limits.update(_LIMITS)
    return info


async def _in_turn(turns: asyncio.Semaphore, stage: FirstStage, work: Callable[[], T]) -> T:
    async with turns:
        return await _on(stage.pool, work)


async def _on(pool: Executor, work: Callable[[], T]) -> T:
    """Run work on other threads."""
    return await asyncio.get_running_loop().run_in_executor(pool, work)

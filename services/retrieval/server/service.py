"""The methods of the retrieval RPC service: messages in, messages out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from shortlist.retrieval.v1 import retrieval_pb2

from common.errors import NotReady, Overloaded
from common.server.channel import remaining_s
from common.server.event_loop import MAX_BYTES_ON_LOOP
from common.server.interceptors import sends_large_answers
from common.server.live_release import LiveRelease
from common.tracing.spans import child_span
from services.retrieval.candidates.completion import complete
from services.retrieval.candidates.facet_counting import count_candidates, count_matching
from services.retrieval.candidates.first_stage import FirstStage
from services.retrieval.candidates.request import Request, check_batch, check_batch_size
from services.retrieval.catalogue.live_catalogue import ChangeCounts
from services.retrieval.changes.text_log import TextLog
from services.retrieval.server.loaded_release import LoadedRelease
from services.retrieval.server.methods.browse_messages import (
    read_complete,
    read_list_facets,
    write_facets,
    write_suggestions,
)
from services.retrieval.server.metrics import RetrievalMetrics
from services.retrieval.server.request_messages import read_items, read_request, read_requests, read_wait_s
from services.retrieval.server.response_encoding import encode_batch
from services.retrieval.server.response_messages import write_item, write_texts
from services.retrieval.server.search_worker import Form, SearchRequest
from services.retrieval.settings import Settings

T = TypeVar("T")
# Looking up their words takes a millisecond or two; those of a batch of long queries would take half a second.
_MAX_CHARACTERS_ON_LOOP: Final = 2_000


class RetrievalService:
    """Reads requests on the event loop, and hands searches and changes to threads.

    Responses with candidates are bytes: the search threads serialise them.

    Args:
        live: The release being served.
        settings: Bounds of calls.
        metrics: Observes embeddings and changes.
        text_log: Returns the log of changed items' texts.
    """

    def __init__(
        self,
        live: LiveRelease[LoadedRelease],
        settings: Settings,
        metrics: RetrievalMetrics,
        text_log: Callable[[], Awaitable[TextLog]],
    ) -> None:
        self._live = live
        self._text_log = text_log
        self._settings = settings
        self._metrics = metrics
        self._calls = 0

    async def Retrieve(  # noqa: N802 - the contract's name
        self, message: retrieval_pb2.RetrieveRequest, context: Any
    ) -> bytes:
        """Find candidates for one user."""
        with self._release_for_call() as release:
            request = read_request(message)
            release.stage.check(request)
            return (await self._search(release, [request], [_form(message)], context))[0]

    @sends_large_answers
    async def BatchRetrieve(  # noqa: N802
        self, message: retrieval_pb2.BatchRetrieveRequest, context: Any
    ) -> bytes:
        """Find candidates for several users."""
        with self._release_for_call() as release:
            check_batch_size(len(message.requests))

            def read() -> list[Request]:
                requests = read_requests(message.requests)
                check_batch(requests, release.stage.check)
                return requests

            is_large = message.ByteSize() > MAX_BYTES_ON_LOOP
            requests = await _run_on(release.stage.pool, read) if is_large else read()
            forms = [_form(each) for each in message.requests]
            return encode_batch(await self._search(release, requests, forms, context))

    async def UpsertItems(  # noqa: N802
        self, message: retrieval_pb2.UpsertItemsRequest, context: Any
    ) -> retrieval_pb2.UpsertItemsResponse:
        """Add items or replace them whole."""
        del context
        with self._release_for_call() as release:
            counts = await self._change(release.stage, lambda: release.stage.writer.upsert(read_items(message.items)))
            return retrieval_pb2.UpsertItemsResponse(inserted=counts.inserted, replaced=counts.replaced)

    async def DeleteItems(  # noqa: N802
        self, message: retrieval_pb2.DeleteItemsRequest, context: Any
    ) -> retrieval_pb2.DeleteItemsResponse:
        """Remove items."""
        del context
        with self._release_for_call() as release:
            counts = await self._change(release.stage, lambda: release.stage.writer.delete(message.item_ids))
            return retrieval_pb2.DeleteItemsResponse(deleted=counts.deleted, missing=counts.missing)

    @sends_large_answers
    async def GetItems(  # noqa: N802
        self, message: retrieval_pb2.GetItemsRequest, context: Any
    ) -> retrieval_pb2.GetItemsResponse:
        """Read items."""
        del context
        with self._release_for_call() as release:
            items = await _run_on(release.stage.pool, lambda: release.stage.get_items(message.item_ids))
            return retrieval_pb2.GetItemsResponse(
                items=[write_item(item) for item in items if item is not None],
                missing_item_ids=[
                    item_id for item_id, item in zip(message.item_ids, items, strict=True) if item is None
                ],
            )

    async def ReadItemTexts(  # noqa: N802
        self, message: retrieval_pb2.ReadItemTextsRequest, context: Any
    ) -> retrieval_pb2.ReadItemTextsResponse:
        """Read the texts of changed items; does not count as a call in progress, since it mostly waits."""
        wait_s = min(read_wait_s(message), remaining_s(context) / 2)
        log = await self._text_log()
        return write_texts(await log.read_or_wait(message.log_id, message.position, wait_s))

    async def Complete(  # noqa: N802
        self, message: retrieval_pb2.CompleteRequest, context: Any
    ) -> retrieval_pb2.CompleteResponse:
        """Complete what a user types; waits while the titles of a new release are indexed."""
        with self._release_for_call() as release:
            typed, limit = read_complete(message)
            stage = release.stage
            if stage.suggestions is None:
                raise NotReady("this server does not complete texts; start it with --suggestions true")
            async with asyncio.timeout(remaining_s(context, self._settings.request_timeout_s)):
                index = await asyncio.shield(asyncio.wrap_future(stage.suggestions))
                found = await _run_on(stage.pool, lambda: complete(stage, index, typed, limit))
            self._metrics.observe_suggestions(found)
            return write_suggestions(found, release.release.id)

    async def ListFacets(  # noqa: N802
        self, message: retrieval_pb2.ListFacetsRequest, context: Any
    ) -> retrieval_pb2.ListFacetsResponse:
        """Count the values of attributes."""
        with self._release_for_call() as release:
            stage = release.stage
            request, facets = read_list_facets(message)
            stage.check(request)
            facets.check(stage.item_filter.table.schema)
            async with asyncio.timeout(remaining_s(context, self._settings.request_timeout_s)):
                if not request.text:
                    counted = await _run_on(stage.pool, lambda: count_matching(stage, facets, request.filter))
                else:
                    (embedded,) = await self._embed(stage, [request])
                    counted = await _run_on(stage.pool, lambda: count_candidates(stage, facets, embedded))
            return write_facets(counted, release.release.id, of_candidates=bool(request.text))

    @contextmanager
    def _release_for_call(self) -> Iterator[LoadedRelease]:
        """Lease the current release for a call; raises Overloaded if there are `max_calls` calls already."""
        if self._calls >= self._settings.max_calls:
            raise Overloaded(f"{self._calls} calls are in progress; call again later")
        self._calls += 1
        try:
            with self._live.lease() as release:
                yield release
        finally:
            self._calls -= 1

    async def _search(
        self, release: LoadedRelease, requests: Sequence[Request], forms: Sequence[Form], context: Any
    ) -> list[bytes]:
        """Embed the queries of checked requests and search; returns a serialised response for each request."""
        arrived_s = time.perf_counter()
        async with asyncio.timeout(remaining_s(context, self._settings.request_timeout_s)):
            embedded = await self._embed(release.stage, await self._corrected(release.stage, requests))
            encode_s = time.perf_counter() - arrived_s
            snapshot = release.stage.snapshot
            searches = [
                SearchRequest(request, snapshot, form, arrived_s, encode_s)
                for request, form in zip(embedded, forms, strict=True)
            ]
            with child_span("search"):
                return await release.batcher.submit(searches, yields=all(each.is_batch for each in requests))

    async def _corrected(self, stage: FirstStage, requests: Sequence[Request]) -> Sequence[Request]:
        """Return the requests with the spelling of their queries repaired."""
        snapshot = stage.snapshot
        is_short = sum(len(request.query) for request in requests) <= _MAX_CHARACTERS_ON_LOOP
        if is_short and not any(stage.needs_repair(request, snapshot) for request in requests):
            return requests
        with self._metrics.repairing(), child_span("repair"):
            return await _run_on(stage.pool, lambda: [stage.corrected(request, snapshot) for request in requests])

    async def _embed(self, stage: FirstStage, requests: Sequence[Request]) -> list[Request]:
        """Return the requests with their queries' embeddings."""
        texts = [request.text for request in requests if request.has_text]
        if not texts:
            return list(requests)
        with self._metrics.encoding(), child_span("encode"):
            vectors = iter(await asyncio.gather(*map(asyncio.wrap_future, stage.query_encoder.submit(texts))))
        return [request.embedded(next(vectors)) if request.has_text else request for request in requests]

    async def _change(self, stage: FirstStage, change: Callable[[], ChangeCounts]) -> ChangeCounts:
        """Change the catalogue; a change that has started is finished even if its call is cancelled."""
        counts = await _run_on(stage.writer.pool, change)
        self._metrics.observe_change(counts)
        return counts


def _form(message: retrieval_pb2.RetrieveRequest) -> Form:
    if message.columns:
        return "columns"
    return "source columns" if message.source_columns else "candidates"


async def _run_on(pool: Executor, work: Callable[[], T]) -> T:
    """Run work on a thread of a pool."""
    return await asyncio.get_running_loop().run_in_executor(pool, work)

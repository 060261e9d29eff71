"""A ranking server that reads the texts of changed items from a retrieval server, over the wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from shortlist.ranking.v1 import ranking_pb2, ranking_pb2_grpc
from shortlist.retrieval.v1 import retrieval_pb2, retrieval_pb2_grpc

from common.server.channel import open_channel
from common.server.server import running
from common.server.telemetry import Metrics
from pipeline.local_services import free_ports
from services.ranking.server.server import RankingServer
from services.ranking.settings import Settings as RankingSettings
from services.retrieval.server.server import RetrievalServer
from services.retrieval.settings import Settings as RetrievalSettings

TIMEOUT_S = 30.0
MILK = "dairy-milk-red-0"


class Services:
    """A retrieval server that can be stopped and started on its port, and a ranking server that follows it."""

    def __init__(self, release: Path, folder: Path) -> None:
        self.data_dir = folder / "changes"
        (self._port,) = free_ports(1)
        self._release = str(release)
        self._retrieval = AsyncExitStack()
        self.metrics = Metrics("ranking")

    async def start_retrieval(self) -> None:
        """Serve retrieval over the folder of changes."""
        settings = RetrievalSettings(
            release=self._release, port=self._port, metrics_port=0, data_dir=self.data_dir, drain_timeout_s=0.1
        )
        metrics = Metrics("retrieval")
        server = running(RetrievalServer(settings, metrics), settings, metrics)
        ports = await self._retrieval.enter_async_context(server)
        channel = await self._retrieval.enter_async_context(open_channel(f"127.0.0.1:{ports.port}"))
        self.retrieval = retrieval_pb2_grpc.RetrievalServiceStub(channel)

    async def stop_retrieval(self) -> None:
        """Stop retrieval, if it runs."""
        await self._retrieval.aclose()

    @asynccontextmanager
    async def ranking(self, **settings: Any) -> AsyncIterator[ranking_pb2_grpc.RankingServiceStub]:
        """Serve ranking while the body runs."""
        target, self.metrics = f"127.0.0.1:{self._port}", Metrics("ranking")
        all_settings = RankingSettings(
            release=self._release, port=0, metrics_port=0, retrieval_target=target, cross_encoder_depth=10, **settings
        )
        async with (
            running(RankingServer(all_settings, self.metrics), all_settings, self.metrics) as ports,
            open_channel(f"127.0.0.1:{ports.port}") as channel,
        ):
            yield ranking_pb2_grpc.RankingServiceStub(channel)

    async def upsert(self, item_id: str, title: str) -> None:
        """Add or replace an item."""
        item = retrieval_pb2.Item(item_id=item_id, title=title)
        await self.retrieval.UpsertItems(
            retrieval_pb2.UpsertItemsRequest(items=[item]), timeout=TIMEOUT_S, wait_for_ready=True
        )

    async def delete(self, item_id: str) -> None:
        """Remove an item."""
        await self.retrieval.DeleteItems(retrieval_pb2.DeleteItemsRequest(item_ids=[item_id]), timeout=TIMEOUT_S)

    def connected(self) -> float | None:
        """Return the gauge of the connection."""
        return self.metrics.registry.get_sample_value("shortlist_ranking_item_texts_connected")


@pytest.fixture
async def services(tiny_release: Path, tmp_path: Path) -> AsyncIterator[Services]:
    both = Services(tiny_release, tmp_path)
    yield both
    await both.stop_retrieval()


async def _words(stub: Any, item_id: str) -> list[str] | None:
    """Explain an item; returns the words that were read, None if ranking does not know the item."""
    request = ranking_pb2.ExplainRequest(
        user=ranking_pb2.UserContext(query="milk"), candidate=ranking_pb2.RankCandidate(item_id=item_id)
    )
    try:
        answer = await stub.Explain(request, timeout=TIMEOUT_S)
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.NOT_FOUND:
            raise
        return None
    return [word.part for word in answer.item_words]


async def _logit(stub: Any, **candidate: str) -> float:
    request = ranking_pb2.RankRequest(
        user=ranking_pb2.UserContext(query="milk"), candidates=[ranking_pb2.RankCandidate(**candidate)]
    )
    answer: ranking_pb2.RankResponse = await stub.Rank(request, timeout=TIMEOUT_S)
    return answer.items[0].cross_encoder_logit


async def _until(condition: Callable[[], Any]) -> None:
    """Wait until a condition holds, which may be a coroutine's result."""
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            holds = condition()
            if await holds if asyncio.iscoroutine(holds) else holds:
                return
            await asyncio.sleep(0.01)


async def _reads(stub: Any, item_id: str, words: list[str] | None) -> None:
    async def is_read() -> bool:
        return await _words(stub, item_id) == words

    await _until(is_read)


async def test_rank_and_explain_read_the_new_text(services: Services):
    """Of a replaced and of an added item, without a text in the request; a deleted item is the release's again."""
    await services.start_retrieval()
    async with services.ranking() as stub:
        before = await _words(stub, MILK)
        await services.upsert(MILK, "large towel")
        await services.upsert("new", "fresh butter")
        await _reads(stub, MILK, ["large", "towel"])
        await _reads(stub, "new", ["fresh", "butter"])
        expected = await _logit(stub, item_id=MILK, text="large towel")
        assert await _logit(stub, item_id=MILK) == pytest.approx(expected, abs=1e-6)
        await services.upsert(MILK, "small soap")
        await _reads(stub, MILK, ["small", "soap"])
        await services.delete(MILK)
        await services.delete("new")
        await _reads(stub, MILK, before)
        await _reads(stub, "new", None)


async def test_changes_from_before_the_start_are_known_at_the_first_call(services: Services):
    """A server that starts serves only once it has read everything, and keeps nothing itself."""
    await services.start_retrieval()
    for number in range(3):
        await services.upsert(MILK, f"large towel {number}")
    for _ in range(2):  # the second start finds the same, since the texts are retrieval's
        async with services.ranking() as stub:
            assert await _words(stub, MILK) == ["large", "towel", "2"]
            assert services.connected() == 1


async def test_a_restart_of_retrieval_loses_no_text(services: Services):
    """Meanwhile the known texts are used and the metric is 0; afterwards new changes arrive."""
    await services.start_retrieval()
    async with services.ranking() as stub:
        await services.upsert(MILK, "large towel")
        await _reads(stub, MILK, ["large", "towel"])
        await services.stop_retrieval()
        await _until(lambda: services.connected() == 0)
        assert await _words(stub, MILK) == ["large", "towel"]
        await services.start_retrieval()
        await _until(lambda: services.connected() == 1)
        assert await _words(stub, MILK) == ["large", "towel"]
        await services.upsert(MILK, "small soap")
        await _reads(stub, MILK, ["small", "soap"])


async def test_texts_of_a_dropped_log_are_dropped(services: Services):
    """If retrieval comes back without its log, the release's texts count: the release has the changes by then."""
    await services.start_retrieval()
    async with services.ranking() as stub:
        before = await _words(stub, MILK)
        await services.upsert(MILK, "large towel")
        await _reads(stub, MILK, ["large", "towel"])
        await services.stop_retrieval()
        services.data_dir = services.data_dir.with_name("empty")
        await services.start_retrieval()
        await _reads(stub, MILK, before)


async def test_ranking_starts_without_retrieval_and_finds_it_later(services: Services):
    """The release's texts are used until then."""
    async with services.ranking(texts_wait_s=0.1) as stub:
        assert services.connected() == 0
        assert await _words(stub, MILK) is not None
        await services.start_retrieval()
        await services.upsert(MILK, "large towel")
        await _reads(stub, MILK, ["large", "towel"])


async def test_a_wait_beyond_the_limit_is_refused(services: Services):
    """The limit keeps retrieval's drain short."""
    await services.start_retrieval()
    for wait_s in (10.5, -1.0, float("nan")):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await services.retrieval.ReadItemTexts(retrieval_pb2.ReadItemTextsRequest(wait_s=wait_s), timeout=TIMEOUT_S)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "wait_s: must be 0 to 10" in str(refused.value.details())

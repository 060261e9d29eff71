"""The retrieval service over the wire, on a small real release."""

from __future__ import annotations

import asyncio
import math
import shutil
import subprocess
import sys
import threading
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from shortlist.release.v1 import release_pb2, release_pb2_grpc
from shortlist.retrieval.v1 import retrieval_pb2, retrieval_pb2_grpc

from common.channel import open_channel
from common.errors import NotReady
from common.layout import POPULARITY
from common.release import describe_files, open_release, publish, release_id
from common.server import running
from common.telemetry import Metrics
from services.retrieval.first_stage import FirstStage
from services.retrieval.handlers import NAME
from services.retrieval.service import RetrievalServer
from services.retrieval.settings import Settings

TIMEOUT_S = 30.0
DIMENSION = 32

Filter = retrieval_pb2.Filter
Item = retrieval_pb2.Item
Match = retrieval_pb2.Match
Range = retrieval_pb2.Range
List = retrieval_pb2.FilterList


class Running:
    """A server and a channel to it."""

    def __init__(self, server: RetrievalServer, metrics_port: int, channel: grpc.aio.Channel) -> None:
        self.server = server
        self.metrics_port = metrics_port
        self.channel = channel
        self.stub = retrieval_pb2_grpc.RetrievalServiceStub(channel)
        self.release = release_pb2_grpc.ReleaseServiceStub(channel)

    async def retrieve(self, **request: Any) -> retrieval_pb2.RetrieveResponse:
        """Retrieve candidates."""
        return await self.stub.Retrieve(retrieval_pb2.RetrieveRequest(**request), timeout=TIMEOUT_S)

    async def upsert(self, *items: Item) -> retrieval_pb2.UpsertItemsResponse:
        """Upsert items."""
        return await self.stub.UpsertItems(retrieval_pb2.UpsertItemsRequest(items=items), timeout=TIMEOUT_S)

    async def delete(self, *item_ids: str) -> retrieval_pb2.DeleteItemsResponse:
        """Delete items."""
        return await self.stub.DeleteItems(retrieval_pb2.DeleteItemsRequest(item_ids=item_ids), timeout=TIMEOUT_S)

    async def read(self, *item_ids: str) -> retrieval_pb2.GetItemsResponse:
        """Read items."""
        return await self.stub.GetItems(retrieval_pb2.GetItemsRequest(item_ids=item_ids), timeout=TIMEOUT_S)

    def stage(self) -> FirstStage:
        """Return the first stage being served."""
        with self.server._live.current() as served:
            return served.stage


Serve = Callable[..., AbstractAsyncContextManager[Running]]


@pytest.fixture
def serve(tiny_release: Path, tmp_path: Path) -> Serve:
    """Return how a retrieval service is run; each keeps its changes in the same folder."""

    @asynccontextmanager
    async def serve_(**given: Any) -> AsyncIterator[Running]:
        values = {"release": str(tiny_release), "data_dir": tmp_path / "changes", "request_timeout_s": 60.0} | given
        settings, metrics = Settings(port=0, metrics_port=0, **values), Metrics("retrieval")
        server = RetrievalServer(settings, metrics)
        async with running(server, settings, metrics) as ports, open_channel(f"127.0.0.1:{ports.port}") as channel:
            yield Running(server, ports.metrics_port, channel)

    return serve_


@pytest.fixture
async def service(serve: Serve) -> AsyncIterator[Running]:
    """Return a running retrieval service."""
    async with serve() as service:
        yield service


@pytest.fixture
def history(tiny_release: Path) -> list[str]:
    """Return items that the release knows, all of one shelf."""
    popularity = np.load(open_release(str(tiny_release)).file(POPULARITY))
    assert popularity.max() > 0
    return ["dairy-milk-red-0", "dairy-milk-white-0", "dairy-cheese-fresh-1"]


def refused(raised: pytest.ExceptionInfo[grpc.aio.AioRpcError], code: grpc.StatusCode, message: str) -> None:
    """Check what a call was refused with."""
    assert raised.value.code() is code
    assert message in (raised.value.details() or "")


def ids(response: retrieval_pb2.RetrieveResponse) -> list[str]:
    """Return the ids of the candidates."""
    return [candidate.item_id for candidate in response.candidates]


async def test_candidates_for_a_history(service: Running, history: list[str]):
    """Candidates come by falling score, ties by id, with what each source said and the item's attributes."""
    response = await service.retrieve(history_item_ids=[*history, "unheard of", "unheard of"])
    assert len(set(ids(response))) == 100
    assert response.ignored_history_items == 2
    assert response.release_id == service.server._live.current_id
    order = [(-candidate.score, candidate.item_id) for candidate in response.candidates]
    assert order == sorted(order)
    best = response.candidates[0]
    assert best.sources
    assert [source.source for source in best.sources] == sorted(source.source for source in best.sources)
    assert all(math.isfinite(source.score) for candidate in response.candidates for source in candidate.sources)
    assert (best.category, best.text) == ("dairy", "")
    assert best.title
    assert response.timings.total_ms >= response.timings.search_ms > 0
    assert response.timings.encode_ms == 0 or response.timings.encode_ms < response.timings.total_ms


async def test_candidates_for_a_query(service: Running):
    """A query is embedded, and a vector in its place finds the same."""
    by_text = await service.retrieve(query="  large towel. household ", sources=["semantic"], limit=7)
    vector = service.stage().queries.encode(["large towel. household"])[0]
    by_vector = await service.retrieve(query="apple", vector=(3 * vector).tolist(), sources=["semantic"], limit=7)
    assert ids(by_text) == ids(by_vector)
    assert len(by_text.candidates) == 7
    assert by_text.timings.encode_ms > 0


async def test_candidates_for_nobody(service: Running):
    """With nothing known of the person the popular items come first."""
    response = await service.retrieve(limit=1_000)
    stage = service.stage()
    popularity = np.load(service.server._live._current.engine.release.file(POPULARITY))
    rows = stage.view.rows_of(ids(response))
    assert len(rows) == stage.view.items
    assert popularity[rows[0]] == popularity.max()


@pytest.mark.parametrize(
    ("condition", "passes"),
    [
        (Filter(match=Match(attribute="category", values=["fruit"])), lambda item: item.category == "fruit"),
        (Filter(match=Match(attribute="available", values=["true"])), lambda _: True),
        (Filter(range=Range(attribute="price", min=6)), lambda item: item.HasField("price") and item.price >= 6),
        (Filter(range=Range(attribute="price", min=7, max=7)), lambda item: item.price == 7),
        (
            Filter(
                all_of=List(
                    filters=[
                        Filter(none_of=List(filters=[Filter(match=Match(attribute="department", values=["food"]))])),
                        Filter(any_of=List(filters=[Filter(match=Match(attribute="brand", values=["acme"]))])),
                    ]
                )
            ),
            lambda item: item.category == "household" and item.brand == "acme",
        ),
        (Filter(any_of=List()), lambda _: False),
    ],
)
async def test_filters_over_the_wire(
    service: Running, history: list[str], condition: Filter, passes: Callable[[retrieval_pb2.Candidate], bool]
):
    """Exactly the items that pass the filter are answered."""
    everything = (await service.retrieve(limit=1_000)).candidates
    answer = await service.retrieve(history_item_ids=history, query="bread", filter=condition, limit=1_000)
    assert set(ids(answer)) == {candidate.item_id for candidate in everything if passes(candidate)}


async def test_excluded_items_and_chosen_sources(service: Running, history: list[str]):
    """Excluded items are not returned, and only the sources named are drawn from."""
    before = await service.retrieve(history_item_ids=history, sources=["similar"], limit=20)
    excluded = ids(before)[:5]
    after = await service.retrieve(
        history_item_ids=history, sources=["similar"], limit=20, exclude_item_ids=[*excluded, "unheard of"]
    )
    assert not set(excluded) & set(ids(after))
    assert {source.source for candidate in after.candidates for source in candidate.sources} == {"similar"}


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"limit": 0}, "limit: 0 is not 1 to 1000; leave it unset for 100"),
        ({"limit": 1_001}, "limit: 1001 is not 1 to 1000"),
        ({"limit": 10_000_000}, "limit: 10000000 is not"),
        ({"query": "x" * 1_001}, "query: 1,001 characters; at most 1,000"),
        ({"vector": [1.0] * 3}, "vector: 3 numbers; the encoder's embeddings have 32"),
        ({"vector": [math.nan] * DIMENSION}, "vector: holds NaN or infinity"),
        ({"vector": [0.0] * DIMENSION}, "vector: is all zero"),
        ({"history_item_ids": ["x"] * 10_001}, "history_item_ids: 10,001 given; at most 10,000"),
        ({"history_item_ids": ["x" * 1_000_000]}, "history_item_ids[0]: longer than the 256 bytes"),
        ({"exclude_item_ids": ["x"] * 10_001}, "exclude_item_ids: 10,001 given; at most 10,000"),
        ({"sources": ["magic"]}, "sources[0]: no source 'magic'; there are follow, popular, repeat, semantic, similar"),
        ({"filter": Filter()}, "filter: has no kind; set one of match, range, all_of, any_of, none_of"),
        (
            {"filter": Filter(match=Match(attribute="colour", values=["red"]))},
            "filter.match.attribute: the catalogue has",
        ),
        ({"filter": Filter(match=Match(attribute="brand"))}, "filter.match.values: 0 values; give 1 to 1000"),
        ({"filter": Filter(range=Range(attribute="brand"))}, "filter.range.attribute: 'brand' is not numeric"),
        ({"filter": Filter(range=Range(attribute="price", min=2, max=1))}, "filter.range.min: 2.0 is above max 1.0"),
        ({"filter": Filter(all_of=List(filters=[Filter()]))}, "filter.all_of.filters[0]: has no kind"),
    ],
)
async def test_bad_requests(service: Running, request_: dict[str, Any], message: str):
    """What the contract forbids is INVALID_ARGUMENT that names the field, in a batch with its position."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await service.retrieve(**request_)
    refused(raised, grpc.StatusCode.INVALID_ARGUMENT, message)
    batch = [retrieval_pb2.RetrieveRequest(), retrieval_pb2.RetrieveRequest(**request_)]
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await service.stub.BatchRetrieve(retrieval_pb2.BatchRetrieveRequest(requests=batch), timeout=TIMEOUT_S)
    refused(raised, grpc.StatusCode.INVALID_ARGUMENT, f"requests[1].{message}")


async def test_filters_that_are_too_deep(service: Running):
    """A filter of nine levels is refused with the place."""
    condition = Filter(range=Range(attribute="price"))
    for _ in range(8):
        condition = Filter(none_of=List(filters=[condition]))
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await service.retrieve(filter=condition)
    refused(raised, grpc.StatusCode.INVALID_ARGUMENT, "deeper than 8 levels")
    assert (await service.retrieve(filter=condition.none_of.filters[0])).candidates


async def test_a_batch_answers_each_request(service: Running, history: list[str]):
    """A batch has the answers of as many single calls, in its order."""
    requests = [
        retrieval_pb2.RetrieveRequest(query=query, history_item_ids=history[: number % 4], limit=5 + number)
        for number, query in enumerate(["", "milk", "fresh bread", "", "soap", "milk"] * 4)
    ]
    batch = await service.stub.BatchRetrieve(retrieval_pb2.BatchRetrieveRequest(requests=requests), timeout=TIMEOUT_S)
    singles = [await service.stub.Retrieve(request, timeout=TIMEOUT_S) for request in requests]
    assert [list(answer.candidates) for answer in batch.responses] == [list(answer.candidates) for answer in singles]


@pytest.mark.parametrize("count", [0, 257])
async def test_batches_of_a_wrong_size(service: Running, count: int):
    """A batch has 1 to 256 requests."""
    requests = [retrieval_pb2.RetrieveRequest()] * count
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await service.stub.BatchRetrieve(retrieval_pb2.BatchRetrieveRequest(requests=requests), timeout=TIMEOUT_S)
    refused(raised, grpc.StatusCode.INVALID_ARGUMENT, f"requests: {count} given; give 1 to 256")


async def test_changes_are_seen_by_the_next_search(service: Running):
    """Upserted items are found and read, new ones with the text that ranking needs; deleted ones are gone."""
    new = Item(item_id="new", title="large yogurt", brand="zenith", category="dairy", price=2.5, available=True)
    changed = Item(item_id="dairy-milk-red-0", title="red milk", category="drinks")
    answer = await service.upsert(new, changed)
    assert (answer.inserted, answer.replaced) == (1, 1)
    read = await service.read("new", "nothing", "dairy-milk-red-0")
    assert list(read.items) == [
        new,
        Item(item_id="dairy-milk-red-0", title="red milk", category="drinks", available=True),
    ]
    assert list(read.missing_item_ids) == ["nothing"]
    found = await service.retrieve(query="large yogurt. zenith. dairy", sources=["semantic"], limit=1_000)
    by_id = {candidate.item_id: candidate for candidate in found.candidates}
    assert found.candidates[0].item_id == "new"
    assert (by_id["new"].text, by_id["new"].price, by_id["new"].available) == (
        "large yogurt. zenith. dairy",
        2.5,
        True,
    )
    assert by_id["dairy-milk-red-0"].text == "red milk. drinks"
    assert by_id["dairy-milk-white-1"].text == ""
    gone = await service.delete("new", "dairy-milk-white-0", "nothing", "nothing")
    assert (gone.deleted, gone.missing) == (2, 1)
    assert not {"new", "dairy-milk-white-0"} & set(ids(await service.retrieve(limit=1_000)))
    assert (await service.release.GetRelease(release_pb2.GetReleaseRequest())).release.items == len(by_id) - 2


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (Item(title="x"), "items[1].item_id: 0 bytes"),
        (Item(item_id="x" * 1_000_000, title="x"), "items[1].item_id: 1000000 bytes; an item's id has 1 to 256"),
        (Item(item_id="x"), "items[1].title: is empty"),
        (Item(item_id="x", title="x", price=math.nan), "items[1].price: nan is no price"),
        (Item(item_id="x", title="x", vector=[1.0]), "items[1].vector: 1 numbers; the encoder's embeddings have 32"),
        (Item(item_id="x", title="x", vector=[math.nan] * DIMENSION), "items[1].vector: holds NaN"),
        (Item(item_id="good", title="x"), "items: 'good' stands more than once"),
    ],
)
async def test_bad_items_change_nothing(service: Running, item: Item, message: str):
    """One bad item refuses the whole call, and nothing of it is applied."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await service.upsert(Item(item_id="good", title="good"), item)
    refused(raised, grpc.StatusCode.INVALID_ARGUMENT, message)
    assert list((await service.read("good")).missing_item_ids) == ["good"]


async def test_calls_without_items(service: Running):
    """Changing or reading no item is refused."""
    for call, message in ((service.upsert, "items: 0"), (service.delete, "item_ids: 0"), (service.read, "item_ids: 0")):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call()
        refused(raised, grpc.StatusCode.INVALID_ARGUMENT, f"{message} given; give 1 to 1000")


async def test_changes_survive_a_restart(serve: Serve):
    """A server that starts on the same folder has every acknowledged change."""
    async with serve() as service:
        await service.upsert(Item(item_id="new", title="large yogurt", vector=[1.0, *[0.0] * (DIMENSION - 1)]))
        await service.delete("dairy-milk-red-0")
    async with serve() as service:
        read = await service.read("new", "dairy-milk-red-0")
        assert list(read.missing_item_ids) == ["dairy-milk-red-0"]
        found = await service.retrieve(vector=[1.0, *[0.0] * (DIMENSION - 1)], sources=["semantic"])
        assert (found.candidates[0].item_id, found.candidates[0].sources[0].score) == ("new", pytest.approx(1))


async def test_changes_without_a_folder_are_refused(serve: Serve):
    """Without a place to keep them changes are refused, and the message says how to get one."""
    async with serve(data_dir=None) as service:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await service.upsert(Item(item_id="new", title="new"))
        refused(raised, grpc.StatusCode.UNAVAILABLE, "start the server with --data-dir")


async def test_a_folder_in_use_stops_the_start(serve: Serve):
    """Two servers never write one log."""
    async with serve():
        with pytest.raises(NotReady, match="is in use by another server"):
            async with serve():
                pass


@pytest.fixture
def other_release(tiny_release: Path, tmp_path: Path) -> Path:
    """Return a store with a release like the tiny one that knows popular items alone."""
    release, store = open_release(str(tiny_release)), tmp_path / "store"
    staging = store / ".staging"
    shutil.copytree(release.path, staging)
    (staging / "manifest.json").unlink()
    (staging / "retrieval.json").write_text('{"sources": {"popular": {}}}')
    files, settings = describe_files(staging), release.manifest.settings | {"variant": "popular"}
    named = release_id(files, release.manifest.data, settings, release.manifest.models)
    changes = {"release_id": named, "files": files, "settings": settings}
    publish(staging, store, release.manifest.model_copy(update=changes))
    return store


async def test_a_swap_keeps_the_changes(service: Running, tiny_release: Path, other_release: Path):
    """Changes stand on top of the release that is activated, those made before and after, and after rolling back."""
    await service.upsert(Item(item_id="before", title="fresh bread"))
    swapped = await service.release.ActivateRelease(release_pb2.ActivateReleaseRequest(location=str(other_release)))
    assert list(swapped.release.sources) == ["popular"]
    await service.upsert(Item(item_id="after", title="fresh bread"))
    await service.delete("dairy-milk-red-0")
    for _ in range(2):
        read = await service.read("before", "after", "dairy-milk-red-0")
        assert list(read.missing_item_ids) == ["dairy-milk-red-0"]
        await service.release.ActivateRelease(release_pb2.ActivateReleaseRequest(location=str(tiny_release)))
    assert set(ids(await service.retrieve(query="fresh bread", limit=1_000))) > {"before", "after"}


async def test_swaps_lose_no_call(service: Running, tiny_release: Path, other_release: Path, history: list[str]):
    """Calls beside swaps are all answered, each by one release."""
    done = asyncio.Event()

    async def ask() -> set[str]:
        seen = set()
        while not done.is_set():
            answer = await service.retrieve(history_item_ids=history, query="milk")
            assert len(answer.candidates) == 100
            seen.add(answer.release_id)
        return seen

    callers = [asyncio.create_task(ask()) for _ in range(4)]
    for location in (other_release, tiny_release, other_release):
        await service.release.ActivateRelease(release_pb2.ActivateReleaseRequest(location=str(location)))
    done.set()
    assert len(set.union(*await asyncio.gather(*callers))) == 2


async def test_a_bad_release_is_refused(service: Running, tiny_release: Path, tmp_path: Path):
    """A release that was altered is refused by name, and the old one still answers."""
    shutil.copytree(tiny_release, tmp_path / "altered")
    file = open_release(str(tmp_path / "altered")).file("index/vectors.npy")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await service.release.ActivateRelease(release_pb2.ActivateReleaseRequest(location=str(tmp_path / "altered")))
    refused(raised, grpc.StatusCode.FAILED_PRECONDITION, "index/vectors.npy was altered")
    assert (await service.retrieve()).candidates


async def test_what_is_served_is_told(service: Running):
    """GetRelease names release, sources, limits, and the provider that the encoder runs on; health is SERVING."""
    told = (await service.release.GetRelease(release_pb2.GetReleaseRequest())).release
    assert (told.service, told.release_id) == ("retrieval", service.server._live.current_id)
    assert list(told.sources) == ["follow", "popular", "repeat", "semantic", "similar"]
    assert [(model.name, model.execution_provider) for model in told.models] == [("encoder", "CPUExecutionProvider")]
    assert (told.limits["candidates"], told.limits["history_items"]) == (1_000, 10_000)
    health = health_pb2_grpc.HealthStub(service.channel)
    answer = await health.Check(health_pb2.HealthCheckRequest(service=NAME))
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_metrics_tell_what_was_done(service: Running, history: list[str]):
    """Candidates by source, paths of search, items, changes, batches and stages are there to scrape."""
    await service.retrieve(query="milk", history_item_ids=[*history, "unheard of"])
    await service.upsert(Item(item_id="new", title="new"))
    await asyncio.to_thread(service.stage().audit)
    page = await asyncio.to_thread(_scrape, service.metrics_port)
    for line in (
        'shortlist_retrieval_candidates_total{source="similar"}',
        'shortlist_retrieval_searches_total{path="exact",source="semantic"} 1.0',
        'shortlist_retrieval_stage_seconds_count{stage="encode"} 1.0',
        'shortlist_retrieval_stage_seconds_count{stage="search"} 1.0',
        'shortlist_retrieval_stage_seconds_count{stage="fuse"} 1.0',
        'shortlist_retrieval_changes_total{kind="inserted"} 1.0',
        f"shortlist_retrieval_items {float(service.stage().view.items)}",
        "shortlist_retrieval_ignored_history_items_total 1.0",
        "shortlist_retrieval_encode_batch_queries_count 2.0",
        "shortlist_retrieval_unreachable_vectors 0.0",
        "shortlist_retrieval_audit_due_vectors 0.0",
    ):
        assert line in page


async def test_late_answers_shed_effort(serve: Serve):
    """Where answers miss the target the graph is searched with less effort, as the metric tells; never too little."""
    async with serve(latency_target_ms=1e-6, ef_search=200, least_ef_search=150) as service:
        assert "shortlist_retrieval_ef_search 200.0" in await asyncio.to_thread(_scrape, service.metrics_port)
        async with asyncio.timeout(TIMEOUT_S):
            while service.stage()._nearest.index.ef_search != 150:  # type: ignore[attr-defined]
                await service.retrieve(query="fresh milk", limit=1)
        assert "shortlist_retrieval_ef_search 150.0" in await asyncio.to_thread(_scrape, service.metrics_port)


def _scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        return str(answer.read().decode())


async def test_too_many_calls_are_told_to_come_back(serve: Serve):
    """A call past the bound is refused at once with RetryInfo; those under way are answered."""
    async with serve(max_calls=1, search_threads=1) as service:
        gate = threading.Event()
        service.stage().pool.submit(gate.wait, TIMEOUT_S)
        calls = asyncio.as_completed([service.retrieve() for _ in range(3)])
        for _ in range(2):
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await next(calls)
            refused(raised, grpc.StatusCode.RESOURCE_EXHAUSTED, "1 calls are under way; call again later")
            info = error_details_pb2.RetryInfo()
            assert rpc_status.from_call(raised.value).details[0].Unpack(info)
        gate.set()
        assert (await next(calls)).candidates


async def test_the_servers_own_bound_ends_a_call(serve: Serve):
    """A call that takes longer than the server's bound ends with DEADLINE_EXCEEDED, whatever the caller would wait."""
    async with serve(request_timeout_s=0.05, search_threads=1) as service:
        gate = threading.Event()
        service.stage().pool.submit(gate.wait, TIMEOUT_S)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await service.retrieve()
        gate.set()
        assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_unknown_settings_are_refused():
    """A mistyped flag ends the process with code 2 and names the one that was meant."""
    command = [sys.executable, "-m", "services.retrieval", "--ef-serach", "9"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603 - our own
    assert ended.returncode == 2
    assert "--ef-serach: unknown argument; the nearest known one is --ef-search" in ended.stderr

"""Changes of the catalogue over gRPC, and after a restart."""

from __future__ import annotations

import math
from typing import Any

import grpc
import pytest
from shortlist.release.v1 import release_pb2
from shortlist.retrieval.v1 import retrieval_pb2

from common.errors import NotReady

DIMENSION = 32
Item = retrieval_pb2.Item


async def test_changes_are_seen_by_the_next_search(service: Any):
    """Upserted items are found and read, with the text that ranking needs; deleted ones are not."""
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
    assert not {"new", "dairy-milk-white-0"} & set(service.ids(await service.retrieve(limit=1_000)))
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
        (Item(item_id="good", title="x"), "items: 'good' is given more than once"),
    ],
)
async def test_bad_items_change_nothing(service: Any, item: Item, message: str):
    """A call with one bad item is refused as a whole."""
    await service.refuses(
        service.upsert(Item(item_id="good", title="good"), item), grpc.StatusCode.INVALID_ARGUMENT, message
    )
    assert list((await service.read("good")).missing_item_ids) == ["good"]


async def test_calls_without_items(service: Any):
    """Changing or reading no item is refused."""
    for call, message in ((service.upsert, "items: 0"), (service.delete, "item_ids: 0"), (service.read, "item_ids: 0")):
        await service.refuses(call(), grpc.StatusCode.INVALID_ARGUMENT, f"{message} given; give 1 to 1000")


async def test_changes_survive_a_restart(serve: Any):
    """A server that starts on the same folder has every acknowledged change."""
    async with serve() as service:
        await service.upsert(Item(item_id="new", title="large yogurt", vector=[1.0, *[0.0] * (DIMENSION - 1)]))
        await service.delete("dairy-milk-red-0")
    async with serve() as service:
        read = await service.read("new", "dairy-milk-red-0")
        assert list(read.missing_item_ids) == ["dairy-milk-red-0"]
        found = await service.retrieve(vector=[1.0, *[0.0] * (DIMENSION - 1)], sources=["semantic"])
        assert (found.candidates[0].item_id, found.candidates[0].sources[0].score) == ("new", pytest.approx(1))


async def test_changes_without_a_folder_are_refused(serve: Any):
    """Without a change feed changes are refused, with a message that says what to set."""
    async with serve(data_dir=None) as service:
        await service.refuses(
            service.upsert(Item(item_id="new", title="new")),
            grpc.StatusCode.UNAVAILABLE,
            "start the server with --data-dir",
        )


async def test_a_folder_in_use_stops_the_start(serve: Any):
    """A second server on the same folder does not start."""
    async with serve():
        with pytest.raises(NotReady, match="is in use by another server"):
            async with serve():
                pass

"""Completed texts and facets of a real release that changes."""

from __future__ import annotations

from typing import Any

import grpc
from shortlist.retrieval.v1 import retrieval_pb2

TIMEOUT_S = 30.0
Item = retrieval_pb2.Item


async def _complete(service: Any, text: str, **fields: int) -> list[str]:
    answer = await service.stub.Complete(retrieval_pb2.CompleteRequest(text=text, **fields), timeout=TIMEOUT_S)
    return [each.text for each in answer.suggestions]


async def _facet(service: Any, **fields: Any) -> tuple[retrieval_pb2.ListFacetsResponse, dict[str, int]]:
    answer = await service.stub.ListFacets(retrieval_pb2.ListFacetsRequest(**fields), timeout=TIMEOUT_S)
    return answer, {each.value: each.items for each in answer.facets[0].values}


async def test_texts_are_completed_with_what_there_is_now(service: Any):
    """Titles and categories of the release, with a typo, and of changes as soon as they are acknowledged."""
    assert set(await _complete(service, "red chee")) == {"red cheese"}
    assert await _complete(service, "red chesee", limit=1) == ["red cheese"]
    assert "dairy" in await _complete(service, "dai")
    await service.upsert(Item(item_id="new", title="牛奶巧克力", category="sweets", available=True))
    assert await _complete(service, "巧克力") == ["牛奶巧克力"]
    assert await _complete(service, "sweets") == ["sweets"]
    await service.delete("new")
    assert await _complete(service, "巧克力") == await _complete(service, "sweets") == []


async def test_a_text_without_a_word_is_refused(service: Any):
    await service.refuses(_complete(service, "  "), grpc.StatusCode.INVALID_ARGUMENT, "text: has no letter")
    await service.refuses(_complete(service, "a", limit=0), grpc.StatusCode.INVALID_ARGUMENT, "limit: 0 is not 1 to 50")


async def test_a_server_can_be_without_suggestions(serve: Any):
    async with serve(suggestions=False) as service:
        await service.refuses(_complete(service, "milk"), grpc.StatusCode.UNAVAILABLE, "--suggestions true")


async def test_facets_say_what_they_count(service: Any):
    """All items that match without a query, exactly; with one, the candidates that a source found for it."""
    answer, brands = await _facet(service, attributes=["brand"])
    assert brands == {"acme": 160, "orchard": 80}
    assert (answer.scope, answer.items) == (retrieval_pb2.FACET_SCOPE_MATCHING_ITEMS, 240)
    dairy = retrieval_pb2.Filter(match=retrieval_pb2.Match(attribute="category", values=["dairy"]))
    _, categories = await _facet(service, attributes=["category"], filter=dairy)
    assert categories == {"dairy": 60}
    answer, categories = await _facet(service, attributes=["category"], query="milk", candidates=30)
    assert answer.scope == retrieval_pb2.FACET_SCOPE_CANDIDATES
    assert answer.items == sum(categories.values()) <= 30
    found = await service.retrieve(query="milk", limit=30)
    with_source = [each for each in found.candidates if each.sources]
    assert answer.items == len(with_source)
    assert categories["dairy"] == sum(each.category == "dairy" for each in with_source)


async def test_all_attributes_are_counted_by_default(service: Any):
    """Numbers are buckets, each of which is a range with as many items; the attributes of the shop's own are there."""
    answer, _ = await _facet(service, max_buckets=3)
    facets = {each.attribute: each for each in answer.facets}
    assert {"brand", "category", "department", "price"} <= set(facets)
    price = facets["price"]
    assert 1 < len(price.buckets) <= 3
    assert sum(each.items for each in price.buckets) + price.missing_items == 240
    bounds = retrieval_pb2.Range(attribute="price", min=price.buckets[0].min, max=price.buckets[0].max)
    matching, _ = await _facet(service, attributes=["brand"], filter=retrieval_pb2.Filter(range=bounds))
    assert matching.items == price.buckets[0].items


async def test_facets_of_what_is_not_there_are_refused(service: Any):
    code = grpc.StatusCode.INVALID_ARGUMENT
    await service.refuses(_facet(service, attributes=["colour"]), code, "attributes[0]: 'colour' cannot be counted")
    await service.refuses(_facet(service, max_values=0), code, "max_values: 0 is not 1 to 1,000")
    await service.refuses(_facet(service, query="milk", candidates=0), code, "candidates: 0 is not 1 to 1,000")

"""Counts of attributes' values, against counting item by item."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import InvalidRequest
from common.filters import Match, Range
from services.retrieval.candidates.facet_counting import count_matching
from services.retrieval.candidates.first_stage import FirstStage
from services.retrieval.catalogue.item import Item
from services.retrieval.search.facets import Facet, FacetRequest, _numeric_facet


def facet(stage: FirstStage, name: str, condition: Match | Range | None = None, **options: int) -> Facet:
    ((counted,), _) = count_matching(stage, FacetRequest((name,), **options), condition)
    return counted


def test_values_are_counted_over_what_matches(shop: FirstStage):
    """Most frequent first, ties in alphabetical order; items without a value are counted apart."""
    brands = facet(shop, "brand")
    assert brands.values == [("acme", 3), ("orchard", 2), ("zenith", 2)]
    assert (brands.distinct_values, brands.other_items, brands.missing_items) == (3, 0, 1)
    assert facet(shop, "brand", Match("category", ("bakery",))).values == [("zenith", 1)]
    first = facet(shop, "brand", max_values=1)
    assert (first.values, first.distinct_values, first.other_items) == ([("acme", 3)], 3, 4)


def test_all_attributes_are_counted_unless_some_are_named(shop: FirstStage):
    """Booleans are values as filters compare them; numbers are buckets."""
    facets, items = count_matching(shop, FacetRequest(), None)
    assert [each.attribute for each in facets] == ["available", "brand", "category", "language", "organic", "price"]
    assert items == 8
    assert facets[0].values == [("true", 8)]
    assert [(each.minimum, each.maximum, each.items) for each in facets[4].buckets] == [(0, 0, 4), (1, 1, 4)]
    assert facets[5].missing_items == 1


def test_an_attribute_is_counted_once(shop: FirstStage):
    """A request that names one attribute a hundred times costs one count; more names are refused."""
    facets, _ = count_matching(shop, FacetRequest(("price", *["brand"] * 99)), None)
    assert [each.attribute for each in facets] == ["price", "brand"]


def test_a_bucket_is_a_range_with_as_many_items(shop: FirstStage):
    for bucket in facet(shop, "price", max_buckets=3).buckets:
        _, items = count_matching(shop, FacetRequest(("brand",)), Range("price", bucket.minimum, bucket.maximum))
        assert items == bucket.items


def test_changes_are_counted(live_shop: FirstStage):
    """Upserted, replaced and removed items count as they are now; what cannot be bought does not."""
    live_shop.writer.upsert([Item("tea", "tea", brand="acme", price=9.0), Item("roll", "roll", brand="acme")])
    live_shop.writer.upsert([Item("sold", "sold out", brand="acme", available=False)])
    live_shop.writer.delete(["milk-1"])
    assert facet(live_shop, "brand").values == [("acme", 4), ("orchard", 2), ("zenith", 2)]
    assert facet(live_shop, "price").buckets[-1].maximum == 9.0
    assert facet(live_shop, "brand", Match("available", ("false",))).values == [("acme", 1)]


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (FacetRequest(("colour",)), r"attributes\[0\]: 'colour' cannot be counted; there are available, brand"),
        (FacetRequest(("brand", "title")), r"attributes\[1\]"),
        (FacetRequest(("brand",) * 101), "attributes: 101 given; at most 100"),
        (FacetRequest(max_values=0), "max_values: 0 is not 1 to 1,000"),
        (FacetRequest(max_buckets=101), "max_buckets: 101 is not 1 to 100"),
    ],
)
def test_a_bad_request_is_refused(shop: FirstStage, request_: FacetRequest, said: str):
    with pytest.raises(InvalidRequest, match=said):
        request_.check(shop.item_filter.table.schema)


@given(st.lists(st.sampled_from([None, -1.5, 0.0, 2.0, 3.0, 8.0])), st.integers(1, 6))
def test_buckets_part_no_equal_values(values: list[float | None], max_buckets: int):
    """Buckets rise, do not overlap, and hold every value once."""
    counted = _numeric_facet("price", pa.chunked_array([pa.array(values, pa.float64())]), max_buckets)
    known = [value for value in values if value is not None]
    assert len(counted.buckets) <= max_buckets
    assert counted.missing_items == len(values) - len(known)
    assert counted.distinct_values == len(set(known))
    for bucket in counted.buckets:
        assert bucket.items == sum(bucket.minimum <= value <= bucket.maximum for value in known)
        assert {bucket.minimum, bucket.maximum} <= set(known)
    assert sum(bucket.items for bucket in counted.buckets) == sum(Counter(known).values())
    bounds = [bound for bucket in counted.buckets for bound in (bucket.minimum, bucket.maximum)]
    assert bounds == sorted(bounds)

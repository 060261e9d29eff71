"""The limits of items, ids and vectors."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from common.arrays import unit_vectors
from common.errors import InvalidRequest
from services.retrieval.catalogue.item import Item
from services.retrieval.catalogue.item_validation import check_ids, check_items, check_vector

MILK = Item("milk", "fresh milk")
LARGEST = Item(
    "é" * 128, "t" * 2_000, "b" * 200, "c" * 200, "d" * 20_000, 0.0, available=False, vector=np.ones(3, "f4")
)


def test_the_largest_items_are_taken():
    """An item at every limit is taken, and a thousand of them."""
    check_items([LARGEST], 3)
    check_items([dataclasses.replace(MILK, item_id=str(number)) for number in range(1_000)], 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"item_id": ""}, r"items\[1\]\.item_id: 0 bytes; an item's id has 1 to 256"),
        ({"item_id": "é" * 129}, r"items\[1\]\.item_id: 258 bytes"),
        ({"item_id": "x" * 1_000_000}, r"items\[1\]\.item_id: 1000000 bytes"),
        ({"title": " "}, r"items\[1\]\.title: is empty"),
        ({"title": "t" * 2_001}, r"items\[1\]\.title: 2,001 characters; at most 2,000"),
        ({"brand": "b" * 201}, r"items\[1\]\.brand: 201 characters"),
        ({"category": "c" * 201}, r"items\[1\]\.category: 201 characters"),
        ({"description": "d" * 20_001}, r"items\[1\]\.description: 20,001 characters"),
        ({"price": -0.01}, r"items\[1\]\.price: -0.01 is no price"),
        ({"price": math.nan}, r"items\[1\]\.price: nan is no price"),
        ({"price": math.inf}, r"items\[1\]\.price: inf is no price"),
        ({"vector": np.ones(4, "f4")}, r"items\[1\]\.vector: 4 numbers; the encoder's embeddings have 3"),
        ({"vector": np.array([1, np.nan, 1], "f4")}, r"items\[1\]\.vector: holds NaN or infinity"),
        ({"vector": np.array([1, np.inf, 1], "f4")}, r"items\[1\]\.vector: holds NaN or infinity"),
        ({"vector": np.zeros(3, "f4")}, r"items\[1\]\.vector: is all zero"),
        ({"item_id": "milk"}, r"items: 'milk' is given more than once"),
    ],
)
def test_items_that_are_refused(change: dict[str, Any], message: str):
    """An item past a limit is refused with its place, the field and the limit."""
    with pytest.raises(InvalidRequest, match=message):
        check_items([MILK, dataclasses.replace(LARGEST, **change)], 3)


@pytest.mark.parametrize("count", [0, 1_001])
def test_too_few_and_too_many(count: int):
    """No item and more than a thousand are refused."""
    with pytest.raises(InvalidRequest, match=f"items: {count} given; give 1 to 1000"):
        check_items([MILK] * count, 3)
    with pytest.raises(InvalidRequest, match=f"item_ids: {count} given; give 1 to 1000"):
        check_ids("item_ids", ["milk"] * count)


def test_an_id_that_can_be_none():
    """Among ids, the one that can't be an item's is named."""
    with pytest.raises(InvalidRequest, match=r"item_ids\[1\]: 257 bytes"):
        check_ids("item_ids", ["milk", "x" * 257])


@pytest.mark.parametrize("numbers", [[3, 4], [3e38, 3e38], [1e-44, 0]])
def test_vectors_are_scaled_to_unit_length(numbers: list[float]):
    """A vector of any length, huge and tiny ones too, passes the check and has length 1 once scaled."""
    vector = np.array(numbers, "f4")
    check_vector("vector", vector, 2)
    assert np.linalg.norm(unit_vectors(vector)) == pytest.approx(1)


def test_the_text_of_an_item():
    """The models read title, brand, category and description."""
    assert Item("x", "milk", "acme", "dairy", "fresh").text == "milk. acme. dairy. fresh"

"""Limits of items, ids and vectors."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np

from common.arrays import Float32Array
from common.errors import InvalidRequest
from services.retrieval.catalogue.item import Item

MAX_ITEMS: Final = 1_000
MAX_ID_BYTES: Final = 256
_MAX_CHARACTERS: Final = {"title": 2_000, "brand": 200, "category": 200, "description": 20_000}


def check_items(items: Sequence[Item], dimension: int) -> None:
    """Raise InvalidRequest, naming the field, if items can't be upserted.

    Args:
        items: The items to upsert.
        dimension: The encoder's.
    """
    _check_count("items", len(items))
    for number, item in enumerate(items):
        _check_item(item, f"items[{number}]", dimension)
    repeated = [item_id for item_id, times in Counter(item.item_id for item in items).items() if times > 1]
    if repeated:
        raise InvalidRequest(f"items: {repeated[0]!r} is given more than once; give each item once")


def check_ids(field: str, item_ids: Sequence[str]) -> None:
    """Raise InvalidRequest, naming the field, if ids are invalid or too many."""
    _check_count(field, len(item_ids))
    for number, item_id in enumerate(item_ids):
        check_id(f"{field}[{number}]", item_id)


def check_id(field: str, item_id: str) -> None:
    """Raise InvalidRequest, naming the field, if ``item_id`` is empty or too long."""
    size = len(item_id.encode())
    if not 1 <= size <= MAX_ID_BYTES:
        raise InvalidRequest(f"{field}: {size} bytes; an item's id has 1 to {MAX_ID_BYTES}")


def check_vector(field: str, vector: Float32Array, dimension: int) -> None:
    """Raise InvalidRequest, naming the field, if a vector can't be searched for or stored.

    Args:
        field: Its name in error messages.
        vector: Shape [numbers].
        dimension: How many numbers it must have.

    Raises:
        InvalidRequest: Another dimension, a number that is not finite, or all zero.
    """
    if vector.shape != (dimension,):
        raise InvalidRequest(f"{field}: {len(vector)} numbers; the encoder's embeddings have {dimension}")
    largest = float(np.maximum.reduce(np.abs(vector)))  # NaN where any number is
    if not math.isfinite(largest):
        raise InvalidRequest(f"{field}: holds NaN or infinity; every number must be finite")
    if not largest:
        raise InvalidRequest(f"{field}: is all zero and points nowhere")


def _check_count(field: str, count: int) -> None:
    if not 1 <= count <= MAX_ITEMS:
        raise InvalidRequest(f"{field}: {count} given; give 1 to {MAX_ITEMS}")


def _check_item(item: Item, path: str, dimension: int) -> None:
    check_id(f"{path}.item_id", item.item_id)
    if not item.title.strip():
        raise InvalidRequest(f"{path}.title: is empty; an item needs a title")
    for field, limit in _MAX_CHARACTERS.items():
        characters = len(getattr(item, field))
        if characters > limit:
            raise InvalidRequest(f"{path}.{field}: {characters:,} characters; at most {limit:,}")
    if item.price is not None and not (math.isfinite(item.price) and item.price >= 0):
        raise InvalidRequest(f"{path}.price: {item.price} is no price; give a finite number from 0, or leave it unset")
    if item.vector is not None:
        check_vector(f"{path}.vector", item.vector, dimension)

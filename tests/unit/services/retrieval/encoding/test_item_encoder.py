"""The vectors of items that change: given, known from the release, or computed."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from common.release.catalogue import SCHEMA, Catalogue
from services.retrieval.catalogue.item import Item
from services.retrieval.encoding.item_encoder import ItemEncoder


class Encoder:
    """Embeds every text alike; records the thread and its priority."""

    def __init__(self) -> None:
        self.threads: list[tuple[str, int]] = []

    def encode(self, texts: Sequence[str]) -> Any:
        """Return one unit vector for each text."""
        name, number = threading.current_thread().name, threading.get_native_id()
        self.threads.append((name, os.getpriority(os.PRIO_PROCESS, number)))
        return np.tile(np.eye(1, 4, dtype=np.float32), (len(texts), 1))


@pytest.fixture
def encoder() -> Encoder:
    """Return an encoder that records its thread."""
    return Encoder()


@pytest.fixture
def item_encoder(encoder: Encoder) -> ItemEncoder:
    """Return an item encoder of an empty release of dimension 4."""
    catalogue = Catalogue(SCHEMA.empty_table())
    nothing = np.empty((0, 4), dtype=np.float32)
    return ItemEncoder(encoder, "passage: ", catalogue, nothing, np.empty(0, dtype=np.int64))


def test_texts_are_embedded_at_low_priority(item_encoder: ItemEncoder, encoder: Encoder):
    """Texts are embedded on one thread, with a lower priority than the caller's."""
    for _ in range(2):
        assert item_encoder.encode_texts(["a", "b"]).shape == (2, 4)
    item_encoder.close()
    names, nice = zip(*encoder.threads, strict=True)
    assert set(names) == {"item-encoder_0"}
    if sys.platform == "linux":  # 19 is the lowest priority
        assert set(nice) == {min(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) + 10, 19)}


def test_no_texts_need_no_thread(item_encoder: ItemEncoder, encoder: Encoder):
    """No texts have no embeddings, even after the encoder was closed."""
    item_encoder.close()
    assert item_encoder.encode_texts([]).shape == (0, 4)
    assert not encoder.threads


def test_an_items_vector_is_given_known_or_computed(catalogue: Catalogue, encoder: Encoder):
    """A given vector is scaled to unit length, an unchanged text keeps the release's, and other texts are embedded."""
    released = np.eye(len(catalogue), 4, k=1, dtype=np.float32)
    released[3:] = np.eye(1, 4, k=1)
    item_encoder = ItemEncoder(encoder, "", catalogue, released, np.arange(len(catalogue)))
    items = [
        Item("milk-1", "fresh milk", "acme", "dairy"),
        Item("milk-2", "sour milk", "acme", "dairy"),
        Item("new", "oats", vector=np.array([0, 0, 0, 3], np.float32)),
    ]
    vectors = item_encoder.encode_items(items)
    item_encoder.close()
    assert vectors.tolist() == [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]]
    assert len(encoder.threads) == 1

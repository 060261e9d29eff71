"""The vectors of items that change."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from common.release.catalogue import SCHEMA, Catalogue
from services.retrieval.encoding.item_encoder import ItemEncoder


class Encoder:
    """Embeds every text alike, and notes on which thread, and at which priority."""

    def __init__(self) -> None:
        self.threads: list[tuple[str, int]] = []

    def encode(self, texts: Sequence[str]) -> Any:
        """Return one unit vector a text."""
        name, number = threading.current_thread().name, threading.get_native_id()
        self.threads.append((name, os.getpriority(os.PRIO_PROCESS, number)))
        return np.tile(np.eye(1, 4, dtype=np.float32), (len(texts), 1))


@pytest.fixture
def encoder() -> Encoder:
    """Return an encoder that tells its thread."""
    return Encoder()


@pytest.fixture
def item_encoder(encoder: Encoder) -> ItemEncoder:
    """Return an item encoder of an empty release, four numbers wide."""
    catalogue = Catalogue(SCHEMA.empty_table())
    nothing = np.empty((0, 4), dtype=np.float32)
    return ItemEncoder(encoder, "passage: ", catalogue, nothing, np.empty(0, dtype=np.int64))


def test_texts_are_embedded_behind_searches(item_encoder: ItemEncoder, encoder: Encoder):
    """On one thread of its own, whose priority is below that of the threads that search."""
    for _ in range(2):
        assert item_encoder.of_texts(["a", "b"]).shape == (2, 4)
    item_encoder.close()
    names, nice = zip(*encoder.threads, strict=True)
    assert set(names) == {"item-encoder_0"}
    if sys.platform == "linux":  # where 19 is the lowest priority there is
        assert set(nice) == {min(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) + 10, 19)}


def test_no_texts_need_no_thread(item_encoder: ItemEncoder, encoder: Encoder):
    """Nothing is embedded where nothing is asked, also once the thread has ended."""
    item_encoder.close()
    assert item_encoder.of_texts([]).shape == (0, 4)
    assert not encoder.threads

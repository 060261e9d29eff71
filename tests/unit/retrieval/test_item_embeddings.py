"""The vectors of items that change."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from services.retrieval.item_embeddings import ItemEmbeddings


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
def parts() -> Any:
    """The parts of a first stage that embed."""
    return SimpleNamespace(
        encoder=Encoder(), settings=SimpleNamespace(item_prefix="passage: "), index=SimpleNamespace(dimension=4)
    )


def test_texts_are_embedded_behind_searches(parts: Any):
    """On one thread of its own, whose priority is below that of the threads that search."""
    embeddings = ItemEmbeddings(parts)
    for _ in range(2):
        assert embeddings.of_texts(["a", "b"]).shape == (2, 4)
    embeddings.close()
    names, nice = zip(*parts.encoder.threads, strict=True)
    assert set(names) == {"item-encoder_0"}
    if sys.platform == "linux":  # where 19 is the lowest priority there is
        assert set(nice) == {min(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) + 10, 19)}


def test_no_texts_need_no_thread(parts: Any):
    """Nothing is embedded where nothing is asked, also once the thread has ended."""
    embeddings = ItemEmbeddings(parts)
    embeddings.close()
    assert embeddings.of_texts([]).shape == (0, 4)
    assert not parts.encoder.threads

"""Queries are cached, and queued queries are embedded in batches."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest

from common.arrays import Float32Array
from common.errors import NotReady, Overloaded
from services.retrieval.encoding.query_encoder import QueryEncoder, QueryEncoderOptions


class Gate:
    """An encoder that waits until it is opened; a text's embedding is its length."""

    dimension = 1
    provider = "gate"

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.entered = threading.Semaphore(0)
        self.open = threading.Event()

    def encode(self, texts: Sequence[str]) -> Float32Array:
        """Embed texts once the gate is open; the text `bad` is refused."""
        self.batches.append(list(texts))
        self.entered.release()
        assert self.open.wait(30)
        if "bad" in texts:
            raise ValueError("bad text")
        return np.array([[len(text)] for text in texts], dtype=np.float32)


Open = Callable[..., QueryEncoder]


@pytest.fixture
def gate() -> Gate:
    """Return the encoder."""
    return Gate()


@pytest.fixture
def open_encoder(gate: Gate) -> Iterator[Open]:
    """Return how a query encoder is made; each is closed in the end."""
    opened: list[QueryEncoder] = []

    def open_(**options: object) -> QueryEncoder:
        opened.append(QueryEncoder(gate, QueryEncoderOptions(**options), sizes.append))  # type: ignore[arg-type]
        return opened[-1]

    sizes: list[int] = []
    yield open_
    gate.open.set()
    for encoder in opened:
        encoder.close()


def is_closed(encoder: QueryEncoder) -> bool:
    """Return whether the encoder refuses queries."""
    try:
        encoder.submit([])
    except NotReady:
        return True
    return False


def test_queued_queries_make_one_batch(open_encoder: Open, gate: Gate):
    """Queries that arrive during a batch make up the next one, each text once."""
    encoder = open_encoder()
    first = encoder.submit(["a"])[0]
    assert gate.entered.acquire(timeout=30)
    later = [encoder.submit([text])[0] for text in ("bb", "ccc", "bb", "a")]
    gate.open.set()
    assert [future.result(30).tolist() for future in (first, *later)] == [[1], [2], [3], [2], [1]]
    assert gate.batches == [["a"], ["bb", "ccc"]]


def test_batches_are_bounded(open_encoder: Open, gate: Gate):
    """No batch is larger than `max_batch`."""
    encoder = open_encoder(max_batch=2)
    encoder.submit(["a"])
    assert gate.entered.acquire(timeout=30)
    futures = encoder.submit(["b", "c", "d"])
    gate.open.set()
    for future in futures:
        future.result(30)
    assert gate.batches == [["a"], ["b", "c"], ["d"]]


def test_cached_queries_are_not_encoded_again(open_encoder: Open, gate: Gate):
    """A cached query needs no encoder pass; one that was evicted does."""
    gate.open.set()
    encoder = open_encoder(cache_size=2)
    for query in ("a", "bb", "a", "ccc", "a", "bb"):
        encoder.encode([query])
    assert [batch[0] for batch in gate.batches] == ["a", "bb", "ccc", "bb"]


def test_the_prefix_goes_before_the_query(open_encoder: Open, gate: Gate):
    """The encoder reads the release's prefix and the query."""
    gate.open.set()
    open_encoder(prefix="query: ").encode(["milk"])
    assert gate.batches == [["query: milk"]]


def test_any_number_of_queries_can_be_encoded(open_encoder: Open, gate: Gate):
    """Encoding many queries keeps the bounds and their order."""
    gate.open.set()
    encoder = open_encoder(max_batch=3, max_queued=3)
    assert encoder.encode(["x" * size for size in range(1, 11)])[:, 0].tolist() == list(range(1, 11))


def test_a_cancelled_query_is_not_encoded(open_encoder: Open, gate: Gate):
    """A query whose future was cancelled is not embedded; the others are."""
    encoder = open_encoder()
    encoder.submit(["a"])
    assert gate.entered.acquire(timeout=30)
    cancelled, kept = encoder.submit(["bb", "ccc"])
    assert cancelled.cancel()
    gate.open.set()
    assert kept.result(30).tolist() == [3]
    assert gate.batches == [["a"], ["ccc"]]


def test_an_error_fails_one_batch_only(open_encoder: Open, gate: Gate):
    """The callers of a failed batch get its error; the next batch works."""
    encoder = open_encoder()
    bad = encoder.submit(["bad"])[0]
    gate.open.set()
    with pytest.raises(ValueError, match="bad text"):
        bad.result(30)
    assert encoder.encode(["good"]).tolist() == [[4]]


def test_a_full_queue_refuses_a_whole_call(open_encoder: Open, gate: Gate):
    """If a call's queries do not all fit into the queue, none of them is queued."""
    encoder = open_encoder(max_queued=2)
    encoder.submit(["a"])
    assert gate.entered.acquire(timeout=30)
    encoder.submit(["b"])
    with pytest.raises(Overloaded, match="1 queries wait"):
        encoder.submit(["c", "d"])
    last = encoder.submit(["e"])[0]
    gate.open.set()
    last.result(30)
    assert gate.batches == [["a"], ["b", "e"]]


def test_closing_fails_queued_queries(open_encoder: Open, gate: Gate):
    """Queries queued when the encoder is closed, or submitted later, fail; the batch at work is finished."""
    encoder = open_encoder()
    under_way = encoder.submit(["a"])[0]
    assert gate.entered.acquire(timeout=30)
    waiting = encoder.submit(["b"])[0]
    closing = threading.Thread(target=encoder.close)
    closing.start()
    while not is_closed(encoder):
        closing.join(0.001)
    gate.open.set()
    closing.join()
    assert under_way.result(30).tolist() == [1]
    with pytest.raises(NotReady, match="no longer served"):
        waiting.result(30)
    with pytest.raises(NotReady, match="no longer served"):
        encoder.submit(["c"])

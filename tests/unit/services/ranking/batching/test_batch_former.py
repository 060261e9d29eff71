"""How batches are filled, as a queue forms them."""

from __future__ import annotations

from typing import Any

from testing.batching import drain, new_queue

FAR = 1e6


def test_a_batch_has_rows_of_equal_length(put: Any):
    """Without overhead, rows are not padded to longer ones, even if they are one token shorter."""
    queue = new_queue(padded_tokens=256)
    put(queue, [60, 12, 11, 60, 12])
    assert [(batch.rows, batch.longest) for batch in drain(queue)] == [(2, 60), (2, 12), (1, 11)]


def test_shorter_rows_join_if_that_makes_the_tokens_of_a_batch_cheaper(put: Any):
    """With overhead two rows of 20 cost 1.2 a token: shorter rows join if padding makes theirs no dearer."""
    for shorter, batches in ((17, [4, 3]), (16, [2, 2, 3])):
        queue = new_queue(token_ms=1.0, batch_ms=8.0, padded_tokens=512)
        put(queue, [20, 20, shorter, shorter, 5, 5, 5])
        assert [batch.rows for batch in drain(queue)] == batches


def test_short_rows_join_if_padding_costs_less_than_a_batch(put: Any):
    """If overhead dominates, one batch is better than three."""
    queue = new_queue(batch_ms=1_000.0)
    put(queue, [60, 12, 58, 9, 11])
    assert [(batch.rows, batch.longest) for batch in drain(queue)] == [(5, 60)]


def test_a_batch_has_at_most_its_tokens(put: Any):
    """Rows times the longest row stays within the limit."""
    queue = new_queue(padded_tokens=100)
    put(queue, [30] * 10)
    assert [batch.padded_tokens for batch in drain(queue)] == [90, 90, 90, 30]


def test_a_row_beyond_the_limit_runs_alone(put: Any):
    """The longest pair is served too."""
    queue = new_queue(padded_tokens=100)
    put(queue, [200, 30])
    assert [(batch.rows, batch.longest) for batch in drain(queue)] == [(1, 200), (1, 30)]


def test_a_short_queue_is_shared_between_the_workers(put: Any):
    """One caller's pairs are divided between two workers, so that both end at the same time."""
    queue = new_queue(workers=2)
    put(queue, [10] * 8)
    assert [queue.next_batch(0.0).rows, queue.next_batch(0.0).rows] == [4, 4]

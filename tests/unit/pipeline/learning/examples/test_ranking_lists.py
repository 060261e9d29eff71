"""Lists in files that may be larger than memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from common.ragged import TokenRows
from pipeline.learning.examples.ranking_lists import ListFile, RankingExample, write_lists
from services.ranking.pairs.pair_tokens import TokenPairs

PAIRS, TOKENS = 12, 200


def _example(number: int, pairs: int = PAIRS, tokens: int = TOKENS) -> RankingExample:
    generator = np.random.default_rng(number)
    rows = TokenRows.from_rows([generator.integers(0, 30_000, generator.integers(3, tokens + 1)) for _ in range(pairs)])
    return RankingExample(TokenPairs(rows, generator.integers(1, 3, pairs)), generator.random(pairs, np.float32))


def _equal(one: RankingExample, other: RankingExample) -> bool:
    arrays = [
        (example.pairs.rows.tokens, example.pairs.rows.offsets, example.pairs.item_starts, example.labels)
        for example in (one, other)
    ]
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(*arrays, strict=True))


@pytest.mark.parametrize("count", [0, 1, 64, 65, 130])
def test_what_is_read_is_what_was_written(tmp_path: Path, count: int):
    """Every list comes back as it was, by its place from either end or in a slice."""
    written = [_example(number, pairs=1 + number % 3, tokens=9) for number in range(count)]
    assert write_lists(tmp_path / "lists", iter(written)) == count
    read = ListFile(tmp_path / "lists")
    assert len(read) == count
    assert all(_equal(*both) for both in zip(written, read, strict=True))
    assert all(_equal(written[-1], last) for last in read[-1:])
    with pytest.raises(IndexError):
        read[count]


def test_neither_writing_nor_reading_holds_the_lists(tmp_path: Path):
    """Some 15 MB of lists are made, written and read in turn with less than 5 MB held at any time."""
    most = 0

    def made() -> Iterator[RankingExample]:
        nonlocal most
        for number in range(3_000):
            yield _example(number)
            most = max(most, _held())

    before = _held()
    write_lists(tmp_path / "lists", made())
    lists = ListFile(tmp_path / "lists")
    for place in np.random.default_rng(0).permutation(len(lists)).tolist():
        assert lists[place].labels.any()
        most = max(most, _held())
    assert (tmp_path / "lists").stat().st_size > 15_000_000
    assert most - before < 5_000_000


def _held() -> int:
    """Return the bytes that the process holds itself: its own pages and Arrow's, the mapped file's not among them."""
    status = Path("/proc/self/status").read_text()
    kilobytes = next(line.split()[1] for line in status.splitlines() if line.startswith("RssAnon"))
    return max(int(kilobytes) * 1_024, pa.total_allocated_bytes())

"""Training lists of labelled pairs, in memory or in a file that may exceed it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from common.ragged import TokenRows, offsets_from_lengths
from services.ranking.pairs.pair_tokens import TokenPairs

_LISTS_A_BATCH: Final = 64
_SCHEMA: Final = pa.schema(
    [
        ("tokens", pa.list_(pa.int32())),
        ("lengths", pa.list_(pa.int64())),
        ("seconds", pa.list_(pa.int64())),
        ("labels", pa.list_(pa.float32())),
    ]
)


@dataclass(frozen=True)
class RankingExample:
    """One user and some candidates, at least one of which was bought.

    Attributes:
        pairs: User context and candidate, in tokens.
        labels: float32 [pairs]; 1 if bought, or a graded relevance from 0 to 1.
    """

    pairs: TokenPairs
    labels: npt.NDArray[np.float32]


class ListFile(Sequence[RankingExample]):
    """Lists in an Arrow file, memory-mapped: lists are views of the file.

    Args:
        file: A file of `write_lists`.
    """

    def __init__(self, file: Path) -> None:
        self._source = pa.memory_map(str(file))
        self._reader = pa.ipc.open_file(self._source)
        batches = self._reader.num_record_batches
        last = self._reader.get_batch(batches - 1).num_rows if batches else 0
        self._lists: int = max(batches - 1, 0) * _LISTS_A_BATCH + last

    def __len__(self) -> int:
        return self._lists

    @overload
    def __getitem__(self, index: int) -> RankingExample: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[RankingExample]: ...

    def __getitem__(self, index: int | slice) -> RankingExample | Sequence[RankingExample]:
        """Read a list, or some."""
        if isinstance(index, slice):
            return [self._read(place) for place in range(*index.indices(self._lists))]
        return self._read(range(self._lists)[index])

    def _read(self, index: int) -> RankingExample:
        batch, row = divmod(index, _LISTS_A_BATCH)
        columns = self._reader.get_batch(batch)
        tokens, lengths, seconds, labels = (columns[name][row].values.to_numpy() for name in _SCHEMA.names)
        return RankingExample(TokenPairs(TokenRows(tokens, offsets_from_lengths(lengths)), seconds), labels)


def write_lists(file: Path, lists: Iterable[RankingExample]) -> int:
    """Write lists in batches; returns their number."""
    written = 0
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, _SCHEMA) as writer:
        for batch in _batches(lists):
            writer.write_batch(batch)
            written += batch.num_rows
    return written


def _batches(lists: Iterable[RankingExample]) -> Iterator[Any]:
    """Yield record batches of equal size, except the last."""
    left = iter(lists)
    while held := list(islice(left, _LISTS_A_BATCH)):
        yield pa.record_batch(
            [
                _column([one.pairs.rows.tokens for one in held], pa.int32()),
                _column([one.pairs.lengths for one in held], pa.int64()),
                _column([one.pairs.item_starts for one in held], pa.int64()),
                _column([one.labels for one in held], pa.float32()),
            ],
            schema=_SCHEMA,
        )


def _column(rows: Sequence[npt.NDArray[Any]], kind: Any) -> Any:
    offsets = offsets_from_lengths(np.fromiter((len(row) for row in rows), np.int64, len(rows)))
    values = pa.array(np.concatenate(rows), kind)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)

"""Bulk tasks: embedding items and scoring pairs with the serving engines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from common.errors import BadRelease
from common.markup import plain_text
from common.onnx_session import SessionOptions
from common.ragged import TokenRows
from common.release.catalogue import Catalogue
from common.release.layout import CATALOGUE
from common.release.store import Release, open_release
from common.text import MAX_QUERY_CHARACTERS, MAX_TEXT_CHARACTERS, item_text, normalised
from pipeline.data.dataset.schema import BadDataset
from pipeline.learning.examples.text_pairs import score_pairs
from pipeline.progress import ProgressStep
from services.ranking.cross_encoder.model import CrossEncoder, has_cross_encoder
from services.ranking.pairs.pair_tokenizer import PairTokenizer
from services.ranking.pairs.pair_tokens import TokenPairs
from services.retrieval.candidates.release_settings import FirstStageSettings
from services.retrieval.encoding.text_encoder import OnnxTextEncoder

_TEXTS: Final = ("title", "brand", "category", "description")
_NO_PROGRESS: Final = ProgressStep(None, "", None)


class Task(ABC):
    """A function of a batch of rows; each worker loads it once and calls it for every batch.

    Args:
        release: Path or URL of the release or store; the same for every worker.
        threads: Threads of a model; 0 for one per processor.
    """

    def __init__(self, release: str, threads: int = 0) -> None:
        self.release: Release = open_release(release)
        self.options = SessionOptions(threads=threads)

    @abstractmethod
    def __call__(self, batch: pa.Table) -> pa.Table:
        """Return the result of each row, in order; raises BadDataset if a column is missing."""


class Embed(Task):
    """Embeds items as the release's index does.

    Rows need ``item_id`` and ``title`` and may have ``brand``, ``category`` and ``description``, as a dataset's items.
    The result has ``item_id`` and ``vector``, float32 of the encoder's width.
    """

    def __init__(self, release: str, threads: int = 0) -> None:
        super().__init__(release, threads)
        self._encoder = OnnxTextEncoder.load(self.release, self.options)
        self._prefix = FirstStageSettings.load(self.release).item_prefix

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Embed the items of a batch."""
        _require_columns(batch, "item_id", "title")
        columns = [_strings(batch, name) for name in _TEXTS]
        texts = [self._prefix + item_text(*row) for row in zip(*columns, strict=True)]
        vectors = self._encoder.encode(texts)
        flat = pa.array(vectors.reshape(-1), pa.float32())
        column = pa.FixedSizeListArray.from_arrays(flat, self._encoder.dimension)
        return pa.table({"item_id": batch["item_id"].cast(pa.string()), "vector": column})


class Score(Task):
    """Scores pairs of a user and an item with the cross-encoder.

    Rows need ``item_id`` and may have ``query`` and ``history`` (item ids, oldest first), as a request has, and
    ``text``: an item's text if the release does not have the item, or has another text. The result is the row with
    ``logit``, which is empty if neither release nor row has a text. Unknown history items are ignored.
    """

    def __init__(self, release: str, threads: int = 0) -> None:
        super().__init__(release, threads)
        if not has_cross_encoder(self.release):
            raise BadRelease(f"release {self.release.id} has no cross-encoder to score pairs with")
        self._catalogue = Catalogue.open(self.release.file(CATALOGUE))
        self._texts = PairTokenizer.load(self.release, self._catalogue)
        self._model = CrossEncoder.load(self.release, self.options)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Score the pairs of a batch."""
        _require_columns(batch, "item_id")
        texts = [text[:MAX_TEXT_CHARACTERS] for text in _strings(batch, "text")]
        rows = self._catalogue.rows_of(batch["item_id"].cast(pa.string()).to_pylist())
        known = np.flatnonzero((rows >= 0) | np.array([bool(text) for text in texts], np.bool_))
        logits = np.full(batch.num_rows, np.nan, np.float32)
        if len(known):
            pairs = self._pairs(batch.take(known), rows[known], [texts[row] for row in known])
            logits[known] = score_pairs(self._model, [pairs], _NO_PROGRESS)[0]
        return batch.append_column("logit", pa.array(logits, pa.float32(), mask=np.isnan(logits)))

    def _pairs(self, batch: pa.Table, rows: npt.NDArray[np.int64], texts: Sequence[str]) -> TokenPairs:
        queries = [query[:MAX_QUERY_CHARACTERS] for query in _strings(batch, "query")]
        users = list(zip(queries, _histories(batch), strict=True))
        context_number = {user: place for place, user in enumerate(dict.fromkeys(users))}
        contexts = TokenRows.from_rows([self._context(*user) for user in context_number])
        context_of = np.array([context_number[user] for user in users], np.int64)
        items, _ = self._texts.items(rows, {place: text for place, text in enumerate(texts) if text})
        return self._texts.template.join(contexts, context_of, items)

    def _context(self, query: str, history: Sequence[str]) -> npt.NDArray[np.int32]:
        rows = self._catalogue.rows_of(history)
        return self._texts.context(query, self._texts.context_items(rows[rows >= 0]))


def _require_columns(batch: pa.Table, *columns: str) -> None:
    missing = [name for name in columns if name not in batch.column_names]
    if missing:
        raise BadDataset(f"the table has no column {', '.join(missing)}; it has {', '.join(batch.column_names)}")


def _strings(batch: pa.Table, name: str) -> list[str]:
    """Return a column as plain text in normal form, as requests are read; a missing cell or column is empty text."""
    if name not in batch.column_names:
        return [""] * batch.num_rows
    return [normalised(plain_text(value)) if value else "" for value in batch[name].cast(pa.string()).to_pylist()]


def _histories(batch: pa.Table) -> list[tuple[str, ...]]:
    if "history" not in batch.column_names:
        return [()] * batch.num_rows
    values: list[list[Any] | None] = batch["history"].to_pylist()
    return [tuple(str(item) for item in history or ()) for history in values]

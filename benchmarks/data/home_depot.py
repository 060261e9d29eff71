"""Home Depot's judged queries as pairs: 54,667 titles, relevance 0 to 2 as the mean of at least three raters."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
from tokenizers import Tokenizer

from common.arrays import TokenIds
from common.errors import NotFound
from common.ragged import TokenRows
from pipeline.data.adapters import prepare
from pipeline.data.dataset.dataset import Dataset
from pipeline.release.models.tokenizer import plain_tokenizer
from services.ranking.pairs.pair_tokens import PairTemplate, TokenPairs

CONTEXT_TOKENS: Final = 32
ITEM_TOKENS: Final = 48
_MAX_RELEVANCE: Final = 2.0
_TOP: Final = Path(__file__).parents[2]


@dataclass(frozen=True)
class QueryJudgements:
    """A query and its judged items.

    Attributes:
        query: The search query.
        item_ids: The judged items.
        relevance: 0 to 1, divided by the highest grade 2; float32[items].
    """

    query: str
    item_ids: Sequence[str]
    relevance: npt.NDArray[np.float32]


class HomeDepot:
    """The data set.

    Args:
        folder: The folder of `items.parquet`, `judgements_train.parquet` and `judgements_test.parquet`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def find(cls) -> HomeDepot:
        """Find the data in ``SHORTLIST_DATA`` or next to the repository; raises NotFound."""
        shared = os.environ.get("SHORTLIST_DATA") or _TOP.parent / "shared/data"
        folder = Path(shared) / "home-depot"
        if not (folder / "items.parquet").is_file():
            raise NotFound(f"{folder} has no items.parquet; set SHORTLIST_DATA to the parent folder of `home-depot`")
        return cls(folder)

    @cached_property
    def dataset(self) -> Dataset:
        """Items and judgements as `prepare` cleans them."""
        return prepare("home-depot", self.folder)

    @cached_property
    def items(self) -> pl.DataFrame:
        """`item_id` and `title`."""
        return self.dataset.items.select("item_id", "title")

    @cached_property
    def titles(self) -> dict[str, str]:
        """Titles by item id."""
        return dict(self.items.iter_rows())

    def judged(self, split: str) -> list[QueryJudgements]:
        """Return the queries of the split `train` or `test` in alphabetical order."""
        frame = pl.read_parquet(self._judgements(split)).sort("query", "item_id")
        grouped = frame.group_by("query", maintain_order=True).agg("item_id", "relevance")
        return [
            QueryJudgements(query, item_ids, np.array(relevance, np.float32) / _MAX_RELEVANCE)
            for query, item_ids, relevance in grouped.iter_rows()
        ]

    def fingerprint(self) -> str:
        """Return a hash of titles and judgements."""
        return self.dataset.fingerprint()

    def _judgements(self, split: str) -> Path:
        return self.folder / f"judgements_{split}.parquet"


class PairMaker:
    """Tokenises and joins queries and titles as the ranking service does."""

    def __init__(self, data: HomeDepot, tokenizer: Path) -> None:
        self._data = data
        self._tokenizer: Tokenizer = plain_tokenizer(str(tokenizer))
        self.template = PairTemplate.from_tokenizer(self._tokenizer)

    def pairs(self, query: str, item_ids: Sequence[str]) -> TokenPairs:
        """Return the pairs of a query and each item."""
        contexts = TokenRows.from_rows([self.context(query)])
        return self.template.join(contexts, np.zeros(len(item_ids), np.int64), self.items(item_ids))

    def context(self, query: str) -> TokenIds:
        """Return a query's tokens."""
        return self._rows([query], CONTEXT_TOKENS).tokens

    def items(self, item_ids: Sequence[str]) -> TokenRows:
        """Return the items' titles in tokens."""
        return self._rows([self._data.titles[item_id] for item_id in item_ids], ITEM_TOKENS)

    def _rows(self, texts: Sequence[str], max_tokens: int) -> TokenRows:
        encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return TokenRows.from_rows([encoding.ids[:max_tokens] for encoding in encodings])


CANDIDATES: Final = 100


@dataclass(frozen=True)
class RankingQuery:
    """A query and the items to rank for it."""

    query: str
    item_ids: Sequence[str]


def sample_queries(data: HomeDepot, count: int, candidates: int) -> list[RankingQuery]:
    """Sample test queries, each with its judged items and random other items."""
    generator = np.random.default_rng(5)
    judged, ids = data.judged("test"), data.items["item_id"].to_list()
    chosen = [judged[place] for place in generator.permutation(len(judged))[:count]]
    return [RankingQuery(one.query, _with_random_items(one.item_ids, ids, candidates, generator)) for one in chosen]


def _with_random_items(
    judged: Sequence[str], ids: Sequence[str], count: int, generator: np.random.Generator
) -> list[str]:
    others = [ids[place] for place in generator.choice(len(ids), count, replace=False)]
    return list(dict.fromkeys([*judged, *others]))[:count]

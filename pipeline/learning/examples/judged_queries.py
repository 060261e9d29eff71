"""Judged queries: items with their relevance to a query."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from common.errors import InvalidRequest
from common.release.catalogue import Catalogue

TEST: Final = "test"


@dataclass(frozen=True, eq=False)
class JudgedQuery:
    """A query and its judged items.

    Attributes:
        query: The search query.
        rows: The items' catalogue rows; int64[items].
        grades: Their relevance from 0 to 1, as shares of the highest that was given; float32[items].
    """

    query: str
    rows: npt.NDArray[np.int64]
    grades: npt.NDArray[np.float32]


def training_queries(judgements: pl.DataFrame | None, catalogue: Catalogue) -> list[JudgedQuery]:
    """Return the judged queries for training, by name: all but those whose ``split`` is `test`.

    Raises:
        InvalidRequest: There are no such judgements, or none is above 0.
    """
    known = _without_test(judgements)
    highest = 0.0 if known.is_empty() else float(known["relevance"].to_numpy().max())
    if not highest > 0:
        raise InvalidRequest("the dataset has no judgements to learn from; the recipe searches needs some")
    return _grouped(known, catalogue, highest)


def judged_queries(judgements: pl.DataFrame, catalogue: Catalogue, split: str) -> list[JudgedQuery]:
    """Return the judged queries of one split, graded as the training ones are."""
    highest = float(_without_test(judgements)["relevance"].to_numpy().max())
    return _grouped(judgements.filter(pl.col("split") == split), catalogue, highest)


def test_queries(judgements: pl.DataFrame | None, catalogue: Catalogue) -> list[JudgedQuery]:
    """Return the judged queries of the split `test`; none if there is no such split."""
    if judgements is None or "split" not in judgements.columns or not (judgements["split"] == TEST).any():
        return []
    return judged_queries(judgements, catalogue, TEST)


def hold_out_queries(queries: Sequence[JudgedQuery], count: int) -> tuple[list[JudgedQuery], list[JudgedQuery]]:
    """Part queries into those to learn from, and at most ``count`` and a tenth of them, drawn by a hash of the text."""
    drawn = sorted(queries, key=lambda one: hashlib.sha256(one.query.encode()).digest())
    held_out = {one.query for one in drawn[: min(count, len(queries) // 10)]}
    return [one for one in queries if one.query not in held_out], [one for one in queries if one.query in held_out]


def learn_and_hold_out(
    judgements: pl.DataFrame | None, catalogue: Catalogue, count: int
) -> tuple[list[JudgedQuery], list[JudgedQuery]]:
    """Return the judged queries to learn from and those held out: the split `test`, else as `hold_out_queries`.

    Both are empty if there are no judgements above 0.
    """
    known = _without_test(judgements)
    if known.is_empty() or not float(known["relevance"].to_numpy().max()) > 0:
        return [], []
    queries, held_out = training_queries(judgements, catalogue), test_queries(judgements, catalogue)
    return (queries, held_out) if held_out else hold_out_queries(queries, count)


def part_by_items(
    queries: Sequence[JudgedQuery], share: float, seed: int
) -> tuple[list[JudgedQuery], list[JudgedQuery]]:
    """Part queries so that none of the second part shares a relevant item with one of the first.

    Queries that are linked by items stay together; the largest such group is in the first part.

    Args:
        queries: The queries.
        share: Maximum share of them in the second part.
        seed: Of the order in which groups are drawn.
    """
    if not queries:
        return [], []
    rows = [one.rows[(one.grades > 0) & (one.rows >= 0)] for one in queries]
    numbers = np.repeat(np.arange(len(queries)), [len(part) for part in rows])
    items = np.concatenate(rows)
    size = len(queries) + int(items.max(initial=0)) + 1
    links = coo_matrix((np.ones(len(items)), (numbers, items + len(queries))), (size, size))
    group = connected_components(links, directed=False)[1][: len(queries)]
    names, counts = np.unique(group, return_counts=True)
    names = names[np.argsort(-counts, kind="stable")]
    drawn, left = set[int](), share * len(queries)
    for name in np.random.default_rng(seed).permutation(names[1:]).tolist():
        count = int((group == name).sum())
        if count <= left:
            drawn.add(name)
            left -= count
    pairs = list(zip(queries, group.tolist(), strict=True))
    return [one for one, name in pairs if name not in drawn], [one for one, name in pairs if name in drawn]


def folds_of(queries: Sequence[JudgedQuery], folds: int, seed: int) -> npt.NDArray[np.int64]:
    """Draw each query's fold, so that every fold has as many; int64[queries]."""
    return np.random.default_rng(seed).permutation(len(queries)) % folds


def fingerprint(queries: Sequence[JudgedQuery]) -> str:
    """Return a hash over queries, rows and grades as hex."""
    digest = hashlib.sha256()
    for one in queries:
        digest.update(f"{len(one.query)} {one.query}".encode())
        digest.update(one.rows.astype("<i8").tobytes() + one.grades.astype("<f4").tobytes())
    return digest.hexdigest()


def _without_test(judgements: pl.DataFrame | None) -> pl.DataFrame:
    if judgements is None:
        return pl.DataFrame()
    return judgements.filter(pl.col("split").ne_missing(TEST)) if "split" in judgements.columns else judgements


def _grouped(judgements: pl.DataFrame, catalogue: Catalogue, highest: float) -> list[JudgedQuery]:
    grouped = judgements.sort("query", "item_id").group_by("query", maintain_order=True).agg("item_id", "relevance")
    return [
        JudgedQuery(query, catalogue.rows_of(item_ids), (np.array(relevance) / highest).astype(np.float32))
        for query, item_ids, relevance in grouped.iter_rows()
    ]

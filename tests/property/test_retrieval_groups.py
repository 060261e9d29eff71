"""What searches do for many at a time agrees with doing it one by one, plainly."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from common.arrays import stack_vectors, unit_vectors
from common.filters import Range
from common.release.catalogue import SCHEMA, Catalogue
from services.retrieval.ann.oversampling import first_passing
from services.retrieval.candidates.candidate_generator import _unsorted
from services.retrieval.candidates.score_fusion import normalised
from services.retrieval.catalogue.item import Item
from services.retrieval.catalogue.item_vectors import ItemVectors
from services.retrieval.catalogue.live_catalogue import LiveCatalogue
from services.retrieval.catalogue.scored_items import ScoredItems, best_of, merged
from services.retrieval.search.item_filter import ItemFilter

score = st.integers(-4, 4).map(lambda number: number / 4)
IDS = [f"item-{number}" for number in range(8)]
RELEASED = IDS[:5]
OWNERS = np.array([0, 0, 1, 2, 3])
RELEASED_VECTORS = np.array([[1.0], [2.0], [3.0], [4.0]], np.float32)


@given(st.lists(st.lists(st.floats(-9, 9, width=32), min_size=3, max_size=3).filter(any), min_size=1, max_size=9))
def test_a_vector_is_scaled_alike_whatever_stands_beside_it(vectors: list[list[float]]):
    """Unit vectors of a table are to the last bit those of each vector alone."""
    given_ = [np.array(vector, np.float32) for vector in vectors]
    table = unit_vectors(stack_vectors(given_))
    assert [row.tobytes() for row in table] == [unit_vectors(vector).tobytes() for vector in given_]
    assert np.allclose(np.linalg.norm(table.astype(np.float64), axis=1), 1)


@given(st.lists(st.lists(score, max_size=6), min_size=1, max_size=4), st.integers(1, 12))
def test_merged_agrees_with_best_of(scores: list[list[float]], k: int):
    """Where no item was found twice, joining finds the same in the same order."""
    founds, first = [], 0
    for each in scores:
        falling = np.array(sorted(each, reverse=True), np.float32)
        founds.append(ScoredItems(np.arange(first, first + len(each)), falling))
        first += len(each)
    one, other = merged(founds, k), best_of(founds, k)
    assert (one.rows.tolist(), one.scores.tolist()) == (other.rows.tolist(), other.scores.tolist())


@given(st.data(), st.integers(1, 4), st.integers(1, 7), st.integers(0, 4), st.integers(1, 9))
def test_what_passes_is_kept_as_a_loop_keeps_it(data: st.DataObject, queries: int, width: int, least: int, most: int):
    """Each row keeps its first that pass, filled up to one width; nothing where a row has too few."""
    least = min(least, most)
    passes = np.array(data.draw(st.lists(st.booleans(), min_size=queries * width, max_size=queries * width)))
    labels, passes = np.arange(queries * width).reshape(queries, width), passes.reshape(queries, width)
    wanted = [[label for label, is_in in zip(*row, strict=True) if is_in] for row in zip(labels, passes, strict=True)]
    kept = first_passing(labels, labels / 2, passes.copy(), least, most)
    if min(map(len, wanted)) < least:
        assert kept is None
        return
    assert kept is not None
    padded = [(row + [-1] * width)[: min(most, width)] for row in (row[:most] for row in wanted)]
    assert kept[0].tolist() == padded
    assert kept[1][kept[0] >= 0].tolist() == [label / 2 for row in padded for label in row if label >= 0]


@given(st.lists(st.lists(st.tuples(*[st.none() | score] * 2), max_size=5), min_size=1, max_size=4))
def test_scores_are_normalised_request_by_request(requests: list[list[tuple[float | None, ...]]]):
    """Each request's scores are scaled by its own lowest and highest; what a source did not find has none."""
    table = [[math.nan if value is None else value for value in row] for rows in requests for row in rows]
    scaled = normalised(np.array(table, np.float32).reshape(-1, 2), [len(rows) for rows in requests])
    wanted = []
    for rows in requests:
        known = [[value for value in column if value is not None] for column in zip(*rows, strict=True)]
        lowest = [min([0.0, *column]) for column in known]
        highest = [max([0.0, *(v - low for v in column)]) or 1.0 for column, low in zip(known, lowest, strict=True)]
        for row in rows:
            parts = zip(row, lowest, highest, strict=True)
            wanted.append([0.0 if value is None else math.sqrt((value - low) / high) for value, low, high in parts])
    assert scaled.tolist() == wanted


@given(st.lists(st.lists(score, max_size=6), min_size=1, max_size=5))
def test_whatever_is_out_of_order_or_equal_is_sorted(requests: list[list[float]]):
    """The places that need sorting hold every tie, and everything where a request's scores do not fall."""
    scores, starts = [value for each in requests for value in each], np.cumsum([0, *map(len, requests)]).tolist()
    pairs = [(at, at + 1) for s, e in pairwise(starts) for at in range(s, e - 1)]
    if any(scores[one] < scores[other] for one, other in pairs):
        wanted = set(range(len(scores)))
    else:
        wanted = {place for pair in pairs if scores[pair[0]] == scores[pair[1]] for place in pair}
    assert set(_unsorted(np.array(scores), starts).tolist()) == wanted


@given(st.lists(st.booleans(), min_size=9, max_size=9))
def test_which_vectors_keep_items(allowed: list[bool]):
    """A vector counts while one of its items is allowed, whether few or most of them are."""
    owners = np.array([0, 1, 1, 2, 4, 4, 4, 5, 0])
    items = ItemVectors(owners, 7, np.zeros(9, np.float32))
    wanted = [any(is_in for owner, is_in in zip(owners, allowed, strict=True) if owner == v) for v in range(7)]
    assert items.vectors_with(np.array(allowed)).tolist() == wanted


# Prices of upserted items, each with its own vector or that of the release; or deletions.
upserts = st.dictionaries(st.sampled_from(IDS), st.tuples(st.integers(0, 9), st.booleans()), max_size=3)
steps_ = st.lists(st.tuples(upserts, st.lists(st.sampled_from(IDS), max_size=2, unique=True)), max_size=8)


@given(steps_, st.integers(0, 9))
@settings(deadline=None)
def test_filters_see_every_change(steps: list[tuple[dict[str, tuple[int, bool]], list[str]]], most: int):
    """After any changes a filter passes the items of a dictionary, each by the vector that it has."""
    live = LiveCatalogue(_catalogue(), 1, lambda rows: RELEASED_VECTORS[OWNERS[rows]])
    items = ItemVectors(OWNERS, 4, np.zeros(5, np.float32))
    item_filter = ItemFilter(live.snapshot.base.table.select(["price"]), items)
    model = dict.fromkeys(RELEASED, (5.0, False))
    for changed, deleted in steps:
        for item_id in deleted:
            model.pop(item_id, None)
        model |= {item_id: (float(price), own) for item_id, (price, own) in changed.items()}
        new = [Item(item_id, "thing", price=float(price)) for item_id, (price, _) in changed.items()]
        live.apply([], np.empty((0, 1), np.float32), deleted)
        live.apply(new, np.array([_vector(i, own) for i, (_, own) in changed.items()], np.float32).reshape(-1, 1), [])
        allowed = item_filter.allowed(live.snapshot, Range("price", None, float(most)))
        passing = {item_id for item_id, (price, _) in model.items() if price <= most}
        assert set(live.snapshot.item_ids(np.flatnonzero(allowed.rows))) == passing
        assert allowed.count == len(passing)
        released = [item_id in passing and not model[item_id][1] for item_id in RELEASED]
        assert (np.ones(5, bool) if allowed.release_items is None else allowed.release_items).tolist() == released
        there = [any(r for r, owner in zip(released, OWNERS, strict=True) if owner == v) for v in range(4)]
        assert (np.ones(4, bool) if allowed.release_vectors is None else allowed.release_vectors).tolist() == there
        numbers = np.flatnonzero(allowed.delta_rows) + len(RELEASED)
        assert set(live.snapshot.item_ids(numbers)) == {i for i in passing if i not in RELEASED or model[i][1]}
        _check_replacement_rows(live, model)


def _check_replacement_rows(live: LiveCatalogue, model: dict[str, tuple[float, bool]]) -> None:
    """Each item of the release that keeps its vector stands where it is now."""
    snapshot = live.snapshot
    replacement_row = np.arange(len(RELEASED)) if snapshot.replacement_row is None else snapshot.replacement_row
    wanted = [snapshot.row_of(i) if i in model and not model[i][1] else -1 for i in RELEASED]
    assert replacement_row.tolist() == wanted


def _vector(item_id: str, own: bool) -> list[float]:
    if own or item_id not in RELEASED:
        return [9.0]
    return RELEASED_VECTORS[OWNERS[RELEASED.index(item_id)]].tolist()


def _catalogue() -> Catalogue:
    columns = {name: [None] * len(RELEASED) for name in SCHEMA.names}
    columns |= {"item_id": RELEASED, "title": RELEASED, "text": RELEASED, "available": [True] * len(RELEASED)}
    columns |= {"price": [5.0] * len(RELEASED), "token_ids": [[]] * len(RELEASED)}
    return Catalogue(pa.table(columns, schema=SCHEMA))

"""Generates candidates: every source retrieves items, and their scores are fused."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Final, NamedTuple

import numpy as np
import pyarrow.compute as pc

from common.arrays import Float32Array, Float64Array, RowIndices, stack_vectors, unit_vectors
from common.release.catalogue import Catalogue
from services.retrieval.candidates.candidates import Candidates
from services.retrieval.candidates.distinct_texts import first_of_each, rows_with_texts_of, share_scores, text_keys
from services.retrieval.candidates.release_settings import FirstStageSettings
from services.retrieval.candidates.request import Request
from services.retrieval.candidates.score_fusion import LinearFusion, unions
from services.retrieval.catalogue.item_vectors import ItemVectors
from services.retrieval.catalogue.scored_items import ScoredItems
from services.retrieval.catalogue.snapshot import Snapshot
from services.retrieval.search.allowed_items import AllowedItems
from services.retrieval.search.filter_evaluation import for_sale
from services.retrieval.search.item_filter import ItemFilter
from services.retrieval.sources.popular import PopularSource
from services.retrieval.sources.source import Source, SourceResult
from services.retrieval.sources.user_context import UserContext

_TEXT_KINDS: Final = ("semantic", "similar")
_NO_ROWS: Final[RowIndices] = np.empty(0, dtype=np.int64)


class _PreparedRequest(NamedTuple):
    """A request as the sources see it."""

    position: int
    limit: int
    user: UserContext
    ignored_history: int


class _Ranked(NamedTuple):
    """The best candidates of a request, with each source's scores."""

    rows: RowIndices
    scores: Float64Array
    source_scores: Float32Array


_NOTHING: Final = _Ranked(_NO_ROWS, np.empty(0), np.empty((0, 0), dtype=np.float32))


class CandidateGenerator:
    """One release's sources and how they are fused. Safe for threads.

    Args:
        settings: The release's.
        sources: The sources by name.
        popular: Pads results if the sources find too few items.
        vectors: Which item has which vector.
        item_filter: Evaluates filters.
        depth: How many items each source retrieves at least.
        base: The release's catalogue.
    """

    def __init__(
        self,
        settings: FirstStageSettings,
        sources: Mapping[str, Source],
        popular: PopularSource,
        vectors: ItemVectors,
        item_filter: ItemFilter,
        depth: int,
        base: Catalogue,
    ) -> None:
        self._settings = settings
        self._sources = sources
        self._popular = popular
        self._vectors = vectors
        self._filter = item_filter
        self._depth = depth
        self._id_rank = _id_ranks(base)
        self._fusion = LinearFusion(settings.weights)

    def generate(self, requests: Sequence[Request], snapshot: Snapshot) -> list[Candidates]:
        """Answer requests whose queries are embedded, all on one snapshot.

        Requests with the same allowed items and sources are searched together, since each search costs some Python.
        """
        began = time.perf_counter()
        queries = _queries(requests)
        groups: dict[tuple[int, int, tuple[str, ...]], list[_PreparedRequest]] = defaultdict(list)
        allowed_of: dict[int, AllowedItems] = {}
        plain: dict[bool, AllowedItems] = {}  # most requests of a batch have neither filter nor exclusions
        for position, request in enumerate(requests):
            if request.filter is None and not request.exclude_item_ids and not request.exclude_history:
                allowed = plain.get(request.distinct_texts) or self._allowed(request, snapshot)
                plain[request.distinct_texts] = allowed
            else:
                allowed = self._allowed(request, snapshot)
            allowed_of[id(allowed)] = allowed
            names = self._settings.sources_with(request.sources, request.evidence)
            groups[id(allowed), max(request.limit, self._depth), names].append(
                self._prepare(position, request, queries.get(position), snapshot)
            )
        prepare_s = time.perf_counter() - began
        candidates_of: dict[int, Candidates] = {}
        for (key, depth, names), prepared in groups.items():
            candidates_of |= self._search_together(prepared, names, depth, allowed_of[key], prepare_s)
        for position, request in enumerate(requests):
            candidates_of[position].query = request.text
            candidates_of[position].is_corrected = bool(request.corrected_query)
        return [candidates_of[position] for position in range(len(requests))]

    def _prepare(
        self, position: int, request: Request, query: Float32Array | None, snapshot: Snapshot
    ) -> _PreparedRequest:
        known, ignored, weights = _NO_ROWS, 0, None
        if request.history_item_ids:
            history = snapshot.history_rows(request.history_item_ids)
            is_known = history >= 0
            ignored = len(history) - int(np.count_nonzero(is_known))
            if request.history_kinds:
                counted = self._settings.events.weigh(request.history_kinds, len(history)).weights
                is_known &= counted > 0
                weights = counted[is_known][-self._settings.history_items :]
            known = history[is_known]
        user = UserContext(
            query_vector=query,
            history=known[-self._settings.history_items :],
            decay=self._settings.decay,
            query_text=request.text,
            request_seed=request.seed,
            history_item_ids=request.history_item_ids,
            event_weights=weights,
        )
        return _PreparedRequest(position, request.limit, user, ignored)

    def _allowed(self, request: Request, snapshot: Snapshot) -> AllowedItems:
        allowed = self._filter.allowed(snapshot, for_sale(request.filter))
        if request.distinct_texts:
            allowed = replace(allowed, one_per_text=True)
        if request.exclude_item_ids:
            excluded = snapshot.rows_of(request.exclude_item_ids)
            allowed = allowed.without(excluded[excluded >= 0], self._vectors)
        if request.exclude_history and request.history_item_ids:
            history = snapshot.rows_of(list(dict.fromkeys(request.history_item_ids)))
            history = history[history >= 0]
            if request.distinct_texts:
                history = rows_with_texts_of(history, snapshot, self._vectors)
            allowed = allowed.without(history, self._vectors)
        return allowed

    def _search_together(
        self,
        prepared: Sequence[_PreparedRequest],
        names: tuple[str, ...],
        depth: int,
        allowed: AllowedItems,
        prepare_s: float,
    ) -> dict[int, Candidates]:
        """Answer requests that are searched together; returns candidates by position."""
        began = time.perf_counter()
        users = [each.user for each in prepared]
        found = (self._sources[name].retrieve(users, depth, allowed) for name in names)
        results = list(zip(*found, strict=True)) if names else [()] * len(users)
        searched = time.perf_counter()
        ranked = self._ranked(prepared, [[result.items for result in of_user] for of_user in results], names, allowed)
        candidates_of = {
            each.position: self._padded(each, allowed, names, of_user, best)
            for each, of_user, best in zip(prepared, results, ranked, strict=True)
        }
        fuse_s = (time.perf_counter() - searched) / len(prepared) + prepare_s
        for candidates in candidates_of.values():
            candidates.search_s, candidates.fuse_s = searched - began, fuse_s
        return candidates_of

    def _ranked(
        self,
        prepared: Sequence[_PreparedRequest],
        results: Sequence[Sequence[ScoredItems]],
        names: tuple[str, ...],
        allowed: AllowedItems,
    ) -> list[_Ranked]:
        """Fuse what the sources retrieved for each request, and return the highest scores, falling, ties by item id.

        All requests' candidates are concatenated, so that the number of numpy calls does not grow with the requests.
        """
        if not names:
            return [_NOTHING] * len(prepared)
        snapshot = allowed.snapshot
        rows, source_scores, counts = unions(results)
        keys = text_keys(rows, snapshot, self._vectors) if allowed.one_per_text else None
        if keys is not None:
            share_scores(source_scores, self._text_columns(names), keys, counts)
        scores = self._fusion.fuse(source_scores, counts, [each.user.situation for each in prepared], names)
        starts = [0, *accumulate(counts)]
        if len(unsorted := _unsorted(scores, starts)):
            owners = np.searchsorted(starts, unsorted, "right")
            order = unsorted[np.lexsort((self._id_ranks_of(rows[unsorted], snapshot), -scores[unsorted], owners))]
            for values in (rows, scores, source_scores, *(() if keys is None else (keys,))):
                values[unsorted] = values[order]
        best = [np.arange(start, start + count) for start, count in zip(starts, counts, strict=False)]
        if keys is not None:
            best = [part[first_of_each(keys[part])] for part in best]
        kept = [part[: each.limit] for part, each in zip(best, prepared, strict=True)]
        return [_Ranked(rows[part], scores[part], source_scores[part]) for part in kept]

    def _text_columns(self, names: tuple[str, ...]) -> list[int]:
        """Return the columns of sources that give every item of a text the same score."""
        return [at for at, name in enumerate(names) if self._settings.kind_of(name) in _TEXT_KINDS]

    def _padded(
        self,
        prepared: _PreparedRequest,
        allowed: AllowedItems,
        names: tuple[str, ...],
        results: Sequence[SourceResult],
        best: _Ranked,
    ) -> Candidates:
        """Return the candidates of a request, padded if the sources found too few."""
        rows, scores, source_scores = best
        missing = max(0, min(prepared.limit, allowed.count) - len(rows))
        if missing:
            padding = self._padding(rows, missing, allowed)
            rows = np.concatenate([rows, padding])
            scores = np.concatenate([scores, -1.0 - np.arange(len(padding))])
            source_scores = np.pad(source_scores, ((0, len(padding)), (0, 0)), constant_values=np.nan)
        return Candidates(
            snapshot=allowed.snapshot,
            rows=rows,
            scores=scores,
            sources=names,
            source_scores=source_scores,
            ignored_history=prepared.ignored_history,
            padded=missing,
            paths={name: result.path for name, result in zip(names, results, strict=True) if result.path is not None},
        )

    def _padding(self, found: RowIndices, missing: int, allowed: AllowedItems) -> RowIndices:
        """Return ``missing`` allowed items that no source found, the popular first."""
        rows = self._popular.padding(len(found) + missing, allowed)
        if allowed.one_per_text:
            rows = np.concatenate([found, rows])
            rows = rows[first_of_each(text_keys(rows, allowed.snapshot, self._vectors))]
        return rows[~np.isin(rows, found)][:missing]

    def _id_ranks_of(self, rows: RowIndices, snapshot: Snapshot) -> RowIndices:
        """Return ranks that order rows by item id."""
        origins = snapshot.origin_of(rows)  # which have the same ids
        if (origins >= 0).all():
            return self._id_rank[origins]
        return np.unique(np.array(snapshot.item_ids(rows), dtype=np.str_), return_inverse=True)[1]


def _queries(requests: Sequence[Request]) -> dict[int, Float32Array]:
    """Return the unit vectors of queries, by the positions of their requests."""
    source_scores = {
        position: request.vector for position, request in enumerate(requests) if request.vector is not None
    }
    return (
        dict(zip(source_scores, unit_vectors(stack_vectors(list(source_scores.values()))), strict=True))
        if source_scores
        else {}
    )


def _unsorted(scores: Float64Array, starts: Sequence[int]) -> RowIndices:
    """Return the positions to sort: those of equal scores if all others fall within each request, otherwise all.

    The scores of one source fall already; only items that share a vector are equal.

    Args:
        scores: Of one request after the other; shape [candidates].
        starts: Where each request's candidates begin, and where the last one's end.
    """
    level = scores[1:] >= scores[:-1]
    if len(starts) > 2:  # noqa: PLR2004 - from one request to the next they may rise
        level[[start - 1 for start in starts if 0 < start < len(scores)]] = False
    first = level.nonzero()[0]
    if not len(first):
        return first
    if (scores[first + 1] > scores[first]).any():
        return np.arange(len(scores))
    equal = np.zeros(len(scores), dtype=np.bool_)
    equal[first] = equal[first + 1] = True
    return equal.nonzero()[0]


def _id_ranks(base: Catalogue) -> RowIndices:
    """Return each item's rank among the sorted ids: sorting ids for every answer would take far longer."""
    positions = np.empty(len(base), dtype=np.int64)
    positions[pc.sort_indices(base.table["item_id"]).to_numpy()] = np.arange(len(base))
    return positions

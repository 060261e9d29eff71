"""What a request says of single candidates: items to include, and conditions to evaluate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from common.arrays import BoolMask
from common.filters import Filter
from services.retrieval.candidates.candidates import Candidates
from services.retrieval.candidates.request import Request
from services.retrieval.search.filter_evaluation import for_sale
from services.retrieval.search.item_filter import ItemFilter


def include_items(candidates: Candidates, request: Request, item_filter: ItemFilter) -> Candidates:
    """Return candidates with the items that the request includes, in the last places of its limit.

    Unknown items, those that the filter or the request leaves out, and those that are candidates change nothing.
    """
    if not request.include_item_ids:
        return candidates
    snapshot = candidates.snapshot
    excluded = {*request.exclude_item_ids, *(request.history_item_ids if request.exclude_history else ())}
    rows = snapshot.rows_of([item_id for item_id in dict.fromkeys(request.include_item_ids) if item_id not in excluded])
    rows = rows[rows >= 0]
    rows = rows[item_filter.allowed(snapshot, for_sale(request.filter)).rows[rows]]
    rows = rows[~np.isin(rows, candidates.rows)][: request.limit]
    if not len(rows):
        return candidates
    kept = min(len(candidates), request.limit - len(rows))
    last = min(0.0, float(candidates.scores[:kept].min(initial=0.0)))
    missing = np.full((len(rows), candidates.source_scores.shape[1]), np.nan, candidates.source_scores.dtype)
    return replace(
        candidates,
        rows=np.concatenate([candidates.rows[:kept], rows]),
        scores=np.concatenate([candidates.scores[:kept], last - 1.0 - np.arange(len(rows))]),
        source_scores=np.concatenate([candidates.source_scores[:kept], missing]),
        padded=max(0, candidates.padded - (len(candidates) - kept)) + len(rows),
    )


def which_hold(condition: Filter, candidates: Candidates, item_filter: ItemFilter) -> BoolMask:
    """Return for which candidates a condition holds, shape [candidates]; raises InvalidRequest if it cannot hold."""
    item_filter.check(condition)
    return item_filter.allowed(candidates.snapshot, condition).rows[candidates.rows]

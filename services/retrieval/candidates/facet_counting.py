"""Counts facets of a first stage: over every item that passes a filter, or over the candidates of a query."""

from __future__ import annotations

import numpy as np

from common.filters import Filter
from services.retrieval.candidates.first_stage import FirstStage
from services.retrieval.candidates.request import Request
from services.retrieval.search.facets import Facet, FacetRequest, count_facets
from services.retrieval.search.filter_evaluation import for_sale


def count_matching(stage: FirstStage, facets: FacetRequest, condition: Filter | None) -> tuple[list[Facet], int]:
    """Count over all items that pass a checked filter; returns the facets and the number of items."""
    allowed = stage.item_filter.allowed(stage.snapshot, for_sale(condition))
    return count_facets(stage.item_filter.table, allowed.snapshot, allowed.rows, facets), allowed.count


def count_candidates(stage: FirstStage, facets: FacetRequest, request: Request) -> tuple[list[Facet], int]:
    """Count over the candidates that a source finds for a checked request whose query is embedded.

    Items that no source found, with which short answers are filled, are no candidates of the query.
    """
    (candidates,) = stage.search([request], stage.snapshot)
    found = candidates.rows[~np.isnan(candidates.source_scores).all(axis=1)]
    rows = np.zeros(candidates.snapshot.row_count, dtype=np.bool_)
    rows[found] = True
    return count_facets(stage.item_filter.table, candidates.snapshot, rows, facets), len(found)

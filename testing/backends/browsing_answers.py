"""The answers of a fake retrieval service for product pages, carts, search boxes and filters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shortlist.retrieval.v1 import retrieval_pb2

from testing.backends.planted_items import evaluated


class BrowsingAnswers:
    """Answers over the planted catalogue.

    Attributes:
        release_id: The release that answers.
    """

    release_id: str

    async def BatchRetrieve(self, request: Any, context: Any) -> retrieval_pb2.BatchRetrieveResponse:  # noqa: N802
        """Answer each request; a source finds the items with its evidence: behaviour the even ones, similar all."""
        await self.meet(request, context)
        return retrieval_pb2.BatchRetrieveResponse(responses=map(self._related, request.requests))

    async def Complete(self, request: Any, context: Any) -> retrieval_pb2.CompleteResponse:  # noqa: N802
        """Suggest the text itself."""
        await self.meet(request, context)
        suggestion = retrieval_pb2.Suggestion(text=request.text, kind=retrieval_pb2.SUGGESTION_KIND_TITLE)
        return retrieval_pb2.CompleteResponse(suggestions=[suggestion], release_id=self.release_id)

    async def ListFacets(self, request: Any, context: Any) -> retrieval_pb2.ListFacetsResponse:  # noqa: N802
        """Answer with empty facets of the attributes."""
        await self.meet(request, context)
        facets = [retrieval_pb2.Facet(attribute=name) for name in request.attributes]
        return retrieval_pb2.ListFacetsResponse(facets=facets, items=request.candidates, release_id=self.release_id)

    def _related(self, request: retrieval_pb2.RetrieveRequest) -> retrieval_pb2.RetrieveResponse:
        everything = self.candidates()
        behaviour = retrieval_pb2.EVIDENCE_BEHAVIOUR in request.evidence
        left_out = {*request.exclude_item_ids, *(request.history_item_ids if request.exclude_history else ())}
        found = [each for each in everything if each.item_id not in left_out]
        name, positions = (
            ("behaviour", range(0, len(everything), 2)) if behaviour else ("similar", range(len(everything)))
        )
        found_ids = {f"item-{position}" for position in positions}
        for each in found:
            each.ClearField("sources")
            if each.item_id in found_ids:
                each.sources.add(source=name, score=each.score)
        found.sort(key=lambda each: not each.sources)  # padding comes last, as in retrieval
        found = found[: request.limit]
        return retrieval_pb2.RetrieveResponse(
            candidates=found,
            conditions=[evaluated(condition, found) for condition in request.conditions],
            release_id=self.release_id,
            ignored_history_items=sum(not item_id.startswith("item-") for item_id in request.history_item_ids),
        )

    async def meet(self, request: Any, context: Any) -> None:
        """Record a call, and fail it on demand."""
        raise NotImplementedError

    def candidates(self) -> Sequence[retrieval_pb2.Candidate]:
        """Return every candidate in the first stage's order."""
        raise NotImplementedError

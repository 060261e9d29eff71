"""The client of retrieval for what a shop's search box and filters show; answers are passed on as they are."""

from __future__ import annotations

from typing import Any, cast

from shortlist.retrieval.v1 import retrieval_pb2

from common.errors import InvalidRequest
from services.gateway.backends.replicas.replica import RequestRefused
from services.gateway.backends.replicas.replica_set import ReplicaSet
from services.gateway.backends.stage_errors import error_of
from services.gateway.backends.stages import StageFailed


class CatalogueClient:
    """Completes texts and counts facets with retrieval's replicas. A second try is harmless."""

    def __init__(self, replicas: ReplicaSet) -> None:
        self._replicas = replicas

    async def complete(
        self, request: retrieval_pb2.CompleteRequest, timeout_s: float
    ) -> retrieval_pb2.CompleteResponse:
        """Complete a text; raises as `list_facets` does."""
        return cast("retrieval_pb2.CompleteResponse", await self._call("Complete", request, timeout_s))

    async def list_facets(
        self, request: retrieval_pb2.ListFacetsRequest, timeout_s: float
    ) -> retrieval_pb2.ListFacetsResponse:
        """Count facets.

        Raises:
            InvalidRequest: Retrieval refused the request.
            NotReady: Retrieval does not answer.
            Overloaded: Retrieval has no room.
            DeadlineTooShort: Retrieval was too slow.
        """
        return cast("retrieval_pb2.ListFacetsResponse", await self._call("ListFacets", request, timeout_s))

    async def _call(self, method: str, request: Any, timeout_s: float) -> Any:
        try:
            return await self._replicas.call(method, request, timeout_s, repeatable=True)
        except RequestRefused as refused:
            raise InvalidRequest(str(refused)) from refused
        except StageFailed as failure:
            raise error_of(failure) from failure

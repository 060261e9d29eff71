"""A fake gateway for callers' tests: a real gRPC server with the real contract, in this process, without a release.

with FakeGateway(items=["milk", "bread"]) as gateway, Client(gateway.target) as client:
    shop_page(client)
assert gateway.requests[-1].query == "breakfast"
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import grpc
from shortlist.gateway.v1 import gateway_pb2
from shortlist.retrieval.v1 import retrieval_pb2

_SERVICE: Final = "shortlist.gateway.v1.RecommendationService"
_DEFAULT_LIMIT: Final = 10
Recommend = Callable[[gateway_pb2.RecommendRequest], gateway_pb2.RecommendResponse]


class FakeGateway:
    """Answers Recommend with set items, keeps recorded events in memory, and fails as told.

    Args:
        items: The ids of the items that Recommend answers, best first; blocked ones and those of the history, where
            the policy says so, are left out.
        recommend: Answers Recommend instead.

    Attributes:
        target: Where it listens, once it runs.
        requests: The requests of Recommend so far.
        events: The recorded events by id.
    """

    def __init__(self, items: Sequence[str] = (), recommend: Recommend | None = None) -> None:
        self._items = tuple(items)
        self._recommend = recommend or self._set_items
        self._failures: deque[tuple[grpc.StatusCode, str]] = deque()
        self._lock = threading.Lock()
        self._server: grpc.Server | None = None
        self.target = ""
        self.requests: list[gateway_pb2.RecommendRequest] = []
        self.events: dict[str, gateway_pb2.Event] = {}

    def fail_next(self, code: grpc.StatusCode, details: str = "", times: int = 1) -> None:
        """Make the next calls fail with a status."""
        self._failures.extend([(code, details)] * times)

    def __enter__(self) -> FakeGateway:  # noqa: PYI034 - Self is of Python 3.11
        """Start it on a free port of the loopback interface."""
        server = grpc.server(ThreadPoolExecutor(max_workers=8, thread_name_prefix="fake-gateway"))
        handlers = {
            "Recommend": self._handler(self._answer, gateway_pb2.RecommendRequest),
            "Explain": self._handler(self._explain, gateway_pb2.ExplainRequest),
            "RecordEvents": self._handler(self._record, gateway_pb2.RecordEventsRequest),
            "ForgetUser": self._handler(self._forget, gateway_pb2.ForgetUserRequest),
            "SimilarItems": self._handler(self._similar_items, gateway_pb2.SimilarItemsRequest),
            "Complete": self._handler(self._complete, gateway_pb2.CompleteRequest),
            "ListFacets": self._handler(self._list_facets, gateway_pb2.ListFacetsRequest),
            "RelatedToCart": self._handler(self._related_to_cart, gateway_pb2.RelatedToCartRequest),
        }
        handlers["BatchRecommend"] = grpc.stream_stream_rpc_method_handler(
            self._batch, gateway_pb2.BatchRecommendRequest.FromString, lambda each: bytes(each.SerializeToString())
        )
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, handlers),))
        self.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        self._server = server
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        if self._server is not None:
            self._server.stop(None).wait()

    def _handler(self, answer: Callable[[Any], Any], request: Any) -> Any:
        def run(message: Any, context: Any) -> Any:
            with self._lock:
                failure = self._failures.popleft() if self._failures else None
                if failure is None:
                    try:
                        return answer(message)
                    except LookupError as error:
                        failure = (grpc.StatusCode.NOT_FOUND, str(error))
            return context.abort(*failure)

        return grpc.unary_unary_rpc_method_handler(
            run, request.FromString, lambda message: bytes(message.SerializeToString())
        )

    def _answer(self, request: gateway_pb2.RecommendRequest) -> gateway_pb2.RecommendResponse:
        self.requests.append(request)
        return self._recommend(request)

    def _batch(
        self, requests: Iterator[gateway_pb2.BatchRecommendRequest], context: Any
    ) -> Iterator[gateway_pb2.BatchRecommendResponse]:
        del context
        for each in requests:
            with self._lock:
                failure = self._failures.popleft() if self._failures else None
                answer = None if failure else self._answer(each.request)
            error = gateway_pb2.BatchError(code=failure[0].value[0], message=failure[1]) if failure else None
            yield gateway_pb2.BatchRecommendResponse(id=each.id, response=answer, error=error)

    def _set_items(self, request: gateway_pb2.RecommendRequest) -> gateway_pb2.RecommendResponse:
        policy = request.policy
        left_out = set(policy.blocked_item_ids)
        if policy.exclude_history or policy.exclude_purchased:
            left_out |= set(request.history_item_ids)
        limit = request.limit if request.HasField("limit") else _DEFAULT_LIMIT
        items = [item for item in self._items if item not in left_out][:limit]
        return gateway_pb2.RecommendResponse(
            items=[
                gateway_pb2.RecommendedItem(
                    item_id=item, title=item, probability=1 / (2 + index), first_stage_rank=index + 1
                )
                for index, item in enumerate(items)
            ],
            release_id="fake",
        )

    def _explain(self, request: gateway_pb2.ExplainRequest) -> gateway_pb2.ExplainResponse:
        for rank, item in enumerate(self._recommend(request.request).items, 1):
            if item.item_id == request.item_id:
                return gateway_pb2.ExplainResponse(item=item, rank=rank, release_id="fake")
        raise LookupError(f"item {request.item_id} is not among the candidates")

    def _similar_items(self, request: gateway_pb2.SimilarItemsRequest) -> gateway_pb2.SimilarItemsResponse:
        if request.item_id not in self._items:
            raise LookupError(f"item_id: the fake gateway does not have {request.item_id!r}")
        items = self._others({request.item_id, *request.exclude_item_ids}, request)
        return gateway_pb2.SimilarItemsResponse(items=items, release_id="fake")

    def _related_to_cart(self, request: gateway_pb2.RelatedToCartRequest) -> gateway_pb2.RelatedToCartResponse:
        items = self._others({*request.item_ids, *request.exclude_item_ids}, request)
        ignored = sum(item not in self._items for item in request.item_ids)
        return gateway_pb2.RelatedToCartResponse(items=items, release_id="fake", ignored_items=ignored)

    def _complete(self, request: gateway_pb2.CompleteRequest) -> gateway_pb2.CompleteResponse:
        limit = request.limit if request.HasField("limit") else _DEFAULT_LIMIT
        found = [item for item in self._items if item.startswith(request.text.casefold())][:limit]
        title = retrieval_pb2.SUGGESTION_KIND_TITLE
        return gateway_pb2.CompleteResponse(
            suggestions=[retrieval_pb2.Suggestion(text=item, kind=title, item_id=item) for item in found],
            release_id="fake",
        )

    def _list_facets(self, request: gateway_pb2.ListFacetsRequest) -> gateway_pb2.ListFacetsResponse:
        everything = retrieval_pb2.FacetValue(value="fake", items=len(self._items))
        attributes = request.attributes or ["brand"]
        return gateway_pb2.ListFacetsResponse(
            facets=[retrieval_pb2.Facet(attribute=name, values=[everything], distinct_values=1) for name in attributes],
            scope=retrieval_pb2.FACET_SCOPE_CANDIDATES if request.query else retrieval_pb2.FACET_SCOPE_MATCHING_ITEMS,
            items=len(self._items),
            release_id="fake",
        )

    def _others(self, left_out: set[str], request: Any) -> list[gateway_pb2.RelatedItem]:
        limit = request.limit if request.HasField("limit") else _DEFAULT_LIMIT
        items = [item for item in self._items if item not in left_out][:limit]
        source = retrieval_pb2.SourceScore(source="fake", score=1.0)
        return [
            gateway_pb2.RelatedItem(item_id=item, title=item, score=1 / (61 + index), sources=[source])
            for index, item in enumerate(items)
        ]

    def _record(self, request: gateway_pb2.RecordEventsRequest) -> gateway_pb2.RecordEventsResponse:
        known = sum(event.event_id in self.events for event in request.events)
        self.events.update((event.event_id, event) for event in request.events)
        return gateway_pb2.RecordEventsResponse(recorded=len(request.events) - known, duplicates=known)

    def _forget(self, request: gateway_pb2.ForgetUserRequest) -> gateway_pb2.ForgetUserResponse:
        erased = [event_id for event_id, event in self.events.items() if event.user_id == request.user_id]
        for event_id in erased:
            del self.events[event_id]
        return gateway_pb2.ForgetUserResponse(erased_events=len(erased))

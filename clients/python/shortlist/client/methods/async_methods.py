"""Further methods of the client for asyncio. `sync_methods.py` is made from this file: `make client`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, Final, TypeVar

import grpc
from shortlist.client.errors import error_of
from shortlist.client.methods.batches import BatchAnswer, BatchRequest, batch_answer, batch_messages
from shortlist.client.methods.related_items import RelatedItems, related_items
from shortlist.client.methods.suggestions import Suggestions, suggestions
from shortlist.client.requests import Filter
from shortlist.gateway.v1 import gateway_pb2, rules_pb2

Answer = TypeVar("Answer")
_RECOMMENDATION: Final = "/shortlist.gateway.v1.RecommendationService/"
_RULES: Final = "/shortlist.gateway.v1.RuleService/"


class AsyncMethods:
    """Methods of the client for asyncio other than recommending and recording."""

    async def similar_items(
        self,
        item_id: str,
        *,
        where: Filter | None = None,
        exclude: Iterable[str] = (),
        limit: int | None = None,
        explain: bool = False,
        country: str = "",
        placement: str = "",
        language: str = "",
        timeout_s: float | None = None,
        request_id: str = "",
    ) -> RelatedItems:
        """Return items near an item, for its product page.

        Args:
            item_id: The item.
            where: Which items may be returned.
            exclude: Items that must not be returned, such as those that the page shows already.
            limit: How many items to return, 1 to 500; None for 10.
            explain: Whether items carry reasons.
            country: The user's country, such as ``DE``; rules may be for some countries only.
            placement: Where the items are shown; rules may be for some placements only.
            language: The language of the reasons, ``en`` or ``zh``; English by default.
            timeout_s: The time of the call, retries included.
            request_id: The call's id in the servers' logs; made if empty.

        Raises:
            NotFound: The shop does not have the item.
            ShortlistClientError: The call failed otherwise.
        """
        request = gateway_pb2.SimilarItemsRequest(
            item_id=item_id,
            filter=where,
            exclude_item_ids=exclude,
            limit=limit,
            explain=explain,
            country=country,
            placement=placement,
            language=language,
        )
        read = gateway_pb2.SimilarItemsResponse.FromString
        return related_items(await self._call(f"{_RECOMMENDATION}SimilarItems", request, read, timeout_s, request_id))

    async def related_to_cart(
        self,
        item_ids: Iterable[str],
        *,
        where: Filter | None = None,
        exclude: Iterable[str] = (),
        limit: int | None = None,
        explain: bool = False,
        country: str = "",
        placement: str = "",
        language: str = "",
        timeout_s: float | None = None,
        request_id: str = "",
    ) -> RelatedItems:
        """Return items that complete a cart; none of the cart's.

        Args:
            item_ids: The items of the cart, in the order in which they were put there.
            where: As in ``similar_items``.
            exclude: As in ``similar_items``.
            limit: As in ``similar_items``.
            explain: As in ``similar_items``.
            country: As in ``similar_items``.
            placement: As in ``similar_items``.
            language: As in ``similar_items``.
            timeout_s: As in ``similar_items``.
            request_id: As in ``similar_items``.

        Raises:
            ShortlistClientError: The call failed.
        """
        request = gateway_pb2.RelatedToCartRequest(
            item_ids=item_ids,
            filter=where,
            exclude_item_ids=exclude,
            limit=limit,
            explain=explain,
            country=country,
            placement=placement,
            language=language,
        )
        read = gateway_pb2.RelatedToCartResponse.FromString
        return related_items(await self._call(f"{_RECOMMENDATION}RelatedToCart", request, read, timeout_s, request_id))

    async def complete(
        self, text: str, *, limit: int | None = None, timeout_s: float | None = None, request_id: str = ""
    ) -> Suggestions:
        """Complete what a user types in a search box.

        Args:
            text: What the user has typed; the last word is completed unless a space follows it.
            limit: How many suggestions to return, 1 to 50; None for 10.
            timeout_s: The time of the call, retries included.
            request_id: The call's id in the servers' logs; made if empty.

        Raises:
            ShortlistClientError: The call failed.
        """
        request = gateway_pb2.CompleteRequest(text=text, limit=limit)
        return suggestions(
            await self._call(
                f"{_RECOMMENDATION}Complete", request, gateway_pb2.CompleteResponse.FromString, timeout_s, request_id
            )
        )

    async def list_facets(
        self,
        attributes: Iterable[str] = (),
        *,
        query: str = "",
        where: Filter | None = None,
        max_values: int | None = None,
        max_buckets: int | None = None,
        candidates: int | None = None,
        timeout_s: float | None = None,
        request_id: str = "",
    ) -> gateway_pb2.ListFacetsResponse:
        """Count the values of attributes, over all items that pass a filter or over the candidates of a query.

        Args:
            attributes: The attributes; empty for all that filters can use.
            query: What the user searches for; with it, only its candidates are counted.
            where: Which items to count.
            max_values: How many values of an attribute with texts, 1 to 1,000; None for 10.
            max_buckets: How many buckets of a numeric attribute, 1 to 100; None for 5.
            candidates: How many candidates to count with a query, 1 to 1,000; None for as many as are ranked.
            timeout_s: The time of the call, retries included.
            request_id: The call's id in the servers' logs; made if empty.

        Raises:
            ShortlistClientError: The call failed.
        """
        request = gateway_pb2.ListFacetsRequest(
            query=query,
            filter=where,
            attributes=attributes,
            max_values=max_values,
            max_buckets=max_buckets,
            candidates=candidates,
        )
        return await self._call(
            f"{_RECOMMENDATION}ListFacets", request, gateway_pb2.ListFacetsResponse.FromString, timeout_s, request_id
        )

    async def batch_recommend(
        self, requests: Iterable[BatchRequest], *, timeout_s: float = 3_600.0, request_id: str = ""
    ) -> AsyncIterator[BatchAnswer]:
        """Recommend items to many users, with batch priority; yields answers as they are ready, in any order.

        Requests are taken as the server has room for them. One that fails has an answer with its error. If the call
        itself fails, call again with the requests of which no answer came.

        Args:
            requests: The requests, each with an id of yours.
            timeout_s: The time of the whole call.
            request_id: The call's id in the servers' logs; made if empty.

        Raises:
            ShortlistClientError: The call failed.
        """
        messages = batch_messages(requests)
        try:
            async for message in self._stream(f"{_RECOMMENDATION}BatchRecommend", messages, timeout_s, request_id):
                yield batch_answer(gateway_pb2.BatchRecommendResponse.FromString(message))
        except grpc.RpcError as error:
            raise error_of(error) from error

    def _stream(self, method: str, messages: Iterable[Any], timeout_s: float, request_id: str) -> Any:
        """Return the call that sends messages and yields the bytes of answers."""
        raise NotImplementedError

    async def list_rules(self, *, timeout_s: float | None = None, request_id: str = "") -> rules_pb2.ListRulesResponse:
        """Return the shop's rules and their version.

        Raises:
            ShortlistClientError: The call failed.
        """
        return await self._call(
            f"{_RULES}ListRules",
            rules_pb2.ListRulesRequest(),
            rules_pb2.ListRulesResponse.FromString,
            timeout_s,
            request_id,
        )

    async def put_rules(
        self,
        rules: Iterable[rules_pb2.Rule],
        *,
        if_version: int | None = None,
        timeout_s: float | None = None,
        request_id: str = "",
    ) -> int:
        """Add rules or replace those of the same ids, all or none; returns the new version. Needs ``administer``.

        Args:
            rules: The rules.
            if_version: The version that the rules must have; None for any.
            timeout_s: The time of the call, retries included.
            request_id: The call's id in the servers' logs; made if empty.

        Raises:
            InvalidRequest: A rule is invalid, or the rules have another version.
            ShortlistClientError: The call failed otherwise.
        """
        request = rules_pb2.PutRulesRequest(rules=rules, if_version=if_version)
        answer = await self._call(
            f"{_RULES}PutRules", request, rules_pb2.PutRulesResponse.FromString, timeout_s, request_id
        )
        return answer.version

    async def delete_rules(
        self,
        rule_ids: Iterable[str],
        *,
        if_version: int | None = None,
        timeout_s: float | None = None,
        request_id: str = "",
    ) -> int:
        """Delete rules; returns how many there were. Arguments and errors are those of ``put_rules``."""
        request = rules_pb2.DeleteRulesRequest(rule_ids=rule_ids, if_version=if_version)
        answer = await self._call(
            f"{_RULES}DeleteRules", request, rules_pb2.DeleteRulesResponse.FromString, timeout_s, request_id
        )
        return answer.deleted

    async def try_rules(
        self,
        rules: Iterable[rules_pb2.Rule] = (),
        *,
        delete: Iterable[str] = (),
        requests: Iterable[gateway_pb2.RecommendRequest] = (),
        timeout_s: float | None = None,
        request_id: str = "",
    ) -> rules_pb2.TryRulesResponse:
        """Return what a change of rules would do to requests, and change nothing.

        Args:
            rules: Rules to put.
            delete: Ids of rules to delete.
            requests: At most 50 requests; by default the latest that the gateway answered.
            timeout_s: The time of the call, retries included.
            request_id: The call's id in the servers' logs; made if empty.

        Raises:
            InvalidRequest: A rule or a request is invalid.
            ShortlistClientError: The call failed otherwise.
        """
        request = rules_pb2.TryRulesRequest(rules=rules, delete_rule_ids=delete, requests=requests)
        return await self._call(
            f"{_RULES}TryRules", request, rules_pb2.TryRulesResponse.FromString, timeout_s, request_id
        )

    async def _call(
        self,
        method: str,
        request: Any,
        parse: Callable[[bytes], Answer],
        timeout_s: float | None,
        request_id: str,
    ) -> Answer:
        """Send a request until it is answered, or must not be tried again."""
        raise NotImplementedError

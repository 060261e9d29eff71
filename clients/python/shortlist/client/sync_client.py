"""The blocking client, made from `async_client.py`: `make client`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

import grpc
from shortlist.client.answers import Recommendations, RecordedEvents, recommendations
from shortlist.client.connection import Tls, Token, channel_options, metadata_of
from shortlist.client.errors import error_of
from shortlist.client.methods.sync_methods import Methods
from shortlist.client.requests import Event, Filter, HistoryItem, Policy, recommend_request, record_requests
from shortlist.client.retries import Attempts, RetryBudget
from shortlist.gateway.v1 import gateway_pb2
from shortlist.release.v1 import release_pb2

Answer = TypeVar("Answer")
_RECOMMENDATION: Final = "/shortlist.gateway.v1.RecommendationService/"
_RELEASE: Final = "/shortlist.release.v1.ReleaseService/"


class Client(Methods):
    """A client of a gateway. It connects on first use, and can be used by any number of threads.

    A call that fails for lack of a server or of room is tried again inside its time: at most ``max_retries`` times, and
    for at most a tenth of all calls. Events are recorded once, however often they are sent.

    Args:
        target: The gateway, ``host:port`` or any gRPC target; a name with several addresses is balanced over them.
        timeout_s: The time of a call, retries included, unless the call has its own.
        tls: TLS of the connection; None for none, which servers take from their own machine alone.
        token: The caller's token, or a function that returns it, asked at each attempt.
        max_retries: How many attempts may follow the first.
        options: Further options of gRPC's channel.
    """

    def __init__(
        self,
        target: str = "localhost:50051",
        *,
        timeout_s: float = 2.0,
        tls: Tls | None = None,
        token: Token | None = None,
        max_retries: int = 2,
        options: Sequence[tuple[str, Any]] = (),
    ) -> None:
        self._target = target
        self._timeout_s = timeout_s
        self._tls = tls
        self._token = token
        self._max_retries = max_retries
        self._options = channel_options(tls, options)
        self._budget = RetryBudget()
        self._channel: grpc.Channel | None = None
        self._process_id = 0

    def __enter__(self) -> Client:  # noqa: PYI034 - Self is of Python 3.11
        """Return the client."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection; calls in progress end with Unavailable. A later call connects again."""
        channel, self._channel = self._channel, None
        if channel is not None and self._process_id == os.getpid():
            channel.close()

    def recommend(
        self,
        *,
        user_id: str = "",
        query: str = "",
        history: Iterable[str | HistoryItem] = (),
        where: Filter | None = None,
        limit: int | None = None,
        policy: Policy | None = None,
        explain: bool = False,
        keep_query: bool = False,
        placement: str = "",
        country: str = "",
        language: str = "",
        timeout_s: float | None = None,
        request_id: str = "",
    ) -> Recommendations:
        """Return items for a user; any combination of ``user_id``, ``query`` and ``history`` is allowed.

        Args:
            user_id: The user, whose recorded events are the history.
            query: What the user searches for.
            history: Items the user bought or viewed, oldest first; they follow the recorded events.
            where: Which items may be recommended, made by ``match``, ``price_range``, ``all_of`` and their like.
            limit: How many items to return, 1 to 500; None for 10.
            policy: Rules for the answer.
            explain: Whether items carry reasons and scores by source.
            keep_query: Whether the query's spelling is left as it is; see ``corrected_query`` of the answer.
            placement: Where the items are shown, such as ``home``; rules may be for some placements only.
            language: The language of the reasons, ``en`` or ``zh``; English by default.
            country: The user's country, such as ``DE``; rules may be for some countries only.
            timeout_s: The time of the call, retries included.
            request_id: The call's id in the servers' logs; made if empty.

        Raises:
            ShortlistClientError: The call failed; the subclass says what to do.
        """
        request = recommend_request(
            user_id,
            query,
            history,
            where,
            limit,
            policy,
            explain=explain,
            keep_query=keep_query,
            placement=placement,
            country=country,
            language=language,
        )
        return recommendations(
            self._call(
                f"{_RECOMMENDATION}Recommend", request, gateway_pb2.RecommendResponse.FromString, timeout_s, request_id
            )
        )

    def explain(
        self,
        item_id: str,
        *,
        user_id: str = "",
        query: str = "",
        history: Iterable[str | HistoryItem] = (),
        where: Filter | None = None,
        policy: Policy | None = None,
        keep_query: bool = False,
        timeout_s: float | None = None,
        request_id: str = "",
    ) -> gateway_pb2.ExplainResponse:
        """Return why an item has its place in the answer of ``recommend`` with the same arguments.

        Raises:
            NotFound: The item is not among the candidates.
            ShortlistClientError: The call failed otherwise.
        """
        asked = recommend_request(user_id, query, history, where, None, policy, explain=True, keep_query=keep_query)
        request = gateway_pb2.ExplainRequest(request=asked, item_id=item_id)
        return self._call(
            f"{_RECOMMENDATION}Explain", request, gateway_pb2.ExplainResponse.FromString, timeout_s, request_id
        )

    def record(
        self, events: Event | Iterable[Event], *, timeout_s: float | None = None, request_id: str = ""
    ) -> RecordedEvents:
        """Record what users did; when it returns, the events are durable.

        More than 1,000 events are sent in several calls, of which each has ``timeout_s``. If one of them fails, those
        before it are recorded; record all of them again, and known ones count as duplicates.

        Raises:
            ShortlistClientError: A call failed.
        """
        recorded = duplicates = 0
        for request in record_requests([events] if isinstance(events, Event) else events):
            answer = self._call(
                f"{_RECOMMENDATION}RecordEvents",
                request,
                gateway_pb2.RecordEventsResponse.FromString,
                timeout_s,
                request_id,
            )
            recorded += answer.recorded
            duplicates += answer.duplicates
        return RecordedEvents(recorded, duplicates)

    def forget_user(self, user_id: str, *, timeout_s: float | None = None, request_id: str = "") -> int:
        """Erase a user's profile and events; returns how many events were erased.

        Raises:
            ShortlistClientError: The call failed.
        """
        answer = self._call(
            f"{_RECOMMENDATION}ForgetUser",
            gateway_pb2.ForgetUserRequest(user_id=user_id),
            gateway_pb2.ForgetUserResponse.FromString,
            timeout_s,
            request_id,
        )
        return answer.erased_events

    def release(self, *, timeout_s: float | None = None, request_id: str = "") -> release_pb2.GetReleaseResponse:
        """Return the release that the gateway serves.

        Raises:
            ShortlistClientError: The call failed.
        """
        return self._call(
            f"{_RELEASE}GetRelease",
            release_pb2.GetReleaseRequest(),
            release_pb2.GetReleaseResponse.FromString,
            timeout_s,
            request_id,
        )

    def activate_release(
        self, location: str, *, timeout_s: float = 300.0, request_id: str = ""
    ) -> release_pb2.ActivateReleaseResponse:
        """Make the servers serve another release; needs the scope ``administer``.

        Raises:
            ShortlistClientError: The call failed; the servers keep the release that they have.
        """
        return self._call(
            f"{_RELEASE}ActivateRelease",
            release_pb2.ActivateReleaseRequest(location=location),
            release_pb2.ActivateReleaseResponse.FromString,
            timeout_s,
            request_id,
        )

    def _call(
        self,
        method: str,
        request: Any,
        parse: Callable[[bytes], Answer],
        timeout_s: float | None,
        request_id: str,
    ) -> Answer:
        """Send a request until it is answered, or must not be tried again."""
        attempts = Attempts(self._timeout_s if timeout_s is None else timeout_s, self._max_retries, self._budget)
        message = request.SerializeToString()
        while True:
            call: Any = self._open_channel().unary_unary(method)
            metadata = metadata_of(self._token, request_id)
            try:
                return parse(call(message, timeout=attempts.remaining_s(), metadata=metadata))
            except grpc.RpcError as error:
                delay_s = attempts.delay_s(error_of(error))
            time.sleep(delay_s)

    def _stream(self, method: str, messages: Iterable[Any], timeout_s: float, request_id: str) -> Any:
        """Return the call that sends messages and yields the bytes of answers; it is not tried again."""
        call: Any = self._open_channel().stream_stream(method)
        serialised = (message.SerializeToString() for message in messages)
        return call(serialised, timeout=timeout_s, metadata=metadata_of(self._token, request_id))

    def _open_channel(self) -> grpc.Channel:
        """Return the connection of this process: one made before a fork stays its parent's."""
        channel = self._channel
        if channel is None or self._process_id != os.getpid():
            if self._tls is None:
                channel = grpc.insecure_channel(self._target, options=self._options)
            else:
                channel = grpc.secure_channel(self._target, self._tls.credentials(), options=self._options)
            self._channel, self._process_id = channel, os.getpid()
        return channel

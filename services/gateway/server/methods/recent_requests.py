"""The latest requests, kept in memory to try rules on."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from services.gateway.recommendation.request import RecommendRequest

MAX_REQUESTS: Final = 50


class RecentRequests:
    """Keeps the latest requests; for use on one event loop."""

    def __init__(self) -> None:
        self._requests: deque[RecommendRequest] = deque(maxlen=MAX_REQUESTS)

    def append(self, request: RecommendRequest) -> None:
        """Keep a request; the oldest one goes."""
        self._requests.append(request)

    def latest(self) -> Sequence[RecommendRequest]:
        """Return the requests, oldest first."""
        return list(self._requests)

    def forget_user(self, user_id: str) -> None:
        """Drop a user's requests."""
        kept = [request for request in self._requests if request.user_id != user_id]
        self._requests = deque(kept, maxlen=MAX_REQUESTS)

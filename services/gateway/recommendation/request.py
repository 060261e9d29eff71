"""A Recommend request as values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from common.filters import Filter
from services.gateway.policy.policy import Policy


class Stages(StrEnum):
    """Which stages choose the items."""

    BOTH = "both"
    FIRST = "first"
    POPULAR = "popular"


@dataclass(frozen=True)
class RecommendRequest:
    """A valid request; ``history`` is oldest first and is appended to the recorded events of ``user_id``.

    ``history_kinds`` and ``history_ages_s`` are as in `UserInput`. ``candidates`` and ``exploration_share`` replace the
    server's settings. With ``keep_query`` the query's spelling is not repaired. Nobody waits for the answer to a
    request that ``is_batch``.
    """

    user_id: str = ""
    query: str = ""
    history: Sequence[str] = ()
    filter: Filter | None = None
    policy: Policy = field(default_factory=Policy)
    exclude_history: bool = False
    exclude_purchased: bool = False
    stages: Stages = Stages.BOTH
    history_kinds: Sequence[int] = ()
    history_ages_s: Sequence[float] = ()
    keep_query: bool = False
    placement: str = ""
    country: str = ""
    language: str = ""
    candidates: int | None = None
    exploration_share: float | None = None
    is_batch: bool = False

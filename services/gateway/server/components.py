"""What the RPC methods call."""

from __future__ import annotations

from dataclasses import dataclass, field

from services.gateway.answers.answer_cache import AnswerCache
from services.gateway.backends.catalogue_client import CatalogueClient
from services.gateway.backends.release_coordinator import ReleaseCoordinator
from services.gateway.backends.stages import RetrievalBackend
from services.gateway.experiments.experiments import Experiments
from services.gateway.impressions.impression_log import ImpressionLog
from services.gateway.profiles.profile_store import ProfileStore
from services.gateway.recommendation.recommender import Recommender
from services.gateway.related_items.related_items import RelatedItemFinder
from services.gateway.rules.rule_book import RuleBook
from services.gateway.server.methods.recent_requests import RecentRequests


@dataclass(frozen=True)
class Components:
    """What the RPC methods call, once the gateway has started."""

    profiles: ProfileStore
    recommender: Recommender
    releases: ReleaseCoordinator
    related_items: RelatedItemFinder
    catalogue: CatalogueClient
    experiments: Experiments
    rules: RuleBook
    retrieval: RetrievalBackend
    impressions: ImpressionLog | None = None
    answers: AnswerCache | None = None
    recent: RecentRequests = field(default_factory=RecentRequests)


@dataclass(frozen=True)
class BatchOptions:
    """The bounds of a call of BatchRecommend.

    Attributes:
        max_in_flight: How many requests are worked on at a time.
        timeout_s: The time of one request.
    """

    max_in_flight: int
    timeout_s: float

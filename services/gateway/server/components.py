"""What the RPC methods call."""

from __future__ import annotations

from dataclasses import dataclass

from services.gateway.backends.catalogue_client import CatalogueClient
from services.gateway.backends.release_coordinator import ReleaseCoordinator
from services.gateway.experiments.experiments import Experiments
from services.gateway.impressions.impression_log import ImpressionLog
from services.gateway.profiles.profile_store import ProfileStore
from services.gateway.recommendation.recommender import Recommender
from services.gateway.related_items.related_items import RelatedItemFinder


@dataclass(frozen=True)
class Components:
    """What the RPC methods call, once the gateway has started."""

    profiles: ProfileStore
    recommender: Recommender
    releases: ReleaseCoordinator
    related_items: RelatedItemFinder
    catalogue: CatalogueClient
    experiments: Experiments
    impressions: ImpressionLog | None = None


@dataclass(frozen=True)
class BatchOptions:
    """The bounds of a call of BatchRecommend.

    Attributes:
        max_in_flight: How many requests are worked on at a time.
        timeout_s: The time of one request.
    """

    max_in_flight: int
    timeout_s: float

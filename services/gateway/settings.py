"""What the gateway may be told."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from common.server.settings import ServerSettings
from services.gateway.profiles.profile_store import ITEM_KINDS, EventKind
from services.gateway.recommendation.deadline import DeadlineShares
from services.gateway.recommendation.recommender import RecommenderOptions


class Settings(ServerSettings):
    """The gateway: profile, retrieval, ranking and policy in one call."""

    model_config = SettingsConfigDict(env_prefix="SHORTLIST_GATEWAY_")

    port: int = Field(50_051, ge=0, le=65_535, description="Port of the gRPC server; 0 takes a free one.")
    metrics_port: int = Field(9_091, ge=0, le=65_535, description="Port of the Prometheus metrics; 0 takes a free one.")
    retrieval_target: str = Field("127.0.0.1:50052", min_length=1, description="Where the retrieval service listens.")
    ranking_target: str = Field("127.0.0.1:50053", min_length=1, description="Where the ranking service listens.")
    profiles: Path = Field(
        Path("~/.local/share/shortlist/profiles.sqlite3"),
        description="SQLite file of the users's events; made where it does not exist.",
    )
    history_events: str = Field(
        ",".join(ITEM_KINDS), description="Kinds of event that make up a history, separated by commas."
    )
    history_items: int = Field(
        1_000, ge=1, le=10_000, description="How many of a user's latest recorded items to read."
    )
    query_carry_over_s: float = Field(
        1_800.0,
        ge=0,
        allow_inf_nan=False,
        description="Seconds that a recorded search stands in for a query that the request lacks; 0 never.",
    )
    candidates: int = Field(
        100, ge=1, le=1_000, description="Candidates to retrieve and rank; twice the limit where that is more."
    )
    max_calls: int = Field(
        256,
        ge=8,
        le=100_000,
        description="Calls of Recommend that may be under way; fewer while answers come late. More are told to come "
        "back later.",
    )
    min_long_tail_share: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Least share of an answer's items that is of the long tail, where the request does not say; items "
        "of the tail come in where that costs least probability.",
    )
    default_timeout_s: float = Field(
        1.0, gt=0, allow_inf_nan=False, description="Seconds that a call without a deadline may take."
    )
    reserve_s: float = Field(
        0.02,
        ge=0,
        allow_inf_nan=False,
        description="Seconds kept back from the stages for policy and the answer; more while answers come late.",
    )
    profile_share: float = Field(0.2, gt=0, le=1, description="Share of the time left that reading a profile may take.")
    retrieval_share: float = Field(
        0.5, gt=0, le=1, description="Share of the time then left that retrieval may take; ranking gets the rest."
    )
    popular_items: int = Field(
        500, ge=1, le=1_000, description="Popular items to remember for when retrieval does not answer."
    )
    popular_refresh_s: float = Field(
        60.0, gt=0, allow_inf_nan=False, description="Seconds between two looks at what is popular."
    )
    activation_timeout_s: float = Field(
        600.0, gt=0, allow_inf_nan=False, description="Seconds that each service may take to load a release."
    )

    release_sync_interval_s: float = Field(
        5.0,
        ge=0,
        allow_inf_nan=False,
        description="Seconds between two looks whether retrieval and ranking serve the same release, after which one "
        "that came back on another is set right; 0 never, for several replicas behind one address.",
    )

    @field_validator("history_events")
    @classmethod
    def _known_events(cls, value: str) -> str:
        known = [str(kind) for kind in ITEM_KINDS]
        for name in value.split(","):
            if name.strip() not in known:
                raise ValueError(f"{name.strip()!r} is none of {', '.join(known)}")
        return value

    @model_validator(mode="after")
    def _reserve_leaves_time(self) -> Self:
        if self.reserve_s >= min(self.default_timeout_s, self.request_timeout_s):
            raise ValueError("--reserve-s must be below --default-timeout-s and --request-timeout-s: no time is left")
        return self

    def history_kinds(self) -> tuple[EventKind, ...]:
        """Return the kinds of event that make up a history."""
        return tuple(EventKind(name.strip()) for name in self.history_events.split(","))

    def tuning(self) -> RecommenderOptions:
        """Return how recommendations are made."""
        shares = DeadlineShares(
            default_s=min(self.default_timeout_s, self.request_timeout_s),
            reserve_s=self.reserve_s,
            profile=self.profile_share,
            retrieval=self.retrieval_share,
        )
        return RecommenderOptions(
            self.candidates,
            self.history_items,
            self.query_carry_over_s,
            shares,
            self.max_calls,
            self.min_long_tail_share,
        )

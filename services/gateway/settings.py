"""The gateway's settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from common.release.event_weights import HISTORY_KINDS, EventKind
from common.server.access.backend_settings import BackendSettings
from common.server.settings import ServerSettings
from services.gateway.answers.cache_settings import AnswerCacheSettings
from services.gateway.backends.replicas.addresses import split_addresses
from services.gateway.backends.replicas.circuit_breaker import BreakerOptions
from services.gateway.impressions.log_files import LogLimits
from services.gateway.policy.exploration import DEFAULT_POOL
from services.gateway.profiles.redis_address import RedisAddress, is_redis
from services.gateway.recommendation.deadline import DeadlineShares
from services.gateway.recommendation.recommender import RecommenderOptions

_DAY_S: Final = 86_400.0
_KINDS: Final = tuple(kind.word for kind in HISTORY_KINDS)


class Settings(ServerSettings, BackendSettings, AnswerCacheSettings):
    """The gateway: profile, retrieval, ranking and policy in one call."""

    model_config = SettingsConfigDict(env_prefix="SHORTLIST_GATEWAY_")

    port: int = Field(50_051, ge=0, le=65_535, description="Port of the gRPC server; 0 chooses a free one.")
    metrics_port: int = Field(9_091, ge=0, le=65_535, description="Port of Prometheus metrics; 0 chooses a free one.")
    retrieval_target: str = Field(
        "127.0.0.1:50052", min_length=1, description="Address of the retrieval service; of replicas, with commas."
    )
    ranking_target: str = Field(
        "127.0.0.1:50053", min_length=1, description="Address of the ranking service; of replicas, with commas."
    )
    breaker_failures: int = Field(
        5,
        ge=1,
        le=1_000_000,
        description="Calls in a row without an answer after which a replica of a service is not called until it "
        "answers a probe. Calls are answered at once meanwhile, by other replicas or with a degradation.",
    )
    breaker_max_pause_s: float = Field(
        1.0,
        gt=0,
        allow_inf_nan=False,
        description="Longest pause in seconds between trial calls to a replica that answers probes but not calls.",
    )
    retry_share: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Second tries of retrieval (retries and hedges) for each call, at most; 0 turns them off.",
    )
    hedge_quantile: float = Field(
        0.95,
        gt=0,
        le=1,
        description="With several replicas of retrieval, a call that takes longer than this quantile of recent "
        "latencies is also sent to a second one; 1 turns it off.",
    )
    profiles: str = Field(
        "~/.local/share/shortlist/profiles.sqlite3",
        min_length=1,
        description="SQLite file of the users' events, created if it does not exist; or Redis or Valkey, which several "
        "gateways share: redis://host:port/0?prefix=NAME. It must keep what it acknowledges (appendfsync always), "
        "unless &durability=everysec or unchecked accepts less. With &wait=N an event must reach N replicas of Redis.",
    )
    pseudonym_key_file: Path | None = Field(
        None,
        description="File with the key of the pseudonyms that are stored in place of users' ids, 64 hex digits; made "
        "if it does not exist. Unset: the name of the profiles with `.key`. In Redis, all gateways need the same key.",
    )
    profile_retention_days: float = Field(
        0.0,
        ge=0,
        allow_inf_nan=False,
        description="Days after which a recorded event is erased, by the time when it happened; 0 keeps all.",
    )
    history_events: str = Field(
        ",".join(_KINDS), description="Kinds of event that a history consists of, separated by commas."
    )
    history_items: int = Field(
        1_000, ge=1, le=10_000, description="Maximum number of a user's latest recorded items to read."
    )
    query_carry_over_s: float = Field(
        1_800.0,
        ge=0,
        allow_inf_nan=False,
        description="Seconds for which a recorded search is used as the query of requests without one; 0 turns it off.",
    )
    candidates: int = Field(
        100, ge=1, le=1_000, description="Candidates to retrieve and rank; twice the request's limit if that is more."
    )
    max_calls: int = Field(
        256,
        ge=8,
        le=100_000,
        description="Maximum number of concurrent calls of Recommend; lower while answers are late. Further calls are "
        "refused with RESOURCE_EXHAUSTED.",
    )
    batch_in_flight: int = Field(
        8, ge=1, le=1_000, description="Requests of one call of BatchRecommend that are worked on at a time."
    )
    batch_request_timeout_s: float = Field(
        10.0,
        gt=0,
        allow_inf_nan=False,
        description="Time in seconds of each request of BatchRecommend, within the call's deadline.",
    )
    min_long_tail_share: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Minimum share of long-tail items in an answer if the request sets none. If there are too few, "
        "long-tail items replace others at the least cost in probability.",
    )
    min_new_item_share: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Minimum share of items added since the release in an answer if the request sets none, reached in "
        "the same way.",
    )
    diversity: float = Field(
        0.0,
        ge=0,
        le=1,
        description="How much the items of an answer should differ from one another (maximal marginal relevance) if "
        "the request does not say; 0 chooses by probability alone.",
    )
    exploration_share: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Probability that a position of an answer is filled at random, so that the log of impressions can "
        "judge other releases; 0 for none.",
    )
    exploration_candidates: int = Field(
        DEFAULT_POOL,
        ge=1,
        le=1_000,
        description="Best candidates that random positions are filled from; with more, estimates are less certain.",
    )
    impressions_log: Path | None = Field(
        None,
        description="Folder for the log of what was shown and of the events that followed; each gateway needs its own. "
        "Unset: none is written.",
    )
    impressions_log_mib: int = Field(
        1_024, ge=1, le=1_048_576, description="MiB that the log of impressions may take; the oldest files are erased."
    )
    impressions_log_days: float = Field(
        90.0,
        gt=0,
        allow_inf_nan=False,
        description="Days after which a file of the log of impressions is erased.",
    )
    rules_poll_s: float = Field(
        0.5, gt=0, le=60, description="Seconds between looks at the store for rules that another gateway changed."
    )
    experiments: Path | None = Field(
        None, description="TOML file of experiments, whose variants users are assigned; read at the start. Unset: none."
    )
    shadow_ranking_target: str = Field(
        "",
        description="Address of a second ranking service that gets the same calls after they are answered; its answers "
        "reach no user. Empty: none.",
    )
    shadow_share: float = Field(
        1.0, ge=0, le=1, description="Share of the calls of ranking that --shadow-ranking-target gets."
    )
    default_timeout_s: float = Field(
        1.0, gt=0, allow_inf_nan=False, description="Timeout in seconds of calls without a deadline."
    )
    reserve_s: float = Field(
        0.02,
        ge=0,
        allow_inf_nan=False,
        description="Seconds kept back from the stages for policy and the answer; more while answers are late.",
    )
    profile_share: float = Field(
        0.2, gt=0, le=1, description="Share of the time left that reading the profile may take."
    )
    retrieval_share: float = Field(
        0.5, gt=0, le=1, description="Share of the time then left that retrieval may take; ranking may take the rest."
    )
    popular_items: int = Field(
        500, ge=1, le=1_000, description="Popular items to keep as the fallback while retrieval does not answer."
    )
    popular_refresh_s: float = Field(
        60.0, gt=0, allow_inf_nan=False, description="Seconds between refreshes of the popular items."
    )
    activation_timeout_s: float = Field(
        600.0, gt=0, allow_inf_nan=False, description="Timeout in seconds for each service to load a release."
    )
    release_sync_interval_s: float = Field(
        5.0,
        ge=0,
        allow_inf_nan=False,
        description="Seconds between checks that retrieval and ranking serve the same release; one that restarted with "
        "another release is switched. 0 turns it off, which several replicas behind one address need.",
    )

    @field_validator("retrieval_target", "ranking_target")
    @classmethod
    def _no_empty_address(cls, value: str) -> str:
        if not all(split_addresses(value)):
            raise ValueError("has an empty address; write host:port, or host:port,host:port for replicas")
        return value

    @field_validator("profiles", mode="before")
    @classmethod
    def _path_or_address(cls, value: object) -> object:
        text = str(value) if isinstance(value, Path) else value
        if isinstance(text, str) and "://" in text:
            RedisAddress.parse(text)
        return text

    @model_validator(mode="after")
    def _gateways_share_a_key(self) -> Self:
        if is_redis(self.profiles) and self.pseudonym_key_file is None:
            raise ValueError("--profiles in Redis: give the key of the pseudonyms too, with --pseudonym-key-file")
        return self

    @field_validator("history_events")
    @classmethod
    def _known_events(cls, value: str) -> str:
        for name in value.split(","):
            if name.strip() not in _KINDS:
                raise ValueError(f"{name.strip()!r} is not one of {', '.join(_KINDS)}")
        return value

    @model_validator(mode="after")
    def _reserve_leaves_time(self) -> Self:
        if self.reserve_s >= min(self.default_timeout_s, self.request_timeout_s):
            raise ValueError("--reserve-s must be below --default-timeout-s and --request-timeout-s: no time is left")
        return self

    def backend_addresses(self) -> dict[str, Sequence[str]]:
        """Return the addresses of retrieval and ranking, by flag."""
        return {
            "--retrieval-target": split_addresses(self.retrieval_target),
            "--ranking-target": split_addresses(self.ranking_target),
            "--shadow-ranking-target": split_addresses(self.shadow_ranking_target)
            if self.shadow_ranking_target
            else (),
        }

    def breaker_options(self) -> BreakerOptions:
        """Return when the circuit breakers open."""
        first_pause_s = min(BreakerOptions.first_pause_s, self.breaker_max_pause_s)
        return BreakerOptions(self.breaker_failures, first_pause_s=first_pause_s, max_pause_s=self.breaker_max_pause_s)

    def profiles_file(self) -> Path:
        """Return the SQLite file; raises RuntimeError if it is below a home that is not known."""
        return Path(self.profiles).expanduser()

    def key_file(self) -> Path:
        """Return the file of the pseudonyms' key; raises RuntimeError as `profiles_file` does."""
        if self.pseudonym_key_file is not None:
            return self.pseudonym_key_file.expanduser()
        file = self.profiles_file()
        return file.with_name(f"{file.name}.key")

    def history_kinds(self) -> tuple[EventKind, ...]:
        """Return the kinds of event that a history consists of."""
        return tuple(EventKind.from_word(name.strip()) for name in self.history_events.split(","))

    def log_limits(self) -> LogLimits:
        """Return the bounds of the log of impressions: it keeps nothing for longer than the profiles do."""
        days = min(self.impressions_log_days, self.profile_retention_days or self.impressions_log_days)
        return LogLimits(max_mib=self.impressions_log_mib, max_age_s=days * _DAY_S)

    def recommender_options(self) -> RecommenderOptions:
        """Return the options of the recommender."""
        shares = DeadlineShares(
            default_timeout_s=min(self.default_timeout_s, self.request_timeout_s),
            reserve_s=self.reserve_s,
            profile_share=self.profile_share,
            retrieval_share=self.retrieval_share,
        )
        return RecommenderOptions(
            candidates=self.candidates,
            history_items=self.history_items,
            query_carry_over_s=self.query_carry_over_s,
            shares=shares,
            max_calls=self.max_calls,
            min_long_tail_share=self.min_long_tail_share,
            min_new_item_share=self.min_new_item_share,
            diversity=self.diversity,
            exploration_share=self.exploration_share,
            exploration_candidates=self.exploration_candidates,
        )

"""What the ranking service may be told."""

from __future__ import annotations

from pydantic import Field, field_validator
from pydantic_settings import SettingsConfigDict

from common.changes.stream_address import StreamAddress
from common.cpu import usable_cores
from common.onnx_session import MissingProvider, Provider, SessionOptions
from common.server.settings import ServerSettings
from services.ranking.batching.capacity import BatchLimits
from services.ranking.batching.job import LEAST_SHARE
from services.ranking.cascade.second_stage import SecondStageOptions
from services.ranking.late_interaction.scorer import LateInteractionOptions
from services.ranking.request import MAX_CANDIDATES


class Settings(ServerSettings):
    """The ranking service: reads candidates beside what is known of the user and gives probabilities."""

    model_config = SettingsConfigDict(env_prefix="SHORTLIST_RANKING_")

    port: int = Field(50_053, ge=0, le=65_535, description="Port of the gRPC server; 0 takes a free one.")
    metrics_port: int = Field(9_093, ge=0, le=65_535, description="Port of the Prometheus metrics; 0 takes a free one.")
    release: str = Field(
        "releases", min_length=1, description="Path or URL of a release, or of a store whose current one is meant."
    )
    change_stream: str | None = Field(
        None,
        description="Redis stream of changes of the catalogue that the retrieval servers share, "
        "redis://host:port/0?stream=NAME: from it texts of items that the release does not have are read. Without it, "
        "such items need their text in the request.",
    )
    cross_encoder_depth: int | None = Field(
        None,
        ge=0,
        le=MAX_CANDIDATES,
        description="How many candidates the cross-encoder reads where the request does not say; 0 reads none, unset "
        "as many as the release says.",
    )
    late_interaction_depth: int | None = Field(
        None,
        ge=0,
        le=MAX_CANDIDATES,
        description="How many candidates late interaction scores where the request does not say; 0 scores none, unset "
        "as many as the release says.",
    )
    context_cache_size: int = Field(
        10_000,
        ge=0,
        description="User contexts whose late-interaction vectors are kept, 1 to 10 KB each; 0 for none.",
    )
    text_cache_size: int = Field(
        10_000,
        ge=0,
        description="Late-interaction vectors kept of texts that the release lacks, about 3 KB each; 0 for none.",
    )
    # What a batch's widest layer holds stays in a core's second-level cache up to about 300 tokens of 1,536 floats.
    # MiniLM in int8 read 0.6 to 0.9 % more pairs a second with 384 than with 512 and with 256, at 8 to 64 callers, and
    # the slowest call took 2 to 4 % less.
    max_batch_tokens: int = Field(
        384, ge=1, le=1 << 20, description="Tokens of a batch, padding included; 16384 or so fill a GPU."
    )
    workers: int = Field(0, ge=0, le=1_024, description="Batches at a time; 0 for as many as there are cores.")
    worker_threads: int = Field(
        1, ge=0, le=1_024, description="Threads inside one operator; 0 for as many as there are cores."
    )
    max_queued_pairs: int = Field(
        20_000, ge=MAX_CANDIDATES, description="Pairs that may wait; more are told to come back later."
    )
    score_cache_size: int = Field(
        100_000, ge=0, description="Logits kept of pairs read before, about 200 bytes each; 0 for none."
    )
    feature_threads: int = Field(
        0, ge=0, le=1_024, description="Threads for features and tokenising; 0 for as many as there are cores."
    )
    min_read_share: float = Field(
        LEAST_SHARE,
        ge=0,
        le=1,
        description="Where other calls leave time for less than this share of what the cross-encoder could read "
        "without them, it reads nothing and the call is answered at once.",
    )
    provider: Provider = Field("cpu", description="ONNX Runtime's execution provider of the cross-encoder.")
    missing_provider: MissingProvider = Field(
        "refuse", description="Where the provider can't be had: refuse to serve, or degrade to the CPU."
    )
    gpu_memory_mb: int = Field(4_096, ge=64, description="Bound on the GPU memory of the cross-encoder's session.")

    @field_validator("change_stream")
    @classmethod
    def _check_changes(cls, changes: str | None) -> str | None:
        if changes is not None:
            StreamAddress.parse(changes)
        return changes

    def limits(self) -> BatchLimits:
        """Return the bounds of batches and queue."""
        return BatchLimits(self.max_batch_tokens, self.max_queued_pairs, self.workers or usable_cores())

    def options(self) -> SecondStageOptions:
        """Return how second stages run."""
        memory = self.gpu_memory_mb << 20
        session = SessionOptions(self.provider, self.missing_provider, self.worker_threads, memory)
        threads = self.feature_threads or usable_cores()
        late = LateInteractionOptions(self.context_cache_size, self.text_cache_size)
        return SecondStageOptions(session, self.limits(), self.score_cache_size, threads, self.min_read_share, late)

"""The settings of the ranking service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from common.changes.stream_address import StreamAddress
from common.cpu import usable_cores
from common.gpu.placement import SHAPE_OPERATORS, operator_names
from common.onnx_session import MissingProvider, Provider, SessionOptions
from common.server.access.backend_settings import BackendSettings
from common.server.access.release_settings import ReleaseServerSettings
from services.ranking.batching.capacity import BatchLimits
from services.ranking.cascade.second_stage import SecondStageOptions
from services.ranking.cross_encoder.pair_scorer import MIN_READ_SHARE
from services.ranking.late_interaction.scorer import LateInteractionOptions
from services.ranking.request import MAX_CANDIDATES


class Settings(ReleaseServerSettings, BackendSettings):
    """The ranking service: computes the probability that a user buys each candidate."""

    model_config = SettingsConfigDict(env_prefix="SHORTLIST_RANKING_")

    port: int = Field(50_053, ge=0, le=65_535, description="Port of the gRPC server; 0 chooses a free one.")
    metrics_port: int = Field(9_093, ge=0, le=65_535, description="Port of Prometheus metrics; 0 chooses a free one.")
    change_stream: str | None = Field(
        None,
        description="Redis stream of catalogue changes that the retrieval servers share, "
        "redis://host:port/0?stream=NAME. It has the texts of items that were added or replaced.",
    )
    retrieval_target: str = Field(
        "",
        description="Address of a retrieval server without a change stream, which has the texts of items that were "
        "added or replaced. Without it and without change_stream, the text of such an item must be in the request.",
    )
    texts_wait_s: float = Field(
        5.0,
        ge=0,
        allow_inf_nan=False,
        description="Seconds to wait at start for the texts from retrieval_target; then the release's texts are used "
        "until they arrive.",
    )
    cross_encoder_depth: int | None = Field(
        None,
        ge=0,
        le=MAX_CANDIDATES,
        description="How many candidates the cross-encoder reads if the request sets no depth; 0 reads none. Unset: "
        "the release decides.",
    )
    late_interaction_depth: int | None = Field(
        None,
        ge=0,
        le=MAX_CANDIDATES,
        description="How many candidates late interaction scores if the request sets no depth; 0 scores none. Unset: "
        "the release decides.",
    )
    context_cache_size: int = Field(
        10_000,
        ge=0,
        description="How many user contexts' late-interaction vectors are cached, 1 to 10 KB each; 0 for none.",
    )
    text_cache_size: int = Field(
        10_000,
        ge=0,
        description="How many new texts' late-interaction vectors are cached, about 3 KB each; 0 for none.",
    )
    # The widest layer's values fit a core's second-level cache up to about 300 tokens of 1,536 floats. With 384 tokens,
    # MiniLM in int8 read 0.6 to 0.9 % more pairs a second than with 512 or 256 at 8 to 64 callers, and the slowest call
    # took 2 to 4 % less.
    max_batch_tokens: int = Field(
        384, ge=1, le=1 << 20, description="Tokens of a batch, padding included; about 16384 fill a GPU."
    )
    workers: int = Field(0, ge=0, le=1_024, description="How many batches run at a time; 0 for one per core.")
    worker_threads: int = Field(
        1, ge=0, le=1_024, description="Threads inside one operator of the cross-encoder; 0 for one per core."
    )
    max_queued_pairs: int = Field(
        20_000,
        ge=MAX_CANDIDATES,
        description="How many pairs may wait; calls with more are refused with RESOURCE_EXHAUSTED.",
    )
    score_cache_size: int = Field(
        100_000, ge=0, description="How many pairs' logits are cached, about 200 bytes each; 0 for none."
    )
    feature_threads: int = Field(
        0, ge=0, le=1_024, description="Threads for features and tokenising; 0 for one per core."
    )
    min_read_share: float = Field(
        MIN_READ_SHARE,
        ge=0,
        le=1,
        description="If other calls leave time for less than this share of the pairs that could be read without them, "
        "the cross-encoder reads none and the call is answered at once.",
    )
    provider: Provider = Field("cpu", description="ONNX Runtime's execution provider for the cross-encoder.")
    missing_provider: MissingProvider = Field(
        "refuse",
        description="If the provider is not available: refuse to serve, or degrade from TensorRT to CUDA, from CUDA "
        "to the CPU.",
    )
    gpu_memory_mb: int = Field(4_096, ge=64, description="The most GPU memory of the cross-encoder's session, in MB.")
    tf32: bool = Field(
        default=False,
        description="Whether CUDA may round the factors of float32 products to 10 bits (TF32). Faster; scores differ "
        "from those that the release was checked with.",
    )
    cpu_operators: str = Field(
        "",
        description="ONNX operators, with commas, that may run on the CPU although a GPU is requested, in addition to "
        "arithmetic on shapes. Any other makes the provider count as missing.",
    )

    @field_validator("change_stream")
    @classmethod
    def _check_change_stream(cls, address: str | None) -> str | None:
        if address is not None:
            StreamAddress.parse(address)
        return address

    @model_validator(mode="after")
    def _one_origin_of_texts(self) -> Self:
        if self.change_stream is not None and self.retrieval_target:
            raise ValueError("--change-stream and --retrieval-target: both have the same texts; give one")
        return self

    def backend_addresses(self) -> dict[str, Sequence[str]]:
        """Return the addresses of retrieval and of the other replicas, by flag, if they are given."""
        peers = self.release_peers.split(",")
        given = {"--retrieval-target": [self.retrieval_target], "--release-peers": peers}
        return {flag: addresses for flag, addresses in given.items() if addresses != [""]}

    def limits(self) -> BatchLimits:
        """Return the bounds of queue and batches."""
        return BatchLimits(self.max_batch_tokens, self.max_queued_pairs, self.workers or usable_cores())

    def options(self) -> SecondStageOptions:
        """Return how second stages run."""
        memory = self.gpu_memory_mb << 20
        session = SessionOptions(
            self.provider,
            self.missing_provider,
            self.worker_threads,
            memory,
            tf32=self.tf32,
            cpu_operators=SHAPE_OPERATORS | operator_names(self.cpu_operators),
        )
        threads = self.feature_threads or usable_cores()
        late = LateInteractionOptions(self.context_cache_size, self.text_cache_size)
        return SecondStageOptions(session, self.limits(), self.score_cache_size, threads, self.min_read_share, late)

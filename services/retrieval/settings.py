"""What the retrieval service may be told."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from common.changes.stream_address import StreamAddress
from common.onnx_session import MissingProvider, Provider, SessionOptions
from common.server.settings import ServerSettings
from services.retrieval.candidates.first_stage import FirstStageOptions
from services.retrieval.encoding.query_encoder import QueryEncoderOptions


class Settings(ServerSettings):
    """The retrieval service: finds a few hundred candidates for a user, and keeps the live catalogue."""

    model_config = SettingsConfigDict(env_prefix="SHORTLIST_RETRIEVAL_")

    port: int = Field(50_052, ge=0, le=65_535, description="Port of the gRPC server; 0 takes a free one.")
    metrics_port: int = Field(9_092, ge=0, le=65_535, description="Port of the Prometheus metrics; 0 takes a free one.")
    release: str = Field(
        "releases", min_length=1, description="Path or URL of a release, or of a store whose current one is meant."
    )
    data_dir: Path | None = Field(
        None, description="Folder that keeps changes of the catalogue, for one server that has no other beside it."
    )
    change_stream: str | None = Field(
        None,
        description="Redis stream that carries changes of the catalogue between servers, in place of data_dir: "
        "redis://host:port/0?stream=NAME, with &wait=N for Redis' replicas that must have a change. "
        "Without either, changes are refused.",
    )
    ef_search: int = Field(300, ge=1, le=10_000, description="Length of HNSW's candidate list: recall against time.")
    min_ef_search: int = Field(
        50, ge=1, le=10_000, description="How far ef_search is lowered at most while answers come late."
    )
    latency_target_ms: float = Field(
        0, ge=0, description="What 95 % of answers should take; ef_search is lowered while they don't. 0: never."
    )
    recall_share: float = Field(
        0.01, ge=0, le=1, description="Share of searches answered exactly as well, for the metric of recall."
    )
    audit_share: float = Field(
        0.02,
        ge=0,
        le=1,
        description="What of one core may go on looking for vectors that the graph no longer leads to; 0: none.",
    )
    milvus_uri: str | None = Field(
        None,
        min_length=1,
        description="Milvus that searches the release's vectors, http://host:port or a file of the embedded one; "
        "without one, they are searched in this process.",
    )
    source_depth: int = Field(100, ge=1, le=1_000, description="How many items each source draws at least.")
    search_threads: int = Field(0, ge=0, le=1_024, description="Threads that search; 0 for as many as there are cores.")
    max_calls: int = Field(
        256, ge=1, le=100_000, description="Calls that may be under way; more are told to come back later."
    )
    neighbour_cache_size: int = Field(20_000, ge=0, description="How many items' neighbours are kept; 1.5 kB each.")
    query_cache_size: int = Field(10_000, ge=0, description="How many query embeddings are kept.")
    max_query_batch: int = Field(32, ge=1, le=1_024, description="How many queries one encoder pass embeds at most.")
    candidate_cache_size: int = Field(
        200_000, ge=0, description="How many items are kept as they are written into answers; some 400 bytes each."
    )
    provider: Provider = Field("cpu", description="ONNX Runtime's execution provider of the encoder.")
    missing_provider: MissingProvider = Field(
        "refuse", description="Where the provider can't be had: refuse to serve, or degrade to the CPU."
    )
    encoder_threads: int = Field(
        0, ge=0, le=1_024, description="Threads inside one operator of the encoder; 0 for as many as there are cores."
    )

    @field_validator("change_stream")
    @classmethod
    def _check_changes(cls, changes: str | None) -> str | None:
        if changes is not None:
            StreamAddress.parse(changes)
        return changes

    @model_validator(mode="after")
    def _check_one_feed(self) -> Settings:
        if self.data_dir is not None and self.change_stream is not None:
            raise ValueError("data_dir and changes both keep changes of the catalogue; give one of them")
        return self

    def first_stage_options(self) -> FirstStageOptions:
        """Return how first stages are run."""
        return FirstStageOptions(
            session=SessionOptions(self.provider, self.missing_provider, self.encoder_threads),
            ef_search=self.ef_search,
            milvus=self.milvus_uri,
            depth=self.source_depth,
            recall_share=self.recall_share,
            audit_share=self.audit_share,
            neighbours_cached=self.neighbour_cache_size,
            queries=QueryEncoderOptions(cache_size=self.query_cache_size, max_batch=self.max_query_batch),
            threads=self.search_threads,
        )

"""The settings of the retrieval service."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from common.changes.stream_address import StreamAddress
from common.gpu.placement import SHAPE_OPERATORS, operator_names
from common.onnx_session import MissingProvider, Provider, SessionOptions
from common.server.access.backend_settings import BackendSettings
from common.server.access.release_settings import ReleaseServerSettings
from services.retrieval.candidates.first_stage import FirstStageOptions
from services.retrieval.encoding.query_encoder import QueryEncoderOptions


class Settings(ReleaseServerSettings, BackendSettings):
    """The retrieval service: finds a few hundred candidates for a user, and keeps the live catalogue."""

    model_config = SettingsConfigDict(env_prefix="SHORTLIST_RETRIEVAL_")

    port: int = Field(50_052, ge=0, le=65_535, description="Port of the gRPC server; 0 chooses a free one.")
    metrics_port: int = Field(9_092, ge=0, le=65_535, description="Port of Prometheus metrics; 0 chooses a free one.")
    ranking_target: str = Field(
        "",
        description="Address of ranking, whose replicas must all have a new release of the store before this server "
        "takes it (release_poll_s). A name that resolves to all of them, or addresses with commas.",
    )
    data_dir: Path | None = Field(
        None, description="Folder of the write-ahead log of catalogue changes, for a single retrieval server."
    )
    change_stream: str | None = Field(
        None,
        description="Redis stream of catalogue changes, for several retrieval servers: "
        "redis://host:port/0?stream=NAME. With &wait=N a change must reach N replicas of Redis. "
        "Without data_dir and change_stream, changes are refused.",
    )
    ef_search: int = Field(
        300, ge=1, le=10_000, description="Length of HNSW's candidate list; longer has more recall and takes more time."
    )
    min_ef_search: int = Field(50, ge=1, le=10_000, description="Lowest ef_search that latency_target_ms may set.")
    latency_target_ms: float = Field(
        0, ge=0, description="95th percentile of latency above which ef_search is lowered; 0 never lowers it."
    )
    recall_share: float = Field(
        0.01, ge=0, le=1, description="Share of searches that are also run exactly, to measure recall."
    )
    audit_share: float = Field(
        0.02,
        ge=0,
        le=1,
        description="Share of one core spent on finding unreachable vectors of HNSW graphs; 0 turns the audit off.",
    )
    milvus_uri: str | None = Field(
        None,
        min_length=1,
        description="Milvus that searches the release's vectors: http://host:port, or a file for the embedded Milvus. "
        "Without it, they are searched in this process.",
    )
    source_depth: int = Field(100, ge=1, le=1_000, description="The fewest items that each source retrieves.")
    search_threads: int = Field(0, ge=0, le=1_024, description="Threads that search; 0 for one per core.")
    max_calls: int = Field(
        256, ge=1, le=100_000, description="Most calls in progress; further ones are RESOURCE_EXHAUSTED."
    )
    neighbour_cache_size: int = Field(
        20_000, ge=0, description="Items whose nearest neighbours are cached; 1.5 kB each."
    )
    query_cache_size: int = Field(10_000, ge=0, description="Query embeddings that are cached.")
    max_query_batch: int = Field(32, ge=1, le=1_024, description="Most queries in one pass of the encoder.")
    suggestions: bool = Field(
        default=True,
        description="Whether Complete completes texts: indexes the titles of each release, about 800 bytes an item.",
    )
    candidate_cache_size: int = Field(
        200_000, ge=0, description="Items whose serialised fields are cached; about 400 bytes each."
    )
    provider: Provider = Field("cpu", description="ONNX Runtime's execution provider of the encoder.")
    missing_provider: MissingProvider = Field(
        "refuse",
        description="If the provider is not available: refuse to serve, or degrade from TensorRT to CUDA, from CUDA "
        "to the CPU.",
    )
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
    encoder_threads: int = Field(
        0, ge=0, le=1_024, description="Threads within one operator of the encoder; 0 for one per core."
    )

    @field_validator("change_stream")
    @classmethod
    def _check_change_stream(cls, address: str | None) -> str | None:
        if address is not None:
            StreamAddress.parse(address)
        return address

    @model_validator(mode="after")
    def _check_one_feed(self) -> Settings:
        if self.data_dir is not None and self.change_stream is not None:
            raise ValueError("data_dir and change_stream: both store the changes of the catalogue; give one of them")
        return self

    def backend_addresses(self) -> dict[str, Sequence[str]]:
        """Return the addresses of ranking and of the other replicas, by flag, if they are given."""
        given = {"--ranking-target": self.ranking_target.split(","), "--release-peers": self.release_peers.split(",")}
        return {flag: addresses for flag, addresses in given.items() if addresses != [""]}

    def first_stage_options(self) -> FirstStageOptions:
        """Return the options of the first stage."""
        return FirstStageOptions(
            session=SessionOptions(
                self.provider,
                self.missing_provider,
                self.encoder_threads,
                tf32=self.tf32,
                cpu_operators=SHAPE_OPERATORS | operator_names(self.cpu_operators),
            ),
            ef_search=self.ef_search,
            milvus=self.milvus_uri,
            depth=self.source_depth,
            recall_share=self.recall_share,
            audit_share=self.audit_share,
            neighbours_cached=self.neighbour_cache_size,
            queries=QueryEncoderOptions(cache_size=self.query_cache_size, max_batch=self.max_query_batch),
            threads=self.search_threads,
            suggestions=self.suggestions,
        )

"""Home Depot's titles as a release of the first stage, for the retrieval benchmarks."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from rich.console import Console
from transformers import BertModel

from common.arrays import Float32Array
from common.errors import ShortlistError
from common.onnx_session import SessionOptions
from common.release import layout
from common.release.catalogue import Catalogue
from common.release.manifest import FORMAT as RELEASE_FORMAT
from common.release.manifest import DataCard, ModelCard, file_sha256
from common.release.store import Release, open_release
from pipeline.progress import ProgressReport
from pipeline.release.artifacts.catalogue import build_catalogue
from pipeline.release.artifacts.staging import Staging, staging_dir
from pipeline.release.artifacts.vector_index import build_vector_index
from pipeline.release.export.bert import export_encoder
from pipeline.release.models.base_model import BaseModel, resolve_base_model
from pipeline.release.models.model_folder import load_model
from pipeline.release.models.tokenizer import plain_tokenizer
from services.retrieval.ann.ann_index import AnnKind, IndexOptions
from services.retrieval.encoding.text_encoder import OnnxTextEncoder
from services.retrieval.index.hybrid_index import HybridIndex

CACHE: Final = Path(__file__).parents[2] / ".cache" / "benchmarks"
_TOKENS: Final = 128
# Raise it if the same data gives another release than before.
_FORMAT: Final = 2
_PQ_FORMAT: Final = 1


class MissingData(ShortlistError):  # noqa: N818 - named like the other errors
    """The data of a benchmark is missing."""

    status = "FAILED_PRECONDITION"


@dataclass(frozen=True)
class HomeDepotVectors:
    """The titles as a release, and real search queries.

    Attributes:
        release: The encoder, the vectors of the distinct titles, an index, and one source, `semantic`. The attribute
            `aisle` is uniform in 0 to 99: `aisle < p` lets p % of the items pass.
        hnsw: The same with HNSW, the default index of a build.
        queries: Distinct search queries of the test judgements; shape [queries].
        query_vectors: Their embeddings; shape [queries, dimension].
    """

    release: Release
    hnsw: Release
    queries: Sequence[str]
    query_vectors: Float32Array

    @property
    def vectors(self) -> Float32Array:
        """The vectors of the distinct titles; shape [vectors, dimension]."""
        vectors: Float32Array = np.load(self.release.file(layout.VECTORS))
        return vectors

    def catalogue(self) -> Catalogue:
        """Open the catalogue."""
        return Catalogue.open(self.release.file(layout.CATALOGUE))


def home_depot_vectors(console: Console, index: AnnKind = "hnsw") -> HomeDepotVectors:
    """Return the release; it is built unless cached for the same data, model and settings.

    Args:
        console: Shows the progress.
        index: The index of `HomeDepotVectors.release`.

    Raises:
        MissingData: The titles are missing.
    """
    folder = _folder()
    base, options = resolve_base_model("all-MiniLM-L6-v2"), IndexOptions(threads=1)
    key = _key(folder / "items.parquet", base, options)
    store = CACHE / f"home-depot-{key}"
    if not (store / "queries.npy").exists():
        _build(folder, store, key, base, options, ProgressReport(console))
    hnsw = open_release(str(store))
    release = hnsw if index == "hnsw" else _with_pq(hnsw)
    return HomeDepotVectors(release, hnsw, _queries(folder), np.load(store / "queries.npy"))


def _with_pq(hnsw: Release) -> Release:
    """Return the release with a PQ index in place of HNSW."""
    store = CACHE / f"home-depot-pq-{_PQ_FORMAT}-{hnsw.id}"
    if not (store / "CURRENT").exists():
        with staging_dir(store) as place:
            staging = Staging(place, hnsw.manifest.data, hnsw.id, {"benchmark": "home-depot"})
            staging.models.update(hnsw.manifest.models)
            for name in hnsw.manifest.files.keys() - {layout.HNSW_INDEX}:
                os.link(hnsw.file(name), staging.file(name))
            vectors = np.load(staging.file(layout.VECTORS))
            staging.file(layout.VECTORS).unlink()
            HybridIndex.build(vectors, IndexOptions(threads=1, kind="pq")).save(place)
            staging.publish(store)
    return open_release(str(store))


def _folder() -> Path:
    folder = Path(os.environ.get("SHORTLIST_DATA") or Path(__file__).parents[3] / "shared/data") / "home-depot"
    if not (folder / "items.parquet").is_file():
        raise MissingData(
            f"{folder / 'items.parquet'} is missing; set SHORTLIST_DATA to the folder of the benchmark data"
        )
    return folder


def _key(items: Path, base: BaseModel, options: IndexOptions) -> str:
    files = [file_sha256(items), file_sha256(items.with_name("judgements_test.parquet"))]
    inputs = [_FORMAT, RELEASE_FORMAT, *files, base.sha256]
    built = [options.m, options.ef_construction, options.seed]
    return hashlib.sha256(json.dumps([*inputs, *built]).encode()).hexdigest()[:16]


def _queries(folder: Path) -> list[str]:
    judged = pl.read_parquet(folder / "judgements_test.parquet")
    return sorted({query.strip() for query in judged["query"]})


def _build(folder: Path, store: Path, key: str, base: BaseModel, options: IndexOptions, report: ProgressReport) -> None:
    items = pl.read_parquet(folder / "items.parquet")
    with staging_dir(store) as place:
        card = DataCard(source="Home Depot titles", fingerprint=key, items=len(items), events=0, licence="research use")
        staging = Staging(place, card, key, {"benchmark": "home-depot"})
        encoder = _write_models(staging, base)
        catalogue = _write_catalogue(staging, base, items)
        with report.step("Embedding Home Depot's titles, building the graph") as step:
            build_vector_index(catalogue, encoder, "", place, options, step, report.warn)
        staging.write_json(layout.RETRIEVAL_SETTINGS, {"sources": {"semantic": {}}})
        staging.publish(store)
    np.save(store / "queries.npy", encoder.encode(_queries(folder)))


def _write_models(staging: Staging, base: BaseModel) -> OnnxTextEncoder:
    error = export_encoder(load_model(BertModel, base.path), staging.file(layout.ENCODER))
    tokenizer = plain_tokenizer(str(base.path / "tokenizer.json"))
    tokenizer.enable_truncation(_TOKENS)
    tokenizer.save(str(staging.file(layout.ENCODER_TOKENIZER)))
    staging.models["encoder"] = ModelCard(
        file=layout.ENCODER,
        precision="fp32",
        base_model=base.name,
        base_model_origin=base.origin,
        trained_on="nothing: the unchanged base model",
        parity_max_abs_error=error,
    )
    return OnnxTextEncoder.load(staging.release(), SessionOptions())


def _write_catalogue(staging: Staging, base: BaseModel, items: pl.DataFrame) -> Catalogue:
    aisles = np.random.default_rng(1).permutation(len(items)) * 100 // len(items)
    tokenizer = plain_tokenizer(str(base.path / "tokenizer.json"))
    catalogue = build_catalogue(items.with_columns(pl.Series("aisle", aisles)), tokenizer, _TOKENS)
    catalogue.save(staging.file(layout.CATALOGUE))
    np.save(staging.file(layout.POPULARITY), np.zeros(len(catalogue), np.float32))
    return catalogue

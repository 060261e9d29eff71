"""The artifacts of a release that the first stage uses, loaded and checked against one another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from common.arrays import Float32Array, RowIndices
from common.errors import BadRelease, NotReady
from common.onnx_session import SessionOptions
from common.release.catalogue import Catalogue
from common.release.item_graph import ItemGraph
from common.release.layout import (
    CATALOGUE,
    ENCODER,
    POPULARITY,
    TITLE_WORDS,
    VECTOR_OF_ITEM,
    VECTORS,
    statistic_file,
)
from common.release.store import Release
from services.retrieval.candidates.release_settings import FirstStageSettings
from services.retrieval.encoding.text_encoder import OnnxTextEncoder, TextEncoder
from services.retrieval.index.factory import load_index
from services.retrieval.index.vector_index import VectorIndex
from services.retrieval.sources.bm25 import TitleBm25


@dataclass(frozen=True, eq=False)
class ReleaseArtifacts:
    """The artifacts of a first stage.

    Attributes:
        catalogue: The items.
        vectors: Unit vectors of the distinct texts; shape [vectors, dimension].
        vector_of_item: The row of each item's vector; shape [items].
        index: Over `vectors`, labels being their rows.
        popularity: Buyers of each item; shape [items].
        graphs: The item graph of each source that uses one, by the source's name.
        settings: Sources and fusion.
        encoder: Embeds queries and added items.
        encoder_id: SHA-256 of the encoder's model; vectors of different ones can't be compared.
        statistics: The item statistic of each source that uses one, by the source's name; each of shape [items].
        titles: The words of the titles and their BM25 scores; None if the release has none.
    """

    catalogue: Catalogue
    vectors: Float32Array
    vector_of_item: RowIndices
    index: VectorIndex
    popularity: Float32Array
    graphs: Mapping[str, ItemGraph]
    settings: FirstStageSettings
    encoder: TextEncoder
    encoder_id: str
    statistics: Mapping[str, Float32Array] = field(default_factory=dict)
    titles: TitleBm25 | None = None

    @classmethod
    def load(
        cls, release: Release, session: SessionOptions, ef_search: int, milvus: str | None = None
    ) -> ReleaseArtifacts:
        """Load a release's artifacts.

        Args:
            release: The release.
            session: How the encoder's ONNX session is made.
            ef_search: Length of HNSW's candidate list.
            milvus: Address of the Milvus that searches the vectors; None searches them in this process.

        Raises:
            BadRelease: An artifact is missing, or the artifacts contradict one another.
            NotReady: Milvus does not answer.
        """
        settings = FirstStageSettings.load(release)
        catalogue = Catalogue.open(release.file(CATALOGUE))
        artifacts = cls(
            catalogue=catalogue,
            vectors=_array(release, VECTORS),
            vector_of_item=_array(release, VECTOR_OF_ITEM).astype(np.int64),
            index=load_index(release.path, ef_search) if milvus is None else _milvus(release, ef_search, milvus),
            popularity=_array(release, POPULARITY).astype(np.float32),
            graphs=_graphs(release, settings),
            settings=settings,
            encoder=OnnxTextEncoder.load(release, session),
            encoder_id=release.manifest.files[ENCODER].sha256,
            statistics={
                name: _array(release, statistic_file(source.statistic)).astype(np.float32)
                for name, source in settings.sources.items()
                if source.statistic is not None
            },
            titles=TitleBm25.load(release, len(catalogue)) if TITLE_WORDS in release.manifest.files else None,
        )
        artifacts.check(release.id)
        return artifacts

    def vectors_of(self, rows: RowIndices) -> Float32Array:
        """Return the vectors of items, given their rows; shape [rows, dimension]."""
        vectors: Float32Array = self.vectors[self.vector_of_item[rows]]
        return vectors

    def words(self) -> TitleBm25:
        """Return BM25 over the titles; raises BadRelease if the release has none."""
        if self.titles is None:
            raise BadRelease(f"a source is lexical, and the release has no {TITLE_WORDS}; build it again")
        return self.titles

    def check(self, release_id: str) -> None:
        """Raise BadRelease if the artifacts contradict one another."""
        items, vectors = len(self.catalogue), len(self.vectors)
        sound = {
            f"{VECTOR_OF_ITEM} has not one entry for each of {items} items": self.vector_of_item.shape == (items,),
            f"{VECTOR_OF_ITEM} names vectors that {VECTORS} lacks": _within(self.vector_of_item, vectors),
            f"the index and {VECTORS} differ in size": len(self.index) == vectors,
            f"{POPULARITY} has not one entry for each of {items} items": self.popularity.shape == (items,),
            f"encoder and {VECTORS} differ in dimension": self.encoder.dimension == self.index.dimension,
        } | {
            f"the graph of the source {name} has not one row for each of {items} items": graph.items == items
            for name, graph in self.graphs.items()
        }
        sound |= {
            f"the statistic of the source {name} has not one entry for each of {items} items": values.shape == (items,)
            for name, values in self.statistics.items()
        }
        faults = [what for what, holds in sound.items() if not holds]
        if faults:
            raise BadRelease(f"release {release_id} does not fit together: {'; '.join(faults)}; build it again")


def _milvus(release: Release, ef_search: int, address: str) -> VectorIndex:
    try:
        from services.retrieval.index.milvus_index import MilvusIndex, MilvusOptions  # noqa: PLC0415 - an extra of its own
    except ImportError as error:
        raise NotReady(f"Milvus needs pymilvus: pip install 'shortlist[milvus]' ({error})") from error
    options = MilvusOptions(address, f"shortlist_{release.id}", ef_search=ef_search)
    return MilvusIndex.load(release.path, options)


def _array(release: Release, name: str) -> np.ndarray:
    """Map an array, as a plain array because slices of numpy's memmap type are slow."""
    return np.asarray(np.load(release.file(name), mmap_mode="r"))


def _graphs(release: Release, settings: FirstStageSettings) -> dict[str, ItemGraph]:
    names = {
        name: source.graph or name for name, source in settings.sources.items() if settings.kind_of(name) == "graph"
    }
    graphs = {name: ItemGraph.from_release(release, graph) for name, graph in names.items()}
    return {
        name: ItemGraph(np.asarray(graph.indptr), np.asarray(graph.indices), np.asarray(graph.weights))
        for name, graph in graphs.items()
    }


def _within(rows: RowIndices, count: int) -> bool:
    return not len(rows) or bool(rows.min() >= 0 and rows.max() < count)

"""A small shop for tests of the first stage: real index, graph and fusion, and an encoder of words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pyarrow as pa
import pytest

from common.arrays import Float32Array
from common.release.catalogue import SCHEMA, Catalogue
from common.release.item_graph import ItemGraph
from common.text import item_text
from services.retrieval.candidates.artifacts import ReleaseArtifacts
from services.retrieval.candidates.first_stage import FirstStage, FirstStageOptions
from services.retrieval.candidates.release_settings import FirstStageSettings
from services.retrieval.changes.change_feed import ChangeFeed
from services.retrieval.changes.local_feed import LocalFeed
from services.retrieval.index.hybrid_index import HybridIndex

DIMENSION = 24
# id, title, brand, category, price, available, popularity
ITEMS: tuple[tuple[str, str, str | None, str, float | None, bool, float], ...] = (
    ("milk-1", "fresh milk", "acme", "dairy", 1.0, True, 9.0),
    ("milk-2", "fresh milk", "acme", "dairy", 1.2, True, 5.0),
    ("milk-3", "fresh milk", "acme", "dairy", 1.4, True, 7.0),
    ("cheese", "hard cheese", "zenith", "dairy", 4.0, True, 6.0),
    ("bread", "rye bread", "zenith", "bakery", 2.0, True, 8.0),
    ("roll", "rye roll", None, "bakery", 0.5, True, 0.0),
    ("soap", "hand soap", "orchard", "household", None, True, 1.0),
    ("sponge", "kitchen sponge", "orchard", "household", 3.0, True, 0.0),
)
# What users go on to, by item: (next item, weight).
NEXT = {
    "milk-1": (("milk-1", 3.0), ("bread", 2.0)),
    "bread": (("cheese", 4.0), ("milk-1", 1.0)),
    "soap": (("sponge", 2.0),),
}


class WordEncoder:
    """Embeds a text as the sum of its words' vectors; counts what it is asked for."""

    provider = "words"
    words = frozenset[str]()

    def __init__(self, seed: int = 0, dimension: int = DIMENSION) -> None:
        self.dimension = dimension
        self.seed = seed
        self.batches: list[list[str]] = []

    def encode(self, texts: Sequence[str]) -> Float32Array:
        """Embed texts; shape [texts, dimension]."""
        self.batches.append(list(texts))
        vectors = [sum((self._word(word) for word in text.split()), np.zeros(self.dimension)) for text in texts]
        table = np.array(vectors).reshape(len(texts), self.dimension)
        return (table / np.linalg.norm(table, axis=1, keepdims=True)).astype(np.float32)

    def _word(self, word: str) -> np.ndarray:
        return np.random.default_rng([self.seed, crc32(word.strip(".").lower().encode())]).standard_normal(
            self.dimension
        )


def make_catalogue() -> Catalogue:
    """Return the shop's catalogue, with `organic` as a further attribute."""
    columns: dict[str, list[Any]] = {name: [None] * len(ITEMS) for name in SCHEMA.names}
    names = ("item_id", "title", "brand", "category", "price", "available")
    columns |= {name: [item[place] for item in ITEMS] for place, name in enumerate(names)}
    columns["text"] = [item_text(title, brand or "", category) for _, title, brand, category, *_ in ITEMS]
    columns["token_ids"] = [[1]] * len(ITEMS)
    table = pa.table(columns, schema=SCHEMA)
    return Catalogue(table.append_column("organic", pa.array([row % 2 for row in range(len(ITEMS))], pa.int64())))


def make_graph(catalogue: Catalogue) -> ItemGraph:
    """Return what users go on to as an item graph."""
    rows = [NEXT.get(item_id, ()) for item_id in catalogue.item_ids]
    entries = [(catalogue.row_of(item_id), weight) for row in rows for item_id, weight in row]
    return ItemGraph(
        indptr=np.cumsum([0, *map(len, rows)]),
        indices=np.array([row for row, _ in entries], np.int32),
        weights=np.array([weight for _, weight in entries], np.float32),
    )


def make_artifacts(settings: Mapping[str, Any], encoder: WordEncoder) -> ReleaseArtifacts:
    """Return the shop as a release's artifacts."""
    catalogue = make_catalogue()
    texts = catalogue.table["text"].to_pylist()
    distinct = sorted(set(texts))
    vectors = WordEncoder(encoder.seed).encode(distinct)
    return ReleaseArtifacts(
        catalogue=catalogue,
        vectors=vectors,
        vector_of_item=np.array([distinct.index(text) for text in texts]),
        index=HybridIndex.build(vectors),
        popularity=np.array([item[-1] for item in ITEMS], np.float32),
        graphs={"behaviour": make_graph(catalogue)},
        settings=FirstStageSettings.model_validate(settings),
        encoder=encoder,
        encoder_id=f"encoder-{encoder.seed}",
    )


SETTINGS: dict[str, Any] = {"sources": {"semantic": {}, "similar": {}, "behaviour": {}, "popular": {}}, "decay": 0.5}
OpenShop = Callable[..., FirstStage]


@pytest.fixture
def open_shop() -> Iterator[OpenShop]:
    """Return how a first stage over the shop is made; each is closed in the end."""
    opened: list[FirstStage] = []

    def open_(
        feed: ChangeFeed | None = None,
        encoder: WordEncoder | None = None,
        options: FirstStageOptions | None = None,
        **settings: Any,
    ) -> FirstStage:
        opened.append(FirstStage(make_artifacts(SETTINGS | settings, encoder or WordEncoder()), options, feed))
        return opened[-1]

    yield open_
    for stage in opened:
        stage.close()


@pytest.fixture
def shop(open_shop: OpenShop) -> FirstStage:
    """Return a first stage over the shop."""
    return open_shop()


@pytest.fixture
def live_shop(open_shop: OpenShop, feed: ChangeFeed) -> FirstStage:
    """Return a first stage over the shop whose catalogue can be changed."""
    return open_shop(feed)


@pytest.fixture
def feed(tmp_path: Path) -> Iterator[ChangeFeed]:
    """Return a feed of changes with a log of its own."""
    feed = LocalFeed(tmp_path / "changes")
    yield feed
    feed.close()


@pytest.fixture
def catalogue() -> Catalogue:
    """Return the shop's catalogue."""
    return make_catalogue()


@pytest.fixture
def graph(catalogue: Catalogue) -> ItemGraph:
    """Return what users go on to."""
    return make_graph(catalogue)


@pytest.fixture
def new_encoder() -> Callable[..., WordEncoder]:
    """Return how an encoder of words is made."""
    return WordEncoder


@pytest.fixture
def artifacts() -> ReleaseArtifacts:
    """Return the shop's artifacts."""
    return make_artifacts(SETTINGS, WordEncoder())

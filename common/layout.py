"""The names of a release's files: what the pipeline writes and the services read."""

from __future__ import annotations

from typing import Final

CATALOGUE: Final = "catalogue.arrow"

ENCODER: Final = "encoder/model.onnx"
ENCODER_TOKENIZER: Final = "encoder/tokenizer.json"
CROSS_ENCODER: Final = "ranker/model.onnx"
CROSS_ENCODER_TOKENIZER: Final = "ranker/tokenizer.json"
RANKER_SETTINGS: Final = "ranker/ranker.json"
FUSION: Final = "fusion/model.onnx"
FUSION_SETTINGS: Final = "fusion/fusion.json"

# One vector for each distinct text, and for each item of the catalogue the row of its vector: products that share
# a text would otherwise be islands of equal points in the graph.
INDEX: Final = "index/hnsw.bin"
VECTORS: Final = "index/vectors.npy"
VECTOR_OF_ITEM: Final = "index/vector_of_item.npy"

VOCABULARY: Final = "words/vocabulary.txt"
POPULARITY: Final = "behaviour/popularity.npy"
# BM25 over titles: for each word the items that have it, with its score there.
TITLE_WORDS: Final = "lexical/words.json"

RETRIEVAL_SETTINGS: Final = "retrieval.json"
MODEL_CARD: Final = "model_card.md"


def statistic_file(name: str) -> str:
    """Return the name of an item statistic, float32[items]."""
    return f"behaviour/statistics/{name}.npy"


def title_words_file(part: str) -> str:
    """Return the name of one array (`indptr`, `items` or `scores`) of the words of titles."""
    return f"lexical/{part}.npy"


def graph_file(name: str, part: str) -> str:
    """Return the name of one array (`indptr`, `indices` or `weights`) of an item graph."""
    return f"behaviour/{name}/{part}.npy"


def words_file(part: str) -> str:
    """Return the name of one array (`tokens`, `offsets`, `heads` or `subjects`) of the catalogue's words."""
    return f"words/{part}.npy"
